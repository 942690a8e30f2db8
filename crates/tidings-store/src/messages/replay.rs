//! Dead letters of sends, put back: which of them might arrive twice, and their deliveries reset.

use crate::Result;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use std::collections::HashSet;
use tidings_core::{DeliveryId, TenantId};

/// Deliveries whose message may already have arrived: an attempt of it was accepted, or nobody knows.
pub async fn may_have_arrived(
    conn: &mut PgConnection,
    deliveries: &[(TenantId, DeliveryId)],
) -> Result<HashSet<DeliveryId>> {
    let tenants: Vec<_> = deliveries.iter().map(|pair| pair.0.0).collect();
    let ids: Vec<_> = deliveries.iter().map(|pair| pair.1.0).collect();
    let found = sqlx::query_scalar!(
        r#"SELECT DISTINCT d.id
           FROM unnest($1::uuid[], $2::uuid[]) AS i(tenant_id, delivery_id)
           JOIN deliveries d ON d.tenant_id = i.tenant_id AND d.id = i.delivery_id
           JOIN deliveries other ON other.tenant_id = d.tenant_id AND other.message_id = d.message_id
           JOIN attempts a ON a.tenant_id = other.tenant_id AND a.delivery_id = other.id
           WHERE a.outcome IN ('accepted', 'unknown', 'intended')"#,
        &tenants,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().map(DeliveryId).collect())
}

/// Puts given-up deliveries and their messages back in line, for a job that is replayed. An operator's word: the one
/// way on which a message leaves `failed` without news from outside.
pub async fn reset(
    conn: &mut PgConnection,
    deliveries: &[(TenantId, DeliveryId)],
    now: Timestamp,
) -> Result<()> {
    let tenants: Vec<_> = deliveries.iter().map(|pair| pair.0.0).collect();
    let ids: Vec<_> = deliveries.iter().map(|pair| pair.1.0).collect();
    sqlx::query!(
        r#"WITH again AS (
               UPDATE deliveries d
               SET state = 'queued', last_error = NULL, error_category = NULL, resolve_after = NULL, updated_at = $3
               FROM unnest($1::uuid[], $2::uuid[]) AS i(tenant_id, delivery_id)
               WHERE d.tenant_id = i.tenant_id AND d.id = i.delivery_id AND d.state IN ('failed', 'dropped', 'retry_wait')
               RETURNING d.tenant_id, d.message_id
           )
           UPDATE messages m
           SET status = 'queued', status_provenance = 'inferred', failed_at = NULL, ended_because = NULL, queued_at = $3
           FROM again WHERE m.tenant_id = again.tenant_id AND m.id = again.message_id AND m.status = 'failed'"#,
        &tenants,
        &ids,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}
