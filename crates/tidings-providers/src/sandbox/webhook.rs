//! What a stand-in reports: `{"events": [..], "inbound": [..]}` in the contract's own shapes, signed as a
//! Standard Webhook.

use crate::contract::{InboundMessage, ReportedEvent, WebhookParsed, WebhookRefusal, WebhookRequest};
use crate::signature::standard;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    events: Vec<Value>,
    #[serde(default)]
    inbound: Vec<Value>,
}

/// The most elements read of one request.
const MOST: usize = 1_000;

/// Verifies and reads.
pub fn read(
    request: &WebhookRequest,
    secret: &SecretString,
    now: Timestamp,
) -> Result<WebhookParsed, WebhookRefusal> {
    let signed = standard::Signed {
        id: request
            .header("webhook-id")
            .ok_or(WebhookRefusal::SignatureMissing)?,
        timestamp: request
            .header("webhook-timestamp")
            .ok_or(WebhookRefusal::SignatureMissing)?,
        signatures: request
            .header("webhook-signature")
            .ok_or(WebhookRefusal::SignatureMissing)?,
        body: &request.body,
    };
    standard::verify(&signed, secret.expose_secret(), now)?;
    let body: Body = serde_json::from_slice(&request.body)
        .map_err(|_| WebhookRefusal::Malformed("not an object with events and inbound".to_owned()))?;
    let mut parsed = WebhookParsed::default();
    for (at, value) in body.events.into_iter().take(MOST).enumerate() {
        match serde_json::from_value::<ReportedEvent>(value) {
            Ok(event) => parsed.events.push(event),
            Err(_) => parsed.skipped.push(format!("event {at} cannot be read")),
        }
    }
    for (at, value) in body.inbound.into_iter().take(MOST).enumerate() {
        match serde_json::from_value::<InboundMessage>(value) {
            Ok(message) => parsed.inbound.push(message),
            Err(_) => parsed
                .skipped
                .push(format!("inbound message {at} cannot be read")),
        }
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn reads_what_is_signed_and_keeps_the_good_elements() {
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let now = Timestamp::from_second(1_795_000_000).unwrap();
        let body = br#"{"events":[{"dedupe_key":"e1","kind":"delivered","occurred_at":null,
            "provider_message_id":"sandbox-1","reference":null,"recipient":null,"bounce_class":null,"error":null,
            "suppress":null,"detail":null},{"kind":"nonsense"}]}"#;
        let signature = standard::sign("msg_1", now, body, secret.expose_secret()).unwrap();
        let mut request = WebhookRequest {
            method: "POST".to_owned(),
            url: "https://engine.test/webhooks/sandbox/1".to_owned(),
            headers: vec![
                ("webhook-id".to_owned(), "msg_1".to_owned()),
                ("webhook-timestamp".to_owned(), "1795000000".to_owned()),
                ("webhook-signature".to_owned(), signature),
            ],
            body: body.to_vec().into(),
        };
        let parsed = read(&request, &secret, now).unwrap();
        assert_eq!((parsed.events.len(), parsed.skipped.len()), (1, 1));
        request.body = b"{}".to_vec().into();
        assert_eq!(
            read(&request, &secret, now).unwrap_err(),
            WebhookRefusal::SignatureInvalid
        );
        request.headers.clear();
        assert_eq!(
            read(&request, &secret, now).unwrap_err(),
            WebhookRefusal::SignatureMissing
        );
    }
}
