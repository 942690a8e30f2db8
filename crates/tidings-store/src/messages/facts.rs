//! What the rules need to know, loaded in one round trip for a whole batch.

use super::words::{channels, word};
use crate::BlindIndex;
use crate::Result;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::Deserialize;
use sqlx::PgConnection;
use sqlx::types::Json;
use std::collections::HashMap;
use tidings_core::decide::facts::{
    AddressFacts, ConsentFacts, ContactFacts, HistoryFacts, OpenBatch, SuppressionFacts, SuppressionReason,
    Window,
};
use tidings_core::{Category, Channel, ContactId, MessageId, MessageStatus, MessageType, TenantId};

/// Messages of a contact that are looked at for caps, newest first.
const HISTORY_ROWS: i64 = 200;

/// How far back caps can look, in days: the longest window a policy may set.
pub const HISTORY_DAYS: i64 = 31;

/// About whom, and for which message.
#[derive(Clone, Debug)]
pub struct FactsQuery {
    /// Whose.
    pub tenant: TenantId,
    /// About whom.
    pub contact: ContactId,
    /// The message itself: left out of the history and of the search for duplicates.
    pub message: MessageId,
    /// Its type.
    pub message_type: MessageType,
    /// Its source reference: an earlier message with the same one is the answer.
    pub source_reference: Option<String>,
}

/// What is known about a contact, with the message left to the caller.
#[derive(Clone, Debug)]
pub struct ContactKnown {
    /// The contact.
    pub contact: ContactFacts,
    /// Its locale.
    pub locale: Option<String>,
    /// One entry a channel with an address.
    pub addresses: Vec<AddressFacts>,
    /// The blind index of each of those addresses.
    pub indexes: Vec<(Channel, BlindIndex)>,
    /// Consents in force.
    pub consents: Vec<ConsentFacts>,
    /// What went before, planned sends included.
    pub planned_or_sent: Vec<Past>,
    /// The open batch.
    pub open_batch: Option<OpenBatch>,
    /// When the newest other batch went out, or is planned to.
    pub last_batch_at: Option<Timestamp>,
    /// The earlier message with the same source reference.
    pub duplicate_of: Option<MessageId>,
}

/// One earlier message of the contact.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    /// Its category.
    pub category: Category,
    /// When it went out, or is planned to.
    pub at: Timestamp,
    /// It has begun to go out.
    pub dispatched: bool,
}

impl ContactKnown {
    /// The history for the decision: planned messages count as well.
    pub fn history_with_plans(&self) -> HistoryFacts {
        self.history(|_| true)
    }

    /// The history for the gate: only what has begun to go out, so that two planned messages never wait for each other.
    pub fn history_dispatched(&self) -> HistoryFacts {
        self.history(|past| past.dispatched)
    }

    fn history(&self, counts: impl Fn(&Past) -> bool) -> HistoryFacts {
        HistoryFacts {
            sent: self
                .planned_or_sent
                .iter()
                .filter(|past| counts(past))
                .map(|past| (past.category, past.at))
                .collect(),
            last_sent_at: self
                .planned_or_sent
                .iter()
                .filter(|past| past.dispatched)
                .map(|past| past.at)
                .max(),
            open_batch: self.open_batch.clone(),
            last_batch_at: self.last_batch_at,
        }
    }
}

#[derive(Debug, Deserialize)]
struct AddressRow {
    kind: String,
    blind_index: String,
    valid: bool,
    known_bad: Option<String>,
    suppressions: Option<Vec<SuppressionRow>>,
}

#[derive(Debug, Deserialize)]
struct SuppressionRow {
    channel: Channel,
    reason: SuppressionReason,
    since: Timestamp,
    until: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct ConsentRow {
    channel: Option<Channel>,
    purpose: Category,
    granted: bool,
    at: Timestamp,
}

#[derive(Debug, Deserialize)]
struct BatchRow {
    channel: Channel,
    size: u32,
    opened_at: Timestamp,
}

/// Loads what is known, one answer a query in the same order; `None` where the tenant has no such contact.
pub async fn load(
    conn: &mut PgConnection,
    queries: &[FactsQuery],
    now: Timestamp,
) -> Result<Vec<Option<ContactKnown>>> {
    if queries.is_empty() {
        return Ok(Vec::new());
    }
    let tenants: Vec<_> = queries.iter().map(|query| query.tenant.0).collect();
    let contacts: Vec<_> = queries.iter().map(|query| query.contact.0).collect();
    let messages: Vec<_> = queries.iter().map(|query| query.message.0).collect();
    let types: Vec<_> = queries.iter().map(|query| query.message_type.as_str()).collect();
    let references: Vec<_> = queries
        .iter()
        .map(|query| query.source_reference.as_deref())
        .collect();
    let since = now
        .saturating_sub(jiff::SignedDuration::from_hours(24 * HISTORY_DAYS))
        .unwrap_or(now);
    let rows = sqlx::query!(
        r#"
        SELECT i.ord AS "ord!", c.zone, c.country, c.locale, c.preferred_channels, c.opted_out, c.stopped,
            c.quiet_hours AS "quiet_hours: Json<Vec<Window>>", c.paused_until, c.last_whatsapp_inbound_at, c.erased_at,
            a.list AS "addresses: Json<Vec<AddressRow>>", co.list AS "consents: Json<Vec<ConsentRow>>",
            h.categories AS "past_categories: Vec<String>", h.at AS "past_at: Vec<jiff_sqlx::Timestamp>",
            h.dispatched AS "past_dispatched: Vec<bool>", b.open AS "open_batch: Json<BatchRow>",
            lb.goes_at AS "last_batch_at?", d.id AS "duplicate_of?"
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[]) WITH ORDINALITY
            AS i(tenant_id, contact_id, message_id, message_type, source_reference, ord)
        JOIN contacts c ON c.tenant_id = i.tenant_id AND c.id = i.contact_id
        LEFT JOIN LATERAL (
            SELECT jsonb_agg(jsonb_build_object('kind', x.kind, 'valid', x.valid, 'known_bad', x.known_bad,
                'blind_index', encode(x.blind_index, 'hex'),
                'suppressions', (
                    SELECT jsonb_agg(jsonb_build_object('channel', s.channel, 'reason', s.reason, 'since', s.created_at,
                        'until', s.expires_at))
                    FROM suppressions s
                    WHERE s.tenant_id = x.tenant_id AND s.blind_index = x.blind_index AND s.lifted_at IS NULL))
                ORDER BY x.is_primary DESC, x.valid DESC, x.created_at, x.id) AS list
            FROM addresses x WHERE x.tenant_id = c.tenant_id AND x.contact_id = c.id
        ) a ON true
        LEFT JOIN LATERAL (
            SELECT jsonb_agg(jsonb_build_object('channel', n.channel, 'purpose', n.purpose, 'granted', n.granted,
                'at', n.at)) AS list
            FROM (SELECT DISTINCT ON (y.channel, y.purpose) y.channel, y.purpose, y.granted, y.at
                  FROM consents y WHERE y.tenant_id = c.tenant_id AND y.contact_id = c.id
                  ORDER BY y.channel, y.purpose, y.at DESC, y.id DESC) n
        ) co ON true
        LEFT JOIN LATERAL (
            -- Arrays, not JSON: this is the part that grows, and it is read for every message.
            SELECT array_agg(p.category) AS categories, array_agg(p.at) AS at, array_agg(p.dispatched) AS dispatched
            FROM (SELECT m.category, coalesce(m.dispatched_at, m.planned_at) AS at, m.status,
                      m.dispatched_at IS NOT NULL AS dispatched
                  FROM messages m
                  WHERE m.tenant_id = c.tenant_id AND m.contact_id = c.id AND m.id <> i.message_id
                  ORDER BY m.id DESC LIMIT $6) p
            WHERE p.at > $7 AND (p.dispatched OR p.status NOT IN ('failed', 'suppressed', 'cancelled'))
        ) h ON true
        LEFT JOIN LATERAL (
            SELECT jsonb_build_object('channel', o.channel, 'size', o.size, 'opened_at', o.opened_at) AS open
            FROM batches o
            WHERE o.tenant_id = c.tenant_id AND o.contact_id = c.id AND o.closed_at IS NULL
            ORDER BY o.opened_at LIMIT 1
        ) b ON true
        LEFT JOIN LATERAL (
            SELECT z.goes_at FROM batches z
            WHERE z.tenant_id = c.tenant_id AND z.contact_id = c.id AND z.closed_at IS NOT NULL
                AND z.goes_at IS NOT NULL AND z.carrier_id IS DISTINCT FROM i.message_id
            ORDER BY z.closed_at DESC LIMIT 1
        ) lb ON true
        LEFT JOIN messages d ON d.tenant_id = i.tenant_id AND d.message_type = i.message_type
            AND d.source_reference = i.source_reference AND i.source_reference IS NOT NULL AND d.id <> i.message_id
        "#,
        &tenants,
        &contacts,
        &messages,
        &types as _,
        &references as _,
        HISTORY_ROWS,
        since.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    let mut answers: Vec<Option<ContactKnown>> = queries.iter().map(|_| None).collect();
    for row in rows {
        let planned_or_sent = history(row.past_categories, row.past_at, row.past_dispatched)?;
        let (addresses, indexes) = address_facts(row.addresses.map(|list| list.0).unwrap_or_default())?;
        let known = ContactKnown {
            contact: ContactFacts {
                zone: row.zone,
                country: row.country,
                preferred_channels: channels(&row.preferred_channels)?,
                opted_out: channels(&row.opted_out)?,
                stopped: channels(&row.stopped)?,
                quiet_hours: row.quiet_hours.0,
                paused_until: row.paused_until.map(jiff_sqlx::Timestamp::to_jiff),
                last_whatsapp_inbound_at: row.last_whatsapp_inbound_at.map(jiff_sqlx::Timestamp::to_jiff),
                erased: row.erased_at.is_some(),
            },
            locale: row.locale,
            addresses,
            indexes,
            consents: row
                .consents
                .map(|list| list.0)
                .unwrap_or_default()
                .iter()
                .map(consent_facts)
                .collect(),
            planned_or_sent,
            open_batch: row.open_batch.map(|batch| OpenBatch {
                channel: batch.0.channel,
                size: batch.0.size,
                opened_at: batch.0.opened_at,
            }),
            last_batch_at: row.last_batch_at.map(jiff_sqlx::Timestamp::to_jiff),
            duplicate_of: row.duplicate_of.map(MessageId),
        };
        let place = usize::try_from(row.ord).unwrap_or(0).saturating_sub(1);
        if let Some(answer) = answers.get_mut(place) {
            *answer = Some(known);
        }
    }
    Ok(answers)
}

/// The history from its parallel columns; all of them are absent where there is none.
fn history(
    categories: Option<Vec<String>>,
    at: Option<Vec<jiff_sqlx::Timestamp>>,
    dispatched: Option<Vec<bool>>,
) -> Result<Vec<Past>> {
    let times = at
        .unwrap_or_default()
        .into_iter()
        .zip(dispatched.unwrap_or_default());
    categories
        .unwrap_or_default()
        .iter()
        .zip(times)
        .map(|(category, (at, dispatched))| {
            Ok(Past {
                category: word(category)?,
                at: at.to_jiff(),
                dispatched,
            })
        })
        .collect()
}

type Addresses = (Vec<AddressFacts>, Vec<(Channel, BlindIndex)>);

/// One entry a channel: rows come best first, and the first of a kind is the one that would be written to.
fn address_facts(rows: Vec<AddressRow>) -> Result<Addresses> {
    let mut facts: Vec<AddressFacts> = Vec::new();
    let mut indexes = Vec::new();
    for row in rows {
        let index = blind_index(&row.blind_index)?;
        for channel in Channel::ALL
            .iter()
            .copied()
            .filter(|channel| channel.uses_phone() == (row.kind == "phone"))
        {
            if facts.iter().any(|fact| fact.channel == channel) {
                continue;
            }
            let suppressions = row
                .suppressions
                .iter()
                .flatten()
                .filter(|row| row.channel == channel);
            indexes.push((channel, index));
            facts.push(AddressFacts {
                channel,
                valid: row.valid,
                known_bad: row.known_bad.clone(),
                suppressions: suppressions
                    .map(|row| SuppressionFacts {
                        reason: row.reason,
                        since: row.since,
                        until: row.until,
                    })
                    .collect(),
            });
        }
    }
    Ok((facts, indexes))
}

fn blind_index(text: &str) -> Result<BlindIndex> {
    let bytes = hex::decode(text).map_err(|error| sqlx::Error::Decode(error.to_string().into()))?;
    BlindIndex::from_column(&bytes)
}

fn consent_facts(row: &ConsentRow) -> ConsentFacts {
    ConsentFacts {
        channel: row.channel,
        purpose: row.purpose,
        granted: row.granted,
        at: row.at,
    }
}

/// What a source reference stands for: tenant, type, text.
pub type Reference = (TenantId, MessageType, String);

/// The messages that hold the given source references, with their contacts and statuses: who won where two came at once.
pub async fn duplicates(
    conn: &mut PgConnection,
    references: &[Reference],
) -> Result<HashMap<Reference, (MessageId, ContactId, MessageStatus)>> {
    let tenants: Vec<_> = references.iter().map(|(tenant, ..)| tenant.0).collect();
    let types: Vec<_> = references
        .iter()
        .map(|(_, message_type, _)| message_type.as_str())
        .collect();
    let texts: Vec<_> = references
        .iter()
        .map(|(.., reference)| reference.as_str())
        .collect();
    let rows = sqlx::query!(
        r#"
        SELECT m.tenant_id, m.message_type, m.source_reference AS "source_reference!", m.id, m.contact_id, m.status
        FROM unnest($1::uuid[], $2::text[], $3::text[]) AS i(tenant_id, message_type, source_reference)
        JOIN messages m ON m.tenant_id = i.tenant_id AND m.message_type = i.message_type
            AND m.source_reference = i.source_reference
        "#,
        &tenants,
        &types as _,
        &texts as _,
    )
    .fetch_all(conn)
    .await?;
    let mut found = HashMap::new();
    for row in rows {
        let message_type = MessageType::parse(&row.message_type)
            .map_err(|error| sqlx::Error::Decode(error.to_string().into()))?;
        let message = (MessageId(row.id), ContactId(row.contact_id), word(&row.status)?);
        found.insert(
            (TenantId(row.tenant_id), message_type, row.source_reference),
            message,
        );
    }
    Ok(found)
}

/// Locks the contacts' rows in a fixed order until the transaction ends. An opt-out takes the same lock, so no
/// dispatch begins after an opt-out was acknowledged; caps are counted under it.
pub async fn lock_contacts(conn: &mut PgConnection, contacts: &[(TenantId, ContactId)]) -> Result<()> {
    let tenants: Vec<_> = contacts.iter().map(|(tenant, _)| tenant.0).collect();
    let ids: Vec<_> = contacts.iter().map(|(_, contact)| contact.0).collect();
    sqlx::query!(
        r#"
        SELECT 1 AS "one!" FROM contacts c
        WHERE (c.tenant_id, c.id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
        ORDER BY c.tenant_id, c.id FOR NO KEY UPDATE OF c
        "#,
        &tenants,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(())
}
