//! SendGrid's answers.

use crate::contract::{Rejection, RejectionEffect};
use crate::mask::mask;
use crate::outcome;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::Deserialize;
use std::time::Duration;
use tidings_core::ErrorCategory;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    errors: Vec<Problem>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    message: Option<String>,
    field: Option<String>,
}

/// Classes an answer; nothing for a success. A 413 comes as HTML from a proxy in front, so the body may be
/// anything.
pub fn classify(status: u16, headers: &[(String, String)], body: &[u8]) -> Option<Rejection> {
    if (200..300).contains(&status) {
        return None;
    }
    let said: Body = serde_json::from_slice(body).unwrap_or_default();
    let first = said.errors.into_iter().next().unwrap_or_default();
    let about_recipient = first.field.as_deref().is_some_and(is_recipient_field);
    let (category, effect) = match status {
        400 if about_recipient => (ErrorCategory::Permanent, Some(RejectionEffect::AddressBad)),
        status => (outcome::category_of(status), None),
    };
    Some(Rejection {
        category,
        code: match &first.field {
            Some(field) => mask(&format!("{status} {field}")),
            None => status.to_string(),
        },
        detail: first
            .message
            .map_or_else(|| format!("SendGrid answered {status}"), |text| mask(&text)),
        retry_after: outcome::retry_after(headers).or_else(|| window_reset(status, headers)),
        effect,
    })
}

/// `personalizations.0.to`, `personalizations.0.to.0.email`.
fn is_recipient_field(field: &str) -> bool {
    let mut parts = field.split('.');
    parts.next() == Some("personalizations") && parts.nth(1) == Some("to")
}

/// The wait until `X-RateLimit-Reset` (unix seconds), measured from the answer's own `Date`.
fn window_reset(status: u16, headers: &[(String, String)]) -> Option<Duration> {
    let header = |name: &str| {
        headers
            .iter()
            .find(|(k, _)| k.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
    };
    if status != 429 {
        return None;
    }
    let reset = Timestamp::from_second(header("x-ratelimit-reset")?.parse().ok()?).ok()?;
    let now = rfc2822::parse(header("date")?).ok()?.timestamp();
    Duration::try_from(reset.duration_since(now))
        .ok()
        .map(|wait| wait.min(Duration::from_hours(1)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_bad_recipient_is_not_a_bad_request() {
        let body = br#"{"errors":[{"message":"Does not contain a valid address.","field":"personalizations.0.to.0.email"}]}"#;
        let no = classify(400, &[], body).unwrap();
        assert_eq!(
            (no.category, no.effect),
            (ErrorCategory::Permanent, Some(RejectionEffect::AddressBad))
        );
        let body = br#"{"errors":[{"message":"bad","field":"personalizations.0.subject"}]}"#;
        assert_eq!(
            classify(400, &[], body).unwrap().category,
            ErrorCategory::InvalidInput
        );
    }

    #[test]
    fn waits_for_the_window() {
        let headers = [
            ("x-ratelimit-reset".to_owned(), "1795255230".to_owned()),
            ("date".to_owned(), "Sat, 21 Nov 2026 10:00:00 GMT".to_owned()),
        ];
        assert_eq!(
            classify(429, &headers, b"").unwrap().retry_after,
            Some(Duration::from_secs(30))
        );
        assert_eq!(classify(429, &[], b"").unwrap().retry_after, None);
        assert!(classify(202, &[], b"").is_none());
    }
}
