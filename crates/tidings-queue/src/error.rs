//! What can go wrong in the queue.

use tidings_core::word::UnknownWord;

/// Why a queue operation failed. Nothing was changed by the statement that failed.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The database refused or was not reachable.
    #[error("queue: {doing}: {source}")]
    Database {
        /// What was tried.
        doing: &'static str,
        /// The database's answer.
        #[source]
        source: sqlx::Error,
    },
    /// A row says something this version does not know.
    #[error("queue: {0}; a newer version may have written it: run that version, or remove the row")]
    Word(#[from] UnknownWord),
    /// A stored payload is not JSON text; only possible when the table was changed.
    #[error("queue: the payload of job {job} cannot be read: {source}")]
    Payload {
        /// The job.
        job: i64,
        /// The parser's answer.
        #[source]
        source: serde_json::Error,
    },
    /// A duplicate was reported but its row is gone: it was deleted in this very moment.
    #[error(
        "queue: job with source reference \"{0}\" vanished while it was enqueued again; enqueue it once more"
    )]
    Vanished(String),
    /// The request is beyond a bound.
    #[error("queue: {0}")]
    Bound(String),
}

impl QueueError {
    /// Whether the database said that the same statement may succeed when tried again.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Database { source, .. } => match source {
                // Serialization failure, deadlock, lock timeout, shutdown, too many connections, not let in.
                sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                    ["40", "57P", "28", "3D"]
                        .iter()
                        .any(|class| code.starts_with(class))
                        || matches!(&*code, "55P03" | "53300" | "55000")
                }),
                sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
                _ => false,
            },
            Self::Vanished(_) => true,
            Self::Word(_) | Self::Payload { .. } | Self::Bound(_) => false,
        }
    }
}

/// Names the work in an error: `.map_err(at("claim"))`.
pub(crate) fn at(doing: &'static str) -> impl Fn(sqlx::Error) -> QueueError {
    move |source| QueueError::Database { doing, source }
}

/// Runs statements that belong together in the caller's transaction, or in one of their own when the caller has none.
macro_rules! atomically {
    ($conn:ident, |$tx:ident| $work:expr) => {
        if sqlx::Connection::is_in_transaction($conn) {
            let $tx: &mut sqlx::PgConnection = $conn;
            $work.await
        } else {
            let mut own = sqlx::Connection::begin($conn)
                .await
                .map_err($crate::error::at("begin a transaction"))?;
            let answer = {
                let $tx: &mut sqlx::PgConnection = &mut own;
                $work.await?
            };
            own.commit().await.map_err($crate::error::at("commit"))?;
            Ok(answer)
        }
    };
}
pub(crate) use atomically;
