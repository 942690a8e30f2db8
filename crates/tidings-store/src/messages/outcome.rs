//! What became of calls: attempts, deliveries and messages moved in batches, each fenced.

use crate::Result;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use std::collections::HashSet;
use tidings_core::{
    AttemptOutcome, ConnectionId, DeliveryId, DeliveryState, ErrorCategory, JobId, MessageId, MessageStatus,
    Provenance, TenantId,
};

/// What is known of one attempt, and where it leaves its delivery.
#[derive(Clone, Debug)]
pub struct AttemptResult {
    /// Whose.
    pub tenant: TenantId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// The attempt; the fence.
    pub attempt_no: i32,
    /// Over which connection.
    pub connection: ConnectionId,
    /// What is known.
    pub outcome: AttemptOutcome,
    /// Why it failed.
    pub category: Option<ErrorCategory>,
    /// The provider's code.
    pub code: Option<String>,
    /// What it said, without personal data.
    pub detail: Option<String>,
    /// Where the delivery stands now.
    pub state: DeliveryState,
    /// The provider's id of the message.
    pub provider_message_id: Option<String>,
    /// When an unknown outcome is asked about.
    pub resolve_after: Option<Timestamp>,
    /// Repeat the dispatch under the same reference, so that the provider can recognise it.
    pub keep_reference: bool,
}

/// Records results. Only deliveries still `dispatching` or `unknown` (or `held`) under the same attempt move; the answer
/// holds those. A missing one was moved by somebody with better knowledge: a webhook, a person.
pub async fn attempts(
    conn: &mut PgConnection,
    rows: &[AttemptResult],
    now: Timestamp,
) -> Result<HashSet<DeliveryId>> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let tenants: Vec<_> = rows.iter().map(|row| row.tenant.0).collect();
    let deliveries: Vec<_> = rows.iter().map(|row| row.delivery.0).collect();
    let numbers: Vec<_> = rows.iter().map(|row| row.attempt_no).collect();
    let connections: Vec<_> = rows.iter().map(|row| row.connection.0).collect();
    let outcomes: Vec<_> = rows.iter().map(|row| row.outcome.as_str()).collect();
    let categories: Vec<_> = rows
        .iter()
        .map(|row| row.category.map(ErrorCategory::as_str))
        .collect();
    let codes: Vec<_> = rows.iter().map(|row| row.code.as_deref()).collect();
    let details: Vec<_> = rows.iter().map(|row| row.detail.as_deref()).collect();
    let states: Vec<_> = rows.iter().map(|row| row.state.as_str()).collect();
    let provider_ids: Vec<_> = rows
        .iter()
        .map(|row| row.provider_message_id.as_deref())
        .collect();
    let resolve_after: Vec<_> = rows
        .iter()
        .map(|row| row.resolve_after.map(ToSqlx::to_sqlx))
        .collect();
    let keep: Vec<_> = rows.iter().map(|row| row.keep_reference).collect();
    let moved = sqlx::query_scalar!(
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::uuid[], $5::text[], $6::text[], $7::text[],
                $8::text[], $9::text[], $10::text[], $11::timestamptz[], $12::boolean[])
                AS i(tenant_id, delivery_id, attempt_no, connection_id, outcome, category, code, detail, state,
                     provider_message_id, resolve_after, keep_reference)
        ), moved AS (
            UPDATE deliveries d
            SET state = i.state, provider_message_id = coalesce(i.provider_message_id, d.provider_message_id),
                error_category = i.category, last_error = coalesce(i.detail, i.code), resolve_after = i.resolve_after,
                reference = CASE WHEN i.keep_reference OR i.outcome IN ('accepted', 'unknown')
                    THEN d.reference END,
                resolve_tries = CASE WHEN i.outcome = 'unknown' THEN d.resolve_tries + 1 ELSE 0 END,
                updated_at = $13
            FROM input i
            WHERE d.tenant_id = i.tenant_id AND d.id = i.delivery_id AND d.attempt_no = i.attempt_no
                AND d.state IN ('dispatching', 'unknown', 'held')
            RETURNING d.tenant_id, d.id, d.message_id
        ), told AS (
            UPDATE attempts a
            SET outcome = i.outcome, category = i.category, code = i.code, detail = i.detail, finished_at = $13
            FROM input i
            WHERE a.tenant_id = i.tenant_id AND a.delivery_id = i.delivery_id AND a.attempt_no = i.attempt_no
                AND a.outcome IN ('intended', 'unknown')
        ), known AS (
            INSERT INTO provider_messages (tenant_id, connection_id, provider_message_id, delivery_id)
            SELECT i.tenant_id, i.connection_id, i.provider_message_id, i.delivery_id
            FROM input i WHERE i.provider_message_id IS NOT NULL
            ON CONFLICT DO NOTHING
        ), listed AS (
            INSERT INTO unknown_deliveries (tenant_id, delivery_id, message_id, since, held)
            SELECT i.tenant_id, i.delivery_id, m.message_id, $13, i.state = 'held'
            FROM input i JOIN moved m ON m.tenant_id = i.tenant_id AND m.id = i.delivery_id
            WHERE i.state IN ('unknown', 'held')
            ON CONFLICT (tenant_id, delivery_id) DO UPDATE SET held = excluded.held
        ), unlisted AS (
            DELETE FROM unknown_deliveries u
            USING input i JOIN moved m ON m.tenant_id = i.tenant_id AND m.id = i.delivery_id
            WHERE u.tenant_id = i.tenant_id AND u.delivery_id = i.delivery_id AND i.state NOT IN ('unknown', 'held')
        )
        SELECT id AS "id!" FROM moved
        "#,
        &tenants,
        &deliveries,
        &numbers,
        &connections,
        &outcomes as _,
        &categories as _,
        &codes as _,
        &details as _,
        &states as _,
        &provider_ids as _,
        &resolve_after as _,
        &keep,
        now.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(moved.into_iter().map(DeliveryId).collect())
}

/// A delivery that moves without a call: stopped by the gate, or put back.
#[derive(Clone, Debug)]
pub struct DeliveryMove {
    /// Whose.
    pub tenant: TenantId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// The attempt it stands at; the fence.
    pub attempt_no: i32,
    /// From which state.
    pub from: DeliveryState,
    /// To which.
    pub to: DeliveryState,
    /// Why, as a stable code or a sentence without personal data.
    pub because: Option<String>,
    /// The job that carries it from now on.
    pub job: Option<JobId>,
}

/// Moves deliveries; the answer holds those that stood where the caller thought.
pub async fn moves(
    conn: &mut PgConnection,
    rows: &[DeliveryMove],
    now: Timestamp,
) -> Result<HashSet<DeliveryId>> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let tenants: Vec<_> = rows.iter().map(|row| row.tenant.0).collect();
    let deliveries: Vec<_> = rows.iter().map(|row| row.delivery.0).collect();
    let numbers: Vec<_> = rows.iter().map(|row| row.attempt_no).collect();
    let from: Vec<_> = rows.iter().map(|row| row.from.as_str()).collect();
    let to: Vec<_> = rows.iter().map(|row| row.to.as_str()).collect();
    let because: Vec<_> = rows.iter().map(|row| row.because.as_deref()).collect();
    let jobs: Vec<_> = rows.iter().map(|row| row.job.map(|job| job.0)).collect();
    let moved = sqlx::query_scalar!(
        r#"
        WITH input AS (
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::bigint[])
                AS i(tenant_id, delivery_id, attempt_no, state_from, state_to, because, job_id)
        ), moved AS (
            UPDATE deliveries d
            SET state = i.state_to, last_error = coalesce(i.because, d.last_error),
                job_id = coalesce(i.job_id, d.job_id), updated_at = $8,
                resolve_after = CASE WHEN i.state_from IN ('unknown', 'held') THEN NULL ELSE d.resolve_after END
            FROM input i
            WHERE d.tenant_id = i.tenant_id AND d.id = i.delivery_id AND d.attempt_no = i.attempt_no
                AND d.state = i.state_from
            RETURNING d.tenant_id, d.id, d.message_id, i.state_to
        ), listed AS (
            INSERT INTO unknown_deliveries (tenant_id, delivery_id, message_id, since, held)
            SELECT tenant_id, id, message_id, $8, false FROM moved WHERE state_to = 'unknown'
            ON CONFLICT (tenant_id, delivery_id) DO NOTHING
        ), unlisted AS (
            DELETE FROM unknown_deliveries u USING moved
            WHERE u.tenant_id = moved.tenant_id AND u.delivery_id = moved.id
                AND moved.state_to NOT IN ('unknown', 'held')
        )
        SELECT id AS "id!" FROM moved
        "#,
        &tenants,
        &deliveries,
        &numbers,
        &from as _,
        &to as _,
        &because as _,
        &jobs as _,
        now.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(moved.into_iter().map(DeliveryId).collect())
}

/// Lets a delivery be called anew, under a reference of its own: what may have arrived before is no longer repeated.
pub async fn forget_reference(conn: &mut PgConnection, tenant: TenantId, delivery: DeliveryId) -> Result<()> {
    sqlx::query!(
        "UPDATE deliveries SET reference = NULL WHERE tenant_id = $1 AND id = $2",
        tenant.0,
        delivery.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A message that moves.
#[derive(Clone, Debug)]
pub struct MessageMove {
    /// Whose.
    pub tenant: TenantId,
    /// The message.
    pub message: MessageId,
    /// From which status; the fence, so that a report that came first is never undone.
    pub from: MessageStatus,
    /// To which.
    pub to: MessageStatus,
    /// How it became known.
    pub provenance: Provenance,
    /// Why it ended without being sent.
    pub because: Option<String>,
}

/// Moves messages. The answer holds those that stood where the caller thought.
pub async fn messages(
    conn: &mut PgConnection,
    rows: &[MessageMove],
    now: Timestamp,
) -> Result<HashSet<MessageId>> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let tenants: Vec<_> = rows.iter().map(|row| row.tenant.0).collect();
    let messages: Vec<_> = rows.iter().map(|row| row.message.0).collect();
    let from: Vec<_> = rows.iter().map(|row| row.from.as_str()).collect();
    let to: Vec<_> = rows.iter().map(|row| row.to.as_str()).collect();
    let provenances: Vec<_> = rows.iter().map(|row| row.provenance.as_str()).collect();
    let because: Vec<_> = rows.iter().map(|row| row.because.as_deref()).collect();
    let moved = sqlx::query_scalar!(
        r#"
        UPDATE messages m
        SET status = i.status_to, status_provenance = i.provenance,
            waits_for = CASE WHEN i.status_to = 'pending' THEN m.waits_for END,
            ended_because = i.because,
            sent_at = CASE WHEN i.status_to = 'sent' THEN coalesce(m.sent_at, $7) ELSE m.sent_at END,
            failed_at = CASE WHEN i.status_to IN ('failed', 'bounced') THEN coalesce(m.failed_at, $7) ELSE m.failed_at END,
            planned_at = CASE WHEN i.status_to IN ('failed', 'suppressed', 'cancelled') THEN NULL ELSE m.planned_at END
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[])
            AS i(tenant_id, message_id, status_from, status_to, provenance, because)
        WHERE m.tenant_id = i.tenant_id AND m.id = i.message_id AND m.status = i.status_from
        RETURNING m.id
        "#,
        &tenants,
        &messages,
        &from as _,
        &to as _,
        &provenances as _,
        &because as _,
        now.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(moved.into_iter().map(MessageId).collect())
}
