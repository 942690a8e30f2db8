//! Verification vectors through the real verifiers and parsers: each failure by name, then the counts.

use anyhow::{Result, ensure};
use serde_json::json;
use std::path::Path;

/// Runs the folder; prints failures and skipped kinds, then `{"passed":..,"failed":..,"skipped":..}`. Returns
/// how many failed.
pub async fn run(dir: &Path, talk: bool) -> Result<usize> {
    ensure!(dir.is_dir(), "{} is not a folder of vectors", dir.display());
    let report = tidings_providers::vectors::run(dir);
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
