//! Read marks and the typing indicator: told to the provider a message came from, at once and without the queue, since
//! they send nothing and are worth nothing later.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::webhook::route;
use tidings_core::{ErrorCategory, TenantId};
use tidings_providers::{Rejection, SendOutcome, Signal, UNSUPPORTED};
use tidings_store::tracking::{inbound, inbox};
use uuid::Uuid;

/// What the author of a message is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalKind {
    /// It was read.
    Read,
    /// Somebody writes an answer; it was read as well.
    Typing,
}

/// Why the author was not told. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// The tenant has no such message, or it is too old to be kept.
    #[error("there is no inbound message {0}")]
    UnknownMessage(Uuid),
    /// The channel has no such thing, or the message came by none of ours.
    #[error("the author cannot be told: {0}")]
    Unsupported(String),
    /// The connection it came by was removed, or its settings are wrong.
    #[error("the connection the message came by cannot be used: {0}")]
    Connection(String),
    /// The provider said no.
    #[error("the provider refused it ({code}, {category}): {detail}")]
    Refused {
        /// What kind of no.
        category: ErrorCategory,
        /// The provider's code.
        code: String,
        /// What it said.
        detail: String,
    },
    /// Nobody knows; telling again does no harm.
    #[error("the provider gave no answer: {0}; try again")]
    Unanswered(String),
    /// Our own side failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Engine {
    /// Tells the author of an inbound message that it was read, or that an answer is being written. Telling the same again is
    /// harmless; a message that was marked as read is not marked once more.
    pub async fn signal(&self, tenant: TenantId, message: Uuid, kind: SignalKind) -> Result<(), SignalError> {
        let store = self.store().worker_tenant(tenant);
        let mut tx = store.tx().await.map_err(EngineError::from)?;
        let found = inbound::reference(&mut tx, message)
            .await
            .map_err(EngineError::from)?
            .ok_or(SignalError::UnknownMessage(message))?;
        let connection = inbox::connection(&mut tx, found.connection)
            .await
            .map_err(EngineError::from)?
            .filter(|connection| connection.target.tenant == tenant)
            .ok_or_else(|| SignalError::Connection("it was removed".to_owned()))?;
        let keyring = tx.keyring();
        let key = keyring
            .tenant_key(&mut tx, tenant)
            .await
            .map_err(EngineError::from)?;
        // No transaction waits on the network.
        tx.rollback().await.map_err(EngineError::from)?;
        if kind == SignalKind::Read && found.read_at.is_some() {
            return Ok(());
        }
        let no_id = || SignalError::Unsupported("it has no id at its provider".to_owned());
        let provider_message_id = found.provider_message_id.ok_or_else(no_id)?;
        let signal = match kind {
            SignalKind::Read => Signal::Read { provider_message_id },
            SignalKind::Typing => Signal::Typing { provider_message_id },
        };
        let provider = self
            .inner
            .providers
            .of(&key, &route(connection))
            .map_err(SignalError::Connection)?;
        told(provider.signal(&signal).await)?;
        if found.read_at.is_none() {
            let mut tx = store.tx().await.map_err(EngineError::from)?;
            inbound::mark_read(&mut tx, message, self.now())
                .await
                .map_err(EngineError::from)?;
            tx.commit().await.map_err(EngineError::from)?;
        }
        Ok(())
    }
}

fn told(outcome: SendOutcome) -> Result<(), SignalError> {
    match outcome {
        SendOutcome::Accepted { .. } => Ok(()),
        SendOutcome::Unknown { detail } => Err(SignalError::Unanswered(detail)),
        SendOutcome::Rejected(Rejection { code, detail, .. }) if code == UNSUPPORTED => {
            Err(SignalError::Unsupported(detail))
        }
        SendOutcome::Rejected(Rejection {
            category,
            code,
            detail,
            ..
        }) => Err(SignalError::Refused {
            category,
            code,
            detail,
        }),
    }
}
