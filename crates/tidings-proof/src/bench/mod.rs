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

/// A part that can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The queue beside its floor, and what claims cost.
    Queue,
    /// From acceptance to sent, inside one process.
    Path,
    /// Submission over HTTP to the real process.
    Http,
}

/// Measures everything, or one part; the answer is the JSON line to print.
pub async fn run(server_url: &str, rounds: usize, only: Option<Part>, talk: bool) -> Result<Value> {
    let wanted = |part| only.is_none_or(|only| only == part);
    let all = if wanted(Part::Queue) {
        queue_rounds(server_url, rounds, talk).await?
    } else {
        Vec::new()
    };
    let (mut path, mut http) = (Value::Null, Value::Null);
    if wanted(Part::Path) {
        let name = "tidings_bench_path";
        path = path::run(&fresh(server_url, name).await?).await?;
        clear(server_url, name).await?;
        say(talk, "whole path", &path);
    }
    if wanted(Part::Http) {
        let name = "tidings_bench_http";
        http = http::run(&fresh(server_url, name).await?).await?;
        clear(server_url, name).await?;
        say(talk, "submission over HTTP", &http);
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

fn say(talk: bool, what: &str, figures: &Value) {
    if talk {
        println!("{what}: {figures:#}");
    }
}

async fn queue_rounds(server_url: &str, rounds: usize, talk: bool) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for round in 0..rounds.clamp(1, 20) {
        let name = format!("tidings_bench_{round}");
        let url = fresh(server_url, &name).await?;
        let figures = queue::Bench::new(&url)
            .round(JOBS)
            .await
            .map_err(|error| anyhow::anyhow!(error))?;
        say(talk, &format!("round {}", round + 1), &figures);
        all.push(figures);
        clear(server_url, &name).await?;
    }
    let name = "tidings_bench_claims";
    let url = fresh(server_url, name).await?;
    let claims = queue::Bench::new(&url)
        .claim_costs()
        .await
        .map_err(|error| anyhow::anyhow!(error))?;
    clear(server_url, name).await?;
    say(talk, "claim of 500, in ms", &claims);
    Ok(all)
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

/// An empty database on the server; one of the same name goes.
pub async fn empty(server_url: &str, name: &str) -> Result<String> {
    clear(server_url, name).await?;
    administer(server_url, format!("CREATE DATABASE {name}")).await?;
    database_of(server_url, name)
}

/// A fresh, migrated database on the server.
async fn fresh(server_url: &str, name: &str) -> Result<String> {
    let url = empty(server_url, name).await?;
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

/// Removes a part's database, so that the server does not tidy up one part while it is measured in another: vacuum of
/// hundreds of thousands of rows would take one of two processors from whatever comes next. It checkpoints as well.
async fn clear(server_url: &str, name: &str) -> Result<()> {
    administer(server_url, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await
}

async fn administer(server_url: &str, statement: String) -> Result<()> {
    let mut conn = PgConnection::connect(server_url)
        .await
        .context("the database server cannot be reached")?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(&mut conn)
        .await?;
    Ok(conn.close().await?)
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
