//! Messages from contacts that come by no webhook: answers in the sandbox, messages an integration hands in.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::keep::{self, Kept};
use crate::reply::{self, Answered};
use crate::webhook;
use tidings_core::{ConnectionId, ProviderKind, TenantId};
use tidings_providers::InboundMessage;
use tidings_store::tracking::inbox::WebhookTarget;

impl Engine {
    /// Takes a message in as a webhook's would be, keywords obeyed before this returns. The same `dedupe_key` over the same
    /// connection is taken in once.
    ///
    /// # Errors
    /// When it cannot be stored; then nothing is.
    pub async fn receive(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        message: &InboundMessage,
    ) -> Result<&'static str, EngineError> {
        let target = WebhookTarget {
            tenant,
            connection,
            provider: ProviderKind::Sandbox,
            channel: message.channel,
        };
        let mut dice = self.dice();
        let now = self.now();
        let mut tx = self.store().worker_tenant(tenant).tx().await?;
        let mut message = message.clone();
        webhook::bound_message(&mut message);
        let kept = Kept {
            inbound: vec![message.clone()],
            ..Kept::default()
        };
        keep::obey(&mut tx, &target, &kept, &mut dice, now).await?;
        reply::store(
            &self.inner,
            &mut tx,
            connection,
            &message,
            &Answered::Newest,
            &mut dice,
            now,
        )
        .await?;
        tx.commit().await?;
        Ok(reply::keyword_of(&message).as_str())
    }
}
