//! Deliveries that a provider took and never reported the end of, and how far each step of asking about them has come.

use crate::Result;
use crate::columns::word;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use tidings_core::reconcile::{Mark, Step};
use tidings_core::{ConnectionId, DeliveryId, TenantId};

/// A delivery to ask about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreported {
    /// Its call.
    pub call: Mark,
    /// The provider's id of it.
    pub provider_message_id: String,
}

/// What a look at a stretch of calls brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The deliveries to ask about, in order.
    pub unreported: Vec<Unreported>,
    /// Up to there was looked.
    pub through: Mark,
    /// The stretch may go on behind that.
    pub more: bool,
}

/// The marks of a connection.
pub async fn marks(
    conn: &mut PgConnection,
    tenant: TenantId,
    connection: ConnectionId,
) -> Result<BTreeMap<Step, Mark>> {
    let rows = sqlx::query!(
        "SELECT step, asked_to, delivery_id FROM report_marks WHERE tenant_id = $1 AND connection_id = $2",
        tenant.0,
        connection.0,
    )
    .fetch_all(conn)
    .await?;
    let mut marks = BTreeMap::new();
    for row in rows {
        let mark = Mark {
            at: row.asked_to.to_jiff(),
            delivery: DeliveryId(row.delivery_id),
        };
        marks.insert(word("report_marks.step", &row.step)?, mark);
    }
    Ok(marks)
}

/// Moves marks of a connection; none moves back.
pub async fn move_marks(
    conn: &mut PgConnection,
    tenant: TenantId,
    connection: ConnectionId,
    marks: &BTreeMap<Step, Mark>,
) -> Result<()> {
    let steps: Vec<String> = marks.keys().map(|step| step.as_str().to_owned()).collect();
    let times: Vec<_> = marks.values().map(|mark| mark.at.to_sqlx()).collect();
    let deliveries: Vec<_> = marks.values().map(|mark| mark.delivery.0).collect();
    sqlx::query!(
        "INSERT INTO report_marks AS m (tenant_id, connection_id, step, asked_to, delivery_id)
         SELECT $1, $2, i.step, i.asked_to, i.delivery_id
         FROM unnest($3::text[], $4::timestamptz[], $5::uuid[]) AS i(step, asked_to, delivery_id)
         ON CONFLICT (tenant_id, connection_id, step) DO UPDATE
             SET asked_to = excluded.asked_to, delivery_id = excluded.delivery_id
             WHERE (m.asked_to, m.delivery_id) < (excluded.asked_to, excluded.delivery_id)",
        tenant.0,
        connection.0,
        &steps,
        &times as _,
        &deliveries,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Looks through the tenant's calls after a mark and up to an instant, so many at most, for deliveries over this connection
/// whose newest attempt is that call and of which nothing final is known; stops behind the `most`th.
///
/// The index on the time of calls serves every connection of the tenant: one of its own would be written by every call.
pub async fn stretch(
    conn: &mut PgConnection,
    tenant: TenantId,
    connection: ConnectionId,
    after: Mark,
    to: Timestamp,
    calls: i64,
    most: usize,
) -> Result<Stretch> {
    let rows = sqlx::query!(
        r#"
        WITH looked AS MATERIALIZED (
            SELECT a.delivery_id, a.attempt_no, a.connection_id, a.intended_at FROM attempts a
            WHERE a.tenant_id = $1 AND a.intended_at >= $3 AND a.intended_at <= $5
                AND (a.intended_at > $3 OR a.delivery_id > $4)
            ORDER BY a.intended_at, a.delivery_id LIMIT $6
        ), placed AS (
            SELECT l.*, row_number() OVER (ORDER BY l.intended_at, l.delivery_id) AS place, count(*) OVER () AS total
            FROM looked l
        )
        SELECT p.intended_at AS "intended_at!: jiff_sqlx::Timestamp", p.delivery_id AS "delivery_id!", p.total AS "total!",
            d.provider_message_id AS "provider_message_id?"
        FROM placed p
        LEFT JOIN LATERAL (
            SELECT o.provider_message_id FROM deliveries o
            WHERE p.connection_id = $2 AND o.tenant_id = $1 AND o.id = p.delivery_id AND o.attempt_no = p.attempt_no
                AND o.state = 'accepted' AND o.provider_message_id IS NOT NULL
        ) d ON true
        WHERE d.provider_message_id IS NOT NULL OR p.place = p.total
        ORDER BY p.place
        "#,
        tenant.0,
        connection.0,
        after.at.to_sqlx() as _,
        after.delivery.0,
        to.to_sqlx() as _,
        calls,
    )
    .fetch_all(conn)
    .await?;
    let mut found = Stretch {
        unreported: Vec::new(),
        through: Mark::after(to),
        more: false,
    };
    for row in rows {
        let call = Mark {
            at: row.intended_at.to_jiff(),
            delivery: DeliveryId(row.delivery_id),
        };
        if found.unreported.len() == most {
            found.through = found.unreported.last().map_or(after, |last| last.call);
            found.more = true;
            return Ok(found);
        }
        if let Some(provider_message_id) = row.provider_message_id {
            found.unreported.push(Unreported {
                call,
                provider_message_id,
            });
        }
        if row.total >= calls {
            // The last row is that of the last call that was looked at.
            found.through = call;
            found.more = true;
        }
    }
    Ok(found)
}
