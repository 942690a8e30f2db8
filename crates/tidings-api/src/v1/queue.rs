//! The queue: figures, and what nobody knows the outcome of.

use crate::words::ChannelWord;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidings_core::Channel;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Figures of the tenant's jobs.
#[derive(Serialize, ToSchema)]
pub struct QueueStatsView {
    /// Waiting: due, or not due yet.
    pub queued: i64,
    /// Of these, due now.
    pub due: i64,
    /// With a worker.
    pub processing: i64,
    /// Done in the last 24 hours.
    pub completed: i64,
    /// Given up in the last 24 hours.
    pub failed: i64,
    /// Dead letters at present.
    pub dead: i64,
    /// How long the oldest due job has waited, in milliseconds.
    pub oldest_due_age_ms: Option<i64>,
    /// Waiting and dead jobs by type.
    pub by_type: Vec<TypeFigures>,
}

/// Figures of one job type.
#[derive(Serialize, ToSchema)]
pub struct TypeFigures {
    /// The job type.
    pub job_type: String,
    /// Waiting.
    pub queued: i64,
    /// Dead letters.
    pub dead: i64,
}

/// A delivery whose outcome nobody knows.
#[derive(Serialize, ToSchema)]
pub struct UnknownView {
    /// The delivery.
    pub delivery_id: Uuid,
    /// Its message.
    pub message_id: Uuid,
    /// Its channel.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// Since when.
    pub since: Timestamp,
    /// It waits for a person; the policy does nothing by itself.
    pub held: bool,
    /// What is known of the call.
    pub detail: Option<String>,
}

/// What a person decides about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownDecision {
    /// It did arrive: counts as sent.
    Accepted,
    /// It did not arrive, or twice is better than never: send again.
    Resend,
    /// Give it up.
    Drop,
}

/// What to do about it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"decision": "resend"}))]
pub struct UnknownVerdict {
    /// The decision.
    pub decision: UnknownDecision,
}

/// Which unknown outcomes to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UnknownQuery {
    /// Rows of a page, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}
