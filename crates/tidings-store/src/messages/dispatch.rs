//! The way to a call: load what a delivery needs, then begin it under the gate.

use super::record::NewAttempt;
use super::words::{channels, optional_word, word};
use crate::Result;
use crate::whatsapp::templates::usable;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use std::collections::{HashMap, HashSet};
use tidings_core::{
    AddressId, BatchId, Category, Channel, ConnectionId, ContactId, DeliveryId, DeliveryState, JobId,
    MessageId, MessageStatus, MessageType, NodeId, Provenance, TenantId, Urgency, WaitsFor,
};

/// A delivery with its message, its sealed content and its sealed recipient.
#[derive(Clone, Debug)]
pub struct Dispatchable {
    /// Whose.
    pub tenant: TenantId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its channel.
    pub channel: Channel,
    /// Its place in the chain, from 0.
    pub position: i16,
    /// The whole chain.
    pub chain: Vec<Channel>,
    /// Where it stands.
    pub state: DeliveryState,
    /// The number of its newest attempt; the fence.
    pub attempt_no: i32,
    /// The job that carries it.
    pub job: Option<JobId>,
    /// The connection of its newest attempt.
    pub connection: Option<ConnectionId>,
    /// The reference of its newest dispatch, kept where a repetition must be recognised by the provider.
    pub reference: Option<String>,
    /// When its newest attempt began.
    pub attempted_at: Option<Timestamp>,
    /// When its unknown outcome is asked about; of a queued delivery, until when its call may be repeated under the
    /// same reference.
    pub resolve_after: Option<Timestamp>,
    /// How often its unknown outcome was asked about.
    pub resolve_tries: i32,
    /// When its channel had its turn.
    pub created_at: Timestamp,
    /// Its message.
    pub message: MessageRow,
    /// The content for the channel.
    pub content: Option<Vec<u8>>,
    /// The recipient.
    pub recipient: Option<Recipient>,
    /// The contact's display name.
    pub name_sealed: Option<Vec<u8>>,
    /// The content may go as an approved WhatsApp template, which Meta has not stopped meanwhile.
    pub whatsapp_template: bool,
}

/// A recipient's address, sealed.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The address row.
    pub id: AddressId,
    /// Its value.
    pub sealed: Vec<u8>,
    /// Its blind index.
    pub blind_index: Vec<u8>,
}

/// A message's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// Whose.
    pub tenant: TenantId,
    /// Its id.
    pub id: MessageId,
    /// To whom.
    pub contact: ContactId,
    /// Its type.
    pub message_type: MessageType,
    /// Its category.
    pub category: Category,
    /// Its urgency.
    pub urgency: Urgency,
    /// Where it stands.
    pub status: MessageStatus,
    /// How that became known.
    pub provenance: Provenance,
    /// Why it waits, while pending.
    pub waits_for: Option<WaitsFor>,
    /// The caller's reference.
    pub source_reference: Option<String>,
    /// The channel asked for.
    pub requested_channel: Option<Channel>,
    /// Channels the content exists for.
    pub renderable_channels: Vec<Channel>,
    /// BCP 47 locale asked for.
    pub locale: Option<String>,
    /// Not before.
    pub send_at: Option<Timestamp>,
    /// Not after.
    pub expires_at: Option<Timestamp>,
    /// When it is planned to go out.
    pub planned_at: Option<Timestamp>,
    /// When its first dispatch began.
    pub dispatched_at: Option<Timestamp>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it was queued.
    pub queued_at: Option<Timestamp>,
    /// When a provider took it.
    pub sent_at: Option<Timestamp>,
    /// When it was delivered.
    pub delivered_at: Option<Timestamp>,
    /// When it was opened.
    pub opened_at: Option<Timestamp>,
    /// When a link was clicked.
    pub clicked_at: Option<Timestamp>,
    /// When it failed.
    pub failed_at: Option<Timestamp>,
    /// When a person approved it.
    pub approved_at: Option<Timestamp>,
    /// When the rules look at it again.
    pub decide_again_at: Option<Timestamp>,
    /// Why it ended without being sent.
    pub ended_because: Option<String>,
    /// The batch it is in.
    pub batch: Option<BatchId>,
}

/// A message's columns as they come from the database.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct MessageColumns {
    pub tenant_id: uuid::Uuid,
    pub id: uuid::Uuid,
    pub contact_id: uuid::Uuid,
    pub message_type: String,
    pub category: String,
    pub urgency: String,
    pub status: String,
    pub status_provenance: String,
    pub waits_for: Option<String>,
    pub source_reference: Option<String>,
    pub requested_channel: Option<String>,
    pub renderable_channels: Vec<String>,
    pub locale: Option<String>,
    pub send_at: Option<jiff_sqlx::Timestamp>,
    pub expires_at: Option<jiff_sqlx::Timestamp>,
    pub planned_at: Option<jiff_sqlx::Timestamp>,
    pub dispatched_at: Option<jiff_sqlx::Timestamp>,
    pub accepted_at: jiff_sqlx::Timestamp,
    pub queued_at: Option<jiff_sqlx::Timestamp>,
    pub sent_at: Option<jiff_sqlx::Timestamp>,
    pub delivered_at: Option<jiff_sqlx::Timestamp>,
    pub opened_at: Option<jiff_sqlx::Timestamp>,
    pub clicked_at: Option<jiff_sqlx::Timestamp>,
    pub failed_at: Option<jiff_sqlx::Timestamp>,
    pub approved_at: Option<jiff_sqlx::Timestamp>,
    pub decide_again_at: Option<jiff_sqlx::Timestamp>,
    pub ended_because: Option<String>,
    pub batch_id: Option<uuid::Uuid>,
}

impl MessageColumns {
    /// Reads the words.
    pub(crate) fn read(self) -> Result<MessageRow> {
        let at = |time: Option<jiff_sqlx::Timestamp>| time.map(jiff_sqlx::Timestamp::to_jiff);
        Ok(MessageRow {
            tenant: TenantId(self.tenant_id),
            id: MessageId(self.id),
            contact: ContactId(self.contact_id),
            message_type: MessageType::parse(&self.message_type)
                .map_err(|error| sqlx::Error::Decode(error.to_string().into()))?,
            category: word(&self.category)?,
            urgency: word(&self.urgency)?,
            status: word(&self.status)?,
            provenance: word(&self.status_provenance)?,
            waits_for: optional_word(self.waits_for.as_deref())?,
            source_reference: self.source_reference,
            requested_channel: optional_word(self.requested_channel.as_deref())?,
            renderable_channels: channels(&self.renderable_channels)?,
            locale: self.locale,
            send_at: at(self.send_at),
            expires_at: at(self.expires_at),
            planned_at: at(self.planned_at),
            dispatched_at: at(self.dispatched_at),
            accepted_at: self.accepted_at.to_jiff(),
            queued_at: at(self.queued_at),
            sent_at: at(self.sent_at),
            delivered_at: at(self.delivered_at),
            opened_at: at(self.opened_at),
            clicked_at: at(self.clicked_at),
            failed_at: at(self.failed_at),
            approved_at: at(self.approved_at),
            decide_again_at: at(self.decide_again_at),
            ended_because: self.ended_because,
            batch: self.batch_id.map(BatchId),
        })
    }
}

/// Loads deliveries with everything a call needs. Ids that do not exist are left out.
pub async fn load(conn: &mut PgConnection, wanted: &[(TenantId, DeliveryId)]) -> Result<Vec<Dispatchable>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let tenants: Vec<_> = wanted.iter().map(|(tenant, _)| tenant.0).collect();
    let ids: Vec<_> = wanted.iter().map(|(_, delivery)| delivery.0).collect();
    let rows = sqlx::query!(
        r#"
        SELECT d.id AS delivery_id, d.channel, d.position, d.chain, d.state, d.attempt_no, d.job_id, d.connection_id,
            d.reference, d.resolve_tries, d.resolve_after, d.created_at AS delivery_created_at, t.intended_at AS "attempted_at?",
            CASE WHEN d.channel = 'whatsapp' THEN (
                SELECT whatsapp_standings(v.tenant_id, v.whatsapp) FROM templates v
                WHERE v.tenant_id = d.tenant_id AND v.id = p.template_id AND v.whatsapp IS NOT NULL)
                END AS "whatsapp_standings?",
            p.sealed AS "content?", a.id AS "address_id?", a.value_sealed AS "value_sealed?",
            a.blind_index AS "blind_index?", c.name_sealed,
            m.tenant_id, m.id, m.contact_id, m.message_type, m.category, m.urgency, m.status, m.status_provenance,
            m.waits_for, m.source_reference, m.requested_channel, m.renderable_channels, m.locale, m.send_at,
            m.expires_at, m.planned_at, m.dispatched_at, m.accepted_at, m.queued_at, m.sent_at, m.delivered_at,
            m.opened_at, m.clicked_at, m.failed_at, m.approved_at, m.decide_again_at, m.ended_because, m.batch_id
        FROM unnest($1::uuid[], $2::uuid[]) AS i(tenant_id, delivery_id)
        JOIN deliveries d ON d.tenant_id = i.tenant_id AND d.id = i.delivery_id
        JOIN messages m ON m.tenant_id = d.tenant_id AND m.id = d.message_id
        JOIN contacts c ON c.tenant_id = m.tenant_id AND c.id = m.contact_id
        LEFT JOIN attempts t ON t.tenant_id = d.tenant_id AND t.delivery_id = d.id AND t.attempt_no = d.attempt_no
        LEFT JOIN message_contents p ON p.tenant_id = m.tenant_id AND p.message_id = m.id AND p.part = d.channel
        LEFT JOIN LATERAL (
            SELECT x.id, x.value_sealed, x.blind_index FROM addresses x
            WHERE x.tenant_id = c.tenant_id AND x.contact_id = c.id
                AND x.kind = CASE WHEN d.channel = 'email' THEN 'email' ELSE 'phone' END
            ORDER BY x.is_primary DESC, x.valid DESC, x.created_at, x.id LIMIT 1
        ) a ON true
        "#,
        &tenants,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let mut loaded = Vec::with_capacity(rows.len());
    for row in rows {
        let recipient = match (row.address_id, row.value_sealed, row.blind_index) {
            (Some(id), Some(sealed), Some(blind_index)) => Some(Recipient {
                id: AddressId(id),
                sealed,
                blind_index,
            }),
            _ => None,
        };
        loaded.push(Dispatchable {
            tenant: TenantId(row.tenant_id),
            delivery: DeliveryId(row.delivery_id),
            channel: word(&row.channel)?,
            position: row.position,
            chain: channels(&row.chain)?,
            state: word(&row.state)?,
            attempt_no: row.attempt_no,
            job: row.job_id.map(JobId),
            connection: row.connection_id.map(ConnectionId),
            reference: row.reference,
            attempted_at: row.attempted_at.map(jiff_sqlx::Timestamp::to_jiff),
            resolve_tries: row.resolve_tries,
            created_at: row.delivery_created_at.to_jiff(),
            resolve_after: row.resolve_after.map(jiff_sqlx::Timestamp::to_jiff),
            content: row.content,
            whatsapp_template: usable(row.whatsapp_standings.as_deref())?,
            recipient,
            name_sealed: row.name_sealed,
            message: MessageColumns {
                tenant_id: row.tenant_id,
                id: row.id,
                contact_id: row.contact_id,
                message_type: row.message_type,
                category: row.category,
                urgency: row.urgency,
                status: row.status,
                status_provenance: row.status_provenance,
                waits_for: row.waits_for,
                source_reference: row.source_reference,
                requested_channel: row.requested_channel,
                renderable_channels: row.renderable_channels,
                locale: row.locale,
                send_at: row.send_at,
                expires_at: row.expires_at,
                planned_at: row.planned_at,
                dispatched_at: row.dispatched_at,
                accepted_at: row.accepted_at,
                queued_at: row.queued_at,
                sent_at: row.sent_at,
                delivered_at: row.delivered_at,
                opened_at: row.opened_at,
                clicked_at: row.clicked_at,
                failed_at: row.failed_at,
                approved_at: row.approved_at,
                decide_again_at: row.decide_again_at,
                ended_because: row.ended_because,
                batch_id: row.batch_id,
            }
            .read()?,
        });
    }
    Ok(loaded)
}

/// The newest delivery of each message, with everything a call needs.
pub async fn newest(
    conn: &mut PgConnection,
    messages: &[(TenantId, MessageId)],
) -> Result<HashMap<MessageId, Dispatchable>> {
    let tenants: Vec<_> = messages.iter().map(|(tenant, _)| tenant.0).collect();
    let ids: Vec<_> = messages.iter().map(|(_, message)| message.0).collect();
    let rows = sqlx::query!(
        r#"
        SELECT DISTINCT ON (d.tenant_id, d.message_id) d.tenant_id, d.id
        FROM unnest($1::uuid[], $2::uuid[]) AS i(tenant_id, message_id)
        JOIN deliveries d ON d.tenant_id = i.tenant_id AND d.message_id = i.message_id
        ORDER BY d.tenant_id, d.message_id, d.position DESC
        "#,
        &tenants,
        &ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    let wanted: Vec<_> = rows
        .into_iter()
        .map(|row| (TenantId(row.tenant_id), DeliveryId(row.id)))
        .collect();
    Ok(load(conn, &wanted)
        .await?
        .into_iter()
        .map(|row| (row.message.id, row))
        .collect())
}

/// Begins dispatches: the intent of each call, durable with the caller's commit before the first byte leaves.
///
/// Fenced by the attempt before and by the state; the answer holds the deliveries that were moved. One that is missing
/// belongs to somebody else (a cancellation, another worker), and its call must not be made.
pub async fn begin(
    conn: &mut PgConnection,
    rows: &[NewAttempt],
    node: NodeId,
    now: Timestamp,
) -> Result<HashSet<DeliveryId>> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let tenants: Vec<_> = rows.iter().map(|row| row.tenant.0).collect();
    let ids: Vec<_> = rows.iter().map(|row| row.id.0).collect();
    let deliveries: Vec<_> = rows.iter().map(|row| row.delivery.0).collect();
    let messages: Vec<_> = rows.iter().map(|row| row.message.0).collect();
    let numbers: Vec<_> = rows.iter().map(|row| row.attempt_no).collect();
    let connections: Vec<_> = rows.iter().map(|row| row.connection.0).collect();
    let references: Vec<_> = rows.iter().map(|row| row.reference.as_str()).collect();
    let routes: Vec<_> = rows.iter().map(|row| row.route.clone()).collect();
    let moved = sqlx::query_scalar!(
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::integer[], $6::uuid[], $7::text[],
                    $10::jsonb[])
                AS i(tenant_id, id, delivery_id, message_id, attempt_no, connection_id, reference, route)
        ), moved AS (
            UPDATE deliveries d
            SET state = 'dispatching', attempt_no = i.attempt_no, connection_id = i.connection_id,
                reference = i.reference, updated_at = $9, resolve_after = NULL
            FROM input i
            WHERE d.tenant_id = i.tenant_id AND d.id = i.delivery_id AND d.attempt_no = i.attempt_no - 1
                AND d.state IN ('queued', 'retry_wait', 'failed', 'held')
            RETURNING d.tenant_id, d.id
        ), intents AS (
            INSERT INTO attempts (tenant_id, id, delivery_id, attempt_no, connection_id, outcome, intended_at, node, route)
            SELECT i.tenant_id, i.id, i.delivery_id, i.attempt_no, i.connection_id, 'intended', $9, $8, i.route
            FROM input i JOIN moved ON moved.tenant_id = i.tenant_id AND moved.id = i.delivery_id
        ), dated AS (
            UPDATE messages m SET dispatched_at = coalesce(m.dispatched_at, $9), planned_at = NULL
            FROM input i JOIN moved ON moved.tenant_id = i.tenant_id AND moved.id = i.delivery_id
            WHERE m.tenant_id = i.tenant_id AND m.id = i.message_id
        )
        SELECT id AS "id!" FROM moved
        "#,
        &tenants,
        &ids,
        &deliveries,
        &messages,
        &numbers,
        &connections,
        &references as _,
        node.0,
        now.to_sqlx() as _,
        &routes as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(moved.into_iter().map(DeliveryId).collect())
}
