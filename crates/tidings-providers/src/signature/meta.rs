//! Meta's `X-Hub-Signature-256`, and the handshake that sets a webhook up.

use super::{hmac_of, same};
use crate::contract::WebhookRefusal;
use aws_lc_rs::hmac::HMAC_SHA256;
use url::form_urlencoded;

/// Verifies `sha256=<lower-case hex HMAC-SHA256 of the raw body under the app secret>`.
pub fn verify(signature: Option<&str>, body: &[u8], app_secret: &str) -> Result<(), WebhookRefusal> {
    if app_secret.is_empty() {
        return Err(WebhookRefusal::NotConfigured("set app_secret".to_owned()));
    }
    let given = signature
        .filter(|s| !s.is_empty())
        .ok_or(WebhookRefusal::SignatureMissing)?;
    let expected = sign(body, app_secret);
    if same(expected.as_bytes(), given.as_bytes()) {
        Ok(())
    } else {
        Err(WebhookRefusal::SignatureInvalid)
    }
}

/// Signs a body as Meta does: for stand-ins.
pub fn sign(body: &[u8], app_secret: &str) -> String {
    let mac = hmac_of(HMAC_SHA256, app_secret.as_bytes(), &[body]);
    format!("sha256={}", hex::encode(mac))
}

/// Answers the handshake: the challenge to send back, or nothing (403). An empty token matches nothing.
pub fn handshake(query: &str, verify_token: &str) -> Option<String> {
    let field = |name: &str| {
        form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let matches = !verify_token.is_empty()
        && field("hub.mode")? == "subscribe"
        && same(verify_token.as_bytes(), field("hub.verify_token")?.as_bytes());
    if matches { field("hub.challenge") } else { None }
}
