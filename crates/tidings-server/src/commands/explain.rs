//! `tidings explain MESSAGE`: every rule's word on it, and what became of it. With `--contact` and `--campaign`: why there is
//! no message.

use crate::cli;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::node;
use anyhow::Result;
use serde_json::Value;
use tidings_core::campaign::CampaignName;
use tidings_engine::{DeliveryTold, Explanation, NeverSelected};

/// Prints the explanation.
pub async fn run(installation: &Installation, options: &cli::Explain, json: bool) -> Result<()> {
    let tenant = installation.tenant(options.tenant.tenant.as_deref()).await?.id;
    let engine = node::engine(installation)?;
    if let (Some(contact), Some(campaign)) = (&options.contact, &options.campaign) {
        let campaign = campaign_name(campaign)?;
        let told = engine.explain_campaign(tenant, contact, &campaign).await?;
        if json {
            println!("{}", serde_json::to_string_pretty(&told)?);
        } else {
            print_never_selected(&told);
        }
        return Ok(());
    }
    let message = options
        .message
        .ok_or_else(|| Failure::Usage("say which message, or --contact and --campaign".to_owned()))?;
    let explanation = engine.explain(tenant, message).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&explanation)?);
    } else {
        print(&explanation);
    }
    Ok(())
}

/// A campaign's name as given.
pub fn campaign_name(text: &str) -> Result<CampaignName> {
    CampaignName::parse(text).map_err(|error| Failure::Usage(format!("campaign \"{text}\": {error}")).into())
}

fn print_never_selected(told: &NeverSelected) {
    println!("{}", told.answer);
    if let Some(at) = told.next_run_at {
        println!("  {} runs next at {at}", told.campaign);
    }
    for row in &told.rows {
        println!("\nrow {}: {}", row.key, row.verdict);
        for step in &row.steps {
            println!("  {:<9} {}: {}", step.outcome, step.condition, step.detail);
        }
        if let Some(at) = &row.changes_at {
            println!("  the answer changes at {at} if the row stays as it is");
        }
        if let Some(message) = row.message_id {
            println!("  proposed as message {message}");
        }
        for past in &row.history {
            let code = past
                .code
                .as_deref()
                .map(|code| format!(" ({code})"))
                .unwrap_or_default();
            println!("  {}: {} {}{code}", past.as_of, past.occurrence, past.outcome);
        }
    }
}

fn print(told: &Explanation) {
    println!(
        "{} {} to contact {}",
        told.message_type, told.message_id, told.contact_id
    );
    println!(
        "  {} ({} {}), by {}",
        told.status, told.urgency, told.category, told.provenance
    );
    if let Some(because) = &told.ended_because {
        println!("  ended because: {because}");
    }
    if let Some(again) = told.decide_again_at {
        println!("  decided again at {again}");
    }
    for decision in &told.decisions {
        println!(
            "\n{} decision at {}: {}",
            decision.stage,
            decision.decided_at,
            verdict(&decision.verdict)
        );
        for reason in decision.reasons.as_array().into_iter().flatten() {
            println!(
                "  {:<15} {:<8} {:<28} {}",
                text(reason, "rule"),
                text(reason, "verdict"),
                text(reason, "code"),
                text(reason, "detail")
            );
        }
        if let Some(at) = decision.changes_at {
            println!("  asking again could give another answer from {at}");
        }
    }
    for delivery in &told.deliveries {
        print_delivery(delivery);
    }
    if !told.events.is_empty() {
        println!("\nreported afterwards");
    }
    for event in &told.events {
        println!("  {}  {} ({})", event.occurred_at, event.kind, event.provenance);
    }
}

fn print_delivery(delivery: &DeliveryTold) {
    println!("\ndelivery by {}: {}", delivery.channel, delivery.state);
    for attempt in &delivery.attempts {
        let why = match (&attempt.category, &attempt.code) {
            (Some(category), Some(code)) => format!(" ({category}, {code})"),
            (Some(category), None) => format!(" ({category})"),
            _ => String::new(),
        };
        let detail = attempt
            .detail
            .as_deref()
            .map(|detail| format!(": {detail}"))
            .unwrap_or_default();
        println!(
            "  attempt {} by {} at {}: {}{why}{detail}",
            attempt.attempt_no,
            attempt
                .connection
                .as_deref()
                .unwrap_or("a connection that is gone"),
            attempt.intended_at,
            attempt.outcome
        );
        if let Some(code) = attempt.route.why {
            println!("    went there for {code}");
        }
        for over in &attempt.route.passed_over {
            let name = over.connection.as_deref().unwrap_or("one that is gone");
            let until = over.until.map_or(String::new(), |at| format!(" until {at}"));
            println!("    passed over {name}: {}{until}", over.code);
        }
    }
    if let (Some(until), Some(because)) = (delivery.waits_until, &delivery.waits_because) {
        println!("  waits until {until}: {because}");
    }
    if let Some(at) = delivery.resolve_after {
        println!("  nobody knows whether it arrived; asked about again at {at}");
    }
}

fn verdict(verdict: &Value) -> String {
    let word = verdict["verdict"].as_str().unwrap_or("?");
    let channels: Vec<&str> = verdict["channels"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    match (word, channels.is_empty()) {
        ("send", false) => format!(
            "send by {} at {}",
            channels.join(", then "),
            verdict["at"].as_str().unwrap_or("once")
        ),
        ("hold", _) => format!("hold until {}", verdict["until"].as_str().unwrap_or("?")),
        _ => word.to_owned(),
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}
