//! Dead letters: jobs given up, until they are replayed or purged.

use crate::words::ErrorCategoryWord;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_core::ErrorCategory;
use utoipa::{IntoParams, ToSchema};

/// A dead letter.
#[derive(Serialize, ToSchema)]
pub struct DeadLetterView {
    /// The job.
    pub job_id: i64,
    /// Its type.
    pub job_type: String,
    /// Its priority.
    pub priority: i16,
    /// Why it was given up.
    pub cause: String,
    /// The cause's class.
    #[schema(value_type = ErrorCategoryWord)]
    pub category: String,
    /// When.
    pub died_at: Timestamp,
}

/// A dead letter with its job.
#[derive(Serialize, ToSchema)]
pub struct DeadLetterDetail {
    /// The letter.
    pub letter: DeadLetterView,
    /// The job's payload, as it would be replayed.
    #[schema(value_type = Object)]
    pub payload: Value,
    /// Tries that were made.
    pub retry_count: i32,
    /// Your reference of what caused it.
    pub source_reference: Option<String>,
    /// When the job was made.
    pub created_at: Timestamp,
}

/// Dead letters of one cause.
#[derive(Serialize, ToSchema)]
pub struct DeadLetterGroup {
    /// The cause.
    pub cause: String,
    /// Its class.
    #[schema(value_type = ErrorCategoryWord)]
    pub category: String,
    /// The job type.
    pub job_type: String,
    /// How many.
    pub count: i64,
    /// The oldest.
    pub first_died_at: Timestamp,
    /// The newest.
    pub last_died_at: Timestamp,
}

/// Which dead letters.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeadLetterQuery {
    /// Only this job type.
    pub job_type: Option<String>,
    /// Only this class.
    #[param(value_type = Option<ErrorCategoryWord>)]
    pub category: Option<ErrorCategory>,
    /// Only this cause, as a group names it.
    pub cause: Option<String>,
    /// Rows of a page, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// Which dead letters to replay or purge: these ids, or all that match the filter; an empty object means none.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"category": "auth_failure", "limit": 500, "dry_run": true}))]
pub struct DeadLetterSelection {
    /// These jobs.
    #[schema(max_items = 1000)]
    pub job_ids: Option<Vec<i64>>,
    /// Every dead letter of the tenant, up to `limit`.
    #[serde(default)]
    pub all: bool,
    /// Only this job type.
    #[schema(max_length = 100)]
    pub job_type: Option<String>,
    /// Only this class.
    #[schema(value_type = Option<ErrorCategoryWord>)]
    pub category: Option<ErrorCategory>,
    /// Only this cause, as a group names it.
    pub cause: Option<String>,
    /// At most so many, oldest first; 1000 when left out.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Only says what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// What became of a selection.
#[derive(Serialize, ToSchema)]
pub struct SelectionOutcome {
    /// How many matched.
    pub matched: u64,
    /// How many were replayed or purged; 0 for a dry run.
    pub done: u64,
    /// Jobs whose message may already have reached the contact: a replay could send it a second time.
    pub predicted_duplicates: Vec<i64>,
}

/// A changed payload.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PayloadChange {
    /// Replaces the job's payload; 256 KiB at most.
    #[schema(value_type = Object)]
    pub payload: Map<String, Value>,
}
