//! K1: the process ends at each named point of a message's way, for each kind of provider.

use super::Ground;
use super::lab::{Kind, Lab};
use super::report::Report;
use crate::load::{Load, Pace};
use crate::process::{dies_within, signal};
use anyhow::{Context, Result};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tidings_core::Dice;
use tidings_engine::FAIL_POINT_NAMES;

/// Ends of each point for each kind.
const TIMES: u32 = 10;
/// How long a process may be silent.
const LEASE_S: u32 = 2;
/// How long a process has to come to its point.
const LIFE: Duration = Duration::from_secs(10);
/// Before a process is told to end, or killed at a random moment, at most.
const MOMENT_MS: u64 = 600;
/// A point may be met the n-th time it is passed.
const NTH: u64 = 3;
/// Two callers for each kind.
const PACE: Pace = Pace {
    callers: 2,
    every: Duration::from_millis(40),
};
/// Beside the points: SIGKILL at a random moment.
const ANY_MOMENT: &str = "sigkill";

/// Points on the way of a message of this kind. Campaigns have a proof of their own, nothing is gathered here, and asking for
/// reports is row K6.
fn points(kind: Kind) -> Vec<&'static str> {
    let elsewhere = |name: &str| {
        name.starts_with("campaign_")
            || name.starts_with("batch_")
            || name.starts_with("reconcile_")
            || (name.starts_with("webhook_") && kind.reports().is_none())
    };
    let named = FAIL_POINT_NAMES.iter().copied();
    named
        .filter(|name| !elsewhere(name))
        .chain([ANY_MOMENT])
        .collect()
}

/// Runs the row: the three kinds beside one another.
pub async fn run(ground: &Ground<'_>) -> Result<Report> {
    let kinds = Kind::ALL.map(|kind| of_kind(ground, kind));
    let mut report = Report::default();
    for part in futures::future::try_join_all(kinds).await? {
        report.merge(part);
    }
    Ok(report)
}

async fn of_kind(ground: &Ground<'_>, kind: Kind) -> Result<Report> {
    let mut lab = Lab::open(ground, &format!("k1_{}", kind.name()), kind, LEASE_S).await?;
    lab.report_deliveries().await?;
    let load = Load::default();
    let mut dice = ground.dice(kind as u64);
    let killing = async {
        let killed = kill_at_each(ground, &lab, kind, &mut dice).await;
        load.stop();
        killed
    };
    let ((), killed) = tokio::join!(load.run(&lab.engine, PACE, "k1-"), killing);
    let met = killed?;
    let mut report = Report {
        trials: met.values().sum(),
        ..Report::default()
    };
    let never: Vec<&str> = points(kind)
        .into_iter()
        .filter(|point| !met.contains_key(*point))
        .collect();
    report.demand(never.is_empty(), || {
        format!("{}: never came to {}", kind.name(), never.join(", "))
    });
    report.figure(&format!("{}_ends", kind.name()), json!(met));
    lab.settle(&load, &mut report).await?;
    Ok(report)
}

/// Ends the process as often as wanted at each point; how often each was met.
async fn kill_at_each(
    ground: &Ground<'_>,
    lab: &Lab,
    kind: Kind,
    dice: &mut Dice,
) -> Result<BTreeMap<String, u32>> {
    let mut met = BTreeMap::new();
    for point in points(kind) {
        for _ in 0..ground.times(TIMES) {
            if kill_at(lab, point, dice)
                .await
                .with_context(|| format!("{} at {point}", kind.name()))?
            {
                *met.entry(point.to_owned()).or_insert(0) += 1;
            }
        }
        let count = met.get(point).copied().unwrap_or(0);
        ground.say(&format!("K1 {}: {point} met {count} times", kind.name()));
    }
    Ok(met)
}

/// One life that ends at a point; false when it did not come there.
async fn kill_at(lab: &Lab, point: &str, dice: &mut Dice) -> Result<bool> {
    let moment = Duration::from_millis(50 + dice.below(MOMENT_MS));
    match point {
        ANY_MOMENT => {
            let mut child = lab.engine.serve("all", None)?;
            lab.engine.up(&mut child).await?;
            tokio::time::sleep(moment).await;
            child.kill().await?;
            Ok(true)
        }
        "drain_begun" => {
            let mut child = lab.engine.serve("all", Some(point))?;
            lab.engine.up(&mut child).await?;
            tokio::time::sleep(moment).await;
            signal(child.id().context("the process ended by itself")?, "TERM").await?;
            dies_within(&mut child, LIFE).await
        }
        "resolve_before_commit" => {
            // Something must be unknown first: a call whose worker ended.
            let mut child = lab.engine.serve("all", Some("provider_after_accept"))?;
            lab.engine.up(&mut child).await?;
            dies_within(&mut child, LIFE).await?;
            die(lab, point).await
        }
        point => die(lab, &format!("{point}@{}", 1 + dice.below(NTH))).await,
    }
}

async fn die(lab: &Lab, armed: &str) -> Result<bool> {
    let mut child = lab.engine.serve("all", Some(armed))?;
    lab.engine.up(&mut child).await?;
    dies_within(&mut child, LIFE).await
}
