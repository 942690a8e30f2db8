//! Webhooks of every provider: only what is signed for this connection is read.

use super::provider;
use crate::contract::{Provider, WebhookRefusal, WebhookRequest};
use crate::signature::{sendgrid::P256_SPKI_PREFIX, standard, twilio};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::json;
use std::sync::Arc;
use tidings_core::ProviderKind;

const URL: &str = "https://engine.test/webhooks/x/1";

fn now() -> Timestamp {
    Timestamp::from_second(1_795_000_000).unwrap()
}

/// A good request, with the name of the header that holds its signature.
struct Good {
    provider: Arc<dyn Provider>,
    request: WebhookRequest,
    signature: &'static str,
}

fn request(body: &str, headers: &[(&str, &str)]) -> WebhookRequest {
    WebhookRequest {
        method: "POST".to_owned(),
        url: URL.to_owned(),
        headers: headers
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        body: body.to_owned().into(),
    }
}

fn sendgrid() -> Good {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref()).unwrap();
    let key = STANDARD.encode([P256_SPKI_PREFIX, pair.public_key().as_ref()].concat());
    let body = "[{\"event\":\"open\",\"email\":\"bob@example.com\",\"sg_event_id\":\"e1\",\"timestamp\":1795000000,\
                \"tidings_reference\":\"d1.1\"},{\"event\":\"new\"},7]\r\n";
    let signature = STANDARD.encode(
        pair.sign(&random, format!("1795000000{body}").as_bytes())
            .unwrap(),
    );
    let settings = json!({ "from_email": "shop@brand.test", "webhook_public_key": key });
    let headers = [
        ("content-type", "application/json"),
        ("x-twilio-email-event-webhook-signature", signature.as_str()),
        ("x-twilio-email-event-webhook-timestamp", "1795000000"),
    ];
    Good {
        provider: provider(ProviderKind::Sendgrid, settings, &json!({ "api_key": "SG.key" })),
        request: request(body, &headers),
        signature: "x-twilio-email-event-webhook-signature",
    }
}

fn twilio() -> Good {
    let account = "ACbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    let body =
        format!("AccountSid={account}&MessageSid=SM0123456789abcdef0123456789abcdef&MessageStatus=sent");
    let settings = json!({ "account_sid": account, "from": "+15005550006" });
    let signature = twilio::sign(URL, body.as_bytes(), "token");
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-twilio-signature", signature.as_str()),
    ];
    Good {
        provider: provider(ProviderKind::Twilio, settings, &json!({ "auth_token": "token" })),
        request: request(&body, &headers),
        signature: "x-twilio-signature",
    }
}

fn sandbox() -> Good {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let body = r#"{"events":[{"dedupe_key":"e1","kind":"delivered","occurred_at":null,"provider_message_id":null,
        "reference":"d1.1","recipient":null,"bounce_class":null,"error":null,"suppress":null,"detail":null}]}"#;
    let signature = standard::sign("msg_1", now(), body.as_bytes(), secret).unwrap();
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", "1795000000"),
        ("webhook-signature", signature.as_str()),
    ];
    Good {
        provider: provider(
            ProviderKind::Sandbox,
            json!({}),
            &json!({ "webhook_secret": secret }),
        ),
        request: request(body, &headers),
        signature: "webhook-signature",
    }
}

fn resend() -> Good {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let body = r#"{"type":"email.opened","created_at":"2026-11-20T10:00:05.000Z","data":{"email_id":"e-1",
        "to":["bob@example.com"],"tags":{"tidings_reference":"d1-1"}}}"#;
    let signature = standard::sign("msg_1", now(), body.as_bytes(), secret).unwrap();
    let headers = [
        ("svix-id", "msg_1"),
        ("svix-timestamp", "1795000000"),
        ("svix-signature", signature.as_str()),
    ];
    let credentials = json!({
        "api_key": "re_key", "webhook_secret": "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "previous_webhook_secret": secret
    });
    Good {
        provider: provider(
            ProviderKind::Resend,
            json!({ "from_email": "shop@brand.test" }),
            &credentials,
        ),
        request: request(body, &headers),
        signature: "svix-signature",
    }
}

#[tokio::test]
async fn only_good_signatures_are_read() {
    for good in [sendgrid(), twilio(), sandbox(), resend()] {
        let kind = good.provider.kind();
        let parsed = good.provider.webhook(&good.request, now()).await.unwrap();
        assert_eq!(parsed.events.len(), 1, "{kind}");
        let refused = async |change: &dyn Fn(&mut WebhookRequest)| {
            let mut request = good.request.clone();
            change(&mut request);
            good.provider.webhook(&request, now()).await.unwrap_err()
        };
        let signature = |request: &mut WebhookRequest, change: &dyn Fn(&str) -> String| {
            for (name, value) in &mut request.headers {
                if name == good.signature {
                    *value = change(value);
                }
            }
        };
        assert_eq!(
            refused(&|r| r.body = [&r.body[..], b" "].concat().into()).await,
            WebhookRefusal::SignatureInvalid,
            "{kind}: a byte more"
        );
        let tampered =
            refused(&|r| signature(r, &|s| s.replace(|c: char| c.is_ascii_digit(), "A") + "A")).await;
        assert_eq!(tampered, WebhookRefusal::SignatureInvalid, "{kind}: tampered");
        let truncated = refused(&|r| signature(r, &|s| s[..s.len() - 8].to_owned())).await;
        assert_eq!(truncated, WebhookRefusal::SignatureInvalid, "{kind}: truncated");
        let empty = refused(&|r| signature(r, &|_| String::new())).await;
        assert_eq!(empty, WebhookRefusal::SignatureMissing, "{kind}: empty");
        let missing = refused(&|r| r.headers.retain(|(name, _)| name != good.signature)).await;
        assert_eq!(missing, WebhookRefusal::SignatureMissing, "{kind}: missing");
    }
}

#[tokio::test]
async fn another_connections_key_does_not_verify() {
    let (one, other) = (sendgrid(), sendgrid());
    assert_eq!(
        other.provider.webhook(&one.request, now()).await.unwrap_err(),
        WebhookRefusal::SignatureInvalid
    );
}

#[tokio::test]
async fn there_is_no_unsigned_mode() {
    let good = sendgrid();
    let settings = json!({ "from_email": "shop@brand.test" });
    let open = provider(ProviderKind::Sendgrid, settings, &json!({ "api_key": "SG.key" }));
    assert!(matches!(
        open.webhook(&good.request, now()).await,
        Err(WebhookRefusal::NotConfigured(_))
    ));
    let settings = json!({ "from_email": "shop@brand.test" });
    let open = provider(ProviderKind::Resend, settings, &json!({ "api_key": "re_key" }));
    assert!(matches!(
        open.webhook(&resend().request, now()).await,
        Err(WebhookRefusal::NotConfigured(_))
    ));
    let open = provider(ProviderKind::Sandbox, json!({}), &json!({}));
    assert!(matches!(
        open.webhook(&sandbox().request, now()).await,
        Err(WebhookRefusal::NotConfigured(_))
    ));
    let smtp = provider(
        ProviderKind::Smtp,
        json!({ "host": "127.0.0.1", "tls": "none", "from_email": "shop@brand.test" }),
        &json!({}),
    );
    assert_eq!(
        smtp.webhook(&good.request, now()).await.unwrap_err(),
        WebhookRefusal::Unsupported
    );
}

#[tokio::test]
async fn an_old_webhook_is_stale_and_a_repeated_one_has_its_key() {
    let good = resend();
    let first = good.provider.webhook(&good.request, now()).await.unwrap();
    let again = good.provider.webhook(&good.request, now()).await.unwrap();
    assert_eq!(first.events, again.events);
    assert_eq!(first.events[0].dedupe_key, "msg_1");
    let later = Timestamp::from_second(1_795_000_301).unwrap();
    assert_eq!(
        good.provider.webhook(&good.request, later).await.unwrap_err(),
        WebhookRefusal::Stale
    );
}

#[tokio::test]
async fn one_bad_element_does_not_cost_the_others() {
    let good = sendgrid();
    let parsed = good.provider.webhook(&good.request, now()).await.unwrap();
    assert_eq!((parsed.events.len(), parsed.skipped.len()), (1, 2));
    assert_eq!(parsed.events[0].reference.as_deref(), Some("d1.1"));
    assert!(!format!("{parsed:?}").contains("bob@example.com"));
}

#[test]
fn both_kinds_of_standard_signature_verify() {
    let (private, public) = (
        "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8DoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuA==",
        "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
    );
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let both = format!(
        "{} {}",
        standard::sign("msg_1", now(), b"{}", secret).unwrap(),
        standard::sign("msg_1", now(), b"{}", private).unwrap()
    );
    let signed = standard::Signed {
        id: "msg_1",
        timestamp: "1795000000",
        signatures: &both,
        body: b"{}",
    };
    assert_eq!(standard::verify(&signed, secret, now()), Ok(()));
    assert_eq!(standard::verify(&signed, public, now()), Ok(()));
    let later = Timestamp::from_second(1_795_000_301).unwrap();
    assert_eq!(
        standard::verify(&signed, public, later),
        Err(WebhookRefusal::Stale)
    );
    assert!(matches!(
        standard::verify(&signed, "whsec_", now()),
        Err(WebhookRefusal::NotConfigured(_))
    ));
    assert!(standard::sign("a.b", now(), b"{}", secret).is_err());
    assert!(standard::sign("msg_1", now(), b"{}", "").is_err());
}
