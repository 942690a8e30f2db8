//! What waits to be posted to Tidings, what was handed over, and which numbers WhatsApp's own ids stand for.
//!
//! A message is written here before anything else happens to it and stays until Tidings has taken it. After that only a digest of
//! its id is kept, in another file, so that it is not handed over again.

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
const SLACK: usize = 500;

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

/// A line about what waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum Record {
    Waits { item: Item },
    Taken { key: String },
}

/// A line about what is known for longer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum Known {
    Message { id: String },
    Number { local: String, number: Private<String> },
}

/// The outbox.
#[derive(Debug)]
pub struct Outbox {
    queue: Journal,
    memory: Journal,
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
    /// Opens or makes it in a folder.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let (queue, records) = Journal::open::<Record>(&folder.join("outbox.jsonl"))?;
        let (memory, known) = Journal::open::<Known>(&folder.join("known.jsonl"))?;
        let mut outbox = Self {
            queue,
            memory,
            waiting: VecDeque::new(),
            known: HashSet::new(),
            order: VecDeque::new(),
            numbers: HashMap::new(),
        };
        for known in known {
            outbox.learned(known);
        }
        for record in records {
            match record {
                // Taken, and the process ended before that was written into this file too.
                Record::Waits { item } if outbox.known.contains(&item.key()) => {}
                Record::Waits { item } => outbox.waiting.push_back(item),
                Record::Taken { key } => outbox.waiting.retain(|item| item.key() != key),
            }
        }
        outbox.tidy()?;
        Ok(outbox)
    }

    /// Puts an item in. One that waits, or was taken, is not put in again; says whether it was new.
    pub fn put(&mut self, item: Item) -> Result<bool, JournalError> {
        let key = item.key();
        if self.knows(&key) {
            return Ok(false);
        }
        self.queue.append(&Record::Waits { item: item.clone() })?;
        self.waiting.push_back(item);
        Ok(true)
    }

    /// Whether an item waits, or a message was taken.
    pub fn knows(&self, key: &str) -> bool {
        self.known.contains(key) || self.waiting.iter().any(|waiting| waiting.key() == key)
    }

    /// The oldest items.
    pub fn first(&self, most: usize) -> Vec<Item> {
        self.waiting.iter().take(most).cloned().collect()
    }

    /// Tidings has taken an item. Its text is then on the disk no longer than others wait.
    pub fn taken(&mut self, key: &str) -> Result<(), JournalError> {
        // A report that is posted again is known to Tidings; a message must not be.
        let is_message = |item: &Item| matches!(item, Item::Message(_)) && item.key() == key;
        if self.waiting.iter().any(is_message) {
            self.learn_that(Known::Message { id: key.to_owned() })?;
        }
        self.queue.append(&Record::Taken { key: key.to_owned() })?;
        self.waiting.retain(|item| item.key() != key);
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
        self.learn_that(Known::Number {
            local: local.to_owned(),
            number: Private::new(number.to_owned()),
        })
    }

    fn learn_that(&mut self, known: Known) -> Result<(), JournalError> {
        self.memory.append(&known)?;
        self.learned(known);
        Ok(())
    }

    fn learned(&mut self, known: Known) {
        match known {
            Known::Message { id } => {
                if self.known.insert(id.clone()) {
                    self.order.push_back(id);
                }
                if self.order.len() > MOST_KNOWN
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.known.remove(&oldest);
                }
            }
            Known::Number { local, number } => {
                self.numbers.insert(local, number);
            }
        }
    }

    fn tidy(&mut self) -> Result<(), JournalError> {
        let waiting = self.waiting.len();
        if (waiting == 0 && self.queue.lines() > 0) || self.queue.lines() > waiting + SLACK {
            let waits = self
                .waiting
                .iter()
                .map(|item| Record::Waits { item: item.clone() });
            let records: Vec<Record> = waits.collect();
            self.queue.replace(&records)?;
        }
        if self.memory.lines() > self.order.len() + self.numbers.len() + SLACK {
            let numbers = self.numbers.iter().map(|(local, number)| Known::Number {
                local: local.clone(),
                number: number.clone(),
            });
            let messages = self.order.iter().map(|id| Known::Message { id: id.clone() });
            let known: Vec<Known> = numbers.chain(messages).collect();
            self.memory.replace(&known)?;
        }
        Ok(())
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
    fn a_message_waits_over_restarts_is_handed_over_once_and_then_forgotten() {
        let folder = TemporaryFolder::new("outbox");
        let mut outbox = Outbox::open(folder.path()).unwrap();
        assert!(outbox.put(message("a")).unwrap() && outbox.put(message("b")).unwrap());
        assert!(!outbox.put(message("a")).unwrap());
        outbox.learn("99", "436641234567").unwrap();
        outbox.taken("a").unwrap();
        drop(outbox);
        let mut outbox = Outbox::open(folder.path()).unwrap();
        assert_eq!(outbox.first(9).iter().map(Item::key).collect::<Vec<_>>(), ["b"]);
        assert!(!outbox.put(message("a")).unwrap() && !outbox.put(message("b")).unwrap());
        assert_eq!(outbox.number_of("99").unwrap().expose(), "436641234567");
        outbox.taken("b").unwrap();
        let left = std::fs::read_to_string(folder.path().join("outbox.jsonl")).unwrap();
        assert_eq!(left, "");
    }

    #[test]
    fn what_was_taken_when_the_process_ended_does_not_wait_again() {
        let folder = TemporaryFolder::new("outbox");
        let mut outbox = Outbox::open(folder.path()).unwrap();
        outbox.put(message("a")).unwrap();
        // The first half of `taken`.
        outbox.learn_that(Known::Message { id: "a".to_owned() }).unwrap();
        drop(outbox);
        assert!(Outbox::open(folder.path()).unwrap().is_empty());
    }

    #[test]
    fn the_files_are_bounded_and_keep_what_waits() {
        let folder = TemporaryFolder::new("outbox");
        let mut outbox = Outbox::open(folder.path()).unwrap();
        outbox.put(message("waits")).unwrap();
        let report = Item::Report(StandingReport {
            reference: "r".to_owned(),
            standing: Standing::Sent,
            id: None,
            seen_at: jiff::Timestamp::UNIX_EPOCH,
        });
        for _ in 0..400 {
            assert!(outbox.put(report.clone()).unwrap());
            outbox.taken(&report.key()).unwrap();
        }
        let text = std::fs::read_to_string(folder.path().join("outbox.jsonl")).unwrap();
        assert!(text.lines().count() <= SLACK + 1);
        drop(outbox);
        assert_eq!(Outbox::open(folder.path()).unwrap().first(9).len(), 1);
    }

    #[test]
    fn digests_tell_nothing_and_repeat() {
        let one = digest_of("false_436641234567@c.us_3EB0A");
        assert_eq!(one, digest_of("false_436641234567@c.us_3EB0A"));
        assert!(!one.contains("43664") && one.len() == 32);
        assert_ne!(one, digest_of("false_436641234567@c.us_3EB0B"));
    }
}
