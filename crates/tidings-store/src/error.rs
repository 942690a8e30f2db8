//! What can go wrong with the store, said so that an operator knows what to do.

use crate::seal::SealError;
use tidings_core::{ContactId, TenantId};

/// A failed call of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL cannot be read. The URL itself is not shown: it may hold a password.
    #[error(
        "{which} is not a PostgreSQL URL ({reason}); write it as postgres://user:password@host:5432/database"
    )]
    Url {
        /// Which setting.
        which: &'static str,
        /// What the parser said.
        reason: String,
    },
    /// Nobody answers, or the server refuses the user.
    #[error(
        "cannot reach the database at {place}: {reason}; check DATABASE_URL, that PostgreSQL runs, and the network between"
    )]
    Unreachable {
        /// Host, port and database, without credentials.
        place: String,
        /// What the driver said.
        reason: String,
    },
    /// The login user may not create or become the roles row-level security stands on.
    #[error(
        "the database user \"{user}\" lacks rights on the roles of Tidings: {reason}; let an administrator run: {sql}"
    )]
    Roles {
        /// The login user.
        user: String,
        /// What failed.
        reason: String,
        /// What an administrator must run.
        sql: String,
    },
    /// The database was migrated by a newer version of Tidings.
    #[error(
        "the database has migration {database}, this program knows none after {program}; run the newer version of Tidings that migrated it"
    )]
    NewerSchema {
        /// The newest migration in the database.
        database: i64,
        /// The newest migration in the program.
        program: i64,
    },
    /// The database lacks migrations.
    #[error("the database lacks {pending} migrations; run: tidings migrate")]
    Unmigrated {
        /// How many.
        pending: usize,
    },
    /// A migration failed; it was rolled back.
    #[error("migration {version} failed and was rolled back: {reason}")]
    Migration {
        /// Which one; 0 when none had begun.
        version: i64,
        /// What the server said.
        reason: String,
    },
    /// A master key is configured that is not the one the data was sealed with.
    #[error(
        "the master key \"{id}\" is not the one this database was sealed with; set DB_ENCRYPTION_KEY to the key it was set up with (nothing was changed)"
    )]
    WrongMasterKey {
        /// Its id.
        id: String,
    },
    /// Data is sealed with a master key that is not configured.
    #[error(
        "this database is sealed with the master key \"{id}\", which is not configured; configure it, beside the new one while keys are rotated (nothing was changed)"
    )]
    MissingMasterKey {
        /// Its id.
        id: String,
    },
    /// There is no such thing, or it belongs to another tenant: the same answer.
    #[error("no {what} \"{id}\"")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// By what.
        id: String,
    },
    /// Something with the same name, or a newer state of the same thing, is there.
    #[error("{what}")]
    Conflict {
        /// What collides with what.
        what: String,
    },
    /// A value the store cannot keep.
    #[error("{field}: {problem}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// The contact was erased; nothing can be stored for or read of it.
    #[error("the contact {0} was erased")]
    Erased(ContactId),
    /// The audit chain does not add up.
    #[error("the audit log of tenant {tenant} is broken at entry {seq}: {problem}")]
    AuditBroken {
        /// Whose chain; the nil id is the operator's.
        tenant: TenantId,
        /// The first entry that is wrong.
        seq: i64,
        /// What is wrong.
        problem: &'static str,
    },
    /// Sealing or opening failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// Stored JSON has not the expected shape.
    #[error("{what} holds JSON of an unexpected shape: {reason}")]
    Json {
        /// Which column.
        what: &'static str,
        /// What the parser said, without the content.
        reason: String,
    },
}

impl StoreError {
    /// There is no such thing.
    pub fn not_found(what: &'static str, id: impl std::fmt::Display) -> Self {
        Self::NotFound {
            what,
            id: id.to_string(),
        }
    }

    /// A value the store cannot keep.
    pub fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            problem: problem.into(),
        }
    }

    /// A stored value that cannot be read back. The parser's category is kept, its excerpt of the content is not.
    pub fn json(what: &'static str, error: &serde_json::Error) -> Self {
        Self::Json {
            what,
            reason: format!("{:?} error at line {}", error.classify(), error.line()),
        }
    }

    /// Whether the same call may succeed later: the connection or the server failed, not the request.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Database(error) => match error {
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::Protocol(_) => true,
                sqlx::Error::Database(database) => {
                    // Serialisation and deadlocks, no resources, operator intervention, connection exceptions; and what
                    // a server says that does not let us in: no such user, no such database, takes no connections.
                    database.code().is_some_and(|code| {
                        ["40", "53", "57", "08", "28", "3D"].contains(&&code[..2.min(code.len())])
                            || code == "55000"
                    })
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether a unique index or constraint of this name refused the write.
    pub fn violates(&self, constraint: &str) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(database)) if database.constraint() == Some(constraint))
    }
}
