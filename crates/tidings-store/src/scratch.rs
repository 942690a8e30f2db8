//! Copies of one tenant into a scratch database, for simulations. What is copied is what rules look at: settings, contacts
//! with their keys, consents, suppressions, templates, earlier messages and runs. Queue, contents and logs are not, and
//! neither is the model a tenant drafts with: a simulation writes with the templates and calls nobody.

use crate::columns::word;
use crate::{Result, Store, StoreError};
use futures::TryStreamExt as _;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde_json::Value;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tidings_core::{Channel, ConnectionId, MessageStatus, TenantId, WaitsFor};

/// A table, and which of its rows belong to a tenant as of the beginning of the simulation.
struct Part {
    table: &'static str,
    /// `{t}` is the tenant's id, `{from}` the beginning.
    rows: &'static str,
}

const fn of_tenant(table: &'static str) -> Part {
    Part {
        table,
        rows: "tenant_id = '{t}'",
    }
}

/// In an order that keys allow.
const PARTS: &[Part] = &[
    Part {
        table: "tenants",
        rows: "id = '{t}'",
    },
    of_tenant("tenant_keys"),
    of_tenant("contacts"),
    of_tenant("contact_keys"),
    of_tenant("addresses"),
    of_tenant("consents"),
    of_tenant("suppressions"),
    of_tenant("templates"),
    of_tenant("whatsapp_templates"),
    of_tenant("connections"),
    of_tenant("sources"),
    of_tenant("campaigns"),
    // What happened later than the beginning has not happened yet.
    Part {
        table: "messages",
        rows: "tenant_id = '{t}' AND accepted_at < '{from}'",
    },
    Part {
        table: "campaign_runs",
        rows: "tenant_id = '{t}' AND state = 'complete' AND as_of < '{from}'",
    },
];

/// Copies a tenant from one store into another of the same schema version, as of an instant. Returns how many rows.
///
/// The receiving store must be a scratch one: its login user must be a superuser, because copied rows refer to some that are
/// left behind.
///
/// # Errors
/// When a database refuses, or the schemas differ.
pub async fn copy_tenant(live: &Store, scratch: &Store, tenant: TenantId, from: Timestamp) -> Result<u64> {
    let mut reading = live.worker_tx().await?;
    // One snapshot of everything.
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(&mut *reading)
        .await?;
    let mut owner = scratch.direct_connection().await?;
    let mut writing = owner.begin().await?;
    sqlx::query("SET LOCAL session_replication_role = replica")
        .execute(&mut *writing)
        .await?;
    let mut copied = 0;
    for part in PARTS {
        let rows = part
            .rows
            .replace("{t}", &tenant.0.to_string())
            .replace("{from}", &from.to_string());
        copied += copy(&mut reading, &mut writing, part.table, &rows).await?;
    }
    writing.commit().await?;
    reading.rollback().await?;
    owner.close().await?;
    Ok(copied)
}

async fn copy(
    reading: &mut PgConnection,
    writing: &mut PgConnection,
    table: &'static str,
    rows: &str,
) -> Result<u64> {
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT quote_ident(attname) FROM pg_attribute
         WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attname",
    )
    .bind(table)
    .fetch_all(&mut *writing)
    .await?;
    let columns = columns.join(", ");
    let out = format!("COPY (SELECT {columns} FROM {table} WHERE {rows}) TO STDOUT (FORMAT binary)");
    let into = format!("COPY {table} ({columns}) FROM STDIN (FORMAT binary)");
    let mut stream = reading.copy_out_raw(&out).await?;
    let mut sink = writing.copy_in_raw(&into).await?;
    while let Some(bytes) = stream.try_next().await.map_err(StoreError::from)? {
        sink.send(bytes).await?;
    }
    Ok(sink.finish().await?)
}

/// Turns a scratch tenant's connections into sandboxes with the given rate limits: nothing can leave.
///
/// # Errors
/// When the database refuses.
pub async fn sandbox_connections(
    conn: &mut PgConnection,
    tenant: TenantId,
    limits: &[(ConnectionId, Option<Value>)],
) -> Result<()> {
    let ids: Vec<_> = limits.iter().map(|(id, _)| id.0).collect();
    let limits: Vec<Option<Value>> = limits.iter().map(|(_, limit)| limit.clone()).collect();
    sqlx::query!(
        "UPDATE connections c SET provider = 'sandbox', config = '{}', credentials_sealed = NULL, rate_limit = given.rate_limit,
                breaker = 'closed', breaker_cause = NULL, breaker_failures = 0, breaker_retry_at = NULL, breaker_probe_until = NULL,
                breaker_trip = NULL, breaker_ramp_from = NULL, breaker_version = breaker_version + 1, call_limit_ms = NULL
         FROM unnest($2::uuid[], $3::jsonb[]) AS given (id, rate_limit)
         WHERE c.tenant_id = $1 AND c.id = given.id",
        tenant.0,
        &ids,
        &limits as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A message as a simulation tells it: what was decided, and what became of it by the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lived {
    /// The caller's reference.
    pub source_reference: Option<String>,
    /// To whom, by the tenant's own id.
    pub contact: Option<String>,
    /// Its type.
    pub message_type: String,
    /// Where it stands.
    pub status: MessageStatus,
    /// Why it waits.
    pub waits_for: Option<WaitsFor>,
    /// The channel it went by, or is to go by.
    pub channel: Option<Channel>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it went out, is planned to, or is decided again; else when it was accepted.
    pub at: Timestamp,
    /// A stable code of why it ended without being sent, or of what held it up first.
    pub because: Option<String>,
}

/// What became of the messages that were accepted from an instant on, in order of their acceptance.
///
/// # Errors
/// When the database refuses.
pub async fn lived(conn: &mut PgConnection, tenant: TenantId, from: Timestamp) -> Result<Vec<Lived>> {
    let rows = sqlx::query!(
        r#"
        SELECT m.source_reference, c.external_id, m.message_type, m.status, m.waits_for,
            coalesce(d.channel, m.requested_channel) AS channel, m.accepted_at AS "accepted_at: jiff_sqlx::Timestamp",
            coalesce(m.sent_at, m.planned_at, m.decide_again_at, m.accepted_at) AS "at!: jiff_sqlx::Timestamp",
            coalesce(m.ended_because, first.because) AS because
        FROM messages m
        JOIN contacts c ON c.tenant_id = m.tenant_id AND c.id = m.contact_id
        LEFT JOIN LATERAL (
            SELECT d.channel FROM deliveries d WHERE d.tenant_id = m.tenant_id AND d.message_id = m.id
            ORDER BY d.position DESC LIMIT 1) d ON true
        LEFT JOIN LATERAL (
            SELECT e.data ->> 'because' AS because FROM event_log e
            WHERE e.tenant_id = m.tenant_id AND e.message_id = m.id AND e.data ? 'because'
            ORDER BY e.id LIMIT 1) first ON true
        WHERE m.tenant_id = $1 AND m.accepted_at >= $2
        ORDER BY m.accepted_at, m.source_reference, m.id
        "#,
        tenant.0,
        from.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Lived {
                source_reference: row.source_reference,
                contact: row.external_id,
                message_type: row.message_type,
                status: word("messages.status", &row.status)?,
                waits_for: row
                    .waits_for
                    .as_deref()
                    .map(|text| word("messages.waits_for", text))
                    .transpose()?,
                channel: row
                    .channel
                    .as_deref()
                    .map(|text| word("deliveries.channel", text))
                    .transpose()?,
                accepted_at: row.accepted_at.to_jiff(),
                at: row.at.to_jiff(),
                because: row.because,
            })
        })
        .collect()
}

/// What comes next in a scratch database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextDue {
    /// The next moment of a campaign's schedule, or the next try of a run.
    pub campaign: Option<Timestamp>,
    /// When the next scheduled job comes due.
    pub job: Option<Timestamp>,
    /// Jobs are due now.
    pub ready: bool,
}

/// What comes next for a tenant.
///
/// # Errors
/// When the database refuses.
pub async fn next_due(conn: &mut PgConnection, tenant: TenantId) -> Result<NextDue> {
    let row = sqlx::query!(
        r#"SELECT least(
               (SELECT min(next_at) FROM schedules WHERE tenant_id = $1 AND enabled),
               (SELECT min(next_try_at) FROM campaign_runs WHERE tenant_id = $1 AND state = 'waiting')
           ) AS "campaign: jiff_sqlx::Timestamp",
           (SELECT min(due_at) FROM job_scheduled) AS "job: jiff_sqlx::Timestamp",
           EXISTS (SELECT FROM job_ready) AS "ready!""#,
        tenant.0
    )
    .fetch_one(conn)
    .await?;
    Ok(NextDue {
        campaign: row.campaign.map(jiff_sqlx::Timestamp::to_jiff),
        job: row.job.map(jiff_sqlx::Timestamp::to_jiff),
        ready: row.ready,
    })
}

/// Tells the planner what the tables hold: they were empty a moment ago, and plans for empty tables read full ones from end to
/// end. A small sample is enough for that.
///
/// # Errors
/// When the login user does not own the tables, or the database refuses.
pub async fn analyze(store: &Store) -> Result<()> {
    let mut owner = store.direct_connection().await?;
    for statement in ["SET default_statistics_target = 10", "ANALYZE"] {
        sqlx::query(statement).execute(&mut owner).await?;
    }
    owner.close().await?;
    Ok(())
}
