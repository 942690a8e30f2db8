//! Cuts one of two connections of a channel under load and brings it back: how long until the other carries messages, how
//! long until traffic returns by itself, and whether anything was lost or sent twice, by the ledgers of both stand-ins.

use crate::crash;
use crate::process::Installation;
use crate::standin::{Killable, Manner};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Callers that submit at once; together a hundred messages a second.
const SUBMITTERS: usize = 10;
/// Between two messages of one caller.
const EVERY: Duration = Duration::from_millis(100);
/// Traffic before a cut: longer than the way back of the round before takes.
const WARM_UP: Duration = Duration::from_secs(35);
/// Traffic before the first cut.
const FIRST_WARM_UP: Duration = Duration::from_secs(5);
/// How long a connection stays cut.
const CUT: Duration = Duration::from_secs(8);
/// What the other may take at most to carry its first message.
const OTHER_LIMIT: Duration = Duration::from_secs(5);
/// When the proof gives up waiting for traffic to return: the longest pause of a breaker, and some.
const RETURN_LIMIT: Duration = Duration::from_mins(7);
/// How long everything may take to settle: unknown outcomes are asked about once a minute.
const SETTLE_LIMIT: Duration = Duration::from_mins(5);
/// How often the ledgers are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long a process may be silent.
const LEASE_S: u32 = 30;

/// Acknowledged messages, and what stops the submitters.
#[derive(Default)]
struct Load {
    acknowledged: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// What a round took.
#[derive(Clone, Copy, Debug)]
struct Round {
    to_other: Duration,
    to_return: Duration,
}

/// Runs the proof; the answer is the JSON line to print.
pub async fn run(database_url: &str, folder: &Path, rounds: u32, talk: bool) -> Result<Value> {
    let mut main = Killable::start()?;
    let spare = Killable::start()?;
    let file = apply_file(&main, &spare);
    let engine = Arc::new(Installation::prepare(database_url, folder, &file, "failover", LEASE_S).await?);
    let mut child = engine.serve("all", None)?;
    engine.up(&mut child).await?;
    let load = Arc::new(Load::default());
    let lanes: Vec<_> = (0..SUBMITTERS)
        .map(|lane| submit(Arc::clone(&engine), Arc::clone(&load), lane))
        .collect();
    let started = Instant::now();
    let cutting = async {
        let done = cut_repeatedly(&mut main, &spare, rounds, talk).await;
        load.stop.store(true, Ordering::Relaxed);
        done
    };
    let (_, measured) = tokio::join!(futures::future::join_all(lanes), cutting);
    let seconds = started.elapsed().as_secs_f64();
    let measured = measured?;
    let mut summary = settle(&engine, [&main, &spare], &load).await?;
    child.kill().await?;
    let ms = |time: fn(&Round) -> Duration| -> Vec<u128> {
        measured.iter().map(|round| time(round).as_millis()).collect()
    };
    let (other, back) = (ms(|round| round.to_other), ms(|round| round.to_return));
    summary["rounds"] = json!(rounds);
    summary["time_to_other_ms"] = json!(other.iter().max());
    summary["time_to_return_ms"] = json!(back.iter().max());
    summary["each_to_other_ms"] = json!(other);
    summary["each_to_return_ms"] = json!(back);
    let acknowledged = summary["acknowledged"].as_f64().unwrap_or(0.0);
    summary["submitted_per_s"] = json!((acknowledged / seconds).round());
    Ok(summary)
}

/// Whether nothing was lost or sent twice, nothing is left open, and the other took over in time.
pub fn is_clean(summary: &Value) -> bool {
    let limit = u64::try_from(OTHER_LIMIT.as_millis()).unwrap_or(u64::MAX);
    let none = ["lost", "duplicate", "unsettled"];
    none.iter().all(|count| summary[*count] == 0)
        && summary["time_to_other_ms"].as_u64().is_some_and(|ms| ms <= limit)
}

fn apply_file(main: &Killable, spare: &Killable) -> String {
    let connection = |name: &str, priority: u32, at: &Killable| {
        format!(
            r#"
[[tenants.connections]]
name = "{name}"
provider = "sandbox"
channel = "email"
priority = {priority}
call_limit_ms = 2000
settings = {{ base_url = "http://{}" }}
"#,
            at.standin.address
        )
    };
    format!(
        r#"[[tenants]]
slug = "failover"
name = "Failover proof"

[tenants.policy]
quiet_hours = []
contact_quiet_hours = []
{}{}"#,
        connection("main", 0, main),
        connection("spare", 1, spare)
    )
}

/// Submits one message after the other at its pace, each until it is acknowledged.
async fn submit(engine: Arc<Installation>, load: Arc<Load>, lane: usize) {
    let mut pace = tokio::time::interval(EVERY);
    for number in 0u64.. {
        pace.tick().await;
        let name = format!("c{lane}-{number}");
        let body = json!({
            "to": { "contact": { "external_id": name, "email": format!("{name}@example.com") } },
            "message_type": "proof",
            "urgency": "critical",
            "category": "transactional",
            "content": { "subject": "Failover proof", "body": "Sent once, by whichever works." },
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
                break;
            }
            pace.tick().await;
        }
    }
}

async fn cut_repeatedly(
    main: &mut Killable,
    spare: &Killable,
    rounds: u32,
    talk: bool,
) -> Result<Vec<Round>> {
    let mut measured = Vec::new();
    for round in 0..rounds {
        let warm_up = if round == 0 { FIRST_WARM_UP } else { WARM_UP };
        tokio::time::sleep(warm_up).await;
        let cut = Instant::now();
        let how = match round % 3 {
            0 => {
                main.kill();
                "killed"
            }
            1 => {
                main.behave(Manner::Refuses);
                "refuses"
            }
            _ => {
                main.behave(Manner::Hangs);
                "hangs"
            }
        };
        let to_other = accepts_after(spare, cut, RETURN_LIMIT).await?;
        tokio::time::sleep(CUT.saturating_sub(cut.elapsed())).await;
        let back = Instant::now();
        main.behave(Manner::Answers);
        if round % 3 == 0 {
            main.revive()?;
        }
        let to_return = accepts_after(main, back, RETURN_LIMIT).await?;
        if talk {
            eprintln!(
                "{how}: {to_other:?} until the other carried one, {to_return:?} until the first did again"
            );
        }
        measured.push(Round { to_other, to_return });
    }
    Ok(measured)
}

/// How long after an instant the stand-in accepted its first message.
async fn accepts_after(killable: &Killable, since: Instant, limit: Duration) -> Result<Duration> {
    while since.elapsed() < limit {
        let first = {
            let ledger = killable.standin.ledger();
            let place = ledger.times.partition_point(|at| *at < since);
            ledger.times.get(place).copied()
        };
        if let Some(first) = first {
            return Ok(first.duration_since(since));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bail!(
        "the stand-in at {} accepted nothing for {limit:?}",
        killable.standin.address
    )
}

/// Lets the engine finish, then counts.
async fn settle(engine: &Installation, both: [&Killable; 2], load: &Load) -> Result<Value> {
    let mut database = PgConnection::connect(engine.database_url()).await?;
    let acknowledged: HashSet<String> = load.acknowledged.lock().await.iter().cloned().collect();
    let started = Instant::now();
    let mut open = crash::on_the_way(&mut database).await?;
    while started.elapsed() < SETTLE_LIMIT && open > 0 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        open = crash::on_the_way(&mut database).await?;
    }
    let unknown = crash::unknown(&mut database).await?;
    let attempts: i64 = sqlx::query_scalar("SELECT count(*) FROM event_log WHERE kind = 'DeliveryUnknown'")
        .fetch_one(&mut database)
        .await?;
    let mut accepted: HashMap<String, usize> = HashMap::new();
    let mut by = Vec::new();
    for one in both {
        let ledger = one.standin.ledger();
        by.push(ledger.by_message.len());
        for (message, references) in &ledger.by_message {
            *accepted.entry(message.clone()).or_default() += references.len();
        }
    }
    let duplicate = accepted.values().filter(|count| **count > 1).count();
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|id| !accepted.contains_key(*id) && !unknown.contains(*id))
        .collect();
    for id in lost.iter().take(10) {
        eprintln!("lost: {id}");
    }
    Ok(json!({
        "rounds": 0,
        "lost": lost.len(),
        "duplicate": duplicate,
        "unknown": unknown.len(),
        "were_unknown": attempts,
        "acknowledged": acknowledged.len(),
        "accepted_by_main": by.first(),
        "accepted_by_spare": by.get(1),
        "unsettled": open,
        "settled_in_s": started.elapsed().as_secs(),
    }))
}
