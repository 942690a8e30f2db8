//! Batches: low-urgency messages to one contact and channel that go as one.

use super::dispatch::{MessageColumns, MessageRow};
use super::words::word;
use crate::Result;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use tidings_core::{BatchId, Channel, ContactId, MessageId, MessageStatus, Provenance, TenantId};

/// At most this many messages leave in one batch; more open the next.
const MEMBERS: i64 = 100;

/// Messages that gather for one contact and channel.
#[derive(Clone, Debug)]
pub struct Gathering {
    /// Whose.
    pub tenant: TenantId,
    /// For whom.
    pub contact: ContactId,
    /// Over which channel.
    pub channel: Channel,
    /// The id a new batch would get.
    pub id: BatchId,
    /// The messages, already inserted.
    pub messages: Vec<MessageId>,
    /// When a new batch would close at the latest.
    pub closes_at: Timestamp,
}

/// The batch messages were put in.
#[derive(Clone, Copy, Debug)]
pub struct Gathered {
    /// The batch.
    pub id: BatchId,
    /// How many it holds now.
    pub size: i32,
    /// It was opened by this call.
    pub opened: bool,
    /// When it closes at the latest.
    pub closes_at: Timestamp,
}

/// Puts messages into the open batch of their contact and channel, or opens one. One call a batch: gathering is rare.
pub async fn gather(conn: &mut PgConnection, group: &Gathering, now: Timestamp) -> Result<Gathered> {
    let size = i32::try_from(group.messages.len()).unwrap_or(i32::MAX);
    let row = sqlx::query!(
        r#"
        INSERT INTO batches (tenant_id, id, contact_id, channel, size, opened_at, closes_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (tenant_id, contact_id, channel) WHERE closed_at IS NULL
            DO UPDATE SET size = batches.size + excluded.size
        RETURNING id, size, closes_at
        "#,
        group.tenant.0,
        group.id.0,
        group.contact.0,
        group.channel.as_str(),
        size,
        now.to_sqlx() as _,
        group.closes_at.to_sqlx() as _,
    )
    .fetch_one(&mut *conn)
    .await?;
    let messages: Vec<_> = group.messages.iter().map(|message| message.0).collect();
    sqlx::query!(
        "UPDATE messages SET batch_id = $1 WHERE tenant_id = $2 AND id = ANY($3)",
        row.id,
        group.tenant.0,
        &messages,
    )
    .execute(conn)
    .await?;
    Ok(Gathered {
        id: BatchId(row.id),
        size: row.size,
        opened: row.id == group.id.0,
        closes_at: row.closes_at.to_jiff(),
    })
}

/// An open batch, locked, with its pending messages, oldest first.
#[derive(Clone, Debug)]
pub struct OpenBatchRows {
    /// For whom.
    pub contact: ContactId,
    /// Over which channel.
    pub channel: Channel,
    /// How many it was said to hold.
    pub size: i32,
    /// When it closes at the latest.
    pub closes_at: Timestamp,
    /// Its pending messages.
    pub members: Vec<MessageRow>,
}

/// Locks an open batch and reads its messages; `None` when it is closed already.
pub async fn lock_open(
    conn: &mut PgConnection,
    tenant: TenantId,
    batch: BatchId,
) -> Result<Option<OpenBatchRows>> {
    let row = sqlx::query!(
        r#"
        SELECT contact_id, channel, size, closes_at FROM batches
        WHERE tenant_id = $1 AND id = $2 AND closed_at IS NULL FOR UPDATE
        "#,
        tenant.0,
        batch.0,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let members = sqlx::query_as!(
        MessageColumns,
        r#"
        SELECT tenant_id, id, contact_id, message_type, category, urgency, status, status_provenance, waits_for,
            source_reference, requested_channel, renderable_channels, locale,
            send_at AS "send_at: _", expires_at AS "expires_at: _", planned_at AS "planned_at: _",
            dispatched_at AS "dispatched_at: _", accepted_at AS "accepted_at: _", queued_at AS "queued_at: _",
            sent_at AS "sent_at: _", delivered_at AS "delivered_at: _", opened_at AS "opened_at: _",
            clicked_at AS "clicked_at: _", failed_at AS "failed_at: _", approved_at AS "approved_at: _",
            decide_again_at AS "decide_again_at: _", ended_because, batch_id
        FROM messages
        WHERE tenant_id = $1 AND batch_id = $2 AND status = 'pending'
        ORDER BY accepted_at, id LIMIT $3 FOR UPDATE
        "#,
        tenant.0,
        batch.0,
        MEMBERS,
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(OpenBatchRows {
        contact: ContactId(row.contact_id),
        channel: word(&row.channel)?,
        size: row.size,
        closes_at: row.closes_at.to_jiff(),
        members: members
            .into_iter()
            .map(MessageColumns::read)
            .collect::<Result<_, _>>()?,
    }))
}

/// Closes a batch: the carrier takes the others' content along.
pub async fn close(
    conn: &mut PgConnection,
    tenant: TenantId,
    batch: BatchId,
    carrier: Option<MessageId>,
    goes_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<()> {
    sqlx::query!(
        "UPDATE batches SET closed_at = $3, carrier_id = $4, goes_at = $5 WHERE tenant_id = $1 AND id = $2",
        tenant.0,
        batch.0,
        now.to_sqlx() as _,
        carrier.map(|message| message.0),
        goes_at.map(ToSqlx::to_sqlx) as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves the other messages of a batch along with its carrier.
pub async fn follow(
    conn: &mut PgConnection,
    tenant: TenantId,
    batch: BatchId,
    to: MessageStatus,
    provenance: Provenance,
    now: Timestamp,
) -> Result<()> {
    sqlx::query!(
        r#"
        UPDATE messages SET status = $3, status_provenance = $4, waits_for = NULL,
            dispatched_at = CASE WHEN $3 = 'sent' THEN coalesce(dispatched_at, $5) ELSE dispatched_at END,
            sent_at = CASE WHEN $3 = 'sent' THEN coalesce(sent_at, $5) ELSE sent_at END,
            failed_at = CASE WHEN $3 = 'failed' THEN coalesce(failed_at, $5) ELSE failed_at END,
            queued_at = CASE WHEN $3 = 'queued' THEN coalesce(queued_at, $5) ELSE queued_at END,
            planned_at = NULL
        WHERE tenant_id = $1 AND batch_id = $2 AND status IN ('pending', 'queued')
            AND id <> (SELECT carrier_id FROM batches WHERE tenant_id = $1 AND id = $2)
        "#,
        tenant.0,
        batch.0,
        to.as_str(),
        provenance.as_str(),
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}
