//! Kills the real process at random fail points under load, restarts it, and holds what became of every
//! acknowledged message against the stand-in provider's own ledger.

use crate::bench::MachineClock;
use crate::process::Installation;
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidings_core::Dice;
use tidings_engine::FAIL_POINT_NAMES;
use tidings_stand_in::{Options, Query, StandIn};
use tokio::process::Child;
use tokio::sync::Mutex;

/// How long the engine may take to settle everything after the last kill.
const SETTLE_LIMIT: Duration = Duration::from_mins(5);
/// A process that meets no fail point is killed after at most this long.
const LIFE_LIMIT_MS: u64 = 900;
/// How long a process may be silent.
const LEASE_S: u32 = 5;
/// Calls that the ledger holds: far more than any run makes.
const MOST_ENTRIES: usize = 5_000_000;
/// Callers that submit at once.
const SUBMITTERS: usize = 8;
/// Between two messages of one caller.
const PAUSE: Duration = Duration::from_millis(20);
/// Before a lost answer is asked for again.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Acknowledged message ids, and what stops the submitters.
#[derive(Default)]
struct Load {
    acknowledged: Mutex<Vec<String>>,
    submitted: AtomicU64,
    stop: AtomicBool,
}

/// Runs the proof; the answer is the JSON line to print.
pub async fn run(database_url: &str, folder: &Path, kills: u32, seed: u64, talk: bool) -> Result<Value> {
    let standin = stand_in(folder).await?;
    let mut dice = Dice::from_seed(seed);
    let engine =
        Arc::new(Installation::prepare(database_url, folder, &apply_file(&standin), "crash", LEASE_S).await?);
    let load = Arc::new(Load::default());
    let submitters: Vec<_> = (0..SUBMITTERS)
        .map(|lane| submit(Arc::clone(&engine), Arc::clone(&load), lane))
        .collect();
    let submitting = futures::future::join_all(submitters);
    let killing = kill_repeatedly(&engine, &load, kills, &mut dice, talk);
    let (_, killed) = tokio::join!(submitting, killing);
    let points = killed?;
    let mut summary = settle(&engine, &standin, &load).await?;
    summary["kills"] = json!(kills);
    summary["by_fail_point"] = json!(points);
    Ok(summary)
}

/// A stand-in whose ledger lies in the proof's folder: it counts every call, repetitions under a reference included.
pub async fn stand_in(folder: &Path) -> Result<StandIn> {
    let mut options = Options::new(Arc::new(MachineClock));
    options.ledger = Some(folder.join("ledger.jsonl"));
    options.most_entries = MOST_ENTRIES;
    Ok(StandIn::start(options).await?)
}

/// The calls under each message's id.
pub fn calls_by_message(standin: &StandIn) -> Result<BTreeMap<String, u32>> {
    let mut calls = BTreeMap::new();
    let mut query = Query::default();
    loop {
        let page = standin.ledger().entries(&query);
        let Some(last) = page.last() else { break };
        query.after = last.seq;
        for id in page.into_iter().filter_map(|entry| entry.message_id) {
            *calls.entry(id).or_insert(0) += 1;
        }
    }
    let forgotten = standin.ledger().summary().forgotten;
    ensure!(
        forgotten == 0,
        "the ledger let {forgotten} entries go: the count would be wrong"
    );
    Ok(calls)
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

/// Submits one message after the other, each until it is acknowledged; a lost answer is asked for again under
/// the same idempotency key.
async fn submit(engine: Arc<Installation>, load: Arc<Load>, lane: usize) {
    for number in 0u64.. {
        let name = format!("c{lane}-{number}");
        let body = json!({
            "to": { "contact": { "external_id": name, "email": format!("{name}@example.com") } },
            "message_type": "proof",
            "urgency": "critical",
            "category": "transactional",
            "content": { "subject": "Kill proof", "body": "Sent once, or not at all." },
            "source_reference": format!("{lane}-{number}"),
        });
        loop {
            if load.stop.load(Ordering::Relaxed) {
                return;
            }
            if let Ok((200..=299, answer)) = engine.submit(&body, &name).await
                && let Some(id) = answer["message_id"].as_str()
            {
                load.acknowledged.lock().await.push(id.to_owned());
                load.submitted.fetch_add(1, Ordering::Relaxed);
                break;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
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
            eprintln!(
                "{kill} kills, {} messages acknowledged",
                load.submitted.load(Ordering::Relaxed)
            );
        }
        let done = kill_once(engine, dice).await;
        if done.is_err() {
            load.stop.store(true, Ordering::Relaxed);
        }
        *met.entry(done?.to_owned()).or_insert(0) += 1;
    }
    load.stop.store(true, Ordering::Relaxed);
    Ok(met)
}

async fn kill_once(engine: &Installation, dice: &mut Dice) -> Result<&'static str> {
    // Those of campaigns have a proof of their own.
    let points: Vec<&str> = FAIL_POINT_NAMES
        .iter()
        .copied()
        .filter(|name| !name.starts_with("campaign_"))
        .collect();
    let index = usize::try_from(dice.below(points.len() as u64)).unwrap_or(0);
    let point = points[index];
    let mut child = engine.serve("all", Some(&format!("{point}@{}", 1 + dice.below(6))))?;
    engine.up(&mut child).await?;
    let life = Duration::from_millis(100 + dice.below(LIFE_LIMIT_MS));
    let met = dies_within(&mut child, life).await?;
    Ok(if met { point } else { "sigkill" })
}

/// Whether the process met its fail point in time; else it is killed.
pub async fn dies_within(child: &mut Child, life: Duration) -> Result<bool> {
    let Ok(status) = tokio::time::timeout(life, child.wait()).await else {
        child.kill().await?;
        return Ok(false);
    };
    let status = status?;
    ensure!(
        status.code().is_none(),
        "the engine ended by itself with {status}; see serve.log"
    );
    Ok(true)
}

/// Lets the engine finish, then counts.
async fn settle(engine: &Installation, standin: &StandIn, load: &Load) -> Result<Value> {
    let mut child = engine.serve("all", None)?;
    engine.up(&mut child).await?;
    let acknowledged = load.acknowledged.lock().await.clone();
    let mut database = PgConnection::connect(engine.database_url()).await?;
    let started = Instant::now();
    let mut open = on_the_way(&mut database).await?;
    while started.elapsed() < SETTLE_LIMIT && open > 0 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        open = on_the_way(&mut database).await?;
    }
    child.kill().await?;
    let unknown = unknown(&mut database).await?;
    let calls = calls_by_message(standin)?;
    let duplicate = calls.values().filter(|calls| **calls > 1).count();
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|id| !calls.contains_key(*id) && !unknown.contains(*id))
        .collect();
    for id in lost.iter().take(10) {
        eprintln!("lost: {id}");
    }
    Ok(json!({
        "kills": 0,
        "lost": lost.len(),
        "duplicate": duplicate,
        "unknown": unknown.len(),
        "acknowledged": acknowledged.len(),
        "accepted_by_provider": calls.len(),
        "unsettled": open,
        "settled_in_s": started.elapsed().as_secs(),
    }))
}

/// Messages whose end is not known yet and not waited for by a person.
pub async fn on_the_way(database: &mut PgConnection) -> Result<i64> {
    let open: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM messages m WHERE m.status IN ('pending', 'queued')
         AND NOT EXISTS (SELECT FROM unknown_deliveries u WHERE u.tenant_id = m.tenant_id AND u.message_id = m.id AND u.held)",
    )
    .fetch_one(database)
    .await?;
    Ok(open)
}

/// Messages with a delivery that is listed as unknown.
pub async fn unknown(database: &mut PgConnection) -> Result<HashSet<String>> {
    let ids: Vec<String> = sqlx::query_scalar("SELECT message_id::text FROM unknown_deliveries")
        .fetch_all(database)
        .await?;
    Ok(ids.into_iter().collect())
}
