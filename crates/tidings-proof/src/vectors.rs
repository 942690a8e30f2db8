//! Verification vectors through the real verifiers and parsers: each failure by name, then the counts.

use crate::unsubscribe;
use anyhow::{Result, ensure};
use serde_json::json;
use std::path::Path;

/// Runs the folder; prints failures and skipped kinds, then `{"passed":..,"failed":..,"skipped":..}`. Returns
/// how many failed.
///
/// `database_url` leads to an empty database for the cases that need the HTTP face; without one they are skipped.
pub async fn run(dir: &Path, database_url: Option<&str>, talk: bool) -> Result<usize> {
    ensure!(dir.is_dir(), "{} is not a folder of vectors", dir.display());
    let verdicts = match database_url {
        Some(url) => unsubscribe::run(url, dir).await?,
        None => unsubscribe::Verdicts::new(),
    };
    let report = tidings_providers::vectors::run_with(dir, &|_, case| {
        verdicts.get(&case.to_string()).cloned().flatten()
    });
    for name in &report.failed {
        println!("failed: {name}");
    }
    if talk {
        for name in &report.skipped {
            println!("skipped: {name}");
        }
    }
    println!(
        "{}",
        json!({ "passed": report.passed, "failed": report.failed.len(), "skipped": report.skipped.len() })
    );
    Ok(report.failed.len())
}
