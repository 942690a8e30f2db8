//! Which hours are allowed, and the next one that is: exact over every zone and every change of the clocks.

use super::facts::Window;
use super::policy::BusinessDay;
use crate::zone::{self, LocalInstant};
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use std::collections::BTreeSet;

/// Days searched first: nearly every answer is today or tomorrow.
const NEAR_DAYS: i32 = 3;
/// Days searched at most; a week has every weekday, and a zone may skip one.
const FAR_DAYS: i32 = 16;

impl Window {
    /// A window of the local day.
    pub const fn new(start: Time, end: Time) -> Self {
        Self { start, end }
    }

    /// Parses `21:00-08:00`; `24:00` is midnight.
    pub fn parse(text: &str) -> Result<Self, WindowError> {
        let wrong = || WindowError {
            given: text.chars().take(32).collect(),
        };
        let (start, end) = text.trim().split_once('-').ok_or_else(wrong)?;
        Ok(Self {
            start: clock(start).ok_or_else(wrong)?,
            end: clock(end).ok_or_else(wrong)?,
        })
    }

    fn crosses_midnight(self) -> bool {
        self.end < self.start
    }

    /// Whether a quiet window covers the reading; one of no length covers nothing.
    pub fn quiet_at(self, time: Time) -> bool {
        if self.start <= self.end {
            self.start <= time && time < self.end
        } else {
            time >= self.start || time < self.end
        }
    }

    /// Whether an open window covers the reading; one of no length is the whole day.
    pub fn open_at(self, time: Time) -> bool {
        self.start == self.end || self.quiet_at(time)
    }
}

/// A text that is not a window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{given}\" is not a window of the day; write it as 21:00-08:00")]
pub struct WindowError {
    /// What was given, cut at 32 characters.
    pub given: String,
}

fn clock(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    let number = |digits: &str| match digits.len() {
        1 | 2 if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse::<i8>().ok(),
        _ => None,
    };
    match (number(hour)?, number(minute)?) {
        (24, 0) => Some(Time::midnight()),
        (hour, minute) => Time::new(hour, minute, 0, 0).ok(),
    }
}

/// Local hours at which a message may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hours {
    /// Not within any of these.
    pub quiet: Vec<Window>,
    /// Within every one of these.
    pub open: Vec<Window>,
    /// On these days only, by business hours; a window over midnight belongs to the day it starts on.
    pub business: Option<(Window, BTreeSet<BusinessDay>)>,
}

impl Hours {
    /// Whether the wall clock reading is allowed.
    pub fn allow(&self, local: DateTime) -> bool {
        let time = local.time();
        !self.quiet.iter().any(|window| window.quiet_at(time))
            && self.open.iter().all(|window| window.open_at(time))
            && self
                .business
                .as_ref()
                .is_none_or(|(window, days)| in_business(*window, days, local))
    }

    /// The first allowed instant, `from` itself included; none where no hour of any day is allowed.
    ///
    /// What is allowed changes only where a window starts or ends, at midnight, and where the zone's offset changes, so
    /// the first of those instants that is allowed is the answer, to the nanosecond. In a gap of the clocks a window
    /// ends at the jump; in an overlap the wall clock decides, both times round.
    pub fn next_allowed(&self, from: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = zone.to_datetime(from);
        if self.allow(local) {
            return Some(from);
        }
        let today = local.date();
        let near = self.first_allowed(from, zone, today, NEAR_DAYS);
        // Clocks put back over midnight mix the last two days searched; only what lies well before them is certain.
        let certain = today.saturating_add((NEAR_DAYS - 1).days());
        match near {
            Some(instant) if zone.to_datetime(instant).date() < certain => Some(instant),
            _ => self.first_allowed(from, zone, today, FAR_DAYS),
        }
    }

    fn first_allowed(&self, from: Timestamp, zone: &TimeZone, today: Date, days: i32) -> Option<Timestamp> {
        let mut instants = Vec::with_capacity(64);
        // A day before, for zones that went back over midnight.
        for day in -1..days {
            let date = today.saturating_add(day.days());
            for time in self.boundaries() {
                match zone::local_to_utc(zone, date.to_datetime(time)) {
                    LocalInstant::Normal(instant) => instants.push(instant),
                    LocalInstant::Gap { transition, .. } => instants.push(transition),
                    LocalInstant::Overlap { first, second } => instants.extend([first, second]),
                }
            }
        }
        let last = instants.iter().max().copied().unwrap_or(from);
        instants.extend(zone::transitions(zone, from, last));
        instants.retain(|instant| *instant > from);
        instants.sort_unstable();
        instants
            .into_iter()
            .find(|instant| self.allow(zone.to_datetime(*instant)))
    }

    /// The readings at which what is allowed can change.
    fn boundaries(&self) -> impl Iterator<Item = Time> {
        let business = self.business.as_ref().map(|(window, _)| window.start);
        std::iter::once(Time::midnight())
            .chain(self.quiet.iter().map(|window| window.end))
            .chain(self.open.iter().map(|window| window.start))
            .chain(business)
    }
}

fn in_business(window: Window, days: &BTreeSet<BusinessDay>, local: DateTime) -> bool {
    let after_midnight = window.crosses_midnight() && local.time() < window.end;
    let date = if after_midnight {
        local.date().saturating_sub(1.day())
    } else {
        local.date()
    };
    window.open_at(local.time()) && days.contains(&BusinessDay::from(date.weekday()))
}

/// Whether it is quiet now by one window (`21:00-08:00`) in the zone, and the next instant that is not quiet. A window
/// of no length is never quiet.
pub fn quiet_hours(window: &str, zone: &TimeZone, now: Timestamp) -> Result<(bool, Timestamp), WindowError> {
    let hours = Hours {
        quiet: vec![Window::parse(window)?],
        ..Hours::default()
    };
    let quiet = !hours.allow(zone.to_datetime(now));
    Ok((quiet, hours.next_allowed(now, zone).unwrap_or(now)))
}
