//! Which connection a contact's messages went out by, and which one the contact wrote to.

use crate::Result;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use tidings_core::{Channel, ConnectionId, ContactId, TenantId};

/// Messages of a contact that are looked at, newest first.
const LOOKED_AT: i64 = 20;

/// What is known of a contact on a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The connection that carried the newest message.
    pub last: Option<ConnectionId>,
    /// The connection the contact wrote to last, and when.
    pub wrote_to: Option<(ConnectionId, Timestamp)>,
}

/// Looks up contacts on channels, one answer each in the same order. What a contact wrote before `since` is left out.
pub async fn carried(
    conn: &mut PgConnection,
    wanted: &[(TenantId, ContactId, Channel)],
    since: Timestamp,
) -> Result<Vec<Carried>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let tenants: Vec<_> = wanted.iter().map(|(tenant, ..)| tenant.0).collect();
    let contacts: Vec<_> = wanted.iter().map(|(_, contact, _)| contact.0).collect();
    let channels: Vec<_> = wanted.iter().map(|(.., channel)| channel.as_str()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT i.ord AS "ord!", o.connection_id AS "last?", n.connection_id AS "wrote_to?", n.received_at AS "wrote_at?"
        FROM unnest($1::uuid[], $2::uuid[], $3::text[]) WITH ORDINALITY AS i(tenant_id, contact_id, channel, ord)
        LEFT JOIN LATERAL (
            SELECT d.connection_id
            FROM (SELECT m.tenant_id, m.id FROM messages m
                  WHERE m.tenant_id = i.tenant_id AND m.contact_id = i.contact_id ORDER BY m.id DESC LIMIT $4) x
            JOIN deliveries d ON d.tenant_id = x.tenant_id AND d.message_id = x.id AND d.channel = i.channel
                AND d.connection_id IS NOT NULL AND d.state IN ('dispatching', 'unknown', 'accepted', 'delivered')
            ORDER BY x.id DESC LIMIT 1
        ) o ON true
        LEFT JOIN LATERAL (
            SELECT y.connection_id, y.received_at
            FROM (SELECT z.connection_id, z.received_at, z.channel FROM inbound_messages z
                  WHERE z.tenant_id = i.tenant_id AND z.contact_id = i.contact_id ORDER BY z.id DESC LIMIT $4) y
            WHERE y.channel = i.channel AND y.received_at >= $5 LIMIT 1
        ) n ON true
        "#,
        &tenants,
        &contacts,
        &channels as _,
        LOOKED_AT,
        since.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    let mut answers = vec![Carried::default(); wanted.len()];
    for row in rows {
        let place = usize::try_from(row.ord).unwrap_or(0).saturating_sub(1);
        if let Some(answer) = answers.get_mut(place) {
            answer.last = row.last.map(ConnectionId);
            answer.wrote_to = row
                .wrote_to
                .map(ConnectionId)
                .zip(row.wrote_at.map(jiff_sqlx::Timestamp::to_jiff));
        }
    }
    Ok(answers)
}
