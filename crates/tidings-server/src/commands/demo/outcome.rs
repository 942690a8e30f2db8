//! What became of each message of the demo, and why.

use super::Sent;
use crate::installation::Installation;
use crate::node::Node;
use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tidings_core::{DeliveryState, MessageStatus, TenantId};
use tidings_engine::Explanation;

/// The demo in figures. Every accepted message is in exactly one of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Accepted messages; a repeated request is answered with the first message and not counted again.
    pub accepted: u64,
    /// Taken by the provider.
    pub sent: u64,
    /// Waiting for their time.
    pub held: u64,
    /// Stopped by a rule.
    pub suppressed: u64,
    /// Given up.
    pub failed: u64,
    /// Nobody knows yet whether they arrived.
    pub unknown: u64,
}

/// Where a message of the demo ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Sent,
    Held,
    Suppressed,
    Failed,
    Unknown,
}

impl End {
    const fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Held => "held",
            Self::Suppressed => "suppressed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// A message whose next event is due now, not at a later time.
pub fn is_moving(told: &Explanation, now: Timestamp) -> bool {
    if told
        .deliveries
        .iter()
        .any(|delivery| delivery.state == DeliveryState::Dispatching)
    {
        return true;
    }
    match told.status {
        MessageStatus::Queued => !is_unknown(told) && planned_at(told).is_none_or(|at| at <= now),
        // An open batch closes by itself; one that is full is about to.
        MessageStatus::Pending => told.decide_again_at.is_none_or(|at| at <= now) || told.batch_id.is_some(),
        _ => false,
    }
}

fn is_unknown(told: &Explanation) -> bool {
    told.deliveries
        .iter()
        .any(|delivery| matches!(delivery.state, DeliveryState::Unknown | DeliveryState::Held))
}

fn planned_at(told: &Explanation) -> Option<Timestamp> {
    let decision = told.decisions.last()?;
    decision.verdict["at"].as_str()?.parse().ok()
}

fn end(told: &Explanation) -> End {
    if is_unknown(told) {
        return End::Unknown;
    }
    match told.status {
        MessageStatus::Suppressed | MessageStatus::Cancelled => End::Suppressed,
        MessageStatus::Failed | MessageStatus::Bounced => End::Failed,
        MessageStatus::Pending | MessageStatus::Queued => End::Held,
        MessageStatus::Sent | MessageStatus::Delivered | MessageStatus::Opened | MessageStatus::Clicked => {
            End::Sent
        }
    }
}

/// Prints a line a message and returns the figures.
pub async fn report(
    installation: &Installation,
    node: &Node,
    tenant: TenantId,
    sent: &[Sent],
) -> Result<Summary> {
    let mut summary = Summary::default();
    println!("\n{:<48} {:<18} {:<11} why", "what it shows", "type", "became");
    for message in sent {
        let Some(id) = message.message else {
            println!(
                "{:<48} {:<18} {:<11} {}",
                message.shows,
                "-",
                "refused",
                message.refused.as_deref().unwrap_or("-")
            );
            continue;
        };
        let told = node.engine.explain(tenant, id).await?;
        if message.duplicate {
            println!(
                "{:<48} {:<18} {:<11} the first message is the answer: {id}",
                message.shows, told.message_type, "duplicate"
            );
            continue;
        }
        let end = end(&told);
        summary.count(end);
        println!(
            "{:<48} {:<18} {:<11} {}",
            message.shows,
            told.message_type.as_str(),
            end.word(),
            why(&told, end)
        );
    }
    let _ = installation;
    println!("\nall of it, rule by rule: GET /v1/messages/{{id}}/explain, or tidings explain");
    Ok(summary)
}

impl Summary {
    fn count(&mut self, end: End) {
        self.accepted += 1;
        match end {
            End::Sent => self.sent += 1,
            End::Held => self.held += 1,
            End::Suppressed => self.suppressed += 1,
            End::Failed => self.failed += 1,
            End::Unknown => self.unknown += 1,
        }
    }
}

/// One sentence: the reason that decided, or what the provider said.
fn why(told: &Explanation, end: End) -> String {
    match end {
        End::Sent => {
            let channel = told
                .deliveries
                .last()
                .map_or("a batch", |delivery| delivery.channel.as_str());
            let also = if told.batch_id.is_some() {
                ", together with others of low urgency"
            } else {
                ""
            };
            format!(
                "by {channel}{also}: {}",
                reason(told, "channel_choice").unwrap_or_default()
            )
        }
        End::Failed | End::Unknown => {
            let attempt = told
                .deliveries
                .iter()
                .flat_map(|delivery| &delivery.attempts)
                .last();
            let said = attempt
                .and_then(|attempt| attempt.detail.clone().or(attempt.code.clone()))
                .unwrap_or_default();
            match told.deliveries.iter().find_map(|delivery| delivery.resolve_after) {
                Some(at) => format!("{said}; never sent again blindly, asked about at {at}"),
                None => said,
            }
        }
        End::Held | End::Suppressed => deciding(told),
    }
}

fn reasons(told: &Explanation) -> impl Iterator<Item = &Value> {
    told.decisions
        .last()
        .and_then(|decision| decision.reasons.as_array())
        .into_iter()
        .flatten()
}

fn reason(told: &Explanation, rule: &str) -> Option<String> {
    reasons(told).find(|reason| reason["rule"] == rule)?["detail"]
        .as_str()
        .map(str::to_owned)
}

/// The reason that stood in the way: the last that refused, asked or deferred.
fn deciding(told: &Explanation) -> String {
    let stood = reasons(told)
        .filter(|reason| matches!(reason["verdict"].as_str(), Some("refuse" | "defer" | "ask")))
        .last();
    match stood {
        Some(reason) => format!(
            "{}: {}",
            reason["code"].as_str().unwrap_or_default(),
            reason["detail"].as_str().unwrap_or_default()
        ),
        None => told.ended_because.clone().unwrap_or_default(),
    }
}
