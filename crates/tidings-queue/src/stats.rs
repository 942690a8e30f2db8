//! Figures of the queue, by tenant, type and priority, from the narrow tables; the jobs themselves are never counted.

use crate::error::{QueueError, at};
use crate::park::NOBODY;
use jiff::Timestamp;
use sqlx::PgConnection;
use tidings_core::TenantId;
use tidings_core::job::rank_due_ms;

/// Rows of one answer.
const MAX: i64 = 10_000;

/// The jobs of one tenant, type and priority. Waiting figures are exact; ended ones count what maintenance still keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatRow {
    /// Whose.
    pub tenant: TenantId,
    /// What they do.
    pub kind: String,
    /// 0 .. 100.
    pub priority: i16,
    /// Due now and not claimed, arrivals of other programs and what dead workers left included.
    pub queued: i64,
    /// Not due yet.
    pub scheduled: i64,
    /// Claimed.
    pub processing: i64,
    /// Done.
    pub completed: i64,
    /// Turns that ended in another try.
    pub retried: i64,
    /// Given up, ever, whether replayed since or not; with those replaced by an e-mail.
    pub failed: i64,
    /// Withdrawn.
    pub cancelled: i64,
    /// Dead letters now.
    pub dead: i64,
    /// How long the oldest due job has been waiting, in milliseconds.
    pub oldest_age_ms: Option<i64>,
}

/// The figures, of one tenant or of all: at most 10,000 rows. Needs the workers' role, because it reads leases.
///
/// # Errors
/// When the database refuses.
pub async fn stats(
    conn: &mut PgConnection,
    tenant: Option<TenantId>,
    now: Timestamp,
) -> Result<Vec<StatRow>, QueueError> {
    let rows = sqlx::query!(
        r#"
        SELECT tenant_id AS "tenant_id!", job_type AS "job_type!", priority AS "priority!",
               coalesce(sum(n) FILTER (WHERE what = 'queued'), 0)::bigint AS "queued!",
               coalesce(sum(n) FILTER (WHERE what = 'scheduled'), 0)::bigint AS "scheduled!",
               coalesce(sum(n) FILTER (WHERE what = 'processing'), 0)::bigint AS "processing!",
               coalesce(sum(n) FILTER (WHERE what = 'dead'), 0)::bigint AS "dead!",
               coalesce(sum(n) FILTER (WHERE what = 'complete'), 0)::bigint AS "completed!",
               coalesce(sum(n) FILTER (WHERE what = 'retried'), 0)::bigint AS "retried!",
               coalesce(sum(n) FILTER (WHERE what IN ('failed', 'failed_fallback_email')), 0)::bigint AS "failed!",
               coalesce(sum(n) FILTER (WHERE what = 'cancelled'), 0)::bigint AS "cancelled!",
               min(first_rank) AS first_rank
        FROM (
            SELECT tenant_id, job_type, priority, 'queued' AS what, sum(n) AS n, min(rank) AS first_rank
            FROM job_ready GROUP BY tenant_id, job_type, priority
            UNION ALL
            SELECT tenant_id, job_type, priority, 'scheduled', sum(n), NULL
            FROM job_scheduled GROUP BY tenant_id, job_type, priority
            UNION ALL
            SELECT r.tenant_id, r.job_type, r.priority, CASE WHEN l.node_id = $3 THEN 'queued' ELSE 'processing' END, r.n, NULL
            FROM job_leases l, unnest(l.tenants, l.job_types, l.priorities, l.counts) AS r (tenant_id, job_type, priority, n)
            UNION ALL
            SELECT c.tenant_id, c.job_type, coalesce(c.priority, 0::smallint), 'queued', 1, NULL
            FROM (SELECT job_id FROM job_arrivals ORDER BY job_id LIMIT 10000) a JOIN communication_jobs c ON c.id = a.job_id
            UNION ALL
            SELECT tenant_id, job_type, priority, 'dead', count(*), NULL
            FROM dead_letters GROUP BY tenant_id, job_type, priority
            UNION ALL
            SELECT tenant_id, job_type, priority, outcome, sum(n), NULL
            FROM job_tallies GROUP BY tenant_id, job_type, priority, outcome
        ) figures
        WHERE $1::uuid IS NULL OR tenant_id = $1
        GROUP BY tenant_id, job_type, priority
        ORDER BY tenant_id, priority DESC, job_type LIMIT $2
        "#,
        tenant.map(|tenant| tenant.0),
        MAX,
        NOBODY,
    )
    .fetch_all(conn)
    .await
    .map_err(at("count jobs"))?;
    let rows = rows.into_iter().map(|row| StatRow {
        tenant: TenantId(row.tenant_id),
        kind: row.job_type,
        priority: row.priority,
        queued: row.queued,
        scheduled: row.scheduled,
        processing: row.processing,
        completed: row.completed,
        retried: row.retried,
        failed: row.failed,
        cancelled: row.cancelled,
        dead: row.dead,
        oldest_age_ms: row.first_rank.map(|first| {
            now.as_millisecond()
                .saturating_sub(rank_due_ms(row.priority, first))
                .max(0)
        }),
    });
    Ok(rows.collect())
}
