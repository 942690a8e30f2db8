use serde_json::json;
use tidings_core::idempotency::{canonical, fingerprint_input};

#[test]
fn order_and_blanks_do_not_matter_and_all_else_does() {
    let parse = |text: &str| canonical(&serde_json::from_str(text).unwrap());
    assert_eq!(
        parse(r#"{"b":[1,{"d":null,"c":"x"}],"a":true}"#),
        br#"{"a":true,"b":[1,{"c":"x","d":null}]}"#
    );
    assert_eq!(parse(r#"{ "a" : 1, "b" : 2 }"#), parse(r#"{"b":2,"a":1}"#));
    assert_eq!(parse(r#""\u0041\n\"""#), br#""A\n\"""#);
    for (one, other) in [
        ("1", "1.0"),
        ("[1,2]", "[2,1]"),
        ("null", "{}"),
        (r#""1""#, "1"),
        ("[[]]", "[]"),
    ] {
        assert_ne!(parse(one), parse(other));
    }
}

#[test]
fn the_operation_is_part_of_it_and_cannot_be_confused_with_the_body() {
    let body = json!({"a": 1});
    assert_ne!(
        fingerprint_input("POST /v1/messages", &body),
        fingerprint_input("POST /v1/contacts", &body)
    );
    assert_ne!(
        fingerprint_input("x", &json!("y")),
        fingerprint_input("x\"y\"", &json!(""))
    );
}
