//! Messages that wait: for their hour, for company, for a person. They are decided again and move on.

use super::dispatch::{MessageColumns, MessageRow};
use super::record::Placement;
use crate::columns::{Page, rows_for};
use crate::{Result, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use std::collections::HashSet;
use tidings_core::{MessageId, TenantId, WaitsFor};

/// A pending message with its sealed request.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The message.
    pub message: MessageRow,
    /// The request, sealed under the contact's key.
    pub request: Option<Vec<u8>>,
}

/// Loads messages with their requests and locks them until the transaction ends, whatever their status.
pub async fn lock(conn: &mut PgConnection, wanted: &[(TenantId, MessageId)]) -> Result<Vec<Waiting>> {
    let tenants: Vec<_> = wanted.iter().map(|(tenant, _)| tenant.0).collect();
    let ids: Vec<_> = wanted.iter().map(|(_, message)| message.0).collect();
    let rows = sqlx::query_as!(
        MessageColumns,
        r#"
        SELECT m.tenant_id, m.id, m.contact_id, m.message_type, m.category, m.urgency, m.status, m.status_provenance,
            m.waits_for, m.source_reference, m.requested_channel, m.renderable_channels, m.locale,
            m.send_at AS "send_at: _", m.expires_at AS "expires_at: _", m.planned_at AS "planned_at: _",
            m.dispatched_at AS "dispatched_at: _", m.accepted_at AS "accepted_at: _", m.queued_at AS "queued_at: _",
            m.sent_at AS "sent_at: _", m.delivered_at AS "delivered_at: _", m.opened_at AS "opened_at: _",
            m.clicked_at AS "clicked_at: _", m.failed_at AS "failed_at: _", m.approved_at AS "approved_at: _",
            m.decide_again_at AS "decide_again_at: _", m.ended_because, m.batch_id
        FROM messages m
        WHERE (m.tenant_id, m.id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
        ORDER BY m.tenant_id, m.id FOR NO KEY UPDATE OF m
        "#,
        &tenants,
        &ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut requests = requests(conn, &tenants, &ids).await?;
    rows.into_iter()
        .map(|row| {
            let message = row.read()?;
            let request = requests.remove(&message.id);
            Ok(Waiting { message, request })
        })
        .collect()
}

async fn requests(
    conn: &mut PgConnection,
    tenants: &[uuid::Uuid],
    ids: &[uuid::Uuid],
) -> Result<std::collections::HashMap<MessageId, Vec<u8>>> {
    let rows = sqlx::query!(
        r#"
        SELECT message_id, sealed FROM message_contents
        WHERE (tenant_id, message_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[])) AND part = 'request'
        "#,
        tenants,
        ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (MessageId(row.message_id), row.sealed))
        .collect())
}

/// Moves pending messages to where the new decision leaves them; the answer holds those that were still pending.
pub async fn settle(
    conn: &mut PgConnection,
    rows: &[(TenantId, MessageId, Placement)],
) -> Result<HashSet<MessageId>> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let tenants: Vec<_> = rows.iter().map(|(tenant, ..)| tenant.0).collect();
    let ids: Vec<_> = rows.iter().map(|(_, message, _)| message.0).collect();
    let statuses: Vec<_> = rows.iter().map(|(.., place)| place.status.as_str()).collect();
    let waits: Vec<_> = rows
        .iter()
        .map(|(.., place)| place.waits_for.map(WaitsFor::as_str))
        .collect();
    let planned_at: Vec<_> = rows
        .iter()
        .map(|(.., place)| place.planned_at.map(ToSqlx::to_sqlx))
        .collect();
    let again_at: Vec<_> = rows
        .iter()
        .map(|(.., place)| place.decide_again_at.map(ToSqlx::to_sqlx))
        .collect();
    let queued_at: Vec<_> = rows
        .iter()
        .map(|(.., place)| place.queued_at.map(ToSqlx::to_sqlx))
        .collect();
    let because: Vec<_> = rows
        .iter()
        .map(|(.., place)| place.ended_because.as_deref())
        .collect();
    let moved = sqlx::query_scalar!(
        r#"
        UPDATE messages m
        SET status = i.status, waits_for = i.waits_for, planned_at = i.planned_at, decide_again_at = i.decide_again_at,
            queued_at = coalesce(i.queued_at, m.queued_at), ended_because = i.because
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[],
            $7::timestamptz[], $8::text[])
            AS i(tenant_id, id, status, waits_for, planned_at, decide_again_at, queued_at, because)
        WHERE m.tenant_id = i.tenant_id AND m.id = i.id AND m.status = 'pending'
        RETURNING m.id
        "#,
        &tenants,
        &ids,
        &statuses as _,
        &waits as _,
        &planned_at as _,
        &again_at as _,
        &queued_at as _,
        &because as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(moved.into_iter().map(MessageId).collect())
}

/// Records a person's yes. False when the message does not wait for one.
pub async fn approve(
    conn: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
    now: Timestamp,
) -> Result<bool> {
    let done = sqlx::query!(
        r#"
        UPDATE messages SET approved_at = $3
        WHERE tenant_id = $1 AND id = $2 AND status = 'pending' AND waits_for = 'approval'
        "#,
        tenant.0,
        message.0,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Messages that wait for a person's yes and were accepted after an instant, the oldest first.
pub async fn awaiting_approval(
    tx: &mut TenantTx,
    oldest: Timestamp,
    after: Option<MessageId>,
    limit: u32,
) -> Result<Page<MessageRow, MessageId>> {
    // Ids begin with the millisecond of their making: those before the instant need not be looked at.
    let millis = u64::try_from(oldest.as_millisecond()).unwrap_or(0);
    let least = uuid::Uuid::from_u128(u128::from(millis) << 80);
    let rows = sqlx::query_as!(
        MessageColumns,
        r#"
        SELECT m.tenant_id, m.id, m.contact_id, m.message_type, m.category, m.urgency, m.status, m.status_provenance,
            m.waits_for, m.source_reference, m.requested_channel, m.renderable_channels, m.locale,
            m.send_at AS "send_at: _", m.expires_at AS "expires_at: _", m.planned_at AS "planned_at: _",
            m.dispatched_at AS "dispatched_at: _", m.accepted_at AS "accepted_at: _", m.queued_at AS "queued_at: _",
            m.sent_at AS "sent_at: _", m.delivered_at AS "delivered_at: _", m.opened_at AS "opened_at: _",
            m.clicked_at AS "clicked_at: _", m.failed_at AS "failed_at: _", m.approved_at AS "approved_at: _",
            m.decide_again_at AS "decide_again_at: _", m.ended_because, m.batch_id
        FROM messages m
        WHERE m.tenant_id = $1 AND m.id > $2 AND m.status = 'pending' AND m.waits_for = 'approval'
        ORDER BY m.id LIMIT $3
        "#,
        tx.tenant().0,
        after.map_or(least, |id| id.0),
        rows_for(limit),
    )
    .fetch_all(&mut **tx)
    .await?;
    let rows = rows
        .into_iter()
        .map(MessageColumns::read)
        .collect::<Result<Vec<_>>>()?;
    Ok(Page::from_rows(rows, limit, |row| row.id))
}
