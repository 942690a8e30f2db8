//! A person's yes or no to a message that waits for one.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::hold::{Again, decide_again};
use jiff::Timestamp;
use serde_json::json;
use tidings_core::decide::Verdict;
use tidings_core::{DecisionStage, MessageId, MessageStatus, Provenance, TenantId, WaitsFor};
use tidings_store::Conn;
use tidings_store::events::{self, NewEvent};
use tidings_store::messages::outcome::{self, MessageMove};
use tidings_store::messages::pending;

impl Engine {
    /// Approves a message; the rules are asked again as of now, and what they say is returned.
    ///
    /// # Errors
    /// When there is no such message, or it does not wait for approval.
    pub async fn approve(&self, tenant: TenantId, message: MessageId) -> Result<Verdict, EngineError> {
        let mut tx = self.inner.tx().await?;
        let verdict = self.approve_within(&mut tx, tenant, message, self.now()).await?;
        tx.commit().await?;
        Ok(verdict)
    }

    /// The yes, in the caller's transaction.
    pub(crate) async fn approve_within(
        &self,
        tx: &mut Conn,
        tenant: TenantId,
        message: MessageId,
        now: Timestamp,
    ) -> Result<Verdict, EngineError> {
        let inner = &self.inner;
        let mut dice = inner.dice();
        if !pending::approve(tx, tenant, message, now).await? {
            return Err(not_waiting(message));
        }
        let waiting = pending::lock(tx, &[(tenant, message)]).await?;
        let due = waiting
            .into_iter()
            .map(|waiting| Again {
                waiting,
                carrier: None,
                stage: DecisionStage::Operator,
            })
            .collect();
        let decided = decide_again(inner, tx, due, &mut dice, now).await?;
        let verdict = decided
            .into_iter()
            .next()
            .map(|one| one.verdict)
            .ok_or_else(|| not_waiting(message))?;
        events::append(tx, &[event(tenant, message, "MessageApproved")], &mut dice, now).await?;
        Ok(verdict)
    }

    /// Refuses a message that waits for approval; it is cancelled.
    ///
    /// # Errors
    /// When there is no such message, or it does not wait for approval.
    pub async fn refuse(&self, tenant: TenantId, message: MessageId) -> Result<(), EngineError> {
        let inner = &self.inner;
        let now = inner.now();
        let mut tx = inner.tx().await?;
        let waiting = pending::lock(&mut tx, &[(tenant, message)]).await?;
        if !waiting
            .iter()
            .any(|one| one.message.waits_for == Some(WaitsFor::Approval))
        {
            return Err(not_waiting(message));
        }
        let refused = MessageMove {
            tenant,
            message,
            from: MessageStatus::Pending,
            to: MessageStatus::Cancelled,
            provenance: Provenance::Inferred,
            because: Some("approval.refused".to_owned()),
        };
        if !outcome::messages(&mut tx, &[refused], now)
            .await?
            .contains(&message)
        {
            return Err(not_waiting(message));
        }
        events::append(
            &mut tx,
            &[event(tenant, message, "MessageRefused")],
            &mut inner.dice(),
            now,
        )
        .await?;
        tx.commit().await?;
        Ok(())
    }
}

pub(crate) fn not_waiting(message: MessageId) -> EngineError {
    EngineError::Conflict {
        problem: format!("message {message} does not wait for approval; look at its status"),
    }
}

fn event(tenant: TenantId, message: MessageId, kind: &str) -> NewEvent {
    NewEvent {
        tenant,
        kind: kind.to_owned(),
        contact: None,
        message: Some(message),
        subject: None,
        data: json!({}),
    }
}
