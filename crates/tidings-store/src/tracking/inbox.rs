//! Verified webhooks, kept sealed until a job has applied them.

use crate::{Place, Result, StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use tidings_core::{Channel, ConnectionId, ProviderKind, TenantId};
use uuid::Uuid;

/// What a webhook's URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookTarget {
    /// Whose connection.
    pub tenant: TenantId,
    /// The connection.
    pub connection: ConnectionId,
    /// Its provider.
    pub provider: ProviderKind,
    /// Its channel.
    pub channel: Channel,
}

/// A webhook out of the inbox.
#[derive(Clone, Debug)]
pub struct StoredWebhook {
    /// The connection it came to.
    pub connection: ConnectionId,
    /// The connection's provider.
    pub provider: ProviderKind,
    /// What it said, as it was stored.
    pub content: Vec<u8>,
    /// When it came.
    pub received_at: Timestamp,
}

/// The connection of a webhook's URL with what its provider is built from.
#[derive(Clone, Debug)]
pub struct WebhookConnection {
    /// What the URL names.
    pub target: WebhookTarget,
    /// What may be shown of its configuration.
    pub config: serde_json::Value,
    /// Its credentials, sealed under the tenant's key.
    pub credentials_sealed: Option<Vec<u8>>,
}

/// The connection of a webhook's URL, enabled or not: providers still speak of what it sent before it was disabled. The
/// tenant is not known before. In the workers' role.
pub async fn connection(conn: &mut PgConnection, id: ConnectionId) -> Result<Option<WebhookConnection>> {
    let rows = sqlx::query!(
        "SELECT tenant_id, provider, channel, config, credentials_sealed FROM connections WHERE id = $1 LIMIT 2",
        id.0
    )
    .fetch_all(conn)
    .await?;
    // Ids are random: two tenants with the same one would be a forgery, and neither is answered.
    let Ok([row]) = <[_; 1]>::try_from(rows) else {
        return Ok(None);
    };
    Ok(Some(WebhookConnection {
        target: WebhookTarget {
            tenant: TenantId(row.tenant_id),
            connection: id,
            provider: crate::columns::word("connections.provider", &row.provider)?,
            channel: crate::columns::word("connections.channel", &row.channel)?,
        },
        config: row.config,
        credentials_sealed: row.credentials_sealed,
    }))
}

/// Connections asked about one address; more take mail for no domain.
const MOST_OF_A_DOMAIN: i64 = 500;

/// The connections, of any tenant, that take bounces or answers at a domain, the newest first. Which of them an address
/// belongs to, its token proves. In the workers' role.
pub async fn connections_at(conn: &mut PgConnection, domain: &str) -> Result<Vec<WebhookConnection>> {
    let rows = sqlx::query!(
        "SELECT tenant_id, id, provider, channel, config, credentials_sealed FROM connections
         WHERE provider = 'smtp' AND (config ? 'bounce_domain' AND lower(config ->> 'bounce_domain') = $1
             OR config ? 'reply_domain' AND lower(config ->> 'reply_domain') = $1)
         ORDER BY created_at DESC LIMIT $2",
        domain.to_lowercase(),
        MOST_OF_A_DOMAIN,
    )
    .fetch_all(conn)
    .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        found.push(WebhookConnection {
            target: WebhookTarget {
                tenant: TenantId(row.tenant_id),
                connection: ConnectionId(row.id),
                provider: crate::columns::word("connections.provider", &row.provider)?,
                channel: crate::columns::word("connections.channel", &row.channel)?,
            },
            config: row.config,
            credentials_sealed: row.credentials_sealed,
        });
    }
    Ok(found)
}

/// Stores what a webhook said; none when the same webhook is stored already.
pub async fn store(
    tx: &mut TenantTx,
    id: Uuid,
    target: &WebhookTarget,
    digest: &[u8],
    content: &[u8],
    now: Timestamp,
) -> Result<Option<Uuid>> {
    let keyring = tx.keyring();
    let tenant = tx.tenant();
    let key = keyring.tenant_key(&mut *tx, tenant).await?;
    let sealed = key.seal(&place(tenant, id), content)?;
    let stored = sqlx::query_scalar!(
        "INSERT INTO webhook_inbox (tenant_id, id, connection_id, provider, digest, sealed, received_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (tenant_id, connection_id, digest) DO NOTHING
         RETURNING id",
        tenant.0,
        id,
        target.connection.0,
        target.provider.as_str(),
        digest,
        sealed,
        now.to_sqlx() as _,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(stored)
}

/// Loads a webhook that is not applied yet, and locks it; none when another worker has applied it.
pub async fn load(tx: &mut TenantTx, id: Uuid) -> Result<Option<StoredWebhook>> {
    let tenant = tx.tenant();
    let row = sqlx::query!(
        "SELECT connection_id, provider, sealed, received_at FROM webhook_inbox
         WHERE tenant_id = $1 AND id = $2 AND processed_at IS NULL FOR UPDATE",
        tenant.0,
        id,
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let keyring = tx.keyring();
    let key = keyring.tenant_key(&mut *tx, tenant).await?;
    Ok(Some(StoredWebhook {
        connection: ConnectionId(row.connection_id),
        provider: crate::columns::word("webhook_inbox.provider", &row.provider)?,
        content: key
            .open(&place(tenant, id), &row.sealed)
            .map_err(StoreError::from)?,
        received_at: row.received_at.to_jiff(),
    }))
}

/// Marks a webhook as applied; `failure` says what of it could not be.
pub async fn mark_processed(
    tx: &mut TenantTx,
    id: Uuid,
    failure: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    sqlx::query!(
        "UPDATE webhook_inbox SET processed_at = $3, failure = $4 WHERE tenant_id = $1 AND id = $2",
        tx.tenant().0,
        id,
        now.to_sqlx() as _,
        failure,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

const fn place(tenant: TenantId, id: Uuid) -> Place {
    Place::new("webhook_inbox", "sealed", tenant, id)
}
