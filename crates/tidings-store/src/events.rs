//! The event log: what happened, for timelines, integrations and analytics. Append-only; no personal data.

use crate::Result;
use crate::columns::{Page, check_length, rows_for};
use crate::{StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::Serialize;
use sqlx::PgConnection;
use tidings_core::{ContactId, Dice, EventId, MessageId, TenantId};
use uuid::Uuid;

/// An event to be appended.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Of which tenant.
    pub tenant: TenantId,
    /// What happened (`MessageSent`, `ConsentGiven`), at most 100 characters.
    pub kind: String,
    /// To whom.
    pub contact: Option<ContactId>,
    /// To which message.
    pub message: Option<MessageId>,
    /// To what else: a connection, template, key, job.
    pub subject: Option<String>,
    /// Particulars. Never personal data.
    pub data: serde_json::Value,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Its id; ids grow with time.
    pub id: EventId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: String,
    /// To whom.
    pub contact: Option<ContactId>,
    /// To which message.
    pub message: Option<MessageId>,
    /// To what else.
    pub subject: Option<String>,
    /// Particulars.
    pub data: serde_json::Value,
}

/// Which events to list.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Of this contact.
    pub contact: Option<ContactId>,
    /// Of this message.
    pub message: Option<MessageId>,
    /// Of this kind.
    pub kind: Option<String>,
}

/// Appends a batch in one statement.
pub async fn append(
    conn: &mut PgConnection,
    events: &[NewEvent],
    dice: &mut Dice,
    now: Timestamp,
) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    for event in events {
        check_length("kind", &event.kind, 100)?;
    }
    let tenants: Vec<Uuid> = events.iter().map(|event| event.tenant.0).collect();
    let ids: Vec<Uuid> = events.iter().map(|_| dice.uuid(now)).collect();
    let kinds: Vec<String> = events.iter().map(|event| event.kind.clone()).collect();
    let contacts: Vec<Option<Uuid>> = events.iter().map(|event| event.contact.map(|id| id.0)).collect();
    let messages: Vec<Option<Uuid>> = events.iter().map(|event| event.message.map(|id| id.0)).collect();
    let subjects: Vec<Option<String>> = events.iter().map(|event| event.subject.clone()).collect();
    let data: Vec<serde_json::Value> = events.iter().map(|event| event.data.clone()).collect();
    sqlx::query!(
        "INSERT INTO event_log (tenant_id, id, at, kind, contact_id, message_id, subject, data)
         SELECT tenant_id, id, $8, kind, contact_id, message_id, subject, data
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::jsonb[])
              AS fresh (tenant_id, id, kind, contact_id, message_id, subject, data)",
        &tenants,
        &ids,
        &kinds,
        &contacts as _,
        &messages as _,
        &subjects as _,
        &data,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The tenant's events, newest first.
pub async fn list(
    tx: &mut TenantTx,
    filter: EventFilter,
    before: Option<EventId>,
    limit: u32,
) -> Result<Page<Event, EventId>, StoreError> {
    let rows = sqlx::query!(
        "SELECT id, at, kind, contact_id, message_id, subject, data FROM event_log
         WHERE tenant_id = $1 AND ($2::uuid IS NULL OR contact_id = $2) AND ($3::uuid IS NULL OR message_id = $3)
           AND ($4::text IS NULL OR kind = $4) AND ($5::uuid IS NULL OR id < $5)
         ORDER BY id DESC LIMIT $6",
        tx.tenant().0,
        filter.contact.map(|id| id.0),
        filter.message.map(|id| id.0),
        filter.kind,
        before.map(|id| id.0),
        rows_for(limit),
    )
    .fetch_all(&mut **tx)
    .await?;
    let items = rows
        .into_iter()
        .map(|row| Event {
            id: EventId(row.id),
            at: row.at.to_jiff(),
            kind: row.kind,
            contact: row.contact_id.map(ContactId),
            message: row.message_id.map(MessageId),
            subject: row.subject,
            data: row.data,
        })
        .collect();
    Ok(Page::from_rows(items, limit, |event: &Event| event.id))
}
