//! Verifies a webhook and tells the event webhook from the inbound parse, which share an address.

use super::settings::SendgridSettings;
use super::{events, inbound};
use crate::contract::{WebhookParsed, WebhookRefusal, WebhookRequest};
use crate::signature::sendgrid::{PublicKey, verify};

const SIGNATURE: &str = "x-twilio-email-event-webhook-signature";
const TIMESTAMP: &str = "x-twilio-email-event-webhook-timestamp";

/// Verifies and reads.
pub fn read(
    request: &WebhookRequest,
    settings: &SendgridSettings,
    keys: &[PublicKey],
) -> Result<WebhookParsed, WebhookRefusal> {
    if keys.is_empty() {
        return Err(WebhookRefusal::NotConfigured("set webhook_public_key".to_owned()));
    }
    let (signature, timestamp) = (request.header(SIGNATURE), request.header(TIMESTAMP));
    let mut verdict = Err(WebhookRefusal::SignatureInvalid);
    for key in keys {
        verdict = verify(key, signature, timestamp, &request.body);
        if verdict.is_ok() {
            break;
        }
    }
    verdict?;
    let content_type = request.header("content-type").unwrap_or_default();
    if content_type
        .trim()
        .to_ascii_lowercase()
        .starts_with("multipart/form-data")
    {
        inbound::read(content_type, &request.body, &settings.inbound_domains)
    } else {
        events::read(&request.body)
    }
}
