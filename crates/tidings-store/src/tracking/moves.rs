//! What reports change: where deliveries and messages stand, and what follows for the other channels of a message.

use crate::{Result, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use tidings_core::status::Standing;
use tidings_core::{ConnectionId, DeliveryId, DeliveryState, ErrorCategory, JobId, MessageId};

/// Writes what is now known of messages, since when. Each instant is kept as it was first reported; a message stands in the
/// list once.
pub async fn set_standings(tx: &mut TenantTx, standings: &[(MessageId, Standing, Timestamp)]) -> Result<()> {
    let messages: Vec<_> = standings.iter().map(|one| one.0.0).collect();
    let statuses: Vec<_> = standings.iter().map(|one| one.1.status.as_str()).collect();
    let provenances: Vec<_> = standings.iter().map(|one| one.1.provenance.as_str()).collect();
    let times: Vec<_> = standings.iter().map(|one| one.2.to_sqlx()).collect();
    sqlx::query!(
        "UPDATE messages m
         SET status = i.status, status_provenance = i.provenance,
             waits_for = NULL,
             sent_at = CASE WHEN i.status IN ('sent', 'delivered', 'opened', 'clicked') THEN coalesce(m.sent_at, i.at) ELSE m.sent_at END,
             delivered_at = CASE WHEN i.status IN ('delivered', 'opened', 'clicked') THEN coalesce(m.delivered_at, i.at) ELSE m.delivered_at END,
             opened_at = CASE WHEN i.status IN ('opened', 'clicked') THEN coalesce(m.opened_at, i.at) ELSE m.opened_at END,
             clicked_at = CASE WHEN i.status = 'clicked' THEN coalesce(m.clicked_at, i.at) ELSE m.clicked_at END,
             failed_at = CASE WHEN i.status IN ('failed', 'bounced') THEN coalesce(m.failed_at, i.at) ELSE m.failed_at END
         FROM unnest($2::uuid[], $3::text[], $4::text[], $5::timestamptz[]) AS i(id, status, provenance, at)
         WHERE m.tenant_id = $1 AND m.id = i.id",
        tx.tenant().0,
        &messages,
        &statuses as _,
        &provenances as _,
        &times as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Where a report leaves a delivery.
#[derive(Clone, Debug)]
pub struct Move {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its new state.
    pub state: DeliveryState,
    /// The provider's id of the message, and the connection it is of.
    pub provider_message: Option<(ConnectionId, String)>,
}

/// Moves deliveries after reports; an attempt of unknown outcome is known to have been accepted when anything was
/// reported about it. A delivery stands in the list once.
pub async fn move_deliveries(tx: &mut TenantTx, moves: &[Move], now: Timestamp) -> Result<()> {
    let deliveries: Vec<_> = moves.iter().map(|one| one.delivery.0).collect();
    let states: Vec<_> = moves.iter().map(|one| one.state.as_str()).collect();
    let told = || moves.iter().map(|one| one.provider_message.as_ref());
    let connections: Vec<_> = told().map(|pair| pair.map(|pair| pair.0.0)).collect();
    let ids: Vec<_> = told().map(|pair| pair.map(|pair| pair.1.as_str())).collect();
    sqlx::query!(
        "WITH input AS MATERIALIZED (
             SELECT * FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::text[])
                 AS i(delivery_id, state, connection_id, provider_message_id)
         ), moved AS (
             UPDATE deliveries d SET state = i.state, updated_at = $6, resolve_after = NULL,
                 provider_message_id = coalesce(d.provider_message_id, i.provider_message_id)
             FROM input i WHERE d.tenant_id = $1 AND d.id = i.delivery_id RETURNING d.id, d.attempt_no
         ), told AS (
             UPDATE attempts a SET outcome = 'accepted', finished_at = coalesce(a.finished_at, $6)
             FROM moved WHERE a.tenant_id = $1 AND a.delivery_id = moved.id AND a.attempt_no = moved.attempt_no
                 AND a.outcome IN ('intended', 'unknown')
         ), known AS (
             INSERT INTO provider_messages (tenant_id, connection_id, provider_message_id, delivery_id)
             SELECT $1, i.connection_id, i.provider_message_id, i.delivery_id FROM input i
             WHERE i.connection_id IS NOT NULL AND i.provider_message_id IS NOT NULL
             ON CONFLICT DO NOTHING
         )
         DELETE FROM unknown_deliveries u USING input i WHERE u.tenant_id = $1 AND u.delivery_id = i.delivery_id",
        tx.tenant().0,
        &deliveries,
        &states as _,
        &connections as _,
        &ids as _,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Puts a delivery that a provider took and failed for now back in line under a new job. What is kept of the ended attempt is its
/// row; the delivery forgets its reference and id, so that what is still reported of it is told apart from the next.
pub async fn try_again(
    tx: &mut TenantTx,
    delivery: DeliveryId,
    job: JobId,
    category: Option<ErrorCategory>,
    error: &str,
    now: Timestamp,
) -> Result<()> {
    sqlx::query!(
        "UPDATE deliveries SET state = 'retry_wait', job_id = $3, reference = NULL, provider_message_id = NULL,
             resolve_after = NULL, last_error = $4, error_category = $5, updated_at = $6
         WHERE tenant_id = $1 AND id = $2 AND state = 'accepted'",
        tx.tenant().0,
        delivery.0,
        job.0,
        error,
        category.map(ErrorCategory::as_str),
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Stops the later channels of a message of which nothing has begun to leave; the answer holds their deliveries. One that
/// somebody is at this moment beginning is left to them: it is too late.
pub async fn stop_later(
    tx: &mut TenantTx,
    message: MessageId,
    after_position: i16,
    why: &str,
    now: Timestamp,
) -> Result<Vec<DeliveryId>> {
    let stopped = sqlx::query_scalar!(
        "WITH later AS MATERIALIZED (
             SELECT id FROM deliveries
             WHERE tenant_id = $1 AND message_id = $2 AND position > $3 AND state IN ('queued', 'retry_wait')
             FOR UPDATE SKIP LOCKED
         )
         UPDATE deliveries d SET state = 'stopped', last_error = $4, updated_at = $5
         FROM later WHERE d.tenant_id = $1 AND d.id = later.id
         RETURNING d.id",
        tx.tenant().0,
        message.0,
        after_position,
        why,
        now.to_sqlx() as _,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(stopped.into_iter().map(DeliveryId).collect())
}
