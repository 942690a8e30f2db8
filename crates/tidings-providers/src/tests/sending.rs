//! What HTTP providers put on the wire.

use super::{egress, patient_egress, provider, provider_over};
use crate::config::{ConnectionConfig, Credentials, build};
use crate::contract::{Attachment, Content, Lookup, SendOutcome, Submission};
use crate::samples;
use crate::sandbox::MemoryCapture;
use crate::stand_in::http::{Behaviour, HttpStandIn, Reply};
use rstest::rstest;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::redact::Private;
use tidings_core::{Channel, ProviderKind};
use url::form_urlencoded;

/// With a way to unsubscribe and an inline image.
pub(super) fn full(mut submission: Submission) -> Submission {
    let Content::Email(mut email) = submission.content.into_exposed() else {
        unreachable!()
    };
    email.unsubscribe_url = Some("https://brand.test/u/abc".to_owned());
    email.attachments.push(Attachment {
        filename: "logo.png".to_owned(),
        content_type: "image/png".to_owned(),
        content_base64: "AAAA".to_owned(),
        content_id: Some("logo".to_owned()),
    });
    submission.content = Private::new(Content::Email(email));
    submission
}

#[tokio::test]
async fn sendgrid_sends_the_whole_message() {
    let stand_in = HttpStandIn::start(Behaviour::Answer(
        Reply::json(202, "").with("X-Message-Id", "id1"),
    ));
    let settings = json!({
        "from_email": "shop@brand.test", "from_name": "Brand", "categories": ["orders"], "base_url": stand_in.url()
    });
    let sendgrid = provider(ProviderKind::Sendgrid, settings, &json!({ "api_key": "SG.key" }));
    let submission = full(samples::email("bob@example.com"));
    let outcome = sendgrid.send(&submission).await;
    assert_eq!(
        outcome,
        SendOutcome::Accepted {
            provider_message_id: Some("id1".to_owned())
        }
    );
    let request = &stand_in.received()[0];
    assert_eq!(request.line, "POST /v3/mail/send HTTP/1.1");
    assert!(
        request
            .headers
            .contains(&("authorization".to_owned(), "Bearer SG.key".to_owned()))
    );
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(
        body["personalizations"][0]["to"],
        json!([{ "email": "bob@example.com" }])
    );
    assert_eq!(
        body["personalizations"][0]["custom_args"]["tidings_reference"],
        json!(submission.reference)
    );
    assert_eq!(body["content"][0]["type"], "text/plain");
    assert_eq!(body["headers"]["List-Unsubscribe"], "<https://brand.test/u/abc>");
    assert_eq!(
        body["headers"]["List-Unsubscribe-Post"],
        "List-Unsubscribe=One-Click"
    );
    assert_eq!(body["headers"]["Message-ID"], "<0197.1@brand.test>");
    assert_eq!(body["attachments"][0]["disposition"], "inline");
    assert_eq!(body["tracking_settings"]["click_tracking"]["enable"], false);
}

#[tokio::test]
async fn sendgrid_has_a_european_address() {
    let eu = provider(
        ProviderKind::Sendgrid,
        json!({ "from_email": "shop@brand.test", "region": "eu" }),
        &json!({ "api_key": "SG.key" }),
    );
    assert!(format!("{eu:?}").contains("api.eu.sendgrid.com"));
}

/// What SendGrid would refuse with each mail is refused before the first.
#[rstest]
#[case(json!({ "categories": ["orders", "orders"] }), "settings.categories")]
#[case(json!({ "categories": ["x".repeat(256)] }), "settings.categories")]
#[case(json!({ "ip_pool_name": "x" }), "settings.ip_pool_name")]
#[case(json!({ "ip_pool_name": "x".repeat(65) }), "settings.ip_pool_name")]
fn settings_that_sendgrid_would_refuse_are_named(#[case] change: Value, #[case] place: &str) {
    let mut settings = json!({ "from_email": "shop@brand.test" });
    let Value::Object(change) = change else {
        unreachable!()
    };
    settings.as_object_mut().unwrap().extend(change);
    let config = ConnectionConfig {
        kind: ProviderKind::Sendgrid,
        channel: Channel::Email,
        settings,
        credentials: Credentials::new(SecretString::from(r#"{"api_key":"SG.key"}"#.to_owned())),
    };
    let error = build(&config, &egress(), Arc::new(MemoryCapture::new())).unwrap_err();
    assert!(error.place.contains(place), "{error}");
}

#[tokio::test]
async fn a_reply_address_that_is_none_is_refused_before_sendgrid_is_asked() {
    let stand_in = HttpStandIn::start(Behaviour::Answer(Reply::json(202, "")));
    let settings = json!({ "from_email": "shop@brand.test", "base_url": stand_in.url() });
    let sendgrid = provider(ProviderKind::Sendgrid, settings, &json!({ "api_key": "SG.key" }));
    let mut submission = samples::email("bob@example.com");
    let Content::Email(mut email) = submission.content.into_exposed() else {
        unreachable!()
    };
    email.reply_to = Some("the help desk".to_owned());
    submission.content = Private::new(Content::Email(email));
    let outcome = sendgrid.send(&submission).await;
    assert!(
        matches!(&outcome, SendOutcome::Rejected(no) if no.detail.contains("reply-to")),
        "{outcome:?}"
    );
    assert_eq!(stand_in.received().len(), 0);
}

#[tokio::test]
async fn resend_sends_the_whole_message_under_its_key() {
    let stand_in = HttpStandIn::start(Behaviour::Answer(Reply::json(200, r#"{"id":"re-1"}"#)));
    let settings = json!({
        "from_email": "shop@brand.test", "from_name": "Brand & \"Co\"", "tags": { "kind": "orders" },
        "base_url": stand_in.url()
    });
    let resend = provider(ProviderKind::Resend, settings, &json!({ "api_key": "re_key" }));
    let submission = full(samples::email("bob@example.com"));
    let accepted = SendOutcome::Accepted {
        provider_message_id: Some("re-1".to_owned()),
    };
    assert_eq!(resend.send(&submission).await, accepted);
    assert_eq!(resend.send(&submission).await, accepted);
    let received = stand_in.received();
    let request = &received[0];
    assert_eq!(request.line, "POST /emails HTTP/1.1");
    for (name, value) in [
        ("authorization", "Bearer re_key"),
        ("idempotency-key", submission.reference.as_str()),
    ] {
        assert!(
            request.headers.contains(&(name.to_owned(), value.to_owned())),
            "{name}"
        );
    }
    assert_eq!(
        request.body, received[1].body,
        "a repetition is the same to the byte"
    );
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body["from"], r#""Brand & \"Co\"" <shop@brand.test>"#);
    assert_eq!(body["to"], json!(["bob@example.com"]));
    assert_eq!(body["headers"]["List-Unsubscribe"], "<https://brand.test/u/abc>");
    assert_eq!(
        body["headers"]["List-Unsubscribe-Post"],
        "List-Unsubscribe=One-Click"
    );
    assert_eq!(body["headers"]["Message-ID"], "<0197.1@brand.test>");
    assert_eq!(body["headers"]["Auto-Submitted"], "auto-generated");
    assert_eq!(
        body["attachments"][0],
        json!({ "content": "AAAA", "filename": "logo.png", "content_type": "image/png", "content_id": "logo" })
    );
    assert_eq!(
        body["tags"][0],
        json!({ "name": "tidings_reference", "value": "0197c0de-0000-7000-8000-000000000001_2e1" })
    );
    assert_eq!(body["tags"][2], json!({ "name": "kind", "value": "orders" }));
}

#[tokio::test]
async fn a_no_about_resends_key_is_not_a_no_about_the_mail() {
    for name in ["concurrent_idempotent_requests", "invalid_idempotent_request"] {
        let body = format!(r#"{{"statusCode":409,"name":"{name}","message":"x"}}"#);
        let stand_in = HttpStandIn::start(Behaviour::Answer(Reply::json(409, &body)));
        let settings = json!({ "from_email": "shop@brand.test", "base_url": stand_in.url() });
        let resend = provider(ProviderKind::Resend, settings, &json!({ "api_key": "re_key" }));
        let outcome = resend.send(&samples::email("bob@example.com")).await;
        assert!(
            matches!(outcome, SendOutcome::Unknown { .. }),
            "{name}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn resend_says_whether_the_domain_is_verified() {
    let restricted = r#"{"statusCode":401,"name":"restricted_api_key","message":"only sends"}"#;
    let cases = [
        (
            200,
            r#"{"data":[{"name":"brand.test","status":"verified"}]}"#,
            true,
        ),
        (
            200,
            r#"{"data":[{"name":"brand.test","status":"pending"}]}"#,
            false,
        ),
        (
            200,
            r#"{"data":[{"name":"other.test","status":"verified"}]}"#,
            false,
        ),
        (200, "<html>", false),
        (401, restricted, true),
        (403, r#"{"name":"invalid_api_key","message":"no"}"#, false),
    ];
    for (status, body, ok) in cases {
        let stand_in = HttpStandIn::start(Behaviour::Answer(Reply::json(status, body)));
        let settings = json!({ "from_email": "shop@brand.test", "base_url": stand_in.url() });
        let report = provider(ProviderKind::Resend, settings, &json!({ "api_key": "re_key" }))
            .check()
            .await;
        assert_eq!(report.ok, ok, "{body}: {report:?}");
        assert_eq!(stand_in.received()[0].line, "GET /domains HTTP/1.1");
    }
}

#[tokio::test]
async fn twilio_sends_a_form_with_our_reference_in_the_callback() {
    let sid = "SM0123456789abcdef0123456789abcdef";
    let stand_in = HttpStandIn::start(Behaviour::Answer(Reply::json(
        201,
        &format!(r#"{{"sid":"{sid}"}}"#),
    )));
    let settings = json!({
        "account_sid": "ACbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "from": "+15005550006", "validity_period_s": 600,
        "base_url": stand_in.url()
    });
    let twilio = provider(
        ProviderKind::Twilio,
        settings,
        &json!({ "auth_token": "t", "api_key_sid": "SKx", "api_key_secret": "y" }),
    );
    let mut submission = samples::text("+14155552671");
    submission.status_callback = Some("https://engine.test/webhooks/twilio/1?a=b".to_owned());
    let outcome = twilio.send(&submission).await;
    assert_eq!(
        outcome,
        SendOutcome::Accepted {
            provider_message_id: Some(sid.to_owned())
        }
    );
    let request = &stand_in.received()[0];
    assert_eq!(
        request.line,
        "POST /2010-04-01/Accounts/ACbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb/Messages.json HTTP/1.1"
    );
    assert!(
        request
            .headers
            .contains(&("authorization".to_owned(), "Basic U0t4Onk=".to_owned()))
    );
    let form: Vec<(String, String)> = form_urlencoded::parse(request.body.as_bytes())
        .into_owned()
        .collect();
    let field = |name: &str| {
        form.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(
        (field("To"), field("From")),
        (Some("+14155552671"), Some("+15005550006"))
    );
    assert_eq!(
        (field("Body"), field("ValidityPeriod")),
        (Some("Ready."), Some("600"))
    );
    let callback = format!(
        "https://engine.test/webhooks/twilio/1?a=b&reference={}",
        submission.reference
    );
    assert_eq!(field("StatusCallback"), Some(callback.as_str()));
}

#[tokio::test]
async fn checks_say_what_they_found() {
    let good = HttpStandIn::start(Behaviour::Answer(Reply::json(200, r#"{"scopes":["mail.send"]}"#)));
    let bad = HttpStandIn::start(Behaviour::Answer(Reply::json(
        401,
        r#"{"errors":[{"message":"bad key"}]}"#,
    )));
    for (stand_in, ok) in [(&good, true), (&bad, false)] {
        let settings = json!({ "from_email": "shop@brand.test", "base_url": stand_in.url() });
        let report = provider(ProviderKind::Sendgrid, settings, &json!({ "api_key": "SG.key" }))
            .check()
            .await;
        assert_eq!(report.ok, ok, "{report:?}");
        assert!(!report.findings.is_empty());
    }
}

#[tokio::test]
async fn the_sandbox_asks_its_stand_in() {
    let stand_in = HttpStandIn::start(Behaviour::Answer(Reply::json(200, r#"{"id":"s-9"}"#)));
    let sandbox = provider(
        ProviderKind::Sandbox,
        json!({ "base_url": stand_in.url() }),
        &json!({}),
    );
    let submission = samples::email("bob@example.com");
    sandbox.send(&submission).await;
    let found = Lookup::Found {
        provider_message_id: Some("s-9".to_owned()),
    };
    assert_eq!(sandbox.lookup("a/b").await, found);
    let received = stand_in.received();
    let body: Value = serde_json::from_str(&received[0].body).unwrap();
    assert_eq!(body["reference"], json!(submission.reference));
    assert_eq!(received[1].line, "GET /lookup/a%2Fb HTTP/1.1");
}

#[tokio::test]
async fn every_http_provider_ends_a_call_within_its_limit() {
    let slow: [(ProviderKind, Submission, Value, Value); 6] = [
        (
            ProviderKind::Sendgrid,
            samples::email("bob@example.com"),
            json!({ "from_email": "shop@brand.test" }),
            json!({ "api_key": "SG.key" }),
        ),
        (
            ProviderKind::Resend,
            samples::email("bob@example.com"),
            json!({ "from_email": "shop@brand.test" }),
            json!({ "api_key": "re_key" }),
        ),
        (
            ProviderKind::Ses,
            samples::email("bob@example.com"),
            json!({ "from_email": "shop@brand.test", "region": "eu-west-1" }),
            json!({ "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "s3cret/s3cret" }),
        ),
        (
            ProviderKind::Twilio,
            samples::text("+12025550142"),
            json!({ "account_sid": "AC00000000000000000000000000000000", "from": "+12025550100" }),
            json!({ "auth_token": "token" }),
        ),
        (
            ProviderKind::WhatsappCloud,
            samples::whatsapp(
                "+12025550142",
                Content::Text {
                    body: "Hello".to_owned(),
                },
            ),
            json!({ "phone_number_id": "106540352242922" }),
            json!({ "token": "EAAG" }),
        ),
        (
            ProviderKind::WhatsappWeb,
            samples::whatsapp_web("+12025550142"),
            json!({}),
            json!({ "token": "a-token-of-16-or-more" }),
        ),
    ];
    for (kind, mut submission, mut settings, secrets) in slow {
        // The headers come, the body never ends: by its status the provider took it.
        let reply = Reply::json(200, "").with("X-Message-Id", "id1");
        let stand_in = HttpStandIn::start(Behaviour::Drip(reply));
        settings["base_url"] = json!(stand_in.url());
        submission.time_limit = Duration::from_millis(200);
        let provider = provider_over(&patient_egress(), kind, settings, &secrets);
        let outcome = provider.send(&submission).await;
        assert!(
            !matches!(outcome, SendOutcome::Rejected(_)),
            "{kind}: {outcome:?}"
        );
    }
}
