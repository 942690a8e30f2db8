//! The message that was sent last, with what it takes to find it again: the chat may be closed under it, or the whole process ended,
//! before it had its marks. Whoever comes next opens the chat and goes on looking.
//!
//! It is the only message of which number and text are kept, in a file for its owner alone, until it was read, another one follows, or a
//! day has passed.
//! The browser's profile beside it holds whole conversations.

use crate::journal::{Journal, JournalError};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::Path;
use tidings_core::redact::Private;

/// After that long it is forgotten.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// How often its chat is opened again, in one life of the companion.
const MOST_TRIES: u32 = 3;

/// A message that was clicked, or was about to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// Its reference.
    pub reference: String,
    /// The number it went to, digits only.
    pub number: Private<String>,
    /// Its text, by which it is known.
    pub text: Private<String>,
    /// The messages that were in the chat before it.
    pub before: HashSet<String>,
    /// When it was clicked.
    pub at: Timestamp,
}

/// The file with it.
#[derive(Debug)]
pub struct LastMessage {
    journal: Journal,
    sent: Option<Sent>,
    tries: u32,
}

impl LastMessage {
    /// Opens or makes it.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let (journal, records) = Journal::open(path)?;
        Ok(Self {
            journal,
            sent: records.into_iter().next_back(),
            tries: 0,
        })
    }

    /// Puts a message in the place of the one before it, through to the disk.
    pub fn replace(&mut self, sent: Sent) -> Result<(), JournalError> {
        self.journal.replace(std::slice::from_ref(&sent))?;
        (self.sent, self.tries) = (Some(sent), 0);
        Ok(())
    }

    /// Forgets a message, when it is this one: there is nothing more to see of it.
    pub fn forget(&mut self, reference: &str) -> Result<(), JournalError> {
        if self.sent.as_ref().is_none_or(|sent| sent.reference != reference) {
            return Ok(());
        }
        self.sent = None;
        self.journal.replace::<Sent>(&[])
    }

    /// Forgets a message that was clicked too long ago.
    pub fn expire(&mut self, now: Timestamp) -> Result<(), JournalError> {
        let old = self
            .sent
            .as_ref()
            .filter(|sent| now.duration_since(sent.at) >= KEPT);
        match old.map(|sent| sent.reference.clone()) {
            Some(reference) => self.forget(&reference),
            None => Ok(()),
        }
    }

    /// The message whose chat is to be opened again; it counts as tried.
    pub fn take_up(&mut self) -> Option<Sent> {
        let sent = self.sent.as_ref().filter(|_| self.tries < MOST_TRIES)?;
        self.tries += 1;
        Some(sent.clone())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use tidings_testkit::TemporaryFolder;

    fn sent(reference: &str, at: Timestamp) -> Sent {
        Sent {
            reference: reference.to_owned(),
            number: Private::new("436641234567".to_owned()),
            text: Private::new("Your car is ready.".to_owned()),
            before: HashSet::from(["a".to_owned()]),
            at,
        }
    }

    fn taken_up(last: &mut LastMessage) -> Option<String> {
        last.take_up().map(|sent| sent.reference)
    }

    #[test]
    fn the_last_message_is_looked_for_a_few_times_in_each_life_and_not_for_ever() {
        let folder = TemporaryFolder::new("last_message");
        let path = folder.path().join("last_message.jsonl");
        let now = Timestamp::from_second(1_795_000_000).unwrap();
        let mut last = LastMessage::open(&path).unwrap();
        assert_eq!(taken_up(&mut last), None);
        last.replace(sent("a", now)).unwrap();
        last.replace(sent("b", now)).unwrap();
        for _ in 0..2 {
            for _ in 0..MOST_TRIES {
                assert_eq!(taken_up(&mut last).as_deref(), Some("b"));
            }
            assert_eq!(taken_up(&mut last), None);
            last = LastMessage::open(&path).unwrap();
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        last.forget("a").unwrap();
        last.expire(now.checked_add(KEPT).unwrap() - SignedDuration::from_secs(1))
            .unwrap();
        assert_eq!(taken_up(&mut last).as_deref(), Some("b"));
        last.forget("b").unwrap();
        assert_eq!(taken_up(&mut last), None);
        assert_eq!(std::fs::read(&path).unwrap(), b"", "nothing of it is left");

        last.replace(sent("c", now)).unwrap();
        last.expire(now.checked_add(KEPT).unwrap()).unwrap();
        assert_eq!(taken_up(&mut last), None);
        assert_eq!(std::fs::read(&path).unwrap(), b"", "nor after a day");
    }
}
