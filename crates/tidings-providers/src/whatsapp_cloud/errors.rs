//! Meta's error codes, in answers and in status webhooks.
//!
//! Source: Meta's page on error codes of the Cloud API; classes are ours. Message texts are not relied on.

use crate::contract::{Rejection, RejectionEffect};
use crate::mask::mask;
use crate::outcome;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use tidings_core::ErrorCategory;

/// Meta takes one message in six seconds to the same user.
const PAIR_WAIT: Duration = Duration::from_secs(6);

/// The longest wait taken from a usage header.
const LONGEST_WAIT_MIN: u64 = 24 * 60;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    error: Said,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    code: Option<i64>,
    message: Option<String>,
    error_data: Option<Value>,
    is_transient: Option<bool>,
}

/// Classes an answer; nothing for a success.
pub fn classify(status: u16, headers: &[(String, String)], body: &[u8]) -> Option<Rejection> {
    if (200..300).contains(&status) {
        return None;
    }
    let Body { error: said } = serde_json::from_slice(body).unwrap_or_default();
    let (category, effect) = match said.code.and_then(classify_code) {
        Some(known) => known,
        None if said.is_transient == Some(true) => (ErrorCategory::Transient, None),
        None => (outcome::category_of(status), None),
    };
    let asked = outcome::retry_after(headers).or_else(|| regained(headers));
    let paired = (said.code == Some(PAIR_LIMIT)).then_some(PAIR_WAIT);
    Some(Rejection {
        category,
        code: said
            .code
            .map_or_else(|| status.to_string(), |code| code.to_string()),
        detail: said
            .text()
            .map_or_else(|| format!("Meta answered {status}"), |text| mask(&text)),
        retry_after: asked
            .or(paired)
            .filter(|_| matches!(category, ErrorCategory::RateLimit | ErrorCategory::Transient)),
        effect,
    })
}

impl Said {
    fn text(&self) -> Option<String> {
        let details = self
            .error_data
            .as_ref()
            .and_then(|data| data.get("details"))
            .and_then(Value::as_str);
        match (&self.message, details) {
            (Some(message), Some(details)) => Some(format!("{message}: {details}")),
            (Some(text), None) => Some(text.clone()),
            (None, Some(text)) => Some(text.to_owned()),
            (None, None) => None,
        }
    }
}

/// Minutes until calls are taken again, as `x-business-use-case-usage` tells.
fn regained(headers: &[(String, String)]) -> Option<Duration> {
    let (_, value) = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("x-business-use-case-usage"))?;
    let usage: Value = serde_json::from_str(value).ok()?;
    let minutes = usage
        .as_object()?
        .values()
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(|entry| entry.get("estimated_time_to_regain_access")?.as_u64())
        .max()?;
    (minutes > 0).then(|| Duration::from_secs(60 * minutes.min(LONGEST_WAIT_MIN)))
}

/// More messages to one user than Meta takes in a short time.
const PAIR_LIMIT: i64 = 131_056;

/// Classes a code; nothing for one that is not in the table.
pub fn classify_code(code: i64) -> Option<(ErrorCategory, Option<RejectionEffect>)> {
    use ErrorCategory::{AuthFailure, InvalidInput, Permanent, RateLimit, Transient};
    Some(match code {
        // Token, permission, registration; policy and locks; payment; the test number's list, the display name.
        0
        | 3
        | 10
        | 190
        | 200..=299
        | 368
        | 130_497
        | 131_005
        | 131_030
        | 131_031
        | 131_037
        | 131_042
        | 131_044
        | 131_045
        | 133_010 => (AuthFailure, None),
        // Limits of the app, the account, the number and the pair; the spam limit.
        4 | 80_007 | 130_429 | 131_048 | PAIR_LIMIT | 131_064 | 133_016 => (RateLimit, None),
        // 131052: the user's media could not be fetched just now.
        1 | 2 | 131_000 | 131_016 | 131_052 | 131_057 | 135_000 => (Transient, None),
        // The request, or a template that does not fit it.
        33 | 100 | 131_008 | 131_009 | 131_021 | 131_051 | 131_053 | 132_000 | 132_001 | 132_005
        | 132_007 | 132_008 | 132_012 | 132_068 | 132_069 => (InvalidInput, None),
        // The user switched marketing off.
        131_050 => (Permanent, Some(RejectionEffect::OptedOutOfMarketing)),
        // Not on WhatsApp, or cannot get it (131026); the window closed (131047); Meta's limit of marketing for this user
        // (131049); an experiment (130472); no such call for a user id (131062); marketing templates off (131063); a
        // template paused or disabled (132015, 132016); another identity key (137000).
        130_472 | 131_026 | 131_047 | 131_049 | 131_062 | 131_063 | 132_015 | 132_016 | 137_000 => {
            (Permanent, None)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rstest::rstest;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Rejection {
        let headers: Vec<_> = headers
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        classify(status, &headers, body.as_bytes()).unwrap()
    }

    #[rstest]
    #[case(
        500,
        r#"{"error":{"code":987654,"is_transient":true}}"#,
        ErrorCategory::Transient
    )]
    #[case(400, r#"{"error":{"code":987654}}"#, ErrorCategory::InvalidInput)]
    #[case(500, r#"{"error":{"code":"190"}}"#, ErrorCategory::Transient)]
    #[case(503, "<html>", ErrorCategory::Transient)]
    #[case(301, "", ErrorCategory::AuthFailure)]
    #[case(400, r#"{"error":{"code":131026}}"#, ErrorCategory::Permanent)]
    fn what_is_not_in_the_table_goes_by_its_status(
        #[case] status: u16,
        #[case] body: &str,
        #[case] category: ErrorCategory,
    ) {
        assert_eq!(answer(status, &[], body).category, category);
    }

    #[test]
    fn waits_are_read() {
        let usage = r#"{"102":[{"type":"whatsapp","estimated_time_to_regain_access":5},{"estimated_time_to_regain_access":2}]}"#;
        let limited = answer(
            400,
            &[("x-business-use-case-usage", usage)],
            r#"{"error":{"code":80007}}"#,
        );
        assert_eq!(limited.retry_after, Some(Duration::from_mins(5)));
        let pair = answer(400, &[], r#"{"error":{"code":131056}}"#);
        assert_eq!(pair.retry_after, Some(PAIR_WAIT));
        let invalid = answer(400, &[("retry-after", "9")], r#"{"error":{"code":100}}"#);
        assert_eq!(invalid.retry_after, None);
    }

    #[test]
    fn details_hold_no_number() {
        let no = answer(
            400,
            &[],
            r#"{"error":{"code":131026,"message":"(#131026) undeliverable","error_data":{"details":"to +16505551234"}}}"#,
        );
        assert_eq!(
            (no.code.as_str(), no.detail.as_str()),
            ("131026", "(#131026) undeliverable: to [number]")
        );
    }
}
