//! The resident memory of a process, watched once a second.

use crate::process::memory_kib;
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const EVERY: Duration = Duration::from_secs(1);

/// A watch.
pub struct Memory {
    task: JoinHandle<Vec<u64>>,
    stop: CancellationToken,
}

/// What it held, in mebibytes: means of the second and the last fifth of the time.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Of the second fifth; the first fills caches and pools.
    pub early_mb: f64,
    /// Of the last.
    pub late_mb: f64,
}

impl Held {
    /// The share by which it grew; negative where it fell.
    pub fn growth(self) -> f64 {
        let growth = (self.late_mb - self.early_mb) / self.early_mb.max(1.0);
        (growth * 1000.0).round() / 1000.0
    }
}

impl Memory {
    /// Begins.
    pub fn watch(pid: u32) -> Self {
        let stop = CancellationToken::new();
        let ended = stop.clone();
        let task = TaskTracker::new().spawn(async move {
            let mut seen = Vec::new();
            while ended
                .run_until_cancelled(tokio::time::sleep(EVERY))
                .await
                .is_some()
            {
                seen.extend(memory_kib(pid, "VmRSS"));
            }
            seen
        });
        Self { task, stop }
    }

    /// Ends, and says what was seen.
    pub async fn stop(self) -> Result<Held> {
        self.stop.cancel();
        let seen = self.task.await?;
        ensure!(
            seen.len() >= 5,
            "the process was watched for {} s only",
            seen.len()
        );
        let fifth = seen.len() / 5;
        let mean = |part: &[u64]| {
            let sum: u64 = part.iter().sum();
            (sum as f64 / part.len() as f64 / 1024.0 * 10.0).round() / 10.0
        };
        Ok(Held {
            early_mb: mean(seen.get(fifth..2 * fifth).context("no second fifth")?),
            late_mb: mean(seen.get(seen.len() - fifth..).context("no last fifth")?),
        })
    }
}
