//! Whether a due rule can be followed: names of the right kinds, and numbers within their ranges.

use super::definition::{Cadence, Definition, DueRule};
use super::schema::ColumnKind;
use super::validate::{MOST_DAYS, MOST_HOURS, Problems, is_word};

const MOST_DATES: usize = 8;
/// Two returns never lie this near to each other, so at most one comes due at a time.
const MOST_DAYS_BEFORE: u16 = 364;
const MOST_PARTS: u16 = 100;

/// What a rule needs of a name.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    Day,
    Instant,
    Number,
}

impl Wanted {
    pub(super) fn fits(self, kind: ColumnKind) -> bool {
        match self {
            Self::Day => matches!(kind, ColumnKind::Date | ColumnKind::Instant),
            Self::Instant => kind == ColumnKind::Instant,
            Self::Number => kind == ColumnKind::Number,
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Day => "a date or an instant",
            Self::Instant => "an instant",
            Self::Number => "a number",
        }
    }
}

impl Definition {
    pub(super) fn check_due(&self, problems: &mut Problems) {
        match &self.due {
            DueRule::After {
                latest_of,
                years,
                months,
                days,
                lookback_days,
            } => {
                problems.unless(!latest_of.is_empty(), "due.latest_of", || {
                    "name one date at least".to_owned()
                });
                problems.count("due.latest_of", latest_of.len(), MOST_DATES);
                for (index, name) in latest_of.iter().enumerate() {
                    self.expect(&format!("due.latest_of[{index}]"), name, Wanted::Day, problems);
                }
                problems.range("due.years", *years, 0, 100);
                problems.range("due.months", *months, 0, 1200);
                problems.range("due.days", u32::from(*days), 0, MOST_DAYS);
                problems.range("due.lookback_days", *lookback_days, 0, MOST_DAYS);
            }
            DueRule::Before {
                date,
                days,
                lookback_days,
            } => {
                self.expect("due.date", date, Wanted::Day, problems);
                problems.range("due.days", u32::from(*days), 0, MOST_DAYS);
                problems.range("due.lookback_days", *lookback_days, 0, MOST_DAYS);
            }
            DueRule::Anniversary {
                date,
                days_before,
                lookback_days,
            } => {
                self.expect("due.date", date, Wanted::Day, problems);
                problems.range("due.days_before", *days_before, 0, MOST_DAYS_BEFORE);
                problems.range("due.lookback_days", *lookback_days, 0, MOST_DAYS);
            }
            DueRule::HoursAfter {
                instant,
                from_hours,
                to_hours,
            } => self.check_hours(instant, *from_hours, *to_hours, problems),
            DueRule::HoursBefore {
                instant,
                from_hours,
                to_hours,
                late_from_hours,
            } => {
                self.check_hours(instant, *from_hours, *to_hours, problems);
                problems.unless(late_from_hours <= from_hours, "due.late_from_hours", || {
                    format!("{late_from_hours} is more than from_hours ({from_hours}), so rows in time would be dropped")
                });
            }
            DueRule::Season { word } => {
                let good = is_word(word) && word.len() <= 32;
                problems.unless(good, "due.word", || {
                    "use at most 32 lower-case letters, digits or underscores: spring".to_owned()
                });
            }
            DueRule::Reached { number, at_least } => {
                self.expect("due.number", number, Wanted::Number, problems);
                problems.range("due.at_least", *at_least, -1e12, 1e12);
            }
            DueRule::Crossed { number, since, step } => {
                self.expect("due.number", number, Wanted::Number, problems);
                if let Some(since) = since {
                    self.expect("due.since", since, Wanted::Number, problems);
                }
                problems.range("due.step", *step, 0.001, 1e12);
            }
            DueRule::Series {
                date,
                every_days,
                parts,
            } => self.check_series(date, *every_days, *parts, problems),
        }
    }

    fn check_hours(&self, instant: &str, from: u32, to: u32, problems: &mut Problems) {
        self.expect("due.instant", instant, Wanted::Instant, problems);
        problems.unless(from < to, "due.from_hours", || {
            format!("{from} is not less than to_hours ({to}): no row would ever be due")
        });
        problems.range("due.to_hours", to, 1, MOST_HOURS);
    }

    fn check_series(&self, date: &str, every_days: u16, parts: u16, problems: &mut Problems) {
        self.expect("due.date", date, Wanted::Day, problems);
        problems.range("due.every_days", every_days, 1, 366);
        problems.range("due.parts", parts, 1, MOST_PARTS);
        let days_between_runs = match self.schedule {
            Cadence::Day { .. } | Cadence::Interval { .. } => 1,
            Cadence::Days { days, .. } => days,
            Cadence::Year { .. } => 366,
        };
        let good = every_days == 0 || days_between_runs <= u32::from(every_days);
        problems.unless(good, "due.every_days", || {
            format!("the campaign runs every {days_between_runs} days, so parts every {every_days} days would be left out; run it more often")
        });
    }

    /// Checks that a name is known and holds what the rule needs.
    fn expect(&self, at: &str, name: &str, wanted: Wanted, problems: &mut Problems) {
        let Some(place) = self.known_place(at, name, problems) else {
            return;
        };
        let Some(kind) = place.kind() else { return };
        problems.unless(wanted.fits(kind), at, || {
            format!("\"{name}\" holds {kind}; name {}", wanted.words())
        });
    }
}
