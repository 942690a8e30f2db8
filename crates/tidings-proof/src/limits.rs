//! Chosen rate limits against what arrives at a vendor: three processes work off more than the limits allow, while the Redis
//! that keeps the buckets is killed, started again, emptied, frozen and garbled.

use crate::bench::MachineClock;
use crate::process::{Installation, signal};
use crate::redis::Redis;
use crate::tally::{self, Calls};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_core::limit::HANDOVER_US;
use tidings_stand_in::{Account, Options, Query, StandIn, Vendor};

/// The limits, each of a tenant with a connection of its own: name, calls, window.
const LIMITS: [(&str, usize, Duration); 4] = [
    ("fast", 100, Duration::from_secs(1)),
    ("even", 5, Duration::from_secs(1)),
    ("wide", 200, Duration::from_secs(10)),
    ("slow", 30, Duration::from_mins(1)),
];
/// What may be more than a limit: the proof counts where calls arrive, a little after they left.
const TOLERANCE: f64 = 1.05;
/// Processes.
const NODES: u32 = 3;
/// What happens to Redis, and when: each time it is back in charge half a minute after it works again.
const PLAN: [(u64, What); 6] = [
    (15, What::Kill),
    (20, What::Start),
    (60, What::Empty),
    (100, What::Freeze),
    (105, What::Thaw),
    (145, What::Garble),
];
/// How long it all takes; without a Redis nothing happens in it.
const WHOLE: Duration = Duration::from_secs(185);
/// Faults of the plan.
pub const FAULTS: u32 = 4;
/// To Redis at the start, and to PostgreSQL and back for each fault.
const CHANGES: i64 = 1 + 2 * FAULTS as i64;
/// How long a process may be silent.
const LEASE_S: u32 = 15;

#[derive(Clone, Copy, Debug)]
enum What {
    Kill,
    Start,
    /// It forgets everything.
    Empty,
    /// It answers nobody.
    Freeze,
    Thaw,
    /// What it holds becomes something else.
    Garble,
}

/// Runs the proof; the answer is the JSON line to print.
pub async fn run(database_url: &str, folder: &Path, talk: bool) -> Result<Value> {
    let mut redis = Redis::start()?;
    if redis.is_none() {
        eprintln!(
            "no Redis is installed: the limits are shared through PostgreSQL alone, and nothing is lost and returned"
        );
    }
    let mut options = Options::new(Arc::new(MachineClock));
    options.magic = false;
    let vendor = StandIn::start(options).await?;
    for (name, ..) in LIMITS {
        let mut account = Account::default();
        account.secrets.api_key = Some(format!("SG.{name}").into());
        vendor
            .account(Vendor::Sendgrid, name, account)
            .map_err(|why| anyhow::anyhow!("the stand-in's account: {why}"))?;
    }
    let file = apply_file(&vendor);
    let mut engine = Installation::prepare(database_url, folder, &file, "fast", LEASE_S).await?;
    engine.set("REDIS_URL", redis.as_ref().map(Redis::url));
    let mut database = PgConnection::connect(database_url).await?;
    flood(&mut database).await?;
    let mut children = vec![engine.serve("all", None)?];
    for _ in 1..NODES {
        children.push(engine.serve("worker", None)?);
    }
    let begun = Instant::now();
    engine.up(children.first_mut().context("no process")?).await?;
    if let Some(redis) = &mut redis {
        for (at_s, what) in PLAN {
            tokio::time::sleep(Duration::from_secs(at_s).saturating_sub(begun.elapsed())).await;
            if talk {
                eprintln!("{at_s} s: {what:?}");
            }
            happen(redis, what).await?;
        }
    }
    tokio::time::sleep(WHOLE.saturating_sub(begun.elapsed())).await;
    let changes: i64 = sqlx::query_scalar("SELECT epoch FROM rate_store")
        .fetch_one(&mut database)
        .await?;
    // What waits for its turn is where it was; nothing else may have become of a job.
    let lost: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM communication_jobs WHERE source_reference LIKE 'limits-%' AND status IN ('failed', 'cancelled')",
    )
    .fetch_one(&mut database)
    .await?;
    for child in &mut children {
        child.kill().await?;
    }
    let mut summary = count(&vendor, begun.elapsed())?;
    summary["lost"] = json!(lost);
    summary["nodes"] = json!(NODES);
    summary["redis"] = json!(redis.is_some());
    summary["keeper_changes"] = json!(changes);
    summary["handover_ms"] = json!(HANDOVER_US / 1000);
    Ok(summary)
}

/// Whether every limit was kept, and the keeper changed as often as Redis made it.
pub fn is_clean(summary: &Value) -> bool {
    let kept = summary["limits"]
        .as_object()
        .is_some_and(|limits| limits.values().all(|limit| limit["kept"] == true));
    let changed = summary["redis"] == false
        || summary["keeper_changes"]
            .as_i64()
            .is_some_and(|changes| changes >= CHANGES);
    kept && changed && summary["duplicate"] == 0 && summary["lost"] == 0
}

fn apply_file(vendor: &StandIn) -> String {
    let tenants = LIMITS.map(|(name, limit, window)| tenant(name, limit, window, &vendor.url()));
    tenants.concat()
}

fn tenant(name: &str, limit: usize, window: Duration, url: &str) -> String {
    format!(
        r#"[[tenants]]
slug = "{name}"
name = "Limits proof, {name}"

[tenants.policy]
quiet_hours = []
contact_quiet_hours = []
channel_quiet_hours = {{}}

[[tenants.connections]]
name = "sendgrid"
provider = "sendgrid"
channel = "email"
rate_limit = {{ limit = {limit}, per_ms = {} }}
settings = {{ from_email = "limits@brand.example", base_url = "{url}" }}
credentials = {{ api_key = "SG.{name}" }}

"#,
        window.as_millis(),
    )
}

/// More than the limits allow in the time.
async fn flood(database: &mut PgConnection) -> Result<()> {
    for (name, limit, window) in LIMITS {
        let allowed = limit as f64 * WHOLE.as_secs_f64() / window.as_secs_f64();
        sqlx::query(
            "INSERT INTO communication_jobs (tenant_id, job_type, payload, source_reference)
             SELECT t.id, 'send_email', jsonb_build_object('to', 'c' || (n % 50) || '@example.com', 'subject', 'Limits',
                 'body', 'One of too many.', 'category', 'transactional', 'urgency', 'critical'), 'limits-' || n
             FROM tenants t, generate_series(1, $2::bigint) n WHERE t.slug = $1",
        )
        .bind(name)
        .bind((allowed * 1.5).ceil() as i64)
        .execute(&mut *database)
        .await
        .with_context(|| format!("the jobs of {name} could not be inserted"))?;
    }
    Ok(())
}

async fn happen(redis: &mut Redis, what: What) -> Result<()> {
    let pid = redis.pid();
    let pid = || pid.context("Redis does not run");
    match what {
        What::Kill => redis.kill(),
        What::Start => ensure!(redis.restart()?, "Redis did not start again"),
        What::Empty => {
            redis.say("FLUSHALL")?;
        }
        What::Freeze => signal(pid()?, "STOP").await?,
        What::Thaw => signal(pid()?, "CONT").await?,
        What::Garble => {
            let found = redis.say("KEYS tidings:*:rates:*:*")?;
            let keys = found.lines().filter(|line| line.starts_with("tidings:"));
            let sets: Vec<String> = keys.map(|key| format!("SET {key} nonsense")).collect();
            ensure!(
                !sets.is_empty(),
                "Redis holds no buckets: nothing would be proved"
            );
            redis.say(&sets.join("\r\n"))?;
        }
    }
    Ok(())
}

/// The fullest window of each limit, and how much of it was used.
fn count(vendor: &StandIn, time: Duration) -> Result<Value> {
    let mut arrivals: HashMap<String, Vec<i64>> = HashMap::new();
    let mut query = Query::default();
    loop {
        let page = vendor.ledger().entries(&query);
        let Some(last) = page.last() else { break };
        query.after = last.seq;
        for entry in page {
            arrivals
                .entry(entry.account)
                .or_default()
                .push(entry.at.as_microsecond());
        }
    }
    let calls = tally::calls(&[vendor], Calls::Accepted, tally::delivery)?;
    let mut limits = BTreeMap::new();
    for (name, limit, window) in LIMITS {
        let mut at = arrivals.remove(name).unwrap_or_default();
        at.sort_unstable();
        let most = fullest(&at, i64::try_from(window.as_micros())?);
        let allowed = limit as f64 * time.as_secs_f64() / window.as_secs_f64();
        limits.insert(
            name,
            json!({
                "limit": limit,
                "window_ms": window.as_millis(),
                "fullest_window": most,
                "over": ((most as f64 / limit as f64 - 1.0) * 1000.0).round() / 1000.0,
                "calls": at.len(),
                "used": (at.len() as f64 / allowed * 100.0).round() / 100.0,
                "kept": !at.is_empty() && most as f64 <= limit as f64 * TOLERANCE,
            }),
        );
    }
    Ok(json!({
        "limits": limits,
        "calls": calls.len(),
        "duplicate": calls.values().filter(|count| **count > 1).count(),
    }))
}

/// The most arrivals in any window; they are sorted.
fn fullest(arrivals: &[i64], window_us: i64) -> usize {
    let mut most = 0;
    let mut first = 0;
    for (last, at) in arrivals.iter().enumerate() {
        while at - arrivals[first] >= window_us {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::fullest;

    #[test]
    fn the_fullest_window_is_found() {
        assert_eq!(fullest(&[], 10), 0);
        assert_eq!(fullest(&[0, 10, 20], 10), 1);
        assert_eq!(fullest(&[0, 9, 10, 18, 19, 40], 10), 3);
    }
}
