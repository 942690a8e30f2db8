//! What becomes of an attempt whose outcome nobody knows. Nothing is resent silently.

use crate::channel::Channel;
use crate::decide::policy::{OnUnknown, Policy};
use crate::message::Category;
use crate::word::word_enum;
use jiff::{SignedDuration, Timestamp};

word_enum! {
    /// What asking the provider brought.
    pub enum Evidence {
        /// It has the message.
        Found = "found",
        /// It does not have the message and never will.
        NotFound = "not_found",
        /// It takes the same reference once only: repeating the call is safe.
        Repeatable = "repeatable",
        /// It cannot tell, or was not asked.
        Unavailable = "unavailable",
    }
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownAction {
    /// Wait for a webhook; ask again at the instant.
    WaitUntil(Timestamp),
    /// It arrived: the attempt is accepted.
    Accept,
    /// Queue the delivery again, under the same reference.
    Resend,
    /// Hold for a person.
    Hold,
    /// Give up; never resent.
    Drop,
}

/// How long a provider's webhook may take before the policy decides.
pub const fn grace(channel: Channel) -> SignedDuration {
    match channel {
        Channel::Email => SignedDuration::from_mins(10),
        Channel::Sms => SignedDuration::from_mins(5),
        Channel::Whatsapp | Channel::WhatsappWeb => SignedDuration::from_mins(2),
    }
}

/// Decides about an attempt of unknown outcome: by the provider's word where there is one, else by the tenant's policy
/// after the grace time. A policy that is silent about a category holds for a person.
pub fn resolve(
    channel: Channel,
    category: Category,
    policy: &Policy,
    attempted_at: Timestamp,
    now: Timestamp,
    evidence: Evidence,
) -> UnknownAction {
    match evidence {
        Evidence::Found => return UnknownAction::Accept,
        Evidence::NotFound | Evidence::Repeatable => return UnknownAction::Resend,
        Evidence::Unavailable => {}
    }
    let ready = attempted_at
        .saturating_add(grace(channel))
        .unwrap_or(Timestamp::MAX);
    if now < ready {
        return UnknownAction::WaitUntil(ready);
    }
    match policy
        .on_unknown
        .get(&category)
        .copied()
        .unwrap_or(OnUnknown::Hold)
    {
        OnUnknown::Resend => UnknownAction::Resend,
        OnUnknown::Hold => UnknownAction::Hold,
        OnUnknown::Drop => UnknownAction::Drop,
    }
}
