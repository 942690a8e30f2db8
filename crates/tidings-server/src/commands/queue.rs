//! `tidings queue`: figures and dead letters.

use super::unknown;
use crate::cli::queue::{DeadLetters, Purge, Queue, Replay};
use crate::failure::Failure;
use crate::installation::Installation;
use crate::node;
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tidings_core::{Clock, JobId};
use tidings_engine::dead_letters::{Duplicates, MAX_REPLAYED, Trial};
use tidings_queue::dead::{self, DeadLetter, Filter};
use tidings_queue::guard;
use tidings_queue::{StatRow, stats};

/// Runs one of the queue commands.
pub async fn run(installation: &Installation, command: &Queue, json: bool) -> Result<()> {
    match command {
        Queue::Stats => show_stats(installation, json).await,
        Queue::List(which) => list(installation, which, json).await,
        Queue::Causes => causes(installation, json).await,
        Queue::Replay(options) => replay(installation, options, json).await,
        Queue::Purge(options) => purge(installation, options, json).await,
        Queue::Unknown(which) => unknown::list(installation, which, json).await,
        Queue::Decide(options) => unknown::decide(installation, options, json).await,
        Queue::Unfence => unfence(installation, json).await,
    }
}

async fn show_stats(installation: &Installation, json: bool) -> Result<()> {
    let now = installation.clock.now();
    let mut conn = installation.store.worker().acquire().await?;
    let rows = stats(&mut conn, None, now).await?;
    let fence = guard::check(&mut conn, "queue stats", now).await?;
    drop(conn);
    let backlogs = node::engine(installation)?.backlogs(&rows).await?;
    let by_type = by_type(&rows);
    if json {
        let types: BTreeMap<_, Value> = by_type
            .iter()
            .map(|(kind, row)| (kind.clone(), figures(row)))
            .collect();
        let fence = fence.map(|fence| fence.reason);
        println!(
            "{}",
            json!({ "total": figures(&total(&rows)), "by_type": types, "backlogs": backlogs, "fenced": fence })
        );
        return Ok(());
    }
    if let Some(fence) = fence {
        println!(
            "FENCED since {}: {}; `tidings queue unfence` lets it send",
            fence.since, fence.reason
        );
    }
    println!(
        "{:<22} {:>9} {:>9} {:>10} {:>10} {:>7} {:>6}  oldest",
        "type", "queued", "scheduled", "processing", "completed", "failed", "dead"
    );
    let all = ("all".to_owned(), total(&rows));
    for (kind, row) in by_type.iter().chain([(&all.0, &all.1)]) {
        println!(
            "{kind:<22} {:>9} {:>9} {:>10} {:>10} {:>7} {:>6}  {}",
            row.queued,
            row.scheduled,
            row.processing,
            row.completed,
            row.failed,
            row.dead,
            row.oldest_age_ms
                .map_or("-".to_owned(), |ms| format!("{} s", ms / 1000)),
        );
    }
    for backlog in &backlogs {
        println!(
            "tenant {}: {} {} at {} end at {:.0}",
            backlog.tenant_id,
            backlog.waiting,
            backlog.job_type,
            backlog.limits.join(" + "),
            backlog.ends_at
        );
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    queued: i64,
    scheduled: i64,
    processing: i64,
    completed: i64,
    failed: i64,
    dead: i64,
    oldest_age_ms: Option<i64>,
}

impl Figures {
    fn add(&mut self, row: &StatRow) {
        self.queued += row.queued;
        self.scheduled += row.scheduled;
        self.processing += row.processing;
        self.completed += row.completed;
        self.failed += row.failed;
        self.dead += row.dead;
        self.oldest_age_ms = self.oldest_age_ms.max(row.oldest_age_ms);
    }
}

fn total(rows: &[StatRow]) -> Figures {
    let mut total = Figures::default();
    for row in rows {
        total.add(row);
    }
    total
}

fn by_type(rows: &[StatRow]) -> BTreeMap<String, Figures> {
    let mut types: BTreeMap<String, Figures> = BTreeMap::new();
    for row in rows {
        types.entry(row.kind.clone()).or_default().add(row);
    }
    types
}

fn figures(row: &Figures) -> Value {
    json!({
        "queued": row.queued, "scheduled": row.scheduled, "processing": row.processing, "completed": row.completed,
        "failed": row.failed, "dead": row.dead, "oldest_age_ms": row.oldest_age_ms,
    })
}

fn filter(which: &DeadLetters) -> Filter {
    Filter {
        tenant: which.tenant,
        cause: which.cause.clone(),
        ..Filter::default()
    }
}

async fn list(installation: &Installation, which: &DeadLetters, json: bool) -> Result<()> {
    let mut conn = installation.store.worker().acquire().await?;
    let letters = dead::list(&mut conn, &filter(which), None, which.limit).await?;
    if json {
        let list: Vec<Value> = letters.iter().map(as_json).collect();
        println!("{}", Value::Array(list));
        return Ok(());
    }
    if letters.is_empty() {
        println!("no dead letters");
    }
    for letter in &letters {
        println!(
            "{}  {}  {}  {} ({})",
            letter.job, letter.died_at, letter.kind, letter.cause, letter.category
        );
    }
    Ok(())
}

/// Without the payload, which holds personal data.
fn as_json(letter: &DeadLetter) -> Value {
    json!({
        "job_id": letter.job, "tenant_id": letter.tenant, "job_type": letter.kind, "cause": letter.cause,
        "category": letter.category, "died_at": letter.died_at, "retry_count": letter.retry_count,
        "source_reference": letter.source_reference,
    })
}

async fn causes(installation: &Installation, json: bool) -> Result<()> {
    let mut conn = installation.store.worker().acquire().await?;
    let groups = dead::groups(&mut conn, None).await?;
    if json {
        let list: Vec<Value> = groups
            .iter()
            .map(|group| {
                json!({
                    "tenant_id": group.tenant, "job_type": group.kind, "cause": group.cause, "category": group.category,
                    "jobs": group.jobs, "latest": group.latest,
                })
            })
            .collect();
        println!("{}", Value::Array(list));
        return Ok(());
    }
    if groups.is_empty() {
        println!("no dead letters");
    }
    for group in groups {
        println!(
            "{:>7}  {}  {} ({}), last {}",
            group.jobs, group.kind, group.cause, group.category, group.latest
        );
    }
    Ok(())
}

async fn replay(installation: &Installation, options: &Replay, json: bool) -> Result<()> {
    let engine = node::engine(installation)?;
    let jobs: Vec<JobId> = options.jobs.iter().copied().map(JobId).collect();
    let duplicates = if options.even_if_duplicate {
        Duplicates::Include
    } else {
        Duplicates::LeaveOut
    };
    let trial = if options.dry_run { Trial::Dry } else { Trial::Real };
    let mut conn = installation.store.worker().acquire().await?;
    let mut letters = dead::list(&mut conn, &filter(&options.which), None, MAX_REPLAYED).await?;
    drop(conn);
    letters.retain(|letter| jobs.is_empty() || jobs.contains(&letter.job));
    let done = engine.replay_dead_letters(&letters, duplicates, trial).await?;
    if json {
        println!("{}", serde_json::to_string(&done)?);
        return Ok(());
    }
    let verb = if options.dry_run {
        "would be replayed"
    } else {
        "replayed"
    };
    println!(
        "{} {verb}, {} left out",
        done.replayed.len(),
        done.predicted_duplicates.len()
    );
    for job in &done.predicted_duplicates {
        println!(
            "  {job}: its message may already have arrived; --even-if-duplicate replays it all the same"
        );
    }
    Ok(())
}

async fn purge(installation: &Installation, options: &Purge, json: bool) -> Result<()> {
    let mut conn = installation.store.worker().acquire().await?;
    let letters = dead::list(&mut conn, &filter(&options.which), None, MAX_REPLAYED).await?;
    if !options.yes {
        let problem = format!(
            "{} dead letters would be deleted for good; say --yes",
            letters.len()
        );
        bail!(Failure::Refused(problem));
    }
    let jobs: Vec<JobId> = letters.iter().map(|letter| letter.job).collect();
    let gone = dead::purge(&mut conn, options.which.tenant, &jobs).await?;
    if json {
        println!("{}", json!({ "purged": gone }));
    } else {
        println!("{gone} deleted");
    }
    Ok(())
}

async fn unfence(installation: &Installation, json: bool) -> Result<()> {
    let mut conn = installation.store.worker().acquire().await?;
    guard::lift(&mut conn, "queue unfence", installation.clock.now()).await?;
    if json {
        println!("{}", json!({ "fenced": null }));
    } else {
        println!("the fence is lifted; this database sends from now on");
    }
    Ok(())
}
