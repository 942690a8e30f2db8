//! Rule 4: addresses that must not be written to.
//!
//! An unsubscription closes for marketing and service. Everything else closes for every category: a hard bounce cannot
//! arrive, STOP is binding on the channel, and after a complaint even a receipt costs reputation and goodwill.

use super::channel_rules::{ChannelRule, no_objection};
use super::facts::SuppressionReason;
use super::{Facts, Policy, ReasonCode, Remark, Rule};
use crate::channel::Channel;
use crate::message::Category;
use jiff::Timestamp;

pub(super) const RULE: ChannelRule = ChannelRule {
    rule: Rule::Suppression,
    whole: no_objection,
    channel,
    passed,
};

/// Gravest first: of several the first is named.
const BY_GRAVITY: [SuppressionReason; 7] = [
    SuppressionReason::Erased,
    SuppressionReason::Stop,
    SuppressionReason::Complaint,
    SuppressionReason::HardBounce,
    SuppressionReason::Manual,
    SuppressionReason::SoftBounce,
    SuppressionReason::Unsubscribe,
];

fn channel(facts: &Facts, _: &Policy, channel: Channel, now: Timestamp) -> Option<Remark> {
    let address = facts
        .addresses
        .iter()
        .find(|address| address.channel == channel)?;
    let binding = |reason: SuppressionReason| {
        reason != SuppressionReason::Unsubscribe || facts.request.category != Category::Transactional
    };
    BY_GRAVITY
        .into_iter()
        .filter(|reason| binding(*reason))
        .find_map(|reason| {
            address.suppressions.iter().find(|suppression| {
                suppression.reason == reason && suppression.until.is_none_or(|until| until > now)
            })
        })
        .map(|suppression| remark(suppression.reason, suppression.until))
}

fn remark(reason: SuppressionReason, until: Option<Timestamp>) -> Remark {
    match reason {
        SuppressionReason::SoftBounce => Remark::new(
            ReasonCode::SuppressionSoftBounce,
            match until {
                Some(until) => format!(
                    "The address returned messages on several days (soft bounces); it is left alone until {until}."
                )
                .into(),
                None => std::borrow::Cow::Borrowed(
                    "The address returned messages on several days (soft bounces).",
                ),
            },
        ),
        SuppressionReason::HardBounce => Remark::new(
            ReasonCode::SuppressionHardBounce,
            "The address returned a message for good (hard bounce).",
        ),
        SuppressionReason::Complaint => Remark::new(
            ReasonCode::SuppressionComplaint,
            "The recipient called an earlier message spam.",
        ),
        SuppressionReason::Unsubscribe => Remark::new(
            ReasonCode::SuppressionUnsubscribe,
            "The recipient unsubscribed this address.",
        ),
        SuppressionReason::Stop => Remark::new(
            ReasonCode::SuppressionStop,
            "The recipient sent STOP from this address.",
        ),
        SuppressionReason::Manual => Remark::new(
            ReasonCode::SuppressionManual,
            "An operator suppressed this address.",
        ),
        SuppressionReason::Erased => Remark::new(
            ReasonCode::SuppressionErased,
            "The address belonged to a contact who was erased.",
        ),
    }
}

fn passed(_: &Facts, _: &Policy) -> Remark {
    Remark::new(
        ReasonCode::SuppressionNone,
        "No address in question is suppressed.",
    )
}
