//! Which deliveries may have reached their recipient: asked before a person has one sent again.

use crate::Result;
use sqlx::PgConnection;
use std::collections::HashSet;
use tidings_core::{DeliveryId, TenantId};

/// Of the deliveries, those with an attempt that was accepted or whose outcome nobody knows.
pub async fn perhaps_sent(
    conn: &mut PgConnection,
    tenant: TenantId,
    deliveries: &[DeliveryId],
) -> Result<HashSet<DeliveryId>> {
    let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.0).collect();
    let found = sqlx::query_scalar!(
        "SELECT DISTINCT delivery_id FROM attempts
         WHERE tenant_id = $1 AND delivery_id = ANY($2) AND outcome IN ('intended', 'accepted', 'unknown')",
        tenant.0,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().map(DeliveryId).collect())
}
