//! The rows of the path as the engine hands them in: one struct a table, words typed, personal data sealed.

use jiff::Timestamp;
use serde_json::value::RawValue;
use tidings_core::{
    BatchId, Category, Channel, ConnectionId, ContactId, DecisionId, DecisionStage, DeliveryId, JobId,
    MessageId, MessageStatus, MessageType, TemplateId, TenantId, Urgency, WaitsFor,
};

/// A message to insert.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Whose.
    pub tenant: TenantId,
    /// Its id.
    pub id: MessageId,
    /// To whom.
    pub contact: ContactId,
    /// Its type.
    pub message_type: MessageType,
    /// Its category.
    pub category: Category,
    /// Its urgency.
    pub urgency: Urgency,
    /// The caller's reference; unique with tenant and type.
    pub source_reference: Option<String>,
    /// The channel asked for.
    pub requested_channel: Option<Channel>,
    /// Channels the content exists for.
    pub renderable_channels: Vec<Channel>,
    /// BCP 47 locale asked for.
    pub locale: Option<String>,
    /// Not before.
    pub send_at: Option<Timestamp>,
    /// Not after.
    pub expires_at: Option<Timestamp>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Where it stands after the decision.
    pub placement: Placement,
}

/// Where a decision leaves a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Its status: `pending`, `queued` or `suppressed`.
    pub status: MessageStatus,
    /// Why it waits, while pending.
    pub waits_for: Option<WaitsFor>,
    /// When it is planned to go out.
    pub planned_at: Option<Timestamp>,
    /// When the rules look at it again, while pending.
    pub decide_again_at: Option<Timestamp>,
    /// When it was queued.
    pub queued_at: Option<Timestamp>,
    /// A stable code of why it ended without being sent.
    pub ended_because: Option<String>,
    /// The batch it gathers in.
    pub batch: Option<BatchId>,
}

/// Sealed content to insert: the request, or what goes out on a channel.
#[derive(Clone, Debug)]
pub struct NewContent {
    /// Whose.
    pub tenant: TenantId,
    /// Of which message.
    pub message: MessageId,
    /// The channel; none is the request itself.
    pub channel: Option<Channel>,
    /// Sealed under the contact's key.
    pub sealed: Vec<u8>,
    /// The template version it was rendered from.
    pub template: Option<TemplateId>,
}

/// A decision to record, its parts as JSON text.
#[derive(Clone, Debug)]
pub struct NewDecision {
    /// Whose.
    pub tenant: TenantId,
    /// Its id.
    pub id: DecisionId,
    /// About which message.
    pub message: MessageId,
    /// At which point of the path.
    pub stage: DecisionStage,
    /// When.
    pub decided_at: Timestamp,
    /// What the rules looked at, without personal data.
    pub facts: Box<RawValue>,
    /// What they said.
    pub verdict: Box<RawValue>,
    /// Why, one entry a rule.
    pub reasons: Box<RawValue>,
    /// When asking again could give another answer.
    pub changes_at: Option<Timestamp>,
}

/// A delivery to insert, in state `queued`.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// Whose.
    pub tenant: TenantId,
    /// Its id.
    pub id: DeliveryId,
    /// Of which message.
    pub message: MessageId,
    /// Its channel.
    pub channel: Channel,
    /// Its place in the chain, from 0.
    pub position: i16,
    /// The whole chain.
    pub chain: Vec<Channel>,
    /// The job that carries it.
    pub job: JobId,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A dispatch to begin: one attempt over one connection.
#[derive(Clone, Debug)]
pub struct NewAttempt {
    /// Whose.
    pub tenant: TenantId,
    /// Its id.
    pub id: tidings_core::AttemptId,
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// Of which message.
    pub message: MessageId,
    /// Its number, from 1; the fence of everything after.
    pub attempt_no: i32,
    /// Over which connection.
    pub connection: ConnectionId,
    /// Our reference, echoed by the provider.
    pub reference: String,
    /// Why this connection: `{why, passed_over}`; none where it was simply the best.
    pub route: Option<serde_json::Value>,
}
