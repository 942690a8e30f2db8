//! The gate: the same rules once more, for one channel, just before the call is made.

use super::caps::{self, Capped};
use super::channel_rules::CHANNEL_RULES;
use super::{
    Facts, GateVerdict, Policy, Remark, Rule, RuleVerdict, StopScope, channel_policy, consent, timing,
};
use crate::channel::Channel;
use jiff::Timestamp;

/// Whether the message may go out by the channel at this instant: switched on, permitted, not suppressed, the address
/// usable, the channel's rules kept, not expired, not paused, no cap broken, the hour right.
///
/// Content, connections, approval and batching are not asked again: they were settled when the message was queued, and
/// routing deals with connections.
pub fn gate(facts: &Facts, policy: &Policy, channel: Channel, now: Timestamp) -> GateVerdict {
    if let Some(stop) = stopped(facts, policy, channel, now) {
        return stop;
    }
    if let Some(remark) = timing::expired(facts, now) {
        return stop(Rule::Timing, remark, channel, StopScope::Message);
    }
    let paused = consent::pause(facts, now).map(|(until, remark)| (until, Rule::Consent, remark));
    let capped = match caps::check(facts, policy, now) {
        Capped::Never(remark) => return stop(Rule::FrequencyCap, remark, channel, StopScope::Message),
        Capped::Until(until, remark) => Some((until, Rule::FrequencyCap, remark)),
        Capped::Free(_) => None,
    };
    let zone = timing::zone_of(facts, policy);
    let Some(planned) = timing::plan(facts, policy, channel, &zone, now, now) else {
        return stop(Rule::Timing, timing::never(), channel, StopScope::Message);
    };
    let early = (planned.at > now).then_some((planned.at, Rule::Timing, planned.remark));
    // The longest wait is the one named.
    let Some((until, rule, remark)) = [paused, capped, early]
        .into_iter()
        .flatten()
        .max_by_key(|(until, ..)| *until)
    else {
        return GateVerdict::Dispatch;
    };
    match timing::expired(facts, until) {
        Some(late) => stop(Rule::Timing, late, channel, StopScope::Message),
        None => GateVerdict::Hold {
            until,
            reason: remark.reason(rule, RuleVerdict::Defer, Some(channel)),
        },
    }
}

/// The rules that take out messages and channels.
fn stopped(facts: &Facts, policy: &Policy, channel: Channel, now: Timestamp) -> Option<GateVerdict> {
    CHANNEL_RULES.iter().find_map(|rule| {
        if let Some(remark) = (rule.whole)(facts, policy) {
            return Some(stop(rule.rule, remark, channel, StopScope::Message));
        }
        let objection = match rule.rule {
            Rule::ChannelPolicy => channel_policy::permitted(facts, policy, channel, now),
            _ => (rule.channel)(facts, policy, channel, now),
        };
        objection.map(|remark| stop(rule.rule, remark, channel, StopScope::Channel))
    })
}

fn stop(rule: Rule, remark: Remark, channel: Channel, scope: StopScope) -> GateVerdict {
    GateVerdict::Stop {
        reason: remark.reason(rule, RuleVerdict::Refuse, Some(channel)),
        scope,
    }
}
