//! Vendors whose requests are written down here, as their documentation shows them.

use super::{StandIn, call, control, stand_in};
use rstest::rstest;
use serde_json::{Value, json};
use tidings_stand_in::{Fault, Query, Rule, Vendor};

pub const JSON: (&str, &str) = ("Content-Type", "application/json");

pub fn ses_headers(key: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={key}/20261125/us-east-1/ses/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature={}",
        "0".repeat(64)
    )
}

pub fn ses_email(to: &str) -> String {
    json!({
        "FromEmailAddress": "Shop <shop@brand.test>", "Destination": { "ToAddresses": [to] },
        "Content": { "Simple": { "Subject": { "Data": "Hi" }, "Body": { "Text": { "Data": "x" } } } },
        "EmailTags": [{ "Name": "tidings_reference", "Value": "d1_2e1" }],
    })
    .to_string()
}

async fn ses(stand_in: &StandIn, body: &str) -> (u16, String, String) {
    let authorization = ses_headers("AKIDEXAMPLE");
    let headers = [
        JSON,
        ("Authorization", authorization.as_str()),
        ("X-Amz-Date", "20261125T223000Z"),
    ];
    call(stand_in, "POST", "/v2/email/outbound-emails", &headers, body).await
}

pub async fn send_by_ses(stand_in: &StandIn, to: &str) -> u16 {
    ses(stand_in, &ses_email(to)).await.0
}

#[tokio::test]
async fn ses_takes_signed_calls_and_names_its_errors() {
    let stand_in = stand_in().await;
    let (status, _, body) = ses(&stand_in, &ses_email("bob@example.com")).await;
    assert!(status == 200 && body.contains("MessageId"), "{body}");
    assert_eq!(stand_in.ledger().count(Vendor::Ses, "d1.1"), 1);
    let unsigned = call(&stand_in, "POST", "/v2/email/outbound-emails", &[JSON], "{}").await;
    assert_eq!(unsigned.0, 403);
    assert!(
        unsigned
            .1
            .contains("x-amzn-ErrorType: MissingAuthenticationTokenException")
    );
    for (from, to) in [
        ("\"Simple\"", "\"Simpel\""),
        ("bob@example.com", "bob"),
        ("\"Subject\"", "\"Topic\""),
        ("d1_2e1", "d1 1"),
        (
            "\"Simple\":{",
            "\"Simple\":{\"Headers\":[{\"Name\":\"X-A\",\"Value\":\"Zoë\"}],",
        ),
        (
            "\"Simple\":{",
            "\"Simple\":{\"Attachments\":[{\"FileName\":\"a\",\"RawContent\":\"AA==\",\"ContentDisposition\":\"inline\"}],",
        ),
    ] {
        let (status, head, _) = ses(&stand_in, &ses_email("bob@example.com").replace(from, to)).await;
        assert!(
            status == 400 && head.contains("BadRequestException"),
            "{from}: {status}"
        );
    }
    // A secret that is known makes a made-up signature wrong.
    let account = json!({ "secrets": { "secret_access_key": "secret" } });
    assert_eq!(
        control(&stand_in, "PUT", "/_accounts/ses/AKIDEXAMPLE", &account)
            .await
            .0,
        200
    );
    let (status, head, _) = ses(&stand_in, &ses_email("bob@example.com")).await;
    assert!(
        status == 403 && head.contains("SignatureDoesNotMatchException"),
        "{head}"
    );
    stand_in
        .fault(Rule::always(Fault::RateLimited {
            retry_after_s: None,
            bare: false,
        }))
        .unwrap();
}

async fn resend(stand_in: &StandIn, key: &str, body: &Value) -> (u16, Value) {
    let headers = [JSON, ("Authorization", "Bearer re_key"), ("Idempotency-Key", key)];
    let (status, _, body) = call(stand_in, "POST", "/emails", &headers, &body.to_string()).await;
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn resend_takes_a_key_once_and_only_with_its_body() {
    let stand_in = stand_in().await;
    let email = json!({ "from": "Shop <shop@brand.test>", "to": "bob@example.com", "subject": "Hi", "html": "<p>x</p>" });
    let first = resend(&stand_in, "d1", &email).await;
    assert_eq!(
        (first.0, resend(&stand_in, "d1", &email).await),
        (200, first.clone())
    );
    let mut other = email.clone();
    other["subject"] = json!("Another");
    let (status, refused) = resend(&stand_in, "d1", &other).await;
    assert_eq!(
        (status, &refused["name"]),
        (409, &json!("invalid_idempotent_request"))
    );
    assert_ne!(resend(&stand_in, "d2", &email).await, first);
    let summary = stand_in.ledger().summary();
    assert_eq!(
        (summary.accepted, summary.replayed, summary.duplicates),
        (2, 1, 0)
    );
    let bearer = [("Authorization", "Bearer re_key")];
    let (status, _, found) = call(
        &stand_in,
        "GET",
        &format!("/emails/{}", first.1["id"].as_str().unwrap()),
        &bearer,
        "",
    )
    .await;
    assert!(status == 200 && found.contains("\"subject\":\"Hi\""), "{found}");
    assert_eq!(call(&stand_in, "GET", "/emails/0197", &bearer, "").await.0, 404);
    assert_eq!(call(&stand_in, "GET", "/emails/0197", &[], "").await.0, 401);
    let long = "k".repeat(257);
    assert_eq!(
        resend(&stand_in, &long, &email).await.1["name"],
        "invalid_idempotency_key"
    );
}

#[rstest]
#[case("from", json!("shop"), "validation_error")]
#[case("to", json!([]), "missing_required_field")]
#[case("to", json!(["bob"]), "validation_error")]
#[case("subject", json!(""), "missing_required_field")]
#[case("html", json!(""), "validation_error")]
#[case("tags", json!([{ "name": "a b", "value": "c" }]), "validation_error")]
#[case("attachments", json!([{ "filename": "a" }]), "invalid_attachment")]
#[tokio::test]
async fn resend_refuses(#[case] field: &str, #[case] value: Value, #[case] name: &str) {
    let stand_in = stand_in().await;
    let mut email =
        json!({ "from": "shop@brand.test", "to": ["bob@example.com"], "subject": "Hi", "html": "x" });
    email[field] = value;
    let (status, body) = resend(&stand_in, "d1", &email).await;
    assert_eq!((status, &body["name"]), (422, &json!(name)), "{body}");
    assert_eq!(stand_in.ledger().summary().accepted, 0);
}

#[tokio::test]
async fn a_key_in_use_is_a_conflict() {
    let stand_in = stand_in().await;
    let email = json!({ "from": "shop@brand.test", "to": ["bob@example.com"], "subject": "Hi", "html": "x" });
    let slow = Fault::Latency {
        min_ms: 500,
        max_ms: 500,
    };
    stand_in.fault(Rule::always(slow)).unwrap();
    let (first, second) = tokio::join!(resend(&stand_in, "d1", &email), resend(&stand_in, "d1", &email));
    let mut statuses = [first.0, second.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    assert_eq!(stand_in.ledger().summary().accepted, 1);
}

async fn whatsapp(stand_in: &StandIn, body: &Value) -> (u16, Value) {
    let headers = [JSON, ("Authorization", "Bearer EAA")];
    let (status, _, body) = call(
        stand_in,
        "POST",
        "/v26.0/100200300/messages",
        &headers,
        &body.to_string(),
    )
    .await;
    (status, serde_json::from_str(&body).unwrap())
}

#[rstest]
#[case(json!({ "to": "+16505551234", "type": "text", "text": { "body": "Hi" } }), None)]
#[case(json!({ "to": "16505551234", "type": "template", "template": { "name": "order_ready", "language": { "code": "en_US" } } }), None)]
#[case(json!({ "status": "read", "message_id": "wamid.x", "typing_indicator": { "type": "text" } }), None)]
#[case(json!({ "to": "16505551234", "type": "image", "image": { "link": "https://x.test/a.png", "caption": "c" } }), None)]
#[case(json!({ "type": "text", "text": { "body": "Hi" } }), Some(100))]
#[case(json!({ "to": "bob", "type": "text", "text": { "body": "Hi" } }), Some(131_009))]
#[case(json!({ "to": "16505551234", "type": "text", "text": { "body": "x".repeat(4_097) } }), Some(131_009))]
#[case(json!({ "to": "16505551234", "type": "text" }), Some(131_008))]
#[case(json!({ "to": "16505551234", "type": "telex", "telex": {} }), Some(131_051))]
#[case(json!({ "to": "16505551234", "type": "template", "template": { "name": "Order Ready" } }), Some(132_001))]
#[case(json!({ "to": "16505551234", "type": "image", "image": {} }), Some(131_009))]
#[tokio::test]
async fn whatsapp_takes_and_refuses(#[case] mut body: Value, #[case] code: Option<u32>) {
    let stand_in = stand_in().await;
    body["messaging_product"] = json!("whatsapp");
    let (status, answer) = whatsapp(&stand_in, &body).await;
    match code {
        None => assert_eq!(status, 200, "{answer}"),
        Some(code) => assert_eq!((status, &answer["error"]["code"]), (400, &json!(code))),
    }
}

#[tokio::test]
async fn whatsapp_keeps_files() {
    let stand_in = stand_in().await;
    let body = "--b\r\nContent-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\nPNG\r\n--b--\r\n";
    let bearer = ("Authorization", "Bearer EAA");
    let headers = [bearer, ("Content-Type", "multipart/form-data; boundary=b")];
    let (status, _, answer) = call(&stand_in, "POST", "/v26.0/100200300/media", &headers, body).await;
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let target = format!("/v26.0/{}", answer["id"].as_str().unwrap());
    let (_, _, about) = call(&stand_in, "GET", &target, &[bearer], "").await;
    let about: Value = serde_json::from_str(&about).unwrap();
    assert_eq!(
        (&about["mime_type"], &about["file_size"]),
        (&json!("image/png"), &json!(3))
    );
    let url = about["url"].as_str().unwrap();
    let path = url.strip_prefix(&stand_in.url()).unwrap();
    assert_eq!(call(&stand_in, "GET", path, &[bearer], "").await.2, "PNG");
    assert_eq!(call(&stand_in, "GET", path, &[], "").await.0, 401);
}

#[rstest]
#[case("event_action", json!("trigger"), 202)]
#[case("event_action", json!("explode"), 400)]
#[case("routing_key", json!("short"), 400)]
#[case("payload", json!({ "summary": "s", "source": "x", "severity": "grave" }), 400)]
#[case("payload", json!({ "source": "x", "severity": "error" }), 400)]
#[case("dedup_key", json!("k".repeat(256)), 400)]
#[tokio::test]
async fn pagerduty_takes_and_refuses(#[case] field: &str, #[case] value: Value, #[case] expect: u16) {
    let stand_in = stand_in().await;
    let mut event = json!({
        "routing_key": "0123456789abcdef0123456789abcdef", "event_action": "trigger", "dedup_key": "incident-1",
        "payload": { "summary": "Queue stands", "source": "tidings", "severity": "critical" },
    });
    event[field] = value;
    let (status, _, body) = call(&stand_in, "POST", "/v2/enqueue", &[JSON], &event.to_string()).await;
    assert_eq!(status, expect, "{body}");
    if expect == 202 {
        assert!(body.contains("\"dedup_key\":\"incident-1\""));
        assert_eq!(
            stand_in.ledger().entries(&Query::default())[0]
                .reference
                .as_deref(),
            Some("trigger:incident-1")
        );
    }
}

#[rstest]
#[case("/services/T1/B1/x1", r#"{"text":"Hi"}"#, 200, "ok")]
#[case("/services/T1/B1/x1", r"{}", 400, "no_text")]
#[case("/services/T1/B1/x1", "nonsense", 400, "invalid_payload")]
#[case("/services/T1/B1", r#"{"text":"Hi"}"#, 404, "no_service")]
#[case("/services/X1/B1/x1", r#"{"text":"Hi"}"#, 404, "no_team")]
#[tokio::test]
async fn slack_answers_in_words(
    #[case] path: &str,
    #[case] body: &str,
    #[case] status: u16,
    #[case] word: &str,
) {
    let stand_in = stand_in().await;
    let (given, _, said) = call(&stand_in, "POST", path, &[JSON], body).await;
    assert_eq!((given, said.as_str()), (status, word));
}

#[rstest]
#[case("/personalizations/0/to/0/email", json!("bob"), "personalizations.0.to.0.email")]
#[case("/personalizations", json!([]), "personalizations")]
#[case("/from/email", json!(""), "from.email")]
#[case("/subject", json!(""), "subject")]
#[case("/content", json!([]), "content")]
#[case("/content/0/value", json!(""), "content.0.value")]
#[case("/headers", json!({ "To": "x@y.z" }), "headers.To")]
#[case("/headers", json!({ "X-A": "a\r\nBcc: x@y.z" }), "headers.X-A")]
#[case("/categories", json!(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]), "categories")]
#[case("/attachments", json!([{ "content": "%%", "filename": "a" }]), "attachments.0.content")]
#[tokio::test]
async fn sendgrid_names_the_field(#[case] at: &str, #[case] value: Value, #[case] field: &str) {
    let stand_in = stand_in().await;
    let mut mail = json!({
        "personalizations": [{ "to": [{ "email": "bob@example.com" }] }], "from": { "email": "shop@brand.test" },
        "subject": "Hi", "content": [{ "type": "text/plain", "value": "x" }], "headers": {}, "categories": [], "attachments": [],
    });
    *mail.pointer_mut(at).unwrap() = value;
    let headers = [JSON, ("Authorization", "Bearer SG.key")];
    let (status, head, body) = call(&stand_in, "POST", "/v3/mail/send", &headers, &mail.to_string()).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &body["errors"][0]["field"]),
        (400, &json!(field)),
        "{body}"
    );
    assert!(head.contains("X-RateLimit-Remaining"));
}

#[rstest]
#[case("To=bob&From=%2B15005550006&Body=x", 21211)]
#[case("From=%2B15005550006&Body=x", 21604)]
#[case("To=%2B14155552671&Body=x", 21603)]
#[case("To=%2B14155552671&From=%2B15005550006", 21602)]
#[case("To=%2B15005550004&From=%2B15005550006&Body=x", 21610)]
#[case("To=%2B14155552671&From=%2B15005550007&Body=x", 21606)]
#[case(
    "To=%2B14155552671&From=%2B15005550006&Body=x&StatusCallback=http%3A%2F%2Fa_b.test%2F",
    21609
)]
#[case("To=%2B14155552671&From=%2B15005550006&Body=x&ValidityPeriod=0", 20001)]
#[tokio::test]
async fn twilio_has_its_codes(#[case] form: &str, #[case] code: u32) {
    let stand_in = stand_in().await;
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        (
            "Authorization",
            "Basic QUNiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYjp0b2tlbg==",
        ),
    ];
    let target = format!("/2010-04-01/Accounts/{}/Messages.json", super::TWILIO_ACCOUNT);
    let (status, _, body) = call(&stand_in, "POST", &target, &headers, form).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["code"]), (400, &json!(code)), "{body}");
}
