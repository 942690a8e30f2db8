//! Finding the contacts of a batch: by the tenants' own ids, by addresses.

use crate::{BlindIndex, Result};
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

/// The contacts that have these addresses, one each: the oldest where several share one. Unknown ones are left out.
pub async fn addresses(
    conn: &mut PgConnection,
    tenant: TenantId,
    wanted: &[BlindIndex],
) -> Result<HashMap<BlindIndex, ContactId>> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let indexes: Vec<_> = wanted.iter().map(|index| index.as_bytes().as_slice()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT DISTINCT ON (a.blind_index) a.blind_index, a.contact_id
        FROM addresses a JOIN contacts c ON c.tenant_id = a.tenant_id AND c.id = a.contact_id
        WHERE a.tenant_id = $1 AND a.blind_index = ANY($2) AND c.erased_at IS NULL
        ORDER BY a.blind_index, a.contact_id
        "#,
        tenant.0,
        &indexes as _,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok((
                BlindIndex::from_column(&row.blind_index)?,
                ContactId(row.contact_id),
            ))
        })
        .collect()
}
