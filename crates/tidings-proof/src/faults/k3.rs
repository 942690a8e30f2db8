//! K3: a message that ends whoever is about to dispatch it, among a thousand good ones.

use super::Ground;
use super::lab::{Kind, Lab};
use super::report::Report;
use crate::load::{Letter, Load, address};
use crate::process::Installation;
use crate::tally::{self, Calls, Unknown};
use anyhow::{Context, Result, bail};
use futures::{StreamExt as _, stream};
use serde_json::json;
use sqlx::PgConnection;
use std::time::{Duration, Instant};

/// A message of each kind of poison.
const TIMES: u32 = 3;
/// How it ends its worker.
const POISONS: [&str; 3] = ["poison_panic", "poison_overflow", "poison_abort"];
/// How long a process may be silent.
const LEASE_S: u32 = 2;
/// Good messages beside each.
const GOOD: usize = 1_000;
/// Submissions at once.
const AT_ONCE: usize = 16;
/// How long one poison may take to be set aside, and the good ones to be sent.
const LIMIT: Duration = Duration::from_mins(4);
/// How often a process that ended is started again.
const MOST_STARTS: u32 = 100;
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Ends alone after which a message is given up.
const ENDS_ALONE: i16 = 3;

/// Runs the row.
pub async fn run(ground: &Ground<'_>) -> Result<Report> {
    let mut report = Report::default();
    for turn in 0..ground.times(TIMES) {
        let how = POISONS[turn as usize % POISONS.len()];
        let lab = Lab::open(ground, &format!("k3_{turn}"), Kind::Lookup, LEASE_S).await?;
        poison(ground, &lab, how, &mut report)
            .await
            .with_context(|| how.to_owned())?;
        report.trials += 1;
    }
    Ok(report)
}

async fn poison(ground: &Ground<'_>, lab: &Lab, how: &str, report: &mut Report) -> Result<()> {
    let load = Load::default();
    let bad = queue(&lab.engine, &load).await?;
    let armed = format!("{how}={bad}");
    let mut database = lab.database().await?;
    let starts = supervise(lab, &armed, &mut database, &bad).await?;
    let ends: Option<i16> =
        sqlx::query_scalar("SELECT max(crash_count) FROM communication_jobs WHERE status = 'failed'")
            .fetch_one(&mut database)
            .await?;
    // The poison itself ends, visibly, and is sent to nobody.
    let mut good = load.acknowledged();
    good.remove(&address("poison"));
    let ledgers = [&lab.standin];
    let tally = tally::count(&mut database, &good, &ledgers, Calls::Every, Unknown::Held).await?;
    report.demand(tally.accepted == GOOD, || {
        format!("{how}: {} of {GOOD} good messages were sent", tally.accepted)
    });
    // It may have ended a worker in company once before it was alone.
    report.demand(
        ends.is_some_and(|ends| (ENDS_ALONE..=ENDS_ALONE + 1).contains(&ends)),
        || format!("{how}: set aside after {ends:?} ends instead of {ENDS_ALONE}"),
    );
    report.add(&tally);
    report.figure(how, json!({ "starts": starts, "ends": ends }));
    ground.say(&format!(
        "K3 {how}: {starts} starts, set aside after {ends:?} ends"
    ));
    Ok(())
}

/// Queues the good ones and the bad one among them while nobody works; the id of the bad one.
async fn queue(engine: &Installation, load: &Load) -> Result<String> {
    let mut api = engine.serve("api", None)?;
    engine.up(&mut api).await?;
    let good: Vec<String> = (0..GOOD).map(|number| format!("good-{number}")).collect();
    let (before, after) = good.split_at(GOOD / 2);
    submit(engine, load, before).await?;
    let bad = load
        .submit(engine, &Letter::new("poison"))
        .await
        .context("the poison was not acknowledged")?;
    submit(engine, load, after).await?;
    api.kill().await?;
    Ok(bad)
}

async fn submit(engine: &Installation, load: &Load, names: &[String]) -> Result<()> {
    let all: Vec<Option<String>> = stream::iter(names)
        .map(|name| async move { load.submit(engine, &Letter::new(name)).await })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let refused = all.iter().filter(|id| id.is_none()).count();
    anyhow::ensure!(refused == 0, "{refused} messages were not acknowledged");
    Ok(())
}

/// Starts the process whenever it ended, until the good ones are sent and the bad one is set aside; how often.
async fn supervise(lab: &Lab, armed: &str, database: &mut PgConnection, bad: &str) -> Result<u32> {
    let begun = Instant::now();
    for start in 1..=MOST_STARTS {
        let mut child = lab.engine.serve("all", Some(armed))?;
        loop {
            if settled(database, bad).await? {
                child.kill().await?;
                return Ok(start);
            }
            if begun.elapsed() > LIMIT {
                let (open, _) = tally::settle(database, Unknown::Held, Duration::ZERO).await?;
                bail!("{open} messages were still on their way after {LIMIT:?} and {start} starts");
            }
            if let Ok(ended) = tokio::time::timeout(LOOK_EVERY, child.wait()).await {
                ended?;
                break;
            }
        }
    }
    bail!("the process ended {MOST_STARTS} times")
}

/// Whether no message but the bad one is on its way, and its job is set aside.
async fn settled(database: &mut PgConnection, bad: &str) -> Result<bool> {
    let open: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM messages WHERE status IN ('pending', 'queued') AND id::text <> $1",
    )
    .bind(bad)
    .fetch_one(&mut *database)
    .await?;
    let aside: i64 = sqlx::query_scalar("SELECT count(*) FROM communication_jobs WHERE status = 'failed'")
        .fetch_one(database)
        .await?;
    Ok(open == 0 && aside == 1)
}
