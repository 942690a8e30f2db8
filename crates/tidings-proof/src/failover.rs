//! Cuts one of two connections of a channel under load and brings it back: how long until the other carries messages, how
//! long until traffic returns by itself, and whether anything was lost or sent twice, by the ledgers of both stand-ins.

use crate::bench::MachineClock;
use crate::killable::Killable;
use crate::load::{Load, Pace};
use crate::process::Installation;
use crate::tally::{self, Calls, Unknown};
use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::path::Path;
use std::time::{Duration, Instant};
use tidings_core::Clock as _;
use tidings_stand_in::{Fault, Query, Rule, StandIn};

/// Ten callers; together a hundred messages a second.
const PACE: Pace = Pace {
    callers: 10,
    every: Duration::from_millis(100),
};
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
/// How long a process may be silent.
const LEASE_S: u32 = 30;

/// What a round took.
#[derive(Clone, Copy, Debug)]
struct Round {
    to_other: Duration,
    to_return: Duration,
}

/// Runs the proof; the answer is the JSON line to print.
pub async fn run(database_url: &str, folder: &Path, rounds: u32, talk: bool) -> Result<Value> {
    let mut main = Killable::start(&folder.join("main.jsonl")).await?;
    let spare = Killable::start(&folder.join("spare.jsonl")).await?;
    let file = apply_file(&main, &spare);
    let engine = Installation::prepare(database_url, folder, &file, "failover", LEASE_S).await?;
    let mut child = engine.serve("all", None)?;
    engine.up(&mut child).await?;
    let load = Load::default();
    let started = Instant::now();
    let cutting = async {
        let done = cut_repeatedly(&mut main, &spare, rounds, talk).await;
        load.stop();
        done
    };
    let ((), measured) = tokio::join!(load.run(&engine, PACE, "c"), cutting);
    let seconds = started.elapsed().as_secs_f64();
    let measured = measured?;
    let mut summary = settle(&engine, [main.stand_in()?, spare.stand_in()?], &load).await?;
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
            at.address
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
        let (cut, before) = (MachineClock.now(), last_place(spare.stand_in()?));
        let how = match round % 3 {
            0 => {
                main.kill();
                "killed"
            }
            1 => {
                faults(main, vec![Rule::always(Fault::ServerError)])?;
                "refuses"
            }
            _ => {
                // Every second message is taken, and nobody is answered.
                let taken = Rule {
                    probability: Some(0.5),
                    ..Rule::always(Fault::TimeoutAfterAccept)
                };
                faults(main, vec![taken, Rule::always(Fault::TimeoutBeforeAccept)])?;
                "hangs"
            }
        };
        let to_other = accepts_after(spare.stand_in()?, before, cut).await?;
        tokio::time::sleep(CUT.saturating_sub(to_other)).await;
        if round % 3 == 0 {
            main.revive().await?;
        }
        let (back, before) = (MachineClock.now(), last_place(main.stand_in()?));
        faults(main, Vec::new())?;
        let to_return = accepts_after(main.stand_in()?, before, back).await?;
        if talk {
            eprintln!(
                "{how}: {to_other:?} until the other carried one, {to_return:?} until the first did again"
            );
        }
        measured.push(Round { to_other, to_return });
    }
    Ok(measured)
}

fn faults(at: &Killable, rules: Vec<Rule>) -> Result<()> {
    at.stand_in()?
        .faults(rules)
        .map_err(|problem| anyhow::anyhow!(problem))
}

/// The place of the last message that was accepted.
fn last_place(stand_in: &StandIn) -> u64 {
    let summary = stand_in.ledger().summary();
    summary.accepted + summary.replayed
}

/// How long after an instant the first message behind a place of the ledger was accepted.
async fn accepts_after(stand_in: &StandIn, place: u64, since: Timestamp) -> Result<Duration> {
    let first = async {
        for wanted in stand_in.ledger().summary().accepted + 1.. {
            let query = Query {
                after: place,
                ..Query::default()
            };
            let entries = stand_in.ledger().entries(&query);
            let first = entries.iter().find(|entry| !entry.replay && entry.at >= since);
            if let Some(first) = first {
                return Some(first.at);
            }
            stand_in.wait_for(wanted).await;
        }
        None
    };
    let first = tokio::time::timeout(RETURN_LIMIT, first).await.with_context(|| {
        format!(
            "the stand-in at {} accepted nothing for {RETURN_LIMIT:?}",
            stand_in.address()
        )
    })?;
    Ok(Duration::try_from(first.unwrap_or(since).duration_since(since)).unwrap_or_default())
}

/// Lets the engine finish, then counts.
async fn settle(engine: &Installation, both: [&StandIn; 2], load: &Load) -> Result<Value> {
    let mut database = PgConnection::connect(engine.database_url()).await?;
    let (_, took) = tally::settle(&mut database, Unknown::Held, SETTLE_LIMIT).await?;
    let attempts: i64 = sqlx::query_scalar("SELECT count(*) FROM event_log WHERE kind = 'DeliveryUnknown'")
        .fetch_one(&mut database)
        .await?;
    let acknowledged = load.acknowledged();
    let tally = tally::count(
        &mut database,
        &acknowledged,
        &both,
        Calls::Accepted,
        Unknown::Held,
    )
    .await?;
    let [main, spare] = both.map(|stand_in| stand_in.ledger().summary().accepted);
    Ok(json!({
        "rounds": 0,
        "lost": tally.lost.len(),
        "duplicate": tally.duplicate.len(),
        "unknown": tally.unknown,
        "were_unknown": attempts,
        "acknowledged": tally.acknowledged,
        "accepted_by_main": main,
        "accepted_by_spare": spare,
        "unsettled": tally.unsettled,
        "settled_in_s": took.as_secs(),
    }))
}
