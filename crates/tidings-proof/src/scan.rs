//! A large dealership's rows read for every campaign at once by the real process, twice: how long that takes, and how much
//! memory. The first time much is due and is proposed; the second time it is known.

use crate::bench::{self, MachineClock};
use crate::process::{Installation, memory_kib};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};
use tidings_core::Clock as _;
use tidings_core::campaign::{self, DueRule};
use tidings_engine::source::demo::Dealership;
use tokio::process::Child;

/// The most that reading 100,000 customers may take, in seconds.
const SECONDS: f64 = 20.0;
/// The most memory that may take, in mebibytes.
const MEMORY_MB: f64 = 200.0;
/// How long it may take until it is given up.
const LIMIT: Duration = Duration::from_mins(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// The database of the dealership on the server of the installation.
const SOURCE: &str = "tidings_scan_source";
/// The database of the installation.
const INSTALLATION: &str = "tidings_scan";
/// How long a process may be silent.
const LEASE_S: u32 = 15;

/// Runs the proof on sources of two kinds; the answer is the JSON line to print.
pub async fn run(server_url: &str, folder: &Path, customers: usize, talk: bool) -> Result<Value> {
    let today = MachineClock.now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let made = Dealership::generate(1, customers, today);
    let mut summary = json!({ "customers": customers, "rows": made.rows() });
    let file = folder.join("dealer.db");
    made.load_sqlite(&file).await?;
    let url = bench::empty(server_url, SOURCE).await?;
    made.load_postgresql(&url).await?;
    drop(made);
    for (kind, url) in [
        ("sqlite", file.to_string_lossy().into_owned()),
        ("postgresql", url),
    ] {
        let told = scan(server_url, folder, kind, &url)
            .await
            .with_context(|| format!("the scan of {kind}"))?;
        if talk {
            eprintln!("{kind}: {told}");
        }
        summary[kind] = told;
    }
    Ok(summary)
}

/// Whether the bounds were kept.
pub fn is_clean(summary: &Value) -> bool {
    ["sqlite", "postgresql"].iter().all(|kind| {
        let within = |name: &str, most: f64| summary[kind][name].as_f64().is_some_and(|value| value <= most);
        within("seconds", SECONDS) && within("memory_mb", MEMORY_MB) && summary[kind]["incomplete"] == 0
    })
}

/// A tenant with all campaigns. Those of a season would find every customer due on the day they are asked for: they read
/// as they do then, and find nobody.
fn apply_file(kind: &str, url: &str) -> String {
    let mut file = format!(
        r#"[[tenants]]
slug = "dealer"
name = "Scan"

[tenants.settings]
postal_address = "Scan, 1 Main St, Fargo ND"

[tenants.source]
kind = "{kind}"
url = "{url}"

[[tenants.connections]]
name = "mail"
provider = "sandbox"
channel = "email"

[[tenants.connections]]
name = "text"
provider = "sandbox"
channel = "sms"
"#
    );
    for one in campaign::built_in() {
        let name = one.name.as_str();
        let _ = write!(
            file,
            "\n[[tenants.campaigns]]\nname = \"{name}\"\nenabled = true\n"
        );
        if matches!(one.due, DueRule::Season { .. }) {
            file += "extra_conditions = [{ column = \"machines\", is = \"at_least\", value = 1000 }]\n";
        }
    }
    file
}

async fn scan(server_url: &str, folder: &Path, kind: &str, url: &str) -> Result<Value> {
    let database_url = bench::empty(server_url, INSTALLATION).await?;
    let apply = apply_file(kind, url);
    let installation = Installation::prepare(&database_url, folder, &apply, "dealer", LEASE_S).await?;
    let mut api = installation.serve("api", None)?;
    installation.up(&mut api).await?;
    let mut database = PgConnection::connect(&database_url).await?;
    let first = pass(&installation, &mut database).await?;
    let again = pass(&installation, &mut database).await?;
    api.kill().await?;
    let scanned: i64 = sqlx::query_scalar("SELECT sum(scanned)::bigint FROM campaign_runs")
        .fetch_one(&mut database)
        .await?;
    let outcomes: Vec<(String, i64)> =
        sqlx::query_as("SELECT outcome, count(*) FROM campaign_rows GROUP BY outcome")
            .fetch_all(&mut database)
            .await?;
    let outcomes: BTreeMap<String, i64> = outcomes.into_iter().collect();
    database.close().await?;
    Ok(json!({
        "first_seconds": first.seconds, "seconds": again.seconds, "memory_mb": first.memory_mb.max(again.memory_mb),
        "scanned": scanned, "outcomes": outcomes, "incomplete": first.incomplete + again.incomplete,
    }))
}

/// What reading for every campaign took.
struct Pass {
    seconds: f64,
    memory_mb: f64,
    incomplete: i64,
}

/// Asks for a run of every campaign, and has a process of its own do them.
async fn pass(installation: &Installation, database: &mut PgConnection) -> Result<Pass> {
    for one in campaign::built_in() {
        ensure!(
            installation.run_campaign(one.name.as_str()).await?,
            "a run of {} was not taken down",
            one.name
        );
    }
    let begun = Instant::now();
    let mut scheduler = installation.serve("scheduler", None)?;
    let incomplete = ended(database, &mut scheduler).await?;
    let seconds = (begun.elapsed().as_secs_f64() * 100.0).round() / 100.0;
    let memory_mb = peak_mb(&scheduler)?;
    scheduler.kill().await?;
    Ok(Pass {
        seconds,
        memory_mb,
        incomplete,
    })
}

/// Waits until every run has ended; how many did not end well.
async fn ended(database: &mut PgConnection, scheduler: &mut Child) -> Result<i64> {
    let started = Instant::now();
    loop {
        let (open, failed): (i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE state IN ('waiting', 'running')), count(*) FILTER (WHERE state = 'failed')
             FROM campaign_runs",
        )
        .fetch_one(&mut *database)
        .await?;
        if open == 0 {
            return Ok(failed);
        }
        ensure!(
            scheduler.try_wait()?.is_none(),
            "the process ended; see serve.log"
        );
        ensure!(
            started.elapsed() < LIMIT,
            "{open} runs had not ended after {LIMIT:?}"
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// The most memory that a process ever held.
fn peak_mb(child: &Child) -> Result<f64> {
    let kib = child.id().and_then(|pid| memory_kib(pid, "VmHWM"));
    let kib = kib.context("nothing says how much memory the process held")?;
    Ok((kib as f64 / 1024.0 * 10.0).round() / 10.0)
}
