//! Jobs: kinds, priorities and back-off tables of `communication_jobs`.

use crate::word::word_enum;

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
