//! The course of one decision: the rules in order, the channels left, the reasons so far.

use super::approval::{self, Approval};
use super::batching::{self, Gathering};
use super::caps::{self, Capped};
use super::channel_rules::{CHANNEL_RULES, ChannelRule};
use super::{
    Decision, Facts, Plan, Policy, Reason, ReasonCode, Remark, Rule, RuleVerdict, Verdict, channel_choice,
    consent, timing,
};
use crate::channel::Channel;
use crate::job;
use jiff::Timestamp;

pub(super) struct Course<'a> {
    facts: &'a Facts,
    policy: &'a Policy,
    now: Timestamp,
    /// Channels no rule has taken out.
    left: Vec<Channel>,
    /// Channels by which the contact could be reached at all: there is an address, content and a connection. Losing the
    /// last of these ends the matter, so the rule that took it is the one named.
    viable: Vec<Channel>,
    reasons: Vec<Reason>,
}

impl<'a> Course<'a> {
    pub fn new(facts: &'a Facts, policy: &'a Policy, now: Timestamp) -> Self {
        let viable = |channel: &Channel| {
            facts.addresses.iter().any(|address| address.channel == *channel)
                && facts.request.renderable_channels.contains(channel)
                && facts.connected_channels.contains(channel)
                && (*channel != Channel::WhatsappWeb || policy.whatsapp_web_enabled)
        };
        Self {
            facts,
            policy,
            now,
            left: Channel::ALL.to_vec(),
            viable: Channel::ALL.iter().copied().filter(viable).collect(),
            reasons: Vec::with_capacity(Rule::ALL.len() + Channel::ALL.len()),
        }
    }

    pub fn run(mut self) -> Decision {
        // `Err` is how a rule ends the matter early; both are verdicts.
        let verdict = self.verdict().unwrap_or_else(|ended| ended);
        for rule in Rule::ALL {
            if !self.reasons.iter().any(|reason| reason.rule == *rule) {
                let remark = Remark::new(
                    ReasonCode::Skipped,
                    "Not looked at: an earlier rule had ended the matter.",
                );
                self.reasons
                    .push(remark.reason(*rule, RuleVerdict::Skipped, None));
            }
        }
        let changes_at = match &verdict {
            Verdict::Send(plan) => Some(plan.at),
            Verdict::Hold { until } => Some(*until),
            Verdict::Batch { closes_at, .. } => Some(*closes_at),
            Verdict::Approve { expires_at } => Some(*expires_at),
            Verdict::Suppress | Verdict::Duplicate { .. } => None,
        };
        Decision {
            verdict,
            reasons: self.reasons,
            changes_at: changes_at.filter(|at| *at > self.now),
        }
    }

    fn verdict(&mut self) -> Result<Verdict, Verdict> {
        self.duplicate()?;
        let from = self.facts.request.send_at.map_or(self.now, |at| at.max(self.now));
        let mut not_before = from;
        for rule in &CHANNEL_RULES {
            let deferred = if rule.rule == Rule::Consent {
                consent::pause(self.facts, from)
            } else {
                None
            };
            not_before = deferred.as_ref().map_or(not_before, |(until, _)| *until);
            self.channel_rule(rule, deferred.map(|(_, remark)| remark))?;
        }
        not_before = self.frequency_cap(not_before)?;
        self.approval()?;
        let channels = self.channel_choice()?;
        self.schedule(channels, from, not_before)
    }

    fn duplicate(&mut self) -> Result<(), Verdict> {
        if let Some(of) = self.facts.request.duplicate_of {
            let remark = Remark::new(
                ReasonCode::DuplicateFound,
                "An earlier message has the same reference.",
            );
            self.say(Rule::Duplicate, RuleVerdict::Refuse, remark);
            return Err(Verdict::Duplicate { of });
        }
        let remark = Remark::new(
            ReasonCode::DuplicateNone,
            "No earlier message has the same reference.",
        );
        self.say(Rule::Duplicate, RuleVerdict::Pass, remark);
        Ok(())
    }

    /// One of the rules that take out channels.
    fn channel_rule(&mut self, rule: &ChannelRule, deferred: Option<Remark>) -> Result<(), Verdict> {
        if let Some(remark) = (rule.whole)(self.facts, self.policy) {
            return Err(self.refuse(rule.rule, remark));
        }
        let mut objections = Vec::new();
        let (facts, policy, now) = (self.facts, self.policy, self.now);
        self.left
            .retain(|channel| match (rule.channel)(facts, policy, *channel, now) {
                Some(remark) => {
                    objections.push((*channel, remark));
                    false
                }
                None => true,
            });
        let ended = if self.viable.is_empty() {
            self.left.is_empty()
        } else {
            !self.left.iter().any(|channel| self.viable.contains(channel))
        };
        let nothing_taken = objections.is_empty();
        for (channel, remark) in objections {
            let counts = self.viable.is_empty() || self.viable.contains(&channel);
            let verdict = if ended && counts {
                RuleVerdict::Refuse
            } else {
                RuleVerdict::Narrow
            };
            self.reasons
                .push(remark.reason(rule.rule, verdict, Some(channel)));
        }
        if ended {
            return Err(Verdict::Suppress);
        }
        if let Some(remark) = deferred {
            self.say(rule.rule, RuleVerdict::Defer, remark);
        } else if nothing_taken {
            self.say(rule.rule, RuleVerdict::Pass, (rule.passed)(facts, policy));
        }
        Ok(())
    }

    fn frequency_cap(&mut self, from: Timestamp) -> Result<Timestamp, Verdict> {
        match caps::check(self.facts, self.policy, from) {
            Capped::Free(remark) => {
                self.say(Rule::FrequencyCap, RuleVerdict::Pass, remark);
                Ok(from)
            }
            Capped::Until(until, remark) => {
                self.say(Rule::FrequencyCap, RuleVerdict::Defer, remark);
                Ok(until)
            }
            Capped::Never(remark) => Err(self.refuse(Rule::FrequencyCap, remark)),
        }
    }

    fn approval(&mut self) -> Result<(), Verdict> {
        match approval::check(self.facts, self.policy, self.now) {
            Approval::Clear(remark) => {
                self.say(Rule::Approval, RuleVerdict::Pass, remark);
                Ok(())
            }
            Approval::Ask(expires_at, remark) => {
                self.say(Rule::Approval, RuleVerdict::Ask, remark);
                Err(Verdict::Approve { expires_at })
            }
        }
    }

    fn channel_choice(&mut self) -> Result<Vec<Channel>, Verdict> {
        // The rules before leave at least one channel, or have ended the matter.
        let (channels, remark) =
            channel_choice::choose(self.facts, self.policy, &self.left).ok_or(Verdict::Suppress)?;
        self.reasons
            .push(remark.reason(Rule::ChannelChoice, RuleVerdict::Pass, channels.first().copied()));
        Ok(channels)
    }

    /// Timing, batching and priority. `from` is when the message is wanted, `not_before` what a pause or a cap made of it.
    fn schedule(
        &mut self,
        channels: Vec<Channel>,
        from: Timestamp,
        not_before: Timestamp,
    ) -> Result<Verdict, Verdict> {
        let (facts, policy, now) = (self.facts, self.policy, self.now);
        let Some(channel) = channels.first().copied() else {
            return Err(Verdict::Suppress);
        };
        let zone = timing::zone_of(facts, policy);
        let Some(planned) = timing::plan(facts, policy, channel, &zone, not_before, now) else {
            return Err(self.refuse(Rule::Timing, timing::never()));
        };
        if let Some(remark) = timing::expired(facts, planned.at) {
            return Err(self.refuse(Rule::Timing, remark));
        }
        let timed = if planned.at > now {
            RuleVerdict::Defer
        } else {
            RuleVerdict::Pass
        };
        self.say(Rule::Timing, timed, planned.remark);
        if not_before > from {
            return Err(Verdict::Hold { until: not_before });
        }
        let mut at = planned.at;
        match batching::check(facts, policy, channel, &zone, now, at) {
            Gathering::Go(remark) => self.say(Rule::Batching, RuleVerdict::Pass, remark),
            Gathering::Later(day, remark) => {
                if let Some(late) = timing::expired(facts, day) {
                    return Err(self.refuse(Rule::Batching, late));
                }
                at = day;
                self.say(Rule::Batching, RuleVerdict::Defer, remark);
            }
            Gathering::Gather(closes_at, remark) => {
                self.say(Rule::Batching, RuleVerdict::Defer, remark);
                return Err(Verdict::Batch { channel, closes_at });
            }
        }
        let priority = job::urgency_priority(facts.request.urgency);
        let remark = Remark::new(
            ReasonCode::PriorityByUrgency,
            "The job's priority follows from the urgency.",
        );
        self.say(Rule::Priority, RuleVerdict::Pass, remark);
        Ok(Verdict::Send(Plan {
            channels,
            at,
            priority,
        }))
    }

    fn say(&mut self, rule: Rule, verdict: RuleVerdict, remark: Remark) {
        self.reasons.push(remark.reason(rule, verdict, None));
    }

    fn refuse(&mut self, rule: Rule, remark: Remark) -> Verdict {
        self.say(rule, RuleVerdict::Refuse, remark);
        Verdict::Suppress
    }
}
