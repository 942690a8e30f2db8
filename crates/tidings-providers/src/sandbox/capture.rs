//! Where captured messages go.

use super::faults::Fault;
use crate::contract::{Content, Submission};
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tidings_core::event::DeliveryEventKind;
use tidings_core::redact::Private;
use tidings_core::{Address, Category, Channel};

/// A message the sandbox took.
#[derive(Clone, Debug)]
pub struct Captured {
    /// The submission's reference; taking it twice is one message and one counted duplicate.
    pub reference: String,
    /// The message's id.
    pub message_id: String,
    /// The channel.
    pub channel: Channel,
    /// The category.
    pub category: Category,
    /// The recipient.
    pub to: Private<Address>,
    /// The recipient's display name.
    pub to_name: Option<Private<String>>,
    /// What would have been sent.
    pub content: Private<Content>,
    /// What is to happen to it later, as if a provider reported it.
    pub follow_up: Option<FollowUp>,
}

/// A report that the owner of the capture makes later, in the provider's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowUp {
    /// What is reported.
    pub kind: DeliveryEventKind,
    /// How long after acceptance.
    pub after: Duration,
}

impl Captured {
    /// What there is to capture of a submission.
    pub fn of(submission: &Submission, fault: Option<Fault>) -> Self {
        Self {
            reference: submission.reference.clone(),
            message_id: submission.message_id.clone(),
            channel: submission.channel,
            category: submission.category,
            to: submission.to.clone(),
            to_name: submission.to_name.clone(),
            content: submission.content.clone(),
            follow_up: fault.and_then(Fault::follow_up),
        }
    }
}

/// The sandbox's id of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedId {
    /// The id, as a provider would give it.
    pub provider_message_id: String,
    /// The reference had been taken before.
    pub duplicate: bool,
}

/// Why the capture took nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// Certainly not stored.
    #[error("not stored: {0}")]
    NotStored(String),
    /// Perhaps stored.
    #[error("perhaps stored: {0}")]
    Unknown(String),
}

/// Keeps what the sandbox takes. The engine backs it with a table, one capture per connection.
#[async_trait]
pub trait Capture: Send + Sync + std::fmt::Debug {
    /// Stores a message durably. The same reference again stores nothing and gives the first id with
    /// `duplicate` set.
    async fn accept(&self, captured: Captured) -> Result<AcceptedId, CaptureError>;

    /// The id under which a reference was stored.
    async fn lookup(&self, reference: &str) -> Result<Option<String>, CaptureError>;
}

/// A capture in memory, for tests and previews. Keeps at most 10,000 messages, the oldest go first.
#[derive(Debug, Default)]
pub struct MemoryCapture(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    ids: HashMap<String, String>,
    taken: Vec<Captured>,
    total: u64,
    duplicates: u64,
}

/// The most messages a [`MemoryCapture`] keeps.
const MEMORY_LIMIT: usize = 10_000;

impl MemoryCapture {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The messages taken, in order, without duplicates.
    pub fn taken(&self) -> Vec<Captured> {
        self.lock().taken.clone()
    }

    /// How often a reference came again.
    pub fn duplicates(&self) -> u64 {
        self.lock().duplicates
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Capture for MemoryCapture {
    async fn accept(&self, captured: Captured) -> Result<AcceptedId, CaptureError> {
        let mut memory = self.lock();
        if let Some(id) = memory.ids.get(&captured.reference).cloned() {
            memory.duplicates += 1;
            return Ok(AcceptedId {
                provider_message_id: id,
                duplicate: true,
            });
        }
        if memory.taken.len() >= MEMORY_LIMIT {
            let oldest = memory.taken.remove(0);
            memory.ids.remove(&oldest.reference);
        }
        memory.total += 1;
        let id = format!("sandbox-{}", memory.total);
        memory.ids.insert(captured.reference.clone(), id.clone());
        memory.taken.push(captured);
        Ok(AcceptedId {
            provider_message_id: id,
            duplicate: false,
        })
    }

    async fn lookup(&self, reference: &str) -> Result<Option<String>, CaptureError> {
        Ok(self.lock().ids.get(reference).cloned())
    }
}
