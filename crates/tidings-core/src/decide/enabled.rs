//! Rule 2: what the tenant and the environment have switched off.

use super::channel_rules::ChannelRule;
use super::{Facts, Policy, ReasonCode, Remark, Rule};
use crate::channel::Channel;
use jiff::Timestamp;

pub(super) const RULE: ChannelRule = ChannelRule {
    rule: Rule::Enabled,
    whole,
    channel,
    passed,
};

fn whole(facts: &Facts, policy: &Policy) -> Option<Remark> {
    policy
        .disabled_types
        .contains(&facts.request.message_type)
        .then(|| Remark::new(ReasonCode::EnabledTypeOff, "This message type is switched off."))
}

fn channel(_: &Facts, policy: &Policy, channel: Channel, _: Timestamp) -> Option<Remark> {
    policy
        .disabled_channels
        .contains(&channel)
        .then(|| Remark::new(ReasonCode::EnabledChannelOff, "The channel is switched off."))
}

fn passed(_: &Facts, _: &Policy) -> Remark {
    Remark::new(ReasonCode::EnabledOn, "The message type is switched on.")
}
