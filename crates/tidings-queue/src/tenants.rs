//! Which tenants have due work.

use crate::error::{QueueError, at};
use jiff::Timestamp;
use sqlx::PgConnection;
use tidings_core::TenantId;

/// Pages through the tenants with due work by a loose index scan: one index probe a tenant, however much is due.
#[derive(Debug, Default)]
pub struct ReadyTenants {
    after: Option<TenantId>,
    read_at: Option<Timestamp>,
}

impl ReadyTenants {
    pub(crate) fn is_stale(&self, now: Timestamp, refresh_ms: i64) -> bool {
        self.read_at
            .is_none_or(|at| now.as_millisecond().saturating_sub(at.as_millisecond()) >= refresh_ms)
    }

    /// The next `limit` tenants with due work; begins again after the last.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn next_page(
        &mut self,
        conn: &mut PgConnection,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<TenantId>, QueueError> {
        self.read_at = Some(now);
        let mut page = ready_tenants(conn, self.after, limit).await?;
        let full = |page: &[TenantId]| page.len() >= limit as usize;
        if self.after.is_some() && !full(&page) {
            let rest = limit - page.len() as u32;
            page.extend(ready_tenants(conn, None, rest).await?);
            self.after = None;
        }
        self.after = if full(&page) { page.last().copied() } else { None };
        Ok(page)
    }
}

async fn ready_tenants(
    conn: &mut PgConnection,
    after: Option<TenantId>,
    limit: u32,
) -> Result<Vec<TenantId>, QueueError> {
    let rows = sqlx::query_scalar!(
        r#"
        WITH RECURSIVE due AS (
            (SELECT r.tenant_id FROM job_ready r
             WHERE r.tenant_id >= coalesce($1::uuid, '00000000-0000-0000-0000-000000000000') AND r.tenant_id IS DISTINCT FROM $1
             ORDER BY r.tenant_id LIMIT 1)
            UNION ALL
            SELECT (SELECT r.tenant_id FROM job_ready r WHERE r.tenant_id > due.tenant_id ORDER BY r.tenant_id LIMIT 1)
            FROM due WHERE due.tenant_id IS NOT NULL
        )
        SELECT tenant_id AS "tenant_id!" FROM due WHERE tenant_id IS NOT NULL LIMIT $2
        "#,
        after.map(|tenant| tenant.0),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await
    .map_err(at("list tenants with due jobs"))?;
    Ok(rows.into_iter().map(TenantId).collect())
}
