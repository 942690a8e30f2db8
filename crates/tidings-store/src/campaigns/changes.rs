//! What a tenant changes about built-in campaigns, and campaigns of its own.

use crate::{Result, StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::PgConnection;
use tidings_core::campaign::CampaignName;
use tidings_core::{MessageType, TenantId};

/// The most campaigns a tenant may name.
const CAMPAIGNS_LIMIT: usize = 200;
/// The largest definition, in bytes of JSON.
const DEFINITION_LIMIT: usize = 65_536;

/// A tenant's word on a campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredCampaign {
    /// The campaign.
    pub name: CampaignName,
    /// A whole definition of the tenant's; else changes to the built-in one.
    pub own: bool,
    /// The definition or the changes, as JSON.
    pub definition: Value,
}

/// What the tenant says of campaigns, in order of their names.
///
/// # Errors
/// When the database refuses.
pub async fn list(tx: &mut TenantTx) -> Result<Vec<StoredCampaign>> {
    let rows = sqlx::query!(
        "SELECT name, own, definition FROM campaigns WHERE tenant_id = $1 ORDER BY name",
        tx.tenant().0
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            let name = CampaignName::parse(&row.name)
                .map_err(|error| StoreError::invalid("campaigns.name", error.to_string()))?;
            Ok(StoredCampaign {
                name,
                own: row.own,
                definition: row.definition,
            })
        })
        .collect()
}

/// Replaces everything the tenant says of campaigns. `ask` are the message types whose campaigns want a person's yes.
///
/// # Errors
/// [`StoreError::Invalid`] when there are too many or one is too large.
pub async fn put(
    tx: &mut TenantTx,
    campaigns: &[StoredCampaign],
    ask: &[MessageType],
    now: Timestamp,
) -> Result<()> {
    if campaigns.len() > CAMPAIGNS_LIMIT {
        return Err(StoreError::invalid(
            "campaigns",
            format!("at most {CAMPAIGNS_LIMIT}"),
        ));
    }
    if let Some(large) = campaigns
        .iter()
        .find(|campaign| campaign.definition.to_string().len() > DEFINITION_LIMIT)
    {
        let problem = format!(
            "the definition of {} has more than {DEFINITION_LIMIT} bytes",
            large.name
        );
        return Err(StoreError::invalid("campaigns", problem));
    }
    let names: Vec<String> = campaigns
        .iter()
        .map(|campaign| campaign.name.to_string())
        .collect();
    let own: Vec<bool> = campaigns.iter().map(|campaign| campaign.own).collect();
    let definitions: Vec<Value> = campaigns
        .iter()
        .map(|campaign| campaign.definition.clone())
        .collect();
    let asked: Vec<String> = ask.iter().map(ToString::to_string).collect();
    let tenant = tx.tenant().0;
    sqlx::query!(
        "DELETE FROM campaigns WHERE tenant_id = $1 AND name <> ALL ($2::text[])",
        tenant,
        &names
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "INSERT INTO campaigns (tenant_id, name, own, definition, created_at, updated_at)
         SELECT $1, name, own, definition, $5, $5
         FROM unnest($2::text[], $3::bool[], $4::jsonb[]) AS given (name, own, definition)
         ON CONFLICT (tenant_id, name) DO UPDATE SET own = excluded.own, definition = excluded.definition,
             updated_at = excluded.updated_at",
        tenant,
        &names,
        &own,
        &definitions,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "UPDATE tenants SET approval_campaign_types = $2, updated_at = $3 WHERE id = $1",
        tenant,
        &asked,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Active tenants with a source that is looked at, whose source, settings or campaigns changed at or after an instant; all
/// of them when none is given. Wants the workers' pool.
///
/// # Errors
/// When the database refuses.
pub async fn changed_since(conn: &mut PgConnection, since: Option<Timestamp>) -> Result<Vec<TenantId>> {
    let tenants = sqlx::query_scalar!(
        "SELECT s.tenant_id FROM sources s JOIN tenants t ON t.id = s.tenant_id
         WHERE s.enabled AND t.status = 'active'
             AND ($1::timestamptz IS NULL OR greatest(s.updated_at, t.updated_at) >= $1)
         ORDER BY s.tenant_id",
        since.map(ToSqlx::to_sqlx) as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(tenants.into_iter().map(TenantId).collect())
}
