//! Rule 9: the channel, and what follows if it fails.

use super::{Facts, Policy, ReasonCode, Remark};
use crate::channel::Channel;
use crate::message::Urgency;

/// The channels to try, first one first, and why; none where no channel is left.
pub(super) fn choose(facts: &Facts, policy: &Policy, left: &[Channel]) -> Option<(Vec<Channel>, Remark)> {
    let (first, remark) = wish(facts, policy);
    let mut channels: Vec<Channel> = std::iter::once(first)
        .chain(fallbacks(first).iter().copied())
        .filter(|channel| left.contains(channel))
        .collect();
    if channels.is_empty() {
        // The chain is gone, but there is another way to reach the contact: better that than silence.
        let order = facts.contact.preferred_channels.iter().chain(Channel::ALL);
        channels.extend(order.copied().find(|channel| left.contains(channel)));
    }
    let chosen = *channels.first()?;
    if chosen == first {
        return Some((channels, remark));
    }
    let detail = format!("{first} is excluded; {chosen} is the next channel of the chain.");
    Some((channels, Remark::new(ReasonCode::ChannelChoiceFallback, detail)))
}

/// The channels after the first, in order.
pub(super) const fn fallbacks(first: Channel) -> &'static [Channel] {
    match first {
        Channel::Whatsapp | Channel::WhatsappWeb => &[Channel::Sms, Channel::Email],
        Channel::Email => &[Channel::Sms],
        Channel::Sms => &[Channel::Email],
    }
}

fn wish(facts: &Facts, policy: &Policy) -> (Channel, Remark) {
    let request = &facts.request;
    let preferred = &facts.contact.preferred_channels;
    if let Some(channel) = request.channel {
        return (
            channel,
            Remark::new(
                ReasonCode::ChannelChoiceRequested,
                "The request names the channel.",
            ),
        );
    }
    if request.urgency == Urgency::Critical {
        let detail = "A critical message goes by WhatsApp where the contact prefers it, else by SMS.";
        return (
            phone_channel(preferred),
            Remark::new(ReasonCode::ChannelChoiceCritical, detail),
        );
    }
    if policy.detailed_types.contains(&request.message_type) {
        return (
            Channel::Email,
            Remark::new(
                ReasonCode::ChannelChoiceDetailed,
                "Detailed content goes by e-mail.",
            ),
        );
    }
    if policy.quick_types.contains(&request.message_type) {
        let detail = "A quick confirmation goes by SMS or WhatsApp, as the contact prefers.";
        return (
            phone_channel(preferred),
            Remark::new(ReasonCode::ChannelChoiceQuick, detail),
        );
    }
    match preferred.first() {
        Some(channel) => (
            *channel,
            Remark::new(
                ReasonCode::ChannelChoicePreferred,
                "The contact prefers this channel.",
            ),
        ),
        None => (
            Channel::Email,
            Remark::new(
                ReasonCode::ChannelChoiceDefault,
                "The contact has no preference: e-mail.",
            ),
        ),
    }
}

/// WhatsApp where the contact prefers it to SMS, else SMS.
fn phone_channel(preferred: &[Channel]) -> Channel {
    let first = preferred
        .iter()
        .find(|channel| matches!(channel, Channel::Whatsapp | Channel::Sms));
    first.copied().unwrap_or(Channel::Sms)
}
