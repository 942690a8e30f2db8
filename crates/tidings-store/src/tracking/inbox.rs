//! Verified webhooks, kept sealed until a job has applied them.

use crate::seal::{Keyring, TenantKey};
use crate::{Place, Result, StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use std::collections::{HashMap, HashSet};
use tidings_core::{Channel, ConnectionId, DeliveryId, ProviderKind, TenantId};
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
#[derive(Clone)]
pub struct StoredWebhook {
    /// The connection it came to.
    pub connection: ConnectionId,
    /// The connection's provider.
    pub provider: ProviderKind,
    /// The connection's channel; none when it was removed since.
    pub channel: Option<Channel>,
    /// When it came.
    pub received_at: Timestamp,
    id: Uuid,
    tenant: TenantId,
    sealed: Vec<u8>,
    key: TenantKey,
}

impl StoredWebhook {
    /// What it said, as it was stored.
    ///
    /// # Errors
    /// When it is not what was sealed.
    pub fn content(&self) -> Result<Vec<u8>> {
        Ok(self.key.open(&place(self.tenant, self.id), &self.sealed)?)
    }
}

impl std::fmt::Debug for StoredWebhook {
    /// Without what people wrote.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredWebhook")
            .field("connection", &self.connection)
            .field("sealed_bytes", &self.sealed.len())
            .field("received_at", &self.received_at)
            .finish_non_exhaustive()
    }
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
    let rows = sqlx::query_as!(
        Row,
        "SELECT tenant_id, id, provider, channel, config, credentials_sealed FROM connections WHERE id = $1 LIMIT 2",
        id.0
    )
    .fetch_all(conn)
    .await?;
    // Ids are random: two tenants with the same one would be a forgery, and neither is answered.
    let Ok([row]) = <[_; 1]>::try_from(rows) else {
        return Ok(None);
    };
    Ok(Some(row.try_into()?))
}

/// The connection over which an attempt was made, of whatever tenant, where it takes mail at the domain: the only one that can
/// prove the token of an address that names the attempt. In the workers' role.
pub async fn connection_of_attempt(
    conn: &mut PgConnection,
    delivery: DeliveryId,
    attempt_no: i32,
    domain: &str,
) -> Result<Option<WebhookConnection>> {
    let row = sqlx::query_as!(
        Row,
        "SELECT c.tenant_id, c.id, c.provider, c.channel, c.config, c.credentials_sealed FROM connections c
         JOIN attempts a ON a.tenant_id = c.tenant_id AND a.delivery_id = $1 AND a.attempt_no = $2 AND a.connection_id = c.id
         WHERE c.provider = 'smtp' AND (c.config ? 'bounce_domain' AND lower(c.config ->> 'bounce_domain') = $3
             OR c.config ? 'reply_domain' AND lower(c.config ->> 'reply_domain') = $3)
         ORDER BY c.created_at, c.id LIMIT 1",
        delivery.0,
        attempt_no,
        domain.to_ascii_lowercase(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(WebhookConnection::try_from).transpose()
}

/// The connection that takes mail for a sender's own address: the oldest one of the tenant that holds the address. In the
/// workers' role.
pub async fn connection_of_sender(
    conn: &mut PgConnection,
    address: &str,
) -> Result<Option<WebhookConnection>> {
    let row = sqlx::query_as!(
        Row,
        "SELECT c.tenant_id, c.id, c.provider, c.channel, c.config, c.credentials_sealed
         FROM mail_addresses h JOIN connections c ON c.tenant_id = h.tenant_id
         WHERE h.address = $1 AND c.provider = 'smtp' AND c.config ? 'reply_domain'
           AND lower(c.config ->> 'from_email') = h.address AND right(h.address, length(c.config ->> 'reply_domain') + 1) = '@' || lower(c.config ->> 'reply_domain')
         ORDER BY c.created_at, c.id LIMIT 1",
        address.to_ascii_lowercase(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(WebhookConnection::try_from).transpose()
}

/// A connection as its table has it.
pub(super) struct Row {
    pub tenant_id: Uuid,
    pub id: Uuid,
    pub provider: String,
    pub channel: String,
    pub config: serde_json::Value,
    pub credentials_sealed: Option<Vec<u8>>,
}

impl TryFrom<Row> for WebhookConnection {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            target: WebhookTarget {
                tenant: TenantId(row.tenant_id),
                connection: ConnectionId(row.id),
                provider: crate::columns::word("connections.provider", &row.provider)?,
                channel: crate::columns::word("connections.channel", &row.channel)?,
            },
            config: row.config,
            credentials_sealed: row.credentials_sealed,
        })
    }
}

/// A webhook that came.
#[derive(Clone)]
pub struct NewWebhook {
    /// Its id from now on.
    pub id: Uuid,
    /// Where it came to.
    pub target: WebhookTarget,
    /// The same for the same webhook.
    pub digest: Vec<u8>,
    /// What it said.
    pub content: Vec<u8>,
    /// When it came.
    pub received_at: Timestamp,
}

impl std::fmt::Debug for NewWebhook {
    /// Without what people wrote.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewWebhook")
            .field("id", &self.id)
            .field("target", &self.target)
            .field("bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}

/// Stores what webhooks said, sealed under their tenants' keys; gives the ids of those that were not stored already.
pub async fn store(
    conn: &mut PgConnection,
    keyring: &Keyring,
    webhooks: &[NewWebhook],
) -> Result<HashSet<Uuid>> {
    let tenants: Vec<TenantId> = webhooks.iter().map(|one| one.target.tenant).collect();
    let keys = keyring.tenant_keys(&mut *conn, &tenants).await?;
    let mut webhooks: Vec<&NewWebhook> = webhooks.iter().collect();
    // In one order, so that two that store the same ones never wait for each other in a circle.
    webhooks.sort_by(|a, b| {
        let key = |one: &NewWebhook| (one.target.tenant, one.target.connection);
        key(a).cmp(&key(b)).then_with(|| a.digest.cmp(&b.digest))
    });
    let sealed = webhooks
        .iter()
        .map(|one| {
            let tenant = one.target.tenant;
            let key = keys
                .get(&tenant)
                .ok_or_else(|| StoreError::not_found("tenant", tenant))?;
            Ok(key.seal(&place(tenant, one.id), &one.content)?)
        })
        .collect::<Result<Vec<_>>>()?;
    let stored = sqlx::query_scalar!(
        "INSERT INTO webhook_inbox (tenant_id, id, connection_id, provider, digest, sealed, received_at)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bytea[], $6::bytea[], $7::timestamptz[])
         ON CONFLICT (tenant_id, connection_id, digest) DO NOTHING
         RETURNING id",
        &webhooks.iter().map(|one| one.target.tenant.0).collect::<Vec<_>>(),
        &webhooks.iter().map(|one| one.id).collect::<Vec<_>>(),
        &webhooks.iter().map(|one| one.target.connection.0).collect::<Vec<_>>(),
        &webhooks.iter().map(|one| one.target.provider.as_str()).collect::<Vec<_>>() as &[&str],
        &webhooks.iter().map(|one| one.digest.as_slice()).collect::<Vec<_>>() as &[&[u8]],
        &sealed,
        &webhooks.iter().map(|one| one.received_at.to_sqlx()).collect::<Vec<_>>() as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(stored.into_iter().collect())
}

/// A webhook that is not applied yet.
#[derive(Clone, Debug)]
pub enum Loaded {
    /// It is small enough.
    Whole(StoredWebhook),
    /// What it said takes more than was asked for.
    TooLarge,
}

/// Loads a webhook that is not applied yet, and locks it; none when another worker has applied it.
pub async fn load(tx: &mut TenantTx, id: Uuid) -> Result<Option<StoredWebhook>> {
    match load_all(tx, &[id], i32::MAX).await?.remove(&id) {
        Some(Loaded::Whole(webhook)) => Ok(Some(webhook)),
        // No value of a column is larger than asked for here.
        Some(Loaded::TooLarge) | None => Ok(None),
    }
}

/// Loads webhooks that are not applied yet, by their ids, and locks them in order of these; only those whose content takes at most so
/// many bytes, sealed, are whole.
pub async fn load_all(tx: &mut TenantTx, ids: &[Uuid], most_bytes: i32) -> Result<HashMap<Uuid, Loaded>> {
    let tenant = tx.tenant();
    let rows = sqlx::query!(
        r#"SELECT w.id, w.connection_id, w.provider, w.received_at, c.channel AS "channel?",
               CASE WHEN octet_length(w.sealed) <= $3 THEN w.sealed END AS sealed
           FROM webhook_inbox w LEFT JOIN connections c ON c.tenant_id = w.tenant_id AND c.id = w.connection_id
           WHERE w.tenant_id = $1 AND w.id = ANY ($2) AND w.processed_at IS NULL ORDER BY w.id FOR UPDATE OF w"#,
        tenant.0,
        ids,
        most_bytes,
    )
    .fetch_all(&mut **tx)
    .await?;
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let keyring = tx.keyring();
    let key = keyring.tenant_key(&mut *tx, tenant).await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let Some(sealed) = row.sealed else {
            found.insert(row.id, Loaded::TooLarge);
            continue;
        };
        let webhook = StoredWebhook {
            connection: ConnectionId(row.connection_id),
            provider: crate::columns::word("webhook_inbox.provider", &row.provider)?,
            channel: row
                .channel
                .map(|channel| crate::columns::word("connections.channel", &channel))
                .transpose()?,
            received_at: row.received_at.to_jiff(),
            id: row.id,
            tenant,
            sealed,
            key: key.clone(),
        };
        found.insert(row.id, Loaded::Whole(webhook));
    }
    Ok(found)
}

/// Marks webhooks as applied; the texts say what of them could not be.
pub async fn mark_processed(
    tx: &mut TenantTx,
    webhooks: &[(Uuid, Option<String>)],
    now: Timestamp,
) -> Result<()> {
    let ids: Vec<_> = webhooks.iter().map(|one| one.0).collect();
    let failures: Vec<_> = webhooks.iter().map(|one| one.1.as_deref()).collect();
    sqlx::query!(
        "UPDATE webhook_inbox w SET processed_at = $4, failure = i.failure
         FROM unnest($2::uuid[], $3::text[]) AS i(id, failure) WHERE w.tenant_id = $1 AND w.id = i.id",
        tx.tenant().0,
        &ids,
        &failures as _,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

const fn place(tenant: TenantId, id: Uuid) -> Place {
    Place::new("webhook_inbox", "sealed", tenant, id)
}
