//! Submission over HTTP to the real process, at a steady rate: each answer is durable.

use crate::process::{self, Installation};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Submissions a second.
const RATE: u64 = 100;
/// How many are measured.
const SUBMISSIONS: u64 = 2_000;
/// How many before, so that connections and caches are there.
const WARM_UP: u64 = 200;

const APPLY: &str = r#"[[tenants]]
slug = "bench"
name = "Bench"

[[tenants.connections]]
name = "sandbox"
provider = "sandbox"
channel = "email"
"#;

/// Measures on a fresh database.
pub async fn run(url: &str) -> Result<Value> {
    let folder = process::folder("bench-http")?;
    let installation = Installation::prepare(url, &folder, APPLY, "bench", 5).await?;
    let mut child = installation.serve("all", None)?;
    installation.up(&mut child).await?;
    at_rate(&installation, 0, WARM_UP).await?;
    let mut taken = at_rate(&installation, WARM_UP, SUBMISSIONS).await?;
    child.kill().await?;
    std::fs::remove_dir_all(&folder)?;
    taken.sort_by(f64::total_cmp);
    let at = |part: f64| (taken[((taken.len() - 1) as f64 * part) as usize] * 100.0).round() / 100.0;
    Ok(
        json!({ "rate_per_s": RATE, "submissions": taken.len(), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0) }),
    )
}

/// Submits on time whatever earlier answers take, and returns how long each took, in milliseconds.
async fn at_rate(installation: &Installation, first: u64, count: u64) -> Result<Vec<f64>> {
    let begun = Instant::now();
    let calls = (0..count).map(|number| async move {
        let due = Duration::from_micros(number * 1_000_000 / RATE);
        tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
        let name = format!("s{}", first + number);
        let body = json!({
            "to": { "contact": { "external_id": name, "email": format!("{name}@example.com") } },
            "message_type": "bench", "urgency": "critical", "category": "transactional",
            "content": { "subject": "Measured", "body": "A message of the measurement." },
        });
        let sent = Instant::now();
        let (status, answer) = installation.submit(&body, &name).await?;
        let taken = sent.elapsed().as_secs_f64() * 1000.0;
        ensure!(
            (200..300).contains(&status),
            "a submission was answered {status}: {answer}"
        );
        Ok(taken)
    });
    futures::future::try_join_all(calls).await
}
