//! The decision: a verdict, and why.

use crate::channel::Channel;
use crate::ids::MessageId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The recorded verdict of the rules on a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What happens.
    pub verdict: Verdict,
    /// At least one reason a rule, in the order of the rules, also for rules that passed; a rule that took out
    /// several channels leaves one each.
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

crate::word::word_enum! {
    /// Why a rule said what it said: stable codes for the API, logs, console and `explain`.
    pub enum ReasonCode {
        /// No earlier message has the same reference.
        DuplicateNone = "duplicate.none",
        /// An earlier message has the same reference; it is the answer.
        DuplicateFound = "duplicate.found",
        /// The type and at least one channel are switched on.
        EnabledOn = "enabled.on",
        /// The message type is switched off.
        EnabledTypeOff = "enabled.type_off",
        /// The channel is switched off.
        EnabledChannelOff = "enabled.channel_off",
        /// A consent is on record for every channel left.
        ConsentGranted = "consent.granted",
        /// The category needs no consent, and nothing was refused.
        ConsentNotNeeded = "consent.not_needed",
        /// The category needs a consent, and none is on record.
        ConsentMissing = "consent.missing",
        /// The contact took the consent back.
        ConsentWithdrawn = "consent.withdrawn",
        /// The contact opted out of the channel by preference.
        ConsentOptedOut = "consent.opted_out",
        /// The contact sent STOP, or an equivalent, on the channel.
        ConsentStopped = "consent.stopped",
        /// The contact paused messages until a date.
        ConsentPaused = "consent.paused",
        /// The contact was erased.
        ConsentErased = "consent.erased",
        /// No address left is suppressed.
        SuppressionNone = "suppression.none",
        /// The address returned a message for good.
        SuppressionHardBounce = "suppression.hard_bounce",
        /// The recipient called a message spam.
        SuppressionComplaint = "suppression.complaint",
        /// The recipient unsubscribed.
        SuppressionUnsubscribe = "suppression.unsubscribe",
        /// The recipient sent STOP from the address.
        SuppressionStop = "suppression.stop",
        /// An operator suppressed the address.
        SuppressionManual = "suppression.manual",
        /// The address belonged to an erased contact.
        SuppressionErased = "suppression.erased",
        /// Soft bounces of the address added up; ends by itself.
        SuppressionSoftBounce = "suppression.soft_bounce",
        /// There is a usable address.
        AddressUsable = "address.usable",
        /// The contact has no address for the channel; listed for follow-up.
        AddressMissing = "address.missing",
        /// The address is malformed.
        AddressInvalid = "address.invalid",
        /// The address is known not to work.
        AddressKnownBad = "address.known_bad",
        /// The channels left may carry the message.
        ChannelPolicyAllowed = "channel_policy.allowed",
        /// There is no content for the channel.
        ChannelPolicyNoContent = "channel_policy.no_content",
        /// No connection is enabled for the channel.
        ChannelPolicyNotConnected = "channel_policy.not_connected",
        /// Outside WhatsApp's 24-hour service window, and no approved template.
        ChannelPolicyWhatsappWindow = "channel_policy.whatsapp_window",
        /// A bump-up goes by WhatsApp only.
        ChannelPolicyBumpUp = "channel_policy.bump_up",
        /// WhatsApp through a browser is not enabled.
        ChannelPolicyWhatsappWebOff = "channel_policy.whatsapp_web_off",
        /// The category has no cap.
        FrequencyCapNone = "frequency_cap.none",
        /// The contact was written to less often than the cap allows.
        FrequencyCapFree = "frequency_cap.free",
        /// The cap is reached; the message waits until the window frees.
        FrequencyCapReached = "frequency_cap.reached",
        /// The tenant's cap for the category is zero: nothing may go.
        FrequencyCapZero = "frequency_cap.zero",
        /// Nobody needs to approve it.
        ApprovalNotNeeded = "approval.not_needed",
        /// A person approved it.
        ApprovalGiven = "approval.given",
        /// A person must approve it first.
        ApprovalNeeded = "approval.needed",
        /// The request's channel.
        ChannelChoiceRequested = "channel_choice.requested",
        /// Critical: WhatsApp where preferred, else SMS.
        ChannelChoiceCritical = "channel_choice.critical",
        /// Detailed content: e-mail.
        ChannelChoiceDetailed = "channel_choice.detailed",
        /// A quick confirmation: SMS or WhatsApp by preference.
        ChannelChoiceQuick = "channel_choice.quick",
        /// The contact's preference.
        ChannelChoicePreferred = "channel_choice.preferred",
        /// No preference: e-mail.
        ChannelChoiceDefault = "channel_choice.default",
        /// The first choice is excluded; the next of its fallback chain.
        ChannelChoiceFallback = "channel_choice.fallback",
        /// Critical: at once, whatever the hour.
        TimingCritical = "timing.critical",
        /// The hour is right.
        TimingOpen = "timing.open",
        /// Waits for the end of quiet hours.
        TimingQuietHours = "timing.quiet_hours",
        /// Waits for business hours.
        TimingBusinessHours = "timing.business_hours",
        /// Waits for the hours the law allows.
        TimingLegalHours = "timing.legal_hours",
        /// Waits for the instant the request named.
        TimingSendAt = "timing.send_at",
        /// WhatsApp: keeps its distance from the message before.
        TimingPaced = "timing.paced",
        /// The request expires before the message may go.
        TimingExpired = "timing.expired",
        /// The windows leave no hour of any day.
        TimingNever = "timing.never",
        /// Only low urgency gathers.
        BatchingNotLow = "batching.not_low",
        /// The batch it belongs to goes now.
        BatchingGathered = "batching.gathered",
        /// The contact had nothing for a day: it goes alone.
        BatchingAlone = "batching.alone",
        /// It would expire before the batch may go: it goes alone.
        BatchingExpiresFirst = "batching.expires_first",
        /// The request names a later time than the batch's: it goes alone.
        BatchingOwnTime = "batching.own_time",
        /// Opens a batch.
        BatchingOpened = "batching.opened",
        /// Joins the open batch.
        BatchingJoined = "batching.joined",
        /// Completes the open batch, which closes now.
        BatchingCompleted = "batching.completed",
        /// The contact has had a batch this local day; it goes the next.
        BatchingDayTaken = "batching.day_taken",
        /// The job's priority follows from the urgency.
        PriorityByUrgency = "priority.by_urgency",
        /// An earlier rule had ended the matter.
        Skipped = "rule.skipped",
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
    pub code: ReasonCode,
    /// The channel it is about, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// A sentence for people, without personal data.
    pub detail: Cow<'static, str>,
}

impl Decision {
    /// The reason that made the verdict what it is: the first refusal, question or delay; none for a plain send.
    pub fn deciding(&self) -> Option<&Reason> {
        let first = |wanted: RuleVerdict| self.reasons.iter().find(|reason| reason.verdict == wanted);
        first(RuleVerdict::Refuse)
            .or_else(|| first(RuleVerdict::Ask))
            .or_else(|| first(RuleVerdict::Defer))
    }
}

/// What the gate says of one channel, at dispatch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "gate", rename_all = "snake_case")]
pub enum GateVerdict {
    /// The call may be made now.
    Dispatch,
    /// Not before the instant; ask again then.
    Hold {
        /// When to ask again.
        until: Timestamp,
        /// Why.
        reason: Reason,
    },
    /// No call, now or later.
    Stop {
        /// Why.
        reason: Reason,
        /// Whether the next channel may be tried.
        scope: StopScope,
    },
}

crate::word::word_enum! {
    /// How far a stop at the gate reaches.
    pub enum StopScope {
        /// This channel; the next of the chain may be tried.
        Channel = "channel",
        /// The message.
        Message = "message",
    }
}

#[cfg(test)]
mod tests {
    use super::ReasonCode;
    use crate::route::RouteCode;

    #[test]
    fn the_reference_lists_every_code() {
        let page = include_str!("../../../../docs/reasons.md");
        let listed: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        let routes = RouteCode::ALL.iter().map(|code| code.as_str());
        let codes: Vec<&str> = ReasonCode::ALL
            .iter()
            .map(|code| code.as_str())
            .chain(routes)
            .collect();
        assert_eq!(listed, codes, "docs/reasons.md and ReasonCode differ");
    }
}
