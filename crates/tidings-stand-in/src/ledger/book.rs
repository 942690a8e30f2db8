//! The ledger in memory.

use super::Entry;
use crate::chance;
use crate::vendor::Vendor;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tidings_core::redact::Private;

/// How long an idempotency key is remembered.
const KEY_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// Entries of one page.
const MOST_OF_A_PAGE: usize = 1_000;
/// Entries that are looked at in one go, so that a search through many holds up nobody who books.
const MOST_IN_ONE_GO: usize = 2_000;

/// What is to be booked, as one.
#[derive(Clone, Debug)]
pub(crate) struct Booking {
    pub vendor: Vendor,
    pub account: String,
    pub provider_id: String,
    pub at: Timestamp,
    pub body_sha256: String,
    pub replay: bool,
    pub copies: Vec<Copy>,
    pub about: Map<String, Value>,
}

/// One message of a call: most calls hold one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Copy {
    pub reference: Option<String>,
    pub message_id: Option<String>,
    pub recipient: String,
}

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Of one vendor.
    pub vendor: Option<Vendor>,
    /// Under one reference.
    pub reference: Option<String>,
    /// Those after this place.
    pub after: u64,
    /// How many at most; 1,000 are the most, and the default.
    pub limit: Option<usize>,
}

/// The count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Accepted messages.
    pub accepted: u64,
    /// Calls answered from an idempotency key.
    pub replayed: u64,
    /// References that one vendor accepted more than once.
    pub duplicates: u64,
    /// Accepted messages by vendor.
    pub by_vendor: std::collections::BTreeMap<Vendor, u64>,
    /// Entries that were let go because there were too many; duplicates of these are not found.
    pub forgotten: u64,
}

impl Query {
    /// How many entries are wanted.
    pub(super) fn wanted(&self) -> usize {
        self.limit.unwrap_or(MOST_OF_A_PAGE).clamp(1, MOST_OF_A_PAGE)
    }
}

/// What one look into the book found.
pub(super) struct Look {
    pub found: Vec<Arc<Entry>>,
    /// The last place that was looked at; none where the book ended.
    pub until: Option<u64>,
}

/// Everything is found by place or by reference without a search: callers wait for one another here.
#[derive(Debug)]
pub(super) struct Book {
    most: usize,
    next: u64,
    entries: VecDeque<Arc<Entry>>,
    /// Places of what was accepted under a reference, replays left out, oldest first.
    by_reference: HashMap<(Vendor, String), Vec<u64>>,
    summary: Summary,
}

impl Book {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            next: 1,
            entries: VecDeque::new(),
            by_reference: HashMap::new(),
            summary: Summary::default(),
        }
    }

    pub(super) fn enter(&mut self, booking: Booking) -> Vec<Entry> {
        let mut made = Vec::with_capacity(booking.copies.len());
        for copy in booking.copies {
            let entry = Entry {
                seq: self.next,
                vendor: booking.vendor,
                account: booking.account.clone(),
                reference: copy.reference,
                message_id: copy.message_id,
                provider_id: booking.provider_id.clone(),
                recipient: Private::new(copy.recipient),
                at: booking.at,
                body_sha256: booking.body_sha256.clone(),
                replay: booking.replay,
                about: Private::new(booking.about.clone()),
            };
            made.push(entry.clone());
            self.restore(entry);
        }
        made
    }

    /// Takes an entry over as it is.
    pub(super) fn restore(&mut self, entry: Entry) {
        self.next = self.next.max(entry.seq + 1);
        if entry.replay {
            self.summary.replayed += 1;
        } else {
            self.summary.accepted += 1;
            *self.summary.by_vendor.entry(entry.vendor).or_default() += 1;
            if let Some(reference) = &entry.reference {
                let places = self
                    .by_reference
                    .entry((entry.vendor, reference.clone()))
                    .or_default();
                places.push(entry.seq);
                self.summary.duplicates += u64::from(places.len() == 2);
            }
        }
        self.entries.push_back(Arc::new(entry));
        while self.entries.len() > self.most {
            if let Some(oldest) = self.entries.pop_front() {
                self.let_go(&oldest);
                self.summary.forgotten += 1;
            }
        }
    }

    /// Takes back what could not be made durable.
    pub(super) fn withdraw(&mut self, entries: &[Entry]) {
        for entry in entries {
            let Ok(at) = self.place(entry.seq) else {
                continue;
            };
            self.entries.remove(at);
            if entry.replay {
                self.summary.replayed -= 1;
                continue;
            }
            self.summary.accepted -= 1;
            if let Some(count) = self.summary.by_vendor.get_mut(&entry.vendor) {
                *count -= 1;
            }
            if entry
                .reference
                .as_ref()
                .is_some_and(|reference| self.count(entry.vendor, reference) == 2)
            {
                self.summary.duplicates -= 1;
            }
            self.let_go(entry);
        }
    }

    /// Where the entry of a place lies.
    fn place(&self, seq: u64) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&seq, |entry| entry.seq)
    }

    fn let_go(&mut self, entry: &Entry) {
        let Some(reference) = entry.reference.clone().filter(|_| !entry.replay) else {
            return;
        };
        let key = (entry.vendor, reference);
        if let Some(places) = self.by_reference.get_mut(&key) {
            places.retain(|place| *place != entry.seq);
            if places.is_empty() {
                self.by_reference.remove(&key);
            }
        }
    }

    pub(super) fn under_key(
        &self,
        vendor: Vendor,
        account: &str,
        key: &str,
        now: Timestamp,
    ) -> Option<Arc<Entry>> {
        let places = self.by_reference.get(&(vendor, key.to_owned()))?;
        let mut latest_first = places.iter().rev().filter_map(|place| {
            let at = self.place(*place).ok()?;
            self.entries.get(at)
        });
        latest_first
            .find(|entry| entry.account == account)
            .filter(|entry| now.duration_since(entry.at) < KEY_LIFE)
            .cloned()
    }

    pub(super) fn clear(&mut self) {
        *self = Self {
            // Ids follow from places: a place is not used twice.
            next: self.next,
            ..Self::new(self.most)
        };
    }

    /// Looks at some of the entries after `query.after`, for at most `wanted` that fit.
    pub(super) fn look(&self, query: &Query, wanted: usize) -> Look {
        let first = self.entries.partition_point(|entry| entry.seq <= query.after);
        let mut look = Look {
            found: Vec::new(),
            until: None,
        };
        for (nth, entry) in self.entries.iter().skip(first).enumerate() {
            if nth == MOST_IN_ONE_GO || look.found.len() == wanted {
                return look;
            }
            look.until = Some(entry.seq);
            if query.vendor.is_none_or(|vendor| vendor == entry.vendor)
                && (query.reference.is_none() || query.reference == entry.reference)
            {
                look.found.push(Arc::clone(entry));
            }
        }
        look.until = None;
        look
    }

    pub(super) fn summary(&self) -> Summary {
        self.summary.clone()
    }

    pub(super) fn count(&self, vendor: Vendor, reference: &str) -> u32 {
        let places = self.by_reference.get(&(vendor, reference.to_owned()));
        places.map_or(0, |places| u32::try_from(places.len()).unwrap_or(u32::MAX))
    }
}

/// The bytes that a vendor's id of the next message is made of: different for every start of a stand-in.
pub(crate) fn id_bytes(seed: u64, started: Timestamp, nth: u64) -> [u8; 32] {
    chance::bytes(
        seed,
        &["id", &started.as_nanosecond().to_string(), &nth.to_string()],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booking(reference: &str, replay: bool) -> Booking {
        Booking {
            vendor: Vendor::Resend,
            account: "default".to_owned(),
            provider_id: "id".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            body_sha256: "hash".to_owned(),
            replay,
            copies: vec![Copy {
                reference: Some(reference.to_owned()),
                ..Copy::default()
            }],
            about: Map::new(),
        }
    }

    #[test]
    fn counts_duplicates_and_replays_apart() {
        let mut book = Book::new(100);
        book.enter(booking("a", false));
        book.enter(booking("a", true));
        book.enter(booking("b", false));
        assert_eq!(book.summary().duplicates, 0);
        for _ in 0..2 {
            book.enter(booking("b", false));
        }
        let summary = book.summary();
        assert_eq!(
            (summary.accepted, summary.replayed, summary.duplicates),
            (4, 1, 1)
        );
        assert_eq!(
            (book.count(Vendor::Resend, "b"), book.count(Vendor::Ses, "b")),
            (3, 0)
        );
    }

    #[test]
    fn what_is_taken_back_was_never_there() {
        let mut book = Book::new(100);
        book.enter(booking("a", false));
        let before = book.summary();
        let second = book.enter(booking("a", false));
        assert_eq!(book.summary().duplicates, 1);
        book.withdraw(&second);
        assert_eq!(book.summary(), before);
        assert_eq!(book.count(Vendor::Resend, "a"), 1);
    }

    #[test]
    fn what_is_let_go_is_counted() {
        let mut book = Book::new(3);
        for number in 0..5 {
            book.enter(booking(&number.to_string(), false));
        }
        assert_eq!((book.summary().accepted, book.summary().forgotten), (5, 2));
        let query = Query {
            after: 3,
            ..Query::default()
        };
        let look = book.look(&query, 1);
        assert_eq!(look.found.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [4]);
        assert_eq!(look.until, Some(4));
        assert_eq!(book.look(&query, 10).until, None);
        assert_eq!(book.count(Vendor::Resend, "0"), 0);
    }

    #[test]
    fn a_key_is_remembered_for_a_day_and_by_its_account() {
        let mut book = Book::new(3);
        book.enter(booking("key", false));
        let at = |hours| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        let known = |account, hours| {
            book.under_key(Vendor::Resend, account, "key", at(hours))
                .is_some()
        };
        assert!(known("default", 23) && !known("default", 24) && !known("other", 1));
    }
}
