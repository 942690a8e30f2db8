//! Leases: renewed while work is alive, released on drain, taken over when their node is dead.

use crate::enqueue::insert_runs;
use crate::error::{QueueError, at, atomically};
use crate::job::{ClaimedJob, LeaseId};
use crate::run::{Columns, Run};
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use tidings_core::job::JobKind;
use tidings_core::{JobId, NodeId};

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

/// A dead node's lease, now of this node under a new number.
#[derive(Clone, Debug)]
pub struct TakenOver {
    /// The new lease.
    pub lease: LeaseId,
    /// The node that let it expire.
    pub from: NodeId,
    /// What it still held, with the crash counted. The caller finishes each: what was provably not begun goes back
    /// ([`crate::Outcome::Release`]), what killed its workers too often is given up, what may have been sent becomes unknown.
    pub jobs: Vec<ClaimedJob>,
}

/// Takes over up to `limit` expired leases whose kinds this node knows. Of several nodes that try, one gets a lease; its old
/// holder, should it live, is fenced from then on. Nothing while the queue is fenced.
///
/// # Errors
/// When the database refuses.
pub async fn take_over(
    conn: &mut PgConnection,
    node: NodeId,
    kinds: &[JobKind],
    now: Timestamp,
    lease_ms: i64,
    limit: u32,
) -> Result<Vec<TakenOver>, QueueError> {
    atomically!(conn, |tx| take_over_within(tx, node, kinds, now, lease_ms, limit))
}

async fn take_over_within(
    conn: &mut PgConnection,
    node: NodeId,
    kinds: &[JobKind],
    now: Timestamp,
    lease_ms: i64,
    limit: u32,
) -> Result<Vec<TakenOver>, QueueError> {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let expires = now + SignedDuration::from_millis(lease_ms);
    let rows = sqlx::query!(
        r#"
        WITH expired AS MATERIALIZED (
            SELECT lease_id, node_id FROM job_leases
            WHERE expires_at <= $1 AND job_types <@ $2::text[] AND queue_open()
            ORDER BY expires_at, lease_id LIMIT $3 FOR UPDATE SKIP LOCKED
        )
        UPDATE job_leases l
        SET lease_id = DEFAULT, node_id = $4, claimed_at = $1, expires_at = $5, marked = true
        FROM expired e WHERE l.lease_id = e.lease_id
        RETURNING l.lease_id, e.node_id AS "from!", l.tenants, l.job_types, l.priorities, l.ranks, l.first_ids, l.counts
        "#,
        now.to_sqlx() as _,
        &kinds as &[&str],
        i64::from(limit),
        node.0,
        expires.to_sqlx() as _,
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(at("take over expired leases"))?;
    let mut taken = Vec::with_capacity(rows.len());
    for row in rows {
        let columns = Columns {
            tenants: row.tenants,
            kinds: row.job_types,
            priorities: row.priorities,
            ranks: row.ranks,
            firsts: row.first_ids,
            counts: row.counts,
        };
        let jobs = count_crashes(conn, &columns).await?;
        taken.push(TakenOver {
            lease: LeaseId(row.lease_id),
            from: NodeId(row.from),
            jobs,
        });
    }
    Ok(taken)
}

/// Counts a crash for every job of the runs that has not ended, and returns them.
async fn count_crashes(conn: &mut PgConnection, columns: &Columns) -> Result<Vec<ClaimedJob>, QueueError> {
    let runs: Vec<Run> = columns.by_id()?;
    let rows = sqlx::query!(
        r#"
        UPDATE communication_jobs c
        SET status = 'processing', crash_count = least(c.crash_count, 32000) + 1
        FROM unnest($1::bigint[], $2::int[]) AS r (first, n)
        WHERE c.id >= r.first AND c.id < r.first + r.n AND c.status IN ('pending', 'processing')
        RETURNING c.id, c.payload::text AS "payload!", c.retry_count, c.max_retries, c.crash_count, c.source_reference
        "#,
        &columns.firsts,
        &columns.counts,
    )
    .fetch_all(conn)
    .await
    .map_err(at("count the crash of a dead node's jobs"))?;
    let mut jobs = Vec::with_capacity(rows.len());
    for row in rows {
        let after = runs.partition_point(|run| run.first <= row.id);
        let Some(run) = after.checked_sub(1).and_then(|i| runs.get(i)) else {
            continue;
        };
        let payload = RawValue::from_string(row.payload)
            .map_err(|source| QueueError::Payload { job: row.id, source })?;
        jobs.push(ClaimedJob {
            id: JobId(row.id),
            tenant: run.class.tenant,
            kind: run.class.kind,
            payload,
            priority: run.class.priority,
            retry_count: row.retry_count,
            max_retries: row.max_retries,
            crash_count: row.crash_count,
            source_reference: row.source_reference,
        });
    }
    jobs.sort_unstable_by_key(|job| job.id);
    Ok(jobs)
}
