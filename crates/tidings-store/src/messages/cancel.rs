//! Withdrawing a message: only while nothing has begun to leave.

use crate::Result;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use tidings_core::{JobId, MessageId, TenantId};

/// What became of a cancellation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It is withdrawn; these jobs have nothing left to do.
    Done {
        /// The jobs that carried it.
        jobs: Vec<JobId>,
    },
    /// The tenant has no such message.
    NotFound,
    /// A call to a provider has begun, or it has ended already; the status as it is.
    TooLate {
        /// Its status.
        status: String,
    },
}

/// Withdraws a message and stops its deliveries. A dispatch and a cancellation meet on the delivery's row: one wins. One
/// that waits to be repeated may have arrived: it is too late for that.
pub async fn cancel(
    conn: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
    now: Timestamp,
) -> Result<Cancelled> {
    // Deliveries first, then the message: the same order as a dispatch takes.
    let stopped = sqlx::query_scalar!(
        r#"
        UPDATE deliveries SET state = 'stopped', last_error = 'cancelled', updated_at = $3
        WHERE tenant_id = $1 AND message_id = $2 AND state IN ('queued', 'retry_wait') AND reference IS NULL
        RETURNING job_id
        "#,
        tenant.0,
        message.0,
        now.to_sqlx() as _,
    )
    .fetch_all(&mut *conn)
    .await?;
    let row = sqlx::query!(
        r#"
        SELECT m.status, EXISTS (
            SELECT 1 FROM deliveries d WHERE d.tenant_id = m.tenant_id AND d.message_id = m.id
                AND d.state NOT IN ('stopped', 'failed', 'dropped')) AS "busy!"
        FROM messages m WHERE m.tenant_id = $1 AND m.id = $2 FOR NO KEY UPDATE OF m
        "#,
        tenant.0,
        message.0,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else {
        return Ok(Cancelled::NotFound);
    };
    if row.busy || !matches!(row.status.as_str(), "pending" | "queued") {
        return Ok(Cancelled::TooLate { status: row.status });
    }
    sqlx::query!(
        r#"
        UPDATE messages SET status = 'cancelled', status_provenance = 'inferred', waits_for = NULL, planned_at = NULL,
            ended_because = 'cancelled'
        WHERE tenant_id = $1 AND id = $2
        "#,
        tenant.0,
        message.0,
    )
    .execute(conn)
    .await?;
    Ok(Cancelled::Done {
        jobs: stopped.into_iter().flatten().map(JobId).collect(),
    })
}
