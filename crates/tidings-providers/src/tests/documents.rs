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

/// A document: the faults it finds with a request.
type Judge<'j> = &'j dyn Fn(&Request<'_>) -> Vec<String>;

/// The document has nothing against any form of what is sent.
async fn allows(
    judge: Judge<'_>,
    kind: ProviderKind,
    settings: &Value,
    credentials: &Value,
    forms: Vec<(&'static str, Submission)>,
) {
    for (form, submission) in forms {
        let request = written(kind, settings, credentials, &submission).await;
        assert_eq!(judge(&asked(&request)), [""; 0], "{form}: {}", request.body);
    }
}

/// The document has nothing against a request, and names what is wrong with it when its body is this.
fn names(judge: Judge<'_>, right: &Received, body: String, named: &str) {
    assert_eq!(judge(&asked(right)), [""; 0]);
    let mut request = right.clone();
    request.body = body;
    let faults = judge(&asked(&request));
    assert!(faults.iter().any(|fault| fault.contains(named)), "{faults:?}");
}

/// The document refuses a request that was changed.
fn refuses(judge: Judge<'_>, right: &Received, what: &str, change: &dyn Fn(&mut Received)) {
    let mut request = right.clone();
    change(&mut request);
    assert!(!judge(&asked(&request)).is_empty(), "{what}");
}

/// What stands around a right body counts for the document as much as the body.
fn judges_around(judge: Judge<'_>, right: &Received) {
    assert_eq!(judge(&asked(right)), [""; 0]);
    let line = |from: &'static str, to: &'static str| {
        move |request: &mut Received| request.line = request.line.replace(from, to)
    };
    refuses(judge, right, "method", &line("POST", "PUT"));
    refuses(judge, right, "path", &line(" HTTP", "/x HTTP"));
    refuses(judge, right, "query", &line(" HTTP", "?x=1 HTTP"));
    for (name, value) in [("authorization", "Token x"), ("content-type", "text/plain")] {
        refuses(judge, right, name, &|request| {
            set(request, name, value.to_owned());
        });
    }
    refuses(judge, right, "no body", &|request| request.body.clear());
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
    let judge = |request: &Request<'_>| operation.faults(request);
    let forms = samples::emails("bob@example.com");
    let credentials = json!({ "api_key": "SG.key" });
    allows(&judge, ProviderKind::Sendgrid, &settings, &credentials, forms).await;
}

#[rstest]
#[case(json!({ "from_email": "shop@brand.test" }))]
#[case(json!({ "from_email": "shop@brand.test", "from_name": "Bränd, Ltd", "tags": { "kind": "orders" } }))]
#[tokio::test]
async fn resends_document_allows_every_mail(#[case] settings: Value) {
    let operation = documents::resend();
    let judge = |request: &Request<'_>| operation.faults(request);
    let forms = samples::emails("bob@example.com");
    let credentials = json!({ "api_key": "re_key" });
    allows(&judge, ProviderKind::Resend, &settings, &credentials, forms).await;
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
    let judge = |request: &Request<'_>| operation.faults(request);
    let forms = samples::texts("+14155552671");
    allows(&judge, ProviderKind::Twilio, &settings, &credentials, forms).await;
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
    let request = right(ProviderKind::Sendgrid).await;
    let operation = documents::sendgrid();
    let broken = with(&request.body, pointer, value);
    names(&|request| operation.faults(request), &request, broken, named);
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
    let request = right(ProviderKind::Resend).await;
    let operation = documents::resend();
    let broken = with(&request.body, pointer, value);
    names(&|request| operation.faults(request), &request, broken, named);
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
    let request = right(ProviderKind::Twilio).await;
    let operation = documents::twilio();
    assert!(request.body.contains(from), "{}", request.body);
    let broken = request.body.replacen(from, to, 1);
    names(&|request| operation.faults(request), &request, broken, named);
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
    let judge = |request: &Request<'_>| operation.faults(request);
    judges_around(&judge, &request);
    let refused = |what, change: &dyn Fn(&mut Received)| refuses(&judge, &request, what, change);
    refused("no authorization", &|request| {
        request.headers.retain(|(name, _)| name != "authorization");
    });
    match kind {
        ProviderKind::Resend => refused("a long key", &|request| {
            set(request, "idempotency-key", "x".repeat(257));
        }),
        ProviderKind::Twilio => refused("another account", &|request| {
            request.line = request.line.replace(ACCOUNT, "ACx");
        }),
        _ => {}
    }
}

fn set(request: &mut Received, name: &str, value: String) {
    request.headers.retain(|(key, _)| key != name);
    request.headers.push((name.to_owned(), value));
}
