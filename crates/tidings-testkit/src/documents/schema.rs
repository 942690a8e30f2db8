//! JSON Schema, as both kinds of documents are judged by it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonschema::Draft;
use serde_json::Value;

/// What is wrong with a value by a schema; empty where it is right.
pub fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let judge = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        // The library's own takes `Name <address>`, too.
        .with_format("email", is_address)
        .with_format("date-time-rfc-2822", |text: &str| {
            jiff::fmt::rfc2822::parse(text).is_ok()
        })
        .with_format("base64", |text: &str| STANDARD.decode(text).is_ok())
        .build(schema)
        .unwrap();
    judge
        .iter_errors(value)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect()
}

/// One address, without a name.
fn is_address(text: &str) -> bool {
    let plain = |part: &str| {
        let known = |c: char| !c.is_whitespace() && !c.is_control() && !"<>()[]:;@\\,\"".contains(c);
        !part.is_empty() && part.chars().all(known)
    };
    text.split_once('@')
        .is_some_and(|(local, domain)| plain(local) && plain(domain))
}

#[test]
fn an_address_has_no_name() {
    for (text, is) in [
        ("bob@example.com", true),
        ("Bob <bob@example.com>", false),
        ("bob@", false),
        ("@example.com", false),
        ("a@b@c", false),
        ("bob", false),
    ] {
        assert_eq!(is_address(text), is, "{text}");
    }
}
