//! What the demo sends: the six workflow messages, a batch of low urgency, and the cases where something stands in
//! the way.

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use tidings_core::zone;
use tidings_engine::AcceptRequest;

/// One request of the demo.
#[derive(Debug)]
pub struct Step {
    /// What it shows.
    pub shows: &'static str,
    /// The request.
    pub request: AcceptRequest,
}

/// The tenant's file, with zones where it is day and night at this instant.
pub fn tenant_file(now: Timestamp) -> String {
    include_str!("tenant.toml")
        .replace("DAY", zone_at(now, 10..=14))
        .replace("NIGHT", zone_at(now, 1..=5))
}

/// A zone, without daylight saving, where the local hour lies in the range.
fn zone_at(now: Timestamp, hours: std::ops::RangeInclusive<i8>) -> &'static str {
    const ZONES: [&str; 12] = [
        "Pacific/Honolulu",
        "America/Phoenix",
        "America/Panama",
        "America/Sao_Paulo",
        "Atlantic/Cape_Verde",
        "Africa/Lagos",
        "Africa/Nairobi",
        "Asia/Karachi",
        "Asia/Bangkok",
        "Asia/Tokyo",
        "Pacific/Guadalcanal",
        "Pacific/Pago_Pago",
    ];
    ZONES
        .into_iter()
        .find(|name| zone::find(name).is_some_and(|zone| hours.contains(&now.to_zoned(zone).hour())))
        .unwrap_or("UTC")
}

/// What is sent at once.
pub fn first() -> Result<Vec<Step>> {
    Ok(vec![
        step("workflow: the plan was started", "welcome", "ana", json!({}))?,
        step(
            "workflow: ways to divide the budget",
            "budget_summary",
            "ana",
            json!({}),
        )?,
        step(
            "workflow: vendors to choose from",
            "vendor_options",
            "ben",
            json!({ "urgency": "high" }),
        )?,
        step(
            "workflow: what was chosen",
            "selection_confirmation",
            "ben",
            json!({}),
        )?,
        step(
            "workflow: the finished blueprint",
            "blueprint_delivery",
            "chloe",
            json!({ "urgency": "high" }),
        )?,
        step(
            "workflow: something went wrong, told at once",
            "error_notification",
            "chloe",
            json!({ "urgency": "critical" }),
        )?,
        step(
            "a first message, so that later ones may be batched",
            "welcome",
            "dario",
            json!({}),
        )?,
        step(
            "quiet hours where the contact lives",
            "vendor_options",
            "emi",
            json!({ "urgency": "high" }),
        )?,
        step(
            "marketing without a consent",
            "reminder",
            "farid",
            json!({ "category": "marketing", "urgency": "high" }),
        )?,
        step(
            "marketing with a consent",
            "reminder",
            "ivo",
            json!({ "category": "marketing", "urgency": "high" }),
        )?,
        step(
            "a number that does not exist",
            "reminder",
            "gil",
            json!({ "urgency": "critical", "channel": "sms" }),
        )?,
        step(
            "the provider takes it and never answers",
            "welcome",
            "hana",
            json!({ "urgency": "critical" }),
        )?,
        step(
            "the same request again",
            "selection_confirmation",
            "ben",
            json!({}),
        )?,
    ])
}

/// What follows once the first has gone out: three of low urgency, which go as one.
pub fn later() -> Result<Vec<Step>> {
    (1..=3)
        .map(|number| {
            let reference =
                json!({ "urgency": "low", "source_reference": format!("demo:dario:low:{number}") });
            step("low urgency: three go as one", "reminder", "dario", reference)
        })
        .collect()
}

fn step(shows: &'static str, message_type: &str, contact: &str, with: Value) -> Result<Step> {
    let context = tidings_render::sample::sample(message_type).context("a built-in type without a sample")?;
    let mut request = json!({
        "to": { "external_id": contact },
        "message_type": message_type,
        "context": context,
        "source_reference": format!("demo:{contact}:{message_type}"),
    });
    if let (Some(request), Value::Object(with)) = (request.as_object_mut(), with) {
        request.extend(with);
    }
    let request = serde_json::from_value(request).context("a request of the demo is wrong")?;
    Ok(Step { shows, request })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn there_is_a_day_and_a_night_zone_at_every_hour() {
        for hour in 0..24 {
            let now: Timestamp = format!("2026-11-21T{hour:02}:30:00Z").parse().unwrap();
            let hour_in = |name: &str| now.to_zoned(zone::find(name).unwrap()).hour();
            assert!((10..=14).contains(&hour_in(zone_at(now, 10..=14))), "{hour}");
            assert!((1..=5).contains(&hour_in(zone_at(now, 1..=5))), "{hour}");
            crate::apply::file::ApplyFile::parse(&tenant_file(now)).unwrap();
        }
    }

    #[test]
    fn every_request_is_well_formed() {
        assert_eq!(first().unwrap().len(), 13);
        assert_eq!(later().unwrap().len(), 3);
    }
}
