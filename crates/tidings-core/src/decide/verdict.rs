//! The decision: a verdict, and why.

use crate::channel::Channel;
use crate::ids::MessageId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The recorded verdict of the rules on a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What happens.
    pub verdict: Verdict,
    /// One reason a rule, in the order of the rules, also for rules that passed.
    pub reasons: Vec<Reason>,
    /// When asking again could give another answer, if that is known.
    pub changes_at: Option<Timestamp>,
}

/// What happens to a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Goes out by the plan.
    Send(Plan),
    /// Waits, and is decided again at the instant.
    Hold {
        /// When to decide again.
        until: Timestamp,
    },
    /// Gathers with others to the same contact and channel.
    Batch {
        /// The channel.
        channel: Channel,
        /// When the batch closes at the latest.
        closes_at: Timestamp,
    },
    /// Waits for a person.
    Approve {
        /// When waiting ends without a yes.
        expires_at: Timestamp,
    },
    /// Never goes out.
    Suppress,
    /// The earlier message is the answer.
    Duplicate {
        /// The earlier message.
        of: MessageId,
    },
}

/// How a message goes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The channels to try, first one first; never empty.
    pub channels: Vec<Channel>,
    /// Not before.
    pub at: Timestamp,
    /// Priority of the job (higher first).
    pub priority: i16,
}

crate::word::word_enum! {
    /// The rules of the decision, in order.
    pub enum Rule {
        /// Same tenant, type and source reference or idempotency key.
        Duplicate = "duplicate",
        /// Feature flags and tenant settings.
        Enabled = "enabled",
        /// Consent and opt-out.
        Consent = "consent",
        /// Suppressed addresses.
        Suppression = "suppression",
        /// Present, valid, not known bad.
        Address = "address",
        /// What a channel may carry.
        ChannelPolicy = "channel_policy",
        /// How often a contact is written to.
        FrequencyCap = "frequency_cap",
        /// A human's yes.
        Approval = "approval",
        /// The channel and its fallbacks.
        ChannelChoice = "channel_choice",
        /// Quiet hours, business hours, legal windows.
        Timing = "timing",
        /// Gathering low urgency.
        Batching = "batching",
        /// The job's priority.
        Priority = "priority",
    }
}

crate::word::word_enum! {
    /// What a rule said.
    pub enum RuleVerdict {
        /// Nothing against it.
        Pass = "pass",
        /// A channel was taken out; others remain.
        Narrow = "narrow",
        /// Later.
        Defer = "defer",
        /// A person decides.
        Ask = "ask",
        /// No.
        Refuse = "refuse",
        /// Not looked at: an earlier rule had ended the matter.
        Skipped = "skipped",
    }
}

/// Why: one rule's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The rule.
    pub rule: Rule,
    /// What it said.
    pub verdict: RuleVerdict,
    /// A stable code (`consent.missing`, `timing.quiet_hours`), listed in the reference.
    pub code: String,
    /// A sentence for people, without personal data.
    pub detail: String,
}
