//! A dealership that does not exist: its own database is connected, and the scheduler lives through days of it.

use crate::apply::file::ApplyFile;
use crate::apply::{Applier, apply};
use crate::folder::Folder;
use crate::installation::Installation;
use crate::node;
use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tidings_core::clock::FixedClock;
use tidings_core::{Clock, TenantId, zone};
use tidings_engine::source::demo::Dealership;
use tidings_engine::{Engine, Simulated, SimulatedOutcome};
use tidings_store::campaigns::{self, Coverage, RowOutcome};

/// The same dealership each time.
const SEED: u64 = 2027;
/// Its short name.
const SLUG: &str = "ridgeline-equipment";
/// Where it is.
const ZONE: &str = "America/Chicago";
/// Runs read at a time.
const PAGE: u32 = 500;
/// Customers that are asked about until one got nothing.
const ASKED: usize = 20;

/// The days in figures.
#[derive(Debug, Default, Serialize)]
pub struct DealershipSummary {
    /// How many days were lived through.
    pub days: u32,
    /// How long that took, in seconds.
    pub seconds: f64,
    /// Customers of the dealership.
    pub customers: usize,
    /// Campaign runs.
    pub runs: u64,
    /// Rows of its database that were looked at.
    pub scanned: u64,
    /// Rows that were due; the outcomes add up to them.
    pub due: u64,
    /// What became of them.
    pub outcomes: BTreeMap<RowOutcome, u64>,
    /// Where their messages stood in the end.
    pub messages: BTreeMap<SimulatedOutcome, u64>,
}

/// Makes the dealership's database, connects it, and lives through the days before now.
pub async fn live(
    installation: &Installation,
    folder: &Folder,
    days: u32,
    customers: usize,
) -> Result<DealershipSummary> {
    let now = installation.clock.now();
    let from = now
        .checked_sub(SignedDuration::from_hours(24 * i64::from(days)))
        .context("so many days before now there is no calendar")?;
    let path = folder.path().join("dealership.db");
    let as_of = now.to_zoned(zone::resolve(None, ZONE)).date();
    let dealership = Dealership::generate(SEED, customers, as_of);
    let rows = dealership.rows();
    dealership.load_sqlite(&path).await?;
    let tenant = connect(installation, &path.to_string_lossy(), from).await?;
    println!(
        "\nconnected the dealership {SLUG}: {customers} customers, {rows} rows in a database of its own"
    );
    let clock = Arc::new(FixedClock::new(from));
    let engine = node::engine_on(installation, installation.store.clone(), Arc::clone(&clock) as _)?;
    engine.register().await?;
    let begun = Instant::now();
    let simulated = engine.simulate(&clock, tenant, now).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let coverage = coverage(installation, tenant).await?;
    let summary = DealershipSummary {
        seconds: (seconds * 10.0).round() / 10.0,
        ..sum(days, customers, &simulated, &coverage)
    };
    print(&summary, &coverage);
    why(&engine, tenant, customers).await?;
    engine.close().await;
    Ok(summary)
}

async fn connect(installation: &Installation, path: &str, now: Timestamp) -> Result<TenantId> {
    let text = include_str!("dealership.toml").replace("PATH", path);
    let file = ApplyFile::parse(&text)?;
    let mut applier = Applier {
        store: &installation.store,
        environment: &installation.environment,
        dice: installation.dice()?,
        now,
        dry_run: false,
    };
    apply(&mut applier, &file).await?;
    Ok(installation.tenant(Some(SLUG)).await?.id)
}

async fn coverage(installation: &Installation, tenant: TenantId) -> Result<Vec<Coverage>> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let mut tx = installation.store.tenant(tenant).tx().await?;
        let page = campaigns::list_runs(&mut tx, None, after, PAGE).await?;
        all.extend(campaigns::coverage(&mut tx, page.items).await?);
        tx.commit().await?;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let wrong = all.iter().find(|one| !one.balanced);
    ensure!(
        wrong.is_none(),
        "the outcomes of a run do not add up to its due rows: {wrong:?}"
    );
    Ok(all)
}

fn sum(days: u32, customers: usize, simulated: &Simulated, coverage: &[Coverage]) -> DealershipSummary {
    let mut summary = DealershipSummary {
        days,
        customers,
        runs: simulated.runs,
        ..DealershipSummary::default()
    };
    for one in coverage {
        summary.scanned += one.run.scanned;
        summary.due += one.run.due;
        for (outcome, rows) in &one.outcomes {
            *summary.outcomes.entry(*outcome).or_default() += rows;
        }
    }
    for message in &simulated.messages {
        *summary.messages.entry(message.outcome).or_default() += 1;
    }
    summary
}

fn print(summary: &DealershipSummary, coverage: &[Coverage]) {
    println!(
        "lived through {} days in {} s: {} campaign runs looked at {} rows\n",
        summary.days, summary.seconds, summary.runs, summary.scanned
    );
    print!("{:<26} {:>6} {:>7}", "campaign", "runs", "due");
    for outcome in RowOutcome::ALL {
        print!(" {outcome:>11}");
    }
    println!();
    let mut by_campaign: BTreeMap<String, (u64, u64, BTreeMap<RowOutcome, u64>)> = BTreeMap::new();
    for one in coverage {
        let entry = by_campaign.entry(one.run.campaign.to_string()).or_default();
        entry.0 += 1;
        entry.1 += one.run.due;
        for (outcome, rows) in &one.outcomes {
            *entry.2.entry(*outcome).or_default() += rows;
        }
    }
    for (campaign, (runs, due, outcomes)) in by_campaign {
        print!("{campaign:<26} {runs:>6} {due:>7}");
        for outcome in RowOutcome::ALL {
            print!(" {:>11}", outcomes.get(outcome).copied().unwrap_or(0));
        }
        println!();
    }
    print!("{:<26} {:>6} {:>7}", "all", summary.runs, summary.due);
    for outcome in RowOutcome::ALL {
        print!(" {:>11}", summary.outcomes.get(outcome).copied().unwrap_or(0));
    }
    println!();
    let ends: Vec<String> = summary
        .messages
        .iter()
        .map(|(outcome, count)| format!("{count} {outcome}"))
        .collect();
    println!("\nof the messages: {}", ends.join(", "));
}

/// The first who got nothing, and why.
async fn why(engine: &Engine, tenant: TenantId, customers: usize) -> Result<()> {
    let campaign = super::super::explain::campaign_name("seven_day_checkin")?;
    for customer in 1..=customers.min(ASKED) {
        let told = engine
            .explain_campaign(tenant, &customer.to_string(), &campaign)
            .await?;
        if told.rows.iter().all(|row| row.history.is_empty()) && !told.rows.is_empty() {
            println!("why customer {customer} got no {campaign}: {}", told.answer);
            break;
        }
    }
    Ok(())
}
