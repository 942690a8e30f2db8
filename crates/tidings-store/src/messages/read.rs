//! Reading messages: one, a page, and everything that happened to one.

use super::dispatch::{MessageColumns, MessageRow};
use super::words::{channels, optional_word, word};
use crate::Result;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::PgConnection;
use tidings_core::event::{BounceClass, DeliveryEventKind};
use tidings_core::{
    AttemptOutcome, BatchId, Channel, ConnectionId, ContactId, DecisionStage, DeliveryId, DeliveryState,
    ErrorCategory, JobId, MessageId, MessageStatus, MessageType, NodeId, Provenance, TenantId,
};

/// Which messages to list.
#[derive(Clone, Debug, Default)]
pub struct MessageFilter {
    /// Only this contact's.
    pub contact: Option<ContactId>,
    /// Only in this status.
    pub status: Option<MessageStatus>,
    /// Only of this type.
    pub message_type: Option<MessageType>,
    /// Only with this source reference.
    pub source_reference: Option<String>,
    /// Only those with a delivery over this channel.
    pub channel: Option<Channel>,
    /// Only of this batch.
    pub batch: Option<BatchId>,
    /// Only accepted at or after this instant.
    pub since: Option<Timestamp>,
    /// Only older than this message (a page's last).
    pub below: Option<MessageId>,
}

/// One message; `None` when the tenant has no such message.
pub async fn get(
    conn: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
) -> Result<Option<MessageRow>> {
    let row = sqlx::query_as!(
        MessageColumns,
        r#"
        SELECT tenant_id, id, contact_id, message_type, category, urgency, status, status_provenance, waits_for,
            source_reference, requested_channel, renderable_channels, locale,
            send_at AS "send_at: _", expires_at AS "expires_at: _", planned_at AS "planned_at: _",
            dispatched_at AS "dispatched_at: _", accepted_at AS "accepted_at: _", queued_at AS "queued_at: _",
            sent_at AS "sent_at: _", delivered_at AS "delivered_at: _", opened_at AS "opened_at: _",
            clicked_at AS "clicked_at: _", failed_at AS "failed_at: _", approved_at AS "approved_at: _",
            decide_again_at AS "decide_again_at: _", ended_because, batch_id
        FROM messages WHERE tenant_id = $1 AND id = $2
        "#,
        tenant.0,
        message.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(MessageColumns::read).transpose()
}

/// A page of messages, newest first.
pub async fn list(
    conn: &mut PgConnection,
    tenant: TenantId,
    filter: &MessageFilter,
    limit: i64,
) -> Result<Vec<MessageRow>> {
    let rows = sqlx::query_as!(
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
        WHERE tenant_id = $1 AND ($2::uuid IS NULL OR contact_id = $2) AND ($3::text IS NULL OR status = $3)
            AND ($4::text IS NULL OR message_type = $4) AND ($5::text IS NULL OR source_reference = $5)
            AND ($6::uuid IS NULL OR batch_id = $6) AND ($7::timestamptz IS NULL OR accepted_at >= $7)
            AND ($8::uuid IS NULL OR id < $8)
            AND ($10::text IS NULL OR EXISTS (
                SELECT FROM deliveries d
                WHERE d.tenant_id = messages.tenant_id AND d.message_id = messages.id AND d.channel = $10))
        ORDER BY id DESC LIMIT $9
        "#,
        tenant.0,
        filter.contact.map(|contact| contact.0),
        filter.status.map(MessageStatus::as_str),
        filter.message_type.as_ref().map(MessageType::as_str),
        filter.source_reference.as_deref(),
        filter.batch.map(|batch| batch.0),
        filter.since.map(ToSqlx::to_sqlx) as _,
        filter.below.map(|message| message.0),
        limit,
        filter.channel.map(Channel::as_str),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(MessageColumns::read).collect()
}

/// A recorded decision.
#[derive(Clone, Debug)]
pub struct DecisionRow {
    /// At which point of the path.
    pub stage: DecisionStage,
    /// When.
    pub decided_at: Timestamp,
    /// What the rules looked at.
    pub facts: Value,
    /// What they said.
    pub verdict: Value,
    /// Why, one entry a rule.
    pub reasons: Value,
    /// When asking again could give another answer.
    pub changes_at: Option<Timestamp>,
}

/// A delivery as it is shown.
#[derive(Clone, Debug)]
pub struct DeliveryRow {
    /// Its id.
    pub id: DeliveryId,
    /// Its channel.
    pub channel: Channel,
    /// Its place in the chain.
    pub position: i16,
    /// The whole chain.
    pub chain: Vec<Channel>,
    /// Where it stands.
    pub state: DeliveryState,
    /// The number of its newest attempt.
    pub attempt_no: i32,
    /// The job that carries it.
    pub job: Option<JobId>,
    /// Over which connection.
    pub connection: Option<ConnectionId>,
    /// The provider's id of the message.
    pub provider_message_id: Option<String>,
    /// The reference of its newest dispatch.
    pub reference: Option<String>,
    /// When an unknown outcome is asked about.
    pub resolve_after: Option<Timestamp>,
    /// Why it last failed.
    pub error_category: Option<ErrorCategory>,
    /// What was said.
    pub last_error: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
    /// While its job waits: until when, and why.
    pub waits: Option<(Timestamp, String)>,
}

/// An attempt as it is shown.
#[derive(Clone, Debug)]
pub struct AttemptRow {
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// Its number, from 1.
    pub attempt_no: i32,
    /// Over which connection.
    pub connection: ConnectionId,
    /// What that is called; none once it is gone.
    pub connection_name: Option<String>,
    /// Why it went there: `{why, passed_over}`; none where it was simply the best.
    pub route: Option<Value>,
    /// What is known.
    pub outcome: AttemptOutcome,
    /// Why it failed.
    pub category: Option<ErrorCategory>,
    /// The provider's code.
    pub code: Option<String>,
    /// What it said.
    pub detail: Option<String>,
    /// When it began.
    pub intended_at: Timestamp,
    /// When its outcome was known.
    pub finished_at: Option<Timestamp>,
    /// On which node.
    pub node: NodeId,
}

/// A delivery event as it is shown.
#[derive(Clone, Debug)]
pub struct DeliveryEventRow {
    /// About which delivery.
    pub delivery: Option<DeliveryId>,
    /// What happened.
    pub kind: DeliveryEventKind,
    /// How it became known.
    pub provenance: Provenance,
    /// For bounces.
    pub bounce_class: Option<BounceClass>,
    /// The provider's code.
    pub code: Option<String>,
    /// Further detail.
    pub detail: Option<String>,
    /// When it happened, by the reporter.
    pub occurred_at: Timestamp,
    /// When it came in.
    pub received_at: Timestamp,
}

/// Everything that happened to a message.
#[derive(Clone, Debug)]
pub struct MessageStory {
    /// The message.
    pub message: MessageRow,
    /// Decisions, oldest first.
    pub decisions: Vec<DecisionRow>,
    /// Deliveries, in the order of the chain.
    pub deliveries: Vec<DeliveryRow>,
    /// Attempts, oldest first.
    pub attempts: Vec<AttemptRow>,
    /// Delivery events, in the order they happened.
    pub events: Vec<DeliveryEventRow>,
}

/// Reads everything that happened to a message; for one that went out in a batch, its carrier's deliveries.
pub async fn story(
    conn: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
) -> Result<Option<MessageStory>> {
    let Some(row) = get(conn, tenant, message).await? else {
        return Ok(None);
    };
    let carrier = match row.batch {
        Some(batch) => sqlx::query_scalar!(
            "SELECT carrier_id FROM batches WHERE tenant_id = $1 AND id = $2",
            tenant.0,
            batch.0,
        )
        .fetch_optional(&mut *conn)
        .await?
        .flatten()
        .map_or(message, MessageId),
        None => message,
    };
    Ok(Some(MessageStory {
        decisions: decisions(conn, tenant, message).await?,
        deliveries: deliveries(conn, tenant, carrier).await?,
        attempts: attempts(conn, tenant, carrier).await?,
        events: events(conn, tenant, carrier).await?,
        message: row,
    }))
}

async fn decisions(
    conn: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
) -> Result<Vec<DecisionRow>> {
    let rows = sqlx::query!(
        r#"
        SELECT stage, decided_at, facts, verdict, reasons, changes_at FROM decisions
        WHERE tenant_id = $1 AND message_id = $2 ORDER BY decided_at, id LIMIT 200
        "#,
        tenant.0,
        message.0,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(DecisionRow {
                stage: word(&row.stage)?,
                decided_at: row.decided_at.to_jiff(),
                facts: row.facts,
                verdict: row.verdict,
                reasons: row.reasons,
                changes_at: row.changes_at.map(jiff_sqlx::Timestamp::to_jiff),
            })
        })
        .collect()
}

async fn deliveries(
    conn: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
) -> Result<Vec<DeliveryRow>> {
    let rows = sqlx::query!(
        r#"
        SELECT d.id, d.channel, d.position, d.chain, d.state, d.attempt_no, d.job_id, d.connection_id,
            d.provider_message_id, d.reference, d.resolve_after, d.error_category, d.last_error, d.created_at,
            d.updated_at, j.process_after AS "waits_until?", j.last_error AS "waits_because?"
        FROM deliveries d
        LEFT JOIN communication_jobs j ON j.tenant_id = d.tenant_id AND j.id = d.job_id AND j.status = 'pending'
            AND j.last_error IS NOT NULL
        WHERE d.tenant_id = $1 AND d.message_id = $2 ORDER BY d.position LIMIT 20
        "#,
        tenant.0,
        message.0,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(DeliveryRow {
                id: DeliveryId(row.id),
                channel: word(&row.channel)?,
                position: row.position,
                chain: channels(&row.chain)?,
                state: word(&row.state)?,
                attempt_no: row.attempt_no,
                job: row.job_id.map(JobId),
                connection: row.connection_id.map(ConnectionId),
                provider_message_id: row.provider_message_id,
                reference: row.reference,
                resolve_after: row.resolve_after.map(jiff_sqlx::Timestamp::to_jiff),
                error_category: optional_word(row.error_category.as_deref())?,
                last_error: row.last_error,
                created_at: row.created_at.to_jiff(),
                updated_at: row.updated_at.to_jiff(),
                waits: row
                    .waits_until
                    .map(jiff_sqlx::Timestamp::to_jiff)
                    .zip(row.waits_because),
            })
        })
        .collect()
}

async fn attempts(conn: &mut PgConnection, tenant: TenantId, message: MessageId) -> Result<Vec<AttemptRow>> {
    let rows = sqlx::query!(
        r#"
        SELECT a.delivery_id, a.attempt_no, a.connection_id, a.outcome, a.category, a.code, a.detail, a.intended_at,
            a.finished_at, a.node, a.route, c.name AS "connection_name?"
        FROM deliveries d JOIN attempts a ON a.tenant_id = d.tenant_id AND a.delivery_id = d.id
        LEFT JOIN connections c ON c.tenant_id = a.tenant_id AND c.id = a.connection_id
        WHERE d.tenant_id = $1 AND d.message_id = $2 ORDER BY a.intended_at, d.position, a.attempt_no LIMIT 500
        "#,
        tenant.0,
        message.0,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(AttemptRow {
                delivery: DeliveryId(row.delivery_id),
                attempt_no: row.attempt_no,
                connection: ConnectionId(row.connection_id),
                connection_name: row.connection_name,
                route: row.route,
                outcome: word(&row.outcome)?,
                category: optional_word(row.category.as_deref())?,
                code: row.code,
                detail: row.detail,
                intended_at: row.intended_at.to_jiff(),
                finished_at: row.finished_at.map(jiff_sqlx::Timestamp::to_jiff),
                node: NodeId(row.node),
            })
        })
        .collect()
}

async fn events(
    conn: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
) -> Result<Vec<DeliveryEventRow>> {
    let rows = sqlx::query!(
        r#"
        SELECT delivery_id, kind, provenance, bounce_class, code, detail, occurred_at, received_at
        FROM delivery_events WHERE tenant_id = $1 AND message_id = $2 ORDER BY occurred_at, id LIMIT 500
        "#,
        tenant.0,
        message.0,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(DeliveryEventRow {
                delivery: row.delivery_id.map(DeliveryId),
                kind: word(&row.kind)?,
                provenance: word(&row.provenance)?,
                bounce_class: optional_word(row.bounce_class.as_deref())?,
                code: row.code,
                detail: row.detail,
                occurred_at: row.occurred_at.to_jiff(),
                received_at: row.received_at.to_jiff(),
            })
        })
        .collect()
}

/// The sealed content of a message for a channel, or its sealed request.
pub async fn content(
    conn: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
    channel: Option<Channel>,
) -> Result<Option<Vec<u8>>> {
    let sealed = sqlx::query_scalar!(
        "SELECT sealed FROM message_contents WHERE tenant_id = $1 AND message_id = $2 AND part = $3",
        tenant.0,
        message.0,
        channel.map_or("request", Channel::as_str),
    )
    .fetch_optional(conn)
    .await?;
    Ok(sealed)
}
