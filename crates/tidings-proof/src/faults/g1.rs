//! G1: processes are told to end, one after the other, while messages come in.

use super::Ground;
use super::lab::{Kind, Lab, end};
use super::report::Report;
use crate::load::{Load, Pace};
use crate::process::signal;
use anyhow::{Context, Result};
use serde_json::json;
use std::time::{Duration, Instant};
use tidings_core::Dice;
use tidings_stand_in::{Fault, Rule};
use tokio::process::Child;

/// How often a process is told to end.
const TIMES: u32 = 10;
/// How long a process may be silent.
const LEASE_S: u32 = 5;
/// Twenty messages a second: as many as a mail server with late answers takes over its few connections.
const PACE: Pace = Pace {
    callers: 5,
    every: Duration::from_millis(250),
};
/// What a process may take to end.
const END_LIMIT: Duration = Duration::from_secs(30);
/// When the row gives up waiting for it.
const GIVE_UP: Duration = Duration::from_mins(1);
/// Before a process is told to end, at least and at most.
const MOMENT_MS: (u64, u64) = (500, 1_500);
/// Roles of the three processes; the first takes requests as well.
const ROLES: [&str; 3] = ["all", "worker", "worker"];

/// Runs the row.
pub async fn run(ground: &Ground<'_>) -> Result<Report> {
    let lab = Lab::open(ground, "g1", Kind::Opaque, LEASE_S).await?;
    // Calls take a while, so that some are under way whenever a process is to end.
    let slow = Fault::Latency {
        min_ms: 50,
        max_ms: 300,
    };
    lab.standin
        .fault(Rule::always(slow))
        .map_err(|problem| anyhow::anyhow!(problem))?;
    let mut nodes = Vec::new();
    for role in ROLES {
        nodes.push(lab.engine.serve(role, None)?);
    }
    lab.engine.up(&mut nodes[0]).await?;
    let load = Load::default();
    let mut dice = ground.dice(7);
    let mut report = Report::default();
    let ending = async {
        let ended = end_repeatedly(ground, &lab, &mut nodes, &mut dice, &mut report).await;
        load.stop();
        ended
    };
    let ((), ended) = tokio::join!(load.run(&lab.engine, PACE, "g1-"), ending);
    ended?;
    lab.settle_under(&load, &mut report).await?;
    let mut database = lab.database().await?;
    let unknown: i64 = sqlx::query_scalar("SELECT count(*) FROM event_log WHERE kind = 'DeliveryUnknown'")
        .fetch_one(&mut database)
        .await?;
    report.demand(unknown == 0, || {
        format!("{unknown} calls were left without their answer")
    });
    end(nodes).await?;
    Ok(report)
}

async fn end_repeatedly(
    ground: &Ground<'_>,
    lab: &Lab,
    nodes: &mut [Child],
    dice: &mut Dice,
    report: &mut Report,
) -> Result<()> {
    let mut longest = Duration::ZERO;
    for turn in 0..ground.times(TIMES) {
        let (least, most) = MOMENT_MS;
        tokio::time::sleep(Duration::from_millis(least + dice.below(most - least))).await;
        let nth = turn as usize % ROLES.len();
        let (node, role) = (&mut nodes[nth], ROLES[nth]);
        signal(
            node.id().context("a process ended by itself; see serve.log")?,
            "TERM",
        )
        .await?;
        let told = Instant::now();
        let status = tokio::time::timeout(GIVE_UP, node.wait())
            .await
            .with_context(|| format!("the process of role {role} had not ended after {GIVE_UP:?}"))??;
        let took = told.elapsed();
        longest = longest.max(took);
        report.demand(status.success(), || format!("role {role} ended with {status}"));
        report.demand(took <= END_LIMIT, || format!("role {role} took {took:?} to end"));
        *node = lab.engine.serve(role, None)?;
        if nth == 0 {
            lab.engine.up(node).await?;
        }
        report.trials += 1;
        ground.say(&format!("G1: role {role} ended within {took:?}"));
    }
    report.figure("longest_end_ms", json!(longest.as_millis()));
    Ok(())
}
