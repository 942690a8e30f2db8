//! Messages from contacts.

use crate::{BlindIndex, Place, Result, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use tidings_core::{Channel, ConnectionId, ContactId, MessageId, TenantId};
use uuid::Uuid;

/// A message from a contact, to be stored.
#[derive(Clone)]
pub struct NewInbound {
    /// Its id.
    pub id: Uuid,
    /// Who wrote, where the address is known.
    pub contact: Option<ContactId>,
    /// Over which connection it came.
    pub connection: ConnectionId,
    /// By which channel.
    pub channel: Channel,
    /// The same for the same message.
    pub dedupe_key: String,
    /// Of the sender's address.
    pub from_index: BlindIndex,
    /// Everything it said, as JSON.
    pub content: Vec<u8>,
    /// The provider's id of it.
    pub provider_message_id: Option<String>,
    /// The message it answers.
    pub in_reply_to: Option<MessageId>,
    /// The keyword it was (`opt_out`, `opt_in`, `help`).
    pub keyword: Option<&'static str>,
    /// An automatic answer.
    pub automatic: bool,
    /// When it was sent.
    pub occurred_at: Timestamp,
}

impl std::fmt::Debug for NewInbound {
    /// Without what the contact wrote.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewInbound")
            .field("id", &self.id)
            .field("connection", &self.connection)
            .field("channel", &self.channel)
            .field("bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}

/// Stores it; false when it is stored already.
pub async fn insert(tx: &mut TenantTx, message: &NewInbound, now: Timestamp) -> Result<bool> {
    let tenant = tx.tenant();
    let keyring = tx.keyring();
    let place = Place::new("inbound_messages", "sealed", tenant, message.id);
    let sealed = match message.contact {
        // Under the contact's key, so that erasing the contact erases it.
        Some(contact) => {
            let keys = keyring.contact_keys(&mut *tx, &[(tenant, contact)], now).await?;
            keys.get(tenant, contact)?.seal(&place, &message.content)?
        }
        None => keyring
            .tenant_key(&mut *tx, tenant)
            .await?
            .seal(&place, &message.content)?,
    };
    let stored = sqlx::query!(
        "INSERT INTO inbound_messages (tenant_id, id, contact_id, connection_id, channel, dedupe_key, from_index, sealed,
             provider_message_id, in_reply_to, keyword, automatic, occurred_at, received_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT (tenant_id, connection_id, dedupe_key) DO NOTHING",
        tenant.0,
        message.id,
        message.contact.map(|id| id.0),
        message.connection.0,
        message.channel.as_str(),
        message.dedupe_key,
        message.from_index.as_bytes().as_slice(),
        sealed,
        message.provider_message_id,
        message.in_reply_to.map(|id| id.0),
        message.keyword,
        message.automatic,
        message.occurred_at.to_sqlx() as _,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(stored.rows_affected() == 1)
}

/// What a provider must know to be told of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundReference {
    /// Over which connection it came.
    pub connection: ConnectionId,
    /// The provider's id of it.
    pub provider_message_id: Option<String>,
    /// When the sender was told that it was read.
    pub read_at: Option<Timestamp>,
}

/// How a message is told of at its provider; none where the tenant has no such message.
pub async fn reference(tx: &mut TenantTx, id: Uuid) -> Result<Option<InboundReference>> {
    let row = sqlx::query!(
        "SELECT connection_id, provider_message_id, read_at FROM inbound_messages WHERE tenant_id = $1 AND id = $2",
        tx.tenant().0,
        id,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| InboundReference {
        connection: ConnectionId(row.connection_id),
        provider_message_id: row.provider_message_id,
        read_at: row.read_at.map(jiff_sqlx::Timestamp::to_jiff),
    }))
}

/// Notes that the sender was told that a message was read; the first time counts.
pub async fn mark_read(tx: &mut TenantTx, id: Uuid, now: Timestamp) -> Result<()> {
    sqlx::query!(
        "UPDATE inbound_messages SET read_at = coalesce(read_at, $3) WHERE tenant_id = $1 AND id = $2",
        tx.tenant().0,
        id,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Where an inbound message is sealed.
pub const fn place(tenant: TenantId, id: Uuid) -> Place {
    Place::new("inbound_messages", "sealed", tenant, id)
}
