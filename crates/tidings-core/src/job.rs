//! Jobs: kinds, priorities and back-off tables of `communication_jobs`.

use crate::channel::Channel;
use crate::message::Urgency;
use crate::word::word_enum;
use jiff::Timestamp;

word_enum! {
    /// What a job does. Unknown kinds are left in the table, never failed: another version may know them.
    pub enum JobKind {
        /// Sends one SMS.
        SendSms = "send_sms",
        /// Sends one e-mail.
        SendEmail = "send_email",
        /// Sends one WhatsApp message.
        SendWhatsapp = "send_whatsapp",
        /// Notifies a customer; the rules choose the channel.
        NotifyCustomer = "notify_customer",
        /// Lets the AI answer a lead.
        AiEngage = "ai.engage",
        /// Nudges an idle lead.
        FollowupBumpup = "followup.bumpup",
        /// Summarises a conversation.
        AiSummary = "ai.summary",
        /// Runs a sequence step.
        SequenceStep = "sequence.step",
        /// Runs an e-mail sequence step.
        EmailSequence = "email.sequence",
        /// Reminds an integration by webhook.
        WebhookReminder = "webhook.reminder",
        /// Handles a stored provider webhook (internal).
        WebhookProcess = "webhook.process",
        /// Resolves an attempt of unknown outcome (internal).
        DeliveryResolve = "delivery.resolve",
        /// Decides again about a held message (internal).
        MessageRelease = "message.release",
        /// Closes a batch of low-urgency messages (internal).
        BatchClose = "batch.close",
        /// Tells a notifier of an alert (internal).
        AlertNotify = "alert.notify",
        /// Sends the digest of quiet alerts (internal).
        AlertDigest = "alert.digest",
        /// Does nothing; measures the queue (internal).
        Noop = "noop",
    }
}

word_enum! {
    /// Where a job stands.
    pub enum JobStatus {
        /// Waits for its time or a worker.
        Pending = "pending",
        /// Leased by a worker.
        Processing = "processing",
        /// Done.
        Complete = "complete",
        /// Given up: a dead letter.
        Failed = "failed",
        /// An SMS given up, replaced by an e-mail job.
        FailedFallbackEmail = "failed_fallback_email",
        /// Withdrawn.
        Cancelled = "cancelled",
    }
}

/// Five minutes of waiting weigh as much as one point of priority.
const RANK_MS_PER_PRIORITY: i64 = 300_000;

impl JobKind {
    /// Whether the job sends one message to one contact.
    pub const fn is_send(self) -> bool {
        matches!(
            self,
            Self::SendSms | Self::SendEmail | Self::SendWhatsapp | Self::NotifyCustomer
        )
    }

    /// The job that sends by the channel.
    pub const fn send_by(channel: Channel) -> Self {
        match channel {
            Channel::Email => Self::SendEmail,
            Channel::Sms => Self::SendSms,
            Channel::Whatsapp | Channel::WhatsappWeb => Self::SendWhatsapp,
        }
    }

    /// The channel that a type of send job names; none where the rules choose it.
    pub const fn channel(self) -> Option<Channel> {
        match self {
            Self::SendEmail => Some(Channel::Email),
            Self::SendSms => Some(Channel::Sms),
            Self::SendWhatsapp => Some(Channel::Whatsapp),
            _ => None,
        }
    }

    /// The priority (SPEC section 3, rule 12): of its own where the kind has one, else by urgency. Provider webhooks go
    /// first of all: they may carry an opt-out.
    pub const fn priority(self, urgency: Urgency) -> i16 {
        match self {
            Self::AiEngage | Self::WebhookProcess => 100,
            Self::FollowupBumpup => 95,
            Self::AiSummary | Self::AlertNotify => 90,
            Self::DeliveryResolve => 80,
            Self::SequenceStep => 70,
            Self::EmailSequence | Self::MessageRelease => 60,
            Self::WebhookReminder => 50,
            Self::BatchClose | Self::AlertDigest | Self::Noop => 40,
            Self::SendSms | Self::SendEmail | Self::SendWhatsapp | Self::NotifyCustomer => {
                urgency_priority(urgency)
            }
        }
    }
}

/// The priority of a send job by the message's urgency.
pub const fn urgency_priority(urgency: Urgency) -> i16 {
    match urgency {
        Urgency::Critical => 100,
        Urgency::High => 80,
        Urgency::Normal => 60,
        Urgency::Low => 40,
    }
}

/// Where a job stands in its tenant's line: lower goes first. Priority counts, and waiting makes up for it, so that
/// nothing starves.
pub fn rank(priority: i16, due: Timestamp) -> i64 {
    due.as_millisecond()
        .saturating_sub(i64::from(priority) * RANK_MS_PER_PRIORITY)
}

/// When a job of this rank came due, in milliseconds since 1970: the inverse of [`rank`].
pub fn rank_due_ms(priority: i16, rank: i64) -> i64 {
    rank.saturating_add(i64::from(priority) * RANK_MS_PER_PRIORITY)
}
