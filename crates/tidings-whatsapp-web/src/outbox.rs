//! What waits to be posted to Tidings, what was handed over, and which numbers WhatsApp's own ids stand for.
//!
//! A message is written here before anything else happens to it and stays until Tidings has taken it. After that only a digest of
//! its id is kept, so that it is not handed over again.

use crate::journal::{Journal, JournalError};
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use tidings_core::redact::Private;
use tidings_providers::whatsapp_web::wire::{Arrived, StandingReport};

/// When so much waits, no further chats are read.
const FULL: usize = 10_000;
/// The most digests kept.
const MOST_KNOWN: usize = 50_000;
/// The most numbers kept.
const MOST_NUMBERS: usize = 100_000;
/// So many lines more than there is to say and the file is written anew.
const SLACK: usize = 2_000;

/// Something to post.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// What became of a message of ours.
    Report(StandingReport),
    /// A message to us.
    Message(Arrived),
}

impl Item {
    /// The same for the same item.
    pub fn key(&self) -> String {
        match self {
            Self::Report(report) => format!("{}:{}", report.reference, report.standing),
            Self::Message(message) => message.id.clone(),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum Record {
    Waits { item: Item },
    Taken { key: String },
    Number { local: String, number: Private<String> },
}

/// The outbox.
#[derive(Debug)]
pub struct Outbox {
    journal: Journal,
    waiting: VecDeque<Item>,
    known: HashSet<String>,
    /// The same, oldest first.
    order: VecDeque<String>,
    numbers: HashMap<String, Private<String>>,
}

/// What Tidings gets for an id, which may hold a number: the same for the same message, and it tells nothing.
pub fn digest_of(id: &str) -> String {
    let digest = digest(&SHA256, id.as_bytes());
    hex::encode(&digest.as_ref()[..16])
}

impl Outbox {
    /// Opens or makes it.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let (journal, records) = Journal::open::<Record>(path)?;
        let mut outbox = Self {
            journal,
            waiting: VecDeque::new(),
            known: HashSet::new(),
            order: VecDeque::new(),
            numbers: HashMap::new(),
        };
        for record in records {
            outbox.apply(record);
        }
        outbox.tidy()?;
        Ok(outbox)
    }

    /// Puts an item in. One that waits, or was taken, is not put in again; says whether it was new.
    pub fn put(&mut self, item: Item) -> Result<bool, JournalError> {
        let key = item.key();
        if self.known.contains(&key) || self.waiting.iter().any(|waiting| waiting.key() == key) {
            return Ok(false);
        }
        self.write(Record::Waits { item })?;
        Ok(true)
    }

    /// Whether a message was put in before.
    pub fn knows(&self, id: &str) -> bool {
        self.known.contains(id)
    }

    /// The oldest items.
    pub fn first(&self, most: usize) -> Vec<Item> {
        self.waiting.iter().take(most).cloned().collect()
    }

    /// Tidings has taken an item.
    pub fn taken(&mut self, key: &str) -> Result<(), JournalError> {
        self.write(Record::Taken { key: key.to_owned() })?;
        self.tidy()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether so much waits that nothing more should be read.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= FULL
    }

    /// The number that an id of WhatsApp's own stands for.
    pub fn number_of(&self, local: &str) -> Option<&Private<String>> {
        self.numbers.get(local)
    }

    /// Remembers whose number an id of WhatsApp's own is.
    pub fn learn(&mut self, local: &str, number: &str) -> Result<(), JournalError> {
        let known = self
            .numbers
            .get(local)
            .is_some_and(|known| known.expose() == number);
        if known || self.numbers.len() >= MOST_NUMBERS {
            return Ok(());
        }
        self.write(Record::Number {
            local: local.to_owned(),
            number: Private::new(number.to_owned()),
        })
    }

    fn write(&mut self, record: Record) -> Result<(), JournalError> {
        self.journal.append(&record)?;
        self.apply(record);
        Ok(())
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Waits { item } => {
                if let Item::Message(message) = &item {
                    self.remember(message.id.clone());
                }
                self.waiting.push_back(item);
            }
            Record::Taken { key } => {
                self.waiting.retain(|item| item.key() != key);
                // Reports are known to the ledger.
                if !key.contains(':') {
                    self.remember(key);
                }
            }
            Record::Number { local, number } => {
                self.numbers.insert(local, number);
            }
        }
    }

    fn remember(&mut self, key: String) {
        if self.known.insert(key.clone()) {
            self.order.push_back(key);
        }
        if self.order.len() > MOST_KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn tidy(&mut self) -> Result<(), JournalError> {
        let said = self.waiting.len() + self.order.len() + self.numbers.len();
        if self.journal.lines() <= said + SLACK {
            return Ok(());
        }
        let numbers = self.numbers.iter().map(|(local, number)| Record::Number {
            local: local.clone(),
            number: number.clone(),
        });
        let taken = self.order.iter().map(|key| Record::Taken { key: key.clone() });
        let waiting = self
            .waiting
            .iter()
            .map(|item| Record::Waits { item: item.clone() });
        // What waits comes last: a key that was taken before would take it out again.
        let records: Vec<Record> = numbers.chain(taken).chain(waiting).collect();
        self.journal.replace(&records)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use tidings_providers::whatsapp_web::wire::Standing;
    use tidings_testkit::TemporaryFolder;

    fn message(id: &str) -> Item {
        Item::Message(Arrived {
            id: id.to_owned(),
            from: Private::new("+436641234567".to_owned()),
            text: Private::new("STOP".to_owned()),
            media: false,
            seen_at: jiff::Timestamp::UNIX_EPOCH,
        })
    }

    #[test]
    fn a_message_waits_over_restarts_and_is_handed_over_once() {
        let folder = TemporaryFolder::new("outbox");
        let path = folder.path().join("outbox.jsonl");
        let mut outbox = Outbox::open(&path).unwrap();
        assert!(outbox.put(message("a")).unwrap() && outbox.put(message("b")).unwrap());
        assert!(!outbox.put(message("a")).unwrap());
        outbox.learn("99", "436641234567").unwrap();
        outbox.taken("a").unwrap();
        drop(outbox);
        let mut outbox = Outbox::open(&path).unwrap();
        assert_eq!(outbox.first(9).iter().map(Item::key).collect::<Vec<_>>(), ["b"]);
        assert!(!outbox.put(message("a")).unwrap() && !outbox.put(message("b")).unwrap());
        assert_eq!(outbox.number_of("99").unwrap().expose(), "436641234567");
    }

    #[test]
    fn the_file_is_bounded_and_keeps_what_waits() {
        let folder = TemporaryFolder::new("outbox");
        let path = folder.path().join("outbox.jsonl");
        let mut outbox = Outbox::open(&path).unwrap();
        outbox.put(message("waits")).unwrap();
        let report = |standing| {
            Item::Report(StandingReport {
                reference: "r".to_owned(),
                standing,
                id: None,
                seen_at: jiff::Timestamp::UNIX_EPOCH,
            })
        };
        for _ in 0..1_200 {
            let item = report(Standing::Sent);
            assert!(outbox.put(item.clone()).unwrap());
            outbox.taken(&item.key()).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() < 2_100);
        drop(outbox);
        assert_eq!(Outbox::open(&path).unwrap().first(9).len(), 1);
    }

    #[test]
    fn digests_tell_nothing_and_repeat() {
        let one = digest_of("false_436641234567@c.us_3EB0A");
        assert_eq!(one, digest_of("false_436641234567@c.us_3EB0A"));
        assert!(!one.contains("43664") && one.len() == 32);
        assert_ne!(one, digest_of("false_436641234567@c.us_3EB0B"));
    }
}
