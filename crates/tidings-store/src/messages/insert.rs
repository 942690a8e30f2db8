//! What an accepted request leaves behind, inserted in batches: messages, contents, decisions, deliveries.

use super::record::{NewContent, NewDecision, NewDelivery, NewMessage};
use super::words::joined;
use crate::Result;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use sqlx::types::Json;
use std::collections::HashSet;
use tidings_core::MessageId;

/// Inserts messages and returns the ids of those that are new. One that is missing from the answer met an earlier
/// message with the same tenant, type and source reference; see [`super::facts::duplicates`].
pub async fn messages(conn: &mut PgConnection, rows: &[NewMessage]) -> Result<HashSet<MessageId>> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let tenants: Vec<_> = rows.iter().map(|row| row.tenant.0).collect();
    let ids: Vec<_> = rows.iter().map(|row| row.id.0).collect();
    let contacts: Vec<_> = rows.iter().map(|row| row.contact.0).collect();
    let types: Vec<_> = rows.iter().map(|row| row.message_type.as_str()).collect();
    let categories: Vec<_> = rows.iter().map(|row| row.category.as_str()).collect();
    let urgencies: Vec<_> = rows.iter().map(|row| row.urgency.as_str()).collect();
    let statuses: Vec<_> = rows.iter().map(|row| row.placement.status.as_str()).collect();
    let waits: Vec<_> = rows
        .iter()
        .map(|row| row.placement.waits_for.map(tidings_core::WaitsFor::as_str))
        .collect();
    let references: Vec<_> = rows.iter().map(|row| row.source_reference.as_deref()).collect();
    let requested: Vec<_> = rows
        .iter()
        .map(|row| row.requested_channel.map(tidings_core::Channel::as_str))
        .collect();
    let renderable: Vec<_> = rows.iter().map(|row| joined(&row.renderable_channels)).collect();
    let locales: Vec<_> = rows.iter().map(|row| row.locale.as_deref()).collect();
    let send_at: Vec<_> = rows.iter().map(|row| row.send_at.map(ToSqlx::to_sqlx)).collect();
    let expires_at: Vec<_> = rows
        .iter()
        .map(|row| row.expires_at.map(ToSqlx::to_sqlx))
        .collect();
    let planned_at: Vec<_> = rows
        .iter()
        .map(|row| row.placement.planned_at.map(ToSqlx::to_sqlx))
        .collect();
    let accepted_at: Vec<_> = rows.iter().map(|row| row.accepted_at.to_sqlx()).collect();
    let queued_at: Vec<_> = rows
        .iter()
        .map(|row| row.placement.queued_at.map(ToSqlx::to_sqlx))
        .collect();
    let again_at: Vec<_> = rows
        .iter()
        .map(|row| row.placement.decide_again_at.map(ToSqlx::to_sqlx))
        .collect();
    let because: Vec<_> = rows
        .iter()
        .map(|row| row.placement.ended_because.as_deref())
        .collect();
    let batches: Vec<_> = rows
        .iter()
        .map(|row| row.placement.batch.map(|batch| batch.0))
        .collect();
    let inserted = sqlx::query_scalar!(
        r#"
        INSERT INTO messages (tenant_id, id, contact_id, message_type, category, urgency, status, status_provenance,
            waits_for, source_reference, requested_channel, renderable_channels, locale, send_at, expires_at,
            planned_at, accepted_at, queued_at, decide_again_at, ended_because, batch_id)
        SELECT tenant_id, id, contact_id, message_type, category, urgency, status, 'inferred', waits_for,
            source_reference, requested_channel, string_to_array(renderable, ','), locale, send_at, expires_at,
            planned_at, accepted_at, queued_at, decide_again_at, ended_because, batch_id
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[],
            $15::timestamptz[], $16::timestamptz[], $17::timestamptz[], $18::timestamptz[], $19::text[], $20::uuid[])
            AS i(tenant_id, id, contact_id, message_type, category, urgency, status, waits_for, source_reference,
            requested_channel, renderable, locale, send_at, expires_at, planned_at, accepted_at, queued_at,
            decide_again_at, ended_because, batch_id)
        ON CONFLICT (tenant_id, message_type, source_reference) WHERE source_reference IS NOT NULL DO NOTHING
        RETURNING id
        "#,
        &tenants,
        &ids,
        &contacts,
        &types as _,
        &categories as _,
        &urgencies as _,
        &statuses as _,
        &waits as _,
        &references as _,
        &requested as _,
        &renderable,
        &locales as _,
        &send_at as _,
        &expires_at as _,
        &planned_at as _,
        &accepted_at as _,
        &queued_at as _,
        &again_at as _,
        &because as _,
        &batches as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(inserted.into_iter().map(MessageId).collect())
}

/// Inserts contents; one that exists already (a message decided again) is replaced.
pub async fn contents(conn: &mut PgConnection, rows: &[NewContent]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let tenants: Vec<_> = rows.iter().map(|row| row.tenant.0).collect();
    let messages: Vec<_> = rows.iter().map(|row| row.message.0).collect();
    let parts: Vec<_> = rows
        .iter()
        .map(|row| row.channel.map_or("request", tidings_core::Channel::as_str))
        .collect();
    let sealed: Vec<_> = rows.iter().map(|row| row.sealed.as_slice()).collect();
    let templates: Vec<_> = rows
        .iter()
        .map(|row| row.template.map(|template| template.0))
        .collect();
    sqlx::query!(
        r#"
        INSERT INTO message_contents (tenant_id, message_id, part, sealed, template_id)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::uuid[])
        ON CONFLICT (tenant_id, message_id, part)
            DO UPDATE SET sealed = excluded.sealed, template_id = excluded.template_id
        "#,
        &tenants,
        &messages,
        &parts as _,
        &sealed as _,
        &templates as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records decisions.
pub async fn decisions(conn: &mut PgConnection, rows: &[NewDecision]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let tenants: Vec<_> = rows.iter().map(|row| row.tenant.0).collect();
    let ids: Vec<_> = rows.iter().map(|row| row.id.0).collect();
    let messages: Vec<_> = rows.iter().map(|row| row.message.0).collect();
    let stages: Vec<_> = rows.iter().map(|row| row.stage.as_str()).collect();
    let decided_at: Vec<_> = rows.iter().map(|row| row.decided_at.to_sqlx()).collect();
    let facts: Vec<_> = rows.iter().map(|row| Json(&*row.facts)).collect();
    let verdicts: Vec<_> = rows.iter().map(|row| Json(&*row.verdict)).collect();
    let reasons: Vec<_> = rows.iter().map(|row| Json(&*row.reasons)).collect();
    let changes_at: Vec<_> = rows
        .iter()
        .map(|row| row.changes_at.map(ToSqlx::to_sqlx))
        .collect();
    sqlx::query!(
        r#"
        INSERT INTO decisions (tenant_id, id, message_id, stage, decided_at, facts, verdict, reasons, changes_at)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::jsonb[],
            $7::jsonb[], $8::jsonb[], $9::timestamptz[])
        "#,
        &tenants,
        &ids,
        &messages,
        &stages as _,
        &decided_at as _,
        &facts as _,
        &verdicts as _,
        &reasons as _,
        &changes_at as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Inserts deliveries in state `queued`.
pub async fn deliveries(conn: &mut PgConnection, rows: &[NewDelivery]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let tenants: Vec<_> = rows.iter().map(|row| row.tenant.0).collect();
    let ids: Vec<_> = rows.iter().map(|row| row.id.0).collect();
    let messages: Vec<_> = rows.iter().map(|row| row.message.0).collect();
    let channels: Vec<_> = rows.iter().map(|row| row.channel.as_str()).collect();
    let positions: Vec<_> = rows.iter().map(|row| row.position).collect();
    let chains: Vec<_> = rows.iter().map(|row| joined(&row.chain)).collect();
    let jobs: Vec<_> = rows.iter().map(|row| row.job.0).collect();
    let created_at: Vec<_> = rows.iter().map(|row| row.created_at.to_sqlx()).collect();
    sqlx::query!(
        r#"
        INSERT INTO deliveries (tenant_id, id, message_id, channel, position, chain, state, job_id, created_at, updated_at)
        SELECT tenant_id, id, message_id, channel, position, string_to_array(chain, ','), 'queued', job_id, at, at
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::smallint[], $6::text[], $7::bigint[],
            $8::timestamptz[]) AS i(tenant_id, id, message_id, channel, position, chain, job_id, at)
        "#,
        &tenants,
        &ids,
        &messages,
        &channels as _,
        &positions,
        &chains,
        &jobs,
        &created_at as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}
