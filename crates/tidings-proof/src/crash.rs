//! Kills the real process at random fail points under load, restarts it, and holds what became of every
//! acknowledged message against the stand-in provider's own ledger.

use crate::killable;
use crate::load::{Load, Pace};
use crate::process::{Installation, dies_within};
use crate::tally::{self, Calls, Unknown};
use anyhow::Result;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tidings_core::Dice;
use tidings_engine::FAIL_POINT_NAMES;
use tidings_stand_in::StandIn;

/// How long the engine may take to settle everything after the last kill.
const SETTLE_LIMIT: Duration = Duration::from_mins(5);
/// A process that meets no fail point is killed after at most this long.
const LIFE_LIMIT_MS: u64 = 900;
/// How long a process may be silent.
const LEASE_S: u32 = 5;
/// Eight callers, each at fifty messages a second.
const PACE: Pace = Pace {
    callers: 8,
    every: Duration::from_millis(20),
};
/// Points on no message's way while this runs: campaigns have a proof of their own, nothing is gathered, no provider reports
/// or is asked for reports, and no process drains.
const ELSEWHERE: &[&str] = &["campaign_", "batch_", "webhook_", "reconcile_", "drain_"];

/// What must be 0.
pub const NONE: [&str; 3] = ["lost", "duplicate", "unsettled"];

/// Runs the proof; the answer is the JSON line to print.
pub async fn run(database_url: &str, folder: &Path, kills: u32, seed: u64, talk: bool) -> Result<Value> {
    let standin = StandIn::start(killable::options(&folder.join("ledger.jsonl"))).await?;
    let mut dice = Dice::from_seed(seed);
    let engine = Installation::prepare(database_url, folder, &apply_file(&standin), "crash", LEASE_S).await?;
    let load = Load::default();
    let killing = async {
        let killed = kill_repeatedly(&engine, &load, kills, &mut dice, talk).await;
        load.stop();
        killed
    };
    let ((), killed) = tokio::join!(load.run(&engine, PACE, "c"), killing);
    let points = killed?;
    let mut summary = settle(&engine, &standin, &load).await?;
    summary["kills"] = json!(kills);
    summary["by_fail_point"] = json!(points);
    Ok(summary)
}

fn apply_file(standin: &StandIn) -> String {
    format!(
        r#"[[tenants]]
slug = "crash"
name = "Kill proof"

[tenants.policy]
quiet_hours = []
contact_quiet_hours = []

[[tenants.connections]]
name = "stand-in"
provider = "sandbox"
channel = "email"

[tenants.connections.settings]
base_url = "http://{}"
"#,
        standin.address()
    )
}

/// Starts and kills the engine; counts the fail points that were met ("sigkill" where none was).
async fn kill_repeatedly(
    engine: &Installation,
    load: &Load,
    kills: u32,
    dice: &mut Dice,
    talk: bool,
) -> Result<BTreeMap<String, u32>> {
    let mut met = BTreeMap::new();
    for kill in 0..kills {
        if talk && kill % 10 == 0 {
            eprintln!("{kill} kills, {} messages acknowledged", load.count());
        }
        let done = kill_once(engine, dice).await?;
        *met.entry(done.to_owned()).or_insert(0) += 1;
    }
    Ok(met)
}

async fn kill_once(engine: &Installation, dice: &mut Dice) -> Result<&'static str> {
    let points: Vec<&str> = FAIL_POINT_NAMES
        .iter()
        .copied()
        .filter(|name| !ELSEWHERE.iter().any(|other| name.starts_with(other)))
        .collect();
    let index = usize::try_from(dice.below(points.len() as u64)).unwrap_or(0);
    let point = points[index];
    let mut child = engine.serve("all", Some(&format!("{point}@{}", 1 + dice.below(6))))?;
    engine.up(&mut child).await?;
    let life = Duration::from_millis(100 + dice.below(LIFE_LIMIT_MS));
    let met = dies_within(&mut child, life).await?;
    Ok(if met { point } else { "sigkill" })
}

/// Lets the engine finish, then counts. Every call counts, also one that the provider recognised: none was to be made.
async fn settle(engine: &Installation, standin: &StandIn, load: &Load) -> Result<Value> {
    let mut child = engine.serve("all", None)?;
    engine.up(&mut child).await?;
    let mut database = PgConnection::connect(engine.database_url()).await?;
    let (_, took) = tally::settle(&mut database, Unknown::Held, SETTLE_LIMIT).await?;
    child.kill().await?;
    let acknowledged = load.acknowledged();
    let tally = tally::count(
        &mut database,
        &acknowledged,
        &[standin],
        Calls::Every,
        Unknown::Held,
    )
    .await?;
    Ok(json!({
        "kills": 0,
        "lost": tally.lost.len(),
        "duplicate": tally.duplicate.len(),
        "unknown": tally.unknown,
        "acknowledged": tally.acknowledged,
        "accepted_by_provider": tally.accepted,
        "unsettled": tally.unsettled,
        "settled_in_s": took.as_secs(),
    }))
}
