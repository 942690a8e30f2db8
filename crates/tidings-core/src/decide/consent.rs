//! Rule 3: what the contact permitted, refused or paused.
//!
//! A STOP closes its channel for every category. An opt-out by preference and a pause close for marketing and service;
//! transactional messages go. A consent taken back closes its own category, also where none would have been needed.
//! Of several consents for a category the newest counts, be it for the channel or for all channels.

use super::channel_rules::ChannelRule;
use super::{Facts, Policy, ReasonCode, Remark, Rule};
use crate::channel::Channel;
use crate::message::Category;
use jiff::Timestamp;

pub(super) const RULE: ChannelRule = ChannelRule {
    rule: Rule::Consent,
    whole,
    channel,
    passed,
};

fn whole(facts: &Facts, _: &Policy) -> Option<Remark> {
    facts.contact.erased.then(|| {
        Remark::new(
            ReasonCode::ConsentErased,
            "The contact was erased and is never written to.",
        )
    })
}

fn channel(facts: &Facts, policy: &Policy, channel: Channel, _: Timestamp) -> Option<Remark> {
    let category = facts.request.category;
    if facts.contact.stopped.contains(&channel) {
        return Some(Remark::new(
            ReasonCode::ConsentStopped,
            "The contact stopped this channel (STOP).",
        ));
    }
    if category != Category::Transactional && facts.contact.opted_out.contains(&channel) {
        return Some(Remark::new(
            ReasonCode::ConsentOptedOut,
            "The contact opted out of this channel.",
        ));
    }
    let newest = facts
        .consents
        .iter()
        .filter(|consent| consent.purpose == category && consent.channel.is_none_or(|only| only == channel))
        // Of two at the same instant the refusal counts.
        .max_by_key(|consent| (consent.at, !consent.granted));
    match newest {
        Some(consent) if consent.granted => None,
        Some(_) => Some(Remark::new(
            ReasonCode::ConsentWithdrawn,
            "The contact took the consent for this kind of message back.",
        )),
        None if policy.consent_required.contains(&category) => Some(Remark::new(
            ReasonCode::ConsentMissing,
            "This kind of message needs a consent; none is on record.",
        )),
        None => None,
    }
}

fn passed(facts: &Facts, policy: &Policy) -> Remark {
    if policy.consent_required.contains(&facts.request.category) {
        Remark::new(
            ReasonCode::ConsentGranted,
            "The contact consented to this kind of message.",
        )
    } else {
        Remark::new(
            ReasonCode::ConsentNotNeeded,
            "This kind of message needs no consent, and the contact refused nothing.",
        )
    }
}

/// Until when the contact wants to hear nothing, where that is later than `from`.
pub(super) fn pause(facts: &Facts, from: Timestamp) -> Option<(Timestamp, Remark)> {
    let until = facts.contact.paused_until.filter(|until| *until > from)?;
    if facts.request.category == Category::Transactional {
        return None;
    }
    Some((
        until,
        Remark::new(
            ReasonCode::ConsentPaused,
            format!("The contact paused messages until {until}."),
        ),
    ))
}
