//! D1: PostgreSQL is shut down at once, as by a power cut, while messages come in; its owner starts it again.

use super::Ground;
use super::lab::{Kind, Lab};
use super::report::Report;
use crate::load::{Load, Pace};
use crate::process::signal;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::time::{Duration, Instant};
use tidings_postgres::Health;

/// How often it is shut down.
const TIMES: u32 = 3;
/// How long a process may be silent.
const LEASE_S: u32 = 5;
/// A hundred messages a second, and some more for what a caller waits for an answer.
const PACE: Pace = Pace {
    callers: 30,
    every: Duration::from_millis(250),
};
/// Traffic before each.
const BEFORE: Duration = Duration::from_secs(6);
/// What the server may take to be there again.
const SERVER_LIMIT: Duration = Duration::from_mins(1);
/// What the installation may take from then on until messages flow at the rate.
const STEADY_LIMIT: Duration = Duration::from_secs(10);
/// When the row gives up waiting for it.
const GIVE_UP: Duration = Duration::from_mins(2);
/// How long the rate is measured, and what part of the one before makes it steady.
const WINDOW: Duration = Duration::from_millis(500);
const STEADY_PART: f64 = 0.8;
/// How often the server is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs the row.
pub async fn run(ground: &Ground<'_>) -> Result<Report> {
    let lab = Lab::open(ground, "d1", Kind::Lookup, LEASE_S).await?;
    let mut child = lab.engine.serve("all", None)?;
    lab.engine.up(&mut child).await?;
    let load = Load::default();
    let breaking = async {
        let broken = restart_repeatedly(ground, &load).await;
        load.stop();
        broken
    };
    let ((), broken) = tokio::join!(load.run(&lab.engine, PACE, "d1-"), breaking);
    let (times, per_s) = broken?.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
    let mut report = Report {
        trials: ground.times(TIMES),
        ..Report::default()
    };
    let slowest = times.iter().max().copied().unwrap_or_default();
    report.figure(
        "steady_after_ms",
        json!(times.iter().map(Duration::as_millis).collect::<Vec<_>>()),
    );
    report.demand(slowest <= STEADY_LIMIT, || {
        format!("messages flowed at the rate again only after {slowest:?}")
    });
    report.figure("per_s_before", json!(per_s));
    let answers = load.answers();
    let others: Vec<u16> = answers
        .keys()
        .copied()
        .filter(|status| !(200..300).contains(status) && *status != 503)
        .collect();
    report.demand(others.is_empty(), || format!("requests were answered {others:?}"));
    report.figure("answers", json!(answers));
    report.figure("unanswered", load.unanswered());
    anyhow::ensure!(
        child.try_wait()?.is_none(),
        "the engine ended by itself; see serve.log"
    );
    lab.settle_under(&load, &mut report).await?;
    child.kill().await?;
    Ok(report)
}

/// How long each time until the rate was back, from the moment the server was; and the rate, in messages a second.
async fn restart_repeatedly(ground: &Ground<'_>, load: &Load) -> Result<Vec<(Duration, f64)>> {
    let mut times = Vec::new();
    for turn in 0..ground.times(TIMES) {
        tokio::time::sleep(BEFORE).await;
        let usual = rate(load, 4 * WINDOW).await;
        let restarts = ground.cluster.restarts();
        let pid = ground.cluster.instance().pid().context("the server is gone")?;
        // Immediate shutdown: no checkpoint, and every connection is cut.
        signal(pid, "QUIT").await?;
        let since = Instant::now();
        while ground.cluster.restarts() == restarts || ground.cluster.health() != Health::Running {
            if since.elapsed() > SERVER_LIMIT {
                bail!("the server was not started again within {SERVER_LIMIT:?}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let back = Instant::now();
        while rate(load, WINDOW).await < usual * STEADY_PART {
            if back.elapsed() > GIVE_UP {
                bail!("messages did not flow at the rate again within {GIVE_UP:?}");
            }
        }
        let steady = back.elapsed();
        ground.say(&format!(
            "D1: shut down {} times; {usual:.0} a second before, and again after {steady:?}",
            turn + 1
        ));
        times.push((steady, usual.round()));
    }
    Ok(times)
}

/// Messages acknowledged a second, over a time.
async fn rate(load: &Load, time: Duration) -> f64 {
    let (before, started) = (load.count(), Instant::now());
    tokio::time::sleep(time).await;
    load.count().saturating_sub(before) as f64 / started.elapsed().as_secs_f64()
}
