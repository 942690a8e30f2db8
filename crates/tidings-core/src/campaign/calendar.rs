//! Days and hours that cannot overflow, and the stretch of time a run covers.

use super::window::RunWindow;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

/// The number of a day, counted from 1970-01-01.
pub(super) fn number_of(date: Date) -> i64 {
    date.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24
}

/// How many days `to` lies after `from`.
pub(super) fn days_between(from: Date, to: Date) -> i64 {
    number_of(to) - number_of(from)
}

/// So many days later; none beyond the calendar.
pub(super) fn plus_days(date: Date, days: i64) -> Option<Date> {
    date.checked_add(Span::new().try_days(days).ok()?).ok()
}

/// So many months later, on the last day of a month that is too short; none beyond the calendar.
pub(super) fn plus_months(date: Date, months: i64) -> Option<Date> {
    let month = i64::from(date.year()) * 12 + i64::from(date.month()) - 1;
    let month = month.checked_add(months)?;
    let year = i16::try_from(month.div_euclid(12)).ok()?;
    let first = Date::new(year, i8::try_from(month.rem_euclid(12) + 1).ok()?, 1).ok()?;
    Date::new(first.year(), first.month(), date.day().min(first.days_in_month())).ok()
}

/// Whole years from one day to another; 0 where there are none.
pub(super) fn whole_years(from: Date, to: Date) -> i64 {
    let years = i64::from(to.year()) - i64::from(from.year());
    let full = plus_months(from, years * 12).is_some_and(|day| day <= to);
    (if full { years } else { years - 1 }).max(0)
}

/// The hours as a duration.
pub(super) const fn hours(hours: u32) -> SignedDuration {
    SignedDuration::from_hours(hours as i64)
}

/// The local day of an instant.
pub(super) fn local_day(zone: &TimeZone, instant: Timestamp) -> Date {
    zone.to_datetime(instant).date()
}

/// The local days a run covers, ends included; empty when `first` lies after `today`.
#[derive(Clone, Copy, Debug)]
pub(super) struct CoveredDays {
    first: i64,
    /// The local day of the run.
    pub(super) today: Date,
}

impl CoveredDays {
    pub(super) fn new(window: &RunWindow, zone: &TimeZone, lookback_days: u32) -> Self {
        let today = local_day(zone, window.as_of);
        let first = match window.previous {
            None => number_of(today),
            Some(previous) => number_of(local_day(zone, previous)) + 1,
        };
        Self {
            first: first - i64::from(lookback_days),
            today,
        }
    }

    pub(super) fn covers(&self, day: Date) -> bool {
        self.first <= number_of(day) && day <= self.today
    }
}

/// Whether a run covers an instant: later runs take up where the one before ended, a first one reaches back by `width`.
pub(super) fn covers_instant(window: &RunWindow, width: SignedDuration, instant: Timestamp) -> bool {
    let after = match window.previous {
        Some(previous) => instant > previous,
        None => match window.as_of.checked_sub(width) {
            Ok(start) => instant > start,
            Err(_) => true,
        },
    };
    after && instant <= window.as_of
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn months_end_where_the_month_ends() {
        assert_eq!(plus_months(date(2026, 1, 31), 1), Some(date(2026, 2, 28)));
        assert_eq!(plus_months(date(2028, 1, 31), 1), Some(date(2028, 2, 29)));
        assert_eq!(plus_months(date(2024, 2, 29), 12), Some(date(2025, 2, 28)));
        assert_eq!(plus_months(date(2024, 2, 29), 48), Some(date(2028, 2, 29)));
        assert_eq!(plus_months(date(2026, 3, 31), -1), Some(date(2026, 2, 28)));
        assert_eq!(plus_months(date(-1, 12, 15), 1), Some(date(0, 1, 15)));
    }

    #[test]
    fn nothing_lies_beyond_the_calendar() {
        assert_eq!(plus_months(Date::MAX, 1), None);
        assert_eq!(plus_months(Date::MIN, -1), None);
        assert_eq!(plus_months(Date::MAX, i64::MAX), None);
        assert_eq!(plus_days(Date::MAX, 1), None);
        assert_eq!(plus_days(Date::MIN, i64::MIN), None);
        assert_eq!(
            plus_days(Date::MIN, days_between(Date::MIN, Date::MAX)),
            Some(Date::MAX)
        );
    }

    #[test]
    fn years_are_full_on_the_day() {
        assert_eq!(whole_years(date(2018, 11, 25), date(2026, 11, 24)), 7);
        assert_eq!(whole_years(date(2018, 11, 25), date(2026, 11, 25)), 8);
        assert_eq!(whole_years(date(2024, 2, 29), date(2025, 2, 28)), 1);
        assert_eq!(whole_years(date(2030, 1, 1), date(2026, 1, 1)), 0);
        assert_eq!(whole_years(Date::MIN, Date::MAX), 19998);
    }
}
