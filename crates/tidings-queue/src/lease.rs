//! Leases: renewed while work is alive, released on drain. Those of dead nodes are parked, see `park.rs`.

use crate::enqueue::insert_runs;
use crate::error::{QueueError, at, atomically};
use crate::job::LeaseId;
use crate::run::Columns;
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use tidings_core::NodeId;

/// What a heartbeat found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// The leases that the node holds. Work under any other has been taken over: stop it.
    pub held: Vec<LeaseId>,
}

/// Renews all leases of the node for `lease_ms` milliseconds from now and notes that the node is alive. Jobs that are still
/// at work at their first heartbeat show the status `processing`. Call it every third of `lease_ms`.
///
/// # Errors
/// When the database refuses.
pub async fn heartbeat(
    conn: &mut PgConnection,
    node: NodeId,
    now: Timestamp,
    lease_ms: i64,
) -> Result<Heartbeat, QueueError> {
    let expires = now + SignedDuration::from_millis(lease_ms);
    let held = sqlx::query_scalar!(
        r#"
        WITH seen AS (
            UPDATE queue_nodes SET seen_at = $2 WHERE node_id = $1
        ), mine AS MATERIALIZED (
            SELECT lease_id, marked, first_ids, counts FROM job_leases WHERE node_id = $1 ORDER BY lease_id FOR UPDATE
        ), renewed AS (
            UPDATE job_leases l SET expires_at = greatest(l.expires_at, $3), marked = true
            FROM mine m WHERE l.lease_id = m.lease_id
        ), marked AS (
            UPDATE communication_jobs c SET status = 'processing'
            FROM mine m, unnest(m.first_ids, m.counts) AS r (first, n)
            WHERE NOT m.marked AND c.id >= r.first AND c.id < r.first + r.n AND c.status = 'pending'
        )
        SELECT lease_id FROM mine ORDER BY lease_id
        "#,
        node.0,
        now.to_sqlx() as _,
        expires.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await
    .map_err(at("renew leases"))?;
    Ok(Heartbeat {
        held: held.into_iter().map(LeaseId).collect(),
    })
}

/// Puts everything a lease still holds back to its old place in the line, for any node: graceful drain.
/// Returns how many jobs; 0 when the node no longer holds the lease.
///
/// # Errors
/// When the database refuses.
pub async fn release(conn: &mut PgConnection, node: NodeId, lease: LeaseId) -> Result<u32, QueueError> {
    atomically!(conn, |tx| release_within(tx, node, lease))
}

async fn release_within(conn: &mut PgConnection, node: NodeId, lease: LeaseId) -> Result<u32, QueueError> {
    let row = sqlx::query!(
        r#"
        DELETE FROM job_leases WHERE lease_id = $1 AND node_id = $2
        RETURNING tenants, job_types, priorities, ranks, first_ids, counts
        "#,
        lease.0,
        node.0,
    )
    .fetch_optional(&mut *conn)
    .await
    .map_err(at("release a lease"))?;
    let Some(row) = row else { return Ok(0) };
    let columns = Columns {
        tenants: row.tenants,
        kinds: row.job_types,
        priorities: row.priorities,
        ranks: row.ranks,
        firsts: row.first_ids,
        counts: row.counts,
    };
    let runs = columns.by_id()?;
    sqlx::query!(
        r#"
        UPDATE communication_jobs c SET status = 'pending'
        FROM unnest($1::bigint[], $2::int[]) AS r (first, n)
        WHERE c.id >= r.first AND c.id < r.first + r.n AND c.status = 'processing'
        "#,
        &columns.firsts,
        &columns.counts,
    )
    .execute(&mut *conn)
    .await
    .map_err(at("release the jobs of a lease"))?;
    insert_runs(conn, &runs, &[]).await?;
    Ok(runs.iter().map(|run| run.n as u32).sum())
}
