//! What became of a message: the list, one, its timeline, and why.

use crate::words::{CategoryWord, ChannelWord, MessageStatusWord, RuleVerdictWord, RuleWord, UrgencyWord};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_core::decide::Reason;
use tidings_core::{Category, Channel, MessageStatus, MessageType, Urgency};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Which messages to list, newest first.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MessageQuery {
    /// Only to this contact.
    pub contact: Option<Uuid>,
    /// Only with this status.
    #[param(value_type = Option<MessageStatusWord>)]
    pub status: Option<MessageStatus>,
    /// Only of this type.
    #[serde(rename = "type")]
    #[param(value_type = Option<String>)]
    pub message_type: Option<MessageType>,
    /// Only over this channel.
    #[param(value_type = Option<ChannelWord>)]
    pub channel: Option<Channel>,
    /// Only accepted at or after this instant.
    pub since: Option<Timestamp>,
    /// Rows of a page, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// A message.
#[derive(Serialize, ToSchema)]
pub struct MessageView {
    /// Its id.
    pub id: Uuid,
    /// To whom.
    pub contact_id: Uuid,
    /// Its type.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub message_type: MessageType,
    /// What it is in law.
    #[schema(value_type = CategoryWord)]
    pub category: Category,
    /// How soon.
    #[schema(value_type = UrgencyWord)]
    pub urgency: Urgency,
    /// What is known of it.
    #[schema(value_type = MessageStatusWord)]
    pub status: MessageStatus,
    /// How that became known: `response`, `webhook`, `poll`, `inferred`.
    pub status_provenance: String,
    /// Why it waits, while pending: `hold`, `batch`, `approval`.
    pub waits_for: Option<String>,
    /// A stable code of why it ended without being sent.
    pub ended_because: Option<String>,
    /// The channel asked for.
    #[schema(value_type = Option<ChannelWord>)]
    pub requested_channel: Option<Channel>,
    /// Your reference.
    pub source_reference: Option<String>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it is planned to go out.
    pub planned_at: Option<Timestamp>,
    /// When a provider took it.
    pub sent_at: Option<Timestamp>,
    /// When it arrived.
    pub delivered_at: Option<Timestamp>,
    /// When it was first opened by a person.
    pub opened_at: Option<Timestamp>,
    /// When a link was first clicked.
    pub clicked_at: Option<Timestamp>,
    /// When it failed for good.
    pub failed_at: Option<Timestamp>,
    /// When the rules look at it again, while pending.
    pub decide_again_at: Option<Timestamp>,
}

/// Everything that happened to a message, oldest first.
#[derive(Serialize, ToSchema)]
pub struct TimelineView {
    /// The message.
    pub message_id: Uuid,
    /// The entries.
    pub entries: Vec<TimelineEntry>,
}

/// One thing that happened.
#[derive(Serialize, ToSchema)]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// What: `accepted`, `decided`, `queued`, `attempt.intended`, `attempt.accepted`, `event.opened` ...
    pub kind: String,
    /// In a sentence.
    pub summary: String,
    /// The rest, by kind.
    #[schema(value_type = Object)]
    pub detail: Value,
}

/// One rule's word.
#[derive(Serialize, ToSchema)]
pub struct ReasonView {
    /// The rule.
    #[schema(value_type = RuleWord)]
    pub rule: String,
    /// What it said.
    #[schema(value_type = RuleVerdictWord)]
    pub verdict: String,
    /// A stable code.
    pub code: String,
    /// The channel it is about, where it is about one.
    #[schema(value_type = Option<ChannelWord>)]
    pub channel: Option<Channel>,
    /// A sentence for people, without personal data.
    pub detail: String,
}

impl From<Reason> for ReasonView {
    fn from(reason: Reason) -> Self {
        Self {
            rule: reason.rule.as_str().to_owned(),
            verdict: reason.verdict.as_str().to_owned(),
            code: reason.code.as_str().to_owned(),
            channel: reason.channel,
            detail: reason.detail.into_owned(),
        }
    }
}
