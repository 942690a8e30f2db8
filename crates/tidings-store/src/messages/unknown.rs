//! Deliveries nobody knows the outcome of, and those held for a person.

use super::words::{optional_word, word};
use crate::Result;
use jiff::Timestamp;
use sqlx::PgConnection;
use tidings_core::{Channel, ConnectionId, DeliveryId, DeliveryState, MessageId, TenantId};

/// A delivery of unknown outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDelivery {
    /// Whose.
    pub tenant: TenantId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its message.
    pub message: MessageId,
    /// Its channel.
    pub channel: Channel,
    /// `unknown` or `held`.
    pub state: DeliveryState,
    /// Its newest attempt.
    pub attempt_no: i32,
    /// Over which connection.
    pub connection: Option<ConnectionId>,
    /// Since when.
    pub since: Timestamp,
    /// What happened, without personal data.
    pub detail: Option<String>,
    /// When it is asked about next.
    pub resolve_after: Option<Timestamp>,
}

/// A page of a tenant's unknown deliveries, oldest first, after the given one.
pub async fn list(
    conn: &mut PgConnection,
    tenant: TenantId,
    after: Option<DeliveryId>,
    limit: i64,
) -> Result<Vec<UnknownDelivery>> {
    let rows = sqlx::query!(
        r#"
        SELECT u.delivery_id, u.message_id, u.since, d.channel, d.state, d.attempt_no, d.connection_id, d.last_error,
            d.resolve_after
        FROM unknown_deliveries u
        JOIN deliveries d ON d.tenant_id = u.tenant_id AND d.id = u.delivery_id
        WHERE u.tenant_id = $1 AND ($2::uuid IS NULL OR u.delivery_id > $2)
        ORDER BY u.delivery_id LIMIT $3
        "#,
        tenant.0,
        after.map(|delivery| delivery.0),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(UnknownDelivery {
                tenant,
                delivery: DeliveryId(row.delivery_id),
                message: MessageId(row.message_id),
                channel: word(&row.channel)?,
                state: word(&row.state)?,
                attempt_no: row.attempt_no,
                connection: row.connection_id.map(ConnectionId),
                since: row.since.to_jiff(),
                detail: row.last_error,
                resolve_after: row.resolve_after.map(jiff_sqlx::Timestamp::to_jiff),
            })
        })
        .collect()
}

/// How many deliveries are unknown, and how many of those are held, over all tenants or of one.
pub async fn count(conn: &mut PgConnection, tenant: Option<TenantId>) -> Result<(i64, i64)> {
    let row = sqlx::query!(
        r#"
        SELECT count(*) AS "all!", count(*) FILTER (WHERE held) AS "held!" FROM unknown_deliveries
        WHERE $1::uuid IS NULL OR tenant_id = $1
        "#,
        tenant.map(|tenant| tenant.0),
    )
    .fetch_one(conn)
    .await?;
    Ok((row.all, row.held))
}

/// The newest delivery of a message with its state and carrying job, for a person's decision.
pub async fn newest_delivery(
    conn: &mut PgConnection,
    tenant: TenantId,
    message: MessageId,
) -> Result<Option<(DeliveryId, DeliveryState)>> {
    let row = sqlx::query!(
        r#"
        SELECT id, state FROM deliveries WHERE tenant_id = $1 AND message_id = $2 ORDER BY position DESC LIMIT 1
        "#,
        tenant.0,
        message.0,
    )
    .fetch_optional(conn)
    .await?;
    match row {
        Some(row) => Ok(optional_word(Some(&row.state))?.map(|state| (DeliveryId(row.id), state))),
        None => Ok(None),
    }
}
