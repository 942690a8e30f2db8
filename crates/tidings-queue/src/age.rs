//! How long due work has been waiting, by tenant.

use crate::error::{QueueError, at};
use jiff::{SignedDuration, Timestamp};
use sqlx::PgConnection;
use std::collections::HashMap;
use tidings_core::TenantId;
use tidings_core::job::rank_due_ms;
use uuid::Uuid;

/// How long the oldest due job of each tenant has been waiting; those without one are left out. One look at the index for
/// each tenant: the first in line, which is the oldest but for jobs of lower priority.
///
/// # Errors
/// When the database refuses.
pub async fn oldest_age(
    conn: &mut PgConnection,
    tenants: &[TenantId],
    now: Timestamp,
) -> Result<HashMap<TenantId, SignedDuration>, QueueError> {
    let ids: Vec<Uuid> = tenants.iter().map(|tenant| tenant.0).collect();
    let rows = sqlx::query!(
        r#"
        SELECT t.id AS "tenant!", first.priority AS "priority!", first.rank AS "rank!"
        FROM unnest($1::uuid[]) AS t (id)
        CROSS JOIN LATERAL (
            SELECT priority, rank FROM job_ready WHERE tenant_id = t.id ORDER BY rank, first_id LIMIT 1) first
        "#,
        &ids,
    )
    .fetch_all(conn)
    .await
    .map_err(at("look for the oldest due jobs"))?;
    let ages = rows.into_iter().map(|row| {
        let waited = now
            .as_millisecond()
            .saturating_sub(rank_due_ms(row.priority, row.rank));
        (TenantId(row.tenant), SignedDuration::from_millis(waited.max(0)))
    });
    Ok(ages.collect())
}
