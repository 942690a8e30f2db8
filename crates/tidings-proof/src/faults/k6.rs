//! K6: a provider whose reports never come, and a process that ends while it asks for them.
//!
//! A call is asked about when it is fifteen minutes old, and a turn that was left is another's after five: the processes follow a
//! clock (`TIDINGS_CLOCK_FILE`) that is moved ahead between their lives.

use super::Ground;
use super::lab::{Clock, Kind, Lab};
use super::report::Report;
use crate::load::{Letter, Load};
use crate::process::dies_within;
use anyhow::{Context, Result, ensure};
use jiff::SignedDuration;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidings_core::Dice;
use tidings_stand_in::{Event, Step};
use tokio::process::Child;

/// Ends at each point.
const TIMES: u32 = 10;
/// How long a process may be silent.
const LEASE_S: u32 = 2;
/// How long a process has to come to its point: a question a second.
const LIFE: Duration = Duration::from_secs(30);
/// Before a process is killed at a random moment, at most: while it asks.
const MOMENT_MS: u64 = 4_000;
/// Messages that are sent before each end.
const SENT: u32 = 3;
/// From one life to the next: calls are due, and the turn of whoever died is over.
const LATER: SignedDuration = SignedDuration::from_mins(20);
/// How long the processes may take for everything that was sent, or that is asked about in the end.
const LIMIT: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Beside the points: SIGKILL at a random moment.
const ANY_MOMENT: &str = "sigkill";
const POINTS: [&str; 3] = ["reconcile_before_commit", "reconcile_after_commit", ANY_MOMENT];

/// Runs the row.
pub async fn run(ground: &Ground<'_>) -> Result<Report> {
    let lab = Lab::open(ground, "k6", Kind::Idempotent, LEASE_S).await?;
    // It knows what became of its messages, and has nowhere to report it to.
    lab.script(vec![Step::of(Event::Delivered)])?;
    let mut clock = Clock::new(&lab.folder, "clock")?;
    let mut dice = ground.dice(0);
    let load = Load::default();
    let mut met = BTreeMap::new();
    for turn in 0..ground.times(TIMES) {
        for point in POINTS {
            let names = (0..SENT).map(|number| format!("k6-{turn}-{point}-{number}"));
            send(&lab, &load, &clock, names).await?;
            clock.set(clock.away() + LATER)?;
            if end_at(&lab, &clock, point, &mut dice)
                .await
                .with_context(|| format!("at {point}"))?
            {
                *met.entry(point).or_insert(0_u32) += 1;
            }
        }
        ground.say(&format!("K6: {met:?} after {} rounds", turn + 1));
    }
    clock.set(clock.away() + LATER)?;
    let mut report = Report {
        trials: met.values().sum(),
        ..Report::default()
    };
    let never = POINTS.iter().filter(|point| !met.contains_key(*point));
    let never: Vec<&str> = never.copied().collect();
    report.demand(never.is_empty(), || format!("never came to {}", never.join(", ")));
    report.figure("ends", json!(met));
    ask_in_peace(&lab, &clock, &load, &mut report).await?;
    Ok(report)
}

/// Starts a process that follows the clock, with a point armed where one is named.
fn serve(lab: &Lab, clock: &Clock, role: &str, point: Option<&str>) -> Result<Child> {
    let file = clock.file();
    let clock = ("TIDINGS_CLOCK_FILE", file.as_str());
    let point = point.map(|point| ("TIDINGS_FAIL_POINTS", point));
    let environment: Vec<_> = std::iter::once(clock).chain(point).collect();
    lab.engine.serve_with(role, &environment)
}

/// Sends messages through a process that lives until they have gone.
async fn send(lab: &Lab, load: &Load, clock: &Clock, names: impl Iterator<Item = String>) -> Result<()> {
    // Nobody asks meanwhile: that is the scheduler's.
    let mut nodes = [
        serve(lab, clock, "api", None)?,
        serve(lab, clock, "worker", None)?,
    ];
    lab.engine.up(&mut nodes[0]).await?;
    for name in names {
        load.submit(&lab.engine, &Letter::new(&name))
            .await
            .context("a message was not acknowledged")?;
    }
    let waiting = "SELECT count(*) FROM messages WHERE status IN ('pending', 'queued')";
    ensure!(
        falls_to_none(lab, waiting).await? == 0,
        "messages were not sent in time"
    );
    for node in &mut nodes {
        node.kill().await?;
    }
    Ok(())
}

/// One life that ends while it asks; false when it did not come to its point.
async fn end_at(lab: &Lab, clock: &Clock, point: &str, dice: &mut Dice) -> Result<bool> {
    let any = point == ANY_MOMENT;
    let mut child = serve(lab, clock, "all", (!any).then_some(point))?;
    lab.engine.up(&mut child).await?;
    if any {
        tokio::time::sleep(Duration::from_millis(dice.below(MOMENT_MS))).await;
        child.kill().await?;
        return Ok(true);
    }
    dies_within(&mut child, LIFE).await
}

/// Lets a process ask undisturbed, and counts.
async fn ask_in_peace(lab: &Lab, clock: &Clock, load: &Load, report: &mut Report) -> Result<()> {
    let mut child = serve(lab, clock, "all", None)?;
    lab.engine.up(&mut child).await?;
    lab.settle_under(load, report).await?;
    let open = falls_to_none(lab, "SELECT count(*) FROM messages WHERE status = 'sent'").await?;
    child.kill().await?;
    report.demand(open == 0, || {
        format!("{open} messages were never known as delivered")
    });
    let twice = count(
        lab,
        "SELECT count(*) FROM (SELECT FROM delivery_events WHERE kind = 'delivered' GROUP BY delivery_id HAVING count(*) > 1) t",
    )
    .await?;
    report.demand(twice == 0, || {
        format!("{twice} deliveries were written down more than once")
    });
    let reported = count(
        lab,
        "SELECT count(*) FROM delivery_events WHERE provenance <> 'poll'",
    )
    .await?;
    report.demand(reported == 0, || {
        format!("{reported} reports came by another way")
    });
    report.figure(
        "asked_for",
        count(lab, "SELECT count(*) FROM delivery_events").await?,
    );
    Ok(())
}

async fn count(lab: &Lab, query: &'static str) -> Result<i64> {
    let mut database = lab.database().await?;
    Ok(sqlx::query_scalar(query).fetch_one(&mut database).await?)
}

/// Waits until a count is none; what it came to.
async fn falls_to_none(lab: &Lab, query: &'static str) -> Result<i64> {
    let started = Instant::now();
    loop {
        let left = count(lab, query).await?;
        if left == 0 || started.elapsed() > LIMIT {
            return Ok(left);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
