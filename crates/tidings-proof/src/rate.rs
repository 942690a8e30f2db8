//! Submissions at a steady rate, on time whatever earlier answers take, so that a slow answer is not hidden by fewer
//! questions.

use crate::load::Letter;
use crate::process::Installation;
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// Milliseconds that calls took, sorted.
#[derive(Debug)]
pub struct Taken(Vec<f64>);

impl Taken {
    /// From measurements in any order.
    pub fn of(mut taken: Vec<f64>) -> Self {
        taken.sort_by(f64::total_cmp);
        Self(taken)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value that so large a part lies at or below, with two decimals; 0 when nothing was measured.
    pub fn at(&self, part: f64) -> f64 {
        let last = self.0.len().saturating_sub(1) as f64;
        let value = self.0.get((last * part) as usize).copied().unwrap_or_default();
        (value * 100.0).round() / 100.0
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
        Ok(taken)
    });
    Ok(Taken::of(futures::future::try_join_all(calls).await?))
}
