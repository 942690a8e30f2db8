//! What an SMTP reply means.
//!
//! The first digit decides, the enhanced code (RFC 3463) refines, and where in the dialogue it was said tells whether
//! it is about the relay or about the recipient. A policy refusal (5.7.x) never says anything about the address.

use crate::bounce::{StatusClass, class_of_status, enhanced_code};
use crate::contract::{Rejection, RejectionEffect};
use crate::mask::mask;
use std::time::Duration;
use tidings_core::ErrorCategory;

/// Where in the dialogue a reply came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The greeting.
    Connect,
    /// `EHLO`.
    Hello,
    /// `STARTTLS`.
    StartTls,
    /// `AUTH`.
    Auth,
    /// `MAIL FROM`.
    Mail,
    /// `RCPT TO`.
    Rcpt,
    /// `DATA`, before the message.
    Data,
    /// The final dot.
    End,
}

impl Stage {
    /// Whether the relay has not yet been told of any message.
    fn before_transaction(self) -> bool {
        matches!(self, Self::Connect | Self::Hello | Self::StartTls | Self::Auth)
    }

    /// Whether a refusal may be about the recipient.
    fn names_recipient(self) -> bool {
        matches!(self, Self::Rcpt | Self::Data | Self::End)
    }
}

/// How long a greylisting server wants to wait at least.
const GREYLIST_WAIT: Duration = Duration::from_mins(5);

/// Classes a reply of one or more lines; nothing for a positive one.
pub fn classify(stage: Stage, reply: &str) -> Option<Rejection> {
    let last = reply
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .unwrap_or_default();
    let code = last
        .get(..3)
        .and_then(|digits| digits.parse::<u16>().ok())
        .unwrap_or(0);
    if (200..400).contains(&code) {
        return None;
    }
    let first_digit = char::from(b'0' + (code / 100) as u8);
    let enhanced = reply
        .lines()
        .find_map(enhanced_code)
        .filter(|e| e.starts_with(first_digit));
    let text = reply.to_lowercase();
    let verdict = match code {
        400..500 => temporary(code, enhanced.as_deref(), &text),
        500..600 => permanent(stage, code, enhanced.as_deref(), &text),
        // Not SMTP at all.
        _ => (ErrorCategory::AuthFailure, None),
    };
    let greylisted = first_digit == '4'
        && (text.contains("greylist") || (code, enhanced.as_deref()) == (451, Some("4.7.1")));
    Some(Rejection {
        category: verdict.0,
        code: match &enhanced {
            Some(enhanced) => format!("{code} {enhanced}"),
            None => code.to_string(),
        },
        detail: mask(reply),
        retry_after: greylisted.then_some(GREYLIST_WAIT),
        effect: verdict.1,
    })
}

type Verdict = (ErrorCategory, Option<RejectionEffect>);

fn temporary(code: u16, enhanced: Option<&str>, text: &str) -> Verdict {
    let throttled = [
        "throttl",
        "sending rate",
        "message quota",
        "rate limit",
        "ratelimit",
        "too many messages",
    ]
    .iter()
    .any(|word| text.contains(word));
    let rate_by_code = code == 421 && enhanced.is_some_and(|e| e.starts_with("4.7."));
    let category = if throttled || rate_by_code {
        ErrorCategory::RateLimit
    } else {
        ErrorCategory::Transient
    };
    (category, None)
}

fn permanent(stage: Stage, code: u16, enhanced: Option<&str>, text: &str) -> Verdict {
    use ErrorCategory::{AuthFailure, InvalidInput, Permanent, Transient};
    let bad_address = stage.names_recipient().then_some(RejectionEffect::AddressBad);
    if stage.before_transaction() || matches!(code, 530 | 534 | 535 | 538) {
        return (AuthFailure, None);
    }
    match enhanced {
        Some("5.1.1" | "5.1.2" | "5.1.3" | "5.1.6" | "5.1.10") => (Permanent, bad_address),
        _ if code == 556 => (Permanent, bad_address),
        // A full mailbox may empty itself (RFC 5321 section 4.5.3.1.10 reads 552 at RCPT as 452), and a queue that
        // gave up says nothing lasting.
        Some("5.2.2" | "5.4.7") => (Transient, None),
        Some("5.2.3" | "5.3.4") => (InvalidInput, None),
        Some(e) if e.starts_with("5.6.") => (InvalidInput, None),
        Some("5.0.0") | None => without_enhanced(code, text, bad_address),
        Some(_) if (500..510).contains(&code) => (InvalidInput, None),
        Some(_) => (Permanent, None),
    }
}

fn without_enhanced(code: u16, text: &str, bad_address: Option<RejectionEffect>) -> Verdict {
    use ErrorCategory::{InvalidInput, Permanent, Transient};
    if (500..510).contains(&code) {
        return (InvalidInput, None);
    }
    match class_of_status("", text) {
        StatusClass::Hard => (Permanent, bad_address),
        StatusClass::Block if text.contains("size") || text.contains("too large") => (InvalidInput, None),
        StatusClass::Soft if code == 552 => (Transient, None),
        StatusClass::Unclear if matches!(code, 551 | 553) => (Permanent, bad_address),
        StatusClass::Block | StatusClass::Soft | StatusClass::Unclear => (Permanent, None),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use ErrorCategory::{AuthFailure, InvalidInput, Permanent, RateLimit, Transient};
    use rstest::rstest;

    #[rstest]
    #[case(Stage::Connect, "421 4.3.2 closing", Transient, false)]
    #[case(Stage::Connect, "554 no service for you", AuthFailure, false)]
    #[case(Stage::Hello, "550 5.7.1 go away", AuthFailure, false)]
    #[case(Stage::Auth, "535 5.7.8 bad credentials", AuthFailure, false)]
    #[case(Stage::Auth, "454 4.7.0 temporary authentication failure", Transient, false)]
    #[case(Stage::Mail, "530 5.7.0 authenticate first", AuthFailure, false)]
    #[case(Stage::Mail, "553 5.1.8 sender unknown", Permanent, false)]
    #[case(
        Stage::Mail,
        "454 Throttling failure: Maximum sending rate exceeded.",
        RateLimit,
        false
    )]
    #[case(Stage::Rcpt, "450 4.2.0 busy", Transient, false)]
    #[case(Stage::Rcpt, "421 4.7.28 unusual rate", RateLimit, false)]
    #[case(Stage::Rcpt, "550-5.1.1 a\r\n550 5.1.1 b", Permanent, true)]
    #[case(Stage::Rcpt, "550 User unknown", Permanent, true)]
    #[case(Stage::Rcpt, "553 mailbox name not allowed", Permanent, true)]
    #[case(Stage::Rcpt, "556 5.1.10 null MX", Permanent, true)]
    #[case(Stage::Rcpt, "550 5.2.1 disabled", Permanent, false)]
    #[case(Stage::Rcpt, "552 5.2.2 full", Transient, false)]
    #[case(Stage::Rcpt, "552 mailbox full", Transient, false)]
    #[case(Stage::Rcpt, "550 5.7.1 user unknown by policy", Permanent, false)]
    #[case(Stage::Rcpt, "550 5.4.4 no host", Permanent, false)]
    #[case(Stage::Rcpt, "550 5.4.7 expired", Transient, false)]
    #[case(Stage::Rcpt, "501 5.1.3 bad address syntax", Permanent, true)]
    #[case(Stage::Rcpt, "503 5.5.1 bad sequence", InvalidInput, false)]
    #[case(Stage::End, "552 5.3.4 too large", InvalidInput, false)]
    #[case(Stage::End, "550 5.7.26 unauthenticated", Permanent, false)]
    #[case(Stage::End, "554 5.6.0 bad content", InvalidInput, false)]
    #[case(Stage::End, "554 rejected as spam", Permanent, false)]
    #[case(Stage::Connect, "HTTP/1.1 400 Bad Request", AuthFailure, false)]
    fn classes(
        #[case] stage: Stage,
        #[case] reply: &str,
        #[case] category: ErrorCategory,
        #[case] bad: bool,
    ) {
        let no = classify(stage, reply).unwrap();
        assert_eq!((no.category, no.effect.is_some()), (category, bad), "{reply}");
    }

    #[test]
    fn greylisting_waits_and_success_is_none() {
        assert_eq!(
            classify(Stage::Rcpt, "451 4.7.1 try later").unwrap().retry_after,
            Some(GREYLIST_WAIT)
        );
        assert!(
            classify(Stage::Data, "354 go on").is_none() && classify(Stage::End, "250 2.0.0 Ok").is_none()
        );
    }
}
