//! Webhooks in: verified over their raw bytes, stored sealed, answered at once, applied by a job. A STOP is applied
//! before the answer, in the same transaction.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::reply;
use crate::track;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use tidings_core::job::JobKind;
use tidings_core::{ConnectionId, ProviderKind, TenantId};
use tidings_providers::{InboundMessage, ReportedEvent, WebhookRefusal, WebhookRequest, WebhookResponse};
use tidings_queue::{ClaimedJob, NewJob};
use tidings_store::tracking::inbox::{self, WebhookTarget};
use uuid::Uuid;

/// The most events and messages taken from one webhook; SendGrid and Meta send up to a thousand.
const MAX_ELEMENTS: usize = 5_000;

/// Why a webhook was not taken. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// No such connection, or another provider's: the same answer.
    #[error("there is no connection for this webhook; check the URL against the connection's page")]
    UnknownConnection,
    /// The signature, account or body is wrong.
    #[error(transparent)]
    Refused(#[from] WebhookRefusal),
    /// It could not be stored; the provider should send it again.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What of a webhook is kept until it is applied.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    events: Vec<ReportedEvent>,
    inbound: Vec<InboundMessage>,
}

/// The payload of a `webhook.process` job.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    webhook_id: Uuid,
}

impl Engine {
    /// Takes a webhook of a provider for a connection. The answer is the body that the provider expects.
    pub async fn webhook(
        &self,
        provider: &str,
        connection: &str,
        request: &WebhookRequest,
    ) -> Result<WebhookResponse, WebhookError> {
        let target = self.webhook_target(provider, connection).await?;
        let now = self.now();
        let result = self.verified(&target, request).await;
        let outcome = if result.is_ok() { "accepted" } else { "refused" };
        metrics::counter!("tidings_webhooks_total", "provider" => target.provider.as_str(), "outcome" => outcome)
            .increment(1);
        let (mut parsed, digest) = result?;
        for skipped in &parsed.skipped {
            tracing::warn!(connection = %target.connection, reason = %skipped, "an element of a webhook was skipped");
        }
        parsed.events.truncate(MAX_ELEMENTS);
        parsed.inbound.truncate(MAX_ELEMENTS);
        let response = parsed.response;
        let kept = Kept { events: parsed.events, inbound: parsed.inbound };
        if !kept.events.is_empty() || !kept.inbound.is_empty() {
            self.keep_webhook(&target, &kept, &digest, now).await?;
        }
        Ok(response)
    }

    async fn webhook_target(&self, provider: &str, connection: &str) -> Result<WebhookTarget, WebhookError> {
        let provider = ProviderKind::from_str(provider).map_err(|_| WebhookError::UnknownConnection)?;
        let connection = ConnectionId::from_str(connection).map_err(|_| WebhookError::UnknownConnection)?;
        let mut conn = self.inner.connection().await?;
        let target = inbox::target(&mut conn, connection).await.map_err(EngineError::from)?;
        target.filter(|target| target.provider == provider).ok_or(WebhookError::UnknownConnection)
    }

    async fn verified(
        &self,
        target: &WebhookTarget,
        request: &WebhookRequest,
    ) -> Result<(tidings_providers::WebhookParsed, Vec<u8>), WebhookError> {
        let provider = self.inner.provider_of(target.tenant, target.connection).await?;
        let parsed = provider.webhook(request, self.now())?;
        // The body and what was signed beside it: a provider's repetition is the same to the byte, another status of
        // the same message is not.
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        context.update(request.url.as_bytes());
        context.update(b"\n");
        context.update(&request.body);
        Ok((parsed, context.finish().as_ref().to_vec()))
    }

    async fn keep_webhook(
        &self,
        target: &WebhookTarget,
        kept: &Kept,
        digest: &[u8],
        now: jiff::Timestamp,
    ) -> Result<(), EngineError> {
        let content = serde_json::to_vec(kept)
            .map_err(|error| EngineError::Conflict { problem: format!("the webhook cannot be kept: {error}") })?;
        let mut dice = self.dice();
        let store = self.store().worker_tenant(target.tenant);
        let mut tx = store.tx().await?;
        let id = dice.uuid(now);
        if inbox::store(&mut tx, id, target, digest, &content, now).await?.is_none() {
            return Ok(tx.rollback().await?);
        }
        for message in &kept.inbound {
            reply::apply_keyword(&mut tx, target, message, &mut dice, now).await?;
        }
        let job = process_job(target.tenant, id)?;
        tidings_queue::enqueue(&mut tx, &[job], now).await?;
        tx.commit().await?;
        Ok(())
    }
}

fn process_job(tenant: TenantId, id: Uuid) -> Result<NewJob, EngineError> {
    let payload = serde_json::value::to_raw_value(&Payload { webhook_id: id })
        .map_err(|error| EngineError::Conflict { problem: error.to_string() })?;
    let kind = JobKind::WebhookProcess;
    let mut job = NewJob::new(tenant, kind, kind.priority(tidings_core::Urgency::High), payload);
    job.source_reference = Some(format!("webhook:{id}"));
    Ok(job)
}

/// Applies a stored webhook. Reports about deliveries nobody knows yet make the job come back: a webhook may be faster
/// than the answer to the call it is about.
pub(crate) async fn process(engine: &Engine, job: &ClaimedJob) -> Result<Processed, EngineError> {
    let payload: Payload = serde_json::from_str(job.payload.get())
        .map_err(|error| EngineError::Conflict { problem: format!("the payload of webhook.process: {error}") })?;
    let now = engine.now();
    let mut dice = engine.dice();
    let store = engine.store().worker_tenant(job.tenant);
    let mut tx = store.tx().await?;
    let Some(stored) = inbox::load(&mut tx, payload.webhook_id).await? else {
        tx.rollback().await?;
        return Ok(Processed::Done);
    };
    let kept: Kept = serde_json::from_slice(&stored.content)
        .map_err(|error| EngineError::Conflict { problem: format!("the stored webhook cannot be read: {error}") })?;
    let patient = job.retry_count < job.max_retries;
    let unmatched =
        track::apply(engine, &mut tx, stored.connection, &kept.events, stored.received_at, &mut dice, now).await?;
    for message in &kept.inbound {
        reply::store(engine, &mut tx, stored.connection, message, &mut dice, now).await?;
    }
    if unmatched > 0 && patient {
        // What was matched is stored and will not be applied twice.
        tx.commit().await?;
        return Ok(Processed::Unmatched(unmatched));
    }
    let failure = (unmatched > 0).then(|| format!("{unmatched} reports are about messages this connection never sent"));
    inbox::mark_processed(&mut tx, payload.webhook_id, failure.as_deref(), now).await?;
    tx.commit().await?;
    Ok(Processed::Done)
}

/// What became of a stored webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processed {
    /// Applied.
    Done,
    /// So many reports found no delivery yet.
    Unmatched(usize),
}
