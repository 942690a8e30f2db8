//! Templates bound to an approved one of Meta: values in order, strict, on one line.

use crate::support::{brand, compiled, sms};
use rstest::rstest;
use serde_json::{Value, json};
use tidings_core::{Category, Channel, MessageType};
use tidings_render::{CompiledTemplate, RenderContext, RenderError, TemplateError, WhatsappBinding};

fn bound(message_type: &str, channel: Channel, binding: &Value) -> Result<CompiledTemplate, TemplateError> {
    let mut source = sms("Hello {{ name }}");
    source.message_type = MessageType::parse(message_type).unwrap();
    source.channel = channel;
    let binding: WhatsappBinding = serde_json::from_value(binding.clone()).unwrap();
    compiled(&source).with_whatsapp(binding)
}

fn binding() -> Value {
    json!({
        "name": "order_ready", "language": "en_US",
        "header": {"kind": "document", "value": "https://acme.example/{{ order }}.pdf", "filename": "{{ order }}.pdf"},
        "body": ["{{ name }}", "{{ order }}"],
        "buttons": [{"index": 1, "kind": "quick_reply", "value": "confirm:{{ order }}"}]
    })
}

fn rendered(variables: &Value) -> Result<Option<tidings_render::RenderedWhatsapp>, RenderError> {
    let brand = brand();
    let context = RenderContext::new(variables, &brand, Category::Transactional);
    bound("order", Channel::Whatsapp, &binding())
        .unwrap()
        .render_whatsapp(&context)
}

#[test]
fn values_stand_in_order_and_on_one_line() {
    let filled = rendered(&json!({"name": "Ann\n<b>  &\tCo", "order": 42}))
        .unwrap()
        .unwrap();
    assert_eq!(filled.body, ["Ann <b> & Co", "42"]);
    let header = filled.header.unwrap();
    assert_eq!(header.value, "https://acme.example/42.pdf");
    assert_eq!(header.filename.as_deref(), Some("42.pdf"));
    assert_eq!(filled.buttons[0].2, "confirm:42");
}

#[test]
fn a_missing_value_is_named_and_an_empty_one_refused() {
    let missing = rendered(&json!({"name": "Ann"})).unwrap_err();
    assert!(
        matches!(&missing, RenderError::MissingVariables { names, .. } if names == &["order"]),
        "{missing}"
    );
    let empty = rendered(&json!({"name": " ", "order": 1})).unwrap_err();
    assert!(empty.to_string().contains("body value 1"), "{empty}");
    let long = rendered(&json!({"name": "x".repeat(1_025), "order": 1})).unwrap_err();
    assert!(long.to_string().contains("1025 characters"), "{long}");
}

#[rstest]
#[case("order", Channel::Sms, json!({"name": "a", "language": "en"}), "no approved templates")]
#[case("order", Channel::Whatsapp, json!({"name": "Order Ready", "language": "en"}), "whatsapp.name")]
#[case("order", Channel::Whatsapp, json!({"name": "a", "language": "en US"}), "whatsapp.language")]
#[case("order", Channel::Whatsapp, json!({"name": "a", "language": "en", "body": [""]}), "body value 1: is empty")]
#[case("order", Channel::Whatsapp, json!({"name": "a", "language": "en", "body": ["{{ x"]}), "body value 1")]
#[case("order", Channel::Whatsapp, json!({"name": "a", "language": "en", "header": {"kind": "image", "value": "1", "filename": "a"}}), "file name")]
#[case("order", Channel::Whatsapp, json!({"name": "a", "language": "en", "buttons": [
    {"index": 0, "kind": "url", "value": "a"}, {"index": 0, "kind": "url", "value": "b"}]}), "each index")]
#[case("welcome", Channel::Whatsapp, json!({"name": "a", "language": "en", "body": ["{{ no_such }}"]}), "no variable \"no_such\"")]
fn a_wrong_binding_says_where(
    #[case] message_type: &str,
    #[case] channel: Channel,
    #[case] binding: Value,
    #[case] says: &str,
) {
    let error = bound(message_type, channel, &binding).unwrap_err().to_string();
    assert!(
        error.contains("whatsapp template") && error.contains(says),
        "{error}"
    );
}
