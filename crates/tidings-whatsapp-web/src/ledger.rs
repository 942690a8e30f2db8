//! What became of each reference. A reference is written here, through to the disk, before the button is clicked: after a crash
//! it is known that it may have gone, and it is never typed again.
//!
//! No number and no text is kept, only references, WhatsApp's ids of messages, and times.

use crate::journal::{Journal, JournalError};
use crate::pace::Last;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;
use tidings_providers::whatsapp_web::wire::{MessageReport, Standing};

/// How long a reference is remembered.
pub const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The most references kept; at a message a minute thirty days are 43,200.
const MOST: usize = 100_000;
/// So many lines more than references and the file is written anew.
const SLACK: usize = 1_000;

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum Record {
    /// The button is about to be clicked; nothing else goes for so long.
    Click {
        reference: String,
        at: Timestamp,
        gap_ms: i64,
    },
    /// It was not clicked after all: the driver said so.
    NoClick { reference: String },
    /// What was seen of it.
    Stands {
        reference: String,
        at: Timestamp,
        standing: Standing,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
}

#[derive(Clone, Debug)]
struct Entry {
    at: Timestamp,
    standing: Standing,
    id: Option<String>,
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    journal: Journal,
    entries: HashMap<String, Entry>,
    last: Option<(String, Last)>,
}

impl Ledger {
    /// Opens or makes it.
    pub fn open(path: &Path, now: Timestamp) -> Result<Self, JournalError> {
        let (journal, records) = Journal::open::<Record>(path)?;
        let mut ledger = Self {
            journal,
            entries: HashMap::new(),
            last: None,
        };
        for record in records {
            ledger.apply(record);
        }
        ledger.tidy(now)?;
        Ok(ledger)
    }

    /// What is known of a reference. One that was about to be clicked when the process ended is unknown.
    pub fn report(&self, reference: &str) -> Option<MessageReport> {
        self.entries.get(reference).map(|entry| MessageReport {
            reference: reference.to_owned(),
            standing: entry.standing,
            id: entry.id.clone(),
            detail: (entry.standing == Standing::Unknown).then(|| {
                "the button was clicked or about to be, and the message was not seen in the chat".to_owned()
            }),
        })
    }

    /// The last click.
    pub fn last(&self) -> Option<Last> {
        self.last.as_ref().map(|(_, last)| *last)
    }

    /// Writes down that the button is about to be clicked. Only when this has returned may it be.
    pub fn click(&mut self, reference: &str, last: Last) -> Result<(), JournalError> {
        self.write(Record::Click {
            reference: reference.to_owned(),
            at: last.at,
            gap_ms: i64::try_from(last.gap.as_millis()).unwrap_or(i64::MAX),
        })?;
        self.tidy(last.at)
    }

    /// Takes a click back that certainly did not happen.
    pub fn no_click(&mut self, reference: &str) -> Result<(), JournalError> {
        self.write(Record::NoClick {
            reference: reference.to_owned(),
        })
    }

    /// Writes down what was seen. A standing never goes back; says whether anything is new.
    pub fn stands(
        &mut self,
        reference: &str,
        standing: Standing,
        id: Option<String>,
        at: Timestamp,
    ) -> Result<bool, JournalError> {
        let known = self.entries.get(reference).map(|entry| entry.standing);
        if known.is_some_and(|known| rank(known) >= rank(standing)) {
            return Ok(false);
        }
        self.write(Record::Stands {
            reference: reference.to_owned(),
            at,
            standing,
            id,
        })?;
        Ok(true)
    }

    fn write(&mut self, record: Record) -> Result<(), JournalError> {
        self.journal.append(&record)?;
        self.apply(record);
        Ok(())
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Click {
                reference,
                at,
                gap_ms,
            } => {
                let gap = SignedDuration::from_millis(gap_ms);
                self.last = Some((reference.clone(), Last { at, gap }));
                let entry = Entry {
                    at,
                    standing: Standing::Unknown,
                    id: None,
                };
                self.entries.insert(reference, entry);
            }
            Record::NoClick { reference } => {
                self.entries.remove(&reference);
            }
            Record::Stands {
                reference,
                at,
                standing,
                id,
            } => {
                let entry = self.entries.entry(reference).or_insert(Entry {
                    at,
                    standing,
                    id: None,
                });
                entry.standing = standing;
                entry.id = id.or(entry.id.take());
            }
        }
    }

    /// Forgets what is too old, and writes the file anew when most of it says nothing any more.
    fn tidy(&mut self, now: Timestamp) -> Result<(), JournalError> {
        if self.journal.lines() <= 2 * self.entries.len().min(MOST) + SLACK {
            return Ok(());
        }
        self.entries
            .retain(|_, entry| now.duration_since(entry.at) < KEPT);
        let mut kept: Vec<(&String, &Entry)> = self.entries.iter().collect();
        kept.sort_by_key(|(_, entry)| entry.at);
        let spare = kept.len().saturating_sub(MOST);
        let forgotten: Vec<String> = kept.drain(..spare).map(|(name, _)| name.clone()).collect();
        let mut records: Vec<Record> = kept
            .into_iter()
            .map(|(reference, entry)| Record::Stands {
                reference: reference.clone(),
                at: entry.at,
                standing: entry.standing,
                id: entry.id.clone(),
            })
            .collect();
        if let Some((reference, last)) = &self.last {
            let click = Record::Click {
                reference: reference.clone(),
                at: last.at,
                gap_ms: i64::try_from(last.gap.as_millis()).unwrap_or(i64::MAX),
            };
            // First, so that what is known of the reference comes after it; one that was not clicked goes again.
            if !self.entries.contains_key(reference) {
                let reference = reference.clone();
                records.insert(0, Record::NoClick { reference });
            }
            records.insert(0, click);
        }
        self.journal.replace(&records)?;
        for reference in forgotten {
            self.entries.remove(&reference);
        }
        Ok(())
    }
}

/// How much a standing says.
const fn rank(standing: Standing) -> u8 {
    match standing {
        Standing::Sending => 0,
        Standing::Unknown => 1,
        Standing::Pending => 2,
        Standing::Sent => 3,
        Standing::Delivered => 4,
        Standing::Read => 5,
        Standing::Withdrawn => 6,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::io::Write as _;
    use tidings_testkit::TemporaryFolder;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + seconds).unwrap()
    }

    fn last(seconds: i64) -> Last {
        Last {
            at: at(seconds),
            gap: SignedDuration::from_secs(75),
        }
    }

    fn standing(ledger: &Ledger, reference: &str) -> Option<Standing> {
        ledger.report(reference).map(|report| report.standing)
    }

    #[test]
    fn what_was_about_to_be_clicked_is_unknown_after_a_crash_and_the_pace_is_kept() {
        let folder = TemporaryFolder::new("ledger");
        let path = folder.path().join("ledger.jsonl");
        let mut ledger = Ledger::open(&path, at(0)).unwrap();
        ledger.click("a", last(0)).unwrap();
        ledger.click("b", last(80)).unwrap();
        ledger.no_click("b").unwrap();
        ledger.click("c", last(160)).unwrap();
        assert!(
            ledger
                .stands("c", Standing::Sent, Some("3EB0".to_owned()), at(165))
                .unwrap()
        );
        // The process ends here, in the middle of a line.
        drop(ledger);
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(br#"{"what":"click","reference":"d","#).unwrap();
        let mut ledger = Ledger::open(&path, at(200)).unwrap();
        assert_eq!(standing(&ledger, "a"), Some(Standing::Unknown));
        assert_eq!(standing(&ledger, "b"), None);
        assert_eq!(ledger.report("c").unwrap().id.as_deref(), Some("3EB0"));
        assert_eq!(standing(&ledger, "d"), None);
        assert_eq!(ledger.last(), Some(last(160)));
        // A standing never goes back, and the same again is no news.
        assert!(ledger.stands("c", Standing::Read, None, at(300)).unwrap());
        for old in [Standing::Delivered, Standing::Read, Standing::Pending] {
            assert!(!ledger.stands("c", old, None, at(301)).unwrap());
        }
        drop(ledger);
        let ledger = Ledger::open(&path, at(302)).unwrap();
        assert_eq!(standing(&ledger, "c"), Some(Standing::Read));
        assert_eq!(ledger.report("c").unwrap().id.as_deref(), Some("3EB0"));
    }

    #[test]
    fn the_file_is_bounded_and_what_is_young_survives_its_renewal() {
        let folder = TemporaryFolder::new("ledger");
        let path = folder.path().join("ledger.jsonl");
        let mut ledger = Ledger::open(&path, at(0)).unwrap();
        ledger.click("old", last(0)).unwrap();
        let later = 31 * 86_400;
        ledger.click("young", last(later)).unwrap();
        ledger.stands("young", Standing::Sent, None, at(later)).unwrap();
        for _ in 0..1_100 {
            ledger.click("again", last(later + 100)).unwrap();
            ledger.no_click("again").unwrap();
        }
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 1_200, "{lines} lines");
        drop(ledger);
        let ledger = Ledger::open(&path, at(later + 101)).unwrap();
        assert_eq!(standing(&ledger, "old"), None);
        assert_eq!(standing(&ledger, "young"), Some(Standing::Sent));
        assert_eq!(standing(&ledger, "again"), None);
        assert_eq!(ledger.last(), Some(last(later + 100)));
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_line() {
        let folder = TemporaryFolder::new("ledger");
        let path = folder.path().join("ledger.jsonl");
        std::fs::write(&path, "{\"what\":\"no_click\",\"reference\":\"a\"}\nnonsense\n").unwrap();
        let error = Ledger::open(&path, at(0)).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("restore"), "{error}");
    }
}
