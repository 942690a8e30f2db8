//! The companion's answers.

use super::wire::{NOT_ON_WHATSAPP, Refusal};
use crate::contract::Rejection;
use crate::mask::mask;
use crate::outcome;
use tidings_core::ErrorCategory;

/// Classes an answer; nothing for a success, and nothing for one that leaves open whether the message went: a gateway before
/// the companion answers 500, 502 or 504 for a request that it may have passed on.
///
/// | status | class |
/// |---|---|
/// | 400, 404, 410, 413, 422 | `invalid_input`; 422 `not_on_whatsapp` is `permanent` |
/// | 401, 403 | `auth_failure`: the token, or the session must be paired again |
/// | 429 | `rate_limit`, with the wait |
/// | 503 | `transient`, where the companion says so itself |
///
/// A number that is not on WhatsApp is not suppressed: people join.
pub fn classify(status: u16, headers: &[(String, String)], body: &[u8]) -> Option<Rejection> {
    if (200..300).contains(&status) {
        return None;
    }
    let said: Option<Refusal> = serde_json::from_slice(body).ok();
    let category = match (status, &said) {
        (422, Some(no)) if no.code == NOT_ON_WHATSAPP => ErrorCategory::Permanent,
        (401 | 403, _) => ErrorCategory::AuthFailure,
        (429, _) => ErrorCategory::RateLimit,
        // 408: the request was not read to its end.
        (503, Some(_)) | (408, _) => ErrorCategory::Transient,
        (500.., _) => return None,
        (400..500, _) => ErrorCategory::InvalidInput,
        // A redirect, or something else: the base URL is wrong.
        _ => ErrorCategory::AuthFailure,
    };
    let said = said.unwrap_or_default();
    Some(Rejection {
        category,
        code: if said.code.is_empty() {
            status.to_string()
        } else {
            mask(&said.code)
        },
        detail: if said.detail.is_empty() {
            format!("the companion answered {status}")
        } else {
            mask(&said.detail)
        },
        retry_after: outcome::retry_after(headers)
            .filter(|_| matches!(category, ErrorCategory::RateLimit | ErrorCategory::Transient)),
        effect: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::time::Duration;

    #[rstest]
    #[case(200, "", None)]
    #[case(202, "", None)]
    #[case(
        410,
        r#"{"code":"withdrawn","detail":"no"}"#,
        Some(ErrorCategory::InvalidInput)
    )]
    #[case(500, "", None)]
    #[case(502, "<html>", None)]
    #[case(503, "<html>", None)]
    #[case(
        503,
        r#"{"code":"not_ready","detail":"it starts"}"#,
        Some(ErrorCategory::Transient)
    )]
    #[case(
        422,
        r#"{"code":"not_on_whatsapp","detail":"no"}"#,
        Some(ErrorCategory::Permanent)
    )]
    #[case(422, r#"{"code":"text","detail":"no"}"#, Some(ErrorCategory::InvalidInput))]
    #[case(
        403,
        r#"{"code":"not_paired","detail":"scan"}"#,
        Some(ErrorCategory::AuthFailure)
    )]
    #[case(401, "", Some(ErrorCategory::AuthFailure))]
    #[case(404, "", Some(ErrorCategory::InvalidInput))]
    #[case(302, "", Some(ErrorCategory::AuthFailure))]
    fn classes(#[case] status: u16, #[case] body: &str, #[case] category: Option<ErrorCategory>) {
        let rejection = classify(status, &[], body.as_bytes());
        assert_eq!(rejection.map(|no| no.category), category);
    }

    #[test]
    fn the_wait_is_read_and_the_text_is_masked() {
        let headers = [("retry-after".to_owned(), "31".to_owned())];
        let body = br#"{"code":"too_soon","detail":"+4366412345678 must wait"}"#;
        let no = classify(429, &headers, body);
        let no = no.map(|no| (no.category, no.retry_after, no.code, no.detail));
        let expected = (
            ErrorCategory::RateLimit,
            Some(Duration::from_secs(31)),
            "too_soon".to_owned(),
            "[number] must wait".to_owned(),
        );
        assert_eq!(no, Some(expected));
    }
}
