//! Maintenance: ended jobs leave by retention, tallies become hours, and jobs that lie in no table are found.

use crate::error::{QueueError, at};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use tidings_core::JobId;
use tidings_core::job::rank;

/// How many jobs that seem to lie nowhere are looked at closely in one step.
const SUSPECTS: usize = 64;

/// What one step of [`sweep`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Where the next step begins; none: this was the last page, begin again from the start.
    pub next: Option<JobId>,
    /// Ended jobs that were deleted.
    pub deleted: u64,
    /// Unfinished jobs that lay in no table and are taken up again: another program switched the trigger off, or set a
    /// job to `pending` by hand.
    pub stranded: u64,
}

/// One page of a walk over all jobs by id: deletes those that ended before `ended_before` (dead letters stay until they are
/// purged), and takes up stranded ones. Callers keep the place, run one step every few seconds, and on one node at a time;
/// two would do no harm.
///
/// # Errors
/// When the database refuses.
pub async fn sweep(
    conn: &mut PgConnection,
    after: Option<JobId>,
    limit: u32,
    ended_before: Timestamp,
) -> Result<Swept, QueueError> {
    let rows = sqlx::query!(
        r#"
        WITH page AS MATERIALIZED (
            SELECT id, status, finished_at, coalesce(priority, 0::smallint) AS priority, process_after
            FROM communication_jobs WHERE id > $1 ORDER BY id LIMIT $2
        ), gone AS (
            DELETE FROM communication_jobs c
            WHERE c.id = ANY (ARRAY(
                SELECT id FROM page
                WHERE status IN ('complete', 'cancelled', 'failed_fallback_email') AND finished_at < $3))
              AND c.status IN ('complete', 'cancelled', 'failed_fallback_email') AND c.finished_at < $3
            RETURNING c.id
        )
        SELECT p.id AS "id!", p.priority AS "priority!", p.process_after AS "process_after!",
               p.status IN ('pending', 'processing') AS "open!", g.id IS NOT NULL AS "gone!"
        FROM page p LEFT JOIN gone g ON g.id = p.id ORDER BY p.id
        "#,
        after.map_or(0, |job| job.0),
        i64::from(limit),
        ended_before.to_sqlx() as _,
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(at("delete ended jobs"))?;
    let mut swept = Swept {
        deleted: rows.iter().filter(|row| row.gone).count() as u64,
        ..Swept::default()
    };
    if rows.len() == limit as usize {
        swept.next = rows.last().map(|row| JobId(row.id));
    }
    let mut ids = Vec::new();
    let mut ranks = Vec::new();
    let mut dues = Vec::new();
    for row in rows.iter().filter(|row| row.open) {
        ids.push(row.id);
        ranks.push(rank(row.priority, row.process_after.to_jiff()));
        dues.push(row.process_after);
    }
    let mut suspects = suspects(conn, &ids, &ranks, &dues).await?;
    suspects.truncate(SUSPECTS);
    swept.stranded = take_up(conn, &suspects).await?;
    Ok(swept)
}

/// Jobs that are not where their row says they stand. Cheap: index probes.
async fn suspects(
    conn: &mut PgConnection,
    ids: &[i64],
    ranks: &[i64],
    dues: &[jiff_sqlx::Timestamp],
) -> Result<Vec<i64>, QueueError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar!(
        r#"
        SELECT w.id AS "id!"
        FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[]) AS w (id, rank, due_at)
        JOIN communication_jobs c ON c.id = w.id AND c.status IN ('pending', 'processing')
        CROSS JOIN LATERAL (
            SELECT EXISTS (
                SELECT FROM job_ready r
                WHERE r.tenant_id = c.tenant_id AND r.rank = w.rank
                  AND r.first_id <= w.id AND r.first_id > w.id - 1024 AND r.first_id + r.n > w.id
                OFFSET 0
            ) OR EXISTS (
                SELECT FROM job_scheduled s
                WHERE s.tenant_id = c.tenant_id AND s.due_at = w.due_at
                  AND s.first_id <= w.id AND s.first_id > w.id - 1024 AND s.first_id + s.n > w.id
                OFFSET 0
            ) OR EXISTS (SELECT FROM job_arrivals a WHERE a.job_id = w.id OFFSET 0) AS found
        ) f
        WHERE NOT f.found
        "#,
        ids,
        ranks,
        dues,
    )
    .fetch_all(conn)
    .await
    .map_err(at("look for stranded jobs"))
}

/// Takes up those that are nowhere at all: one statement, so one snapshot, in which every job in order is in exactly one table.
/// Expensive for each suspect (its rank may be another than its row says), hence few of them.
async fn take_up(conn: &mut PgConnection, suspects: &[i64]) -> Result<u64, QueueError> {
    if suspects.is_empty() {
        return Ok(0);
    }
    let taken = sqlx::query_scalar!(
        r#"
        WITH stranded AS MATERIALIZED (
            SELECT c.id
            FROM unnest($1::bigint[]) AS w (id)
            JOIN communication_jobs c ON c.id = w.id AND c.status IN ('pending', 'processing')
            WHERE NOT EXISTS (SELECT FROM job_arrivals a WHERE a.job_id = c.id)
              AND NOT EXISTS (
                SELECT FROM job_leases l, unnest(l.first_ids, l.counts) AS r (first, n)
                WHERE c.id >= r.first AND c.id < r.first + r.n)
              AND NOT EXISTS (
                SELECT FROM job_ready r
                WHERE r.tenant_id = c.tenant_id AND c.id >= r.first_id AND c.id < r.first_id + r.n)
              AND NOT EXISTS (
                SELECT FROM job_scheduled s
                WHERE s.tenant_id = c.tenant_id AND c.id >= s.first_id AND c.id < s.first_id + s.n)
        ), reset AS (
            UPDATE communication_jobs c SET status = 'pending', finished_at = NULL
            FROM stranded s WHERE c.id = s.id AND (c.status = 'processing' OR c.finished_at IS NOT NULL)
        ), risen AS (
            DELETE FROM dead_letters d USING stranded s WHERE d.job_id = s.id
        ), taken AS (
            INSERT INTO job_arrivals (job_id) SELECT id FROM stranded ON CONFLICT (job_id) DO NOTHING RETURNING job_id
        )
        SELECT count(*) AS "n!" FROM taken
        "#,
        suspects,
    )
    .fetch_one(conn)
    .await
    .map_err(at("take up stranded jobs"))?;
    Ok(taken as u64)
}

/// Adds up to `limit` fresh tallies to the hours they belong to and forgets hours before `keep_from`.
/// Returns how many tallies were added up; as many as the limit means there may be more.
///
/// # Errors
/// When the database refuses; nothing is changed then.
pub async fn roll_up_tallies(
    conn: &mut PgConnection,
    limit: u32,
    keep_from: Timestamp,
) -> Result<u64, QueueError> {
    let rolled = sqlx::query_scalar!(
        r#"
        WITH fresh AS (
            DELETE FROM job_tallies
            WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM job_tallies WHERE NOT rolled_up ORDER BY hour LIMIT $1 FOR UPDATE SKIP LOCKED))
            RETURNING tenant_id, hour, job_type, priority, outcome, n
        ), hours AS (
            INSERT INTO job_tallies AS t (tenant_id, hour, job_type, priority, outcome, n, rolled_up)
            SELECT tenant_id, hour, job_type, priority, outcome, sum(n), true FROM fresh
            WHERE hour >= $2
            GROUP BY tenant_id, hour, job_type, priority, outcome
            ORDER BY tenant_id, hour, job_type, priority, outcome
            ON CONFLICT (tenant_id, hour, job_type, priority, outcome) WHERE rolled_up DO UPDATE SET n = t.n + excluded.n
        ), old AS (
            DELETE FROM job_tallies WHERE rolled_up AND hour < $2
        )
        SELECT count(*) AS "n!" FROM fresh
        "#,
        i64::from(limit),
        keep_from.to_sqlx() as _,
    )
    .fetch_one(conn)
    .await
    .map_err(at("add up tallies"))?;
    Ok(rolled as u64)
}
