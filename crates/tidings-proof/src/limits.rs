//! Chosen rate limits against what arrives at a vendor: three processes work off more than the limits allow, while the Redis
//! that keeps the buckets is killed, started again and emptied.

use crate::bench::MachineClock;
use crate::process::Installation;
use crate::redis::Redis;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::collections::{BTreeMap, HashMap};
use std::io::{Read as _, Write as _};
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
/// What happens to Redis, and when.
const PLAN: [(u64, What); 4] = [
    (15, What::Kill),
    (20, What::Start),
    (65, What::Empty),
    (115, What::Kill),
];
/// How long it all takes, without a Redis: nothing happens then.
const WHOLE: Duration = Duration::from_secs(130);
/// How long a process may be silent.
const LEASE_S: u32 = 15;

#[derive(Clone, Copy, Debug)]
enum What {
    Kill,
    Start,
    Empty,
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
            happen(redis, what)?;
        }
    }
    tokio::time::sleep(WHOLE.saturating_sub(begun.elapsed())).await;
    let changes: i64 = sqlx::query_scalar("SELECT epoch FROM rate_store")
        .fetch_one(&mut database)
        .await?;
    for child in &mut children {
        child.kill().await?;
    }
    let mut summary = count(&vendor, begun.elapsed())?;
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
            .is_some_and(|changes| changes >= 6);
    kept && changed && summary["duplicate"] == 0
}

fn apply_file(vendor: &StandIn) -> String {
    LIMITS
        .iter()
        .map(|(name, limit, window)| {
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
settings = {{ from_email = "limits@brand.example", base_url = "{}" }}
credentials = {{ api_key = "SG.{name}" }}

"#,
                window.as_millis(),
                vendor.url()
            )
        })
        .collect()
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

fn happen(redis: &mut Redis, what: What) -> Result<()> {
    match what {
        What::Kill => redis.kill(),
        What::Start => ensure!(redis.restart()?, "Redis did not start again"),
        What::Empty => {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", redis.port()))?;
            stream.write_all(b"FLUSHALL\r\nQUIT\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            ensure!(answer.starts_with("+OK"), "FLUSHALL was answered {answer:?}");
        }
    }
    Ok(())
}

/// The fullest window of each limit, and how much of it was used.
fn count(vendor: &StandIn, time: Duration) -> Result<Value> {
    let mut arrivals: HashMap<String, Vec<i64>> = HashMap::new();
    let mut calls: HashMap<String, u32> = HashMap::new();
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
            let reference = entry.reference.context("a call came without a reference")?;
            let delivery = reference
                .rsplit_once('-')
                .map_or(reference.as_str(), |(one, _)| one);
            *calls.entry(delivery.to_owned()).or_insert(0) += 1;
        }
    }
    ensure!(
        vendor.ledger().summary().forgotten == 0,
        "the ledger let entries go"
    );
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
