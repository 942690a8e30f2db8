//! What HTTP providers share: from a transport failure to an outcome, and the wait a provider asks for.

use crate::contract::{Rejection, SendOutcome};
use crate::egress::EgressFailure;
use jiff::fmt::rfc2822;
use std::time::Duration;
use tidings_core::ErrorCategory;

/// The longest wait honoured; a provider that asks for more gets asked again after it.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

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
