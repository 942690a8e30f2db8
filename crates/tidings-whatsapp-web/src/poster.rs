//! Posting what waits in the outbox to Tidings' webhook, signed, until Tidings has taken it.

use crate::companion::{Shared, Webhook};
use crate::outbox::Item;
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::Duration;
use tidings_providers::egress::{Egress, EgressRequest, EgressUrl};
use tidings_providers::signature::standard;
use tidings_providers::whatsapp_web::wire::Batch;

/// Items of one request.
const BATCH: usize = 50;
/// The first wait after a failure; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Posts until the companion ends.
pub async fn run(shared: Arc<Shared>, webhook: Webhook, url: EgressUrl, egress: Egress) {
    let mut wait = None;
    loop {
        if shared.outbox().is_empty() {
            tokio::select! {
                () = shared.ended.cancelled() => return,
                () = shared.posting.notified() => continue,
            }
        }
        // Not called off when the companion ends: what Tidings has taken would be posted again.
        let posted = post(&shared, &webhook, &url, &egress).await;
        wait = match posted {
            Ok(()) => None,
            Err(problem) => {
                tracing::warn!(%problem, "Tidings did not take what the companion has for it; it is posted again");
                Some(wait.map_or(FIRST_WAIT, |last: Duration| (last * 2).min(LONGEST_WAIT)))
            }
        };
        if let Some(wait) = wait {
            tokio::select! {
                () = shared.ended.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

async fn post(shared: &Shared, webhook: &Webhook, url: &EgressUrl, egress: &Egress) -> Result<(), String> {
    let items = shared.outbox().first(BATCH);
    let keys: Vec<String> = items.iter().map(Item::key).collect();
    let Some(first) = keys.first() else {
        return Ok(());
    };
    let mut batch = Batch {
        account: shared.account(),
        ..Batch::default()
    };
    for item in items {
        match item {
            Item::Report(report) => batch.reports.push(report),
            Item::Message(message) => batch.messages.push(message),
        }
    }
    let body = serde_json::to_vec(&batch).map_err(|_| "the batch is no JSON".to_owned())?;
    // The same batch has the same id; ids have no points.
    let id = format!("{}-{}", first.replace(['.', ':'], "-"), keys.len());
    let now = shared.clock.now();
    let signature =
        standard::sign(&id, now, &body, webhook.secret.expose_secret()).map_err(|error| error.to_string())?;
    let request = EgressRequest::post(url.clone(), "application/json", body);
    let headers = [
        ("webhook-id", id),
        ("webhook-timestamp", now.as_second().to_string()),
        ("webhook-signature", signature),
    ];
    let request = headers
        .iter()
        .try_fold(request, |request, (name, value)| {
            request.secret_header(name, value)
        })
        .map_err(|failure| failure.to_string())?;
    let answer = egress
        .call(request)
        .await
        .map_err(|failure| failure.to_string())?;
    if !(200..300).contains(&answer.status) {
        return Err(format!(
            "it answered {}; check the webhook's URL and secret against the connection",
            answer.status
        ));
    }
    let mut outbox = shared.outbox();
    for key in &keys {
        outbox.taken(key).map_err(|error| error.to_string())?;
    }
    Ok(())
}
