//! What Tidings costs, beside the floor of the same PostgreSQL in the same run. Read ratios: rates depend on the
//! machine and on what else it does.

mod floor;
mod http;
mod path;
mod queue;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tidings_core::Clock;
use tidings_store::{Keyring, Store, StoreOptions};

/// Jobs of one round.
const JOBS: usize = 200_000;

/// Measures everything; the answer is the JSON line to print.
pub async fn run(server_url: &str, rounds: usize, talk: bool) -> Result<Value> {
    let mut all = Vec::new();
    for round in 0..rounds.clamp(1, 20) {
        let url = fresh(server_url, &format!("tidings_bench_{round}")).await?;
        let figures = queue::Bench::new(&url)
            .round(JOBS)
            .await
            .map_err(|error| anyhow::anyhow!(error))?;
        if talk {
            println!("round {}: {figures:#}", round + 1);
        }
        all.push(figures);
    }
    let url = fresh(server_url, "tidings_bench_claims").await?;
    let claims = queue::Bench::new(&url)
        .claim_costs()
        .await
        .map_err(|error| anyhow::anyhow!(error))?;
    let url = fresh(server_url, "tidings_bench_path").await?;
    let path = path::run(&url).await?;
    let url = fresh(server_url, "tidings_bench_http").await?;
    let http = http::run(&url).await?;
    if talk {
        println!("claim of 500, in ms: {claims:#}\nwhole path: {path:#}\nsubmission over HTTP: {http:#}");
    }
    let median = |pointer: &str| median(&all, pointer);
    Ok(json!({
        "process_per_s": median("/process_2_connections/per_s"),
        "enqueue_bulk_per_s": median("/bulk_enqueue/per_s"),
        "enqueue_single_256_callers_per_s": median("/single_enqueue_256_callers_per_s"),
        "floor_per_s": median("/floor_process/per_s"),
        "process_of_floor": median("/process_of_floor"),
        "enqueue_of_floor": median("/enqueue_of_floor"),
        "path_per_s": path["per_s"],
        "submit_p50_ms": http["p50_ms"],
        "submit_p99_ms": http["p99_ms"],
    }))
}

fn median(rounds: &[Value], pointer: &str) -> Value {
    let mut values: Vec<f64> = rounds
        .iter()
        .filter_map(|round| round.pointer(pointer)?.as_f64())
        .collect();
    values.sort_by(f64::total_cmp);
    values
        .get(values.len() / 2)
        .map_or(Value::Null, |value| json!((value * 100.0).round() / 100.0))
}

/// A fresh, migrated database on the server.
async fn fresh(server_url: &str, name: &str) -> Result<String> {
    let mut conn = PgConnection::connect(server_url)
        .await
        .context("the database server cannot be reached")?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name}")))
        .execute(&mut conn)
        .await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut conn)
        .await?;
    conn.close().await?;
    let url = database_of(server_url, name)?;
    let store = Store::connect(
        StoreOptions::new(url.clone()),
        Keyring::random()?,
        MachineClock.now(),
    )
    .await?;
    store.migrate(MachineClock.now()).await?;
    store.close().await;
    let mut conn = PgConnection::connect(&url).await?;
    // Each part brings its own keys.
    sqlx::query("DELETE FROM master_key_check")
        .execute(&mut conn)
        .await?;
    conn.close().await?;
    Ok(url)
}

/// The same server's URL of another database.
fn database_of(server_url: &str, name: &str) -> Result<String> {
    let (before, query) = server_url
        .split_once('?')
        .map_or((server_url, ""), |(before, query)| (before, query));
    let (server, _) = before
        .rsplit_once('/')
        .context("the server URL names no database")?;
    Ok(if query.is_empty() {
        format!("{server}/{name}")
    } else {
        format!("{server}/{name}?{query}")
    })
}

/// The machine's clock: a measurement is about real time.
#[derive(Clone, Copy, Debug)]
pub struct MachineClock;

impl Clock for MachineClock {
    #[expect(clippy::disallowed_methods, reason = "a measurement is about real time")]
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }
}
