//! Whether a row is due, and why or why not.

use super::calendar::local_day;
use super::condition;
use super::definition::Definition;
use super::due;
use super::row::Row;
use super::window::RunWindow;
use crate::word::word_enum;
use crate::zone::local_to_utc;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// What becomes of a row in a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Assessment {
    /// A message follows.
    Due(Due),
    /// None does.
    NotDue(NotDue),
    /// It cannot be said: a cell that counts holds what it should not. Listed by key, for follow-up.
    Malformed(Malformed),
}

/// A day in the contact's zone, or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A local day.
    Day(Date),
    /// A point in time.
    Instant(Timestamp),
}

impl Moment {
    /// When it begins: the start of the day there, or the instant itself.
    pub fn begins(self, zone: &TimeZone) -> Timestamp {
        match self {
            Self::Day(day) => local_to_utc(zone, day.to_datetime(Time::midnight())).once(),
            Self::Instant(instant) => instant,
        }
    }

    /// When it is over: the end of the day there, or the instant itself.
    pub fn ends(self, zone: &TimeZone) -> Timestamp {
        match self {
            Self::Day(day) => day
                .tomorrow()
                .map_or(Timestamp::MAX, |next| Self::Day(next).begins(zone)),
            Self::Instant(instant) => instant,
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(day) => day.fmt(f),
            Self::Instant(instant) => instant.fmt(f),
        }
    }
}

/// A row that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// Which of the row's moments this is, part of the source reference. It is the same in every zone.
    pub occurrence: String,
    /// The moment at which it came due.
    pub due_on: Moment,
    /// The date the message is about, where it would be wrong afterwards: the return, the appointment.
    pub until: Option<Moment>,
    /// What the rule computed: `due_on`, `latest_on`, `years`, `return_on`, `days_since`, `days_left`, `season`,
    /// `part`, `mark`, as far as the rule knows them.
    pub known: BTreeMap<&'static str, Value>,
}

impl Due {
    /// When the message must not go out any more: so many hours after it was proposed, and never after the date it is
    /// about.
    pub fn expires_at(
        &self,
        definition: &Definition,
        zone: &TimeZone,
        proposed_at: Timestamp,
    ) -> Option<Timestamp> {
        let by_hours = definition.expires_after_hours.map(|hours| {
            let wait = SignedDuration::from_hours(i64::from(hours));
            proposed_at.checked_add(wait).unwrap_or(Timestamp::MAX)
        });
        let by_date = self.until.map(|until| until.ends(zone));
        by_hours.into_iter().chain(by_date).min()
    }
}

/// A row that is not due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDue {
    /// Why, for programs.
    pub code: NotDueCode,
    /// What was not met: `due: date_sold + 7 days`, `condition 2: status none_of cancelled`.
    pub condition: String,
    /// A sentence with what was found there. It holds dates and numbers, never text of the row.
    pub detail: String,
    /// When the answer changes if the row stays as it is; none when only a change of the row changes it.
    pub changes_at: Option<Moment>,
}

word_enum! {
    /// Why a row is not due; stable.
    pub enum NotDueCode {
        /// Its moment is still to come.
        TooEarly = "too_early",
        /// Its moment came before what the run covers.
        TooLate = "too_late",
        /// The date it is about is over.
        Passed = "passed",
        /// The number has not got there.
        NotReached = "not_reached",
        /// There is no value to count from.
        NoValue = "no_value",
        /// The tenant's mapping lacks what the campaign needs.
        Unmapped = "unmapped",
        /// A condition says no.
        ConditionNotMet = "condition_not_met",
        /// Its moment lies beyond the calendar.
        Never = "never",
    }
}

/// A cell that holds what it should not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{column}: {problem}")]
pub struct Malformed {
    /// The column or related value.
    pub column: String,
    /// What is wrong, without the value.
    pub problem: String,
}

/// One thing a row was asked, for `explain`.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The rule or condition.
    pub condition: String,
    /// How it went.
    pub outcome: StepOutcome,
    /// A sentence with what was found; dates and numbers, never text of the row.
    pub detail: String,
    /// When it goes otherwise if the row stays as it is.
    pub changes_at: Option<Moment>,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// As it must.
    Met,
    /// An optional condition, and the tenant has no such column: not asked.
    Skipped,
    /// Not as it must.
    NotMet(NotDueCode),
    /// A cell holds what it should not.
    Malformed,
}

/// Why a step ends the assessment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    NotDue {
        code: NotDueCode,
        detail: String,
        changes_at: Option<Moment>,
    },
    Malformed(Malformed),
}

impl Stop {
    pub(super) fn not_due(code: NotDueCode, detail: String, changes_at: Option<Moment>) -> Self {
        Self::NotDue {
            code,
            detail,
            changes_at,
        }
    }

    pub(super) fn malformed(column: &str, problem: impl Into<String>) -> Self {
        Self::Malformed(Malformed {
            column: column.to_owned(),
            problem: problem.into(),
        })
    }

    fn into_assessment(self, condition: String) -> Assessment {
        match self {
            Self::Malformed(malformed) => Assessment::Malformed(malformed),
            Self::NotDue {
                code,
                detail,
                changes_at,
            } => Assessment::NotDue(NotDue {
                code,
                condition,
                detail,
                changes_at,
            }),
        }
    }

    fn into_step(self, condition: String) -> Step {
        match self {
            Self::Malformed(Malformed { column, problem }) => Step {
                condition,
                outcome: StepOutcome::Malformed,
                detail: format!("{column}: {problem}"),
                changes_at: None,
            },
            Self::NotDue {
                code,
                detail,
                changes_at,
            } => Step {
                condition,
                outcome: StepOutcome::NotMet(code),
                detail,
                changes_at,
            },
        }
    }
}

/// A run's view of a row: what the rule and the conditions look at.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) definition: &'a Definition,
    pub(super) row: &'a Row,
    pub(super) zone: &'a TimeZone,
    pub(super) window: &'a RunWindow,
}

impl Subject<'_> {
    pub(super) fn today(&self) -> Date {
        local_day(self.zone, self.window.as_of)
    }
}

/// Assesses a row in the contact's zone: the due rule first, then the conditions in their order; the first that says no
/// is the answer. Total: any row, zone and window has an answer.
pub fn assess(definition: &Definition, row: &Row, zone: &TimeZone, window: &RunWindow) -> Assessment {
    let subject = Subject {
        definition,
        row,
        zone,
        window,
    };
    let due = match due::ask(&subject) {
        Ok(met) => met.due,
        Err(stop) => return stop.into_assessment(due::phrase(&definition.due)),
    };
    for (index, condition) in definition.conditions.iter().enumerate() {
        if let Err(stop) = condition::ask(&subject, condition) {
            return stop.into_assessment(condition::phrase(index, condition));
        }
    }
    Assessment::Due(due)
}

/// The verdict of the due rule and of every condition, whatever those before said.
pub fn assess_all(definition: &Definition, row: &Row, zone: &TimeZone, window: &RunWindow) -> Vec<Step> {
    let subject = Subject {
        definition,
        row,
        zone,
        window,
    };
    let name = due::phrase(&definition.due);
    let mut steps = vec![match due::ask(&subject) {
        Ok(met) => Step {
            condition: name,
            outcome: StepOutcome::Met,
            detail: met.detail,
            changes_at: None,
        },
        Err(stop) => stop.into_step(name),
    }];
    steps.extend(
        definition
            .conditions
            .iter()
            .enumerate()
            .map(|(index, condition)| {
                let name = condition::phrase(index, condition);
                match condition::ask(&subject, condition) {
                    Ok(passed) => Step {
                        condition: name,
                        outcome: if passed.skipped {
                            StepOutcome::Skipped
                        } else {
                            StepOutcome::Met
                        },
                        detail: passed.detail,
                        changes_at: passed.changes_at,
                    },
                    Err(stop) => stop.into_step(name),
                }
            }),
    );
    steps
}
