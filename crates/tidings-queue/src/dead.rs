//! Dead letters: jobs given up, until they are replayed or purged. Every function can be bound to a tenant.

use crate::enqueue::insert_runs;
use crate::error::{QueueError, at, atomically};
use crate::run::{Class, compress, micros};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use std::fmt;
use tidings_core::job::{JobKind, rank};
use tidings_core::{ErrorCategory, JobId, TenantId};

/// The longest page, and the most jobs of one replay or purge.
const MAX: u32 = 1_000;

/// A job given up.
#[derive(Clone)]
pub struct DeadLetter {
    /// The job.
    pub job: JobId,
    /// Whose.
    pub tenant: TenantId,
    /// What it does, as written in its row.
    pub kind: String,
    /// 0 .. 100.
    pub priority: i16,
    /// The stable code that the caller gave.
    pub cause: String,
    /// Of what kind the last refusal was.
    pub category: ErrorCategory,
    /// When it was given up.
    pub died_at: Timestamp,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// Refused tries.
    pub retry_count: i32,
    /// As [`crate::ClaimedJob::crash_count`].
    pub crash_count: i16,
    /// The last refusal.
    pub last_error: Option<String>,
    /// Where it comes from.
    pub source_reference: Option<String>,
    /// What it needed.
    pub payload: Box<RawValue>,
}

impl fmt::Debug for DeadLetter {
    /// Without the payload, which holds personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("job", &self.job)
            .field("tenant", &self.tenant)
            .field("kind", &self.kind)
            .field("cause", &self.cause)
            .field("category", &self.category)
            .field("died_at", &self.died_at)
            .finish_non_exhaustive()
    }
}

/// Which dead letters; absent fields match all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// Of this type.
    pub kind: Option<JobKind>,
    /// With this cause.
    pub cause: Option<String>,
    /// With this category.
    pub category: Option<ErrorCategory>,
    /// Only this job.
    pub job: Option<JobId>,
    /// Given up at or after.
    pub since: Option<Timestamp>,
}

/// Where the next page begins: after this letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Its `died_at`.
    pub died_at: Timestamp,
    /// Its job.
    pub job: JobId,
}

impl DeadLetter {
    /// The cursor of the page after this letter.
    pub const fn cursor(&self) -> Cursor {
        Cursor {
            died_at: self.died_at,
            job: self.job,
        }
    }
}

/// Dead letters, latest first: at most `limit`, never more than 1,000.
///
/// # Errors
/// When the database refuses.
pub async fn list(
    conn: &mut PgConnection,
    filter: &Filter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<DeadLetter>, QueueError> {
    let rows = sqlx::query!(
        r#"
        SELECT d.job_id, d.tenant_id, d.job_type, d.priority, d.cause, d.category, d.died_at,
               c.created_at, c.retry_count, c.crash_count, c.last_error, c.source_reference, c.payload::text AS "payload!"
        FROM dead_letters d JOIN communication_jobs c ON c.id = d.job_id
        WHERE ($1::uuid IS NULL OR d.tenant_id = $1)
          AND ($2::text IS NULL OR d.job_type = $2)
          AND ($3::text IS NULL OR d.cause = $3)
          AND ($4::text IS NULL OR d.category = $4)
          AND ($5::bigint IS NULL OR d.job_id = $5)
          AND ($6::timestamptz IS NULL OR d.died_at >= $6)
          AND ($7::timestamptz IS NULL OR (d.died_at, d.job_id) < ($7, $8))
        ORDER BY d.died_at DESC, d.job_id DESC LIMIT $9
        "#,
        filter.tenant.map(|tenant| tenant.0),
        filter.kind.map(JobKind::as_str),
        filter.cause.as_deref(),
        filter.category.map(ErrorCategory::as_str),
        filter.job.map(|job| job.0),
        filter.since.map(ToSqlx::to_sqlx) as _,
        after.map(|cursor| cursor.died_at.to_sqlx()) as _,
        after.map_or(0, |cursor| cursor.job.0),
        i64::from(limit.min(MAX)),
    )
    .fetch_all(conn)
    .await
    .map_err(at("list dead letters"))?;
    rows.into_iter()
        .map(|row| {
            let payload = RawValue::from_string(row.payload).map_err(|source| QueueError::Payload {
                job: row.job_id,
                source,
            })?;
            Ok(DeadLetter {
                job: JobId(row.job_id),
                tenant: TenantId(row.tenant_id),
                kind: row.job_type,
                priority: row.priority,
                cause: row.cause,
                category: row.category.parse()?,
                died_at: row.died_at.to_jiff(),
                created_at: row.created_at.to_jiff(),
                retry_count: row.retry_count,
                crash_count: row.crash_count,
                last_error: row.last_error,
                source_reference: row.source_reference,
                payload,
            })
        })
        .collect()
}

/// One dead letter.
///
/// # Errors
/// When the database refuses.
pub async fn show(
    conn: &mut PgConnection,
    tenant: TenantId,
    job: JobId,
) -> Result<Option<DeadLetter>, QueueError> {
    let filter = Filter {
        tenant: Some(tenant),
        job: Some(job),
        ..Filter::default()
    };
    Ok(list(conn, &filter, None, 1).await?.pop())
}

/// Dead letters with the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Whose.
    pub tenant: TenantId,
    /// What they do.
    pub kind: String,
    /// Why they were given up.
    pub cause: String,
    /// Of what kind the last refusals were.
    pub category: ErrorCategory,
    /// How many.
    pub jobs: i64,
    /// The last of them.
    pub latest: Timestamp,
}

/// Groups dead letters by cause, most first: at most 1,000 groups.
///
/// # Errors
/// When the database refuses.
pub async fn groups(conn: &mut PgConnection, tenant: Option<TenantId>) -> Result<Vec<Group>, QueueError> {
    let rows = sqlx::query!(
        r#"
        SELECT tenant_id, job_type, cause, category, count(*) AS "jobs!", max(died_at) AS "latest!"
        FROM dead_letters WHERE $1::uuid IS NULL OR tenant_id = $1
        GROUP BY tenant_id, job_type, cause, category
        ORDER BY count(*) DESC, tenant_id, job_type, cause, category LIMIT 1000
        "#,
        tenant.map(|tenant| tenant.0),
    )
    .fetch_all(conn)
    .await
    .map_err(at("group dead letters"))?;
    rows.into_iter()
        .map(|row| {
            Ok(Group {
                tenant: TenantId(row.tenant_id),
                kind: row.job_type,
                cause: row.cause,
                category: row.category.parse()?,
                jobs: row.jobs,
                latest: row.latest.to_jiff(),
            })
        })
        .collect()
}

/// Replaces the payload of a dead letter. False when there is no such letter.
///
/// # Errors
/// When the database refuses.
pub async fn edit(
    conn: &mut PgConnection,
    tenant: TenantId,
    job: JobId,
    payload: &RawValue,
) -> Result<bool, QueueError> {
    let done = sqlx::query!(
        r#"
        UPDATE communication_jobs c SET payload = ($3::text)::jsonb FROM dead_letters d
        WHERE d.tenant_id = $1 AND d.job_id = $2 AND c.id = d.job_id AND c.status = 'failed'
        "#,
        tenant.0,
        job.0,
        payload.get(),
    )
    .execute(conn)
    .await
    .map_err(at("edit a dead letter"))?;
    Ok(done.rows_affected() > 0)
}

/// Puts dead letters back into the line, as new tries of the same jobs: same id, same source reference, so effects stay
/// idempotent. Of jobs that are no dead letters (any more), of another tenant or of an unknown type nothing is changed.
/// Returns what was put back. At most 1,000 jobs.
///
/// Ask first which of them would be sent twice: take the jobs from [`list`], look up the attempts of their messages, and
/// leave out (or have a person confirm) those with an accepted or unknown one.
///
/// # Errors
/// When there are too many, or the database refuses; nothing is put back then.
pub async fn replay(
    conn: &mut PgConnection,
    tenant: Option<TenantId>,
    jobs: &[JobId],
    now: Timestamp,
) -> Result<Vec<JobId>, QueueError> {
    let ids = bounded(jobs)?;
    atomically!(conn, |tx| replay_within(tx, tenant, &ids, micros(now)))
}

fn bounded(jobs: &[JobId]) -> Result<Vec<i64>, QueueError> {
    if jobs.len() > MAX as usize {
        return Err(QueueError::Bound(format!(
            "{} dead letters at once; give at most {MAX}",
            jobs.len()
        )));
    }
    Ok(jobs.iter().map(|job| job.0).collect())
}

async fn replay_within(
    conn: &mut PgConnection,
    tenant: Option<TenantId>,
    ids: &[i64],
    now: Timestamp,
) -> Result<Vec<JobId>, QueueError> {
    let kinds: Vec<&str> = JobKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let rows = sqlx::query!(
        r#"
        WITH risen AS (
            DELETE FROM dead_letters
            WHERE job_id = ANY($2::bigint[]) AND ($1::uuid IS NULL OR tenant_id = $1) AND job_type = ANY($3::text[])
            RETURNING job_id, tenant_id, job_type, priority
        )
        UPDATE communication_jobs c
        SET status = 'pending', retry_count = 0, crash_count = 0, process_after = $4, finished_at = NULL, priority = r.priority
        FROM risen r WHERE c.id = r.job_id AND c.status = 'failed'
        RETURNING c.id, r.tenant_id, r.job_type, r.priority
        "#,
        tenant.map(|tenant| tenant.0),
        ids,
        &kinds as &[&str],
        now.to_sqlx() as _,
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(at("replay dead letters"))?;
    let mut jobs = Vec::with_capacity(rows.len());
    for row in rows {
        let class = Class {
            tenant: TenantId(row.tenant_id),
            kind: row.job_type.parse()?,
            priority: row.priority,
            rank: rank(row.priority, now),
        };
        jobs.push((class, row.id));
    }
    jobs.sort_unstable_by_key(|(_, id)| *id);
    let replayed = jobs.iter().map(|(_, id)| JobId(*id)).collect();
    insert_runs(conn, &compress(jobs), &[]).await?;
    Ok(replayed)
}

/// Deletes dead letters and their jobs for good. Returns how many. At most 1,000 jobs.
///
/// # Errors
/// When there are too many, or the database refuses.
pub async fn purge(
    conn: &mut PgConnection,
    tenant: Option<TenantId>,
    jobs: &[JobId],
) -> Result<u64, QueueError> {
    let ids = bounded(jobs)?;
    let done = sqlx::query!(
        r#"
        WITH gone AS (
            DELETE FROM dead_letters WHERE job_id = ANY($2::bigint[]) AND ($1::uuid IS NULL OR tenant_id = $1) RETURNING job_id
        )
        DELETE FROM communication_jobs c USING gone g WHERE c.id = g.job_id AND c.status = 'failed'
        "#,
        tenant.map(|tenant| tenant.0),
        &ids,
    )
    .execute(conn)
    .await
    .map_err(at("purge dead letters"))?;
    Ok(done.rows_affected())
}
