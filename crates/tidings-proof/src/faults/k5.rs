//! K5: the provider misbehaves in every way it can, and each outcome is classed as its table says.

use super::Ground;
use super::lab::{Kind, Lab, NO_LIMIT, tenant};
use super::report::Report;
use crate::load::{Letter, Load, address};
use anyhow::{Context, Result, bail};
use serde_json::json;
use sqlx::{PgConnection, Row as _};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidings_stand_in::{Fault, Rule, StandIn, Vendor};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

/// How often each fault strikes.
const TIMES: u32 = 20;
/// How long a process may be silent.
const LEASE_S: u32 = 30;
/// How long a call may take: the limit of the process, which no connection can raise, and the time to write it down.
const CALL_LIMIT_MS: i64 = 20_000 + 1_500;
/// Good messages of each tenant between two faults, so that its breaker stays closed.
const BETWEEN: u32 = 2;
/// How long a fault may take to strike every tenant.
const STRIKE_LIMIT: Duration = Duration::from_mins(1);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What must become of a call.
#[derive(Clone, Copy, Debug)]
enum Class {
    /// Refused, of this category.
    Rejected(&'static str),
    /// Nobody knows.
    Unknown,
    /// A success that cannot be read: accepted or unknown, never refused.
    NeverNo,
}

/// A fault, whom it strikes, and what it must become.
struct Line {
    name: &'static str,
    fault: Fault,
    class: Class,
    /// Tenants that no fault struck before. A connection that was told of its limit or that its address is wrong is left
    /// alone for a while, so that nothing else could strike it.
    fresh: bool,
}

/// The table. Faults after which a connection is left alone come last among those of the same tenants.
fn table(trap: &str) -> Vec<Line> {
    let limited = |retry_after_s, bare| Fault::RateLimited { retry_after_s, bare };
    let location = format!("{trap}/latest/meta-data/");
    let line = |name, fault, class| Line {
        name,
        fault,
        class,
        fresh: false,
    };
    let fresh = |name, fault, class| Line {
        fresh: true,
        ..line(name, fault, class)
    };
    vec![
        line("server-error", Fault::ServerError, Class::Rejected("transient")),
        line("html-error", Fault::HtmlError, Class::Rejected("transient")),
        line("no-answer", Fault::TimeoutAfterAccept, Class::Unknown),
        line("drip", Fault::Drip, Class::NeverNo),
        line("garbage", Fault::Garbage, Class::Unknown),
        line("nonsense", Fault::Nonsense, Class::NeverNo),
        line("truncated-chunk", Fault::TruncatedChunk, Class::NeverNo),
        line("half-close", Fault::HalfClose, Class::Unknown),
        line("reset", Fault::Reset, Class::Unknown),
        line("error-in-success", Fault::ErrorInSuccess, Class::Unknown),
        line("huge", Fault::Huge, Class::NeverNo),
        line(
            "rate-limited-wait",
            limited(Some(1), false),
            Class::Rejected("rate_limit"),
        ),
        fresh(
            "rate-limited-bare",
            limited(None, true),
            Class::Rejected("rate_limit"),
        ),
        fresh(
            "redirect",
            Fault::Redirect { location },
            Class::Rejected("auth_failure"),
        ),
    ]
}

fn slug(group: usize, nth: u32) -> String {
    format!("k5-{group}-{nth}")
}

/// Groups of tenants with a tenant for each time: one connection that the faults strike, and one that takes over after a definite no.
fn apply_file(groups: usize, times: u32, stand_in: &StandIn) -> String {
    let url = stand_in.url();
    let one = |(group, nth)| {
        tenant(&slug(group, nth))
            + &format!(
                r#"
[[tenants.connections]]
name = "main"
provider = "sandbox"
channel = "email"
settings = {{ base_url = "{url}" }}

[[tenants.connections]]
name = "spare"
provider = "sendgrid"
channel = "email"
priority = 1
rate_limit = {NO_LIMIT}
settings = {{ from_email = "shop@brand.example", base_url = "{url}" }}
credentials = {{ api_key = "SG.key" }}

"#
            )
    };
    tenants(groups, times).map(one).collect()
}

fn tenants(groups: usize, times: u32) -> impl Iterator<Item = (usize, u32)> {
    (0..groups).flat_map(move |group| (0..times).map(move |nth| (group, nth)))
}

/// Where redirects lead: nobody may come.
struct Trap {
    url: String,
    visits: Arc<AtomicU64>,
}

impl Trap {
    async fn set() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let visits = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&visits);
        TaskTracker::new().spawn(async move {
            while listener.accept().await.is_ok() {
                seen.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(Self { url, visits })
    }
}

/// Runs the row.
pub async fn run(ground: &Ground<'_>) -> Result<Report> {
    let times = ground.times(TIMES);
    let trap = Trap::set().await?;
    let table = table(&trap.url);
    let groups = 1 + table.iter().filter(|line| line.fresh).count();
    let apply = |stand_in: &StandIn| apply_file(groups, times, stand_in);
    let lab = Lab::with(ground, "k5", Kind::Lookup, LEASE_S, &slug(0, 0), apply).await?;
    let mut keys = vec![Vec::new(); groups];
    for (group, nth) in tenants(groups, times) {
        keys[group].push(lab.engine.make_key(&slug(group, nth)).await?);
    }
    let mut child = lab.engine.serve("all", None)?;
    lab.engine.up(&mut child).await?;
    let load = Load::default();
    let mut group = 0;
    for line in &table {
        group += usize::from(line.fresh);
        let begun = Instant::now();
        strike(&lab, &load, &keys[group], line)
            .await
            .with_context(|| format!("the fault {}", line.name))?;
        let (name, took) = (line.name, begun.elapsed());
        ground.say(&format!("K5: {name} struck {times} times within {took:?}"));
    }
    let mut report = Report {
        trials: u32::try_from(table.len()).unwrap_or(0) * times,
        ..Report::default()
    };
    lab.settle_under(&load, &mut report).await?;
    let mut database = lab.database().await?;
    judge(&mut database, &load, &table, times, &mut report).await?;
    let visits = trap.visits.load(Ordering::Relaxed);
    report.demand(visits == 0, || format!("{visits} redirects were followed"));
    child.kill().await?;
    Ok(report)
}

/// One fault strikes one message of every tenant; then each sends good ones.
async fn strike(lab: &Lab, load: &Load, keys: &[String], line: &Line) -> Result<()> {
    let name = line.name;
    let rule = Rule {
        recipient: Some(format!("{name}.*")),
        ..Rule::always(line.fault.clone())
    }
    .at(Vendor::Sandbox);
    lab.standin
        .fault(rule)
        .map_err(|problem| anyhow::anyhow!(problem))?;
    submit(lab, load, keys, name).await?;
    let mut database = lab.database().await?;
    let started = Instant::now();
    loop {
        // A call that was refused may be made again: every one must have been struck before the next fault comes.
        let struck: u64 = lab.standin.rules().iter().map(|rule| rule.struck).sum();
        let (messages, calls) = called(&mut database, name).await?;
        if messages == keys.len() as i64 && i64::try_from(struck).is_ok_and(|struck| struck >= calls) {
            break;
        }
        if started.elapsed() > STRIKE_LIMIT {
            bail!(
                "of {} messages {messages} were called for, {calls} times, and {struck} calls struck",
                keys.len()
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    for nth in 0..BETWEEN {
        submit(lab, load, keys, &format!("good-{nth}-after-{name}")).await?;
    }
    Ok(())
}

/// Messages under a fault's name for which a call was begun over the connection that faults strike, and those calls.
async fn called(database: &mut PgConnection, name: &str) -> Result<(i64, i64)> {
    Ok(sqlx::query_as(
        "SELECT count(DISTINCT m.id), count(*) FROM attempts a
         JOIN deliveries d ON d.tenant_id = a.tenant_id AND d.id = a.delivery_id
         JOIN messages m ON m.tenant_id = d.tenant_id AND m.id = d.message_id
         JOIN connections c ON c.tenant_id = a.tenant_id AND c.id = a.connection_id
         WHERE m.source_reference LIKE $1 || '.%' AND c.name = 'main'",
    )
    .bind(name)
    .fetch_one(database)
    .await?)
}

/// One message of every tenant.
async fn submit(lab: &Lab, load: &Load, keys: &[String], name: &str) -> Result<()> {
    for (nth, key) in keys.iter().enumerate() {
        let letter = Letter::new(&format!("{name}.{nth}"));
        load.submit_as(&lab.engine, key, &letter)
            .await
            .context("a message was not acknowledged")?;
    }
    Ok(())
}

/// What became of a first call.
struct First {
    class: String,
    took_ms: i64,
}

/// Holds the first call of each message that was struck against the table, and every call against the time limit.
async fn judge(
    database: &mut PgConnection,
    load: &Load,
    table: &[Line],
    times: u32,
    report: &mut Report,
) -> Result<()> {
    let first = first_calls(database).await?;
    let acknowledged = load.acknowledged();
    let mut classes = BTreeMap::new();
    for Line { name, class, .. } in table {
        let mut became: BTreeMap<&str, u32> = BTreeMap::new();
        for nth in 0..times {
            let id = acknowledged.get(&address(&format!("{name}.{nth}")));
            let class = id
                .and_then(|id| first.get(id))
                .map_or("no call", |first| first.class.as_str());
            *became.entry(class).or_default() += 1;
        }
        let right = |given: &str| match class {
            Class::Rejected(category) => given == *category,
            Class::Unknown => given == "unknown",
            Class::NeverNo => matches!(given, "unknown" | "accepted"),
        };
        report.demand(became.keys().all(|given| right(given)), || {
            format!("{name} became {became:?}, expected {class:?}")
        });
        classes.insert(*name, json!(became));
    }
    report.figure("classes", json!(classes));
    let longest: Option<i64> = first.values().map(|first| first.took_ms).max();
    report.figure("longest_call_ms", json!(longest));
    report.demand(longest.is_some_and(|longest| longest <= CALL_LIMIT_MS), || {
        format!("a call took {longest:?} ms")
    });
    Ok(())
}

/// The first call of each message. One whose outcome was unknown at first has an event that says so, whatever was found out
/// later.
async fn first_calls(database: &mut PgConnection) -> Result<BTreeMap<String, First>> {
    let rows = sqlx::query(
        "SELECT d.message_id::text AS message, a.outcome, a.category,
             (extract(epoch FROM coalesce(u.at, a.finished_at, now()) - a.intended_at) * 1000)::bigint AS took_ms,
             u.at IS NOT NULL AS was_unknown
         FROM attempts a JOIN deliveries d ON d.tenant_id = a.tenant_id AND d.id = a.delivery_id
         LEFT JOIN LATERAL (SELECT min(e.at) AS at FROM event_log e WHERE e.tenant_id = d.tenant_id
             AND e.message_id = d.message_id AND e.kind = 'DeliveryUnknown'
             AND (e.data ->> 'attempt')::int = a.attempt_no) u ON true
         WHERE a.attempt_no = 1 AND d.position = 0",
    )
    .fetch_all(database)
    .await?;
    let mut calls = BTreeMap::new();
    for row in rows {
        let outcome: String = row.try_get("outcome")?;
        let category: Option<String> = row.try_get("category")?;
        let class = if row.try_get("was_unknown")? {
            "unknown".to_owned()
        } else {
            category.filter(|_| outcome == "rejected").unwrap_or(outcome)
        };
        let first = First {
            class,
            took_ms: row.try_get("took_ms")?,
        };
        calls.insert(row.try_get("message")?, first);
    }
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_fault_once_and_those_that_need_fresh_tenants_last() {
        let table = table("http://127.0.0.1:1");
        let names: std::collections::BTreeSet<_> = table.iter().map(|line| line.name).collect();
        assert_eq!(names.len(), table.len());
        assert!(table.is_sorted_by_key(|line| line.fresh));
    }
}
