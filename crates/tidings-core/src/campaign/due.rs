//! The due rules, one function each.

use super::assess::{Due, Moment, NotDueCode, Stop, Subject};
use super::calendar::{
    CoveredDays, covers_instant, days_between, hours, number_of, plus_days, plus_months, whole_years,
};
use super::cells::{self, Day, Read, must};
use super::definition::DueRule;
use super::words;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A row the rule takes, and what was found.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) due: Due,
    pub(super) detail: String,
}

type Known = BTreeMap<&'static str, Value>;

/// The rule in a few words.
pub(super) fn phrase(rule: &DueRule) -> String {
    let what = match rule {
        DueRule::After {
            latest_of,
            years,
            months,
            days,
            ..
        } => {
            let span = words::span(*years, *months, *days);
            match latest_of.as_slice() {
                [only] => format!("{only} + {span}"),
                several => format!("latest of {} + {span}", several.join(", ")),
            }
        }
        DueRule::Before { date, days, .. } => format!("{date} - {}", words::days(i64::from(*days))),
        DueRule::Anniversary {
            date, days_before, ..
        } => format!(
            "yearly return of {date} - {}",
            words::days(i64::from(*days_before))
        ),
        DueRule::HoursAfter {
            instant,
            from_hours,
            to_hours,
        } => format!("{from_hours} to {to_hours} hours after {instant}"),
        DueRule::HoursBefore {
            instant,
            from_hours,
            to_hours,
            ..
        } => format!("{from_hours} to {to_hours} hours before {instant}"),
        DueRule::Season { word } => format!("season {word}"),
        DueRule::Reached { number, at_least } => format!("{number} has reached {at_least}"),
        DueRule::Crossed { number, since, step } => match since {
            Some(since) => format!("{number} has passed a multiple of {step} since {since}"),
            None => format!("{number} has passed a multiple of {step}"),
        },
        DueRule::Series {
            date,
            every_days,
            parts,
        } => format!("{parts} parts, every {every_days} days after {date}"),
    };
    format!("due: {what}")
}

/// Asks the rule.
pub(super) fn ask(subject: &Subject) -> Result<Met, Stop> {
    match &subject.definition.due {
        DueRule::After {
            latest_of,
            years,
            months,
            days,
            lookback_days,
        } => after(
            subject,
            latest_of,
            Span::new(*years, *months, *days),
            *lookback_days,
        ),
        DueRule::Before {
            date,
            days,
            lookback_days,
        } => before(subject, date, *days, *lookback_days),
        DueRule::Anniversary {
            date,
            days_before,
            lookback_days,
        } => anniversary(subject, date, *days_before, *lookback_days),
        DueRule::HoursAfter {
            instant,
            from_hours,
            to_hours,
        } => hours_after(subject, instant, *from_hours, *to_hours),
        DueRule::HoursBefore {
            instant,
            from_hours,
            to_hours,
            late_from_hours,
        } => hours_before(subject, instant, *from_hours, *to_hours, *late_from_hours),
        DueRule::Season { word } => Ok(season(subject, word)),
        DueRule::Reached { number, at_least } => reached(subject, number, *at_least),
        DueRule::Crossed { number, since, step } => crossed(subject, number, since.as_deref(), *step),
        DueRule::Series {
            date,
            every_days,
            parts,
        } => series(subject, date, *every_days, *parts),
    }
}

#[derive(Clone, Copy)]
struct Span {
    years: u16,
    months: u16,
    days: u16,
}

impl Span {
    const fn new(years: u16, months: u16, days: u16) -> Self {
        Self { years, months, days }
    }

    fn after(self, date: Date) -> Option<Date> {
        let months = i64::from(self.years) * 12 + i64::from(self.months);
        plus_days(plus_months(date, months)?, i64::from(self.days))
    }
}

fn after(subject: &Subject, latest_of: &[String], span: Span, lookback_days: u32) -> Result<Met, Stop> {
    let (name, latest) = latest(subject, latest_of)?;
    let covered = CoveredDays::new(subject.window, subject.zone, lookback_days);
    let found = format!(
        "{name} is {}, {}; the rule wants {}",
        latest.local,
        words::ago(latest.local, covered.today),
        words::span(span.years, span.months, span.days)
    );
    let due_on = within(&covered, span.after(latest.local), &found, None)?;
    let known = Known::from([
        ("latest_on", json!(latest.local.to_string())),
        ("days_since", json!(days_between(latest.local, covered.today))),
        ("years", json!(whole_years(latest.local, covered.today))),
    ]);
    Ok(met(
        latest.stable.to_string(),
        Moment::Day(due_on),
        None,
        known,
        found,
    ))
}

/// The latest of the days that are there, and which it is.
fn latest<'a>(subject: &Subject, names: &'a [String]) -> Result<(&'a str, Day), Stop> {
    let mut best: Option<(&str, Day)> = None;
    let mut missing = None;
    let mut mapped = false;
    for name in names {
        match cells::day(subject, name)? {
            Read::Null => mapped = true,
            Read::Unmapped if needed(subject, name) => return Err(cells::unmapped(name)),
            Read::Unmapped => missing = Some(name),
            Read::Value(day) => {
                let stable = best.map_or(day.stable, |(_, so_far)| so_far.stable.max(day.stable));
                let (name, local) = match best {
                    Some((name, so_far)) if so_far.local >= day.local => (name, so_far.local),
                    _ => (name.as_str(), day.local),
                };
                best = Some((name, Day { local, stable }));
            }
        }
    }
    if let Some(name) = missing.filter(|_| best.is_none() && !mapped) {
        return Err(cells::unmapped(name));
    }
    best.ok_or_else(|| {
        let detail = format!("{} is empty; there is nothing to count from", names.join(" and "));
        Stop::not_due(NotDueCode::NoValue, detail, None)
    })
}

/// A related value that is not optional must be mapped, even where others are there.
fn needed(subject: &Subject, name: &str) -> bool {
    let related = &subject.definition.related;
    related.iter().any(|one| one.name == name && !one.optional)
}

fn before(subject: &Subject, name: &str, days: u16, lookback_days: u32) -> Result<Met, Stop> {
    let date = must(cells::day(subject, name)?, name)?;
    let covered = CoveredDays::new(subject.window, subject.zone, lookback_days);
    let found = format!(
        "{name} is {}, {}; the rule wants {} before",
        date.local,
        words::ago(date.local, covered.today),
        words::days(i64::from(days))
    );
    if covered.today > date.local {
        return Err(Stop::not_due(NotDueCode::Passed, found, None));
    }
    let due_on = within(&covered, plus_days(date.local, -i64::from(days)), &found, None)?;
    let known = Known::from([("days_left", json!(days_between(covered.today, date.local)))]);
    let until = Some(Moment::Day(date.local));
    Ok(met(
        date.stable.to_string(),
        Moment::Day(due_on),
        until,
        known,
        found,
    ))
}

fn anniversary(subject: &Subject, name: &str, days_before: u16, lookback_days: u32) -> Result<Met, Stop> {
    let date = must(cells::day(subject, name)?, name)?;
    let covered = CoveredDays::new(subject.window, subject.zone, lookback_days);
    let lead = i64::from(days_before);
    let returns = |years: i64| plus_months(date.local, years * 12);
    let comes_due = |years: i64| returns(years).and_then(|day| plus_days(day, -lead));
    let years = latest_return(date.local, plus_days(covered.today, lead).unwrap_or(Date::MAX));
    let told = |years: i64| {
        let day = returns(years).map_or_else(|| "beyond the calendar".to_owned(), |day| day.to_string());
        format!(
            "{name} is {}; it returns on {day}, and the rule wants {} before",
            date.local,
            words::days(lead)
        )
    };
    let next = comes_due(years.max(0) + 1).map(Moment::Day);
    if years < 1 {
        let code = if next.is_some() {
            NotDueCode::TooEarly
        } else {
            NotDueCode::Never
        };
        return Err(Stop::not_due(code, told(1), next));
    }
    let found = told(years);
    let return_on = returns(years).filter(|day| covered.today <= *day);
    let Some(return_on) = return_on else {
        return Err(Stop::not_due(NotDueCode::Passed, found, next));
    };
    let due_on = within(&covered, comes_due(years), &found, next)?;
    let known = Known::from([
        ("years", json!(years)),
        ("return_on", json!(return_on.to_string())),
        ("days_left", json!(days_between(covered.today, return_on))),
    ]);
    let occurrence = (i64::from(date.stable.year()) + years).to_string();
    let until = Some(Moment::Day(return_on));
    Ok(met(occurrence, Moment::Day(due_on), until, known, found))
}

/// Which return of a day is the last one up to a horizon; 0 or less where there was none yet.
fn latest_return(date: Date, horizon: Date) -> i64 {
    let years = i64::from(horizon.year()) - i64::from(date.year());
    match plus_months(date, years * 12) {
        Some(day) if day <= horizon => years,
        _ => years - 1,
    }
}

fn hours_after(subject: &Subject, name: &str, from_hours: u32, to_hours: u32) -> Result<Met, Stop> {
    let instant = must(cells::instant(subject, name)?, name)?;
    let as_of = subject.window.as_of;
    let found = format!(
        "{name} is {instant}, {}; the rule wants {from_hours} to {to_hours} hours",
        words::hours_ago(instant, as_of)
    );
    let moment = instant.checked_add(hours(from_hours)).ok();
    let due_on = reached_in(subject, moment, width(from_hours, to_hours), &found)?;
    Ok(met(
        instant.to_string(),
        Moment::Instant(due_on),
        None,
        Known::new(),
        found,
    ))
}

fn hours_before(
    subject: &Subject,
    name: &str,
    from_hours: u32,
    to_hours: u32,
    late_from_hours: u32,
) -> Result<Met, Stop> {
    let instant = must(cells::instant(subject, name)?, name)?;
    let as_of = subject.window.as_of;
    let found = format!(
        "{name} is {instant}, {}; the rule wants {from_hours} to {to_hours} hours before",
        words::hours_ago(instant, as_of)
    );
    if instant.duration_since(as_of) <= hours(late_from_hours) {
        return Err(Stop::not_due(NotDueCode::Passed, found, None));
    }
    // An appointment so early that no instant lies so many hours before it came due at the beginning of time.
    let moment = instant.checked_sub(hours(to_hours)).unwrap_or(Timestamp::MIN);
    let due_on = reached_in(subject, Some(moment), width(from_hours, to_hours), &found)?;
    let until = Some(Moment::Instant(instant));
    Ok(met(
        instant.to_string(),
        Moment::Instant(due_on),
        until,
        Known::new(),
        found,
    ))
}

pub(super) fn width(from_hours: u32, to_hours: u32) -> SignedDuration {
    hours(to_hours.saturating_sub(from_hours))
}

fn season(subject: &Subject, word: &str) -> Met {
    // The year is that of UTC, so that it is the same for every contact of a run.
    let year = jiff::tz::Offset::UTC.to_datetime(subject.window.as_of).year();
    let known = Known::from([("season", json!(word))]);
    let found = format!("the {word} of {year} has come");
    met(
        format!("{word}-{year}"),
        Moment::Day(subject.today()),
        None,
        known,
        found,
    )
}

fn reached(subject: &Subject, name: &str, at_least: f64) -> Result<Met, Stop> {
    let number = must(cells::number(subject, name)?, name)?;
    let found = format!(
        "{name} is {}; the rule wants {}",
        words::number(number),
        words::number(at_least)
    );
    if number < at_least || at_least.is_nan() {
        return Err(Stop::not_due(NotDueCode::NotReached, found, None));
    }
    let known = Known::from([("mark", words::json_number(at_least))]);
    Ok(met(
        words::number(at_least),
        Moment::Day(subject.today()),
        None,
        known,
        found,
    ))
}

fn crossed(subject: &Subject, name: &str, since: Option<&str>, step: f64) -> Result<Met, Stop> {
    let number = must(cells::number(subject, name)?, name)?;
    let last = match since {
        None => 0.0,
        Some(since) => match cells::number(subject, since)? {
            Read::Value(last) => last,
            Read::Unmapped if needed(subject, since) => return Err(cells::unmapped(since)),
            Read::Null | Read::Unmapped => 0.0,
        },
    };
    let mark = (number / step).floor() * step;
    let found = format!(
        "{name} is {}, and was {} at the last service; the rule wants a multiple of {} between",
        words::number(number),
        words::number(last),
        words::number(step)
    );
    let passed = mark.is_finite() && step > 0.0 && mark >= step && mark > last;
    if !passed {
        return Err(Stop::not_due(NotDueCode::NotReached, found, None));
    }
    let known = Known::from([("mark", words::json_number(mark))]);
    Ok(met(
        words::number(mark),
        Moment::Day(subject.today()),
        None,
        known,
        found,
    ))
}

fn series(subject: &Subject, name: &str, every_days: u16, parts: u16) -> Result<Met, Stop> {
    let date = must(cells::day(subject, name)?, name)?;
    let covered = CoveredDays::new(subject.window, subject.zone, 0);
    let every = i64::from(every_days);
    let day_of = |part: i64| plus_days(date.local, part * every);
    let since = days_between(date.local, covered.today);
    let part = since.checked_div_euclid(every).unwrap_or(0).min(i64::from(parts));
    let found = format!(
        "{name} is {}, {}; the rule wants {parts} parts, one every {}",
        date.local,
        words::ago(date.local, covered.today),
        words::days(every)
    );
    let next = (part.max(0) < i64::from(parts))
        .then(|| day_of(part.max(0) + 1))
        .flatten();
    let next = next.map(Moment::Day);
    if part < 1 || every < 1 {
        let code = if next.is_some() {
            NotDueCode::TooEarly
        } else {
            NotDueCode::Never
        };
        return Err(Stop::not_due(code, found, next));
    }
    let due_on = within(&covered, day_of(part), &found, next)?;
    let known = Known::from([("part", json!(part)), ("days_since", json!(since))]);
    Ok(met(part.to_string(), Moment::Day(due_on), None, known, found))
}

/// The day a row comes due, when the run covers it. `next` is when a row that is too late has its next chance.
fn within(
    covered: &CoveredDays,
    due_on: Option<Date>,
    found: &str,
    next: Option<Moment>,
) -> Result<Date, Stop> {
    let Some(due_on) = due_on else {
        let detail = format!("{found}, which lies beyond the calendar");
        return Err(Stop::not_due(NotDueCode::Never, detail, None));
    };
    if covered.covers(due_on) {
        return Ok(due_on);
    }
    if number_of(due_on) > number_of(covered.today) {
        let detail = format!("{found}: it comes due on {due_on}");
        return Err(Stop::not_due(
            NotDueCode::TooEarly,
            detail,
            Some(Moment::Day(due_on)),
        ));
    }
    let detail = format!("{found}: it came due on {due_on}, before the days this run covers");
    Err(Stop::not_due(NotDueCode::TooLate, detail, next))
}

/// The instant a row comes due, when the run covers it.
fn reached_in(
    subject: &Subject,
    moment: Option<Timestamp>,
    width: SignedDuration,
    found: &str,
) -> Result<Timestamp, Stop> {
    let Some(moment) = moment else {
        let detail = format!("{found}, which lies beyond the calendar");
        return Err(Stop::not_due(NotDueCode::Never, detail, None));
    };
    if covers_instant(subject.window, width, moment) {
        return Ok(moment);
    }
    if moment > subject.window.as_of {
        let detail = format!("{found}: it comes due at {moment}");
        return Err(Stop::not_due(
            NotDueCode::TooEarly,
            detail,
            Some(Moment::Instant(moment)),
        ));
    }
    let detail = format!("{found}: it came due at {moment}, before the time this run covers");
    Err(Stop::not_due(NotDueCode::TooLate, detail, None))
}

fn met(occurrence: String, due_on: Moment, until: Option<Moment>, mut known: Known, detail: String) -> Met {
    known.insert("due_on", json!(due_on.to_string()));
    let due = Due {
        occurrence,
        due_on,
        until,
        known,
    };
    Met { due, detail }
}
