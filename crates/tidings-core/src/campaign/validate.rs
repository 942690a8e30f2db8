//! Whether a definition says what can be done: names, kinds, ranges and bounds.

use super::cadence;
use super::condition_check;
use super::definition::{Cadence, ContextSource, Definition, Related, Take};
use super::due_check::Wanted;
use super::names::{self, COMPUTED, Place, RESERVED, place};
use super::schema::{ColumnKind, table};
use crate::message::MessageType;
use std::fmt;

const MOST_RELATED: usize = 8;
const MOST_CONDITIONS: usize = 20;
const MOST_CONTEXT: usize = 40;
/// A century: nothing a campaign waits for takes longer.
pub(super) const MOST_DAYS: u32 = 36_525;
/// Ten years.
pub(super) const MOST_HOURS: u32 = 87_600;

/// What is wrong with a definition, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct DefinitionProblem {
    /// Where: `due.date`, `conditions[2].value`.
    pub at: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// Problems, as they are found.
#[derive(Default)]
pub(super) struct Problems(Vec<DefinitionProblem>);

impl Problems {
    pub(super) fn add(&mut self, at: impl Into<String>, problem: impl Into<String>) {
        self.0.push(DefinitionProblem {
            at: at.into(),
            problem: problem.into(),
        });
    }

    pub(super) fn unless(&mut self, good: bool, at: &str, problem: impl FnOnce() -> String) {
        if !good {
            self.add(at, problem());
        }
    }

    /// Whether a number lies in a range.
    pub(super) fn range<T: Copy + PartialOrd + fmt::Display>(
        &mut self,
        at: &str,
        number: T,
        least: T,
        most: T,
    ) {
        let good = number >= least && number <= most;
        self.unless(good, at, || {
            format!("{number} is out of range; use {least} to {most}")
        });
    }

    fn text(&mut self, at: &str, text: &str, most: usize) {
        let good =
            !text.trim().is_empty() && text.chars().count() <= most && !text.contains(char::is_control);
        self.unless(good, at, || {
            format!("write 1 to {most} characters, without line breaks")
        });
    }

    pub(super) fn count(&mut self, at: &str, count: usize, most: usize) {
        self.unless(count <= most, at, || {
            format!("{count} are too many; at most {most}")
        });
    }
}

impl Definition {
    /// Whether the definition says what can be done.
    ///
    /// # Errors
    /// Every problem found, each with its place and what to do about it.
    pub fn validate(&self) -> Result<(), Vec<DefinitionProblem>> {
        let mut problems = Problems::default();
        self.check_head(&mut problems);
        check_schedule(&self.schedule, &mut problems);
        self.check_related(&mut problems);
        self.check_due(&mut problems);
        problems.count("conditions", self.conditions.len(), MOST_CONDITIONS);
        for (index, condition) in self.conditions.iter().enumerate() {
            condition_check::check(self, index, condition, &mut problems);
        }
        self.check_context(&mut problems);
        if problems.0.is_empty() {
            Ok(())
        } else {
            Err(problems.0)
        }
    }

    fn check_head(&self, problems: &mut Problems) {
        problems.text("title", &self.title, 120);
        problems.text("purpose", &self.purpose, 500);
        problems.range(
            "missed_run.skip_after_hours",
            self.missed_run.skip_after_hours,
            0,
            MOST_HOURS,
        );
        if let Some(hours) = self.expires_after_hours {
            problems.range("expires_after_hours", hours, 1, MOST_HOURS);
        }
        if let Some(flag) = &self.flag {
            variable("flag", flag, problems);
        }
        if let Some(setting) = &self.setting {
            problems.unless(is_word(setting), "setting", || {
                format!(
                    "\"{setting}\" is no name of a setting; use lower-case letters, digits and underscores"
                )
            });
        }
    }

    fn check_related(&self, problems: &mut Problems) {
        problems.count("related", self.related.len(), MOST_RELATED);
        for (index, related) in self.related.iter().enumerate() {
            let at = |field: &str| format!("related[{index}].{field}");
            let name = related.name.as_str();
            problems.unless(is_word(name), &at("name"), || {
                "use 1 to 64 lower-case letters, digits or underscores, beginning with a letter".to_owned()
            });
            let taken = table(self.from).column(name).is_some()
                || RESERVED.contains(&name)
                || self.related[..index].iter().any(|one| one.name == name);
            problems.unless(!taken, &at("name"), || {
                format!("\"{name}\" already stands for something else; choose another name")
            });
            self.check_key(related, &at("by"), problems);
            check_taken(related, &at, problems);
            self.check_stand_in(index, related, &at("instead_of"), problems);
        }
    }

    fn check_key(&self, related: &Related, at: &str, problems: &mut Problems) {
        let by = related.by.as_str();
        let keyed = |which| {
            table(which)
                .column(by)
                .is_some_and(|column| column.kind == ColumnKind::Key)
        };
        for which in [self.from, related.table] {
            problems.unless(keyed(which), at, || {
                format!("{which} has no key \"{by}\"; use customer_id or equipment_id, which both tables must have")
            });
        }
    }

    fn check_stand_in(&self, index: usize, related: &Related, at: &str, problems: &mut Problems) {
        let Some(other) = &related.instead_of else { return };
        let stood_for = self
            .related
            .iter()
            .enumerate()
            .find(|(_, one)| one.name == *other);
        match stood_for {
            Some((place, one)) if place != index && one.instead_of.is_none() => {
                problems.unless(one.optional && related.optional, at, || {
                    format!("\"{other}\" and what stands in for it must be optional = true: either will do")
                });
                let kinds = [Place::Related(one).kind(), Place::Related(related).kind()];
                problems.unless(kinds_fit(kinds), at, || {
                    format!(
                        "\"{other}\" holds something else; both must be dates, or both numbers, or both text"
                    )
                });
            }
            _ => problems.add(
                at,
                format!("there is no other related value \"{other}\" that stands for itself"),
            ),
        }
    }

    fn check_context(&self, problems: &mut Problems) {
        problems.count("context", self.context.len(), MOST_CONTEXT);
        for (variable, source) in &self.context {
            let at = format!("context.{variable}");
            problems.unless(is_word(variable), &at, || {
                "a variable is 1 to 64 lower-case letters, digits or underscores, beginning with a letter"
                    .to_owned()
            });
            match source {
                ContextSource::Value { value } => condition_check::literal(&at, value, problems),
                ContextSource::Name(name) => self.check_source(&at, name, problems),
            }
        }
        for variable in &self.required_context {
            let known = self.context.contains_key(variable);
            problems.unless(known, "required_context", || {
                let hint = did_you_mean(variable, self.context.keys().map(String::as_str));
                format!("\"{variable}\" is no variable of context{hint}; add it there, or take it out here")
            });
        }
    }

    fn check_source(&self, at: &str, name: &str, problems: &mut Problems) {
        let known = names::known(&self.due);
        if COMPUTED.contains(&name) || known.contains(&name) || place(self, name).is_some() {
            return;
        }
        if RESERVED.contains(&name) {
            let list = known.join(", ");
            problems.add(
                at,
                format!("this due rule does not know \"{name}\"; it knows {list}"),
            );
            return;
        }
        let all = names::all(self);
        let others = COMPUTED.iter().chain(known).copied();
        let hint = did_you_mean(name, all.iter().map(String::as_str).chain(others));
        problems.add(at, unknown_name(self, name, &hint));
    }

    /// What the name stands for; a problem where it stands for nothing.
    pub(super) fn known_place(&self, at: &str, name: &str, problems: &mut Problems) -> Option<Place<'_>> {
        let place = place(self, name);
        if place.is_none() {
            let all = names::all(self);
            let hint = did_you_mean(name, all.iter().map(String::as_str));
            problems.add(at, unknown_name(self, name, &hint));
        }
        place
    }
}

fn check_taken(related: &Related, at: &impl Fn(&str) -> String, problems: &mut Problems) {
    let info = table(related.table);
    let names = || info.columns.iter().map(|column| column.name);
    let unknown = |name: &str| {
        let hint = did_you_mean(name, names());
        format!("{} has no column \"{name}\"{hint}", info.table)
    };
    match &related.column {
        Some(column) => {
            let known = info.column(column).is_some();
            problems.unless(known, &at("column"), || unknown(column));
        }
        None => problems.unless(related.take == Take::Count, &at("column"), || {
            format!("take = \"{}\" needs a column to take it of", related.take)
        }),
    }
    let both = related.since.is_some() == related.within_days.is_some();
    problems.unless(both, &at("within_days"), || {
        "within_days and since go together: since names the date that within_days looks at".to_owned()
    });
    if let Some(days) = related.within_days {
        problems.range(&at("within_days"), days, 1, MOST_DAYS);
    }
    if let Some(since) = &related.since {
        match info.column(since) {
            None => problems.add(at("since"), unknown(since)),
            Some(column) => problems.unless(Wanted::Day.fits(column.kind), &at("since"), || {
                format!("\"{since}\" holds {}; name {}", column.kind, Wanted::Day.words())
            }),
        }
    }
}

fn check_schedule(schedule: &Cadence, problems: &mut Problems) {
    let hours = |hour: u8, problems: &mut Problems| {
        problems.range(
            "schedule.hour_utc",
            hour,
            *cadence::HOURS.start(),
            *cadence::HOURS.end(),
        );
    };
    let name = |at: &str, text: &Option<String>, problems: &mut Problems| {
        if let Some(text) = text {
            variable(at, text, problems);
        }
    };
    match schedule {
        Cadence::Day { hour_utc, hour_env } => {
            hours(*hour_utc, problems);
            name("schedule.hour_env", hour_env, problems);
        }
        Cadence::Days {
            days,
            hour_utc,
            days_env,
            hour_env,
        } => {
            hours(*hour_utc, problems);
            problems.range(
                "schedule.days",
                *days,
                *cadence::DAYS.start(),
                *cadence::DAYS.end(),
            );
            name("schedule.days_env", days_env, problems);
            name("schedule.hour_env", hour_env, problems);
        }
        Cadence::Interval {
            interval_ms,
            interval_env,
        } => {
            let (least, most) = (*cadence::INTERVAL_MS.start(), *cadence::INTERVAL_MS.end());
            problems.range("schedule.interval_ms", *interval_ms, least, most);
            name("schedule.interval_env", interval_env, problems);
        }
        Cadence::Year {
            month,
            day,
            hour_utc,
            hour_env,
        } => {
            problems.range("schedule.month", *month, 1, 12);
            problems.range("schedule.day", *day, 1, 31);
            hours(*hour_utc, problems);
            name("schedule.hour_env", hour_env, problems);
        }
    }
}

fn kinds_fit([one, other]: [Option<ColumnKind>; 2]) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return true;
    };
    one == other || (Wanted::Day.fits(one) && Wanted::Day.fits(other))
}

/// Variables, settings and related values are named like message types.
pub(super) fn is_word(text: &str) -> bool {
    MessageType::parse(text).is_ok()
}

fn variable(at: &str, name: &str, problems: &mut Problems) {
    let form = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let good = (1..=100).contains(&name.len())
        && name.chars().all(form)
        && !name.starts_with(|c: char| c.is_ascii_digit());
    problems.unless(good, at, || {
        format!("\"{name}\" is no name of a variable; use upper-case letters, digits and underscores")
    });
}

fn did_you_mean<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    match names::nearest(name, names) {
        Some(near) => format!(" (did you mean \"{near}\"?)"),
        None => String::new(),
    }
}

fn unknown_name(definition: &Definition, name: &str, hint: &str) -> String {
    let from = definition.from;
    format!(
        "\"{name}\" is neither a column of {from} nor a related value{hint}; the customer's columns are written customer.NAME"
    )
}
