//! What a row of the matrix found, and whether that is good enough.

use crate::tally::Tally;
use serde_json::{Map, Value, json};

/// What a row found.
#[derive(Debug, Default)]
pub struct Report {
    /// Faults that were done.
    pub trials: u32,
    /// Acknowledged, and neither accepted by a provider nor listed as unknown.
    pub lost: usize,
    /// Accepted more than once.
    pub duplicate: usize,
    /// Listed for a person.
    pub unknown: usize,
    /// Neither ended nor listed.
    pub unsettled: i64,
    /// Acknowledged messages.
    pub acknowledged: usize,
    /// What else the row's rule asks for and was not so.
    pub broken: Vec<String>,
    /// Further figures.
    pub figures: Map<String, Value>,
}

impl Report {
    /// With a count added to it: a row may have several installations.
    pub fn add(&mut self, tally: &Tally) {
        self.lost += tally.lost.len();
        self.duplicate += tally.duplicate.len();
        self.unknown += tally.unknown;
        self.unsettled += tally.unsettled;
        self.acknowledged += tally.acknowledged;
    }

    /// With all of another part of the same row.
    pub fn merge(&mut self, other: Self) {
        self.trials += other.trials;
        self.lost += other.lost;
        self.duplicate += other.duplicate;
        self.unknown += other.unknown;
        self.unsettled += other.unsettled;
        self.acknowledged += other.acknowledged;
        self.broken.extend(other.broken);
        self.figures.extend(other.figures);
    }

    /// Notes a figure.
    pub fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.to_owned(), value.into());
    }

    /// Notes what is not as the rule wants it.
    pub fn demand(&mut self, right: bool, otherwise: impl FnOnce() -> String) {
        if !right {
            self.broken.push(otherwise());
        }
    }

    /// Whether the row passes. A row that did nothing proved nothing.
    pub fn passes(&self) -> bool {
        self.trials > 0
            && self.acknowledged > 0
            && self.lost == 0
            && self.duplicate == 0
            && self.unsettled == 0
            && self.broken.is_empty()
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let mut all = json!({
            "trials": self.trials,
            "acknowledged": self.acknowledged,
            "lost": self.lost,
            "duplicate": self.duplicate,
            "unknown": self.unknown,
            "unsettled": self.unsettled,
            "broken": self.broken,
            "pass": self.passes(),
        });
        if let Some(all) = all.as_object_mut() {
            all.extend(self.figures.clone());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        Report {
            trials: 3,
            acknowledged: 10,
            ..Report::default()
        }
    }

    #[test]
    fn nothing_may_be_lost_sent_twice_or_left_open() {
        assert!(good().passes());
        let spoil: [fn(&mut Report); 6] = [
            |report| report.lost = 1,
            |report| report.duplicate = 1,
            |report| report.unsettled = 1,
            |report| report.trials = 0,
            |report| report.acknowledged = 0,
            |report| report.demand(false, || "late".to_owned()),
        ];
        for (nth, spoil) in spoil.into_iter().enumerate() {
            let mut report = good();
            spoil(&mut report);
            assert!(!report.passes(), "{nth}");
        }
    }

    #[test]
    fn what_is_listed_as_unknown_is_visible_and_no_loss() {
        let mut report = good();
        report.unknown = 4;
        assert!(report.passes());
        assert_eq!(report.json()["unknown"], 4);
    }
}
