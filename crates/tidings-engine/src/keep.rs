//! What came to us is kept before anybody is answered: sealed, with the job that applies it (`inbox.rs`). A STOP is obeyed in the
//! same transaction; what only reports shares its commit with whatever else comes at the moment.

use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use crate::mail::KeptMail;
use crate::together::{COMPANY, PATIENCE, together};
use crate::{inbox, reply, unsubscribe, whatsapp};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{Channel, Dice};
use tidings_providers::{InboundMessage, ReportedEvent, TemplateReport, UserLink};
use tidings_queue::coalesce::{CoalesceLimits, Coalescer};
use tidings_store::tracking::inbox::{self as stored, NewWebhook, WebhookTarget};
use tidings_store::{Conn, TenantTx, contacts};

/// Bytes that weigh as much as a webhook more.
const HEAVY: usize = 16 * 1024;

/// Webhooks in a shared commit, and the most that wait for one: the latter holds 128 MiB at most, and one webhook.
const LIMITS: CoalesceLimits = CoalesceLimits {
    batch_weight: 256,
    runners: 2,
    company: COMPANY,
    patience: PATIENCE,
    waiting_weight: 8_192,
    linger: Duration::ZERO,
};

/// What of a webhook is kept until it is applied.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub events: Vec<ReportedEvent>,
    pub inbound: Vec<InboundMessage>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<TemplateReport>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<UserLink>,
    /// A mail as it came, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<KeptMail>,
}

impl Kept {
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.only_reports()
    }

    /// Whether it says nothing but what became of deliveries.
    pub fn only_reports(&self) -> bool {
        self.inbound.is_empty() && self.templates.is_empty() && self.links.is_empty() && self.mail.is_none()
    }
}

/// Keeps webhooks that only report, many in a commit.
pub(crate) type Keeper = Coalescer<NewWebhook, Result<bool, EngineError>>;

/// The keeper of a process.
pub(crate) fn keeper(inner: &Arc<Inner>) -> Keeper {
    let shared = Arc::clone(inner);
    Coalescer::new(LIMITS, inner.tasks.clone(), move |batch| {
        let inner = Arc::clone(&shared);
        Box::pin(async move { keep_together(&inner, batch).await })
    })
}

impl Engine {
    /// Stores what came and its job in one commit; false when the same is stored already.
    pub(crate) async fn keep(
        &self,
        target: &WebhookTarget,
        kept: &Kept,
        digest: Vec<u8>,
        now: Timestamp,
    ) -> Result<bool, EngineError> {
        let content = serde_json::to_vec(kept).map_err(|error| EngineError::Conflict {
            problem: format!("the webhook cannot be kept: {error}"),
        })?;
        let webhook = NewWebhook {
            id: self.dice().uuid(now),
            target: *target,
            digest,
            content,
            received_at: now,
        };
        if kept.only_reports() && preferences_of(target, kept).is_empty() {
            let weight = 1 + webhook.content.len() / HEAVY;
            return self.keeper.submit(weight, webhook).await?;
        }
        let mut tx = self.store().worker_tenant(target.tenant).tx().await?;
        let fresh = write(&self.inner, &mut tx, std::slice::from_ref(&webhook), now).await?;
        if fresh != [true] {
            tx.rollback().await?;
            return Ok(false);
        }
        obey(&mut tx, target, kept, &mut self.dice(), now).await?;
        self.inner.fail.pass("webhook_before_commit");
        tx.commit().await?;
        self.inner.fail.pass("webhook_after_commit");
        Ok(true)
    }
}

/// Keeps webhooks, in one commit where it can be.
async fn keep_together(inner: &Inner, batch: Vec<NewWebhook>) -> Vec<Result<bool, EngineError>> {
    metrics::histogram!("tidings_webhook_batch_size").record(batch.len() as f64);
    together(inner, &batch, |inner, part| Box::pin(keep_all(inner, part))).await
}

async fn keep_all(inner: &Inner, batch: &[NewWebhook]) -> Result<Vec<bool>, EngineError> {
    let mut tx = inner.tx().await?;
    let fresh = write(inner, &mut tx, batch, inner.now()).await?;
    inner.fail.pass("webhook_before_commit");
    tx.commit().await?;
    inner.fail.pass("webhook_after_commit");
    Ok(fresh)
}

/// Stores webhooks with their jobs; says of each whether it is new.
async fn write(
    inner: &Inner,
    conn: &mut Conn,
    batch: &[NewWebhook],
    now: Timestamp,
) -> Result<Vec<bool>, EngineError> {
    let stored = stored::store(conn, inner.store.keyring(), batch).await?;
    let fresh: Vec<bool> = batch.iter().map(|one| stored.contains(&one.id)).collect();
    let new = batch.iter().zip(&fresh).filter(|(_, fresh)| **fresh);
    let jobs = new
        .map(|(one, _)| inbox::job(inner, one.target.tenant, one.id))
        .collect::<Result<Vec<_>, _>>()?;
    tidings_queue::enqueue(conn, &jobs, now).await?;
    Ok(fresh)
}

/// What people want is obeyed before the provider has its answer. Users and contacts are locked first, all at once and in order.
pub(crate) async fn obey(
    tx: &mut TenantTx,
    target: &WebhookTarget,
    kept: &Kept,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let preferences = preferences_of(target, kept);
    let mut users = users_of(kept);
    users.extend(
        preferences
            .iter()
            .filter_map(|event| Some(event.recipient.as_ref()?.expose().clone())),
    );
    whatsapp::lock_users(tx, &users).await?;
    let mut touched = Vec::new();
    for message in &kept.inbound {
        touched.extend(reply::touched(tx, target, message).await?);
    }
    for event in &preferences {
        touched.extend(whatsapp::chooser(tx, event).await?);
    }
    let leaver = kept.mail.as_ref().and_then(|mail| mail.leaver.as_ref());
    if let Some(leaver) = leaver {
        touched.extend(unsubscribe::leaver(tx, leaver.expose()).await?);
    }
    contacts::lock_many(tx, &touched).await?;
    for message in &kept.inbound {
        reply::apply_keyword(tx, target, message, dice, now).await?;
    }
    for event in preferences {
        whatsapp::apply_preference(tx, event, dice, now).await?;
    }
    if let Some(leaver) = leaver {
        unsubscribe::by_mail(tx, leaver.expose(), dice, now).await?;
    }
    Ok(())
}

fn preferences_of<'a>(target: &WebhookTarget, kept: &'a Kept) -> Vec<&'a ReportedEvent> {
    let events = kept.events.iter();
    events
        .filter(|event| whatsapp::is_preference(Some(target.channel), event))
        .collect()
}

/// The users of WhatsApp that a webhook speaks of.
pub(crate) fn users_of(kept: &Kept) -> Vec<String> {
    let authors = kept
        .inbound
        .iter()
        .filter(|message| message.channel == Channel::Whatsapp);
    let linked = kept.links.iter().map(|link| link.user_id.expose().clone());
    authors
        .map(|message| message.from.expose().clone())
        .chain(linked)
        .collect()
}
