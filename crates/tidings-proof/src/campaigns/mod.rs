//! Kills the processes that run campaigns, at random fail points and moments, while a tenant's own database grows; then
//! holds every due row against the messages and the stand-in provider's ledger.

mod count;
mod dealer;

use crate::bench::MachineClock;
use crate::killable;
use crate::process::{Installation, dies_within};
use crate::tally::{Unknown, on_the_way};
use anyhow::{Result, ensure};
use dealer::{CAMPAIGNS, Dealer};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidings_core::{Clock as _, Dice};
use tidings_stand_in::StandIn;
use tokio::process::Child;

/// How long everything may take to settle after the last kill: past every campaign's next moment and a failed run's wait.
const SETTLE_LIMIT: Duration = Duration::from_mins(6);
/// How long a process may be silent; a killed one's runs wait for as long.
const LEASE_S: u32 = 2;
/// Between two additions to the dealership.
const PAUSE: Duration = Duration::from_millis(400);
/// Runs asked for by hand wait until fewer than this are open.
const OPEN_RUNS: i64 = 12;
/// A fail point may be met the n-th time it is passed.
const NTH: u64 = 3;

/// A process that is killed again and again.
struct Victim {
    role: &'static str,
    /// Where it may die; a SIGKILL at a random moment is always possible.
    points: &'static [&'static str],
    /// Killed after at most so long.
    life_ms: u64,
}

/// Two processes run campaigns, and one sends. A fourth, which takes requests for runs, is left alone.
const VICTIMS: &[Victim] = &[
    Victim {
        role: "scheduler",
        points: CAMPAIGN_POINTS,
        life_ms: 6_000,
    },
    Victim {
        role: "scheduler",
        points: CAMPAIGN_POINTS,
        life_ms: 6_000,
    },
    Victim {
        role: "worker",
        points: &[
            "claim_after_commit",
            "dispatch_after_commit",
            "provider_after_accept",
            "outcome_before_commit",
            "outcome_after_commit",
        ],
        life_ms: 2_500,
    },
];

const CAMPAIGN_POINTS: &[&str] = &[
    "campaign_decided_after_commit",
    "campaign_claimed_after_commit",
    "campaign_proposed",
    "campaign_page_after_commit",
    "accept_before_commit",
    "accept_after_commit",
];

/// Kills to come and what was met.
struct Toll {
    left: Mutex<u32>,
    met: Mutex<BTreeMap<String, u32>>,
    talk: bool,
}

impl Toll {
    fn take(&self) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if *left == 0 {
            return false;
        }
        *left -= 1;
        if self.talk && left.is_multiple_of(10) {
            eprintln!("{left} kills to come");
        }
        true
    }

    fn left(&self) -> u32 {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, what: String) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        *met.entry(what).or_insert(0) += 1;
    }
}

/// What must be 0.
pub const NONE: [&str; 6] = [
    "lost",
    "duplicate",
    "unsettled",
    "unbalanced_runs",
    "unfinished_runs",
    "unexpected",
];

/// Runs the proof; the answer is the JSON line to print.
pub async fn run(database_url: &str, folder: &Path, kills: u32, seed: u64, talk: bool) -> Result<Value> {
    let standin = StandIn::start(killable::options(&folder.join("ledger.jsonl"))).await?;
    let file = folder.join("dealer.db");
    let mut dealer = Dealer::open(&file, seed).await?;
    let apply = dealer::apply_file(standin.address(), &file);
    let engine = Installation::prepare(database_url, folder, &apply, "dealer", LEASE_S).await?;
    let mut dice = Dice::from_seed(seed);
    let toll = Toll {
        left: Mutex::new(kills),
        met: Mutex::new(BTreeMap::new()),
        talk,
    };
    let victims = VICTIMS.iter().map(|victim| {
        let own = Dice::from_seed(dice.below(u64::MAX));
        kill_repeatedly(&engine, victim, &toll, own)
    });
    let mut api = engine.serve("api", None)?;
    engine.up(&mut api).await?;
    let killing = futures::future::try_join_all(victims.collect::<Vec<_>>());
    let mut database = PgConnection::connect(engine.database_url()).await?;
    tokio::select! {
        killed = killing => { killed?; }
        grown = grow(&engine, &mut dealer, &mut database, &mut dice) => grown?,
    }
    api.kill().await?;
    let started = Instant::now();
    let poisoned = settle(&engine, &mut database, &dealer).await?;
    let mut summary = count::count(&mut database, &dealer, &standin).await?;
    summary["poisoned"] = json!(poisoned);
    summary["kills"] = json!(kills - toll.left());
    summary["by_fail_point"] = json!(*toll.met.lock().unwrap_or_else(PoisonError::into_inner));
    summary["settled_in_s"] = json!(started.elapsed().as_secs());
    Ok(summary)
}

/// Starts and kills one of the processes until the toll is taken.
async fn kill_repeatedly(engine: &Installation, victim: &Victim, toll: &Toll, mut dice: Dice) -> Result<()> {
    while toll.take() {
        let index = usize::try_from(dice.below(victim.points.len() as u64 + 1)).unwrap_or(0);
        let point = victim.points.get(index);
        // Moments are few: the first one, and time to meet it.
        let rare = point.is_some_and(|point| *point == "campaign_decided_after_commit");
        let nth = if rare { 1 } else { 1 + dice.below(NTH) };
        let armed = point.map(|point| format!("{point}@{nth}"));
        let mut child = engine.serve(victim.role, armed.as_deref())?;
        // A process that is to die at a point is given the time to come there.
        let life = match point {
            Some(_) if rare => 2 * Duration::from_millis(victim.life_ms),
            Some(_) => Duration::from_millis(victim.life_ms),
            None => Duration::from_millis(100 + dice.below(victim.life_ms / 2)),
        };
        let met = dies_within(&mut child, life).await?;
        let what = point.filter(|_| met).unwrap_or(&"sigkill");
        toll.count(format!("{}: {what}", victim.role));
    }
    Ok(())
}

/// Adds to the dealership, and asks for runs beside the schedules, for ever.
async fn grow(
    engine: &Installation,
    dealer: &mut Dealer,
    database: &mut PgConnection,
    dice: &mut Dice,
) -> Result<()> {
    for (name, ..) in CAMPAIGNS.iter().cycle() {
        dealer.add(dice).await?;
        if open_runs(database).await? < OPEN_RUNS {
            ensure!(engine.run_campaign(name).await?, "a run of {name} was refused");
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Lets everything end undisturbed: a scheduled run of every campaign after the last moment, and every message. Jobs that
/// were set aside because process after process died with them are put back, as a person would; the answer is how many.
async fn settle(engine: &Installation, database: &mut PgConnection, dealer: &Dealer) -> Result<usize> {
    let mut child = engine.serve("all", None)?;
    engine.up(&mut child).await?;
    let last = dealer.last_moment.max(MachineClock.now());
    quiet(&mut child, database, last).await?;
    let jobs = engine.replay_poison().await?;
    quiet(&mut child, database, last).await?;
    child.kill().await?;
    Ok(jobs)
}

/// Waits until nothing is under way; when that takes too long, the count says what is.
async fn quiet(child: &mut Child, database: &mut PgConnection, last: Timestamp) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < SETTLE_LIMIT {
        ensure!(
            child.try_wait()?.is_none(),
            "the engine ended by itself; see serve.log"
        );
        let covered = covered(database, last).await?;
        if covered == CAMPAIGNS.len()
            && open_runs(database).await? == 0
            && on_the_way(database, Unknown::Held).await? == 0
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}

async fn open_runs(database: &mut PgConnection) -> Result<i64> {
    Ok(
        sqlx::query_scalar("SELECT count(*) FROM campaign_runs WHERE state IN ('waiting', 'running')")
            .fetch_one(database)
            .await?,
    )
}

/// Campaigns of which a scheduled run after an instant is complete.
async fn covered(database: &mut PgConnection, after: Timestamp) -> Result<usize> {
    let campaigns: i64 = sqlx::query_scalar(
        "SELECT count(DISTINCT campaign) FROM campaign_runs WHERE state = 'complete' AND NOT by_hand AND as_of > $1 AND campaign LIKE 'proof%'",
    )
    .bind(after.to_sqlx())
    .fetch_one(database)
    .await?;
    Ok(usize::try_from(campaigns).unwrap_or(0))
}
