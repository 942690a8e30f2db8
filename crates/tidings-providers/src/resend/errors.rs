//! Resend's answers: `{"statusCode","name","message"}` (resend/resend-openapi; SDKs 2.51.0 and 0.35.1).

use crate::contract::Rejection;
use crate::mask::mask;
use crate::outcome;
use serde::Deserialize;
use std::time::Duration;
use tidings_core::ErrorCategory;

/// How long an exhausted quota is left alone when Resend says nothing: others take over meanwhile.
const QUOTA_WAIT: Duration = Duration::from_hours(1);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    name: Option<String>,
    message: Option<String>,
}

/// Classes an answer; nothing for a success. The body may be anything where a proxy answers.
pub fn classify(status: u16, headers: &[(String, String)], body: &[u8]) -> Option<Rejection> {
    if (200..300).contains(&status) {
        return None;
    }
    let said: Body = serde_json::from_slice(body).unwrap_or_default();
    let name = said.name.as_deref().unwrap_or_default();
    let category = match (status, name) {
        (409, "invalid_idempotent_request") => ErrorCategory::InvalidInput,
        // Another call under the same key is being worked on.
        (409, _) => ErrorCategory::Transient,
        // Limits and faults of the server come first, whatever the body says.
        (408 | 429, _) => outcome::category_of(status),
        (400..500, "missing_api_key" | "invalid_api_key" | "restricted_api_key" | "suspended_api_key") => {
            ErrorCategory::AuthFailure
        }
        _ => outcome::category_of(status),
    };
    let wait = outcome::retry_after(headers).or_else(|| match name {
        _ if status != 429 => None,
        "daily_quota_exceeded" | "monthly_quota_exceeded" => Some(QUOTA_WAIT),
        _ => window_reset(headers),
    });
    Some(Rejection {
        category,
        code: if name.is_empty() {
            status.to_string()
        } else {
            mask(&format!("{status} {name}"))
        },
        detail: said
            .message
            .map_or_else(|| format!("Resend answered {status}"), |text| mask(&text)),
        retry_after: wait,
        effect: None,
    })
}

/// Whether the answer is about another call under the same idempotency key: then that one arrived, or is arriving.
pub fn is_about_the_key(status: u16, body: &[u8]) -> bool {
    let said: Body = serde_json::from_slice(body).unwrap_or_default();
    status == 409
        && matches!(
            said.name.as_deref(),
            Some("concurrent_idempotent_requests" | "invalid_idempotent_request")
        )
}

/// `ratelimit-reset`: seconds until the window opens again.
fn window_reset(headers: &[(String, String)]) -> Option<Duration> {
    let (_, value) = headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("ratelimit-reset"))?;
    let seconds: u64 = value.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(3_600)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(401, "missing_api_key", ErrorCategory::AuthFailure)]
    #[case(401, "restricted_api_key", ErrorCategory::AuthFailure)]
    #[case(403, "invalid_api_key", ErrorCategory::AuthFailure)]
    #[case(403, "validation_error", ErrorCategory::AuthFailure)]
    #[case(400, "validation_error", ErrorCategory::InvalidInput)]
    #[case(400, "invalid_idempotency_key", ErrorCategory::InvalidInput)]
    #[case(422, "missing_required_field", ErrorCategory::InvalidInput)]
    #[case(422, "invalid_attachment", ErrorCategory::InvalidInput)]
    #[case(404, "not_found", ErrorCategory::InvalidInput)]
    #[case(405, "method_not_allowed", ErrorCategory::InvalidInput)]
    #[case(409, "concurrent_idempotent_requests", ErrorCategory::Transient)]
    #[case(409, "resource_locked", ErrorCategory::Transient)]
    #[case(409, "invalid_idempotent_request", ErrorCategory::InvalidInput)]
    #[case(429, "rate_limit_exceeded", ErrorCategory::RateLimit)]
    #[case(429, "daily_quota_exceeded", ErrorCategory::RateLimit)]
    #[case(500, "application_error", ErrorCategory::Transient)]
    #[case(503, "service_unavailable", ErrorCategory::Transient)]
    #[case(302, "", ErrorCategory::AuthFailure)]
    fn the_table(#[case] status: u16, #[case] name: &str, #[case] category: ErrorCategory) {
        let body = format!(r#"{{"statusCode":{status},"name":"{name}","message":"to bob@example.com"}}"#);
        let no = classify(status, &[], body.as_bytes()).unwrap();
        assert_eq!(no.category, category);
        assert_eq!(no.detail, "to [address]");
    }

    #[test]
    fn waits_as_long_as_it_is_told() {
        let wait = |headers: &[(&str, &str)], name: &str| {
            let headers: Vec<_> = headers
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect();
            let body = format!(r#"{{"name":"{name}"}}"#);
            classify(429, &headers, body.as_bytes()).unwrap().retry_after
        };
        let both = [("retry-after", "7"), ("ratelimit-reset", "9")];
        assert_eq!(wait(&both, "rate_limit_exceeded"), Some(Duration::from_secs(7)));
        assert_eq!(
            wait(&both[1..], "rate_limit_exceeded"),
            Some(Duration::from_secs(9))
        );
        assert_eq!(wait(&[], "rate_limit_exceeded"), None);
        assert_eq!(wait(&[], "monthly_quota_exceeded"), Some(QUOTA_WAIT));
        assert!(classify(503, &[], b"<html>").unwrap().retry_after.is_none());
    }
}
