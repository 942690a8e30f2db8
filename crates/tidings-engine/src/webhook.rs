//! Webhooks in: verified over their raw bytes, kept (`keep.rs`), answered at once, applied by a job (`inbox.rs`).

use crate::engine::Engine;
use crate::error::EngineError;
use crate::keep::Kept;
use std::str::FromStr;
use std::sync::Arc;
use tidings_core::breaker::Breaker;
use tidings_core::{ConnectionId, ProviderKind};
use tidings_providers::{
    InboundMessage, Provider, ReportedEvent, WebhookParsed, WebhookRefusal, WebhookRequest, WebhookResponse,
};
use tidings_store::messages::routes::RouteRow;
use tidings_store::tracking::inbox::{self as stored, WebhookConnection, WebhookTarget};

/// The most events and messages taken from one webhook; SendGrid and Meta send up to a thousand.
const MAX_ELEMENTS: usize = 5_000;

/// The most files told of with one message.
const MOST_MEDIA: usize = 200;

/// Why a webhook was not taken. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// No such connection, or another provider's: the same answer.
    #[error("there is no connection for this webhook; check the URL against the connection's page")]
    UnknownConnection,
    /// The signature, account or body is wrong.
    #[error(transparent)]
    Refused(#[from] WebhookRefusal),
    /// The connection's own settings are wrong, so nothing can be verified.
    #[error("the connection cannot be used: {0}")]
    Misconfigured(String),
    /// It could not be stored; the provider should send it again.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A connection whose webhook is about to be read.
#[derive(Debug)]
pub struct WebhookReceiver {
    target: WebhookTarget,
    provider: Arc<dyn Provider>,
}

impl Engine {
    /// The connection that a webhook's URL names, before its body is read: a stranger's body costs nothing.
    pub async fn webhook_receiver(
        &self,
        provider: &str,
        connection: &str,
    ) -> Result<WebhookReceiver, WebhookError> {
        let provider = ProviderKind::from_str(provider).map_err(|_| WebhookError::UnknownConnection)?;
        let connection = ConnectionId::from_str(connection).map_err(|_| WebhookError::UnknownConnection)?;
        let mut conn = self.inner.conn().await?;
        let found = stored::connection(&mut conn, connection)
            .await
            .map_err(EngineError::from)?;
        let found = found
            .filter(|found| found.target.provider == provider)
            .ok_or(WebhookError::UnknownConnection)?;
        let keyring = self.store().keyring();
        let key = keyring
            .tenant_key(&mut conn, found.target.tenant)
            .await
            .map_err(EngineError::from)?;
        let target = found.target;
        let provider = self
            .inner
            .providers
            .of(&key, &route(found))
            .map_err(WebhookError::Misconfigured)?;
        Ok(WebhookReceiver { target, provider })
    }

    /// Takes a webhook: verified, stored and acknowledged. The answer is what the provider expects.
    pub async fn webhook(
        &self,
        receiver: &WebhookReceiver,
        request: &WebhookRequest,
    ) -> Result<WebhookResponse, WebhookError> {
        let result = self.take(receiver, request).await;
        let outcome = match &result {
            Ok(_) => "accepted",
            Err(WebhookError::Engine(_)) => "failed",
            Err(_) => "refused",
        };
        let provider = receiver.target.provider.as_str();
        metrics::counter!("tidings_webhooks_total", "provider" => provider, "outcome" => outcome)
            .increment(1);
        result
    }

    async fn take(
        &self,
        receiver: &WebhookReceiver,
        request: &WebhookRequest,
    ) -> Result<WebhookResponse, WebhookError> {
        let target = &receiver.target;
        let now = self.now();
        let WebhookParsed {
            mut events,
            mut inbound,
            response,
            skipped,
            templates,
            links,
        } = receiver.provider.webhook(request, now).await?;
        for skipped in skipped.iter().take(20) {
            tracing::warn!(connection = %target.connection, reason = %skipped, "an element of a webhook was skipped");
        }
        if events.len() > MAX_ELEMENTS || inbound.len() > MAX_ELEMENTS {
            let limit = format!("more than {MAX_ELEMENTS} elements; send them in smaller webhooks");
            return Err(WebhookRefusal::Malformed(limit).into());
        }
        // A channel's own connection speaks of no other channel.
        inbound
            .retain(|message| message.channel == target.channel || target.provider == ProviderKind::Sandbox);
        events.iter_mut().for_each(bound);
        inbound.iter_mut().for_each(bound_message);
        let kept = Kept {
            events,
            inbound,
            templates,
            links,
            mail: None,
        };
        if !kept.is_empty() {
            self.keep(target, &kept, digest(request), now).await?;
        }
        Ok(response)
    }
}

/// What the provider is built from, as routing reads it.
pub(crate) fn route(found: WebhookConnection) -> RouteRow {
    RouteRow {
        tenant: found.target.tenant,
        id: found.target.connection,
        name: String::new(),
        channel: found.target.channel,
        provider: found.target.provider,
        config: found.config,
        credentials_sealed: found.credentials_sealed,
        priority: 0,
        weight: 0,
        rate_limit: None,
        call_limit: None,
        breaker: Breaker::default(),
        breaker_version: 0,
    }
}

/// The body and what was signed beside it: a provider's repetition is the same to the byte, another status of the same
/// message is not.
fn digest(request: &WebhookRequest) -> Vec<u8> {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(request.url.as_bytes());
    context.update(b"\n");
    context.update(&request.body);
    context.finish().as_ref().to_vec()
}

/// A text cut to what the tables keep; they keep no NUL.
fn cut(text: &mut String, most: usize) {
    text.retain(|c| c != '\0');
    if let Some((at, _)) = text.char_indices().nth(most) {
        text.truncate(at);
    }
}

/// What a message says beside its text, cut to what the tables keep.
pub(crate) fn bound_message(message: &mut InboundMessage) {
    cut(&mut message.dedupe_key, 500);
    for id in [&mut message.provider_message_id, &mut message.in_reply_to]
        .into_iter()
        .flatten()
    {
        cut(id, 500);
    }
    message.media.truncate(MOST_MEDIA);
    for media in &mut message.media {
        cut(&mut media.content_type, 200);
        cut(&mut media.location, 2_000);
    }
}

/// Texts of providers are cut to what the tables keep.
pub(crate) fn bound(event: &mut ReportedEvent) {
    cut(&mut event.dedupe_key, 500);
    if let Some(detail) = &mut event.detail {
        cut(detail, 2_000);
    }
    if let Some(id) = &mut event.provider_message_id {
        cut(id, 500);
    }
    if let Some((_, code)) = &mut event.error {
        cut(code, 64);
    }
}
