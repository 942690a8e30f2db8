//! Verifies a webhook over its raw bytes and tells events from received mail.

use super::events;
use super::received::{self, Received};
use super::settings::{ResendCredentials, ResendSettings};
use crate::contract::{WebhookParsed, WebhookRefusal, WebhookRequest};
use crate::signature::standard;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

/// Verifies and reads. `fetch` gets a received mail by its id, from Resend itself.
pub async fn read(
    request: &WebhookRequest,
    settings: &ResendSettings,
    credentials: &ResendCredentials,
    now: Timestamp,
    fetch: impl AsyncFnOnce(&str) -> Result<Received, WebhookRefusal>,
) -> Result<WebhookParsed, WebhookRefusal> {
    let id = verify(request, credentials, now)?;
    let malformed = |what: &str| WebhookRefusal::Malformed(what.to_owned());
    let body: Map<String, Value> =
        serde_json::from_slice(&request.body).map_err(|_| malformed("not a JSON object"))?;
    let kind = body.get("type").and_then(Value::as_str).unwrap_or_default();
    let Some(data) = body.get("data").and_then(Value::as_object) else {
        return Err(malformed("data is not an object"));
    };
    if kind == "email.received" {
        return received::read(id, data, &settings.inbound_domains, fetch).await;
    }
    Ok(events::read(kind, id, &body, data))
}

/// Gives the webhook's id, which is the same over repetitions.
fn verify<'r>(
    request: &'r WebhookRequest,
    credentials: &ResendCredentials,
    now: Timestamp,
) -> Result<&'r str, WebhookRefusal> {
    let secrets = credentials
        .webhook_secret
        .iter()
        .chain(&credentials.previous_webhook_secret);
    let mut verdict = Err(WebhookRefusal::NotConfigured("set webhook_secret".to_owned()));
    let header = |name| request.header(name).unwrap_or_default();
    let signed = standard::Signed {
        id: header("svix-id"),
        timestamp: header("svix-timestamp"),
        signatures: header("svix-signature"),
        body: &request.body,
    };
    for secret in secrets {
        verdict = standard::verify(&signed, secret.expose_secret(), now);
        if verdict.is_ok() {
            break;
        }
    }
    verdict.map(|()| signed.id)
}
