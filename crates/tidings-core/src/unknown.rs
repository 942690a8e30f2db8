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
        /// It takes the same reference once only: repeating the call is safe, as long as [`repeatable_until`] says.
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

/// A repetition begins so long before the provider forgets the reference: clocks differ, and a call takes its time.
const FORGETTING: SignedDuration = SignedDuration::from_mins(15);

/// A reference that is remembered for good is repeated this long; then a policy or a person decides.
const LONGEST_REPEATED: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Until when a call may be repeated under a reference that the provider first saw at `first_used` and remembers for so
/// long (none: for good). A later repetition could be taken as a second message.
pub fn repeatable_until(first_used: Timestamp, remembers_for: Option<SignedDuration>) -> Timestamp {
    let remembered = remembers_for.unwrap_or(LONGEST_REPEATED).min(LONGEST_REPEATED);
    first_used
        .saturating_add(remembered)
        .and_then(|until| until.saturating_sub(FORGETTING))
        .unwrap_or(first_used)
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
