//! Finding the contacts of a batch by the tenants' own ids.

use crate::Result;
use sqlx::PgConnection;
use std::collections::HashMap;
use tidings_core::{ContactId, TenantId};

/// The contacts with these external ids; unknown ones are left out.
pub async fn external_ids(
    conn: &mut PgConnection,
    wanted: &[(TenantId, String)],
) -> Result<HashMap<(TenantId, String), ContactId>> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let tenants: Vec<_> = wanted.iter().map(|(tenant, _)| tenant.0).collect();
    let ids: Vec<_> = wanted.iter().map(|(_, id)| id.as_str()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT c.tenant_id, c.external_id AS "external_id!", c.id
        FROM unnest($1::uuid[], $2::text[]) AS i(tenant_id, external_id)
        JOIN contacts c ON c.tenant_id = i.tenant_id AND c.external_id = i.external_id
        "#,
        &tenants,
        &ids as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ((TenantId(row.tenant_id), row.external_id), ContactId(row.id)))
        .collect())
}
