//! Faults on request: by setting, or by magic recipient.
//!
//! | fault | e-mail local part | last seven digits of a +1 number |
//! |---|---|---|
//! | `timeout_after_accept` | `timeout-after-accept` | `5550101` |
//! | `timeout_before_accept` | `timeout-before-accept` | `5550102` |
//! | `rate_limited` | `rate-limited` | `5550103` |
//! | `server_error` | `server-error` | `5550104` |
//! | `rejected` | `rejected` | `5550105` |
//! | `bounce_later` | `bounce-later` | `5550106` |
//! | `auth_failure` | `auth-failure` | `5550107` |
//! | `slow` | `slow` | `5550108` |
//! | `opted_out` | `opted-out` | `5550109` |
//! | `invalid_input` | `invalid-input` | `5550110` |
//! | `complain_later` | `complain-later` | `5550111` |
//!
//! An e-mail local part may go on after a `+`: `rejected+anything@example.com`.

use super::capture::FollowUp;
use crate::contract::{Rejection, RejectionEffect};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tidings_core::event::DeliveryEventKind;
use tidings_core::{Address, ErrorCategory};

/// How the sandbox misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Takes the message, and never answers.
    TimeoutAfterAccept,
    /// Never answers, and does not take it.
    TimeoutBeforeAccept,
    /// 429 with a Retry-After.
    RateLimited,
    /// 503.
    ServerError,
    /// The recipient does not exist.
    Rejected,
    /// Takes it, and reports a hard bounce later.
    BounceLater,
    /// 401.
    AuthFailure,
    /// Answers late.
    Slow,
    /// The recipient stopped this sender.
    OptedOut,
    /// 400.
    InvalidInput,
    /// Takes it, and reports a complaint later.
    ComplainLater,
}

/// Every fault, with its magic local part and its magic last digits.
const MAGIC: &[(Fault, &str, &str)] = &[
    (Fault::TimeoutAfterAccept, "timeout-after-accept", "5550101"),
    (Fault::TimeoutBeforeAccept, "timeout-before-accept", "5550102"),
    (Fault::RateLimited, "rate-limited", "5550103"),
    (Fault::ServerError, "server-error", "5550104"),
    (Fault::Rejected, "rejected", "5550105"),
    (Fault::BounceLater, "bounce-later", "5550106"),
    (Fault::AuthFailure, "auth-failure", "5550107"),
    (Fault::Slow, "slow", "5550108"),
    (Fault::OptedOut, "opted-out", "5550109"),
    (Fault::InvalidInput, "invalid-input", "5550110"),
    (Fault::ComplainLater, "complain-later", "5550111"),
];

impl Fault {
    /// The fault a recipient asks for.
    pub fn of_recipient(to: &Address) -> Option<Self> {
        match to {
            Address::Email(email) => {
                let local = email.as_str().rsplit_once('@')?.0;
                let word = local.split('+').next().unwrap_or(local).to_ascii_lowercase();
                MAGIC
                    .iter()
                    .find(|(_, name, _)| *name == word)
                    .map(|(fault, _, _)| *fault)
            }
            Address::Phone(phone) => {
                let digits = phone.as_str().strip_prefix("+1").filter(|d| d.len() == 10)?;
                MAGIC
                    .iter()
                    .find(|(_, _, tail)| digits.ends_with(tail))
                    .map(|(fault, _, _)| *fault)
            }
        }
    }

    /// Whether a reference belongs to the share of messages that meet a fault. The same reference always gives
    /// the same answer.
    pub fn strikes(reference: &str, percent: u8) -> bool {
        // FNV-1a: stable over versions and platforms, which std's hasher is not.
        let hash = reference.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash >> 32) % 100 < u64::from(percent)
    }

    /// The answer of a fault that refuses.
    pub fn rejection(self, retry_after: Duration) -> Option<Rejection> {
        let (category, code, detail, retry, effect) = match self {
            Self::RateLimited => (
                ErrorCategory::RateLimit,
                "429",
                "too many requests",
                Some(retry_after),
                None,
            ),
            Self::ServerError => (ErrorCategory::Transient, "503", "service unavailable", None, None),
            Self::Rejected => (
                ErrorCategory::Permanent,
                "550 5.1.1",
                "no such recipient",
                None,
                Some(RejectionEffect::AddressBad),
            ),
            Self::AuthFailure => (
                ErrorCategory::AuthFailure,
                "401",
                "credentials refused",
                None,
                None,
            ),
            Self::OptedOut => (
                ErrorCategory::Permanent,
                "21610",
                "the recipient opted out",
                None,
                Some(RejectionEffect::OptedOut),
            ),
            Self::InvalidInput => (
                ErrorCategory::InvalidInput,
                "400",
                "the request is wrong",
                None,
                None,
            ),
            Self::TimeoutAfterAccept
            | Self::TimeoutBeforeAccept
            | Self::BounceLater
            | Self::Slow
            | Self::ComplainLater => return None,
        };
        Some(Rejection {
            category,
            code: code.to_owned(),
            detail: format!("sandbox: {detail}"),
            retry_after: retry,
            effect,
        })
    }

    /// What is reported after acceptance.
    pub fn follow_up(self) -> Option<FollowUp> {
        let kind = match self {
            Self::BounceLater => DeliveryEventKind::Bounced,
            Self::ComplainLater => DeliveryEventKind::Complained,
            _ => return None,
        };
        Some(FollowUp {
            kind,
            after: Duration::from_secs(2),
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use tidings_core::{EmailAddress, PhoneNumber};

    #[test]
    fn every_fault_has_its_recipients() {
        for (fault, local, tail) in MAGIC {
            let email = Address::Email(EmailAddress::parse(&format!("{local}+x@example.com")).unwrap());
            assert_eq!(Fault::of_recipient(&email), Some(*fault));
            let phone = Address::Phone(PhoneNumber::parse(&format!("+1202{tail}"), None).unwrap());
            assert_eq!(Fault::of_recipient(&phone), Some(*fault));
            let word = serde_json::to_value(fault).unwrap();
            assert_eq!(word.as_str().unwrap().replace('_', "-"), *local);
        }
        let plain = Address::Email(EmailAddress::parse("bob@example.com").unwrap());
        assert_eq!(Fault::of_recipient(&plain), None);
    }

    #[test]
    fn shares_are_roughly_kept_and_stable() {
        let hits = (0..10_000)
            .filter(|n| Fault::strikes(&format!("ref-{n}"), 20))
            .count();
        assert!((1_700..2_300).contains(&hits), "{hits}");
        assert!(!Fault::strikes("ref-1", 0) && Fault::strikes("ref-1", 100));
    }
}
