//! Callers that submit at a pace, each message until it is acknowledged, whatever becomes of the process meanwhile.

use crate::process::Installation;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How many callers submit at once, and how often each does.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Callers.
    pub callers: usize,
    /// From one submission of a caller to its next.
    pub every: Duration,
}

/// A message to a recipient of its own.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The recipient, and under `@example.com` the address.
    pub name: String,
    /// The request.
    pub body: Value,
}

impl Letter {
    /// A message that goes at once, at any hour.
    pub fn new(name: &str) -> Self {
        let body = json!({
            "to": { "contact": { "external_id": name, "email": address(name) } },
            "message_type": "proof", "urgency": "critical", "category": "transactional",
            "content": { "subject": "Proof", "body": "Sent once, or not at all." },
            "source_reference": name,
        });
        Self {
            name: name.to_owned(),
            body,
        }
    }
}

/// The address of a recipient.
pub fn address(name: &str) -> String {
    format!("{name}@example.com")
}

/// What callers submitted, and what they were told.
#[derive(Debug, Default)]
pub struct Load {
    /// Message ids by address.
    acknowledged: Mutex<HashMap<String, String>>,
    /// How often each status was the answer.
    answers: Mutex<BTreeMap<u16, u64>>,
    /// Calls without an answer.
    unanswered: Mutex<u64>,
    stop: CancellationToken,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Load {
    /// Submits until [`Load::stop`]. The names begin with `prefix`.
    pub async fn run(&self, installation: &Installation, pace: Pace, prefix: &str) {
        let callers = (0..pace.callers).map(|caller| self.call(installation, pace.every, prefix, caller));
        futures::future::join_all(callers).await;
    }

    async fn call(&self, installation: &Installation, every: Duration, prefix: &str, caller: usize) {
        // What was missed is made up for.
        let mut pace = tokio::time::interval(every);
        for number in 0u64.. {
            let letter = Letter::new(&format!("{prefix}{caller}-{number}"));
            tokio::select! {
                _ = pace.tick() => {}
                () = self.stop.cancelled() => return,
            }
            while self.submit(installation, &letter).await.is_none() {
                tokio::select! {
                    () = tokio::time::sleep(every) => {}
                    () = self.stop.cancelled() => return,
                }
            }
        }
    }

    /// Submits one message under an idempotency key of its own; its id where it was acknowledged. A lost answer is asked for
    /// by submitting the same again.
    pub async fn submit(&self, installation: &Installation, letter: &Letter) -> Option<String> {
        self.submit_as(installation, &installation.key, letter).await
    }

    /// The same with another tenant's key.
    pub async fn submit_as(&self, installation: &Installation, key: &str, letter: &Letter) -> Option<String> {
        let Ok((status, answer)) = installation.submit_as(key, &letter.body, &letter.name).await else {
            *lock(&self.unanswered) += 1;
            return None;
        };
        *lock(&self.answers).entry(status).or_default() += 1;
        let id = answer["message_id"]
            .as_str()
            .filter(|_| (200..300).contains(&status))?;
        lock(&self.acknowledged).insert(address(&letter.name), id.to_owned());
        Some(id.to_owned())
    }

    /// Ends every caller after the call it is in.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Ids of acknowledged messages, by address.
    pub fn acknowledged(&self) -> HashMap<String, String> {
        lock(&self.acknowledged).clone()
    }

    /// How many messages were acknowledged.
    pub fn count(&self) -> usize {
        lock(&self.acknowledged).len()
    }

    /// How often each status was the answer.
    pub fn answers(&self) -> BTreeMap<u16, u64> {
        lock(&self.answers).clone()
    }

    /// Calls without an answer.
    pub fn unanswered(&self) -> u64 {
        *lock(&self.unanswered)
    }
}
