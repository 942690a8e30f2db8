//! SES's answers: the type in `x-amzn-ErrorType` or `__type`, the text in `message` (botocore 1.44.5, sesv2).

use crate::contract::Rejection;
use crate::mask::mask;
use crate::outcome;
use serde::Deserialize;
use std::time::Duration;
use tidings_core::ErrorCategory;

/// How long a connection whose daily quota is used up rests: the quota is a rolling one, and frees itself bit by bit.
const QUOTA_WAIT: Duration = Duration::from_hours(1);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    #[serde(rename = "__type")]
    kind: Option<String>,
    #[serde(alias = "Message")]
    message: Option<String>,
}

/// Classes an answer; nothing for a success. The body may be anything where a proxy answers.
pub fn classify(status: u16, headers: &[(String, String)], body: &[u8]) -> Option<Rejection> {
    if (200..300).contains(&status) {
        return None;
    }
    let said: Body = serde_json::from_slice(body).unwrap_or_default();
    let header = headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("x-amzn-errortype"))
        .map(|(_, value)| value.as_str());
    let kind = bare_type(header.or(said.kind.as_deref()).unwrap_or_default());
    let message = said.message.as_deref().unwrap_or_default();
    let category = of_type(kind, message).unwrap_or_else(|| outcome::category_of(status));
    let quota = kind == "LimitExceededException" || is_daily(message);
    let wait = Some(QUOTA_WAIT).filter(|_| quota && category == ErrorCategory::RateLimit);
    Some(Rejection {
        category,
        code: if kind.is_empty() {
            status.to_string()
        } else {
            mask(kind)
        },
        detail: if message.is_empty() {
            format!("SES answered {status}")
        } else {
            mask(message)
        },
        retry_after: outcome::retry_after(headers).or(wait),
        effect: None,
    })
}

/// Without the namespace before `#` and the URL after `:`.
fn bare_type(text: &str) -> &str {
    let text = text.split(':').next().unwrap_or_default();
    text.rsplit('#').next().unwrap_or_default().trim()
}

fn is_daily(message: &str) -> bool {
    message.to_ascii_lowercase().contains("daily message quota")
}

fn of_type(kind: &str, message: &str) -> Option<ErrorCategory> {
    Some(match kind {
        "TooManyRequestsException"
        | "LimitExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "RequestLimitExceeded" => ErrorCategory::RateLimit,
        // An identity that is not verified is the account's matter, whatever the recipient.
        "MessageRejected" if message.contains("not verified") => ErrorCategory::AuthFailure,
        "MessageRejected" => ErrorCategory::Permanent,
        "MailFromDomainNotVerifiedException"
        | "AccountSuspendedException"
        | "SendingPausedException"
        | "AccessDenied"
        | "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "OptInRequired"
        | "NotAuthorized" => ErrorCategory::AuthFailure,
        "BadRequestException"
        | "NotFoundException"
        | "RequestEntityTooLargeException"
        | "ValidationError" => ErrorCategory::InvalidInput,
        "InternalFailure"
        | "InternalServerError"
        | "InternalServiceErrorException"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "ConcurrentModificationException"
        | "RequestTimeout"
        | "RequestTimeoutException" => ErrorCategory::Transient,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(
        429,
        "TooManyRequestsException",
        "Maximum sending rate exceeded.",
        ErrorCategory::RateLimit,
        None
    )]
    #[case(
        400,
        "LimitExceededException",
        "Daily message quota exceeded.",
        ErrorCategory::RateLimit,
        Some(3_600)
    )]
    #[case(400, "ThrottlingException", "Rate exceeded", ErrorCategory::RateLimit, None)]
    #[case(
        400,
        "MessageRejected",
        "Email address is not verified. bob@example.com",
        ErrorCategory::AuthFailure,
        None
    )]
    #[case(400, "MessageRejected", "Illegal content", ErrorCategory::Permanent, None)]
    #[case(
        400,
        "MailFromDomainNotVerifiedException",
        "x",
        ErrorCategory::AuthFailure,
        None
    )]
    #[case(400, "AccountSuspendedException", "x", ErrorCategory::AuthFailure, None)]
    #[case(400, "SendingPausedException", "x", ErrorCategory::AuthFailure, None)]
    #[case(400, "BadRequestException", "x", ErrorCategory::InvalidInput, None)]
    #[case(404, "NotFoundException", "x", ErrorCategory::InvalidInput, None)]
    #[case(403, "AccessDeniedException", "x", ErrorCategory::AuthFailure, None)]
    #[case(403, "ExpiredTokenException", "x", ErrorCategory::AuthFailure, None)]
    #[case(400, "IncompleteSignature", "x", ErrorCategory::AuthFailure, None)]
    #[case(413, "RequestEntityTooLargeException", "x", ErrorCategory::InvalidInput, None)]
    #[case(500, "InternalServerError", "x", ErrorCategory::Transient, None)]
    #[case(503, "ServiceUnavailable", "x", ErrorCategory::Transient, None)]
    #[case(408, "RequestTimeout", "x", ErrorCategory::Transient, None)]
    #[case(418, "NewException", "x", ErrorCategory::InvalidInput, None)]
    #[case(502, "", "", ErrorCategory::Transient, None)]
    #[case(307, "", "", ErrorCategory::AuthFailure, None)]
    fn the_table(
        #[case] status: u16,
        #[case] kind: &str,
        #[case] message: &str,
        #[case] category: ErrorCategory,
        #[case] wait_s: Option<u64>,
    ) {
        let wait = wait_s.map(Duration::from_secs);
        let url = ":http://internal.amazon.com/coral/com.amazonaws.sesv2/";
        let headers = [("x-amzn-ErrorType".to_owned(), format!("{kind}{url}"))];
        let body = serde_json::json!({ "message": message }).to_string();
        let by_header = classify(status, &headers, body.as_bytes()).unwrap();
        let body = serde_json::json!({ "__type": format!("com.amazonaws#{kind}"), "Message": message });
        let by_body = classify(status, &[], body.to_string().as_bytes()).unwrap();
        for no in [by_header, by_body] {
            assert_eq!((no.category, no.retry_after), (category, wait), "{no:?}");
            assert!(!no.detail.contains('@'), "{no:?}");
        }
    }
}
