//! Which rows a source may leave out: none that could be due, in whatever zone the contact lives.

use super::calendar::{hours, number_of, plus_days, plus_months};
use super::definition::{Condition, Definition, DueRule, Literal, Operator};
use super::due::width;
use super::names::{Place, place};
use super::schema::ColumnKind;
use super::window::{Bound, Range, RunWindow};
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;

/// No local day is further from that of UTC.
const ZONE_DAYS: i64 = 1;

/// A month that is too short moves a day by at most so many.
const CLAMP_DAYS: i64 = 3;

/// The bounds of a run on the campaign's own table; all of them hold for a row that is due.
pub fn bounds(definition: &Definition, window: &RunWindow) -> Vec<Bound> {
    let days = Days::of(window);
    let mut bounds = Vec::new();
    let mut add = |name: &str, extent: Extent| {
        if let Some(bound) = bound(definition, name, extent) {
            bounds.push(bound);
        }
    };
    match &definition.due {
        DueRule::After {
            latest_of,
            years,
            months,
            days: more,
            lookback_days,
        } => {
            let (first, last) = days.due(*lookback_days);
            let months = i64::from(*years) * 12 + i64::from(*months);
            let back = |day: i64, slack: i64| origin(day, months, i64::from(*more), slack);
            for name in latest_of {
                // With several, an old one is due through a later one, and only the latest is bound from below.
                let from = if latest_of.len() == 1 {
                    back(first, -CLAMP_DAYS)
                } else {
                    None
                };
                add(
                    name,
                    Extent::Days {
                        from,
                        to: back(last, CLAMP_DAYS),
                    },
                );
            }
        }
        DueRule::Before {
            date,
            days: lead,
            lookback_days,
        } => {
            let (first, last) = days.due(*lookback_days);
            let from = (first + i64::from(*lead)).max(days.today_first);
            add(date, Extent::days(from, last + i64::from(*lead)));
        }
        DueRule::Anniversary {
            date, days_before, ..
        } => {
            let last_return = date_of(days.today_last + i64::from(*days_before));
            let to = last_return
                .and_then(|day| plus_months(day, -12))
                .and_then(|day| plus_days(day, CLAMP_DAYS));
            add(date, Extent::Days { from: None, to });
        }
        DueRule::HoursAfter {
            instant,
            from_hours,
            to_hours,
        } => {
            let (after, up_to) = covered(window, *from_hours, *to_hours);
            let back = |moment: Timestamp| moment.checked_sub(hours(*from_hours)).ok();
            // An end before the beginning of time stays closed: nothing is due.
            let to = back(up_to).or(Some(Timestamp::MIN));
            add(
                instant,
                Extent::Instants {
                    from: after.and_then(back),
                    to,
                },
            );
        }
        DueRule::HoursBefore {
            instant,
            from_hours,
            to_hours,
            ..
        } => {
            let (_, up_to) = covered(window, *from_hours, *to_hours);
            let ahead = |moment: Timestamp| moment.checked_add(hours(*to_hours)).ok();
            add(
                instant,
                Extent::Instants {
                    from: Some(window.as_of),
                    to: ahead(up_to),
                },
            );
        }
        DueRule::Season { .. } => {}
        DueRule::Reached { number, at_least } => add(
            number,
            Extent::Numbers {
                from: Some(*at_least),
                to: None,
            },
        ),
        DueRule::Crossed { number, step, .. } => add(
            number,
            Extent::Numbers {
                from: Some(*step),
                to: None,
            },
        ),
        DueRule::Series {
            date,
            every_days,
            parts,
        } => {
            let (first, last) = days.due(0);
            let every = i64::from(*every_days);
            add(
                date,
                Extent::days(first - i64::from(*parts) * every, last - every),
            );
        }
    }
    for condition in &definition.conditions {
        if let Some(extent) = of_condition(definition, condition, &days) {
            add(&condition.column, extent);
        }
    }
    bounds
}

/// The instants a run covers: after the first, up to the second.
fn covered(window: &RunWindow, from_hours: u32, to_hours: u32) -> (Option<Timestamp>, Timestamp) {
    let first = || window.as_of.checked_sub(width(from_hours, to_hours)).ok();
    (window.previous.or_else(first), window.as_of)
}

/// The days of a run wherever the contact lives, by number.
struct Days {
    /// The first day covered, without lookback.
    first: i64,
    /// The earliest day it can be.
    today_first: i64,
    /// The latest day it can be.
    today_last: i64,
}

impl Days {
    fn of(window: &RunWindow) -> Self {
        let day = |instant: Timestamp| number_of(Offset::UTC.to_datetime(instant).date());
        let today = day(window.as_of);
        let first = window.previous.map_or(today, |previous| day(previous) + 1);
        Self {
            first: first - ZONE_DAYS,
            today_first: today - ZONE_DAYS,
            today_last: today + ZONE_DAYS,
        }
    }

    /// The first and the last day on which a row may have come due.
    fn due(&self, lookback_days: u32) -> (i64, i64) {
        (self.first - i64::from(lookback_days), self.today_last)
    }
}

/// What a value may be; days are narrowed to dates or widened to instants as the column needs it.
enum Extent {
    Days {
        from: Option<Date>,
        to: Option<Date>,
    },
    Instants {
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    },
    Numbers {
        from: Option<f64>,
        to: Option<f64>,
    },
}

impl Extent {
    fn days(from: i64, to: i64) -> Self {
        Self::Days {
            from: date_of(from),
            to: date_of(to),
        }
    }
}

/// The day of a number; none beyond the calendar, where the end stays open.
fn date_of(number: i64) -> Option<Date> {
    plus_days(Date::constant(1970, 1, 1), number)
}

/// The day from which months and days lead to another.
fn origin(day: i64, months: i64, days: i64, slack: i64) -> Option<Date> {
    plus_days(plus_months(date_of(day - days)?, -months)?, slack)
}

/// The bound, where the name is a column of the own table and the extent fits what it holds.
fn bound(definition: &Definition, name: &str, extent: Extent) -> Option<Bound> {
    let Some(Place::Own(column)) = place(definition, name) else {
        return None;
    };
    let range = match (column.kind, extent) {
        (ColumnKind::Date, Extent::Days { from, to }) => Range::Dates { from, to },
        (ColumnKind::Instant, Extent::Days { from, to }) => Range::Instants {
            from: from.and_then(|day| instant_of(day, -ZONE_DAYS)),
            to: to.and_then(|day| instant_of(day, 1 + ZONE_DAYS)),
        },
        (ColumnKind::Instant, Extent::Instants { from, to }) => Range::Instants { from, to },
        (ColumnKind::Number, Extent::Numbers { from, to }) => {
            let ends = from.iter().chain(&to);
            if ends.into_iter().any(|end| !end.is_finite()) {
                return None;
            }
            Range::Numbers { from, to }
        }
        _ => return None,
    };
    (!is_open(&range)).then(|| Bound {
        column: name.to_owned(),
        range,
    })
}

fn is_open(range: &Range) -> bool {
    matches!(
        range,
        Range::Dates { from: None, to: None }
            | Range::Instants { from: None, to: None }
            | Range::Numbers { from: None, to: None }
    )
}

/// The start of a day in UTC, so many days on.
fn instant_of(day: Date, days: i64) -> Option<Timestamp> {
    let start = plus_days(day, days)?.to_datetime(Time::midnight());
    Offset::UTC.to_timestamp(start).ok()
}

fn of_condition(definition: &Definition, condition: &Condition, days: &Days) -> Option<Extent> {
    let Some(Place::Own(column)) = place(definition, &condition.column) else {
        return None;
    };
    if let (Operator::OlderThan | Operator::Within, Some(age)) = (condition.is, condition.days) {
        return Some(of_age(condition.is, i64::from(age), days));
    }
    let value = condition.value.as_ref()?;
    let (lower, upper) = match condition.is {
        Operator::Equal => (true, true),
        Operator::AtLeast | Operator::MoreThan => (true, false),
        Operator::AtMost | Operator::LessThan => (false, true),
        _ => return None,
    };
    match (column.kind, value) {
        (ColumnKind::Number, Literal::Number(number)) => Some(Extent::Numbers {
            from: lower.then_some(*number),
            to: upper.then_some(*number),
        }),
        (ColumnKind::Date, Literal::Text(text)) => {
            let day = text.trim().parse::<Date>().ok()?;
            Some(Extent::Days {
                from: lower.then_some(day),
                to: upper.then_some(day),
            })
        }
        (ColumnKind::Instant, Literal::Text(text)) => of_instant(text.trim(), lower, upper),
        _ => None,
    }
}

fn of_instant(text: &str, lower: bool, upper: bool) -> Option<Extent> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(Extent::Instants {
            from: lower.then_some(instant),
            to: upper.then_some(instant),
        });
    }
    let day = text.parse::<Date>().ok()?;
    Some(Extent::Days {
        from: lower.then_some(day),
        to: upper.then_some(day),
    })
}

/// Ages of instants are counted to the moment of the run, which lies within the days it may be anywhere.
fn of_age(operator: Operator, age: i64, days: &Days) -> Extent {
    let limit = |today: i64| date_of(today - age);
    match operator {
        Operator::OlderThan => Extent::Days {
            from: None,
            to: limit(days.today_last),
        },
        _ => Extent::Days {
            from: limit(days.today_first),
            to: date_of(days.today_last),
        },
    }
}
