//! What was accepted: in memory within a bound, and in a file that is written through before the answer leaves.

mod book;
mod file;

pub(crate) use book::{Booking, Copy, id_bytes};
pub use book::{Query, Summary};

use crate::vendor::Vendor;
use book::Book;
use file::File;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tidings_core::redact::Private;
use tokio::sync::watch;

/// Something a vendor took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place, from 1.
    pub seq: u64,
    /// Who took it.
    pub vendor: Vendor,
    /// The account: a phone number's id, an account's id, or the name it was set up under.
    pub account: String,
    /// The sender's reference, in the field the vendor echoes or takes as idempotency key.
    pub reference: Option<String>,
    /// The sender's id of the message, where the vendor has a field for it.
    pub message_id: Option<String>,
    /// The vendor's id.
    pub provider_id: String,
    /// The recipient.
    pub recipient: Private<String>,
    /// When.
    pub at: Timestamp,
    /// SHA-256 of the request's body.
    pub body_sha256: String,
    /// The same call under the same idempotency key came before: answered as then, and nothing was sent again.
    pub replay: bool,
    /// What lookups and reports need of the request.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(crate) about: Private<Map<String, Value>>,
}

fn is_empty(about: &Private<Map<String, Value>>) -> bool {
    about.expose().is_empty()
}

impl Entry {
    /// A text of what the request held.
    pub(crate) fn about(&self, name: &str) -> Option<&str> {
        self.about.expose().get(name).and_then(Value::as_str)
    }
}

/// Why the ledger cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be read or written.
    #[error("the ledger {path} cannot be kept: {source}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A line in the middle is no entry.
    #[error("the ledger {path} is damaged in line {line}; move it away to begin a new one")]
    Damaged {
        /// Which file.
        path: String,
        /// Which line, from 1.
        line: usize,
    },
    /// Writing has failed before.
    #[error("the ledger file can no longer be written; nothing more is accepted")]
    Closed,
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    book: Mutex<Book>,
    file: Option<File>,
    accepted: watch::Sender<u64>,
}

impl Ledger {
    /// Opens the file, if there is one, and reads what it holds.
    pub(crate) fn open(path: Option<&Path>, most: usize) -> Result<Self, LedgerError> {
        let mut book = Book::new(most);
        let file = match path {
            None => None,
            Some(path) => {
                let (file, entries) = File::open(path)?;
                for entry in entries {
                    book.restore(entry);
                }
                Some(file)
            }
        };
        let accepted = watch::Sender::new(book.summary().accepted);
        Ok(Self {
            book: Mutex::new(book),
            file,
            accepted,
        })
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Books what a vendor takes, and returns once it cannot be lost any more.
    pub(crate) async fn enter(&self, booking: Booking) -> Result<Vec<Entry>, LedgerError> {
        let entries = self.book().enter(booking);
        if let Some(file) = &self.file
            && let Err(error) = file.append(&entries).await
        {
            self.book().withdraw(&entries);
            return Err(error);
        }
        let taken = entries.iter().filter(|entry| !entry.replay).count();
        self.accepted.send_modify(|accepted| *accepted += taken as u64);
        Ok(entries)
    }

    /// The earlier entry under an idempotency key, if the key is still remembered.
    pub(crate) fn under_key(
        &self,
        vendor: Vendor,
        account: &str,
        key: &str,
        now: Timestamp,
    ) -> Option<Arc<Entry>> {
        self.book().under_key(vendor, account, key, now)
    }

    /// Forgets everything, in the file too.
    pub async fn clear(&self) -> Result<(), LedgerError> {
        if let Some(file) = &self.file {
            file.clear().await?;
        }
        self.book().clear();
        self.accepted.send_replace(0);
        Ok(())
    }

    /// Entries in order, at most `query.limit`.
    pub fn entries(&self, query: &Query) -> Vec<Entry> {
        let page = self.page(query);
        page.iter().map(|entry| Entry::clone(entry)).collect()
    }

    /// The same, shared. The book is free between one look and the next.
    pub(crate) fn page(&self, query: &Query) -> Vec<Arc<Entry>> {
        let (mut query, mut found) = (query.clone(), Vec::new());
        loop {
            let look = self.book().look(&query, query.wanted() - found.len());
            found.extend(look.found);
            match look.until {
                Some(until) if found.len() < query.wanted() => query.after = until,
                _ => return found,
            }
        }
    }

    /// The count.
    pub fn summary(&self) -> Summary {
        self.book().summary()
    }

    /// How often a reference was accepted by a vendor, replays left out.
    pub fn count(&self, vendor: Vendor, reference: &str) -> u32 {
        self.book().count(vendor, reference)
    }

    /// How many were accepted; changes wake whoever waits.
    pub(crate) fn accepted(&self) -> watch::Receiver<u64> {
        self.accepted.subscribe()
    }
}
