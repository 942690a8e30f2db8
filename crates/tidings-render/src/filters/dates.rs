//! Dates and times, in the contact's zone and the template's language.

use super::{Registry, mail_field, text_of};
use crate::engine::invalid;
use crate::locale::{DateOrder, Locale};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use minijinja::{Error, State, Value};

pub(super) fn install(filters: &mut Registry<'_>) {
    filters.add("date", date);
    filters.add("time", time);
    filters.add("datetime", datetime);
}

/// What a text says about time.
enum Moment {
    Day(Date),
    Local(DateTime),
    /// Words, printed as they are ("spring 2027").
    Words,
}

fn moment(state: &State, value: &Value, zone: Option<&str>, filter: &str) -> Result<Moment, Error> {
    let text = text_of(value, filter)?.trim();
    if let Ok(instant) = text.parse::<Timestamp>() {
        let name = match zone {
            Some(name) => name.to_owned(),
            None => mail_field(state, "zone").unwrap_or_else(|| "UTC".to_owned()),
        };
        let zone = TimeZone::get(&name).map_err(|_| {
            invalid(format!(
                "{filter} knows no such time zone; use an IANA name such as Europe/Paris"
            ))
        })?;
        return Ok(Moment::Local(instant.to_zoned(zone).datetime()));
    }
    if text.contains(['T', ':'])
        && let Ok(local) = text.parse::<DateTime>()
    {
        return Ok(Moment::Local(local));
    }
    if let Ok(day) = text.parse::<Date>() {
        return Ok(Moment::Day(day));
    }
    let figures = text
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '-' | '/' | '.' | ':' | 'T' | 'Z' | ' ' | '+'));
    if figures {
        return Err(invalid(format!(
            "{filter} takes 2027-06-12 or 2027-06-12T18:00:00Z; the value is neither"
        )));
    }
    Ok(Moment::Words)
}

/// `event_date|date`, `event_date|date("short")`, `due|date("long", "Europe/Paris")`.
fn date(state: &mut State, value: &Value, style: Option<&str>, zone: Option<&str>) -> Result<String, Error> {
    let day = match moment(state, value, zone, "date")? {
        Moment::Day(day) => day,
        Moment::Local(local) => local.date(),
        Moment::Words => return Ok(value.as_str().unwrap_or_default().to_owned()),
    };
    let locale = super::locale(state);
    match style.unwrap_or("long") {
        "long" => Ok(long(day, locale, true)),
        "medium" => Ok(long(day, locale, false)),
        "short" => Ok(short(day, locale)),
        _ => Err(invalid("date knows the styles long, medium and short")),
    }
}

/// `starts_at|time`.
fn time(state: &mut State, value: &Value, zone: Option<&str>) -> Result<String, Error> {
    match moment(state, value, zone, "time")? {
        Moment::Local(local) => Ok(clock(local.time(), super::locale(state))),
        Moment::Words => Ok(value.as_str().unwrap_or_default().to_owned()),
        Moment::Day(_) => Err(invalid(
            "time takes an instant, the value is a day; use the date filter",
        )),
    }
}

/// `due|datetime`: day and time; a mere day stands without time.
fn datetime(state: &mut State, value: &Value, zone: Option<&str>) -> Result<String, Error> {
    let locale = super::locale(state);
    Ok(match moment(state, value, zone, "datetime")? {
        Moment::Day(day) => long(day, locale, true),
        Moment::Local(local) => {
            format!(
                "{}, {}",
                long(local.date(), locale, true),
                clock(local.time(), locale)
            )
        }
        Moment::Words => value.as_str().unwrap_or_default().to_owned(),
    })
}

fn long(day: Date, locale: &Locale, weekday: bool) -> String {
    let month = locale.months[usize::from(day.month().unsigned_abs()).saturating_sub(1) % 12];
    let (number, year) = (day.day(), day.year());
    let date = match locale.order {
        DateOrder::MonthFirst => format!("{month} {number}, {year}"),
        DateOrder::DayFirst => format!("{number} {month} {year}"),
        DateOrder::DayDot => format!("{number}. {month} {year}"),
        DateOrder::DayOf => format!("{number} de {month} de {year}"),
    };
    if !weekday {
        return date;
    }
    let name = locale.weekdays[usize::from(day.weekday().to_monday_zero_offset().unsigned_abs()) % 7];
    match locale.order {
        DateOrder::DayFirst => format!("{name} {date}"),
        _ => format!("{name}, {date}"),
    }
}

/// Numbers only where they cannot be misread: the month is a word.
fn short(day: Date, locale: &Locale) -> String {
    let month = locale.months[usize::from(day.month().unsigned_abs()).saturating_sub(1) % 12];
    let month: String = if month.chars().count() > 4 {
        month.chars().take(3).collect()
    } else {
        month.to_owned()
    };
    match locale.order {
        DateOrder::MonthFirst => format!("{month} {}", day.day()),
        DateOrder::DayDot => format!("{}. {month}", day.day()),
        DateOrder::DayFirst | DateOrder::DayOf => format!("{} {month}", day.day()),
    }
}

fn clock(time: Time, locale: &Locale) -> String {
    let minute = time.minute();
    if !locale.twelve_hours {
        return format!("{:02}:{minute:02}", time.hour());
    }
    let half = if time.hour() < 12 { "am" } else { "pm" };
    let hour = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    format!("{hour}:{minute:02} {half}")
}
