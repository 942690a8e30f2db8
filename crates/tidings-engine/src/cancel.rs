//! Withdrawing a message, as long as nothing has begun to leave.

use crate::engine::Engine;
use crate::error::EngineError;
use serde_json::json;
use tidings_core::{MessageId, TenantId};
use tidings_store::events::{self, NewEvent};
use tidings_store::messages::cancel::{self, Cancelled};

impl Engine {
    /// Withdraws a message. Its job finds nothing left to do and ends as cancelled.
    ///
    /// # Errors
    /// When there is no such message, or a call to a provider has begun.
    pub async fn cancel(&self, tenant: TenantId, message: MessageId) -> Result<(), EngineError> {
        let inner = &self.inner;
        let now = inner.now();
        let mut tx = inner.tx().await?;
        match cancel::cancel(&mut tx, tenant, message, now).await? {
            Cancelled::NotFound => Err(EngineError::NotFound {
                what: "message",
                id: message.to_string(),
            }),
            Cancelled::TooLate { status } => Err(EngineError::Conflict {
                problem: format!(
                    "message {message} cannot be withdrawn any more: it is {status}, or a call has begun"
                ),
            }),
            Cancelled::Done { .. } => {
                let event = NewEvent {
                    tenant,
                    kind: "MessageCancelled".to_owned(),
                    contact: None,
                    message: Some(message),
                    subject: None,
                    data: json!({}),
                };
                events::append(&mut tx, &[event], &mut inner.dice(), now).await?;
                tx.commit().await?;
                Ok(())
            }
        }
    }
}
