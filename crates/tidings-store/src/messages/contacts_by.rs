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
    wanted: &[(TenantId, BlindIndex)],
) -> Result<HashMap<(TenantId, BlindIndex), ContactId>> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let tenants: Vec<_> = wanted.iter().map(|(tenant, _)| tenant.0).collect();
    let indexes: Vec<_> = wanted
        .iter()
        .map(|(_, index)| index.as_bytes().as_slice())
        .collect();
    let rows = sqlx::query!(
        r#"
        SELECT DISTINCT ON (a.tenant_id, a.blind_index) a.tenant_id, a.blind_index, a.contact_id
        FROM unnest($1::uuid[], $2::bytea[]) AS i(tenant_id, blind_index)
        JOIN addresses a ON a.tenant_id = i.tenant_id AND a.blind_index = i.blind_index
        JOIN contacts c ON c.tenant_id = a.tenant_id AND c.id = a.contact_id
        WHERE c.erased_at IS NULL
        ORDER BY a.tenant_id, a.blind_index, a.contact_id
        "#,
        &tenants,
        &indexes as _,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let index = BlindIndex::from_column(&row.blind_index)?;
            Ok(((TenantId(row.tenant_id), index), ContactId(row.contact_id)))
        })
        .collect()
}

/// Removes contacts that this transaction made and nothing refers to: their requests came to nothing. Their addresses and
/// keys go with them.
pub async fn unmake(conn: &mut PgConnection, made: &[(TenantId, ContactId)]) -> Result<()> {
    if made.is_empty() {
        return Ok(());
    }
    let tenants: Vec<_> = made.iter().map(|(tenant, _)| tenant.0).collect();
    let ids: Vec<_> = made.iter().map(|(_, contact)| contact.0).collect();
    sqlx::query!(
        r#"
        DELETE FROM contacts c USING unnest($1::uuid[], $2::uuid[]) AS i(tenant_id, contact_id)
        WHERE c.tenant_id = i.tenant_id AND c.id = i.contact_id
            AND NOT EXISTS (SELECT FROM messages m WHERE m.tenant_id = c.tenant_id AND m.contact_id = c.id)
        "#,
        &tenants,
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}
