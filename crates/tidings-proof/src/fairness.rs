//! One tenant's flood beside another's urgent messages: how much longer the urgent ones take.

use crate::process::Installation;
use crate::rate;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::path::Path;
use std::time::{Duration, Instant};

/// Urgent messages a second.
const RATE: u64 = 20;
/// How many are measured alone, and as many beside the flood.
const MEASURED: u64 = 600;
/// How many before, so that connections and caches are there.
const WARM_UP: u64 = 100;
/// How long the last urgent ones may take.
const SETTLE_LIMIT: Duration = Duration::from_mins(2);
/// Rows of one insert of the flood.
const CHUNK: i64 = 50_000;
/// Contacts that the flood goes to.
const FLOODED: i64 = 1_000;

const APPLY: &str = r#"[[tenants]]
slug = "flood"
name = "The tenant with a million"

# The flood flows at any hour.
[tenants.policy]
quiet_hours = []
contact_quiet_hours = []
channel_quiet_hours = {}

[[tenants.connections]]
name = "sandbox"
provider = "sandbox"
channel = "email"

[[tenants]]
slug = "urgent"
name = "The tenant beside it"

[[tenants.connections]]
name = "sandbox"
provider = "sandbox"
channel = "email"
"#;

/// Runs the proof; the answer is the JSON line to print.
pub async fn run(database_url: &str, folder: &Path, jobs: i64, talk: bool) -> Result<Value> {
    let installation = Installation::prepare(database_url, folder, APPLY, "urgent", 15).await?;
    let mut child = installation.serve("all", None)?;
    installation.up(&mut child).await?;
    let mut database = PgConnection::connect(database_url).await?;
    rate::submit(&installation, "warm", RATE, WARM_UP).await?;
    rate::submit(&installation, "alone", RATE, MEASURED).await?;
    let alone = waited(&mut database, "alone").await?;
    if talk {
        eprintln!("alone: {alone}");
    }
    let begun = Instant::now();
    flood(&mut database, jobs).await?;
    let inserted_s = begun.elapsed().as_secs();
    if talk {
        eprintln!("{jobs} rows inserted in {inserted_s} s");
    }
    let before = pending(&mut database).await?;
    let begun = Instant::now();
    rate::submit(&installation, "beside", RATE, MEASURED).await?;
    let measured_s = begun.elapsed().as_secs_f64();
    let after = pending(&mut database).await?;
    ensure!(
        after > 0,
        "the flood of {jobs} was over before the measurement ended; use a larger one"
    );
    let beside = waited(&mut database, "beside").await?;
    child.kill().await?;
    let shift_ms = beside["p95_ms"].as_f64().unwrap_or(f64::MAX) - alone["p95_ms"].as_f64().unwrap_or(0.0);
    Ok(json!({
        "flood": jobs,
        "flood_inserted_in_s": inserted_s,
        "flood_per_s": ((before - after) as f64 / measured_s).round(),
        "flood_left": after,
        "urgent_per_s": RATE,
        "alone": alone,
        "beside": beside,
        "p95_shift_ms": shift_ms.round(),
    }))
}

/// Plain rows of the public table, as another program inserts them.
async fn flood(database: &mut PgConnection, jobs: i64) -> Result<()> {
    let mut done = 0;
    while done < jobs {
        let next = (done + CHUNK).min(jobs);
        sqlx::query(
            "INSERT INTO communication_jobs (tenant_id, job_type, payload, source_reference)
             SELECT t.id, 'send_email', jsonb_build_object('to', 'f' || (n % $1) || '@example.com', 'subject', 'Flood',
                 'body', 'One of very many.', 'category', 'transactional', 'urgency', 'high'), 'flood-' || n
             FROM tenants t, generate_series($2::bigint, $3::bigint - 1) n WHERE t.slug = 'flood'",
        )
        .bind(FLOODED)
        .bind(done)
        .bind(next)
        .execute(&mut *database)
        .await
        .context("the flood could not be inserted")?;
        done = next;
    }
    Ok(())
}

/// Rows of the flood that are not done.
async fn pending(database: &mut PgConnection) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) FROM communication_jobs j JOIN tenants t ON t.id = j.tenant_id
         WHERE t.slug = 'flood' AND j.finished_at IS NULL",
    )
    .fetch_one(database)
    .await?)
}

/// How long the messages of a part took from their durable acceptance until the provider had them.
async fn waited(database: &mut PgConnection, prefix: &str) -> Result<Value> {
    let started = Instant::now();
    loop {
        if let Some(taken) = rate::sent(database, prefix, MEASURED).await? {
            return Ok(
                json!({ "messages": taken.len(), "p50_ms": taken.at(0.5), "p95_ms": taken.at(0.95), "p99_ms": taken.at(0.99) }),
            );
        }
        ensure!(
            started.elapsed() < SETTLE_LIMIT,
            "not all of {MEASURED} urgent messages were sent within {SETTLE_LIMIT:?}"
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
