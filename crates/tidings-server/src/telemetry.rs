//! Logs and metrics: JSON lines on standard error, Prometheus text on `/metrics`.

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line: for machines, and the default of `serve`.
    Json,
    /// For a person at a terminal: the default of every other command.
    Human,
}

/// Starts logging. Standard output stays free for results.
pub fn start_logging(filter: &str, format: LogFormat) -> Result<()> {
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("the log filter \"{filter}\" cannot be read; try RUST_LOG=info"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .try_init(),
        LogFormat::Human => builder.compact().with_target(false).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging could not start: {error}"))
}

/// Starts the metrics recorder and returns what renders it.
pub fn start_metrics() -> Result<PrometheusHandle> {
    let seconds = [
        0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0,
    ];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &seconds)
        .context("the histogram buckets are wrong")?
        .install_recorder()
        .context("the metrics recorder could not start")?;
    tidings_engine::describe_figures();
    tidings_api::describe_figures();
    tidings_mail::describe_figures();
    tidings_engine::prime_figures();
    Ok(handle)
}
