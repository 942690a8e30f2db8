//! A job that was done and turned out not to be: the far side took an SMS and said later that it failed for good.

use crate::error::{QueueError, at};
use crate::finish::{ERROR_MAX, hour_of};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use tidings_core::{ErrorCategory, JobId, TenantId};

/// Says of a complete job that it failed after all and an e-mail replaces it; the caller enqueues the e-mail job in the same
/// transaction. False when the job is not complete: it is at work or waits, and its own turn will end so, or it is gone.
///
/// # Errors
/// When the database refuses.
pub async fn overturn(
    conn: &mut PgConnection,
    tenant: TenantId,
    job: JobId,
    category: ErrorCategory,
    error: &str,
    now: Timestamp,
) -> Result<bool, QueueError> {
    let error: String = error.chars().filter(|c| *c != '\0').take(ERROR_MAX).collect();
    let overturned = sqlx::query_scalar!(
        r#"
        WITH overturned AS (
            UPDATE communication_jobs
            SET status = 'failed_fallback_email', last_error = $4, error_category = $5, finished_at = $3
            WHERE id = $2 AND tenant_id = $1 AND status = 'complete'
            RETURNING tenant_id, job_type, coalesce(priority, 0::smallint) AS priority
        ), counted AS (
            INSERT INTO job_tallies (tenant_id, hour, job_type, priority, outcome, n)
            SELECT o.tenant_id, $6, o.job_type, o.priority, c.outcome, c.n
            FROM overturned o, (VALUES ('failed_fallback_email', 1), ('complete', -1)) AS c (outcome, n)
        )
        SELECT EXISTS (SELECT FROM overturned) AS "overturned!"
        "#,
        tenant.0,
        job.0,
        now.to_sqlx() as _,
        error,
        category.as_str(),
        hour_of(now).to_sqlx() as _,
    )
    .fetch_one(conn)
    .await
    .map_err(at("overturn a job that was done"))?;
    Ok(overturned)
}
