//! Signatures of webhooks, as pure functions over raw bytes.
//!
//! All compare in constant time on digests of fixed length, and an empty secret never verifies. None remembers
//! what it saw: replays are caught by the events' dedupe keys.

pub mod aws;
pub mod hubspot;
pub mod meta;
pub mod sendgrid;
pub mod slack;
pub mod sns;
pub mod standard;
pub mod twilio;

use crate::contract::WebhookRefusal;
use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

/// Seconds a signed timestamp may lie before or after now.
pub const TOLERANCE_S: i64 = 300;

/// The HMAC of some parts, one after the other.
pub(crate) fn hmac_of(algorithm: hmac::Algorithm, secret: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    let key = hmac::Key::new(algorithm, secret);
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

/// Equal, in time that does not depend on where they differ. Different lengths are never equal.
pub(crate) fn same(expected: &[u8], given: &[u8]) -> bool {
    expected.len() == given.len() && constant_time::verify_slices_are_equal(expected, given).is_ok()
}

/// Strict standard base64, with padding.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim()).ok()
}

/// A timestamp in unix seconds, within the tolerance.
pub(crate) fn fresh(seconds: &str, now: Timestamp) -> Result<i64, WebhookRefusal> {
    let plain = seconds.bytes().all(|b| b.is_ascii_digit()) && !seconds.is_empty();
    let at: i64 = seconds
        .parse()
        .ok()
        .filter(|_| plain)
        .ok_or(WebhookRefusal::SignatureInvalid)?;
    if now.as_second().abs_diff(at) > TOLERANCE_S.unsigned_abs() {
        return Err(WebhookRefusal::Stale);
    }
    Ok(at)
}
