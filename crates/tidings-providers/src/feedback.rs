//! Feedback that is asked for: what became of a message, and which addresses a provider does not write to any more.
//!
//! Webhooks bring both, unless they are lost. Few providers can be asked; the others say that they cannot.

use crate::contract::{Rejection, ReportedEvent, SuppressBecause, UNSUPPORTED};
use crate::egress::{EgressFailure, EgressResponse};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tidings_core::redact::Private;
use tidings_core::{ErrorCategory, ProviderKind};

/// Providers that say what became of a message. SES and WhatsApp only send events; SendGrid sells it as an extra; a mail server
/// writes a mail.
pub const REPORTING: [ProviderKind; 2] = [ProviderKind::Twilio, ProviderKind::Resend];

/// Providers that show their list of addresses they do not write to. Twilio and Resend keep one and tell of it only when they
/// are asked to send there.
pub const LISTING: [ProviderKind; 2] = [ProviderKind::Sendgrid, ProviderKind::Ses];

/// Bytes of a page of a list: a thousand entries, each with what a mail server said at length.
pub(crate) const PAGE_LIMIT: usize = 4 << 20;

/// The answer to "what became of this?".
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// This, beyond having been taken. Where the provider makes it possible the keys are those of the webhooks that would
    /// have said so; where not, a webhook that comes after all says the same again, which changes nothing.
    Known(Vec<ReportedEvent>),
    /// Nothing yet: it is on its way.
    Nothing,
    /// The provider has no such message, or keeps it no longer.
    NotKnown,
    /// It could not be asked, or its answer is none; nothing is known. [`UNSUPPORTED`] where it offers no such thing.
    Unanswered(Rejection),
}

/// A question for a page of a provider's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuestion<'q> {
    /// Which of [`Provider::suppression_lists`](crate::Provider::suppression_lists).
    pub list: &'q str,
    /// Entries from then on; all of them without it.
    pub since: Option<Timestamp>,
    /// And up to then. The same for every page, so that entries which come meanwhile do not move the others.
    pub until: Timestamp,
    /// What the page before said; none for the first.
    pub page: Option<&'q str>,
}

/// A page of a provider's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuppressionPage {
    /// What stands on it.
    pub entries: Vec<ListedSuppression>,
    /// Entries that could not be read.
    pub skipped: usize,
    /// How the next page is asked for; none after the last.
    pub next: Option<String>,
}

/// An address that a provider does not write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSuppression {
    /// The address.
    pub address: Private<String>,
    /// Why.
    pub because: SuppressBecause,
    /// Since when.
    pub since: Timestamp,
    /// A short code, where there is one.
    pub code: Option<String>,
}

/// The pairs of a query as a URL takes them.
pub(crate) fn lent<'q>(query: &'q [(&'static str, String)]) -> Vec<(&'q str, &'q str)> {
    query
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

/// The no of a provider that offers no such thing, or not to this key.
pub fn unsupported(detail: impl Into<String>) -> Rejection {
    no(ErrorCategory::InvalidInput, UNSUPPORTED, detail.into())
}

/// No answer within the time that a call may take.
pub fn late() -> Rejection {
    no(
        ErrorCategory::Transient,
        "no_answer",
        "no answer in time".to_owned(),
    )
}

/// An answer that is none of the vendor's: a proxy's page, a field of another type, half a body.
pub(crate) fn unreadable(vendor: &str, status: u16) -> Rejection {
    let detail = format!("{vendor} answered {status} with what cannot be read");
    no(ErrorCategory::Transient, "unreadable", detail)
}

/// No answer at all. A question may always be asked again, so it does not matter whether it arrived.
pub(crate) fn failed(failure: &EgressFailure) -> Rejection {
    let (category, code) = match failure {
        EgressFailure::Unanswered(_) => (ErrorCategory::Transient, "no_answer"),
        EgressFailure::NotSent(_) => (ErrorCategory::Transient, "not_sent"),
        EgressFailure::Forbidden(_) => (ErrorCategory::AuthFailure, "forbidden_address"),
    };
    no(category, code, failure.to_string())
}

/// The whole body of a plain success, as the vendor documents it.
pub(crate) fn body<T: DeserializeOwned>(vendor: &str, answer: &EgressResponse) -> Result<T, Rejection> {
    if answer.status != 200 || answer.cut {
        return Err(unreadable(vendor, answer.status));
    }
    serde_json::from_slice(&answer.body).map_err(|_| unreadable(vendor, answer.status))
}

fn no(category: ErrorCategory, code: &str, detail: String) -> Rejection {
    Rejection {
        category,
        code: code.to_owned(),
        detail,
        retry_after: None,
        effect: None,
    }
}
