//! What the engine's own work can fail with.

use crate::campaigns::SourceProblem;
use std::sync::Arc;
use tidings_queue::QueueError;
use tidings_queue::coalesce::NoAnswer;
use tidings_store::{SealError, StoreError};

/// A failed step of the engine. The step's transaction was rolled back; nothing is half-written.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Stored content cannot be read back.
    #[error("{what} of message {message} cannot be read: {reason}")]
    Content {
        /// Which part.
        what: &'static str,
        /// Of which message.
        message: tidings_core::MessageId,
        /// What the parser said, without the content.
        reason: String,
    },
    /// There is no such thing.
    #[error("there is no {what} {id}")]
    NotFound {
        /// What.
        what: &'static str,
        /// Which.
        id: String,
    },
    /// What was given cannot be kept.
    #[error("{field}: {problem}")]
    Invalid {
        /// Which field, its parts joined by dots.
        field: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// The tenant's source cannot be asked.
    #[error("the source cannot be asked: {0}")]
    Source(SourceProblem),
    /// A step failed that several shared.
    #[error("{0}")]
    Shared(Arc<EngineError>),
    /// It cannot be done as things stand.
    #[error("{problem}")]
    Conflict {
        /// What stands in the way and what to do.
        problem: String,
    },
}

// Written out, so that the problem is told once: as a `source` it would be printed again behind the sentence it is in.
impl From<SourceProblem> for EngineError {
    fn from(problem: SourceProblem) -> Self {
        Self::Source(problem)
    }
}

impl From<NoAnswer> for EngineError {
    fn from(why: NoAnswer) -> Self {
        Self::Conflict {
            problem: why.to_string(),
        }
    }
}

impl EngineError {
    /// Whether the same step may succeed when it is tried again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Queue(error) => error.is_retryable(),
            Self::Shared(error) => error.is_transient(),
            Self::Source(problem) => problem.category == tidings_core::ErrorCategory::Transient,
            Self::Seal(_)
            | Self::Content { .. }
            | Self::NotFound { .. }
            | Self::Invalid { .. }
            | Self::Conflict { .. } => false,
        }
    }
}
