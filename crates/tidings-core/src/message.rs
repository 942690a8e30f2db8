//! Messages: one communication to one contact, delivered at most once.

use crate::word::word_enum;
use serde::{Deserialize, Serialize};
use std::fmt;

word_enum! {
    /// How soon a message should be there.
    pub enum Urgency {
        /// Now, even in quiet hours.
        Critical = "critical",
        /// Now, within one hour, but not in quiet hours.
        High = "high",
        /// In business hours.
        Normal = "normal",
        /// Batched.
        Low = "low",
    }
}

word_enum! {
    /// What a message is in law: decides about consent, caps, footers and opt-outs.
    pub enum Category {
        /// Follows from something the contact did or owes.
        Transactional = "transactional",
        /// About a service the contact uses.
        Service = "service",
        /// Advertises.
        Marketing = "marketing",
    }
}

word_enum! {
    /// What is known of a message. Moves forward only.
    pub enum MessageStatus {
        /// Accepted; held, batched or awaiting approval.
        Pending = "pending",
        /// In the queue.
        Queued = "queued",
        /// Taken by a provider.
        Sent = "sent",
        /// Reached the recipient's mailbox or phone.
        Delivered = "delivered",
        /// Opened by a person.
        Opened = "opened",
        /// A link was clicked.
        Clicked = "clicked",
        /// Could not be sent on any channel.
        Failed = "failed",
        /// Returned by the recipient's side.
        Bounced = "bounced",
        /// A rule said no.
        Suppressed = "suppressed",
        /// Withdrawn before dispatch.
        Cancelled = "cancelled",
    }
}

word_enum! {
    /// How a status became known. Provider evidence outranks inference.
    pub enum Provenance {
        /// The provider's answer to our call.
        Response = "response",
        /// A verified webhook, or our own tracking link or pixel.
        Webhook = "webhook",
        /// Asked for.
        Poll = "poll",
        /// Concluded by Tidings itself.
        Inferred = "inferred",
    }
}

word_enum! {
    /// Why a pending message waits.
    pub enum WaitsFor {
        /// For its hour: a `message.release` job decides again.
        Hold = "hold",
        /// For company: a `batch.close` job sends it with others.
        Batch = "batch",
        /// For a person's yes.
        Approval = "approval",
    }
}

word_enum! {
    /// At which point of the path a decision was recorded.
    pub enum DecisionStage {
        /// When the request came in.
        Accept = "accept",
        /// When a hold or an approval ended.
        Release = "release",
        /// Just before a dispatch.
        Gate = "gate",
        /// When a batch closed.
        Batch = "batch",
        /// When a channel was given up for the next.
        Fallback = "fallback",
        /// By a person.
        Operator = "operator",
    }
}

/// A message type: lower-case words of letters, digits and underscores, at most 64 characters
/// (`welcome`, `invoice_reminder`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageType(String);

/// A message type that breaks the form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message type is 1 to 64 lower-case letters, digits or underscores and starts with a letter")]
pub struct MessageTypeError;

impl MessageType {
    /// Parses and checks the form.
    pub fn parse(text: &str) -> Result<Self, MessageTypeError> {
        let form = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let starts = text.starts_with(|c: char| c.is_ascii_lowercase());
        if !starts || text.len() > 64 || !text.chars().all(form) {
            return Err(MessageTypeError);
        }
        Ok(Self(text.to_owned()))
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MessageType {
    type Error = MessageTypeError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl std::str::FromStr for MessageType {
    type Err = MessageTypeError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl From<MessageType> for String {
    fn from(value: MessageType) -> Self {
        value.0
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageType({})", self.0)
    }
}
