//! The queue of all tenants in a few figures, for whoever watches the installation. Unlike [`crate::stats`] it knows no
//! tenants and no history, and what it reads has a bound.

use crate::error::{QueueError, at};
use crate::park::NOBODY;
use jiff::Timestamp;
use sqlx::PgConnection;
use tidings_core::job::rank_due_ms;

/// Rows of one table that are looked at; each stands for up to 1,024 jobs. Beyond it figures are too low.
const ROWS: i64 = 100_000;

/// The jobs of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotalRow {
    /// What they do.
    pub kind: String,
    /// Due now and not claimed.
    pub queued: i64,
    /// Not due yet.
    pub scheduled: i64,
    /// Claimed.
    pub processing: i64,
    /// Dead letters now.
    pub dead: i64,
    /// How long the oldest due job has been waiting, in milliseconds.
    pub oldest_age_ms: Option<i64>,
}

/// The figures by type, in its order. Needs the workers' role, because it reads leases.
///
/// # Errors
/// When the database refuses.
pub async fn totals(conn: &mut PgConnection, now: Timestamp) -> Result<Vec<TotalRow>, QueueError> {
    let rows = sqlx::query!(
        r#"
        SELECT job_type AS "job_type!", priority AS "priority!",
               coalesce(sum(n) FILTER (WHERE what = 'queued'), 0)::bigint AS "queued!",
               coalesce(sum(n) FILTER (WHERE what = 'scheduled'), 0)::bigint AS "scheduled!",
               coalesce(sum(n) FILTER (WHERE what = 'processing'), 0)::bigint AS "processing!",
               coalesce(sum(n) FILTER (WHERE what = 'dead'), 0)::bigint AS "dead!",
               min(first_rank) AS first_rank
        FROM (
            SELECT job_type, priority, 'queued' AS what, sum(n) AS n, min(rank) AS first_rank
            FROM (SELECT job_type, priority, n, rank FROM job_ready LIMIT $1) r GROUP BY job_type, priority
            UNION ALL
            SELECT job_type, priority, 'scheduled', sum(n), NULL
            FROM (SELECT job_type, priority, n FROM job_scheduled LIMIT $1) s GROUP BY job_type, priority
            UNION ALL
            SELECT r.job_type, r.priority, CASE WHEN l.node_id = $2 THEN 'queued' ELSE 'processing' END, r.n, NULL
            FROM job_leases l, unnest(l.job_types, l.priorities, l.counts) AS r (job_type, priority, n)
            UNION ALL
            SELECT c.job_type, coalesce(c.priority, 0::smallint), 'queued', 1, NULL
            FROM (SELECT job_id FROM job_arrivals ORDER BY job_id LIMIT 10000) a JOIN communication_jobs c ON c.id = a.job_id
            UNION ALL
            SELECT job_type, priority, 'dead', count(*), NULL
            FROM (SELECT job_type, priority FROM dead_letters LIMIT $1) d GROUP BY job_type, priority
        ) figures
        GROUP BY job_type, priority ORDER BY job_type, priority
        "#,
        ROWS,
        NOBODY,
    )
    .fetch_all(conn)
    .await
    .map_err(at("add up the queue"))?;
    let mut totals: Vec<TotalRow> = Vec::new();
    for row in rows {
        let age = row.first_rank.map(|first| {
            let waited = now
                .as_millisecond()
                .saturating_sub(rank_due_ms(row.priority, first));
            waited.max(0)
        });
        let one = TotalRow {
            kind: row.job_type,
            queued: row.queued,
            scheduled: row.scheduled,
            processing: row.processing,
            dead: row.dead,
            oldest_age_ms: age,
        };
        match totals.last_mut().filter(|last| last.kind == one.kind) {
            Some(last) => last.add(&one),
            None => totals.push(one),
        }
    }
    Ok(totals)
}

impl TotalRow {
    fn add(&mut self, more: &Self) {
        self.queued += more.queued;
        self.scheduled += more.scheduled;
        self.processing += more.processing;
        self.dead += more.dead;
        self.oldest_age_ms = self.oldest_age_ms.max(more.oldest_age_ms);
    }
}
