//! `tidings simulate`: days to come, lived through at once on a scratch copy.

use crate::apply::check;
use crate::cli;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::node;
use crate::scratch::Scratch;
use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tidings_core::clock::FixedClock;
use tidings_core::decide::Policy;
use tidings_core::zone;
use tidings_engine::{Engine, Moved, Simulated, SimulatedMessage, SimulatedOutcome, differences};
use tidings_store::tenants::Tenant;

/// Differences that are printed for people; `--json` has them all.
const SHOWN: usize = 40;

/// What the command answers.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// What would happen.
    #[serde(flatten)]
    simulated: Simulated,
    /// Counts by day, campaign, channel and reason.
    totals: Totals,
    /// What the changed policy would move.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<Vec<Moved>>,
}

/// Counts.
#[derive(Debug, Default, Serialize)]
pub struct Totals {
    /// By outcome.
    pub outcomes: BTreeMap<SimulatedOutcome, u64>,
    /// By local day, then campaign: messages that went out.
    pub calendar: BTreeMap<String, BTreeMap<String, u64>>,
    /// By campaign, then outcome.
    pub campaigns: BTreeMap<String, BTreeMap<SimulatedOutcome, u64>>,
    /// Messages that went out, by channel.
    pub channels: BTreeMap<String, u64>,
    /// By reason.
    pub reasons: BTreeMap<String, u64>,
}

/// Runs the simulation and prints it.
pub async fn run(installation: &Installation, options: &cli::Simulate, json: bool) -> Result<()> {
    let tenant = installation.tenant(options.tenant.tenant.as_deref()).await?;
    let zone = zone::resolve(None, &tenant.policy.zone);
    if options.to < options.from {
        return Err(
            Failure::Usage(format!("--to {} lies before --from {}", options.to, options.from)).into(),
        );
    }
    let from = day(options.from, &zone)?;
    let to = day(options.to.tomorrow().context("--to has no day after it")?, &zone)?;
    let changed = options
        .diff
        .as_deref()
        .map(|path| changed_policy(path, &tenant))
        .transpose()?;
    let simulated = live_through(installation, &tenant, from, to, None).await?;
    let diff = match changed {
        None => None,
        Some(policy) => {
            let other = live_through(installation, &tenant, from, to, Some(policy)).await?;
            Some(differences(&simulated, &other))
        }
    };
    let answer = Answer {
        totals: Totals::of(&simulated.messages, &zone),
        simulated,
        diff,
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        print(&answer);
    }
    Ok(())
}

fn day(date: jiff::civil::Date, zone: &TimeZone) -> Result<Timestamp> {
    let zoned = date
        .to_zoned(zone.clone())
        .with_context(|| format!("{date} cannot be simulated"))?;
    Ok(zoned.timestamp())
}

/// The tenant's policy with the file's values in it.
fn changed_policy(path: &Path, tenant: &Tenant) -> Result<Policy> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut table: toml::Table =
        toml::from_str(&text).map_err(|error| Failure::Refused(format!("{}: {error}", path.display())))?;
    // A piece of an apply file is understood as well.
    if let Some(toml::Value::Table(inner)) = table.remove("policy") {
        table.extend(inner);
    }
    let mut policy = serde_json::to_value(&tenant.policy)?;
    merge(&mut policy, serde_json::to_value(&table)?);
    let read: Policy = serde_json::from_value(policy)
        .map_err(|error| Failure::Refused(format!("{}: {error}", path.display())))?;
    check::policy(&read).with_context(|| path.display().to_string())?;
    Ok(read)
}

/// Objects are merged by name; everything else is replaced.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// One simulation on a scratch server of its own.
pub async fn live_through(
    installation: &Installation,
    tenant: &Tenant,
    from: Timestamp,
    to: Timestamp,
    policy: Option<Policy>,
) -> Result<Simulated> {
    let keyring = installation.store.keyring().clone();
    let scratch = Scratch::start(&installation.config, keyring, from).await?;
    let clock = Arc::new(FixedClock::new(from));
    let engine = node::engine_on(installation, scratch.store.clone(), Arc::clone(&clock) as _)?;
    let done = simulate(&engine, installation, tenant, &clock, to, policy).await;
    engine.close().await;
    drop(engine);
    let stopped = scratch.stop().await;
    let simulated = done?;
    stopped?;
    Ok(simulated)
}

async fn simulate(
    engine: &Engine,
    installation: &Installation,
    tenant: &Tenant,
    clock: &FixedClock,
    to: Timestamp,
    policy: Option<Policy>,
) -> Result<Simulated> {
    let from = engine.now();
    engine
        .prepare_simulation(&installation.store, tenant.id, from, policy)
        .await?;
    Ok(engine.simulate(clock, tenant.id, to).await?)
}

impl Totals {
    /// Counts messages; days are those of the zone.
    pub fn of(messages: &[SimulatedMessage], zone: &TimeZone) -> Self {
        let mut totals = Self::default();
        for message in messages {
            *totals.outcomes.entry(message.outcome).or_default() += 1;
            *totals
                .campaigns
                .entry(message.campaign.clone())
                .or_default()
                .entry(message.outcome)
                .or_default() += 1;
            if message.outcome == SimulatedOutcome::Sent {
                let day = message.at.to_zoned(zone.clone()).date().to_string();
                *totals
                    .calendar
                    .entry(day)
                    .or_default()
                    .entry(message.campaign.clone())
                    .or_default() += 1;
                let channel = message.channel.map_or("unknown", tidings_core::Channel::as_str);
                *totals.channels.entry(channel.to_owned()).or_default() += 1;
            }
            if let Some(because) = &message.because {
                *totals.reasons.entry(because.clone()).or_default() += 1;
            }
        }
        totals
    }
}

fn print(answer: &Answer) {
    println!(
        "from {} to {}: {} campaign runs, {} messages",
        answer.simulated.from,
        answer.simulated.to,
        answer.simulated.runs,
        answer.simulated.messages.len()
    );
    println!("\ncalendar (sent)");
    for (day, campaigns) in &answer.totals.calendar {
        let total: u64 = campaigns.values().sum();
        let parts: Vec<String> = campaigns
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        println!("  {day}  {total:>6}  {}", parts.join(", "));
    }
    println!("\nby campaign");
    for (campaign, outcomes) in &answer.totals.campaigns {
        let parts: Vec<String> = outcomes
            .iter()
            .map(|(outcome, count)| format!("{outcome} {count}"))
            .collect();
        println!("  {campaign:<28} {}", parts.join(", "));
    }
    section("by channel (sent)", &answer.totals.channels);
    section("by reason", &answer.totals.reasons);
    let total: Vec<String> = answer
        .totals
        .outcomes
        .iter()
        .map(|(outcome, count)| format!("{outcome} {count}"))
        .collect();
    println!(
        "\ntotal: {}",
        if total.is_empty() {
            "nothing".to_owned()
        } else {
            total.join(", ")
        }
    );
    if let Some(moved) = &answer.diff {
        print_diff(moved);
    }
}

fn section(title: &str, counts: &BTreeMap<String, u64>) {
    if counts.is_empty() {
        return;
    }
    println!("\n{title}");
    for (name, count) in counts {
        println!("  {name:<28} {count}");
    }
}

fn print_diff(moved: &[Moved]) {
    println!("\nthe changed policy moves {} messages", moved.len());
    for one in moved.iter().take(SHOWN) {
        println!(
            "  {}: {} -> {}",
            one.source_reference,
            one.before.as_ref().map_or_else(|| "not there".to_owned(), told),
            one.after.as_ref().map_or_else(|| "not there".to_owned(), told)
        );
    }
    if moved.len() > SHOWN {
        println!("  and {} more; --json lists them all", moved.len() - SHOWN);
    }
}

fn told(message: &SimulatedMessage) -> String {
    let channel = message
        .channel
        .map(|channel| format!(" by {channel}"))
        .unwrap_or_default();
    let because = message
        .because
        .as_deref()
        .map(|because| format!(" ({because})"))
        .unwrap_or_default();
    format!("{}{channel} at {}{because}", message.outcome, message.at)
}
