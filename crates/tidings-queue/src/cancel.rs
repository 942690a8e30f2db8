//! Cancelling: a waiting job is taken out of the line; one at work is left to its holder.

use crate::enqueue::insert_runs;
use crate::error::{QueueError, at, atomically};
use crate::finish::hour_of;
use crate::run::{Class, Columns, Run, micros, without};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};
use tidings_core::job::rank;
use tidings_core::{JobId, TenantId};

/// Jobs of one call.
const MAX: usize = 1_024;

/// How often the line is searched again for jobs that other transactions are moving about meanwhile.
const SEARCHES: u32 = 4;

/// What became of the jobs to cancel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cancelled {
    /// They will never run.
    pub cancelled: Vec<JobId>,
    /// A node is at work on them; what they do must be stopped by the rules of the work itself.
    pub running: Vec<JobId>,
    /// Ended before, or not of this tenant.
    pub ended: Vec<JobId>,
}

/// Cancels waiting jobs of a tenant: at most 1,024. Exact: a job reported as cancelled was claimed by nobody. Needs the
/// workers' role, because it reads leases.
///
/// # Errors
/// When there are too many, or the database refuses; nothing is cancelled then.
pub async fn cancel(
    conn: &mut PgConnection,
    tenant: TenantId,
    jobs: &[JobId],
    now: Timestamp,
) -> Result<Cancelled, QueueError> {
    if jobs.len() > MAX {
        return Err(QueueError::Bound(format!(
            "{} jobs to cancel at once; give at most {MAX}",
            jobs.len()
        )));
    }
    atomically!(conn, |tx| cancel_within(tx, tenant, jobs, micros(now)))
}

/// A job that has not ended, with where it stands in line according to its row.
struct Waiting {
    rank: i64,
    due: Timestamp,
}

async fn cancel_within(
    conn: &mut PgConnection,
    tenant: TenantId,
    jobs: &[JobId],
    now: Timestamp,
) -> Result<Cancelled, QueueError> {
    let mut waiting = lock_jobs(conn, tenant, jobs).await?;
    let mut answer = Cancelled {
        ended: jobs
            .iter()
            .copied()
            .filter(|job| !waiting.contains_key(&job.0))
            .collect(),
        ..Cancelled::default()
    };
    let mut found: BTreeSet<i64> = BTreeSet::new();
    for _ in 0..SEARCHES {
        if waiting.is_empty() {
            break;
        }
        let out = take_out(conn, tenant, &waiting).await?;
        let leased = leased(conn, &waiting).await?;
        waiting.retain(|id, _| !out.contains(id) && !leased.contains(id));
        found.extend(out);
        answer.running.extend(leased.into_iter().map(JobId));
    }
    // What is nowhere was changed by another program and stands in line under another rank: its status keeps it from running.
    found.extend(waiting.into_keys());
    mark(conn, &found.iter().copied().collect::<Vec<_>>(), now).await?;
    answer.cancelled = found.into_iter().map(JobId).collect();
    Ok(answer)
}

async fn lock_jobs(
    conn: &mut PgConnection,
    tenant: TenantId,
    jobs: &[JobId],
) -> Result<BTreeMap<i64, Waiting>, QueueError> {
    let ids: Vec<i64> = jobs.iter().map(|job| job.0).collect();
    let rows = sqlx::query!(
        r#"
        SELECT id, coalesce(priority, 0::smallint) AS "priority!", process_after FROM communication_jobs
        WHERE tenant_id = $1 AND id = ANY($2::bigint[]) AND status IN ('pending', 'processing')
        ORDER BY id FOR UPDATE
        "#,
        tenant.0,
        &ids,
    )
    .fetch_all(conn)
    .await
    .map_err(at("lock the jobs to cancel"))?;
    let waiting = rows.into_iter().map(|row| {
        let due = row.process_after.to_jiff();
        (
            row.id,
            Waiting {
                rank: rank(row.priority, due),
                due,
            },
        )
    });
    Ok(waiting.collect())
}

/// Takes jobs out of the arrivals, the line and the schedule; returns those it found there. Waits for claims under way.
async fn take_out(
    conn: &mut PgConnection,
    tenant: TenantId,
    waiting: &BTreeMap<i64, Waiting>,
) -> Result<BTreeSet<i64>, QueueError> {
    let ids: Vec<i64> = waiting.keys().copied().collect();
    let arrived = sqlx::query_scalar!(
        "DELETE FROM job_arrivals WHERE job_id = ANY($1) RETURNING job_id",
        &ids
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(at("take jobs out of the arrivals"))?;
    let ready = lock_ready(conn, tenant, waiting).await?;
    let scheduled = lock_scheduled(conn, tenant, waiting).await?;
    let dues: BTreeMap<i64, Timestamp> = scheduled.iter().map(|(run, due)| (run.first, *due)).collect();
    let scheduled: Vec<Run> = scheduled.into_iter().map(|(run, _)| run).collect();
    let mut out: BTreeSet<i64> = arrived.into_iter().collect();
    for run in ready.iter().chain(&scheduled) {
        out.extend(waiting.range(run.ids()).map(|(id, _)| *id));
    }
    let ready_left = without(&ready, &ids);
    let mut scheduled_left: Vec<(Run, Timestamp)> = Vec::new();
    for run in without(&scheduled, &ids) {
        if let Some((_, due)) = dues.range(..=run.first).next_back() {
            scheduled_left.push((run, *due));
        }
    }
    insert_runs(conn, &ready_left, &scheduled_left).await?;
    Ok(out)
}

/// Deletes the runs of the line that hold any of the jobs, and returns them by id.
async fn lock_ready(
    conn: &mut PgConnection,
    tenant: TenantId,
    waiting: &BTreeMap<i64, Waiting>,
) -> Result<Vec<Run>, QueueError> {
    let ids: Vec<i64> = waiting.keys().copied().collect();
    let ranks: Vec<i64> = waiting.values().map(|job| job.rank).collect();
    let rows = sqlx::query!(
        r#"
        WITH found AS MATERIALIZED (
            SELECT r.ctid AS place
            FROM unnest($2::bigint[], $3::bigint[]) AS w (id, rank)
            CROSS JOIN LATERAL (
                SELECT q.ctid FROM job_ready q
                WHERE q.tenant_id = $1 AND q.rank = w.rank AND q.first_id <= w.id AND q.first_id > w.id - 1024
                  AND q.first_id + q.n > w.id
                FOR UPDATE
            ) r
        )
        DELETE FROM job_ready WHERE ctid = ANY (ARRAY(SELECT place FROM found))
        RETURNING job_type, priority, rank, first_id, n
        "#,
        tenant.0,
        &ids,
        &ranks,
    )
    .fetch_all(conn)
    .await
    .map_err(at("take jobs out of the line"))?;
    let mut columns = Columns::default();
    for row in rows {
        columns.tenants.push(tenant.0);
        columns.kinds.push(row.job_type);
        columns.priorities.push(row.priority);
        columns.ranks.push(row.rank);
        columns.firsts.push(row.first_id);
        columns.counts.push(row.n);
    }
    columns.by_id()
}

/// Deletes the scheduled runs that hold any of the jobs, and returns them by id.
async fn lock_scheduled(
    conn: &mut PgConnection,
    tenant: TenantId,
    waiting: &BTreeMap<i64, Waiting>,
) -> Result<Vec<(Run, Timestamp)>, QueueError> {
    let ids: Vec<i64> = waiting.keys().copied().collect();
    let dues: Vec<jiff_sqlx::Timestamp> = waiting.values().map(|job| job.due.to_sqlx()).collect();
    let rows = sqlx::query!(
        r#"
        WITH found AS MATERIALIZED (
            SELECT r.ctid AS place
            FROM unnest($2::bigint[], $3::timestamptz[]) AS w (id, due_at)
            CROSS JOIN LATERAL (
                SELECT q.ctid FROM job_scheduled q
                WHERE q.tenant_id = $1 AND q.due_at = w.due_at AND q.first_id <= w.id AND q.first_id > w.id - 1024
                  AND q.first_id + q.n > w.id
                FOR UPDATE
            ) r
        )
        DELETE FROM job_scheduled WHERE ctid = ANY (ARRAY(SELECT place FROM found))
        RETURNING job_type, priority, rank, first_id, n, due_at
        "#,
        tenant.0,
        &ids,
        &dues,
    )
    .fetch_all(conn)
    .await
    .map_err(at("take jobs out of the schedule"))?;
    let mut runs = Vec::with_capacity(rows.len());
    for row in rows {
        let class = Class {
            tenant,
            kind: row.job_type.parse()?,
            priority: row.priority,
            rank: row.rank,
        };
        runs.push((
            Run {
                class,
                first: row.first_id,
                n: i64::from(row.n),
            },
            row.due_at.to_jiff(),
        ));
    }
    runs.sort_unstable_by_key(|(run, _)| run.first);
    Ok(runs)
}

/// Those of the jobs that are leased.
async fn leased(
    conn: &mut PgConnection,
    waiting: &BTreeMap<i64, Waiting>,
) -> Result<BTreeSet<i64>, QueueError> {
    let ids: Vec<i64> = waiting.keys().copied().collect();
    let leased = sqlx::query_scalar!(
        r#"
        SELECT w.id AS "id!"
        FROM job_leases l, unnest(l.first_ids, l.counts) AS r (first, n), unnest($1::bigint[]) AS w (id)
        WHERE w.id >= r.first AND w.id < r.first + r.n
        "#,
        &ids,
    )
    .fetch_all(conn)
    .await
    .map_err(at("find the jobs that are at work"))?;
    Ok(leased.into_iter().collect())
}

async fn mark(conn: &mut PgConnection, ids: &[i64], now: Timestamp) -> Result<(), QueueError> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        WITH marked AS (
            UPDATE communication_jobs SET status = 'cancelled', finished_at = $2 WHERE id = ANY($1::bigint[])
            RETURNING tenant_id, job_type, coalesce(priority, 0::smallint) AS priority
        )
        INSERT INTO job_tallies (tenant_id, hour, job_type, priority, outcome, n)
        SELECT tenant_id, $3, job_type, priority, 'cancelled', count(*) FROM marked GROUP BY tenant_id, job_type, priority
        "#,
        ids,
        now.to_sqlx() as _,
        hour_of(now).to_sqlx() as _,
    )
    .execute(conn)
    .await
    .map_err(at("cancel jobs"))?;
    Ok(())
}
