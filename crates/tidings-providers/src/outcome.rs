//! What HTTP providers share: from a transport failure to an outcome, and the wait a provider asks for.

use crate::contract::{Rejection, SendOutcome};
use crate::egress::EgressFailure;
use jiff::fmt::rfc2822;
use std::time::Duration;
use tidings_core::ErrorCategory;

/// The longest wait honoured; a provider that asks for more gets asked again after it.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// Bytes of a vendor's id of a message.
const LONGEST_ID: usize = 200;

/// The outcome of a call without an answer: provably not sent is a transient no, anything else is unknown.
pub fn of_failure(failure: &EgressFailure) -> SendOutcome {
    let (category, code, detail) = match failure {
        EgressFailure::Unanswered(detail) => {
            return SendOutcome::Unknown {
                detail: detail.clone(),
            };
        }
        EgressFailure::NotSent(detail) => (ErrorCategory::Transient, "not_sent", detail),
        EgressFailure::Forbidden(detail) => (ErrorCategory::AuthFailure, "forbidden_address", detail),
    };
    SendOutcome::Rejected(Rejection {
        category,
        code: code.to_owned(),
        detail: detail.clone(),
        retry_after: None,
        effect: None,
    })
}

/// The category of a status where the body says nothing better. A redirect, or what is not HTTP as a vendor speaks it: the
/// base URL is wrong.
pub const fn category_of(status: u16) -> ErrorCategory {
    match status {
        429 => ErrorCategory::RateLimit,
        408 | 500.. => ErrorCategory::Transient,
        400 | 402 | 404..=499 => ErrorCategory::InvalidInput,
        _ => ErrorCategory::AuthFailure,
    }
}

/// The outcome of an answer: the vendor's no, or its id. A success without an id that could be one may be anybody's.
pub fn of_answer(vendor: &str, status: u16, no: Option<Rejection>, id: Option<String>) -> SendOutcome {
    if let Some(rejection) = no {
        return SendOutcome::Rejected(rejection);
    }
    match id.filter(|id| (1..=LONGEST_ID).contains(&id.len())) {
        Some(id) => SendOutcome::Accepted {
            provider_message_id: Some(id),
        },
        None => SendOutcome::Unknown {
            detail: format!("{vendor} answered {status} without a message id"),
        },
    }
}

/// A rejection of our own making: the connection cannot carry such content, and nothing was sent.
pub fn wrong_content(detail: String) -> Rejection {
    Rejection {
        category: ErrorCategory::InvalidInput,
        code: "content".to_owned(),
        detail,
        retry_after: None,
        effect: None,
    }
}

/// `Retry-After` in seconds or, with a `Date` header to measure from, as a date (RFC 9110 section 10.2.3).
pub fn retry_after(headers: &[(String, String)]) -> Option<Duration> {
    let header = |name: &str| {
        headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    };
    let value = header("retry-after")?;
    let wait = match value.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => {
            Duration::from_secs_f64(seconds.min(LONGEST_WAIT.as_secs_f64()))
        }
        Ok(_) => return None,
        Err(_) => {
            let until = rfc2822::parse(value).ok()?.timestamp();
            let from = rfc2822::parse(header("date")?).ok()?.timestamp();
            Duration::try_from(until.duration_since(from)).ok()?
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(400, ErrorCategory::InvalidInput)]
    #[case(401, ErrorCategory::AuthFailure)]
    #[case(403, ErrorCategory::AuthFailure)]
    #[case(404, ErrorCategory::InvalidInput)]
    #[case(408, ErrorCategory::Transient)]
    #[case(429, ErrorCategory::RateLimit)]
    #[case(499, ErrorCategory::InvalidInput)]
    #[case(503, ErrorCategory::Transient)]
    #[case(302, ErrorCategory::AuthFailure)]
    fn a_status_alone_has_a_category(#[case] status: u16, #[case] category: ErrorCategory) {
        assert_eq!(category_of(status), category);
    }

    #[test]
    fn a_success_without_an_id_is_no_success() {
        let of = |id: &str| of_answer("X", 200, None, Some(id.to_owned()));
        assert!(matches!(of("a"), SendOutcome::Accepted { .. }));
        for id in [String::new(), "x".repeat(201)] {
            assert!(matches!(of(&id), SendOutcome::Unknown { .. }));
        }
        assert!(matches!(
            of_answer("X", 200, None, None),
            SendOutcome::Unknown { .. }
        ));
        let no = wrong_content("no".to_owned());
        let outcome = of_answer("X", 400, Some(no.clone()), Some("a".to_owned()));
        assert_eq!(outcome, SendOutcome::Rejected(no));
    }

    #[rstest]
    #[case(&[("Retry-After", "7")], Some(7))]
    #[case(&[("retry-after", " 0 ")], Some(0))]
    #[case(&[("retry-after", "1e99")], Some(86_400))]
    #[case(&[("retry-after", "-1")], None)]
    #[case(&[("retry-after", "soon")], None)]
    #[case(&[("retry-after", "Sat, 21 Nov 2026 10:00:30 GMT"), ("date", "Sat, 21 Nov 2026 10:00:00 GMT")], Some(30))]
    #[case(&[("retry-after", "Sat, 21 Nov 2026 10:00:30 GMT")], None)]
    #[case(&[], None)]
    fn reads_retry_after(#[case] headers: &[(&str, &str)], #[case] seconds: Option<u64>) {
        let owned: Vec<_> = headers
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(retry_after(&owned), seconds.map(Duration::from_secs));
    }
}
