//! Webhooks of the companion: a [`Batch`] under a Standard Webhooks signature, bound to the account.

use super::settings::{WhatsappWebCredentials, WhatsappWebSettings};
use super::wire::{Arrived, Batch, Standing, StandingReport};
use crate::contract::{
    InboundMedia, InboundMessage, ReportedEvent, WebhookParsed, WebhookRefusal, WebhookRequest,
};
use crate::signature::standard;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use tidings_core::event::DeliveryEventKind;
use tidings_core::redact::Private;
use tidings_core::{Channel, PhoneNumber};

/// The most elements read of one request; the companion posts fifty.
const MOST: usize = 1_000;
/// The largest body read.
const MOST_BYTES: usize = 2 * 1024 * 1024;

/// Verifies and reads.
pub fn read(
    request: &WebhookRequest,
    settings: &WhatsappWebSettings,
    credentials: &WhatsappWebCredentials,
    now: Timestamp,
) -> Result<WebhookParsed, WebhookRefusal> {
    verify(request, credentials, now)?;
    if request.body.len() > MOST_BYTES {
        return Err(WebhookRefusal::Malformed(format!(
            "it is larger than {MOST_BYTES} bytes"
        )));
    }
    let batch: Batch = serde_json::from_slice(&request.body)
        .map_err(|_| WebhookRefusal::Malformed("not an object with reports and messages".to_owned()))?;
    let account = batch.account.as_ref().map(|account| account.expose().as_str());
    if let (Some(wanted), Some(account)) = (&settings.number, account)
        && wanted.as_str() != account
    {
        return Err(WebhookRefusal::WrongAccount);
    }
    let mut parsed = WebhookParsed::default();
    for report in batch.reports.into_iter().take(MOST) {
        match event(report) {
            Some(event) => parsed.events.push(event),
            None => parsed
                .skipped
                .push("a report that is not about what became of a message".to_owned()),
        }
    }
    for arrived in batch.messages.into_iter().take(MOST) {
        match message(arrived, batch.account.as_ref()) {
            Some(message) => parsed.inbound.push(message),
            None => parsed
                .skipped
                .push("a message without an id or a number".to_owned()),
        }
    }
    Ok(parsed)
}

/// The signature under the secret, or under the one before its rotation.
fn verify(
    request: &WebhookRequest,
    credentials: &WhatsappWebCredentials,
    now: Timestamp,
) -> Result<(), WebhookRefusal> {
    let header = |name| request.header(name).ok_or(WebhookRefusal::SignatureMissing);
    let mut refusal = WebhookRefusal::NotConfigured("set webhook_secret".to_owned());
    let secrets = credentials
        .webhook_secret
        .iter()
        .chain(&credentials.previous_webhook_secret);
    for secret in secrets {
        let signed = standard::Signed {
            id: header("webhook-id")?,
            timestamp: header("webhook-timestamp")?,
            signatures: header("webhook-signature")?,
            body: &request.body,
        };
        match standard::verify(&signed, secret.expose_secret(), now) {
            Err(WebhookRefusal::SignatureInvalid) => refusal = WebhookRefusal::SignatureInvalid,
            verified => return verified,
        }
    }
    Err(refusal)
}

fn event(report: StandingReport) -> Option<ReportedEvent> {
    let kind = match report.standing {
        Standing::Sent => DeliveryEventKind::Accepted,
        Standing::Delivered => DeliveryEventKind::Delivered,
        Standing::Read => DeliveryEventKind::Opened,
        Standing::Sending | Standing::Pending | Standing::Unknown | Standing::Withdrawn => return None,
    };
    let key = format!("{}:{}", report.reference, report.standing);
    Some(ReportedEvent {
        occurred_at: Some(report.seen_at),
        provider_message_id: report.id,
        reference: Some(report.reference),
        ..ReportedEvent::new(key, kind)
    })
}

fn message(arrived: Arrived, account: Option<&Private<String>>) -> Option<InboundMessage> {
    let number = PhoneNumber::parse(arrived.from.expose(), None).ok()?;
    if arrived.id.is_empty() || arrived.id.len() > 256 {
        return None;
    }
    let media = arrived.media.then(|| InboundMedia {
        content_type: "application/octet-stream".to_owned(),
        location: arrived.id.clone(),
    });
    Some(InboundMessage {
        dedupe_key: arrived.id.clone(),
        channel: Channel::WhatsappWeb,
        from: Private::new(number.as_str().to_owned()),
        to: account.cloned(),
        name: None,
        subject: None,
        text: arrived.text,
        provider_message_id: Some(arrived.id),
        // The page tells the minute in its own language and zone; when it was read says more.
        occurred_at: Some(arrived.seen_at),
        media: media.into_iter().collect(),
        handled_keyword: None,
        in_reply_to: None,
        automatic: false,
        whatsapp: None,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OLD: &str = "whsec_czNjcmV0czNjcmV0czNjcmV0czNjcmV0";

    fn now() -> Timestamp {
        Timestamp::from_second(1_795_000_000).unwrap()
    }

    fn request(body: &str, secret: &str, at: Timestamp) -> WebhookRequest {
        let signature = standard::sign("b1", at, body.as_bytes(), secret).unwrap();
        WebhookRequest {
            method: "POST".to_owned(),
            url: "https://engine.test/webhooks/whatsapp_web/1".to_owned(),
            headers: vec![
                ("webhook-id".to_owned(), "b1".to_owned()),
                ("webhook-timestamp".to_owned(), at.as_second().to_string()),
                ("webhook-signature".to_owned(), signature),
            ],
            body: body.as_bytes().to_vec().into(),
        }
    }

    fn read_with(request: &WebhookRequest, number: Option<&str>) -> Result<WebhookParsed, WebhookRefusal> {
        let settings =
            serde_json::from_value(json!({"base_url": "http://127.0.0.1:1", "number": number})).unwrap();
        let credentials = json!({
            "token": "0123456789abcdef", "webhook_secret": SECRET, "previous_webhook_secret": OLD
        });
        let credentials = serde_json::from_value(credentials).unwrap();
        read(request, &settings, &credentials, now())
    }

    const BODY: &str = r#"{"account":"+436641111111",
        "reports":[{"reference":"r-1","standing":"delivered","id":"3EB0","seen_at":"2026-11-18T10:00:00Z"},
                   {"reference":"r-2","standing":"unknown","seen_at":"2026-11-18T10:00:00Z"}],
        "messages":[{"id":"a1","from":"+436642222222","text":"STOP","seen_at":"2026-11-18T10:00:00Z"},
                    {"id":"a2","from":"Kim","text":"Hi","seen_at":"2026-11-18T10:00:00Z"}]}"#;

    #[test]
    fn ticks_and_messages_are_read_and_what_is_neither_is_skipped() {
        for secret in [SECRET, OLD] {
            let parsed = read_with(&request(BODY, secret, now()), Some("+436641111111")).unwrap();
            let event = &parsed.events[0];
            assert_eq!(
                (event.kind, event.reference.as_deref()),
                (DeliveryEventKind::Delivered, Some("r-1"))
            );
            assert_eq!((parsed.events.len(), parsed.skipped.len()), (1, 2));
            let message = &parsed.inbound[0];
            assert_eq!(
                (message.channel, message.from.expose().as_str()),
                (Channel::WhatsappWeb, "+436642222222")
            );
            assert_eq!(message.dedupe_key, "a1");
        }
    }

    #[test]
    fn what_is_not_signed_now_or_for_this_account_is_refused() {
        let mut forged = request(BODY, SECRET, now());
        forged.body = BODY.replace("STOP", "START").into_bytes().into();
        assert_eq!(
            read_with(&forged, None).unwrap_err(),
            WebhookRefusal::SignatureInvalid
        );
        let old = now() - jiff::SignedDuration::from_mins(6);
        assert_eq!(
            read_with(&request(BODY, SECRET, old), None).unwrap_err(),
            WebhookRefusal::Stale
        );
        assert_eq!(
            read_with(&request(BODY, SECRET, now()), Some("+436643333333")).unwrap_err(),
            WebhookRefusal::WrongAccount
        );
        let mut unsigned = request(BODY, SECRET, now());
        unsigned.headers.clear();
        assert_eq!(
            read_with(&unsigned, None).unwrap_err(),
            WebhookRefusal::SignatureMissing
        );
    }
}
