//! Submissions at a steady rate, on time whatever earlier answers take, so that a slow answer is not hidden by fewer
//! questions.

use crate::load::Letter;
use crate::process::Installation;
use anyhow::{Result, ensure};
use sqlx::PgConnection;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Milliseconds that calls took, sorted, and the slowest of each second.
#[derive(Debug)]
pub struct Taken {
    sorted: Vec<f64>,
    slowest: BTreeMap<u64, f64>,
}

impl Taken {
    /// From measurements in any order, each with the second in which it began.
    pub fn of(taken: impl IntoIterator<Item = (u64, f64)>) -> Self {
        let mut slowest = BTreeMap::new();
        let mut sorted = Vec::new();
        for (second, ms) in taken {
            sorted.push(ms);
            let worst = slowest.entry(second).or_insert(ms);
            *worst = ms.max(*worst);
        }
        sorted.sort_by(f64::total_cmp);
        Self { sorted, slowest }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The value that so large a part lies at or below, with two decimals; 0 when nothing was measured.
    pub fn at(&self, part: f64) -> f64 {
        let last = self.sorted.len().saturating_sub(1) as f64;
        let value = self
            .sorted
            .get((last * part) as usize)
            .copied()
            .unwrap_or_default();
        (value * 100.0).round() / 100.0
    }

    /// The seconds whose slowest call took longer than so many milliseconds, and how long, in whole ones.
    pub fn slow_seconds(&self, above_ms: f64) -> Vec<(u64, u64)> {
        let slow = self.slowest.iter().filter(|(_, ms)| **ms > above_ms);
        slow.map(|(second, ms)| (*second, ms.round() as u64)).collect()
    }
}

/// Submits `count` messages at `per_s` a second, each to a contact of its own under the reference `<prefix><number>`, and
/// returns how long each durable answer took.
pub async fn submit(installation: &Installation, prefix: &str, per_s: u64, count: u64) -> Result<Taken> {
    let begun = Instant::now();
    let calls = (0..count).map(|number| async move {
        let due = Duration::from_micros(number * 1_000_000 / per_s.max(1));
        tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
        let name = format!("{prefix}{number}");
        let sent = Instant::now();
        let (status, answer) = installation.submit(&Letter::new(&name).body, &name).await?;
        let taken = sent.elapsed().as_secs_f64() * 1000.0;
        ensure!(
            (200..300).contains(&status),
            "a submission was answered {status}: {answer}"
        );
        Ok((due.as_secs(), taken))
    });
    Ok(Taken::of(futures::future::try_join_all(calls).await?))
}

/// How long the messages of a part took from their durable acceptance until the provider had them, each counted to the
/// second of its acceptance; nothing until all `count` are sent.
pub async fn sent(database: &mut PgConnection, prefix: &str, count: u64) -> Result<Option<Taken>> {
    let sent: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM messages WHERE source_reference LIKE $1 || '%' AND sent_at IS NOT NULL",
    )
    .bind(prefix)
    .fetch_one(&mut *database)
    .await?;
    if sent.unsigned_abs() < count {
        return Ok(None);
    }
    let taken: Vec<(i64, f64)> = sqlx::query_as(
        "SELECT floor(extract(epoch FROM accepted_at - min(accepted_at) OVER ()))::bigint,
             (extract(epoch FROM sent_at - accepted_at) * 1000)::float8
         FROM messages WHERE source_reference LIKE $1 || '%'",
    )
    .bind(prefix)
    .fetch_all(database)
    .await?;
    let taken = taken.into_iter().map(|(second, ms)| (second.unsigned_abs(), ms));
    Ok(Some(Taken::of(taken)))
}
