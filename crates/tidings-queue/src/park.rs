//! What dead workers left: counted, parked, taken up again in smaller company.
//!
//! A worker that dies takes hundreds of jobs down with it, and at most one of them killed it. So the jobs of a lease that
//! ended without a result are parked: all together the first time, because most workers die of something else; in
//! [`PARTS`] parts when one of them was in a crash before; and so on, down to single jobs. A single job is marked `alone`:
//! whoever takes it ([`take_alone`]) must have nothing else at work. What a crash counts for is a rule: [`tidings_core::crash`].
//! A parked lease belongs to the nil node and has a number of its own, so its former holder is fenced.

use crate::claim::{WideColumns, shrink};
use crate::error::{QueueError, at, atomically};
use crate::job::{ClaimedJob, LeaseId};
use crate::run::{Class, Columns, Run, compress};
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use tidings_core::job::JobKind;
use tidings_core::{NodeId, crash};
use uuid::Uuid;

/// Parts that suspects are divided into: a batch of 256 is down to single jobs after its third crash.
const PARTS: i64 = 16;

/// The node that parked leases belong to.
pub(crate) const NOBODY: Uuid = Uuid::nil();

/// A lease whose worker is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Who held it.
    pub from: NodeId,
    /// Jobs that had not ended.
    pub jobs: u32,
    /// Parts they were parked in.
    pub parts: u32,
}

/// Parks up to `limit` expired leases of the kinds, with the crash counted for each job. Of several nodes that try, one
/// gets a lease; its old holder, should it live, is fenced from then on. Nothing while the queue is fenced.
///
/// # Errors
/// When the database refuses; nothing is changed then.
pub async fn park_expired(
    conn: &mut PgConnection,
    kinds: &[JobKind],
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Parked>, QueueError> {
    atomically!(conn, |tx| park_within(tx, None, kinds, now, limit))
}

/// Parks a lease of the node itself, whose work ended abnormally although the process lives; none when the node no longer
/// holds it.
///
/// # Errors
/// When the database refuses; nothing is changed then.
pub async fn park(
    conn: &mut PgConnection,
    node: NodeId,
    lease: LeaseId,
    now: Timestamp,
) -> Result<Option<Parked>, QueueError> {
    let parked = atomically!(conn, |tx| park_within(
        tx,
        Some((node, lease)),
        JobKind::ALL,
        now,
        1
    ))?;
    Ok(parked.first().copied())
}

async fn park_within(
    conn: &mut PgConnection,
    one: Option<(NodeId, LeaseId)>,
    kinds: &[JobKind],
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Parked>, QueueError> {
    let rows = sqlx::query!(
        r#"
        WITH left_behind AS MATERIALIZED (
            SELECT lease_id FROM job_leases
            WHERE node_id <> $6 AND job_types <@ $2::text[]
              AND CASE WHEN $4::bigint IS NULL THEN expires_at <= $1 AND queue_open()
                       ELSE lease_id = $4 AND node_id = $5::uuid END
            ORDER BY expires_at, lease_id LIMIT $3 FOR UPDATE SKIP LOCKED
        )
        DELETE FROM job_leases l USING left_behind b WHERE l.lease_id = b.lease_id
        RETURNING l.node_id, l.alone, l.tenants, l.job_types, l.priorities, l.ranks, l.first_ids, l.counts
        "#,
        now.to_sqlx() as _,
        &words(kinds) as &[&str],
        i64::from(limit),
        one.map(|(_, lease)| lease.0),
        one.map(|(node, _)| node.0),
        NOBODY,
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(at("take away the leases of dead workers"))?;
    let mut parked = Vec::with_capacity(rows.len());
    for row in rows {
        let columns = Columns {
            tenants: row.tenants,
            kinds: row.job_types,
            priorities: row.priorities,
            ranks: row.ranks,
            firsts: row.first_ids,
            counts: row.counts,
        };
        let (left, suspects) = count_crashes(conn, &columns, row.alone).await?;
        let parts = divide(&left, suspects);
        insert(conn, &parts, now).await?;
        parked.push(Parked {
            from: NodeId(row.node_id),
            jobs: left.iter().map(|run| run.n as u32).sum(),
            parts: parts.len() as u32,
        });
    }
    Ok(parked)
}

fn words(kinds: &[JobKind]) -> Vec<&'static str> {
    kinds.iter().map(|kind| kind.as_str()).collect()
}

/// Counts a crash for every job of the runs that has not ended ([`tidings_core::crash`]). Returns those, and whether one of them was
/// in a crash before.
async fn count_crashes(
    conn: &mut PgConnection,
    columns: &Columns,
    alone: bool,
) -> Result<(Vec<Run>, bool), QueueError> {
    let runs = columns.by_id()?;
    let left = sqlx::query!(
        r#"
        SELECT c.id, c.crash_count
        FROM unnest($1::bigint[], $2::int[]) AS r (first, n)
        JOIN communication_jobs c ON c.id >= r.first AND c.id < r.first + r.n
        WHERE c.status IN ('pending', 'processing')
        ORDER BY c.id FOR UPDATE OF c
        "#,
        &columns.firsts,
        &columns.counts,
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(at("look for a dead worker's jobs"))?;
    let last = left.len() == 1;
    let ids: Vec<i64> = left.iter().map(|job| job.id).collect();
    let counts: Vec<i16> = left
        .iter()
        .map(|job| crash::counted(job.crash_count, alone, last))
        .collect();
    sqlx::query!(
        "UPDATE communication_jobs c SET status = 'pending', crash_count = i.crash_count
         FROM unnest($1::bigint[], $2::smallint[]) AS i (id, crash_count) WHERE c.id = i.id",
        &ids,
        &counts,
    )
    .execute(conn)
    .await
    .map_err(at("count the crash of a dead worker's jobs"))?;
    let suspects = left.iter().any(|job| job.crash_count > 0);
    let left = ids.into_iter().filter_map(|id| Some((class_of(&runs, id)?, id)));
    Ok((compress(left), suspects))
}

/// The class of a job; the runs are sorted by id.
fn class_of(runs: &[Run], id: i64) -> Option<Class> {
    let after = runs.partition_point(|run| run.first <= id);
    after
        .checked_sub(1)
        .and_then(|i| runs.get(i))
        .map(|run| run.class)
}

/// All in one part, or in as many as suspects are divided into.
fn divide(runs: &[Run], suspects: bool) -> Vec<Vec<Run>> {
    let jobs: i64 = runs.iter().map(|run| run.n).sum();
    let size = if suspects {
        (jobs + PARTS - 1) / PARTS
    } else {
        jobs
    };
    let mut parts: Vec<Vec<Run>> = Vec::new();
    let mut room = 0;
    for run in runs {
        let mut rest = *run;
        while rest.n > 0 {
            if room == 0 {
                parts.push(Vec::new());
                room = size;
            }
            let n = rest.n.min(room);
            if let Some(part) = parts.last_mut() {
                part.push(Run { n, ..rest });
            }
            rest.first += n;
            rest.n -= n;
            room -= n;
        }
    }
    parts
}

async fn insert(conn: &mut PgConnection, parts: &[Vec<Run>], now: Timestamp) -> Result<(), QueueError> {
    let mut numbers: Vec<i32> = Vec::new();
    let mut c = Columns::default();
    for (number, part) in parts.iter().enumerate() {
        for run in part {
            numbers.push(number as i32);
            c.push(run);
        }
    }
    if numbers.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        INSERT INTO job_leases (node_id, claimed_at, expires_at, alone, tenants, job_types, priorities, ranks, first_ids, counts)
        SELECT $1, $2, $2, sum(u.n) = 1, array_agg(u.tenant_id ORDER BY u.first_id), array_agg(u.job_type ORDER BY u.first_id),
               array_agg(u.priority ORDER BY u.first_id), array_agg(u.rank ORDER BY u.first_id),
               array_agg(u.first_id ORDER BY u.first_id), array_agg(u.n ORDER BY u.first_id)
        FROM unnest($3::int[], $4::uuid[], $5::text[], $6::smallint[], $7::bigint[], $8::bigint[], $9::int[])
            AS u (part, tenant_id, job_type, priority, rank, first_id, n)
        GROUP BY u.part ORDER BY u.part
        "#,
        NOBODY,
        now.to_sqlx() as _,
        &numbers,
        &c.tenants,
        &c.kinds,
        &c.priorities,
        &c.ranks,
        &c.firsts,
        &c.counts,
    )
    .execute(conn)
    .await
    .map_err(at("park the jobs of dead workers"))?;
    Ok(())
}

/// Whether anything is parked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParkedWork {
    /// There is a group to be taken by [`take_group`].
    pub groups: bool,
    /// There is a single job to be taken by [`take_alone`].
    pub alone: bool,
}

/// What of the kinds is parked.
///
/// # Errors
/// When the database refuses.
pub async fn parked_work(conn: &mut PgConnection, kinds: &[JobKind]) -> Result<ParkedWork, QueueError> {
    let row = sqlx::query!(
        r#"
        SELECT coalesce(bool_or(NOT alone), false) AS "groups!", coalesce(bool_or(alone), false) AS "alone!"
        FROM job_leases WHERE node_id = $1 AND job_types <@ $2::text[]
        "#,
        NOBODY,
        &words(kinds) as &[&str],
    )
    .fetch_one(conn)
    .await
    .map_err(at("look for parked jobs"))?;
    Ok(ParkedWork {
        groups: row.groups,
        alone: row.alone,
    })
}

/// Parked jobs, now of this node.
#[derive(Clone, Debug)]
pub struct TakenOver {
    /// The new lease.
    pub lease: LeaseId,
    /// What it holds. What was provably not begun is begun, what may have been sent becomes unknown, what killed its
    /// workers too often ([`ClaimedJob::crashes_alone`]) is given up.
    pub jobs: Vec<ClaimedJob>,
}

/// Takes a parked group; none when there is none. Other work may go on beside it.
///
/// # Errors
/// When the database refuses; nothing is taken then.
pub async fn take_group(
    conn: &mut PgConnection,
    node: NodeId,
    kinds: &[JobKind],
    now: Timestamp,
    lease_ms: i64,
) -> Result<Option<TakenOver>, QueueError> {
    atomically!(conn, |tx| take_within(tx, node, kinds, false, now, lease_ms))
}

/// Takes a parked single job; none when there is none. The process must have no other job at work until this one has
/// ended: a crash meanwhile counts against it.
///
/// # Errors
/// When the database refuses; nothing is taken then.
pub async fn take_alone(
    conn: &mut PgConnection,
    node: NodeId,
    kinds: &[JobKind],
    now: Timestamp,
    lease_ms: i64,
) -> Result<Option<TakenOver>, QueueError> {
    atomically!(conn, |tx| take_within(tx, node, kinds, true, now, lease_ms))
}

async fn take_within(
    conn: &mut PgConnection,
    node: NodeId,
    kinds: &[JobKind],
    alone: bool,
    now: Timestamp,
    lease_ms: i64,
) -> Result<Option<TakenOver>, QueueError> {
    // A lease whose jobs were all withdrawn meanwhile vanishes, and the next is looked at.
    while let Some((lease, runs)) = take_lease(conn, node, kinds, alone, now, lease_ms).await? {
        let expected: i64 = runs.iter().map(|run| run.n).sum();
        let (jobs, left) = load(conn, &runs).await?.into_jobs(&runs)?;
        if jobs.len() as i64 != expected {
            shrink(conn, lease, &left).await?;
        }
        if !jobs.is_empty() {
            return Ok(Some(TakenOver { lease, jobs }));
        }
    }
    Ok(None)
}

/// The oldest parked lease, under a new number.
async fn take_lease(
    conn: &mut PgConnection,
    node: NodeId,
    kinds: &[JobKind],
    alone: bool,
    now: Timestamp,
    lease_ms: i64,
) -> Result<Option<(LeaseId, Vec<Run>)>, QueueError> {
    let expires = now + SignedDuration::from_millis(lease_ms);
    let row = sqlx::query!(
        r#"
        WITH parked AS MATERIALIZED (
            SELECT lease_id FROM job_leases
            WHERE node_id = $6 AND alone = $5 AND job_types <@ $2::text[] AND queue_open()
            ORDER BY lease_id LIMIT 1 FOR UPDATE SKIP LOCKED
        )
        UPDATE job_leases l SET lease_id = DEFAULT, node_id = $1, claimed_at = $3, expires_at = $4
        FROM parked p WHERE l.lease_id = p.lease_id
        RETURNING l.lease_id, l.tenants, l.job_types, l.priorities, l.ranks, l.first_ids, l.counts
        "#,
        node.0,
        &words(kinds) as &[&str],
        now.to_sqlx() as _,
        expires.to_sqlx() as _,
        alone,
        NOBODY,
    )
    .fetch_optional(conn)
    .await
    .map_err(at("take parked jobs"))?;
    let Some(row) = row else { return Ok(None) };
    let columns = Columns {
        tenants: row.tenants,
        kinds: row.job_types,
        priorities: row.priorities,
        ranks: row.ranks,
        firsts: row.first_ids,
        counts: row.counts,
    };
    Ok(Some((LeaseId(row.lease_id), columns.by_id()?)))
}

/// The rows of the runs that were not withdrawn.
async fn load(conn: &mut PgConnection, runs: &[Run]) -> Result<WideColumns, QueueError> {
    let columns = Columns::of(runs);
    let rows = sqlx::query!(
        r#"
        SELECT c.id, c.payload::text AS "payload!", c.retry_count, c.max_retries, c.crash_count, c.source_reference
        FROM unnest($1::bigint[], $2::int[]) AS r (first, n)
        JOIN communication_jobs c ON c.id >= r.first AND c.id < r.first + r.n
        WHERE c.status = 'pending'
        "#,
        &columns.firsts,
        &columns.counts,
    )
    .fetch_all(conn)
    .await
    .map_err(at("read parked jobs"))?;
    let mut wide = WideColumns::default();
    for row in rows {
        wide.ids.push(row.id);
        wide.payloads.push(row.payload);
        wide.retries.push(row.retry_count);
        wide.max_retries.push(row.max_retries);
        wide.crashes.push(row.crash_count);
        wide.references.push(row.source_reference);
    }
    Ok(wide)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::TenantId;

    fn runs(ids: impl IntoIterator<Item = i64>) -> Vec<Run> {
        let class = Class {
            tenant: TenantId(Uuid::nil()),
            kind: JobKind::Noop,
            priority: 40,
            rank: 7,
        };
        compress(ids.into_iter().map(|id| (class, id)))
    }

    fn sizes(runs: &[Run], suspects: bool) -> Vec<i64> {
        let parts = divide(runs, suspects);
        let ids = |runs: &[Run]| runs.iter().flat_map(Run::ids).collect::<Vec<_>>();
        assert_eq!(ids(&parts.concat()), ids(runs));
        parts
            .iter()
            .map(|part| part.iter().map(|run| run.n).sum())
            .collect()
    }

    #[test]
    fn a_first_crash_keeps_jobs_together_and_later_ones_divide_them() {
        let scattered = (0..50).map(|i| i * 2).chain(200..406);
        let jobs = runs(scattered);
        assert_eq!(sizes(&jobs, false), [256]);
        assert_eq!(sizes(&jobs, true), [16; 16]);
        assert_eq!(sizes(&runs(0..16), true), [1; 16]);
        assert_eq!(sizes(&runs(0..17), true), [2, 2, 2, 2, 2, 2, 2, 2, 1]);
        assert_eq!(sizes(&runs(5..6), true), [1]);
        assert_eq!(sizes(&[], true), [0; 0]);
    }
}
