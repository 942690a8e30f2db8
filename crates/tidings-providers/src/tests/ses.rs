//! SES on the wire, and what SNS sends for it: only what is signed for a topic of the connection is believed, and
//! nothing is fetched for anybody else.

use super::sending::full;
use super::{egress_by, policy, provider, provider_over};
use crate::config::{ConnectionConfig, Credentials, build};
use crate::contract::{Provider, SendOutcome, WebhookParsed, WebhookRefusal, WebhookRequest};
use crate::egress::{Egress, EgressPolicy};
use crate::samples;
use crate::sandbox::MemoryCapture;
use crate::stand_in::closed_port;
use crate::stand_in::http::{Behaviour, HttpStandIn, Reply};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::Arc;
use tidings_core::event::DeliveryEventKind;
use tidings_core::{Channel, ProviderKind};

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:ses-events";
const CERTIFICATE: &str =
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";

fn now() -> Timestamp {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

fn keys() -> Value {
    json!({ "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG" })
}

fn settings(base_url: &str) -> Value {
    json!({
        "from_email": "shop@brand.test", "from_name": "Brand", "region": "eu-west-1", "configuration_set": "cs",
        "topic_arns": [TOPIC], "tags": { "kind": "orders" }, "base_url": base_url
    })
}

#[tokio::test]
async fn the_whole_message_is_sent_and_signed() {
    let stand_in = HttpStandIn::start(Behaviour::Answer(Reply::json(200, r#"{"MessageId":"m-1"}"#)));
    let mut credentials = keys();
    credentials["session_token"] = json!("token");
    let ses = provider(ProviderKind::Ses, settings(&stand_in.url()), &credentials);
    let submission = full(samples::email("bob@example.com"));
    let accepted = SendOutcome::Accepted {
        provider_message_id: Some("m-1".to_owned()),
    };
    assert_eq!(ses.send(&submission).await, accepted);
    let request = &stand_in.received()[0];
    assert_eq!(request.line, "POST /v2/email/outbound-emails HTTP/1.1");
    let header = |name: &str| {
        let found = request.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).unwrap()
    };
    assert_eq!(header("x-amz-date"), "20261120T100000Z");
    assert_eq!(header("x-amz-security-token"), "token");
    let authorization = header("authorization");
    let begins = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261120/eu-west-1/ses/aws4_request, \
                  SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=";
    assert!(authorization.starts_with(begins), "{authorization}");
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["FromEmailAddress"], "\"Brand\" <shop@brand.test>");
    assert_eq!(body["Destination"], json!({ "ToAddresses": ["bob@example.com"] }));
    assert_eq!(body["ConfigurationSetName"], "cs");
    assert_eq!(
        body["EmailTags"],
        json!([
            { "Name": "tidings_reference", "Value": "0197c0de-0000-7000-8000-000000000001_2e1" },
            { "Name": "tidings_message_id", "Value": "0197c0de-0000-7000-8000-00000000000a" },
            { "Name": "kind", "Value": "orders" },
        ])
    );
    let simple = &body["Content"]["Simple"];
    assert_eq!(simple["Body"]["Text"]["Data"], "Ready.");
    assert_eq!(
        simple["Headers"],
        json!([
            { "Name": "Auto-Submitted", "Value": "auto-generated" },
            { "Name": "List-Unsubscribe", "Value": "<https://brand.test/u/abc>" },
            { "Name": "List-Unsubscribe-Post", "Value": "List-Unsubscribe=One-Click" },
        ])
    );
    assert_eq!(simple["Attachments"][0]["ContentDisposition"], "INLINE");
    assert_eq!(simple["Attachments"][0]["RawContent"], "AAAA");
}

#[tokio::test]
async fn nothing_is_sent_without_a_clock() {
    let stand_in = HttpStandIn::start(Behaviour::Answer(Reply::json(200, r#"{"MessageId":"m-1"}"#)));
    let timeless = Egress::new(policy()).unwrap();
    let ses = provider_over(&timeless, ProviderKind::Ses, settings(&stand_in.url()), &keys());
    let outcome = ses.send(&samples::email("bob@example.com")).await;
    assert!(matches!(outcome, SendOutcome::Rejected(_)), "{outcome:?}");
    assert_eq!(stand_in.received().len(), 0);
}

#[tokio::test]
async fn tags_come_back_only_with_a_configuration_set() {
    let mut settings = settings("http://127.0.0.1:1");
    let with = provider(ProviderKind::Ses, settings.clone(), &keys());
    assert!(with.capabilities().echoes_reference);
    settings["configuration_set"] = Value::Null;
    let without = provider(ProviderKind::Ses, settings, &keys());
    assert!(!without.capabilities().echoes_reference);
}

#[rstest]
#[case(200, r#"{"SendingEnabled":true,"ProductionAccessEnabled":true,"EnforcementStatus":"HEALTHY","SendQuota":{"Max24HourSend":50000.0}}"#, true)]
#[case(200, r#"{"SendingEnabled":true,"ProductionAccessEnabled":false}"#, true)]
#[case(200, r#"{"SendingEnabled":false}"#, false)]
#[case(200, r#"{"SendingEnabled":true,"EnforcementStatus":"SHUTDOWN"}"#, false)]
#[case(200, "<html>", false)]
#[case(403, r#"{"__type":"AccessDeniedException","Message":"no"}"#, false)]
#[tokio::test]
async fn the_check_reads_the_account(#[case] status: u16, #[case] body: &str, #[case] ok: bool) {
    let stand_in = HttpStandIn::start(Behaviour::Answer(Reply::json(status, body)));
    let report = provider(ProviderKind::Ses, settings(&stand_in.url()), &keys())
        .check()
        .await;
    assert_eq!(report.ok, ok, "{report:?}");
    assert_eq!(stand_in.received()[0].line, "GET /v2/email/account HTTP/1.1");
}

#[rstest]
#[case(json!({ "region": "EU West" }), "settings.region")]
#[case(json!({ "region": "eu-west-1.evil.test/" }), "settings.region")]
#[case(json!({ "from_name": "a\nb" }), "settings.from_name")]
#[case(json!({ "configuration_set": "a b" }), "settings.configuration_set")]
#[case(json!({ "topic_arns": ["ses-events"] }), "settings.topic_arns")]
#[case(json!({ "topic_arns": [format!("{TOPIC}:2bcfbf39-05c3-41de")] }), "settings.topic_arns")]
#[case(json!({ "identity_arn": TOPIC }), "settings.identity_arn")]
#[case(json!({ "tags": { "tidings_reference": "x" } }), "settings.tags")]
#[case(json!({ "tags": { "a": "b.c" } }), "settings.tags")]
#[case(json!({ "base_url": "http://10.0.0.1" }), "settings.base_url")]
#[case(json!({ "colour": 1 }), "settings")]
fn wrong_settings_are_named(#[case] change: Value, #[case] place: &str) {
    let mut all = json!({ "from_email": "shop@brand.test", "region": "eu-west-1" });
    all.as_object_mut()
        .unwrap()
        .extend(change.as_object().unwrap().clone());
    let error = refused(all, &keys());
    assert_eq!(error.place, format!("ses {place}"), "{error}");
}

#[rstest]
#[case(json!({ "access_key_id": "s3cret", "secret_access_key": "x" }), "ses credentials.access_key_id")]
#[case(json!({ "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "" }), "ses credentials.secret_access_key")]
#[case(json!({ "access_key_id": "ASIAIOSFODNN7EXAMPLE", "secret_access_key": "x" }), "ses credentials.session_token")]
#[case(json!({ "access_key_id": "AKIAIOSFODNN7EXAMPLE" }), "ses credentials")]
fn wrong_keys_are_named_and_not_quoted(#[case] credentials: Value, #[case] place: &str) {
    let error = refused(
        json!({ "from_email": "shop@brand.test", "region": "eu-west-1" }),
        &credentials,
    );
    assert_eq!(error.place, place);
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

fn refused(settings: Value, credentials: &Value) -> crate::config::ConfigError {
    let config = ConnectionConfig {
        kind: ProviderKind::Ses,
        channel: Channel::Email,
        settings,
        credentials: Credentials::new(SecretString::from(credentials.to_string())),
    };
    let egress = Egress::new(EgressPolicy::default()).unwrap();
    build(&config, &egress, Arc::new(MemoryCapture::new())).unwrap_err()
}

/// SNS with a key of its own: it serves the certificate and signs.
struct Sns {
    stand_in: HttpStandIn,
    pair: RsaKeyPair,
}

fn der(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82], &length[..], &content].concat()
}

/// As much of a certificate as carries a key (RFC 5280 section 4.1).
fn certificate(public_key: &[u8]) -> String {
    let (number, part) = (der(0x02, &[&[1]]), der(0x30, &[]));
    let bits = der(0x03, &[&[0], public_key]);
    let key_info = der(0x30, &[&part, &bits]);
    let tbs = der(0x30, &[&number, &part, &part, &part, &part, &key_info]);
    let whole = der(0x30, &[&tbs, &part]);
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        STANDARD.encode(whole)
    )
}

impl Sns {
    fn start() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let reply = Reply {
            status: 200,
            headers: Vec::new(),
            body: certificate(pair.public_key().as_ref()),
        };
        Self {
            stand_in: HttpStandIn::start(Behaviour::Answer(reply)),
            pair,
        }
    }

    fn provider(&self) -> Arc<dyn Provider> {
        provider_at(&self.stand_in.url())
    }

    /// A notification of an opened mail.
    fn notification() -> Value {
        let message = json!({
            "eventType": "Open", "open": { "timestamp": "2026-11-20T09:59:00.000Z" },
            "mail": { "messageId": "m-1", "destination": ["bob@example.com"], "tags": { "tidings_reference": ["d1-1"] } }
        });
        json!({
            "Type": "Notification", "MessageId": "sns-1", "TopicArn": TOPIC, "Message": format!("{message}\n"),
            "Timestamp": "2026-11-20T09:59:30.123Z", "SignatureVersion": "2", "SigningCertURL": CERTIFICATE
        })
    }

    fn confirmation() -> Value {
        json!({
            "Type": "SubscriptionConfirmation", "MessageId": "sns-2", "TopicArn": TOPIC, "Message": "You have chosen",
            "Token": "t0ken", "Timestamp": "2026-11-20T09:59:30.123Z", "SignatureVersion": "2",
            "SubscribeURL": format!("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=t0ken"),
            "SigningCertURL": CERTIFICATE
        })
    }

    fn signed(&self, mut message: Value) -> Value {
        let parsed = crate::signature::sns::Message::parse(message.to_string().as_bytes()).unwrap();
        let text = parsed.string_to_sign().unwrap();
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                text.as_bytes(),
                &mut signature,
            )
            .unwrap();
        message["Signature"] = json!(STANDARD.encode(signature));
        message
    }

    /// What was fetched from it.
    fn fetched(&self) -> Vec<String> {
        let received = self.stand_in.received();
        received.into_iter().map(|request| request.line).collect()
    }
}

fn provider_at(sns: &str) -> Arc<dyn Provider> {
    let egress = egress_by(EgressPolicy {
        sns_stand_in: Some(sns.to_owned()),
        ..policy()
    });
    provider_over(
        &egress,
        ProviderKind::Ses,
        settings("http://127.0.0.1:1"),
        &keys(),
    )
}

async fn take(
    provider: &dyn Provider,
    body: impl ToString,
    now: Timestamp,
) -> Result<WebhookParsed, WebhookRefusal> {
    let request = WebhookRequest {
        method: "POST".to_owned(),
        url: "https://engine.test/webhooks/ses/1".to_owned(),
        headers: vec![("content-type".to_owned(), "text/plain; charset=UTF-8".to_owned())],
        body: body.to_string().into_bytes().into(),
    };
    provider.webhook(&request, now).await
}

#[tokio::test]
async fn a_notification_is_read_and_its_certificate_fetched_once() {
    let sns = Sns::start();
    let provider = sns.provider();
    let body = sns.signed(Sns::notification());
    for _ in 0..3 {
        let parsed = take(provider.as_ref(), &body, now()).await.unwrap();
        let event = &parsed.events[0];
        assert_eq!(event.kind, DeliveryEventKind::Opened);
        assert_eq!(
            (event.dedupe_key.as_str(), event.reference.as_deref()),
            ("sns-1", Some("d1-1"))
        );
    }
    assert_eq!(
        sns.fetched(),
        ["GET /SimpleNotificationService-0123456789abcdef0123456789abcdef.pem HTTP/1.1"]
    );
}

#[tokio::test]
async fn nothing_is_fetched_for_a_stranger() {
    let sns = Sns::start();
    let provider = sns.provider();
    let changed = |name: &str, value: Value| {
        let mut message = Sns::notification();
        message[name] = value;
        sns.signed(message)
    };
    let other = "arn:aws:sns:eu-west-1:999999999999:ses-events";
    let bucket = "https://bucket.s3.amazonaws.com/SimpleNotificationService-0.pem";
    let inside = "http://169.254.169.254/latest/x.pem";
    let cases = [
        (changed("TopicArn", json!(other)), WebhookRefusal::WrongAccount),
        (
            changed("SigningCertURL", json!(bucket)),
            WebhookRefusal::SignatureInvalid,
        ),
        (
            changed(
                "SigningCertURL",
                json!("https://sns.eu-west-1.amazonaws.com.evil.test/x.pem"),
            ),
            WebhookRefusal::SignatureInvalid,
        ),
        (
            changed("SigningCertURL", json!(inside)),
            WebhookRefusal::SignatureInvalid,
        ),
        (
            changed("SignatureVersion", json!("3")),
            WebhookRefusal::SignatureInvalid,
        ),
        (Sns::notification(), WebhookRefusal::SignatureMissing),
    ];
    for (body, expect) in cases {
        assert_eq!(
            take(provider.as_ref(), &body, now()).await.unwrap_err(),
            expect,
            "{body}"
        );
    }
    let mut confirmation = Sns::confirmation();
    confirmation["TopicArn"] = json!(other);
    let body = sns.signed(confirmation);
    assert_eq!(
        take(provider.as_ref(), &body, now()).await.unwrap_err(),
        WebhookRefusal::WrongAccount
    );
    assert_eq!(sns.fetched(), Vec::<String>::new());
}

#[tokio::test]
async fn forged_truncated_and_huge_messages_are_refused() {
    let (sns, other) = (Sns::start(), Sns::start());
    let provider = sns.provider();
    let mut forged = sns.signed(Sns::notification());
    forged["Message"] = json!(r#"{"eventType":"Bounce"}"#);
    let mut cut = sns.signed(Sns::notification());
    let signature = cut["Signature"].as_str().unwrap()[..340].to_owned();
    cut["Signature"] = json!(signature);
    let foreign = other.signed(Sns::notification());
    for body in [forged, cut, foreign] {
        assert_eq!(
            take(provider.as_ref(), &body, now()).await.unwrap_err(),
            WebhookRefusal::SignatureInvalid
        );
    }
    let whole = sns.signed(Sns::notification()).to_string();
    let huge = format!("{whole}{}", " ".repeat(1_100_000));
    for body in [&whole[..whole.len() / 2], "", "[]", huge.as_str()] {
        let refusal = take(provider.as_ref(), body, now()).await.unwrap_err();
        assert!(matches!(refusal, WebhookRefusal::Malformed(_)), "{refusal}");
    }
}

#[tokio::test]
async fn what_is_older_than_an_hour_is_stale() {
    let sns = Sns::start();
    let provider = sns.provider();
    let body = sns.signed(Sns::notification());
    let sent: Timestamp = "2026-11-20T09:59:30.123Z".parse().unwrap();
    let hour = SignedDuration::from_hours(1);
    let at = |after: SignedDuration| sent + after;
    assert!(take(provider.as_ref(), &body, at(hour)).await.is_ok());
    for after in [
        hour + SignedDuration::from_millis(1),
        -SignedDuration::from_mins(6),
    ] {
        let refusal = take(provider.as_ref(), &body, at(after)).await.unwrap_err();
        assert_eq!(refusal, WebhookRefusal::Stale, "{after}");
    }
}

#[tokio::test]
async fn a_subscription_is_confirmed_once_on_sns_itself() {
    let sns = Sns::start();
    let provider = sns.provider();
    let parsed = take(provider.as_ref(), sns.signed(Sns::confirmation()), now())
        .await
        .unwrap();
    assert!(parsed.events.is_empty());
    let fetched = sns.fetched();
    assert_eq!(
        fetched[1],
        format!("GET /?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=t0ken HTTP/1.1")
    );
    assert_eq!(fetched.len(), 2);
    for url in [
        "https://evil.test/?Action=ConfirmSubscription",
        "http://169.254.169.254/",
        "https://bucket.s3.amazonaws.com/?Action=ConfirmSubscription",
        "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-west-1:9:x",
    ] {
        let mut message = Sns::confirmation();
        message["SubscribeURL"] = json!(url);
        let refusal = take(provider.as_ref(), sns.signed(message), now())
            .await
            .unwrap_err();
        assert!(
            matches!(refusal, WebhookRefusal::Malformed(_)),
            "{url}: {refusal}"
        );
    }
    assert_eq!(sns.fetched().len(), 2);
}

#[tokio::test]
async fn an_ended_subscription_is_told_and_not_renewed() {
    let sns = Sns::start();
    let provider = sns.provider();
    let mut message = Sns::confirmation();
    message["Type"] = json!("UnsubscribeConfirmation");
    let parsed = take(provider.as_ref(), sns.signed(message), now()).await.unwrap();
    assert_eq!(parsed.skipped.len(), 1);
    assert_eq!(sns.fetched().len(), 1, "the certificate, and no visit");
}

#[tokio::test]
async fn sns_is_asked_to_send_again_when_its_certificate_cannot_be_had() {
    let sns = Sns::start();
    let html = HttpStandIn::start(Behaviour::Answer(Reply::json(200, "<html>")));
    let moved = HttpStandIn::start(Behaviour::Answer(
        Reply::json(302, "").with("Location", &sns.stand_in.url()),
    ));
    let nobody = format!("http://127.0.0.1:{}", closed_port());
    for url in [nobody, html.url(), moved.url()] {
        let body = sns.signed(Sns::notification());
        let refusal = take(provider_at(&url).as_ref(), body, now()).await.unwrap_err();
        assert!(matches!(refusal, WebhookRefusal::Unavailable(_)), "{refusal}");
    }
    assert_eq!(sns.fetched().len(), 0, "no redirect is followed");
}

#[tokio::test]
async fn without_topics_nothing_is_believed() {
    let sns = Sns::start();
    let bare = json!({ "from_email": "shop@brand.test", "region": "eu-west-1" });
    let provider = provider(ProviderKind::Ses, bare, &keys());
    let refusal = take(provider.as_ref(), sns.signed(Sns::notification()), now())
        .await
        .unwrap_err();
    assert!(matches!(refusal, WebhookRefusal::NotConfigured(_)));
}
