//! Who keeps the buckets: the database or a Redis, by one row that nodes change by compare and set.

use super::database::{keys, make};
use crate::Result;
use sqlx::PgConnection;
use std::collections::HashMap;
use tidings_core::ConnectionId;
use tidings_core::limit::{Bucket, Wish};
use uuid::Uuid;

/// Who keeps the buckets. Instants are microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeper {
    /// Of this installation, in every key.
    pub namespace: Uuid,
    /// The run of the Redis; none while the database keeps them.
    pub redis_run: Option<String>,
    /// Counts the changes.
    pub epoch: i64,
    /// When the last one was.
    pub since_us: i64,
    /// Before this nobody goes back to Redis.
    pub back_us: i64,
}

/// Reads it.
///
/// # Errors
/// When the database cannot be asked.
pub async fn keeper(conn: &mut PgConnection) -> Result<Keeper> {
    let row = sqlx::query_as!(
        Keeper,
        "SELECT namespace, redis_run, epoch, since_us, back_us FROM rate_store WHERE only_row"
    )
    .fetch_one(conn)
    .await?;
    Ok(row)
}

/// From now on a Redis keeps them; false when another node was faster.
///
/// # Errors
/// When the database cannot be asked.
pub async fn to_redis(conn: &mut PgConnection, next: &Keeper) -> Result<bool> {
    let done = sqlx::query!(
        r#"
        UPDATE rate_store SET redis_run = $1, epoch = $2::bigint, since_us = $3
        WHERE only_row AND epoch = $2::bigint - 1 AND redis_run IS NULL
        "#,
        next.redis_run,
        next.epoch,
        next.since_us,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// From now on the database keeps them, and until an instant nobody goes back; false when another node was faster.
///
/// # Errors
/// When the database cannot be asked.
pub async fn to_database(conn: &mut PgConnection, epoch: i64, now_us: i64, back_us: i64) -> Result<bool> {
    let done = sqlx::query!(
        r#"
        UPDATE rate_store SET redis_run = NULL, epoch = epoch + 1, since_us = $2, back_us = $3
        WHERE only_row AND epoch = $1 AND redis_run IS NOT NULL
        "#,
        epoch,
        now_us,
        back_us,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A bucket that Redis does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handed {
    /// As the database last knew it.
    pub bucket: Bucket,
    /// Nobody asked for it since the last change of keepers; otherwise Redis had it and dropped it.
    pub first: bool,
    /// Nobody ever asked for it.
    pub fresh: bool,
}

/// The buckets of connections, for a Redis that has none of them; a connection that no longer exists has none. Each is
/// called `first` once an epoch.
///
/// # Errors
/// When the database cannot be asked.
pub async fn hand_over(
    conn: &mut PgConnection,
    wishes: &[Wish],
    epoch: i64,
) -> Result<HashMap<ConnectionId, Handed>> {
    make(conn, wishes).await?;
    let (tenants, connections) = keys(wishes);
    let rows = sqlx::query!(
        r#"
        WITH wished AS (
            SELECT * FROM unnest($1::uuid[], $2::uuid[]) AS w (tenant_id, connection_id)
        ), first AS (
            UPDATE rate_buckets b SET epoch = $3 FROM wished w
            WHERE b.tenant_id = w.tenant_id AND b.connection_id = w.connection_id AND b.epoch <> $3
            RETURNING b.connection_id
        )
        -- As it was before it was touched.
        SELECT b.connection_id, b.next_us, b.factor, b.shrunk_us, b.paused_us, f.connection_id IS NOT NULL AS "first!",
               b.epoch = 0 AND b.next_us = 0 AS "fresh!"
        FROM rate_buckets b
        JOIN wished w ON b.tenant_id = w.tenant_id AND b.connection_id = w.connection_id
        LEFT JOIN first f ON f.connection_id = b.connection_id
        "#,
        &tenants,
        &connections,
        epoch,
    )
    .fetch_all(conn)
    .await?;
    let handed = rows.into_iter().map(|row| {
        let bucket = Bucket {
            next_us: row.next_us,
            factor: i64::from(row.factor),
            shrunk_us: row.shrunk_us,
            paused_us: row.paused_us,
        };
        let handed = Handed {
            bucket,
            first: row.first,
            fresh: row.fresh,
        };
        (ConnectionId(row.connection_id), handed)
    });
    Ok(handed.collect())
}
