//! `tidings queue unknown` and `tidings queue decide`: what nobody knows the outcome of, and a person's word about it.

use crate::cli::queue::{Decide, Unknown, Verdict};
use crate::installation::Installation;
use crate::node;
use anyhow::Result;
use serde_json::{Value, json};
use tidings_core::{DeliveryState, MessageId};
use tidings_engine::PersonDecides;
use tidings_engine::store::messages::unknown;

/// Lists them, oldest first.
pub async fn list(installation: &Installation, which: &Unknown, json: bool) -> Result<()> {
    let tenant = installation.tenant(which.tenant.tenant.as_deref()).await?.id;
    let mut tx = installation.store.tenant(tenant).tx().await?;
    let found = unknown::list(&mut tx, tenant, None, i64::from(which.limit)).await?;
    tx.commit().await?;
    if json {
        let list = found.iter().map(|one| {
            json!({
                "message_id": one.message, "delivery_id": one.delivery, "channel": one.channel, "attempt": one.attempt_no,
                "connection_id": one.connection, "since": one.since, "held": one.state == DeliveryState::Held,
                "asked_again_at": one.resolve_after, "detail": one.detail,
            })
        });
        println!("{}", Value::Array(list.collect()));
        return Ok(());
    }
    if found.is_empty() {
        println!("no unknown outcomes");
    }
    for one in &found {
        let next = match (one.state, one.resolve_after) {
            (DeliveryState::Held, _) => "waits for a person".to_owned(),
            (_, Some(at)) => format!("asked about again at {at}"),
            (_, None) => "asked about soon".to_owned(),
        };
        println!("{}  {}  since {}: {next}", one.message, one.channel, one.since);
        if let Some(detail) = &one.detail {
            println!("    {detail}");
        }
    }
    if found.iter().any(|one| one.state == DeliveryState::Held) {
        println!("`tidings queue decide MESSAGE arrived|resend|drop` settles one");
    }
    Ok(())
}

/// Settles one.
pub async fn decide(installation: &Installation, options: &Decide, json: bool) -> Result<()> {
    let tenant = installation.tenant(options.tenant.tenant.as_deref()).await?.id;
    let decision = match options.verdict {
        Verdict::Arrived => PersonDecides::Arrived,
        Verdict::Resend => PersonDecides::Resend,
        Verdict::Drop => PersonDecides::Drop,
    };
    let message = MessageId(options.message);
    node::engine(installation)?
        .decide_unknown(tenant, message, decision)
        .await?;
    let word = match options.verdict {
        Verdict::Arrived => "counts as sent",
        Verdict::Resend => "is sent anew",
        Verdict::Drop => "is left as it is, and counts as failed",
    };
    if json {
        println!(
            "{}",
            json!({ "message_id": message, "decided": options.verdict.as_str() })
        );
    } else {
        println!("message {message} {word}");
    }
    Ok(())
}
