//! The rules that take out channels (2 to 6), as one table: the decision and the gate ask the same functions.

use super::{Facts, Policy, Remark, Rule, address, channel_policy, consent, enabled, suppression};
use crate::channel::Channel;
use jiff::Timestamp;

/// A rule that objects to the whole message or to single channels.
pub(super) struct ChannelRule {
    /// Which rule.
    pub rule: Rule,
    /// An objection to the message, whatever the channel.
    pub whole: fn(&Facts, &Policy) -> Option<Remark>,
    /// An objection to the channel at the instant.
    pub channel: fn(&Facts, &Policy, Channel, Timestamp) -> Option<Remark>,
    /// What it says where it has no objection.
    pub passed: fn(&Facts, &Policy) -> Remark,
}

/// In the order of the specification.
pub(super) const CHANNEL_RULES: [ChannelRule; 5] = [
    enabled::RULE,
    consent::RULE,
    suppression::RULE,
    address::RULE,
    channel_policy::RULE,
];

/// For rules that never object to the whole message.
pub(super) const fn no_objection(_: &Facts, _: &Policy) -> Option<Remark> {
    None
}
