//! Rule 5: an address that is there, well formed and not known bad. A missing one is listed for follow-up, never an error.

use super::channel_rules::{ChannelRule, no_objection};
use super::{Facts, Policy, ReasonCode, Remark, Rule};
use crate::channel::Channel;
use jiff::Timestamp;

pub(super) const RULE: ChannelRule = ChannelRule {
    rule: Rule::Address,
    whole: no_objection,
    channel,
    passed,
};

fn channel(facts: &Facts, _: &Policy, channel: Channel, _: Timestamp) -> Option<Remark> {
    let Some(address) = facts.addresses.iter().find(|address| address.channel == channel) else {
        return Some(Remark::new(
            ReasonCode::AddressMissing,
            "The contact has no address for this channel; it is listed for follow-up.",
        ));
    };
    if !address.valid {
        return Some(Remark::new(
            ReasonCode::AddressInvalid,
            "The address for this channel is malformed.",
        ));
    }
    address.known_bad.is_some().then(|| {
        Remark::new(
            ReasonCode::AddressKnownBad,
            "The address for this channel is known not to work.",
        )
    })
}

fn passed(_: &Facts, _: &Policy) -> Remark {
    Remark::new(ReasonCode::AddressUsable, "The contact has a usable address.")
}
