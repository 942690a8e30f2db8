//! Why a model gave no answer, in the words that decide about a retry.

use crate::settings::ModelKind;
use crate::transport::{ModelAnswer, TransportError};
use jiff::fmt::rfc2822;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::time::Duration;
use tidings_core::ErrorCategory;

/// A longer wait than this is not believed.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// A call without a usable answer. It holds none of the vendor's sentences: they quote keys and contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ModelFailure {
    /// Decides what happens next.
    pub category: ErrorCategory,
    /// A stable word: `timed_out`, `not_sent`, `declined`, or the status with the vendor's own word
    /// (`429 rate_limit_error`).
    pub code: String,
    /// A sentence for the log and the console.
    pub detail: String,
    /// How long the endpoint asked us to wait.
    pub retry_after: Option<Duration>,
}

impl ModelFailure {
    pub(crate) fn new(category: ErrorCategory, code: &str, detail: &str) -> Self {
        Self {
            category,
            code: code.to_owned(),
            detail: detail.to_owned(),
            retry_after: None,
        }
    }

    pub(crate) fn timed_out() -> Self {
        Self::of_transport(&TransportError::TimedOut)
    }

    pub(crate) fn of_transport(error: &TransportError) -> Self {
        let (category, code) = match error {
            TransportError::Forbidden(_) => (ErrorCategory::AuthFailure, "forbidden_address"),
            TransportError::NotSent(_) => (ErrorCategory::Transient, "not_sent"),
            TransportError::Broken(_) => (ErrorCategory::Transient, "broken_off"),
            TransportError::TimedOut => (ErrorCategory::Transient, "timed_out"),
        };
        Self::new(category, code, &error.to_string())
    }
}

/// The answer is not in the form of the interface: a page of a proxy, nothing, half of it.
pub(super) fn unreadable() -> ModelFailure {
    let detail = "the endpoint answered in a form that cannot be read; check its base_url and kind";
    ModelFailure::new(ErrorCategory::Transient, "unreadable", detail)
}

/// The model ran out of tokens.
pub(super) fn cut_short() -> ModelFailure {
    let detail = "the answer ended at the token limit; raise max_output_tokens";
    ModelFailure::new(ErrorCategory::InvalidInput, "length", detail)
}

/// The model, or a filter around it, would not write the text.
pub(super) fn declined() -> ModelFailure {
    let detail = "the model would not write this text";
    ModelFailure::new(ErrorCategory::Permanent, "declined", detail)
}

#[derive(Deserialize)]
struct Body {
    error: Option<Problem>,
    /// Some compatible servers put the error at the top: `{"object": "error", "type": ..}`.
    object: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Problem {
    Typed {
        #[serde(rename = "type")]
        kind: Option<String>,
        code: Option<Code>,
    },
    /// A sentence, which is not repeated.
    Sentence(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Word(String),
    Number(i64),
}

/// Classes an answer; nothing for one that may hold a text.
pub(super) fn of_answer(kind: ModelKind, answer: &ModelAnswer) -> Option<ModelFailure> {
    let body: Option<Body> = serde_json::from_slice(&answer.body).ok();
    let words = body.and_then(|body| error_words(kind, body));
    let success = (200..300).contains(&answer.status);
    let words = match words {
        None if success => return None,
        words => words.unwrap_or_default(),
    };
    let category = if success {
        of_words(&words).unwrap_or(ErrorCategory::Transient)
    } else {
        of_status(answer.status, &words)
    };
    let said = words
        .iter()
        .fold(answer.status.to_string(), |said, word| format!("{said} {word}"));
    Some(ModelFailure {
        category,
        detail: format!("the endpoint answered {said}; {}", advice(category)),
        code: said,
        retry_after: retry_after(answer),
    })
}

/// Type and code of an error, as plain words; nothing where the body is not an error.
fn error_words(kind: ModelKind, body: Body) -> Option<Vec<String>> {
    let at_top = body.object.as_deref() == Some("error")
        || (kind == ModelKind::Anthropic && body.kind.as_deref() == Some("error"));
    let (kind, code) = match body.error {
        Some(Problem::Typed { kind, code }) => (kind, code),
        Some(Problem::Sentence(_)) => (None, None),
        None if at_top => (body.kind, None),
        None => return None,
    };
    let code = code.map(|code| match code {
        Code::Word(word) => word,
        Code::Number(number) => number.to_string(),
    });
    Some(
        [kind, code]
            .into_iter()
            .flatten()
            .filter(|word| plain(word))
            .collect(),
    )
}

fn plain(word: &str) -> bool {
    let form = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=64).contains(&word.len()) && word.bytes().all(form)
}

fn of_status(status: u16, words: &[String]) -> ErrorCategory {
    match status {
        429 if words.iter().any(|word| no_credit(word)) => ErrorCategory::AuthFailure,
        429 => ErrorCategory::RateLimit,
        408 | 409 | 425 | 500.. => ErrorCategory::Transient,
        // An unknown model, a wrong path, a redirect: the connection's settings, not this message.
        300..=399 | 401..=404 => ErrorCategory::AuthFailure,
        _ => ErrorCategory::InvalidInput,
    }
}

/// An account without credit is refused until somebody pays.
fn no_credit(word: &str) -> bool {
    matches!(
        word,
        "insufficient_quota" | "credit_balance_exhausted" | "billing_hard_limit_reached" | "billing_error"
    ) || word.ends_with("_spend_limit_exceeded")
        || word == "organization_usage_limit_exceeded"
}

/// The category of an error inside a 200.
fn of_words(words: &[String]) -> Option<ErrorCategory> {
    words.iter().find_map(|word| {
        Some(match word.as_str() {
            word if no_credit(word) => ErrorCategory::AuthFailure,
            "rate_limit_error" | "rate_limit_exceeded" | "429" => ErrorCategory::RateLimit,
            "authentication_error"
            | "permission_error"
            | "invalid_api_key"
            | "not_found_error"
            | "model_not_found"
            | "401"
            | "403"
            | "404" => ErrorCategory::AuthFailure,
            "invalid_request_error"
            | "request_too_large"
            | "context_length_exceeded"
            | "400"
            | "413"
            | "422" => ErrorCategory::InvalidInput,
            _ => return None,
        })
    })
}

const fn advice(category: ErrorCategory) -> &'static str {
    match category {
        ErrorCategory::Transient | ErrorCategory::RateLimit => "it may work later",
        ErrorCategory::AuthFailure => "check the key, the account, the model's name and base_url",
        ErrorCategory::InvalidInput | ErrorCategory::Permanent => {
            "check the model's settings; this request will not work"
        }
    }
}

/// `retry-after-ms`, or `retry-after` in seconds or as a date measured from the answer's own `date`.
fn retry_after(answer: &ModelAnswer) -> Option<Duration> {
    let seconds = |text: &str, unit: f64| {
        let wait = text.parse::<f64>().ok()? * unit;
        (wait.is_finite() && wait >= 0.0)
            .then(|| Duration::from_secs_f64(wait.min(LONGEST_WAIT.as_secs_f64())))
    };
    if let Some(wait) = answer
        .header("retry-after-ms")
        .and_then(|text| seconds(text, 0.001))
    {
        return Some(wait);
    }
    let text = answer.header("retry-after")?;
    seconds(text, 1.0).or_else(|| {
        let until = rfc2822::parse(text).ok()?.timestamp();
        let from = rfc2822::parse(answer.header("date")?).ok()?.timestamp();
        let wait = Duration::try_from(until.duration_since(from)).ok()?;
        Some(wait.min(LONGEST_WAIT))
    })
}
