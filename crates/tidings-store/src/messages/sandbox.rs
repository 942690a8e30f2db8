//! The sandbox's ledger: a row for every accept, duplicates included and flagged.

use super::words::word;
use crate::Result;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use tidings_core::event::DeliveryEventKind;
use tidings_core::{Channel, ConnectionId, TenantId};
use uuid::Uuid;

/// A message the sandbox took.
#[derive(Clone, Debug)]
pub struct SandboxEntry {
    /// Whose.
    pub tenant: TenantId,
    /// The entry's id.
    pub id: Uuid,
    /// Over which connection.
    pub connection: ConnectionId,
    /// The submission's reference.
    pub reference: String,
    /// The message's id, as submitted.
    pub message_id: String,
    /// The id the sandbox would give it.
    pub provider_message_id: String,
    /// Its channel.
    pub channel: Channel,
    /// Blind index of the recipient.
    pub recipient_index: Vec<u8>,
    /// Recipient and content, sealed under the tenant's key.
    pub sealed: Vec<u8>,
    /// What is to be reported later.
    pub follow_up: Option<(String, Timestamp)>,
}

/// The answer to an accept.
#[derive(Clone, Debug)]
pub struct SandboxTaken {
    /// The id the reference was first taken under.
    pub provider_message_id: String,
    /// It had been taken before.
    pub duplicate: bool,
}

/// Takes messages, in order. A reference taken before, here or in an earlier call, is a counted duplicate and gets the
/// first id.
pub async fn take(
    conn: &mut PgConnection,
    entries: &[SandboxEntry],
    now: Timestamp,
) -> Result<Vec<SandboxTaken>> {
    let mut first = earlier(conn, entries).await?;
    let mut answers = Vec::with_capacity(entries.len());
    for entry in entries {
        let key = (entry.connection, entry.reference.clone());
        let known = first.get(&key).cloned();
        let taken = SandboxTaken {
            duplicate: known.is_some(),
            provider_message_id: known.unwrap_or_else(|| entry.provider_message_id.clone()),
        };
        first
            .entry(key)
            .or_insert_with(|| taken.provider_message_id.clone());
        answers.push(taken);
    }
    insert(conn, entries, &answers, now).await?;
    Ok(answers)
}

async fn earlier(
    conn: &mut PgConnection,
    entries: &[SandboxEntry],
) -> Result<std::collections::HashMap<(ConnectionId, String), String>> {
    let tenants: Vec<_> = entries.iter().map(|entry| entry.tenant.0).collect();
    let connections: Vec<_> = entries.iter().map(|entry| entry.connection.0).collect();
    let references: Vec<_> = entries.iter().map(|entry| entry.reference.as_str()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT DISTINCT ON (s.connection_id, s.reference) s.connection_id, s.reference, s.provider_message_id
        FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS i(tenant_id, connection_id, reference)
        JOIN sandbox_messages s ON s.tenant_id = i.tenant_id AND s.connection_id = i.connection_id
            AND s.reference = i.reference
        ORDER BY s.connection_id, s.reference, s.captured_at, s.id
        "#,
        &tenants,
        &connections,
        &references as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            (
                (ConnectionId(row.connection_id), row.reference),
                row.provider_message_id,
            )
        })
        .collect())
}

async fn insert(
    conn: &mut PgConnection,
    entries: &[SandboxEntry],
    answers: &[SandboxTaken],
    now: Timestamp,
) -> Result<()> {
    let tenants: Vec<_> = entries.iter().map(|entry| entry.tenant.0).collect();
    let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
    let connections: Vec<_> = entries.iter().map(|entry| entry.connection.0).collect();
    let references: Vec<_> = entries.iter().map(|entry| entry.reference.as_str()).collect();
    let messages: Vec<_> = entries.iter().map(|entry| entry.message_id.as_str()).collect();
    let provider_ids: Vec<_> = answers
        .iter()
        .map(|answer| answer.provider_message_id.as_str())
        .collect();
    let channels: Vec<_> = entries.iter().map(|entry| entry.channel.as_str()).collect();
    let indexes: Vec<_> = entries
        .iter()
        .map(|entry| entry.recipient_index.as_slice())
        .collect();
    let sealed: Vec<_> = entries.iter().map(|entry| entry.sealed.as_slice()).collect();
    let duplicates: Vec<_> = answers.iter().map(|answer| answer.duplicate).collect();
    let follow_ups: Vec<_> = entries
        .iter()
        .map(|entry| entry.follow_up.as_ref().map(|(kind, _)| kind.as_str()))
        .collect();
    let follow_up_at: Vec<_> = entries
        .iter()
        .map(|entry| entry.follow_up.as_ref().map(|(_, at)| at.to_sqlx()))
        .collect();
    sqlx::query!(
        r#"
        INSERT INTO sandbox_messages (tenant_id, id, connection_id, reference, message_id, provider_message_id, channel,
            recipient_index, sealed, duplicate, captured_at, follow_up, follow_up_at)
        SELECT tenant_id, id, connection_id, reference, message_id, provider_message_id, channel, recipient_index,
            sealed, duplicate, $13, follow_up, CASE WHEN duplicate THEN NULL ELSE follow_up_at END
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[],
            $9::bytea[], $10::boolean[], $11::text[], $12::timestamptz[])
            AS i(tenant_id, id, connection_id, reference, message_id, provider_message_id, channel, recipient_index,
                 sealed, duplicate, follow_up, follow_up_at)
        "#,
        &tenants,
        &ids,
        &connections,
        &references as _,
        &messages as _,
        &provider_ids as _,
        &channels as _,
        &indexes as _,
        &sealed as _,
        &duplicates,
        &follow_ups as _,
        &follow_up_at as _,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The id a reference was first taken under.
pub async fn look_up(
    conn: &mut PgConnection,
    tenant: TenantId,
    connection: ConnectionId,
    reference: &str,
) -> Result<Option<String>> {
    let id = sqlx::query_scalar!(
        r#"
        SELECT provider_message_id FROM sandbox_messages
        WHERE tenant_id = $1 AND connection_id = $2 AND reference = $3 ORDER BY captured_at, id LIMIT 1
        "#,
        tenant.0,
        connection.0,
        reference,
    )
    .fetch_optional(conn)
    .await?;
    Ok(id)
}

/// How much a tenant's sandbox took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SandboxCount {
    /// Different references.
    pub messages: i64,
    /// Accepts of a reference that had been taken before.
    pub duplicates: i64,
}

/// Counts a tenant's ledger.
pub async fn count(conn: &mut PgConnection, tenant: TenantId) -> Result<SandboxCount> {
    let row = sqlx::query!(
        r#"
        SELECT count(DISTINCT (connection_id, reference)) AS "messages!",
            count(*) - count(DISTINCT (connection_id, reference)) AS "duplicates!"
        FROM sandbox_messages WHERE tenant_id = $1
        "#,
        tenant.0,
    )
    .fetch_one(conn)
    .await?;
    Ok(SandboxCount {
        messages: row.messages,
        duplicates: row.duplicates,
    })
}

/// A captured message as it is shown.
#[derive(Clone, Debug)]
pub struct SandboxShown {
    /// The entry's id.
    pub id: Uuid,
    /// Its channel.
    pub channel: Channel,
    /// The message's id, as submitted.
    pub message_id: String,
    /// The submission's reference.
    pub reference: String,
    /// The connection that took it.
    pub connection: ConnectionId,
    /// It had been taken before.
    pub duplicate: bool,
    /// When it was taken.
    pub captured_at: Timestamp,
    /// Recipient and content, sealed under the tenant's key.
    pub sealed: Vec<u8>,
}

/// A page of the ledger, newest first, below the given entry.
pub async fn list(
    conn: &mut PgConnection,
    tenant: TenantId,
    below: Option<Uuid>,
    limit: i64,
) -> Result<Vec<SandboxShown>> {
    let rows = sqlx::query!(
        r#"
        SELECT id, channel, message_id, reference, connection_id, duplicate, captured_at, sealed
        FROM sandbox_messages
        WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
        "#,
        tenant.0,
        below,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(SandboxShown {
                id: row.id,
                channel: word(&row.channel)?,
                message_id: row.message_id,
                reference: row.reference,
                connection: ConnectionId(row.connection_id),
                duplicate: row.duplicate,
                captured_at: row.captured_at.to_jiff(),
                sealed: row.sealed,
            })
        })
        .collect()
}

/// What the sandbox is to report about a message it took, in a provider's place.
#[derive(Clone, Debug)]
pub struct SandboxReport {
    /// Whose.
    pub tenant: TenantId,
    /// The entry.
    pub id: Uuid,
    /// The connection that took the message.
    pub connection: ConnectionId,
    /// The submission's reference.
    pub reference: String,
    /// The id the sandbox gave it.
    pub provider_message_id: String,
    /// What happened to it.
    pub kind: DeliveryEventKind,
}

/// Reports that are due, oldest first.
pub async fn due_reports(conn: &mut PgConnection, now: Timestamp, limit: i64) -> Result<Vec<SandboxReport>> {
    let rows = sqlx::query!(
        r#"
        SELECT tenant_id, id, connection_id, reference, provider_message_id, follow_up AS "follow_up!"
        FROM sandbox_messages
        WHERE follow_up_at <= $1 AND follow_up IS NOT NULL ORDER BY follow_up_at LIMIT $2
        "#,
        now.to_sqlx() as _,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(SandboxReport {
                tenant: TenantId(row.tenant_id),
                id: row.id,
                connection: ConnectionId(row.connection_id),
                reference: row.reference,
                provider_message_id: row.provider_message_id,
                kind: word(&row.follow_up)?,
            })
        })
        .collect()
}

/// Takes a report off the list; false when another node has.
pub async fn take_report(conn: &mut PgConnection, tenant: TenantId, id: Uuid) -> Result<bool> {
    let taken = sqlx::query!(
        "UPDATE sandbox_messages SET follow_up_at = NULL WHERE tenant_id = $1 AND id = $2 AND follow_up_at IS NOT NULL",
        tenant.0,
        id,
    )
    .execute(conn)
    .await?;
    Ok(taken.rows_affected() == 1)
}
