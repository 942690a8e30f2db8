//! The sandbox's memory: what it takes is a row of its ledger, written in shared commits.

use crate::error::EngineError;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidings_core::redact::Private;
use tidings_core::{Channel, Clock, ConnectionId, Dice, TenantId};
use tidings_providers::Content;
use tidings_providers::sandbox::{AcceptedId, Capture, CaptureError, Captured};
use tidings_queue::coalesce::{CoalesceLimits, Coalescer};
use tidings_store::messages::sandbox::{self as ledger, SandboxEntry, SandboxTaken};
use tidings_store::{Place, Store, TenantKey};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// Where recipient and content of a captured message are sealed.
const fn place(tenant: TenantId, entry: Uuid) -> Place {
    Place::new("sandbox_messages", "sealed", tenant, entry)
}

/// What of a captured message is sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    to: Private<String>,
    to_name: Option<Private<String>>,
    content: Private<Content>,
}

/// Takes captures of all sandbox connections of the process and writes them together.
#[derive(Clone, Debug)]
pub(crate) struct SandboxLine {
    store: Store,
    line: Coalescer<Entry, Result<SandboxTaken, String>>,
}

#[derive(Debug)]
struct Entry {
    tenant: TenantId,
    connection: ConnectionId,
    captured: Captured,
}

impl SandboxLine {
    pub fn new(store: Store, clock: Arc<dyn Clock>, seed: u64, tasks: TaskTracker) -> Self {
        let limits = CoalesceLimits {
            batch_weight: 512,
            runners: 2,
            // The calls of a batch come at once: all but the first are the next batch, which waits for nothing.
            company: 1,
            patience: Duration::ZERO,
            waiting_weight: 100_000,
            linger: Duration::ZERO,
        };
        let dice = Arc::new(Mutex::new(Dice::from_seed(seed ^ 0x5a5a_5a5a)));
        let handle = store.clone();
        let line = Coalescer::new(limits, tasks, move |entries: Vec<Entry>| {
            let (store, clock, dice) = (handle.clone(), Arc::clone(&clock), Arc::clone(&dice));
            Box::pin(async move {
                let count = entries.len();
                let dice = {
                    let mut dice = dice.lock().unwrap_or_else(PoisonError::into_inner);
                    Dice::from_seed(dice.below(u64::MAX))
                };
                match take(&store, entries, dice, clock.now()).await {
                    Ok(taken) => taken.into_iter().map(Ok).collect(),
                    Err(error) => (0..count).map(|_| Err(error.to_string())).collect(),
                }
            })
        });
        Self { store, line }
    }

    /// The memory of one connection.
    pub fn of(&self, tenant: TenantId, connection: ConnectionId) -> Arc<dyn Capture> {
        Arc::new(SandboxMemory {
            line: self.clone(),
            tenant,
            connection,
        })
    }
}

async fn take(
    store: &Store,
    entries: Vec<Entry>,
    mut dice: Dice,
    now: Timestamp,
) -> Result<Vec<SandboxTaken>, EngineError> {
    let mut conn = store.worker_conn().await?;
    let tenants: Vec<TenantId> = entries.iter().map(|entry| entry.tenant).collect();
    let keys = store.keyring().tenant_keys(&mut conn, &tenants).await?;
    let mut rows = Vec::with_capacity(entries.len());
    for entry in entries {
        if let Some(key) = keys.get(&entry.tenant) {
            rows.push(row(entry, key, dice.uuid(now), now)?);
        }
    }
    drop(conn);
    let mut tx = store.worker_tx().await?;
    let taken = ledger::take(&mut tx, &rows, now).await?;
    tx.commit().await?;
    Ok(taken)
}

fn row(entry: Entry, key: &TenantKey, id: Uuid, now: Timestamp) -> Result<SandboxEntry, EngineError> {
    let Entry {
        tenant,
        connection,
        captured,
    } = entry;
    let sealed = Sealed {
        to: Private::new(captured.to.expose().as_str().to_owned()),
        to_name: captured.to_name,
        content: captured.content,
    };
    let json = serde_json::to_vec(&sealed).unwrap_or_default();
    let follow_up = captured.follow_up.map(|follow| {
        let after = SignedDuration::try_from(follow.after).unwrap_or(SignedDuration::ZERO);
        (
            follow.kind.as_str().to_owned(),
            now.saturating_add(after).unwrap_or(now),
        )
    });
    Ok(SandboxEntry {
        tenant,
        id,
        connection,
        reference: captured.reference,
        message_id: captured.message_id,
        provider_message_id: format!("sandbox-{}", id.simple()),
        channel: captured.channel,
        recipient_index: key.blind_index(captured.to.expose()).as_bytes().to_vec(),
        sealed: key.seal(&place(tenant, id), &json)?,
        follow_up,
    })
}

#[derive(Debug)]
struct SandboxMemory {
    line: SandboxLine,
    tenant: TenantId,
    connection: ConnectionId,
}

#[async_trait]
impl Capture for SandboxMemory {
    async fn accept(&self, captured: Captured) -> Result<AcceptedId, CaptureError> {
        let entry = Entry {
            tenant: self.tenant,
            connection: self.connection,
            captured,
        };
        match self.line.line.submit(1, entry).await {
            Ok(Ok(taken)) => Ok(AcceptedId {
                provider_message_id: taken.provider_message_id,
                duplicate: taken.duplicate,
            }),
            // A failed commit may still have reached the disk.
            Ok(Err(detail)) => Err(CaptureError::Unknown(detail)),
            Err(_) => Err(CaptureError::NotStored(
                "the engine is stopping or too much is waiting".to_owned(),
            )),
        }
    }

    async fn lookup(&self, reference: &str) -> Result<Option<String>, CaptureError> {
        let failed = |error: tidings_store::StoreError| CaptureError::Unknown(error.to_string());
        let mut conn = self.line.store.worker_conn().await.map_err(failed)?;
        ledger::look_up(&mut conn, self.tenant, self.connection, reference)
            .await
            .map_err(failed)
    }
}

/// A captured message, opened: what the sandbox's mailbox shows.
#[derive(Clone, Debug, Serialize)]
pub struct SandboxMail {
    /// The entry's id; a page goes on below it.
    pub id: Uuid,
    /// Its channel.
    pub channel: Channel,
    /// The message's id.
    pub message_id: String,
    /// The submission's reference.
    pub reference: String,
    /// The connection that took it.
    pub connection: ConnectionId,
    /// It had been taken before.
    pub duplicate: bool,
    /// When it was taken.
    pub captured_at: Timestamp,
    /// To whom.
    pub to: Private<String>,
    /// The recipient's display name.
    pub to_name: Option<Private<String>>,
    /// What would have been sent.
    pub content: Private<Content>,
}

/// A page of a tenant's sandbox mailbox, newest first.
pub async fn sandbox_mail(
    store: &Store,
    tenant: TenantId,
    below: Option<Uuid>,
    limit: u32,
) -> Result<Vec<SandboxMail>, EngineError> {
    let mut tx = store.tenant(tenant).tx().await?;
    let key = store.keyring().tenant_key(&mut tx, tenant).await?;
    let rows = ledger::list(&mut tx, tenant, below, i64::from(limit.min(500))).await?;
    tx.commit().await?;
    let mut mails = Vec::with_capacity(rows.len());
    for row in rows {
        let json = key.open(&place(tenant, row.id), &row.sealed)?;
        let sealed: Sealed = serde_json::from_slice(&json)
            .map_err(|error| tidings_store::StoreError::json("sandbox_messages.sealed", &error))?;
        mails.push(SandboxMail {
            id: row.id,
            channel: row.channel,
            message_id: row.message_id,
            reference: row.reference,
            connection: row.connection,
            duplicate: row.duplicate,
            captured_at: row.captured_at,
            to: sealed.to,
            to_name: sealed.to_name,
            content: sealed.content,
        });
    }
    Ok(mails)
}
