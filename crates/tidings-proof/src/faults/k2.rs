//! K2: a worker is frozen for longer than its lease while others take its jobs over, and then goes on as if nothing had been.

use super::Ground;
use super::lab::{Kind, Lab, end};
use super::report::Report;
use crate::load::{Load, Pace};
use crate::process::signal;
use anyhow::{Context, Result};
use std::time::Duration;
use tidings_stand_in::{Fault, Rule};
use tokio::process::Child;

/// How often a worker is frozen.
const TIMES: u32 = 20;
/// How long a process may be silent.
const LEASE_S: u32 = 2;
/// How long one is frozen: past its lease, and past the next look for such.
const FROZEN: Duration = Duration::from_secs(4);
/// Between two.
const PAUSE: Duration = Duration::from_millis(700);
/// Fifty messages a second.
const PACE: Pace = Pace {
    callers: 4,
    every: Duration::from_millis(80),
};

/// Runs the row: two workers that are frozen in turn, and a third process that takes requests.
pub async fn run(ground: &Ground<'_>) -> Result<Report> {
    let lab = Lab::open(ground, "k2", Kind::Lookup, LEASE_S).await?;
    // Calls take a while, so that some are under way whenever a worker stops.
    let slow = Fault::Latency {
        min_ms: 50,
        max_ms: 600,
    };
    lab.standin
        .fault(Rule::always(slow))
        .map_err(|problem| anyhow::anyhow!(problem))?;
    let mut api = lab.engine.serve("api", None)?;
    lab.engine.up(&mut api).await?;
    let mut workers = vec![
        lab.engine.serve("worker", None)?,
        lab.engine.serve("worker", None)?,
    ];
    let load = Load::default();
    let freezing = async {
        let frozen = freeze(ground, &mut workers).await;
        load.stop();
        frozen
    };
    let ((), frozen) = tokio::join!(load.run(&lab.engine, PACE, "k2-"), freezing);
    let mut report = Report {
        trials: frozen?,
        ..Report::default()
    };
    lab.settle_under(&load, &mut report).await?;
    let mut database = lab.database().await?;
    let taken_over: i64 = sqlx::query_scalar("SELECT count(*) FROM event_log WHERE kind = 'DeliveryUnknown'")
        .fetch_one(&mut database)
        .await?;
    report.figure("calls_taken_over", taken_over);
    report.demand(taken_over > 0, || {
        "no call was under way when a worker was frozen: nothing was proved".to_owned()
    });
    workers.push(api);
    end(workers).await?;
    Ok(report)
}

async fn freeze(ground: &Ground<'_>, workers: &mut [Child]) -> Result<u32> {
    let times = ground.times(TIMES);
    for turn in 0..times {
        let nth = turn as usize % workers.len();
        let worker = &mut workers[nth];
        let pid = worker.id().context("a worker ended by itself; see serve.log")?;
        tokio::time::sleep(PAUSE).await;
        signal(pid, "STOP").await?;
        tokio::time::sleep(FROZEN).await;
        signal(pid, "CONT").await?;
        anyhow::ensure!(
            worker.try_wait()?.is_none(),
            "a worker ended by itself; see serve.log"
        );
        ground.say(&format!("K2: frozen {} of {times} times", turn + 1));
    }
    Ok(times)
}
