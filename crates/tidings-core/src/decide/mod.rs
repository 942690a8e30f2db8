//! The decision: facts, policy and the present instant in; a verdict with every rule's reason out.
//!
//! [`decide`] asks the twelve rules of the specification in order. A rule that takes out channels leaves one reason
//! each; the matter ends at the rule that takes the last channel by which the contact could have been reached at all.
//! A delay does not end the matter: the rules after it are asked as of the later instant. [`gate()`] asks the same rules
//! again for one channel just before a call is made.

mod address;
mod approval;
mod batching;
mod caps;
mod channel_choice;
mod channel_policy;
mod channel_rules;
mod consent;
mod course;
mod enabled;
pub mod facts;
mod gate;
pub mod hours;
pub mod policy;
mod suppression;
pub mod timing;
pub mod verdict;

#[cfg(test)]
mod tests;

pub use channel_policy::whatsapp_window_open;
pub use facts::Facts;
pub use gate::gate;
pub use policy::Policy;
pub use verdict::{Decision, GateVerdict, Plan, Reason, ReasonCode, Rule, RuleVerdict, StopScope, Verdict};

use jiff::Timestamp;
use std::borrow::Cow;

/// Decides about a message. Total: a refusal is a verdict, not an error.
pub fn decide(facts: &Facts, policy: &Policy, now: Timestamp) -> Decision {
    course::Course::new(facts, policy, now).run()
}

/// What a rule has to say: a code and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Remark {
    code: ReasonCode,
    detail: Cow<'static, str>,
}

impl Remark {
    fn new(code: ReasonCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }

    fn reason(self, rule: Rule, verdict: RuleVerdict, channel: Option<crate::Channel>) -> Reason {
        Reason {
            rule,
            verdict,
            code: self.code,
            channel,
            detail: self.detail,
        }
    }
}
