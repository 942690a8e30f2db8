//! From failures of the layers below to problems. Causes of our own are logged here, once, and never answered.

use crate::problem::{FieldError, Problem};
use tidings_engine::EngineError;
use tidings_engine::queue::QueueError;
use tidings_engine::store::StoreError;

/// Seconds a caller should wait while the database is away.
const RETRY_AFTER_SECONDS: u32 = 5;

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_transient() {
            tracing::warn!(%error, "the database is not reachable");
            return database_unreachable();
        }
        match error {
            StoreError::NotFound { what, .. } => Self::not_found(what),
            StoreError::Conflict { what } => Self::conflict("conflict", what),
            StoreError::Invalid { field, problem } => Self::invalid(vec![FieldError::new(
                format!("/{}", field.replace('.', "/")),
                "value.invalid",
                problem,
            )]),
            StoreError::Erased(_) => Self::conflict(
                "contact.erased",
                "the contact was erased; nothing can be kept for it or sent to it",
            ),
            other => {
                tracing::error!(error = %other, "the store failed");
                Self::internal()
            }
        }
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        if error.is_retryable() {
            tracing::warn!(%error, "the queue's database is not reachable");
            return database_unreachable();
        }
        tracing::error!(%error, "the queue failed");
        Self::internal()
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => error.into(),
            EngineError::Queue(error) => error.into(),
            EngineError::NotFound { what, .. } => Self::not_found(what),
            EngineError::Conflict { problem } => Self::conflict("conflict", problem),
            EngineError::Invalid { field, problem } => {
                let pointer = format!("/{}", field.replace('.', "/"));
                Self::invalid_field(pointer, "value.invalid", problem)
            }
            EngineError::Source(_) => Self::conflict("conflict", error.to_string()),
            other => {
                tracing::error!(error = %other, "the engine failed");
                Self::internal()
            }
        }
    }
}

/// 503: the database does not answer. Nothing was written.
pub(crate) fn database_unreachable() -> Problem {
    let detail = "the database cannot be reached; nothing was written, send the request again";
    Problem::unavailable("database.unreachable", detail, RETRY_AFTER_SECONDS)
}
