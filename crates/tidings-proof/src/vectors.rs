//! Verification vectors through the real verifiers and parsers: each failure by name, then the counts.

use anyhow::{Context, Result};
use serde_json::json;
use std::path::Path;

/// Runs the folder; prints failures and skipped kinds, then `{"passed":..,"failed":..,"skipped":..}`. Returns
/// how many failed.
pub async fn run(dir: &Path, talk: bool) -> Result<usize> {
    let report =
        tidings_providers::vectors::run(dir).with_context(|| format!("the vectors in {} cannot be run", dir.display()))?;
    for name in &report.failed {
        println!("failed: {name}");
    }
    if talk {
        for name in &report.skipped {
            println!("skipped: {name}");
        }
    }
    println!("{}", json!({ "passed": report.passed, "failed": report.failed.len(), "skipped": report.skipped.len() }));
    Ok(report.failed.len())
}
