//! Whose mail a sender's own address takes. Nothing in such an address proves whose it is, so one tenant holds it: the first that
//! names it as the sender of a connection with a reply domain, for as long as it has such a connection.

use crate::connections::ConnectionSettings;
use crate::{Result, StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use tidings_core::ProviderKind;

/// Holds the address that a connection takes mail for, before the connection is written.
///
/// # Errors
/// [`StoreError::Conflict`] when another tenant holds it.
pub(crate) async fn hold(tx: &mut TenantTx, settings: &ConnectionSettings, now: Timestamp) -> Result<()> {
    let Some(address) = address_of(settings) else {
        return Ok(());
    };
    if address.chars().count() > 320 {
        return Err(StoreError::invalid("config.from_email", "at most 320 characters"));
    }
    sqlx::query!(
        "INSERT INTO mail_addresses (tenant_id, address, held_since) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        tx.tenant().0,
        address,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    let ours = sqlx::query_scalar!(
        "SELECT EXISTS (SELECT FROM mail_addresses WHERE tenant_id = $1 AND address = $2) AS \"ours!\"",
        tx.tenant().0,
        address,
    )
    .fetch_one(&mut **tx)
    .await?;
    if ours {
        return Ok(());
    }
    let what = format!(
        "mail for {address} is taken by another tenant of this installation; leave reply_domain out, or give it a domain of your own"
    );
    Err(StoreError::Conflict { what })
}

/// Gives up what no connection of the tenant takes mail for any more, after connections were written.
pub(crate) async fn release(tx: &mut TenantTx) -> Result<()> {
    sqlx::query!(
        "DELETE FROM mail_addresses h WHERE h.tenant_id = $1 AND NOT EXISTS (
             SELECT FROM connections c
             WHERE c.tenant_id = h.tenant_id AND c.provider = 'smtp' AND lower(c.config ->> 'from_email') = h.address
               AND right(h.address, length(c.config ->> 'reply_domain') + 1) = '@' || lower(c.config ->> 'reply_domain'))",
        tx.tenant().0,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The sender's own address, where it lies at the connection's reply domain.
fn address_of(settings: &ConnectionSettings) -> Option<String> {
    if settings.provider != ProviderKind::Smtp {
        return None;
    }
    let text = |field: &str| settings.config.get(field).and_then(serde_json::Value::as_str);
    let (address, domain) = (text("from_email")?, text("reply_domain")?);
    let (_, at) = address.rsplit_once('@')?;
    at.eq_ignore_ascii_case(domain)
        .then(|| address.to_ascii_lowercase())
}
