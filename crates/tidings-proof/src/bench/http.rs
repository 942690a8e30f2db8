//! Submission over HTTP to the real process, at a steady rate: each answer is durable.

use crate::process::{self, Installation};
use crate::rate;
use anyhow::Result;
use serde_json::{Value, json};

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
    rate::submit(&installation, "warm", RATE, WARM_UP).await?;
    let taken = rate::submit(&installation, "s", RATE, SUBMISSIONS).await?;
    child.kill().await?;
    std::fs::remove_dir_all(&folder)?;
    Ok(
        json!({ "rate_per_s": RATE, "submissions": taken.len(), "p50_ms": taken.at(0.5), "p99_ms": taken.at(0.99), "max_ms": taken.at(1.0) }),
    )
}
