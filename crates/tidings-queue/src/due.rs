//! From scheduled to ready.

use crate::error::{QueueError, at};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;

/// Moves up to `limit` runs that came due into the line; any number of nodes may do it at once. Returns how many runs.
/// Wakes a sleeping node.
///
/// # Errors
/// When the database refuses; nothing is moved then.
pub async fn promote(conn: &mut PgConnection, now: Timestamp, limit: u32) -> Result<u64, QueueError> {
    let moved = sqlx::query_scalar!(
        r#"
        WITH due AS MATERIALIZED (
            SELECT ctid AS place, * FROM job_scheduled
            WHERE due_at <= $1 ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ), gone AS (
            DELETE FROM job_scheduled WHERE ctid = ANY (ARRAY(SELECT place FROM due))
        ), moved AS (
            INSERT INTO job_ready (tenant_id, rank, first_id, n, job_type, priority)
            SELECT tenant_id, rank, first_id, n, job_type, priority FROM due
            RETURNING 1
        ), counted AS MATERIALIZED (
            SELECT count(*) AS n FROM moved
        ), woken AS MATERIALIZED (
            SELECT pg_notify('tidings_jobs', '')::text FROM queue_nodes WHERE idle AND (SELECT n FROM counted) > 0 LIMIT 1
        )
        SELECT n + 0 * (SELECT count(*) FROM woken) AS "n!" FROM counted
        "#,
        now.to_sqlx() as _,
        i64::from(limit),
    )
    .fetch_one(conn)
    .await
    .map_err(at("move scheduled jobs into the line"))?;
    Ok(moved as u64)
}

/// When the next scheduled job comes due; how long a node may sleep.
///
/// # Errors
/// When the database refuses.
pub async fn next_due(conn: &mut PgConnection) -> Result<Option<Timestamp>, QueueError> {
    let next = sqlx::query_scalar!("SELECT min(due_at) FROM job_scheduled")
        .fetch_one(conn)
        .await
        .map_err(at("find the next scheduled job"))?;
    Ok(next.map(jiff_sqlx::Timestamp::to_jiff))
}
