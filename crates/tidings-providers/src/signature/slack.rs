//! Slack's request signing, `v0`.

use super::{fresh, hmac_of, same};
use crate::contract::WebhookRefusal;
use aws_lc_rs::hmac::HMAC_SHA256;
use jiff::Timestamp;

/// Verifies `X-Slack-Signature` (`v0=<hex>`) with `X-Slack-Request-Timestamp`.
pub fn verify(
    signature: Option<&str>,
    timestamp: Option<&str>,
    body: &[u8],
    signing_secret: &str,
    now: Timestamp,
) -> Result<(), WebhookRefusal> {
    if signing_secret.is_empty() {
        return Err(WebhookRefusal::NotConfigured("set signing_secret".to_owned()));
    }
    let given = signature
        .filter(|s| !s.is_empty())
        .ok_or(WebhookRefusal::SignatureMissing)?;
    let timestamp = timestamp
        .filter(|t| !t.is_empty())
        .ok_or(WebhookRefusal::SignatureMissing)?;
    let parts = [b"v0:".as_slice(), timestamp.as_bytes(), b":", body];
    let expected = format!(
        "v0={}",
        hex::encode(hmac_of(HMAC_SHA256, signing_secret.as_bytes(), &parts))
    );
    if !same(expected.as_bytes(), given.as_bytes()) {
        return Err(WebhookRefusal::SignatureInvalid);
    }
    fresh(timestamp, now).map(|_| ())
}
