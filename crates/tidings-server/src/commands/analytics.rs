//! `tidings analytics`: what became of deliveries, by provider, connection, channel, message type or day.

use crate::cli::Analytics;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::node;
use anyhow::{Context, Result};
use jiff::ToSpan as _;
use tidings_core::analytics::DeliveriesBy;
use tidings_engine::store::analytics::{Line, Range};
use tidings_engine::{EngineError, deliveries_csv};

/// Runs the command.
pub async fn run(installation: &Installation, options: &Analytics, json: bool) -> Result<()> {
    let tenant = installation.tenant(options.tenant.tenant.as_deref()).await?.id;
    let by: DeliveriesBy = options.by.parse().map_err(Failure::refused)?;
    let engine = node::engine(installation)?;
    let today = engine.now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let to = options.to.unwrap_or(today);
    let from = options.from.unwrap_or_else(|| to.saturating_sub(29.days()));
    let told = engine
        .deliveries_by(tenant, Range { from, to }, by)
        .await
        .map_err(|error| match error {
            EngineError::Invalid { field, problem } => {
                Failure::refused(format!("--{field}: {problem}")).into()
            }
            other => anyhow::Error::from(other),
        })?;
    if options.csv {
        print!("{}", deliveries_csv(by, &told.lines));
    } else if json {
        let lines: Vec<serde_json::Value> = told.lines.iter().map(value).collect::<Result<_>>()?;
        let all = serde_json::json!({"from": from, "to": to, "by": by, "as_of": told.as_of, "due_days": told.due_days, "items": lines});
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        show(&told.lines);
    }
    if told.due_days > 0 && !json {
        eprintln!(
            "{} of these days changed and are not counted anew yet; ask again a little later",
            told.due_days
        );
    }
    Ok(())
}

fn value(line: &Line) -> Result<serde_json::Value> {
    let mut value = serde_json::to_value(line.counts)?;
    let fields = value.as_object_mut().context("counts are an object")?;
    fields.insert("key".to_owned(), line.key.clone().into());
    fields.insert("name".to_owned(), line.name.clone().into());
    fields.insert("median_ms".to_owned(), line.median_ms.into());
    fields.insert("p95_ms".to_owned(), line.p95_ms.into());
    Ok(value)
}

fn show(lines: &[Line]) {
    if lines.is_empty() {
        println!("no deliveries");
        return;
    }
    println!(
        "{:<38} {:>10} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>10} {:>10}",
        "",
        "deliveries",
        "accepted",
        "delivered",
        "bounced",
        "failed",
        "unknown",
        "opened",
        "clicked",
        "replied",
        "median",
        "p95"
    );
    let time = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
    for line in lines {
        let counts = &line.counts;
        println!(
            "{:<38} {:>10} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>10} {:>10}",
            line.name.as_ref().unwrap_or(&line.key),
            counts.deliveries,
            counts.accepted,
            counts.delivered,
            counts.bounced,
            counts.failed,
            counts.unknown,
            counts.opened,
            counts.clicked,
            counts.replied,
            time(line.median_ms),
            time(line.p95_ms),
        );
    }
}
