//! Open connections, kept for the next message.

use super::dialogue::{Server, close};
use crate::contract::Rejection;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// Servers close a connection that stays silent for some minutes; well before, it is given up.
const LONGEST_IDLE: Duration = Duration::from_secs(45);
/// Messages over one connection; many servers allow 100.
const MOST_MESSAGES: u32 = 100;

/// A bounded pool.
#[derive(Debug)]
pub struct Pool {
    server: Server,
    idle: Mutex<Vec<Pooled>>,
    permits: Semaphore,
}

/// A connection with its history.
pub struct Pooled {
    /// The connection.
    pub connection: AsyncSmtpConnection,
    /// It has carried a message before.
    pub used: bool,
    messages: u32,
    idle_since: Instant,
}

impl std::fmt::Debug for Pooled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pooled")
            .field("messages", &self.messages)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// An empty pool of at most so many connections.
    pub fn new(server: Server, connections: usize) -> Self {
        Self {
            server,
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(connections),
        }
    }

    /// A permit for one connection; nothing when none came free in time.
    pub async fn permit(&self, deadline: Instant) -> Option<SemaphorePermit<'_>> {
        timeout_at(deadline, self.permits.acquire()).await.ok()?.ok()
    }

    /// A kept connection that is still young, else a new one.
    pub async fn take(&self, deadline: Instant) -> Result<Pooled, Rejection> {
        while let Some(kept) = self.pop() {
            if kept.idle_since.elapsed() < LONGEST_IDLE {
                return Ok(kept);
            }
            close(kept.connection).await;
        }
        self.fresh(deadline).await
    }

    /// A new connection.
    pub async fn fresh(&self, deadline: Instant) -> Result<Pooled, Rejection> {
        let connection = self.server.open(deadline).await?;
        Ok(Pooled {
            connection,
            used: false,
            messages: 0,
            idle_since: Instant::now(),
        })
    }

    /// Keeps a connection for the next message, or ends it when it has carried enough.
    pub async fn put_back(&self, mut pooled: Pooled) {
        pooled.messages += 1;
        if pooled.messages >= MOST_MESSAGES || pooled.connection.has_broken() {
            close(pooled.connection).await;
            return;
        }
        pooled.used = true;
        pooled.idle_since = Instant::now();
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(pooled);
    }

    fn pop(&self) -> Option<Pooled> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}
