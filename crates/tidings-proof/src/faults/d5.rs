//! D5: the Redis that keeps the buckets of rate limits is killed, emptied, frozen for five seconds, and filled with nonsense, while
//! three processes have more to send than the limits allow.

use super::Ground;
use super::report::Report;
use crate::{bench, limits, process};
use anyhow::{Result, ensure};

/// Runs the row, once whatever the scale: its faults follow a plan.
pub async fn run(ground: &Ground<'_>) -> Result<Report> {
    let folder = process::folder("faults-d5")?;
    let url = bench::empty(&ground.server_url, "tidings_faults_d5").await?;
    let summary = limits::run(&url, &folder, ground.talk).await?;
    ensure!(
        summary["redis"] == true,
        "no Redis is installed; install redis-server"
    );
    let number = |name: &str| {
        summary[name]
            .as_u64()
            .and_then(|count| usize::try_from(count).ok())
    };
    let mut report = Report {
        trials: limits::FAULTS,
        lost: number("lost").unwrap_or(usize::MAX),
        duplicate: number("duplicate").unwrap_or(usize::MAX),
        acknowledged: number("calls").unwrap_or(0),
        ..Report::default()
    };
    report.demand(limits::is_clean(&summary), || {
        "a limit was exceeded, or Redis was not lost and returned as planned".to_owned()
    });
    report.figure("limits", summary["limits"].clone());
    report.figure("keeper_changes", summary["keeper_changes"].clone());
    Ok(report)
}
