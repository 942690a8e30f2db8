//! Conditions on cells.

use super::assess::{Moment, NotDueCode, Stop, Subject};
use super::calendar::{days_between, local_day, plus_days};
use super::cells::{self, Read, kind_of};
use super::definition::{Condition, Literal, Operator};
use super::row::Cell;
use super::words;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use std::cmp::Ordering;

/// A condition that is met, or that was not asked.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) skipped: bool,
    pub(super) detail: String,
    /// When it is not met any more.
    pub(super) changes_at: Option<Moment>,
}

/// The condition in a few words.
pub(super) fn phrase(index: usize, condition: &Condition) -> String {
    format!("condition {}: {}", index + 1, wanted(condition))
}

fn wanted(condition: &Condition) -> String {
    let mut text = format!("{} {}", condition.column, condition.is);
    let values: Vec<String> = condition
        .value
        .iter()
        .chain(&condition.values)
        .map(spoken)
        .collect();
    if !values.is_empty() {
        text.push(' ');
        text.push_str(&values.join(", "));
    }
    if let Some(days) = condition.days {
        text.push(' ');
        text.push_str(&words::days(i64::from(days)));
    }
    text
}

fn spoken(literal: &Literal) -> String {
    match literal {
        Literal::Flag(flag) => flag.to_string(),
        Literal::Number(number) => words::number(*number),
        Literal::Text(text) => text.clone(),
    }
}

/// Asks the condition of the row.
pub(super) fn ask(subject: &Subject, condition: &Condition) -> Result<Passed, Stop> {
    let name = condition.column.as_str();
    let cell = match cells::any(subject, name)? {
        Read::Unmapped if is_optional(subject, condition) => {
            return Ok(Passed {
                skipped: true,
                detail: format!("the mapping has no {name}; the condition counts as met"),
                changes_at: None,
            });
        }
        Read::Unmapped => return Err(cells::unmapped(name)),
        Read::Null => &Cell::Null,
        Read::Value(cell) => cell,
    };
    let question = Question {
        subject,
        condition,
        cell,
    };
    let answer = question.answer()?;
    let detail = question.detail(&answer);
    if answer.met {
        return Ok(Passed {
            skipped: false,
            detail,
            changes_at: answer.changes_at,
        });
    }
    Err(Stop::not_due(
        NotDueCode::ConditionNotMet,
        detail,
        answer.changes_at,
    ))
}

fn is_optional(subject: &Subject, condition: &Condition) -> bool {
    let related = &subject.definition.related;
    condition.optional
        || related
            .iter()
            .any(|one| one.name == condition.column && one.optional)
}

struct Answer {
    met: bool,
    /// The literal that was found to be the same.
    same: Option<String>,
    changes_at: Option<Moment>,
}

impl From<bool> for Answer {
    fn from(met: bool) -> Self {
        Self {
            met,
            same: None,
            changes_at: None,
        }
    }
}

struct Question<'a> {
    subject: &'a Subject<'a>,
    condition: &'a Condition,
    cell: &'a Cell,
}

impl Question<'_> {
    fn answer(&self) -> Result<Answer, Stop> {
        let null = *self.cell == Cell::Null;
        match self.condition.is {
            Operator::Present => Ok((!null).into()),
            Operator::Absent => Ok(null.into()),
            Operator::Equal | Operator::OneOf => self.same_as_one(true),
            Operator::NotEqual | Operator::NoneOf => self.same_as_one(false),
            _ if null => Ok(false.into()),
            Operator::AtLeast => self.ordered(Ordering::is_ge),
            Operator::AtMost => self.ordered(Ordering::is_le),
            Operator::MoreThan => self.ordered(Ordering::is_gt),
            Operator::LessThan => self.ordered(Ordering::is_lt),
            Operator::OlderThan => self.aged(older_than),
            Operator::Within => self.aged(within),
        }
    }

    fn literals(&self) -> impl Iterator<Item = &Literal> {
        let (one, many) = match self.condition.is {
            Operator::OneOf | Operator::NoneOf => (None, self.condition.values.as_slice()),
            _ => (self.condition.value.as_ref(), &[][..]),
        };
        one.into_iter().chain(many)
    }

    fn same_as_one(&self, wants_same: bool) -> Result<Answer, Stop> {
        if *self.cell == Cell::Null {
            return Ok((!wants_same).into());
        }
        let mut same = None;
        for literal in self.literals() {
            if self.compare(literal)? == Some(Ordering::Equal) {
                same = Some(spoken(literal));
                break;
            }
        }
        Ok(Answer {
            met: same.is_some() == wants_same,
            same,
            changes_at: None,
        })
    }

    fn ordered(&self, holds: fn(Ordering) -> bool) -> Result<Answer, Stop> {
        let Some(literal) = self.condition.value.as_ref() else {
            return Ok(false.into());
        };
        if matches!(self.cell, Cell::Text(_) | Cell::Flag(_)) {
            return Err(self.incomparable(literal));
        }
        Ok(self.compare(literal)?.is_some_and(holds).into())
    }

    /// How the cell compares with a literal; none when text or a flag merely differs.
    fn compare(&self, literal: &Literal) -> Result<Option<Ordering>, Stop> {
        match (self.cell, literal) {
            (Cell::Number(cell), Literal::Number(literal)) => Ok(cell.partial_cmp(literal)),
            (Cell::Number(cell), Literal::Text(text)) => match text.trim().parse::<f64>() {
                Ok(literal) => Ok(cell.partial_cmp(&literal)),
                Err(_) => Err(self.incomparable(literal)),
            },
            (Cell::Flag(cell), Literal::Flag(literal)) => Ok((cell == literal).then_some(Ordering::Equal)),
            (Cell::Text(text), _) => {
                let (text, literal) = (folded(text.expose()), folded(&spoken(literal)));
                Ok((text == literal).then_some(Ordering::Equal))
            }
            (Cell::Date(day), Literal::Text(text)) => match text.trim().parse::<Date>() {
                Ok(literal) => Ok(Some(day.cmp(&literal))),
                Err(_) => Err(self.incomparable(literal)),
            },
            (Cell::Instant(instant), Literal::Text(text)) => {
                if let Ok(literal) = text.trim().parse::<Timestamp>() {
                    return Ok(Some(instant.cmp(&literal)));
                }
                match text.trim().parse::<Date>() {
                    Ok(literal) => Ok(Some(local_day(self.subject.zone, *instant).cmp(&literal))),
                    Err(_) => Err(self.incomparable(literal)),
                }
            }
            _ => Err(self.incomparable(literal)),
        }
    }

    fn incomparable(&self, literal: &Literal) -> Stop {
        let problem = format!(
            "holds {}, which cannot be compared with \"{}\"",
            kind_of(self.cell),
            spoken(literal)
        );
        Stop::malformed(&self.condition.column, problem)
    }

    fn aged(&self, asks: fn(Age, u32) -> Answer) -> Result<Answer, Stop> {
        let days = self.condition.days.unwrap_or(0);
        let as_of = self.subject.window.as_of;
        let age = match self.cell {
            Cell::Date(day) => Age::Day {
                day: *day,
                today: self.subject.today(),
            },
            Cell::Instant(instant) => Age::Instant {
                instant: *instant,
                as_of,
            },
            other => {
                let problem = format!("holds {}, and a day or point in time is needed", kind_of(other));
                return Err(Stop::malformed(&self.condition.column, problem));
            }
        };
        Ok(asks(age, days))
    }

    fn detail(&self, answer: &Answer) -> String {
        let name = &self.condition.column;
        let today = self.subject.today();
        let found = match (self.cell, &answer.same) {
            (Cell::Null, _) => format!("{name} is empty"),
            (_, Some(same)) => format!("{name} is {same}"),
            (Cell::Number(number), None) => format!("{name} is {}", words::number(*number)),
            (Cell::Date(day), None) => format!("{name} is {day}, {}", words::ago(*day, today)),
            (Cell::Instant(instant), None) => {
                let as_of = self.subject.window.as_of;
                format!("{name} is {instant}, {}", words::hours_ago(*instant, as_of))
            }
            (Cell::Flag(flag), None) => format!("{name} is {flag}"),
            _ => format!("{name} has a value, which is none of those named"),
        };
        match (self.cell, self.condition.is) {
            (Cell::Text(_), Operator::Present | Operator::Absent) => {
                format!(
                    "{name} has a value; the condition wants {}",
                    wanted(self.condition)
                )
            }
            _ => format!("{found}; the condition wants {}", wanted(self.condition)),
        }
    }
}

fn folded(text: &str) -> String {
    text.trim().to_lowercase()
}

#[derive(Clone, Copy)]
enum Age {
    Day { day: Date, today: Date },
    Instant { instant: Timestamp, as_of: Timestamp },
}

impl Age {
    /// Compared with an age of so many days.
    fn cmp(self, days: u32) -> Ordering {
        match self {
            Self::Day { day, today } => days_between(day, today).cmp(&i64::from(days)),
            Self::Instant { instant, as_of } => as_of.duration_since(instant).cmp(&whole_days(days)),
        }
    }

    /// The first moment at which it is older than so many days.
    fn passes(self, days: u32) -> Option<Moment> {
        match self {
            Self::Day { day, .. } => plus_days(day, i64::from(days) + 1).map(Moment::Day),
            Self::Instant { instant, .. } => {
                let limit = whole_days(days).checked_add(SignedDuration::from_nanos(1))?;
                instant.checked_add(limit).ok().map(Moment::Instant)
            }
        }
    }

    fn moment(self) -> Moment {
        match self {
            Self::Day { day, .. } => Moment::Day(day),
            Self::Instant { instant, .. } => Moment::Instant(instant),
        }
    }
}

fn whole_days(days: u32) -> SignedDuration {
    SignedDuration::from_hours(i64::from(days) * 24)
}

fn older_than(age: Age, days: u32) -> Answer {
    let met = age.cmp(days).is_gt();
    Answer {
        met,
        same: None,
        changes_at: if met { None } else { age.passes(days) },
    }
}

/// What is still to come is not within the days before the run.
fn within(age: Age, days: u32) -> Answer {
    let ahead = age.cmp(0).is_lt();
    let met = !ahead && age.cmp(days).is_le();
    let changes_at = match (ahead, met) {
        (true, _) => Some(age.moment()),
        (false, true) => age.passes(days),
        (false, false) => None,
    };
    Answer {
        met,
        same: None,
        changes_at,
    }
}
