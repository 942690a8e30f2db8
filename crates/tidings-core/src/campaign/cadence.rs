//! When a campaign runs: the moments of a cadence, and what a run makes up for.

use super::definition::{Cadence, MissedRun};
use super::window::RunWindow;
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use std::ops::RangeInclusive;

/// Hours of a day.
pub(super) const HOURS: RangeInclusive<u8> = 0..=23;
/// Days between runs.
pub(super) const DAYS: RangeInclusive<u32> = 1..=366;
/// Milliseconds between runs.
pub(super) const INTERVAL_MS: RangeInclusive<i64> = 60_000..=86_400_000;

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;
const TICK: SignedDuration = SignedDuration::from_nanos(1);

/// The first moment strictly after; none beyond the calendar, or where the cadence has no moments.
pub fn next(cadence: &Cadence, after: Timestamp) -> Option<Timestamp> {
    match Beat::of(cadence)? {
        Beat::Even { step_ms, phase_ms } => {
            // The instant is rounded down to the millisecond, so a moment on that millisecond lies at or before it.
            let turn = (floor_ms(after) - phase_ms).div_euclid(step_ms) + 1;
            Timestamp::from_millisecond(turn * step_ms + phase_ms).ok()
        }
        Beat::Yearly { month, day, hour } => {
            let year = year_of(after);
            let moments = [year, year.saturating_add(1)].map(|year| yearly(year, month, day, hour));
            moments.into_iter().flatten().find(|moment| *moment > after)
        }
    }
}

/// The last moment at or before; none before the calendar, or where the cadence has no moments.
pub fn previous(cadence: &Cadence, at: Timestamp) -> Option<Timestamp> {
    match Beat::of(cadence)? {
        Beat::Even { step_ms, phase_ms } => {
            let turn = (floor_ms(at) - phase_ms).div_euclid(step_ms);
            Timestamp::from_millisecond(turn * step_ms + phase_ms).ok()
        }
        Beat::Yearly { month, day, hour } => {
            let year = year_of(at);
            let moments = [year, year.saturating_sub(1)].map(|year| yearly(year, month, day, hour));
            moments.into_iter().flatten().find(|moment| *moment <= at)
        }
    }
}

/// What a campaign has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing before the next moment of its cadence.
    Nothing,
    /// A run, which makes up for the moments missed.
    Run {
        /// What it covers.
        window: RunWindow,
        /// What is too old to be made up for.
        skipped: Option<Skipped>,
    },
    /// Nothing is made up for; the stretch is reported as missed and counts as covered.
    Skip(Skipped),
}

/// A stretch of time that no run covers: after one moment, up to and including the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Where it begins.
    pub after: Timestamp,
    /// Where it ends.
    pub up_to: Timestamp,
}

/// Plans by what earlier runs covered. A moment of the cadence that passed while nothing ran is made up for unless it is
/// older than the definition allows; the run of a moment covers all since the moment before it.
pub fn plan(cadence: &Cadence, missed_run: MissedRun, covered: Option<Timestamp>, now: Timestamp) -> Plan {
    let Some(as_of) = previous(cadence, now) else {
        return Plan::Nothing;
    };
    let wait = SignedDuration::from_hours(i64::from(missed_run.skip_after_hours));
    let oldest = now.checked_sub(wait).unwrap_or(Timestamp::MIN);
    let Some(covered) = covered else {
        let window = RunWindow {
            as_of,
            previous: None,
        };
        return if as_of < oldest {
            Plan::Nothing
        } else {
            Plan::Run {
                window,
                skipped: None,
            }
        };
    };
    if covered >= as_of {
        return Plan::Nothing;
    }
    if as_of < oldest {
        return Plan::Skip(Skipped {
            after: covered,
            up_to: as_of,
        });
    }
    let first = next(cadence, earlier(oldest)).unwrap_or(as_of);
    let start = previous(cadence, earlier(first)).unwrap_or(Timestamp::MIN);
    let skipped = (start > covered).then_some(Skipped {
        after: covered,
        up_to: start,
    });
    let window = RunWindow {
        as_of,
        previous: Some(covered.max(start)),
    };
    Plan::Run { window, skipped }
}

fn earlier(instant: Timestamp) -> Timestamp {
    instant.checked_sub(TICK).unwrap_or(Timestamp::MIN)
}

/// A cadence reduced to arithmetic.
enum Beat {
    Even { step_ms: i64, phase_ms: i64 },
    Yearly { month: i8, day: i8, hour: u8 },
}

impl Beat {
    /// None for values outside their ranges: such a cadence has no moments.
    fn of(cadence: &Cadence) -> Option<Self> {
        let daily = |days: u32, hour: u8| Self::Even {
            step_ms: i64::from(days) * DAY_MS,
            phase_ms: i64::from(hour) * HOUR_MS,
        };
        let (beat, good) = match *cadence {
            Cadence::Day { hour_utc, .. } => (daily(1, hour_utc), HOURS.contains(&hour_utc)),
            Cadence::Days { days, hour_utc, .. } => (
                daily(days, hour_utc),
                HOURS.contains(&hour_utc) && DAYS.contains(&days),
            ),
            Cadence::Interval { interval_ms, .. } => {
                let beat = Self::Even {
                    step_ms: interval_ms,
                    phase_ms: 0,
                };
                (beat, INTERVAL_MS.contains(&interval_ms))
            }
            Cadence::Year {
                month,
                day,
                hour_utc: hour,
                ..
            } => (
                Self::Yearly { month, day, hour },
                (1..=12).contains(&month) && (1..=31).contains(&day) && HOURS.contains(&hour),
            ),
        };
        good.then_some(beat)
    }
}

fn floor_ms(instant: Timestamp) -> i64 {
    instant.as_nanosecond().div_euclid(1_000_000) as i64
}

fn year_of(instant: Timestamp) -> i16 {
    Offset::UTC.to_datetime(instant).year()
}

fn yearly(year: i16, month: i8, day: i8, hour: u8) -> Option<Timestamp> {
    let first = Date::new(year, month, 1).ok()?;
    let date = Date::new(year, month, day.min(first.days_in_month())).ok()?;
    let hour = i8::try_from(hour).ok()?;
    let local = DateTime::new(date.year(), date.month(), date.day(), hour, 0, 0, 0).ok()?;
    Offset::UTC.to_timestamp(local).ok()
}

/// A value of the environment that is no part of a cadence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is \"{value}\"; set it to a whole number from {least} to {most}, or leave it out")]
pub struct CadenceError {
    /// The variable.
    pub variable: String,
    /// What it holds, cut to 64 characters.
    pub value: String,
    /// What it may be at least.
    pub least: i64,
    /// What it may be at most.
    pub most: i64,
}

impl Cadence {
    /// The cadence with what the environment says: `lookup` answers for the names in `hour_env`, `days_env` and
    /// `interval_env`. An empty value counts as not set.
    ///
    /// # Errors
    /// When a value is no whole number within its range.
    pub fn with_overrides(&self, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, CadenceError> {
        let mut cadence = self.clone();
        match &mut cadence {
            Self::Day { hour_utc, hour_env }
            | Self::Year {
                hour_utc, hour_env, ..
            } => replace(hour_utc, hour_env.as_deref(), &HOURS, &lookup)?,
            Self::Days {
                days,
                hour_utc,
                days_env,
                hour_env,
            } => {
                replace(days, days_env.as_deref(), &DAYS, &lookup)?;
                replace(hour_utc, hour_env.as_deref(), &HOURS, &lookup)?;
            }
            Self::Interval {
                interval_ms,
                interval_env,
            } => replace(interval_ms, interval_env.as_deref(), &INTERVAL_MS, &lookup)?,
        }
        Ok(cadence)
    }
}

fn replace<T: Copy + PartialOrd + Into<i64> + std::str::FromStr>(
    field: &mut T,
    variable: Option<&str>,
    allowed: &RangeInclusive<T>,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<(), CadenceError> {
    let Some((variable, value)) = variable.and_then(|name| Some((name, lookup(name)?))) else {
        return Ok(());
    };
    if value.trim().is_empty() {
        return Ok(());
    }
    match value.trim().parse::<T>() {
        Ok(number) if allowed.contains(&number) => {
            *field = number;
            Ok(())
        }
        _ => Err(CadenceError {
            variable: variable.to_owned(),
            value: value.chars().take(64).collect(),
            least: (*allowed.start()).into(),
            most: (*allowed.end()).into(),
        }),
    }
}
