//! Reports about deliveries: found, stored once, and joined into what is known.

use crate::Result;
use crate::columns::word;
use crate::messages::words::channels;
use crate::{BlindIndex, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use std::collections::{HashMap, HashSet};
use tidings_core::event::{BounceClass, DeliveryEventKind};
use tidings_core::status::Standing;
use tidings_core::{
    Category, Channel, ConnectionId, ContactId, DeliveryEventId, DeliveryId, DeliveryState, ErrorCategory,
    JobId, MessageId, MessageType, Provenance, Urgency,
};

/// A delivery a report is about, locked with its message until the transaction ends.
#[derive(Clone, Debug)]
pub struct Reported {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Where it stands.
    pub state: DeliveryState,
    /// Its newest attempt.
    pub attempt_no: i32,
    /// Its channel.
    pub channel: Channel,
    /// Its place in the chain, from 0.
    pub position: i16,
    /// The whole chain.
    pub chain: Vec<Channel>,
    /// A later channel of the chain has taken over.
    pub overtaken: bool,
    /// An earlier channel of the chain arrived.
    pub arrived_before: bool,
    /// The job that carries it.
    pub job: Option<JobId>,
    /// The reference of its newest dispatch, where it was not refused.
    pub reference: Option<String>,
    /// The provider's id of it, where that is known.
    pub provider_message_id: Option<String>,
    /// The message.
    pub message: MessageId,
    /// How urgent it is.
    pub urgency: Urgency,
    /// Its type.
    pub message_type: MessageType,
    /// Its category.
    pub category: Category,
    /// To whom.
    pub contact: ContactId,
    /// What is known of the message.
    pub standing: Standing,
    /// When a provider took it.
    pub sent_at: Option<Timestamp>,
}

/// A report to store.
#[derive(Clone, Debug)]
pub struct NewReport {
    /// Its id.
    pub id: DeliveryEventId,
    /// Who reported it: a connection, or the nil UUID for our own pixel, links and pages.
    pub connection: ConnectionId,
    /// The same for the same report.
    pub dedupe_key: String,
    /// The delivery, where it was found.
    pub delivery: Option<DeliveryId>,
    /// The message, where it was found.
    pub message: Option<MessageId>,
    /// What happened.
    pub kind: DeliveryEventKind,
    /// How it became known.
    pub provenance: Provenance,
    /// For bounces.
    pub bounce_class: Option<BounceClass>,
    /// For failures.
    pub error_category: Option<ErrorCategory>,
    /// The provider's code.
    pub code: Option<String>,
    /// Further detail, without personal data.
    pub detail: Option<String>,
    /// When it happened.
    pub occurred_at: Timestamp,
}

/// What a report names.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The connection it is of.
    pub connection: ConnectionId,
    /// The delivery of our reference.
    pub delivery: Option<DeliveryId>,
    /// The provider's id of the message.
    pub provider_message_id: Option<&'a str>,
}

/// Finds the deliveries, in order of what is wanted: by our reference's delivery id, else by the provider's id of the
/// message. Only what went over the report's connection is found: one account cannot report about another's messages.
pub async fn find_all(tx: &mut TenantTx, wanted: &[Wanted<'_>]) -> Result<Vec<Option<DeliveryId>>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let connections: Vec<_> = wanted.iter().map(|one| one.connection.0).collect();
    let deliveries: Vec<_> = wanted.iter().map(|one| one.delivery.map(|id| id.0)).collect();
    let ids: Vec<_> = wanted.iter().map(|one| one.provider_message_id).collect();
    let found = sqlx::query_scalar!(
        r#"SELECT coalesce(
            (SELECT a.delivery_id FROM attempts a
             WHERE a.tenant_id = $1 AND a.delivery_id = i.delivery_id AND a.connection_id = i.connection_id LIMIT 1),
            (SELECT p.delivery_id FROM provider_messages p
             WHERE p.tenant_id = $1 AND p.connection_id = i.connection_id AND p.provider_message_id = i.message_id)) AS found
           FROM unnest($2::uuid[], $3::uuid[], $4::text[]) WITH ORDINALITY
               AS i(connection_id, delivery_id, message_id, ord)
           ORDER BY i.ord"#,
        tx.tenant().0,
        &connections,
        &deliveries as _,
        &ids as _,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(found.into_iter().map(|id| id.map(DeliveryId)).collect())
}

/// Finds one; see [`find_all`].
pub async fn find(tx: &mut TenantTx, wanted: Wanted<'_>) -> Result<Option<DeliveryId>> {
    Ok(find_all(tx, &[wanted]).await?.pop().flatten())
}

/// The delivery of a message that went over a connection: what an answer that names the message is about.
pub async fn of_message(
    tx: &mut TenantTx,
    connection: ConnectionId,
    message: MessageId,
) -> Result<Option<DeliveryId>> {
    let found = sqlx::query_scalar!(
        "SELECT d.id FROM deliveries d
         WHERE d.tenant_id = $1 AND d.message_id = $2 AND EXISTS (
             SELECT FROM attempts a
             WHERE a.tenant_id = d.tenant_id AND a.delivery_id = d.id AND a.connection_id = $3)
         ORDER BY d.position DESC LIMIT 1",
        tx.tenant().0,
        message.0,
        connection.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.map(DeliveryId))
}

/// The newest delivery of a message: what an open, a click or an unsubscribe is about.
pub async fn newest_of(tx: &mut TenantTx, message: MessageId) -> Result<Option<DeliveryId>> {
    let found = sqlx::query_scalar!(
        "SELECT id FROM deliveries WHERE tenant_id = $1 AND message_id = $2 ORDER BY position DESC LIMIT 1",
        tx.tenant().0,
        message.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.map(DeliveryId))
}

/// The contact that a delivery's message goes to; none when it was erased.
pub async fn recipient(tx: &mut TenantTx, delivery: DeliveryId) -> Result<Option<ContactId>> {
    let found = sqlx::query_scalar!(
        "SELECT c.id FROM deliveries d
         JOIN messages m ON m.tenant_id = d.tenant_id AND m.id = d.message_id
         JOIN contacts c ON c.tenant_id = m.tenant_id AND c.id = m.contact_id AND c.erased_at IS NULL
         WHERE d.tenant_id = $1 AND d.id = $2",
        tx.tenant().0,
        delivery.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.map(ContactId))
}

/// Locks what reports are about before the first of them is applied: these contacts, the contacts behind the `touching`
/// deliveries with everybody who shares an address with them, then the `deliveries` with their messages. Each in order of id,
/// so that nobody who does the same waits in a circle.
pub async fn lock_ahead(
    tx: &mut TenantTx,
    contacts: &[ContactId],
    touching: &[DeliveryId],
    deliveries: &[DeliveryId],
) -> Result<()> {
    let contacts: Vec<_> = contacts.iter().map(|contact| contact.0).collect();
    let touching: Vec<_> = touching.iter().map(|delivery| delivery.0).collect();
    let deliveries: Vec<_> = deliveries.iter().map(|delivery| delivery.0).collect();
    if !(contacts.is_empty() && touching.is_empty()) {
        sqlx::query!(
            "WITH meant AS MATERIALIZED (
                 SELECT unnest($2::uuid[]) AS id
                 UNION
                 SELECT m.contact_id FROM deliveries d
                 JOIN messages m ON m.tenant_id = d.tenant_id AND m.id = d.message_id
                 WHERE d.tenant_id = $1 AND d.id = ANY ($3)
             )
             SELECT c.id FROM contacts c
             WHERE c.tenant_id = $1 AND c.id IN (
                 SELECT id FROM meant
                 UNION
                 SELECT o.contact_id FROM meant
                 JOIN addresses a ON a.tenant_id = $1 AND a.contact_id = meant.id
                 JOIN addresses o ON o.tenant_id = a.tenant_id AND o.blind_index = a.blind_index)
             ORDER BY c.id FOR UPDATE",
            tx.tenant().0,
            &contacts,
            &touching,
        )
        .fetch_all(&mut **tx)
        .await?;
    }
    if !deliveries.is_empty() {
        sqlx::query!(
            "SELECT d.id FROM deliveries d JOIN messages m ON m.tenant_id = d.tenant_id AND m.id = d.message_id
             WHERE d.tenant_id = $1 AND d.id = ANY ($2) ORDER BY d.id FOR UPDATE OF d, m",
            tx.tenant().0,
            &deliveries,
        )
        .fetch_all(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Loads and locks a delivery and its message.
pub async fn lock(tx: &mut TenantTx, delivery: DeliveryId) -> Result<Option<Reported>> {
    Ok(lock_all(tx, &[delivery]).await?.remove(&delivery))
}

/// Loads and locks deliveries and their messages, in order of id.
pub async fn lock_all(tx: &mut TenantTx, deliveries: &[DeliveryId]) -> Result<HashMap<DeliveryId, Reported>> {
    if deliveries.is_empty() {
        return Ok(HashMap::new());
    }
    let deliveries: Vec<_> = deliveries.iter().map(|delivery| delivery.0).collect();
    let rows = sqlx::query!(
        "SELECT d.id, d.state, d.attempt_no, d.channel, d.position, d.chain, d.job_id, d.reference, d.provider_message_id,
                m.id AS message_id, m.message_type, m.category, m.urgency, m.contact_id, m.status, m.status_provenance,
                m.sent_at,
                EXISTS (SELECT FROM deliveries l WHERE l.tenant_id = d.tenant_id AND l.message_id = d.message_id
                    AND l.position > d.position) AS \"overtaken!\",
                EXISTS (SELECT FROM deliveries l WHERE l.tenant_id = d.tenant_id AND l.message_id = d.message_id
                    AND l.position < d.position AND l.state = 'delivered') AS \"arrived_before!\"
         FROM deliveries d JOIN messages m ON m.tenant_id = d.tenant_id AND m.id = d.message_id
         WHERE d.tenant_id = $1 AND d.id = ANY ($2)
         ORDER BY d.id FOR UPDATE OF d, m",
        tx.tenant().0,
        &deliveries,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in rows {
        let message_type = MessageType::parse(&row.message_type)
            .map_err(|error| sqlx::Error::Decode(format!("messages.message_type: {error}").into()))?;
        let reported = Reported {
            delivery: DeliveryId(row.id),
            state: word("deliveries.state", &row.state)?,
            attempt_no: row.attempt_no,
            channel: word("deliveries.channel", &row.channel)?,
            position: row.position,
            chain: channels(&row.chain)?,
            overtaken: row.overtaken,
            arrived_before: row.arrived_before,
            job: row.job_id.map(JobId),
            reference: row.reference,
            provider_message_id: row.provider_message_id,
            message: MessageId(row.message_id),
            urgency: word("messages.urgency", &row.urgency)?,
            message_type,
            category: word("messages.category", &row.category)?,
            contact: ContactId(row.contact_id),
            standing: Standing::new(
                word("messages.status", &row.status)?,
                word("messages.status_provenance", &row.status_provenance)?,
            ),
            sent_at: row.sent_at.map(jiff_sqlx::Timestamp::to_jiff),
        };
        known.insert(reported.delivery, reported);
    }
    Ok(known)
}

/// Stores reports; the answer holds the ids of those that were not stored before. Of several with the same key the first is
/// stored.
pub async fn insert(
    tx: &mut TenantTx,
    reports: &[NewReport],
    now: Timestamp,
) -> Result<HashSet<DeliveryEventId>> {
    if reports.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<_> = reports.iter().map(|report| report.id.0).collect();
    let connections: Vec<_> = reports.iter().map(|report| report.connection.0).collect();
    let keys: Vec<_> = reports.iter().map(|report| report.dedupe_key.clone()).collect();
    let deliveries: Vec<_> = reports
        .iter()
        .map(|report| report.delivery.map(|id| id.0))
        .collect();
    let messages: Vec<_> = reports
        .iter()
        .map(|report| report.message.map(|id| id.0))
        .collect();
    let kinds: Vec<_> = reports.iter().map(|report| report.kind.as_str()).collect();
    let provenances: Vec<_> = reports.iter().map(|report| report.provenance.as_str()).collect();
    let classes: Vec<_> = reports
        .iter()
        .map(|report| report.bounce_class.map(BounceClass::as_str))
        .collect();
    let categories: Vec<_> = reports
        .iter()
        .map(|report| report.error_category.map(ErrorCategory::as_str))
        .collect();
    let codes: Vec<_> = reports.iter().map(|report| report.code.as_deref()).collect();
    let details: Vec<_> = reports.iter().map(|report| report.detail.as_deref()).collect();
    let times: Vec<_> = reports
        .iter()
        .map(|report| report.occurred_at.to_sqlx())
        .collect();
    let stored = sqlx::query_scalar!(
        "INSERT INTO delivery_events (tenant_id, id, connection_id, dedupe_key, delivery_id, message_id, kind, provenance,
             bounce_class, error_category, code, detail, occurred_at, received_at)
         SELECT $1, i.id, i.connection_id, i.dedupe_key, i.delivery_id, i.message_id, i.kind, i.provenance,
             i.bounce_class, i.error_category, i.code, i.detail, i.occurred_at, $14
         FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::uuid[], $7::text[], $8::text[], $9::text[],
             $10::text[], $11::text[], $12::text[], $13::timestamptz[])
             AS i(id, connection_id, dedupe_key, delivery_id, message_id, kind, provenance, bounce_class,
                  error_category, code, detail, occurred_at)
         ON CONFLICT (tenant_id, connection_id, dedupe_key) DO NOTHING
         RETURNING id",
        tx.tenant().0,
        &ids,
        &connections,
        &keys,
        &deliveries as _,
        &messages as _,
        &kinds as _,
        &provenances as _,
        &classes as _,
        &categories as _,
        &codes as _,
        &details as _,
        &times as _,
        now.to_sqlx() as _,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(stored.into_iter().map(DeliveryEventId).collect())
}

/// The newest message that went to an address on a channel: what a reply is an answer to.
pub async fn last_sent_to(
    tx: &mut TenantTx,
    contact: ContactId,
    channel: Channel,
) -> Result<Option<(MessageId, Option<DeliveryId>)>> {
    let row = sqlx::query!(
        "SELECT m.id, d.id AS delivery_id FROM messages m
         JOIN deliveries d ON d.tenant_id = m.tenant_id AND d.message_id = m.id AND d.channel = $3
         WHERE m.tenant_id = $1 AND m.contact_id = $2 AND d.state IN ('accepted', 'delivered')
         ORDER BY m.id DESC LIMIT 1",
        tx.tenant().0,
        contact.0,
        channel.as_str(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| (MessageId(row.id), Some(DeliveryId(row.delivery_id)))))
}

/// The blind index kept on an address row of a contact, for the channel's primary address.
pub async fn primary_index(
    tx: &mut TenantTx,
    contact: ContactId,
    channel: Channel,
) -> Result<Option<BlindIndex>> {
    let kind = if channel.uses_phone() { "phone" } else { "email" };
    let row = sqlx::query_scalar!(
        "SELECT blind_index FROM addresses WHERE tenant_id = $1 AND contact_id = $2 AND kind = $3
         ORDER BY is_primary DESC, created_at LIMIT 1",
        tx.tenant().0,
        contact.0,
        kind,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|bytes| BlindIndex::from_column(&bytes)).transpose()
}
