//! The messages of a contact's export: what was sent to it and what it wrote, opened.

use crate::messages::read::{self, MessageFilter};
use crate::tracking::inbound;
use crate::{Place, Result, SealError, StoreError, TenantTx};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use tidings_core::{Channel, ContactId, MessageId, MessageStatus, MessageType};
use uuid::Uuid;

/// Messages read at a time.
const PAGE: i64 = 200;

/// A message to the contact.
#[derive(Clone, Debug, Serialize)]
pub struct ExportedMessage {
    /// Its id.
    pub id: MessageId,
    /// Its type.
    pub message_type: MessageType,
    /// Where it stands.
    pub status: MessageStatus,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When a provider took it.
    pub sent_at: Option<Timestamp>,
    /// When it arrived.
    pub delivered_at: Option<Timestamp>,
    /// When it was opened.
    pub opened_at: Option<Timestamp>,
    /// When a link was clicked.
    pub clicked_at: Option<Timestamp>,
    /// What was asked for (`request`) and what went out (by channel).
    pub contents: BTreeMap<String, serde_json::Value>,
}

/// A message from the contact.
#[derive(Clone, Debug, Serialize)]
pub struct ExportedInbound {
    /// The channel.
    pub channel: Channel,
    /// When it was sent.
    pub occurred_at: Timestamp,
    /// What it said; none when it cannot be read any more.
    pub content: Option<serde_json::Value>,
}

/// Messages to the contact, newest first, at most `limit`; says whether there are more.
pub(super) async fn sent(
    tx: &mut TenantTx,
    contact: ContactId,
    limit: usize,
) -> Result<(Vec<ExportedMessage>, bool)> {
    let tenant = tx.tenant();
    let mut exported = Vec::new();
    let mut below = None;
    while exported.len() < limit {
        let filter = MessageFilter {
            contact: Some(contact),
            below,
            ..MessageFilter::default()
        };
        let rows = read::list(tx, tenant, &filter, PAGE).await?;
        let Some(last) = rows.last() else {
            return Ok((exported, false));
        };
        below = Some(last.id);
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id.0).collect();
        let mut contents = contents_of(tx, contact, &ids).await?;
        exported.extend(rows.into_iter().map(|row| ExportedMessage {
            id: row.id,
            message_type: row.message_type,
            status: row.status,
            accepted_at: row.accepted_at,
            sent_at: row.sent_at,
            delivered_at: row.delivered_at,
            opened_at: row.opened_at,
            clicked_at: row.clicked_at,
            contents: contents.remove(&row.id.0).unwrap_or_default(),
        }));
    }
    Ok((exported, true))
}

/// Messages from the contact, newest first, at most `limit`; says whether there are more.
pub(super) async fn received(
    tx: &mut TenantTx,
    contact: ContactId,
    limit: usize,
) -> Result<(Vec<ExportedInbound>, bool)> {
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let rows = sqlx::query!(
        "SELECT id, channel, sealed, occurred_at FROM inbound_messages
         WHERE tenant_id = $1 AND contact_id = $2 ORDER BY id DESC LIMIT $3",
        tenant.0,
        contact.0,
        limit as i64 + 1,
    )
    .fetch_all(&mut **tx)
    .await?;
    let more = rows.len() > limit;
    let keys = keyring.existing_contact_keys(tx, &[(tenant, contact)]).await?;
    let mut exported = Vec::with_capacity(rows.len().min(limit));
    for row in rows.into_iter().take(limit) {
        let opened = keys
            .get(tenant, contact)
            .and_then(|key| key.open(&inbound::place(tenant, row.id), &row.sealed));
        exported.push(ExportedInbound {
            channel: crate::columns::word("inbound_messages.channel", &row.channel)?,
            occurred_at: row.occurred_at.to_jiff(),
            content: readable(opened)?,
        });
    }
    Ok((exported, more))
}

async fn contents_of(
    tx: &mut TenantTx,
    contact: ContactId,
    messages: &[Uuid],
) -> Result<HashMap<Uuid, BTreeMap<String, serde_json::Value>>> {
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let rows = sqlx::query!(
        "SELECT message_id, part, sealed FROM message_contents WHERE tenant_id = $1 AND message_id = ANY ($2)",
        tenant.0,
        messages,
    )
    .fetch_all(&mut **tx)
    .await?;
    let keys = keyring.existing_contact_keys(tx, &[(tenant, contact)]).await?;
    let mut found: HashMap<Uuid, BTreeMap<String, serde_json::Value>> =
        HashMap::with_capacity(messages.len());
    for row in rows {
        let place = content_place(tx, &row.part, row.message_id)?;
        let opened = keys
            .get(tenant, contact)
            .and_then(|key| key.open(&place, &row.sealed));
        if let Some(content) = readable(opened)? {
            found.entry(row.message_id).or_default().insert(row.part, content);
        }
    }
    Ok(found)
}

/// A part's place is its name: `request`, or a channel.
fn content_place(tx: &TenantTx, part: &str, message: Uuid) -> Result<Place> {
    let column = if part == "request" {
        "request"
    } else {
        crate::columns::word::<Channel>("message_contents.part", part)?.as_str()
    };
    Ok(Place::new("message_contents", column, tx.tenant(), message))
}

/// JSON as it is, other content as text; nothing when the contact was erased.
fn readable(opened: Result<Vec<u8>, SealError>) -> Result<Option<serde_json::Value>, StoreError> {
    match opened {
        Ok(bytes) => {
            let text = || serde_json::Value::String(String::from_utf8_lossy(&bytes).into_owned());
            Ok(Some(serde_json::from_slice(&bytes).unwrap_or_else(|_| text())))
        }
        Err(SealError::Erased(_) | SealError::NoKey(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
