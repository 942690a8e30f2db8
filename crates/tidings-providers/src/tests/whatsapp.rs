//! The Cloud API on the wire, and its webhooks.

use super::provider;
use crate::contract::{
    ButtonKind, Content, Media, MediaKind, MediaSource, Provider, Rejection, RejectionEffect, SendOutcome,
    Signal, SuppressBecause, TemplateStanding, UNSUPPORTED, WebhookParsed, WebhookRefusal, WebhookRequest,
    WhatsappButton, WhatsappHeader, WhatsappTemplate,
};
use crate::samples;
use crate::signature::meta;
use crate::stand_in::http::{Behaviour, HttpStandIn, Reply};
use futures::FutureExt as _;
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::Arc;
use tidings_core::event::DeliveryEventKind;
use tidings_core::{ErrorCategory, ProviderKind};

const NUMBER: &str = "106540352242922";
const ACCOUNT: &str = "102290129340398";
const SECRET: &str = "app-secret";

fn taken() -> Reply {
    Reply::json(
        200,
        r#"{"messages":[{"id":"wamid.HBgL","message_status":"accepted"}]}"#,
    )
}

fn whatsapp(base: Option<&str>) -> Arc<dyn Provider> {
    let mut settings = json!({ "phone_number_id": NUMBER, "business_account_id": ACCOUNT });
    if let Some(base) = base {
        settings["base_url"] = json!(base);
    }
    let credentials = json!({
        "token": "EAAtoken", "app_secret": SECRET, "previous_app_secret": "old-secret", "verify_token": "say-friend"
    });
    provider(ProviderKind::WhatsappCloud, settings, &credentials)
}

/// Sends, and gives what stood on the wire.
async fn on_the_wire(content: Content) -> Value {
    let stand_in = HttpStandIn::start(Behaviour::Answer(taken()));
    let submission = samples::whatsapp("+14155552671", content);
    let outcome = whatsapp(Some(&stand_in.url())).send(&submission).await;
    let accepted = SendOutcome::Accepted {
        provider_message_id: Some("wamid.HBgL".to_owned()),
    };
    assert_eq!(outcome, accepted);
    let request = &stand_in.received()[0];
    assert_eq!(request.line, format!("POST /v26.0/{NUMBER}/messages HTTP/1.1"));
    let token = ("authorization".to_owned(), "Bearer EAAtoken".to_owned());
    assert!(request.headers.contains(&token));
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["messaging_product"], "whatsapp");
    assert_eq!(body["recipient_type"], "individual");
    assert_eq!(body["to"], "+14155552671");
    assert_eq!(body["biz_opaque_callback_data"], json!(submission.reference));
    body
}

fn template() -> WhatsappTemplate {
    WhatsappTemplate {
        name: "order_ready".to_owned(),
        language: "en_US".to_owned(),
        header: Some(WhatsappHeader::Media(Media {
            kind: MediaKind::Image,
            source: MediaSource::Id("4711".to_owned()),
            caption: None,
            filename: None,
        })),
        body: vec!["Bob".to_owned(), "42".to_owned()],
        buttons: vec![WhatsappButton {
            index: 0,
            kind: ButtonKind::QuickReply,
            value: "confirm:42".to_owned(),
        }],
        free_text: Some("Hello Bob, order 42 is ready.".to_owned()),
    }
}

#[tokio::test]
async fn a_text_a_template_and_media_are_sent() {
    let text = on_the_wire(Content::Text {
        body: "Ready.".to_owned(),
    })
    .await;
    assert_eq!(text["type"], "text");
    assert_eq!(text["text"], json!({ "body": "Ready.", "preview_url": false }));
    let sent = on_the_wire(Content::WhatsappTemplate(template())).await;
    assert_eq!(sent["type"], "template");
    assert_eq!(
        sent["template"],
        json!({
            "name": "order_ready", "language": { "policy": "deterministic", "code": "en_US" }, "components": [
                { "type": "header", "parameters": [{ "type": "image", "image": { "id": "4711" } }] },
                { "type": "body", "parameters": [{ "type": "text", "text": "Bob" }, { "type": "text", "text": "42" }] },
                { "type": "button", "sub_type": "quick_reply", "index": "0",
                  "parameters": [{ "type": "payload", "payload": "confirm:42" }] }
            ]
        })
    );
    assert!(!sent.to_string().contains("Hello Bob"));
    let document = on_the_wire(Content::Media(Media {
        kind: MediaKind::Document,
        source: MediaSource::Link("https://brand.test/invoice.pdf".to_owned()),
        caption: Some("Your invoice".to_owned()),
        filename: Some("invoice.pdf".to_owned()),
    }))
    .await;
    assert_eq!(
        document["document"],
        json!({
            "link": "https://brand.test/invoice.pdf", "caption": "Your invoice", "filename": "invoice.pdf"
        })
    );
}

fn media(kind: MediaKind, link: &str) -> Content {
    Content::Media(Media {
        kind,
        source: MediaSource::Link(link.to_owned()),
        caption: Some("x".to_owned()),
        filename: None,
    })
}

fn with_value(value: &str) -> Content {
    Content::WhatsappTemplate(WhatsappTemplate {
        body: vec![value.to_owned()],
        ..template()
    })
}

#[rstest]
#[case::empty(Content::Text { body: String::new() })]
#[case::long(Content::Text { body: "x".repeat(4_097) })]
#[case::nul(Content::Text { body: "a\0b".to_owned() })]
#[case::plain_http(media(MediaKind::Image, "http://brand.test/a.png"))]
#[case::file(media(MediaKind::Image, "file:///etc/passwd"))]
#[case::caption_of_audio(media(MediaKind::Audio, "https://brand.test/a.ogg"))]
#[case::line_break(with_value("a\nb"))]
#[case::blanks(with_value("a     b"))]
#[case::empty_value(with_value(""))]
#[case::name(Content::WhatsappTemplate(WhatsappTemplate { name: "Order Ready".to_owned(), ..template() }))]
#[tokio::test]
async fn what_meta_would_refuse_is_refused_without_a_call(#[case] content: Content) {
    let stand_in = HttpStandIn::start(Behaviour::Answer(taken()));
    let outcome = whatsapp(Some(&stand_in.url()))
        .send(&samples::whatsapp("+14155552671", content))
        .await;
    assert!(
        matches!(&outcome, SendOutcome::Rejected(no) if no.category == ErrorCategory::InvalidInput),
        "{outcome:?}"
    );
    assert!(stand_in.received().is_empty());
}

#[tokio::test]
async fn an_error_says_what_follows() {
    let body = r#"{"error":{"message":"(#131050) no","code":131050}}"#;
    let stand_in = HttpStandIn::start(Behaviour::Answer(Reply::json(400, body)));
    let content = Content::WhatsappTemplate(template());
    let outcome = whatsapp(Some(&stand_in.url()))
        .send(&samples::whatsapp("+14155552671", content))
        .await;
    let expected = Rejection {
        category: ErrorCategory::Permanent,
        code: "131050".to_owned(),
        detail: "(#131050) no".to_owned(),
        retry_after: None,
        effect: Some(RejectionEffect::OptedOutOfMarketing),
    };
    assert_eq!(outcome, SendOutcome::Rejected(expected));
}

#[tokio::test]
async fn read_marks_and_typing_are_sent() {
    let stand_in = HttpStandIn::start(Behaviour::Answer(Reply::json(200, r#"{"success":true}"#)));
    let provider = whatsapp(Some(&stand_in.url()));
    let provider_message_id = "wamid.IN1".to_owned();
    for signal in [
        Signal::Read {
            provider_message_id: provider_message_id.clone(),
        },
        Signal::Typing { provider_message_id },
    ] {
        let outcome = provider.signal(&signal).await;
        assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
    }
    let bodies: Vec<Value> = stand_in
        .received()
        .iter()
        .map(|request| serde_json::from_str(&request.body).unwrap())
        .collect();
    let read = json!({ "messaging_product": "whatsapp", "status": "read", "message_id": "wamid.IN1" });
    assert_eq!(bodies[0], read);
    assert_eq!(bodies[1]["typing_indicator"], json!({ "type": "text" }));
}

#[tokio::test]
async fn other_providers_say_that_they_have_no_signals() {
    let twilio = provider(
        ProviderKind::Twilio,
        json!({ "account_sid": "ACbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "from": "+15005550006" }),
        &json!({ "auth_token": "t" }),
    );
    let signal = Signal::Read {
        provider_message_id: "SM1".to_owned(),
    };
    let outcome = twilio.signal(&signal).await;
    assert!(matches!(outcome, SendOutcome::Rejected(no) if no.code == UNSUPPORTED));
}

#[tokio::test]
async fn a_check_names_what_is_missing() {
    let good = HttpStandIn::start(Behaviour::Answer(Reply::json(
        200,
        r#"{"quality_rating":"GREEN","data":[]}"#,
    )));
    let report = whatsapp(Some(&good.url())).check().await;
    assert!(report.ok, "{report:?}");
    let findings = report.findings.join("\n");
    assert!(findings.contains("quality_rating: GREEN") && findings.contains("no app is subscribed"));
    assert_eq!(
        good.received()[1].line,
        format!("GET /v26.0/{ACCOUNT}/subscribed_apps?fields=id HTTP/1.1")
    );
    let bad = HttpStandIn::start(Behaviour::Answer(Reply::json(
        401,
        r#"{"error":{"code":190,"message":"expired"}}"#,
    )));
    let report = whatsapp(Some(&bad.url())).check().await;
    assert!(
        !report.ok && report.findings[0].contains("code 190, auth_failure"),
        "{report:?}"
    );
}

fn post(body: &[u8], secret: &str) -> WebhookRequest {
    WebhookRequest {
        method: "POST".to_owned(),
        url: "https://engine.test/webhooks/whatsapp_cloud/1".to_owned(),
        headers: vec![("x-hub-signature-256".to_owned(), meta::sign(body, secret))],
        body: body.to_vec().into(),
    }
}

/// The provider does no more than read, so its answer is there at once.
fn answer(provider: &dyn Provider, request: &WebhookRequest) -> Result<WebhookParsed, WebhookRefusal> {
    provider
        .webhook(request, Timestamp::UNIX_EPOCH)
        .now_or_never()
        .unwrap()
}

fn receive(body: &[u8]) -> Result<WebhookParsed, WebhookRefusal> {
    answer(&*whatsapp(None), &post(body, SECRET))
}

fn change(number: &str, parts: &Value) -> Value {
    let mut value = json!({ "messaging_product": "whatsapp", "metadata": { "phone_number_id": number } });
    for (name, part) in parts.as_object().unwrap() {
        value[name] = part.clone();
    }
    json!({ "field": "messages", "value": value })
}

fn envelope(changes: &[Value]) -> Vec<u8> {
    json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": ACCOUNT, "time": 1_795_000_009, "changes": changes }]
    })
    .to_string()
    .into_bytes()
}

/// Reads one message.
fn message(message: &Value) -> WebhookParsed {
    receive(&envelope(&[change(NUMBER, &json!({ "messages": [message] }))])).unwrap()
}

#[test]
fn only_what_the_app_signed_is_read() {
    let body = envelope(&[change(NUMBER, &json!({}))]);
    let provider = whatsapp(None);
    assert_eq!(
        answer(&*provider, &post(&body, SECRET))
            .unwrap()
            .response
            .content_type,
        Some("text/plain; charset=utf-8")
    );
    assert!(
        answer(&*provider, &post(&body, "old-secret")).is_ok(),
        "during a rotation"
    );
    let refused = |request: &WebhookRequest| answer(&*provider, request).unwrap_err();
    assert_eq!(refused(&post(&body, "another")), WebhookRefusal::SignatureInvalid);
    let mut cut = post(&body, SECRET);
    cut.body = body[..body.len() - 1].to_vec().into();
    assert_eq!(refused(&cut), WebhookRefusal::SignatureInvalid);
    let mut bare = post(&body, SECRET);
    bare.headers.clear();
    assert_eq!(refused(&bare), WebhookRefusal::SignatureMissing);
    let open = self::provider(
        ProviderKind::WhatsappCloud,
        json!({ "phone_number_id": NUMBER }),
        &json!({ "token": "EAA" }),
    );
    assert!(matches!(
        answer(&*open, &post(&body, "")),
        Err(WebhookRefusal::NotConfigured(_))
    ));
}

#[test]
fn hostile_bodies_are_refused_whole() {
    let bomb = [
        br#"{"object":"whatsapp_business_account","entry":"#.to_vec(),
        b"[".repeat(100_000),
    ]
    .concat();
    let huge = [b" ".repeat(9 * 1024 * 1024), envelope(&[])].concat();
    for body in [
        &b"{"[..],
        b"[]",
        b"null",
        br#"{"object":"page","entry":[]}"#,
        &bomb,
        &huge,
    ] {
        assert!(matches!(receive(body), Err(WebhookRefusal::Malformed(_))));
    }
}

#[rstest]
#[case(
    "hub.mode=subscribe&hub.verify_token=say-friend&hub.challenge=1158201444",
    Some("1158201444")
)]
#[case(
    "hub.challenge=a%20b&hub.verify_token=say-friend&hub.mode=subscribe",
    Some("a b")
)]
#[case("hub.mode=subscribe&hub.verify_token=foe&hub.challenge=1", None)]
#[case("hub.mode=subscribe&hub.verify_token=&hub.challenge=1", None)]
#[case("hub.mode=unsubscribe&hub.verify_token=say-friend&hub.challenge=1", None)]
#[case("hub.mode=subscribe&hub.verify_token=say-friend&hub.challenge=%0A%0Ax", None)]
#[case("", None)]
fn the_handshake_answers_who_knows_the_word(#[case] query: &str, #[case] challenge: Option<&str>) {
    let request = WebhookRequest {
        method: "GET".to_owned(),
        url: format!("https://engine.test/webhooks/whatsapp_cloud/1?{query}"),
        headers: Vec::new(),
        body: Vec::new().into(),
    };
    let answered = answer(&*whatsapp(None), &request);
    assert_eq!(
        answered.ok().map(|parsed| parsed.response.body).as_deref(),
        challenge
    );
}

#[test]
fn changes_of_other_numbers_are_left_alone() {
    let status = json!({ "statuses": [{ "id": "wamid.1", "status": "sent", "timestamp": "1795000000" }] });
    let other = change("1", &status);
    assert_eq!(
        receive(&envelope(std::slice::from_ref(&other))).unwrap_err(),
        WebhookRefusal::WrongAccount
    );
    let both = receive(&envelope(&[other, change(NUMBER, &status)])).unwrap();
    assert_eq!((both.events.len(), both.skipped.len()), (1, 1));
}

#[test]
fn one_bad_element_costs_nobody_else() {
    let parts = json!({
        "messages": [7, {}, { "id": "wamid.A", "from": "16505551234", "type": "text", "text": { "body": "hi" } },
            { "id": "wamid.B", "type": "text" }, { "id": "wamid.C", "from": "x", "type": "text" }],
        "statuses": [null, { "id": "wamid.O", "status": "warp" }, { "id": "wamid.O", "status": "read" }],
        "brand_new": { "a": [1] }
    });
    let parsed = receive(&envelope(&[
        change(NUMBER, &parts),
        json!(3),
        json!({ "field": "new", "value": {} }),
    ]))
    .unwrap();
    assert_eq!((parsed.inbound.len(), parsed.events.len()), (1, 1));
    assert_eq!(parsed.events[0].kind, DeliveryEventKind::Opened);
    assert!(!format!("{parsed:?}").contains("16505551234"));
}

#[rstest]
#[case(json!({"type": "text", "text": {"body": "Olá"}}), "Olá", None, false, true)]
#[case(json!({"type": "button", "button": {"text": "Yes", "payload": "p1"}}), "Yes", Some("p1"), false, true)]
#[case(json!({"type": "interactive", "interactive": {"type": "button_reply", "button_reply": {"id": "b1", "title": "Fine"}}}), "Fine", Some("b1"), false, true)]
#[case(json!({"type": "interactive", "interactive": {"type": "list_reply", "list_reply": {"id": "l1", "title": "Two"}}}), "Two", Some("l1"), false, true)]
#[case(json!({"type": "interactive", "interactive": {"nfm_reply": {"body": "Sent", "response_json": "{\"a\":1}"}}}), "Sent", Some("{\"a\":1}"), false, true)]
#[case(json!({"type": "reaction", "reaction": {"message_id": "wamid.O", "emoji": "👍"}}), "", Some("👍"), true, true)]
#[case(json!({"type": "location", "location": {"latitude": 1.5}}), "", Some("{\"latitude\":1.5}"), false, true)]
#[case(json!({"type": "contacts", "contacts": []}), "", Some("[]"), false, true)]
#[case(json!({"type": "system", "system": {"type": "user_changed_number", "wa_id": "1", "body": "moved"}}), "moved", Some("{\"body\":\"moved\",\"type\":\"user_changed_number\",\"wa_id\":\"1\"}"), true, false)]
#[case(json!({"type": "unsupported", "errors": [{"code": 131_051}]}), "", None, false, true)]
#[case(json!({"type": "hologram"}), "", None, false, true)]
#[case(json!({}), "", None, false, true)]
fn every_type_of_message_is_read(
    #[case] mut element: Value,
    #[case] text: &str,
    #[case] payload: Option<&str>,
    #[case] automatic: bool,
    #[case] opens: bool,
) {
    element["id"] = json!("wamid.I");
    element["from"] = json!("16505551234");
    element["timestamp"] = json!("1795000000");
    let parsed = message(&element);
    let read = &parsed.inbound[0];
    let extra = read.whatsapp.as_ref().unwrap();
    assert_eq!(read.text.expose(), text);
    assert_eq!(extra.payload.as_ref().map(|p| p.expose().as_str()), payload);
    assert_eq!((read.automatic, extra.opens_window), (automatic, opens));
    assert_eq!(read.from.expose(), "+16505551234");
    assert_eq!(read.occurred_at, Timestamp::from_second(1_795_000_000).ok());
}

#[test]
fn a_file_is_named_by_its_id() {
    let parsed = message(&json!({
        "id": "wamid.I", "from": "16505551234", "type": "document",
        "document": { "id": "99", "mime_type": "application/pdf", "caption": "see", "filename": "a.pdf" }
    }));
    let read = &parsed.inbound[0];
    assert_eq!((read.text.expose().as_str(), read.media.len()), ("see", 1));
    assert_eq!(read.media[0].location, "99");
}

#[test]
fn users_without_a_number_are_known_by_their_id() {
    let id = "US.13491208655302741918";
    let parsed = message(&json!({
        "id": "wamid.I", "from_user_id": id, "type": "text", "text": { "body": "hi" }, "context": { "id": "wamid.O" }
    }));
    assert_eq!(parsed.inbound[0].from.expose(), id);
    assert_eq!(parsed.links[0].provider_message_id.as_deref(), Some("wamid.O"));
    assert!(parsed.links[0].phone.is_none());
    let both =
        message(&json!({ "id": "wamid.J", "from": "16505551234", "from_user_id": id, "type": "text" }));
    assert_eq!(both.inbound[0].from.expose(), "+16505551234");
    let phone = both.links[0].phone.as_ref().map(|phone| phone.expose().as_str());
    assert_eq!(phone, Some("+16505551234"));
    let renamed = message(&json!({
        "id": "wamid.K", "from_user_id": id, "type": "system",
        "system": { "type": "user_changed_user_id", "user_id": "US.2" }
    }));
    assert_eq!(
        renamed.links[0]
            .replaces
            .as_ref()
            .map(|old| old.expose().as_str()),
        Some(id)
    );
    let status = json!({ "statuses": [{ "id": "wamid.O", "status": "delivered", "recipient_user_id": id }] });
    let parsed = receive(&envelope(&[change(NUMBER, &status)])).unwrap();
    assert_eq!(parsed.links[0].provider_message_id.as_deref(), Some("wamid.O"));
    assert!(parsed.events[0].recipient.is_none());
}

#[rstest]
#[case(131_026, ErrorCategory::Permanent, None)]
#[case(131_050, ErrorCategory::Permanent, Some(SuppressBecause::MarketingStop))]
#[case(130_429, ErrorCategory::RateLimit, None)]
#[case(999_999, ErrorCategory::Permanent, None)]
fn a_failure_is_classed_as_an_answer_is(
    #[case] code: i64,
    #[case] category: ErrorCategory,
    #[case] suppress: Option<SuppressBecause>,
) {
    let status = json!({ "statuses": [{
        "id": "wamid.O", "status": "failed", "recipient_id": "16505551234", "biz_opaque_callback_data": "r-1",
        "errors": [{ "code": code, "title": "no", "error_data": { "details": "to 16505551234" } }]
    }] });
    let parsed = receive(&envelope(&[change(NUMBER, &status)])).unwrap();
    let event = &parsed.events[0];
    assert_eq!(event.error, Some((category, code.to_string())));
    assert_eq!(
        (event.suppress, event.reference.as_deref()),
        (suppress, Some("r-1"))
    );
    assert_eq!(event.detail.as_deref(), Some("to [number]"));
}

#[rstest]
#[case("APPROVED", TemplateStanding::Approved)]
#[case("PAUSED", TemplateStanding::Paused)]
#[case("DISABLED", TemplateStanding::Disabled)]
#[case("REJECTED", TemplateStanding::Rejected)]
#[case("PENDING_DELETION", TemplateStanding::Other)]
fn reviews_of_templates_are_read(#[case] word: &str, #[case] standing: TemplateStanding) {
    let review = json!({
        "field": "message_template_status_update",
        "value": { "event": word, "message_template_name": "order_ready", "message_template_language": "en_US",
            "reason": "NONE" }
    });
    let parsed = receive(&envelope(&[review])).unwrap();
    let report = &parsed.templates[0];
    assert_eq!((report.standing, report.name.as_str()), (standing, "order_ready"));
    assert_eq!(report.occurred_at, Timestamp::from_second(1_795_000_009).ok());
    assert_eq!(report.reason, None);
}

#[test]
fn a_preference_is_about_the_user() {
    let element = |value: &str| json!({ "wa_id": "16505551234", "category": "marketing_messages", "value": value, "timestamp": 1_795_000_000 });
    let mut change = change(
        NUMBER,
        &json!({ "user_preferences": [element("stop"), element("resume"), element("maybe")] }),
    );
    change["field"] = json!("user_preferences");
    let parsed = receive(&envelope(&[change])).unwrap();
    let kinds: Vec<_> = parsed
        .events
        .iter()
        .map(|event| (event.kind, event.suppress))
        .collect();
    assert_eq!(
        kinds,
        [
            (
                DeliveryEventKind::Unsubscribed,
                Some(SuppressBecause::MarketingStop)
            ),
            (DeliveryEventKind::Resubscribed, None)
        ]
    );
    assert_eq!(parsed.skipped.len(), 1);
    assert!(!parsed.events[0].dedupe_key.contains("16505551234"));
}
