//! Cells as the rules read them: of the kind that is asked for, absent, not mapped, or malformed.

use super::assess::{Moment, NotDueCode, Stop, Subject};
use super::calendar::local_day;
use super::definition::Definition;
use super::row::{Cell, Row};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A value, or why there is none.
pub(super) enum Read<T> {
    Value(T),
    Null,
    Unmapped,
}

/// A day, as it is where the contact lives and as it is everywhere.
#[derive(Clone, Copy)]
pub(super) struct Day {
    /// What counts.
    pub(super) local: Date,
    /// What occurrences are named after: a contact whose zone is corrected is not written to again.
    pub(super) stable: Date,
}

/// The cell of a name. Where the tenant's mapping lacks a related value, the one that stands in for it.
pub(super) fn cell<'a>(definition: &Definition, row: &'a Row, name: &str) -> &'a Cell {
    let own = row.cell(name);
    if *own != Cell::Unmapped {
        return own;
    }
    let stand_ins = definition
        .related
        .iter()
        .filter(|one| one.instead_of.as_deref() == Some(name));
    stand_ins
        .map(|one| row.cell(&one.name))
        .find(|cell| **cell != Cell::Unmapped)
        .unwrap_or(own)
}

/// Whether text holds nothing but blanks, which counts as null.
pub(super) fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// What a cell holds, in words.
pub(super) const fn kind_of(cell: &Cell) -> &'static str {
    match cell {
        Cell::Unmapped => "no such column",
        Cell::Null => "nothing",
        Cell::Text(_) => "text",
        Cell::Number(_) => "a number",
        Cell::Date(_) => "a day",
        Cell::Instant(_) => "a point in time",
        Cell::Flag(_) => "yes or no",
        Cell::Malformed { .. } => "something malformed",
    }
}

fn read<'a, T>(
    subject: &Subject<'a>,
    name: &str,
    wanted: &str,
    take: impl FnOnce(&'a Cell) -> Option<T>,
) -> Result<Read<T>, Stop> {
    let cell = cell(subject.definition, subject.row, name);
    match cell {
        Cell::Unmapped => return Ok(Read::Unmapped),
        Cell::Null => return Ok(Read::Null),
        Cell::Text(text) if is_blank(text.expose()) => return Ok(Read::Null),
        Cell::Malformed { problem } => return Err(Stop::malformed(name, problem.as_str())),
        Cell::Number(number) if !number.is_finite() => {
            return Err(Stop::malformed(name, "is not a finite number"));
        }
        _ => {}
    }
    take(cell)
        .map(Read::Value)
        .ok_or_else(|| Stop::malformed(name, format!("holds {}, and {wanted} is needed", kind_of(cell))))
}

/// The local day of an instant and the one in UTC, or the day itself.
fn day_of(cell: &Cell, zone: &TimeZone) -> Option<Day> {
    match cell {
        Cell::Date(day) => Some(Day {
            local: *day,
            stable: *day,
        }),
        Cell::Instant(instant) => Some(Day {
            local: local_day(zone, *instant),
            stable: local_day(&TimeZone::UTC, *instant),
        }),
        _ => None,
    }
}

pub(super) fn day(subject: &Subject, name: &str) -> Result<Read<Day>, Stop> {
    read(subject, name, "a day", |cell| day_of(cell, subject.zone))
}

pub(super) fn instant(subject: &Subject, name: &str) -> Result<Read<Timestamp>, Stop> {
    read(subject, name, "a point in time", |cell| match cell {
        Cell::Instant(instant) => Some(*instant),
        _ => None,
    })
}

pub(super) fn number(subject: &Subject, name: &str) -> Result<Read<f64>, Stop> {
    read(subject, name, "a number", |cell| match cell {
        Cell::Number(number) => Some(*number),
        _ => None,
    })
}

/// A cell that is there and well formed.
pub(super) fn any<'a>(subject: &Subject<'a>, name: &str) -> Result<Read<&'a Cell>, Stop> {
    read(subject, name, "a value", Some)
}

/// The value, where the rule cannot do without.
pub(super) fn must<T>(read: Read<T>, name: &str) -> Result<T, Stop> {
    match read {
        Read::Value(value) => Ok(value),
        Read::Null => Err(Stop::not_due(
            NotDueCode::NoValue,
            format!("{name} is empty; there is nothing to go by"),
            None,
        )),
        Read::Unmapped => Err(unmapped(name)),
    }
}

pub(super) fn unmapped(name: &str) -> Stop {
    let detail = format!("the mapping has no {name}; add it to use this campaign");
    Stop::not_due(NotDueCode::Unmapped, detail, None::<Moment>)
}
