//! Status callbacks and inbound messages.
//!
//! Both come as signed form posts. `AccountSid` must be the connection's, and an inbound message must be to one of
//! its numbers or its messaging service. Order and repetition are Twilio's to choose: the dedupe key of a status is
//! the message's id and the status, of an inbound message its id.

use super::errors::classify_code;
use super::settings::{TwilioCredentials, TwilioSettings, is_sid};
use crate::contract::{
    InboundMedia, InboundMessage, RejectionEffect, ReportedEvent, SuppressBecause, WebhookParsed,
    WebhookRefusal, WebhookRequest, WebhookResponse,
};
use crate::signature::twilio::{Keys, Signed, verify};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use tidings_core::Channel;
use tidings_core::event::DeliveryEventKind;
use tidings_core::redact::Private;
use url::{Url, form_urlencoded};

/// The query parameter that carries our reference.
pub const REFERENCE: &str = "reference";

/// Twilio sends at most ten files with a message.
const MOST_MEDIA: usize = 10;

type Form = BTreeMap<String, String>;

/// Verifies and reads.
pub fn read(
    request: &WebhookRequest,
    settings: &TwilioSettings,
    credentials: &TwilioCredentials,
) -> Result<WebhookParsed, WebhookRefusal> {
    verify_request(request, credentials)?;
    let mut form = Form::new();
    for (key, value) in form_urlencoded::parse(&request.body).take(2_000) {
        form.entry(key.into_owned()).or_insert_with(|| value.into_owned());
    }
    if form.get("AccountSid") != Some(&settings.account_sid) {
        return Err(WebhookRefusal::WrongAccount);
    }
    if form.contains_key("MessageStatus") {
        status(&form, &request.url)
    } else {
        inbound(&form, settings)
    }
}

fn verify_request(request: &WebhookRequest, credentials: &TwilioCredentials) -> Result<(), WebhookRefusal> {
    let tokens: Vec<&str> = std::iter::once(&credentials.auth_token)
        .chain(&credentials.previous_auth_token)
        .map(ExposeSecret::expose_secret)
        .collect();
    let shared: Vec<(&str, &str)> = credentials
        .shared_keys
        .iter()
        .map(|(id, secret)| (id.as_str(), secret.expose_secret()))
        .collect();
    let signed = Signed {
        url: &request.url,
        method: &request.method,
        content_type: request.header("content-type"),
        body: &request.body,
        signature: request.header("x-twilio-signature"),
        settings: request.header("x-twilio-webhooks-signature-settings"),
    };
    verify(
        &signed,
        &Keys {
            auth_tokens: &tokens,
            shared_keys: &shared,
        },
    )
}

fn filled<'f>(form: &'f Form, name: &str) -> Option<&'f str> {
    form.get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

fn message_sid(form: &Form) -> Result<String, WebhookRefusal> {
    filled(form, "MessageSid")
        .or_else(|| filled(form, "SmsSid"))
        .filter(|sid| is_sid(sid, &["SM", "MM"]))
        .map(str::to_owned)
        .ok_or_else(|| WebhookRefusal::Malformed("MessageSid is not a message id".to_owned()))
}

fn status(form: &Form, url: &str) -> Result<WebhookParsed, WebhookRefusal> {
    let sid = message_sid(form)?;
    let word = filled(form, "MessageStatus").unwrap_or_default();
    let code = filled(form, "ErrorCode").and_then(|code| code.parse::<u32>().ok());
    let Some(event) = reported(sid, word, code, filled(form, "To")) else {
        return Ok(WebhookParsed {
            skipped: vec!["an unknown message status".to_owned()],
            ..Default::default()
        });
    };
    Ok(WebhookParsed {
        events: vec![ReportedEvent {
            reference: reference_in(url),
            ..event
        }],
        ..Default::default()
    })
}

/// What a status of a message means, however it became known; none where the status is not known.
pub(super) fn reported(
    sid: String,
    status: &str,
    code: Option<u32>,
    to: Option<&str>,
) -> Option<ReportedEvent> {
    let word = status.to_ascii_lowercase();
    let kind = kind_of(&word)?;
    let classed = code
        .filter(|code| *code != 0 && kind == DeliveryEventKind::Failed)
        .map(|code| (code, classify_code(code)));
    let suppress = classed.and_then(|(_, (_, effect))| match effect? {
        RejectionEffect::AddressBad => Some(SuppressBecause::HardBounce),
        RejectionEffect::OptedOut => Some(SuppressBecause::Stop),
        RejectionEffect::OptedOutOfMarketing => Some(SuppressBecause::MarketingStop),
    });
    Some(ReportedEvent {
        dedupe_key: format!("{sid}:{word}"),
        kind,
        occurred_at: None,
        provider_message_id: Some(sid),
        reference: None,
        recipient: to.map(|to| Private::new(bare(to).to_owned())),
        bounce_class: None,
        error: classed.map(|(code, (category, _))| (category, code.to_string())),
        suppress,
        detail: Some(word),
    })
}

fn kind_of(status: &str) -> Option<DeliveryEventKind> {
    Some(match status {
        "accepted" | "scheduled" | "queued" | "sending" | "sent" => DeliveryEventKind::Accepted,
        "delivered" | "partially_delivered" => DeliveryEventKind::Delivered,
        "read" => DeliveryEventKind::Opened,
        "undelivered" | "failed" | "canceled" => DeliveryEventKind::Failed,
        _ => return None,
    })
}

fn inbound(form: &Form, settings: &TwilioSettings) -> Result<WebhookParsed, WebhookRefusal> {
    let sid = message_sid(form)?;
    let from = filled(form, "From").ok_or_else(|| WebhookRefusal::Malformed("From is missing".to_owned()))?;
    let to = filled(form, "To").ok_or_else(|| WebhookRefusal::Malformed("To is missing".to_owned()))?;
    let ours = settings
        .from
        .iter()
        .chain(&settings.numbers)
        .any(|number| bare(number) == bare(to))
        || (settings.messaging_service_sid.is_some()
            && settings.messaging_service_sid.as_deref() == filled(form, "MessagingServiceSid"));
    if !ours {
        return Err(WebhookRefusal::WrongAccount);
    }
    let (media, skipped) = media(form, settings);
    let owned = |name: &str| filled(form, name).map(str::to_owned);
    let message = InboundMessage {
        dedupe_key: sid.clone(),
        channel: if from.starts_with("whatsapp:") {
            Channel::Whatsapp
        } else {
            Channel::Sms
        },
        from: Private::new(bare(from).to_owned()),
        to: Some(Private::new(bare(to).to_owned())),
        name: owned("ProfileName").map(Private::new),
        subject: None,
        text: Private::new(form.get("Body").cloned().unwrap_or_default()),
        provider_message_id: Some(sid),
        occurred_at: None,
        media,
        handled_keyword: owned("OptOutType"),
        in_reply_to: owned("OriginalRepliedMessageSid"),
        automatic: false,
        whatsapp: None,
    };
    let response = WebhookResponse {
        content_type: Some("text/xml"),
        body: r#"<?xml version="1.0" encoding="UTF-8"?><Response/>"#.to_owned(),
    };
    Ok(WebhookParsed {
        inbound: vec![message],
        response,
        skipped,
        ..Default::default()
    })
}

/// Files that Twilio itself serves; a URL to anywhere else is not passed on, so nothing fetches it.
fn media(form: &Form, settings: &TwilioSettings) -> (Vec<InboundMedia>, Vec<String>) {
    let base = settings.base_url.as_deref().unwrap_or(super::settings::BASE_URL);
    let home = Url::parse(base).ok().map(|url| url.origin());
    let count = filled(form, "NumMedia")
        .and_then(|n| n.parse::<usize>().ok())
        .unwrap_or(0)
        .min(MOST_MEDIA);
    let (mut media, mut skipped) = (Vec::new(), Vec::new());
    for at in 0..count {
        let location = filled(form, &format!("MediaUrl{at}")).unwrap_or_default();
        if Url::parse(location).ok().map(|url| url.origin()) != home {
            skipped.push(format!("media {at} is not at Twilio's own host"));
            continue;
        }
        media.push(InboundMedia {
            content_type: filled(form, &format!("MediaContentType{at}"))
                .unwrap_or("application/octet-stream")
                .to_owned(),
            location: location.to_owned(),
        });
    }
    (media, skipped)
}

fn reference_in(url: &str) -> Option<String> {
    let query = url.split('#').next()?.split_once('?')?.1;
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == REFERENCE)
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty() && value.len() <= 200)
}

/// Without the channel's prefix: `whatsapp:+1...`, `messenger:...`.
fn bare(address: &str) -> &str {
    address.split_once(':').map_or(address, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::signature::twilio::sign;
    use serde_json::json;
    use tidings_core::ErrorCategory;

    const URL: &str = "https://engine.test/webhooks/twilio/1?reference=d1.1";
    const SID: &str = "SMa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1";
    const ACCOUNT: &str = "ACbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn receive(fields: &[(&str, &str)]) -> Result<WebhookParsed, WebhookRefusal> {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = WebhookRequest {
            method: "POST".to_owned(),
            url: URL.to_owned(),
            headers: vec![
                (
                    "content-type".to_owned(),
                    "application/x-www-form-urlencoded".to_owned(),
                ),
                (
                    "x-twilio-signature".to_owned(),
                    sign(URL, body.as_bytes(), "token"),
                ),
            ],
            body: body.into(),
        };
        let settings: TwilioSettings =
            serde_json::from_value(json!({"account_sid": ACCOUNT, "from": "+15005550006"})).unwrap();
        let credentials: TwilioCredentials = serde_json::from_value(json!({"auth_token": "token"})).unwrap();
        read(&request, &settings, &credentials)
    }

    #[test]
    fn a_status_finds_its_attempt_by_reference() {
        let parsed = receive(&[
            ("AccountSid", ACCOUNT),
            ("MessageSid", SID),
            ("MessageStatus", "failed"),
            ("ErrorCode", "21610"),
            ("To", "+14155550123"),
        ])
        .unwrap();
        let event = &parsed.events[0];
        assert_eq!(event.reference.as_deref(), Some("d1.1"));
        assert_eq!(event.error, Some((ErrorCategory::Permanent, "21610".to_owned())));
        assert_eq!(event.suppress, Some(SuppressBecause::Stop));
        assert_eq!(event.dedupe_key, format!("{SID}:failed"));
    }

    #[test]
    fn other_accounts_and_numbers_are_refused() {
        let status = [
            ("AccountSid", "ACcccccccccccccccccccccccccccccccc"),
            ("MessageSid", SID),
            ("MessageStatus", "sent"),
        ];
        assert_eq!(receive(&status).unwrap_err(), WebhookRefusal::WrongAccount);
        let inbound = [
            ("AccountSid", ACCOUNT),
            ("MessageSid", SID),
            ("From", "+14155550123"),
            ("To", "+15005550007"),
        ];
        assert_eq!(receive(&inbound).unwrap_err(), WebhookRefusal::WrongAccount);
    }

    #[test]
    fn media_elsewhere_is_not_passed_on() {
        let parsed = receive(&[
            ("AccountSid", ACCOUNT),
            ("MessageSid", SID),
            ("From", "+14155550123"),
            ("To", "+15005550006"),
            ("NumMedia", "2"),
            ("MediaUrl0", "http://169.254.169.254/x"),
            ("Body", "STOP"),
            ("OptOutType", "STOP"),
            (
                "MediaUrl1",
                "https://api.twilio.com/2010-04-01/Accounts/x/Media/ME1",
            ),
            ("MediaContentType1", "image/png"),
        ])
        .unwrap();
        let message = &parsed.inbound[0];
        assert_eq!((message.media.len(), parsed.skipped.len()), (1, 1));
        assert_eq!(message.handled_keyword.as_deref(), Some("STOP"));
        assert_eq!(parsed.response.content_type, Some("text/xml"));
    }
}
