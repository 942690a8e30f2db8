//! What is put on the wire, judged by the vendors' own documents (see `documents/README.md` in `tidings-testkit`).

mod amazon;
mod meta;

use super::provider;
use crate::contract::{SendOutcome, Submission};
use crate::samples;
use crate::stand_in::http::{Behaviour, HttpStandIn, Received, Reply};
use rstest::rstest;
use serde_json::{Value, json};
use tidings_core::ProviderKind;
use tidings_testkit::documents::{self, Operation, Request};

const ACCOUNT: &str = "ACbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// What arrived, for a document to judge.
fn asked(received: &Received) -> Request<'_> {
    Request {
        line: &received.line,
        headers: &received.headers,
        body: &received.body,
    }
}

/// What a provider writes for a submission, which the stand-in takes.
async fn written(kind: ProviderKind, settings: &Value, credentials: &Value, mail: &Submission) -> Received {
    let answer = match kind {
        ProviderKind::Sendgrid => Reply::json(202, ""),
        ProviderKind::Resend => Reply::json(200, r#"{"id":"re-1"}"#),
        ProviderKind::Ses => Reply::json(200, r#"{"MessageId":"m-1"}"#),
        ProviderKind::WhatsappCloud => Reply::json(200, r#"{"messages":[{"id":"wamid.1"}]}"#),
        _ => Reply::json(201, r#"{"sid":"SM0123456789abcdef0123456789abcdef"}"#),
    };
    let stand_in = HttpStandIn::start(Behaviour::Answer(answer));
    let mut settings = settings.clone();
    settings["base_url"] = json!(stand_in.url());
    let outcome = provider(kind, settings, credentials).send(mail).await;
    assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
    stand_in.received().remove(0)
}

#[rstest]
#[case(json!({ "from_email": "shop@brand.test" }))]
#[case(json!({
    "from_email": "shop@brand.test", "from_name": "Bränd, Ltd", "region": "eu", "sandbox_mode": true,
    "categories": ["orders", "spring"], "ip_pool_name": "bulk",
}))]
#[tokio::test]
async fn sendgrids_document_allows_every_mail(#[case] settings: Value) {
    let operation = documents::sendgrid();
    for (form, mail) in samples::emails("bob@example.com") {
        let request = written(
            ProviderKind::Sendgrid,
            &settings,
            &json!({ "api_key": "SG.key" }),
            &mail,
        )
        .await;
        assert_eq!(
            operation.faults(&asked(&request)),
            [""; 0],
            "{form}: {}",
            request.body
        );
    }
}

#[rstest]
#[case(json!({ "from_email": "shop@brand.test" }))]
#[case(json!({ "from_email": "shop@brand.test", "from_name": "Bränd, Ltd", "tags": { "kind": "orders" } }))]
#[tokio::test]
async fn resends_document_allows_every_mail(#[case] settings: Value) {
    let operation = documents::resend();
    for (form, mail) in samples::emails("bob@example.com") {
        let request = written(
            ProviderKind::Resend,
            &settings,
            &json!({ "api_key": "re_key" }),
            &mail,
        )
        .await;
        assert_eq!(
            operation.faults(&asked(&request)),
            [""; 0],
            "{form}: {}",
            request.body
        );
    }
}

#[rstest]
#[case(json!({ "account_sid": ACCOUNT, "from": "+15005550006" }), json!({ "auth_token": "t" }))]
#[case(
    json!({
        "account_sid": ACCOUNT, "messaging_service_sid": "MGcccccccccccccccccccccccccccccccc",
        "validity_period_s": 600, "smart_encoded": true,
    }),
    json!({ "auth_token": "t", "api_key_sid": "SKx", "api_key_secret": "y" })
)]
#[tokio::test]
async fn twilios_document_allows_every_text(#[case] settings: Value, #[case] credentials: Value) {
    let operation = documents::twilio();
    for (form, text) in samples::texts("+14155552671") {
        let request = written(ProviderKind::Twilio, &settings, &credentials, &text).await;
        assert_eq!(
            operation.faults(&asked(&request)),
            [""; 0],
            "{form}: {}",
            request.body
        );
    }
}

/// A request that is right, for breaking.
async fn right(kind: ProviderKind) -> Received {
    let (settings, credentials) = match kind {
        ProviderKind::Sendgrid => (
            json!({ "from_email": "shop@brand.test" }),
            json!({ "api_key": "SG.key" }),
        ),
        ProviderKind::Resend => (
            json!({ "from_email": "shop@brand.test" }),
            json!({ "api_key": "re_key" }),
        ),
        _ => (
            json!({ "account_sid": ACCOUNT, "from": "+15005550006", "validity_period_s": 600, "smart_encoded": true }),
            json!({ "auth_token": "t" }),
        ),
    };
    let all = match kind {
        ProviderKind::Twilio => samples::texts("+14155552671"),
        _ => samples::emails("bob@example.com"),
    };
    let (_, fullest) = all.last().unwrap();
    written(kind, &settings, &credentials, fullest).await
}

/// Sets what is at a pointer; null takes it away.
fn with(body: &str, pointer: &str, value: Value) -> String {
    let mut body: Value = serde_json::from_str(body).unwrap();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match body.pointer_mut(parent).unwrap() {
        Value::Object(fields) if value.is_null() => {
            fields.remove(name).unwrap();
        }
        Value::Object(fields) => {
            fields.insert(name.to_owned(), value);
        }
        other => panic!("{parent} is {other}"),
    }
    body.to_string()
}

#[rstest]
#[case("/from", Value::Null, "from")]
#[case("/from/email", json!("Brand <shop@brand.test>"), "email")]
#[case("/replyto", json!({ "email": "help@brand.test" }), "replyto")]
#[case("/reply_to/email", json!("help@"), "email")]
#[case("/subject", json!(""), "subject")]
#[case("/content/0/value", json!(""), "value")]
#[case("/content/0/type", Value::Null, "type")]
#[case("/personalizations/0/to", Value::Null, "to")]
#[case("/personalizations/0/to/0/adress", json!("x"), "adress")]
#[case("/attachments/0/filename", Value::Null, "filename")]
#[case("/attachments/0/disposition", json!("inlined"), "disposition")]
#[case("/categories", json!(["orders", "orders"]), "categories")]
#[case("/ip_pool_name", json!("x"), "ip_pool_name")]
#[case("/tracking_settings/open_tracking/enable", json!("no"), "enable")]
#[tokio::test]
async fn a_broken_mail_is_refused_by_sendgrids_document(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] named: &str,
) {
    let mut request = right(ProviderKind::Sendgrid).await;
    let operation = documents::sendgrid();
    assert_eq!(operation.faults(&asked(&request)), [""; 0]);
    request.body = with(&request.body, pointer, value);
    let faults = operation.faults(&asked(&request));
    assert!(faults.iter().any(|fault| fault.contains(named)), "{faults:?}");
}

#[rstest]
#[case("/subject", Value::Null, "subject")]
#[case("/to", json!([]), "/to")]
#[case("/to", json!({ "email": "bob@example.com" }), "/to")]
#[case("/replyTo", json!("help@brand.test"), "replyTo")]
#[case("/headers", json!([]), "/headers")]
#[case("/tags/0/key", json!("x"), "key")]
#[case("/attachments/0/contentType", json!("image/png"), "contentType")]
#[tokio::test]
async fn a_broken_mail_is_refused_by_resends_document(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] named: &str,
) {
    let mut request = right(ProviderKind::Resend).await;
    let operation = documents::resend();
    assert_eq!(operation.faults(&asked(&request)), [""; 0]);
    request.body = with(&request.body, pointer, value);
    let faults = operation.faults(&asked(&request));
    assert!(faults.iter().any(|fault| fault.contains(named)), "{faults:?}");
}

#[rstest]
#[case("To=", "Too=", "Too")]
#[case("To=", "to=", "To")]
#[case("From=", "MediaUrl=", "messaging_service_sid")]
#[case("Body=", "ContentVariables=", "media_url")]
#[case("ValidityPeriod=600", "ValidityPeriod=soon", "ValidityPeriod")]
#[case("SmartEncoded=true", "SmartEncoded=yes", "SmartEncoded")]
#[case("SmartEncoded=true", "Body=twice", "Body")]
#[case("SmartEncoded=true", "RiskCheck=maybe", "RiskCheck")]
#[case("StatusCallback=https", "StatusCallback=", "StatusCallback")]
#[tokio::test]
async fn a_broken_text_is_refused_by_twilios_document(
    #[case] from: &str,
    #[case] to: &str,
    #[case] named: &str,
) {
    let mut request = right(ProviderKind::Twilio).await;
    let operation = documents::twilio();
    assert_eq!(operation.faults(&asked(&request)), [""; 0]);
    assert!(request.body.contains(from), "{}", request.body);
    request.body = request.body.replacen(from, to, 1);
    let faults = operation.faults(&asked(&request));
    assert!(faults.iter().any(|fault| fault.contains(named)), "{faults:?}");
}

/// Path, method, headers and the type of the body count as much as the body.
#[rstest]
#[case(ProviderKind::Sendgrid, documents::sendgrid())]
#[case(ProviderKind::Resend, documents::resend())]
#[case(ProviderKind::Twilio, documents::twilio())]
#[tokio::test]
async fn a_request_around_a_right_body_is_judged_too(
    #[case] kind: ProviderKind,
    #[case] operation: Operation,
) {
    let request = right(kind).await;
    let refused = |change: &dyn Fn(&mut Received), what: &str| {
        let mut request = request.clone();
        change(&mut request);
        assert!(!operation.faults(&asked(&request)).is_empty(), "{what}");
    };
    refused(
        &|request| request.line = request.line.replace("POST", "PUT"),
        "method",
    );
    refused(
        &|request| request.line = request.line.replace(" HTTP", "/x HTTP"),
        "path",
    );
    refused(
        &|request| request.line = request.line.replace(" HTTP", "?x=1 HTTP"),
        "query",
    );
    refused(
        &|request| request.headers.retain(|(name, _)| name != "authorization"),
        "no authorization",
    );
    refused(
        &|request| set(request, "authorization", "Token x".to_owned()),
        "authorization",
    );
    refused(
        &|request| set(request, "content-type", "text/plain".to_owned()),
        "content type",
    );
    refused(&|request| request.body.clear(), "no body");
    match kind {
        ProviderKind::Resend => refused(
            &|request| set(request, "idempotency-key", "x".repeat(257)),
            "a long key",
        ),
        ProviderKind::Twilio => refused(
            &|request| request.line = request.line.replace(ACCOUNT, "ACx"),
            "another account",
        ),
        _ => {}
    }
}

fn set(request: &mut Received, name: &str, value: String) {
    request.headers.retain(|(key, _)| key != name);
    request.headers.push((name.to_owned(), value));
}
