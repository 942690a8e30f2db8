//! The migrations, and what state a database is in.

use crate::{Result, StoreError};
use sqlx::PgConnection;
use sqlx::migrate::{MigrateError, Migrator};

/// The migrations of this version, forward only.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// How far a database is migrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaState {
    /// The newest migration in the database; 0 for none.
    pub applied: i64,
    /// How many of this program's migrations it lacks.
    pub pending: usize,
}

impl SchemaState {
    /// Reads the state.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] when the database knows a migration this program does not.
    pub(crate) async fn read(conn: &mut PgConnection) -> Result<Self> {
        // Plain queries: the table is the migrator's own and not there on a fresh database.
        let present: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
            .fetch_one(&mut *conn)
            .await?;
        let applied: Vec<i64> = if present {
            sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version")
                .fetch_all(conn)
                .await?
        } else {
            Vec::new()
        };
        let newest = applied.last().copied().unwrap_or(0);
        let known = newest_known();
        if newest > known {
            return Err(StoreError::NewerSchema {
                database: newest,
                program: known,
            });
        }
        let pending = MIGRATOR
            .iter()
            .filter(|migration| !applied.contains(&migration.version))
            .count();
        Ok(Self {
            applied: newest,
            pending,
        })
    }
}

pub(crate) async fn migrate(conn: &mut PgConnection) -> Result<SchemaState> {
    SchemaState::read(conn).await?;
    if let Err(error) = MIGRATOR.run(&mut *conn).await {
        return Err(explain(error));
    }
    SchemaState::read(conn).await
}

fn newest_known() -> i64 {
    MIGRATOR
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0)
}

fn explain(error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMissing(version) => {
            StoreError::NewerSchema { database: version, program: newest_known() }
        }
        MigrateError::VersionMismatch(version) => StoreError::Migration {
            version,
            reason: "it was applied in another wording; this program and the database belong to different versions".to_owned(),
        },
        MigrateError::ExecuteMigration(sqlx::Error::Database(database), version) => {
            let hint = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|e| e.hint());
            match (database.code().as_deref(), hint) {
                (Some("42501"), Some(hint)) => StoreError::Roles {
                    user: "of DATABASE_URL".to_owned(),
                    reason: database.message().to_owned(),
                    sql: hint.trim_start_matches("Let an administrator run: ").to_owned(),
                },
                (_, hint) => StoreError::Migration {
                    version,
                    reason: [database.message(), hint.unwrap_or_default()].join(" ").trim_end().to_owned(),
                },
            }
        }
        other => StoreError::Migration { version: 0, reason: other.to_string() },
    }
}
