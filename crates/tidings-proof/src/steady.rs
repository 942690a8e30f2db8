//! A steady rate over HTTP for minutes, against stand-ins that take 50 to 200 ms and report every delivery: how long
//! submissions and messages take, and whether memory grows; then the highest rate, in one process and with workers of their own.

mod memory;
mod sky;

use crate::bench::MachineClock;
use crate::process::Installation;
use crate::rate::{self, Taken};
use crate::tally::{self, Calls};
use anyhow::{Context, Result, ensure};
use memory::Memory;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_stand_in::{Account, DEFAULT_ACCOUNT, Event, Options, StandIn, Step, Vendor};
use tokio::process::Child;

/// The most that the slowest hundredth of submissions may take.
pub const SUBMISSION_P99_MS: f64 = 50.0;
/// The most that the slowest hundredth of messages may take until the provider has them.
pub const DELIVERY_P99_MS: f64 = 2_000.0;
/// How much more memory the last fifth of the time may hold than the second.
pub const MEMORY_GROWTH: f64 = 0.10;

/// How long the last messages of a part may take.
const SETTLE_LIMIT: Duration = Duration::from_mins(3);
/// What the vendors take.
const LATENCY_MS: (u64, u64) = (50, 200);
/// When a vendor reports a delivery.
const REPORT_AFTER_MS: u64 = 300;
/// How long a process may be silent.
const LEASE_S: u32 = 15;
/// Messages before the measurement, so that connections and caches are there.
const WARM_UP: u64 = 300;
/// Calls that the ledger holds.
const MOST_ENTRIES: usize = 5_000_000;
/// Slow seconds that are listed.
const SLOW_SECONDS: usize = 60;
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Messages a second.
    pub rate: u64,
    /// How long.
    pub minutes: u64,
    /// Whether the highest rate is looked for.
    pub highest: bool,
}

/// The installation with its vendors.
struct Stage {
    engine: Installation,
    vendors: StandIn,
    database: PgConnection,
}

/// Runs the proof; the answer is the JSON line to print.
pub async fn run(database_url: &str, folder: &Path, plan: Plan, talk: bool) -> Result<Value> {
    let mut stage = Stage::set(database_url, folder).await?;
    let mut summary = stage.steady(plan, talk).await?;
    if plan.highest {
        let mut highest = BTreeMap::new();
        for fleet in sky::FLEETS {
            let (name, rate) = stage.highest(fleet, talk).await?;
            highest.insert(name, rate);
        }
        summary["highest_per_s"] = json!(highest);
    }
    summary["cores"] = json!(std::thread::available_parallelism()?.get());
    Ok(summary)
}

/// Whether the promises were kept.
pub fn is_clean(summary: &Value) -> bool {
    let within = |name: &str, most: f64| summary[name].as_f64().is_some_and(|value| value <= most);
    summary["lost"] == 0
        && summary["duplicate"] == 0
        && summary["delivered"] == summary["submitted"]
        && within("submission_p99_ms", SUBMISSION_P99_MS)
        && within("delivery_p99_ms", DELIVERY_P99_MS)
        && within("memory_growth", MEMORY_GROWTH)
}

/// The file of the installation; SendGrid's stand-in tells its public key when it knows where its reports go.
fn apply_file(vendors: &StandIn, public_key: Option<&str>) -> String {
    let url = vendors.url();
    let key = public_key
        .map(|key| format!(", webhook_public_key = \"{key}\""))
        .unwrap_or_default();
    format!(
        r#"[[tenants]]
slug = "load"
name = "Load proof"

[[tenants.connections]]
name = "sendgrid"
provider = "sendgrid"
channel = "email"
rate_limit = {{ limit = 1000000, per_ms = 1000 }}
settings = {{ from_email = "load@brand.example", base_url = "{url}"{key} }}
credentials = {{ api_key = "SG.load" }}

[[tenants.connections]]
name = "resend"
provider = "resend"
channel = "email"
rate_limit = {{ limit = 1000000, per_ms = 1000 }}
settings = {{ from_email = "load@brand.example", base_url = "{url}" }}
credentials = {{ api_key = "re_load", webhook_secret = "{SECRET}" }}
"#
    )
}

impl Stage {
    async fn set(database_url: &str, folder: &Path) -> Result<Self> {
        let mut options = Options::new(Arc::new(MachineClock));
        options.latency_ms = LATENCY_MS;
        options.magic = false;
        options.most_entries = MOST_ENTRIES;
        let vendors = StandIn::start(options).await?;
        let file = apply_file(&vendors, None);
        let engine = Installation::prepare(database_url, folder, &file, "load", LEASE_S).await?;
        let mut database = PgConnection::connect(database_url).await?;
        for (vendor, name) in [(Vendor::Sendgrid, "sendgrid"), (Vendor::Resend, "resend")] {
            let id: String = sqlx::query_scalar("SELECT id::text FROM connections WHERE name = $1")
                .bind(name)
                .fetch_one(&mut database)
                .await?;
            let mut account = Account {
                webhook_url: Some(engine.url(&format!("/webhooks/{name}/{id}"))),
                script: vec![Step {
                    event: Event::Delivered,
                    after_ms: REPORT_AFTER_MS,
                    before_response: false,
                    times: 1,
                    code: None,
                    url: None,
                    text: None,
                }],
                ..Account::default()
            };
            account.secrets.webhook_secret = Some(SECRET.into());
            let told = set_account(&vendors, vendor, account)?;
            if let Some(key) = told["webhook_public_key"].as_str() {
                let file = folder.join("apply.toml");
                std::fs::write(&file, apply_file(&vendors, Some(key)))?;
                engine.cli(&["apply", &file.to_string_lossy()]).await?;
            }
        }
        Ok(Self {
            engine,
            vendors,
            database,
        })
    }

    /// The rate for the time, in one process.
    async fn steady(&mut self, plan: Plan, talk: bool) -> Result<Value> {
        let mut child = self.engine.serve("all", None)?;
        self.engine.up(&mut child).await?;
        rate::submit(&self.engine, "warm-", plan.rate, WARM_UP).await?;
        let count = plan.rate * plan.minutes * 60;
        let memory = Memory::watch(child.id().context("the engine ended")?);
        let begun = Instant::now();
        let submitted = rate::submit(&self.engine, "steady-", plan.rate, count).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let memory = memory.stop().await?;
        let delivered = self.delivered("steady-", count).await?;
        let reported = self.reported(count).await?;
        child.kill().await?;
        if talk {
            eprintln!(
                "{} a second for {} min: submissions p99 {} ms, messages p99 {} ms",
                plan.rate,
                plan.minutes,
                submitted.at(0.99),
                delivered.at(0.99)
            );
        }
        let calls = tally::calls(&[&self.vendors], Calls::Accepted, tally::delivery)?;
        // The warm-up's are counted too.
        let lost = (count + WARM_UP).saturating_sub(calls.len() as u64);
        Ok(json!({
            "rate": plan.rate,
            "minutes": plan.minutes,
            "submitted": count,
            "submitted_per_s": (count as f64 / seconds).round(),
            "submission_p50_ms": submitted.at(0.5),
            "submission_p99_ms": submitted.at(0.99),
            "delivery_p50_ms": delivered.at(0.5),
            "delivery_p99_ms": delivered.at(0.99),
            "submission_slow_seconds": slow(&submitted, SUBMISSION_P99_MS),
            "delivery_slow_seconds": slow(&delivered, DELIVERY_P99_MS),
            "lost": lost,
            "duplicate": calls.values().filter(|count| **count > 1).count(),
            "delivered": reported,
            "memory_mb": memory.early_mb,
            "memory_end_mb": memory.late_mb,
            "memory_growth": memory.growth(),
        }))
    }

    /// How long the messages of a part took from their acceptance until the provider had taken them.
    async fn delivered(&mut self, prefix: &str, count: u64) -> Result<Taken> {
        let started = Instant::now();
        loop {
            if let Some(taken) = rate::sent(&mut self.database, prefix, count).await? {
                return Ok(taken);
            }
            ensure!(
                started.elapsed() < SETTLE_LIMIT,
                "not all of {count} messages were sent within {SETTLE_LIMIT:?}"
            );
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// How many were reported as delivered, once all were or nothing changes any more.
    async fn reported(&mut self, count: u64) -> Result<i64> {
        let started = Instant::now();
        loop {
            let delivered: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM messages WHERE source_reference LIKE 'steady-%' AND status = 'delivered'",
            )
            .fetch_one(&mut self.database)
            .await?;
            if delivered == i64::try_from(count)? || started.elapsed() > SETTLE_LIMIT {
                return Ok(delivered);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// The first slow seconds, by number, with their slowest call in milliseconds: one stall of a machine looks different
/// from a process that cannot keep up.
fn slow(taken: &Taken, above_ms: f64) -> Value {
    let mut seconds = taken.slow_seconds(above_ms);
    seconds.truncate(SLOW_SECONDS);
    json!(seconds)
}

fn set_account(vendors: &StandIn, vendor: Vendor, account: Account) -> Result<Value> {
    vendors
        .account(vendor, DEFAULT_ACCOUNT, account)
        .map_err(|why| anyhow::anyhow!("the stand-in's account: {why}"))
}

/// Ends processes.
async fn end(children: Vec<Child>) -> Result<()> {
    for mut child in children {
        child.kill().await?;
    }
    Ok(())
}
