//! Rule 6: what a channel may carry, and can.

use super::channel_rules::{ChannelRule, no_objection};
use super::facts::ContactFacts;
use super::{Facts, Policy, ReasonCode, Remark, Rule};
use crate::channel::Channel;
use jiff::{SignedDuration, Timestamp};

pub(super) const RULE: ChannelRule = ChannelRule {
    rule: Rule::ChannelPolicy,
    whole: no_objection,
    channel,
    passed,
};

/// WhatsApp Cloud takes free text for this long after the contact's last message.
const WHATSAPP_WINDOW: SignedDuration = SignedDuration::from_hours(24);

fn channel(facts: &Facts, policy: &Policy, channel: Channel, now: Timestamp) -> Option<Remark> {
    permitted(facts, policy, channel, now).or_else(|| possible(facts, channel))
}

/// What the channel's rules forbid; asked again at the gate.
pub(super) fn permitted(facts: &Facts, policy: &Policy, channel: Channel, now: Timestamp) -> Option<Remark> {
    if facts.request.bump_up && matches!(channel, Channel::Email | Channel::Sms) {
        return Some(Remark::new(
            ReasonCode::ChannelPolicyBumpUp,
            "A bump-up goes by WhatsApp only.",
        ));
    }
    match channel {
        Channel::WhatsappWeb if !policy.whatsapp_web_enabled => Some(Remark::new(
            ReasonCode::ChannelPolicyWhatsappWebOff,
            "WhatsApp through a browser is not enabled for this tenant.",
        )),
        Channel::Whatsapp
            if !facts.request.whatsapp_template && !whatsapp_window_open(&facts.contact, now) =>
        {
            Some(Remark::new(
                ReasonCode::ChannelPolicyWhatsappWindow,
                "The contact has not written on WhatsApp for 24 hours, and there is no approved template.",
            ))
        }
        _ => None,
    }
}

/// What the tenant's set-up makes impossible.
fn possible(facts: &Facts, channel: Channel) -> Option<Remark> {
    if !facts.request.renderable_channels.contains(&channel) {
        return Some(Remark::new(
            ReasonCode::ChannelPolicyNoContent,
            "There is no content for this channel.",
        ));
    }
    (!facts.connected_channels.contains(&channel)).then(|| {
        Remark::new(
            ReasonCode::ChannelPolicyNotConnected,
            "No connection is enabled for this channel.",
        )
    })
}

/// Whether WhatsApp takes free text to the contact: it wrote within 24 hours, by its message's own time.
pub fn whatsapp_window_open(contact: &ContactFacts, now: Timestamp) -> bool {
    contact
        .last_whatsapp_inbound_at
        .is_some_and(|at| now.duration_since(at) < WHATSAPP_WINDOW)
}

fn passed(_: &Facts, _: &Policy) -> Remark {
    Remark::new(
        ReasonCode::ChannelPolicyAllowed,
        "The channels left may carry this message.",
    )
}
