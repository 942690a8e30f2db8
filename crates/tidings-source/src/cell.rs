//! From what stands in a tenant's column to a cell of a known kind. What cannot be read becomes a malformed cell, never an
//! error: one odd value does not hide the rows beside it.

use crate::catalogue::TypeClass;
use crate::database::Raw;
use crate::mapping::Format;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use tidings_core::campaign::{Cell, ColumnKind};
use tidings_core::redact::Private;

/// How a column is written.
#[derive(Clone, Debug)]
pub(crate) struct Writing {
    pub(crate) kind: ColumnKind,
    pub(crate) class: TypeClass,
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) format: Option<Format>,
    pub(crate) zone: TimeZone,
    pub(crate) scale: Option<f64>,
}

/// A date or time as it was found.
enum Moment {
    Day(Date),
    Local(DateTime),
    Instant(Timestamp),
}

/// Reads one value.
pub(crate) fn read(writing: &Writing, raw: &Raw) -> Cell {
    let text = match raw {
        Raw::Null => return Cell::Null,
        Raw::Unreadable(problem) => return malformed(*problem),
        Raw::Text(text) => text.as_str(),
    };
    let text = writing
        .values
        .get(text)
        .or_else(|| writing.values.get(text.trim()))
        .map_or(text, String::as_str);
    // Old databases leave blanks where there is nothing.
    if text.trim().is_empty() {
        return Cell::Null;
    }
    let read = match writing.kind {
        ColumnKind::Key | ColumnKind::Text => plain(text),
        ColumnKind::Number => number(text, writing.scale),
        ColumnKind::Flag => flag(text),
        ColumnKind::Date => moment(writing, text).map(|moment| Cell::Date(day(writing, &moment))),
        ColumnKind::Instant => moment(writing, text).and_then(|moment| instant(writing, &moment)),
    };
    read.unwrap_or_else(malformed)
}

fn malformed(problem: impl Into<String>) -> Cell {
    Cell::Malformed {
        problem: problem.into(),
    }
}

fn plain(text: &str) -> Result<Cell, &'static str> {
    if text.contains('\0') {
        return Err("the text holds a zero byte");
    }
    Ok(Cell::Text(Private::new(text.trim_end().to_owned())))
}

fn number(text: &str, scale: Option<f64>) -> Result<Cell, &'static str> {
    let number: f64 = text
        .trim()
        .parse()
        .map_err(|_| "it is no number such as 1234.56")?;
    if !number.is_finite() {
        return Err("it is no finite number");
    }
    Ok(Cell::Number(scaled(number, scale)))
}

/// 12345 cents are 123.45: dividing gives that, multiplying by 0.01 does not.
fn scaled(number: f64, scale: Option<f64>) -> f64 {
    match scale {
        None => number,
        Some(scale) => {
            let inverse = 1.0 / scale;
            if scale.abs() < 1.0 && (inverse - inverse.round()).abs() < 1e-9 {
                number / inverse.round()
            } else {
                number * scale
            }
        }
    }
}

fn flag(text: &str) -> Result<Cell, &'static str> {
    let word = text.trim().to_ascii_lowercase();
    match word.as_str() {
        "true" | "t" | "yes" | "y" | "j" | "ja" | "on" | "1" | "-1" => Ok(Cell::Flag(true)),
        "false" | "f" | "no" | "n" | "nein" | "off" | "0" => Ok(Cell::Flag(false)),
        _ => Err("it is neither yes nor no; the mapping's `values` says what it means"),
    }
}

const NO_DATE: &str = "it is no date such as 2027-06-12; the mapping's `format` says how it is written";

fn moment(writing: &Writing, text: &str) -> Result<Moment, &'static str> {
    let text = text.trim();
    match &writing.format {
        None => iso(text),
        Some(Format::EpochSeconds) => epoch(text, 1_000),
        Some(Format::EpochMillis) => epoch(text, 1),
        Some(Format::Pattern(pattern)) => patterned(pattern, text),
    }
}

fn iso(text: &str) -> Result<Moment, &'static str> {
    if text.len() == 10
        && let Ok(day) = text.parse()
    {
        return Ok(Moment::Day(day));
    }
    let read = match zoned_from(text) {
        Some(_) => offset_with_minutes(text).parse().ok().map(Moment::Instant),
        None => text.parse().ok().map(Moment::Local),
    };
    read.ok_or_else(|| why_not(text))
}

/// Where the offset of a time begins: `Z`, or a sign behind the day.
fn zoned_from(text: &str) -> Option<usize> {
    let behind = text.get(10..)?;
    behind.find(['Z', 'z', '+', '-']).map(|place| place + 10)
}

/// PostgreSQL writes `+00`, others `+0000`.
fn offset_with_minutes(text: &str) -> std::borrow::Cow<'_, str> {
    let Some(place) = zoned_from(text) else {
        return text.into();
    };
    let digits = text.len() - place - 1;
    if digits == 2 && text.is_char_boundary(place + 1) {
        format!("{text}:00").into()
    } else {
        text.into()
    }
}

fn why_not(text: &str) -> &'static str {
    if text.starts_with("0000-") || text.get(4..7) == Some("-00") || text.get(7..10) == Some("-00") {
        return "it is a zero date";
    }
    if text.trim_start_matches('-') == "infinity" {
        return "it is an infinite date";
    }
    NO_DATE
}

fn epoch(text: &str, milliseconds: i64) -> Result<Moment, &'static str> {
    const NO_EPOCH: &str = "it is no number of seconds or milliseconds since 1970";
    let number: i64 = match text.parse() {
        Ok(number) => number,
        Err(_) => match text.parse::<f64>() {
            Ok(number) if number.is_finite() && number.abs() < 1e15 => number.floor() as i64,
            _ => return Err(NO_EPOCH),
        },
    };
    number
        .checked_mul(milliseconds)
        .and_then(|number| Timestamp::from_millisecond(number).ok())
        .map(Moment::Instant)
        .ok_or(NO_EPOCH)
}

fn patterned(pattern: &str, text: &str) -> Result<Moment, &'static str> {
    const NOT_SO: &str = "it is not written as the mapping's `format` says";
    let parsed = jiff::fmt::strtime::parse(pattern, text).map_err(|_| NOT_SO)?;
    if parsed.offset().is_some() {
        return parsed.to_timestamp().map(Moment::Instant).map_err(|_| NOT_SO);
    }
    if parsed.hour().is_some() {
        return parsed.to_datetime().map(Moment::Local).map_err(|_| NOT_SO);
    }
    parsed.to_date().map(Moment::Day).map_err(|_| NOT_SO)
}

fn day(writing: &Writing, moment: &Moment) -> Date {
    match moment {
        Moment::Day(day) => *day,
        Moment::Local(local) if writing.class == TypeClass::Instant => {
            local.to_zoned(TimeZone::UTC).map_or(local.date(), |utc| {
                utc.with_time_zone(writing.zone.clone()).date()
            })
        }
        Moment::Local(local) => local.date(),
        Moment::Instant(instant) => instant.to_zoned(writing.zone.clone()).date(),
    }
}

fn instant(writing: &Writing, moment: &Moment) -> Result<Cell, &'static str> {
    const BEYOND: &str = "it is too far away in time";
    let local = match moment {
        Moment::Instant(instant) => return Ok(Cell::Instant(*instant)),
        Moment::Day(day) => day.at(0, 0, 0, 0),
        Moment::Local(local) => *local,
    };
    // MySQL's TIMESTAMP is a point in time and was asked for in UTC. Times that a clock change skips or repeats are
    // taken as most calendars do: with the offset of before.
    let zone = if writing.class == TypeClass::Instant {
        TimeZone::UTC
    } else {
        writing.zone.clone()
    };
    let zoned = local.to_zoned(zone).map_err(|_| BEYOND)?;
    Ok(Cell::Instant(zoned.timestamp()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn writing(kind: ColumnKind) -> Writing {
        Writing {
            kind,
            class: TypeClass::Other,
            values: BTreeMap::new(),
            format: None,
            zone: TimeZone::get("Europe/Vienna").unwrap(),
            scale: None,
        }
    }

    fn of(writing: &Writing, text: &str) -> Cell {
        read(writing, &Raw::Text(text.into()))
    }

    fn problem(cell: &Cell) -> &str {
        match cell {
            Cell::Malformed { problem } => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn dates_are_read_however_databases_write_them() {
        let date = |text: &str| Cell::Date(text.parse().unwrap());
        let plain = writing(ColumnKind::Date);
        for (text, day) in [
            ("2027-06-12", "2027-06-12"),
            ("2027-06-12 23:30:00", "2027-06-12"),
            ("2027-06-12T23:30:00.123456", "2027-06-12"),
            ("2027-06-12 23:30:00+00", "2027-06-13"),
            ("2027-06-12 23:30:00.5+00:00", "2027-06-13"),
            (" 2027-06-12 ", "2027-06-12"),
            ("20270612", "2027-06-12"),
        ] {
            assert_eq!(of(&plain, text), date(day), "{text}");
        }
        for (pattern, text) in [
            ("%d.%m.%Y", "12.06.2027"),
            ("%d.%m.%y", "12.06.27"),
            ("%Y%m%d", "20270612"),
        ] {
            let written = Writing {
                format: Some(pattern.to_owned().try_into().unwrap()),
                ..writing(ColumnKind::Date)
            };
            assert_eq!(of(&written, text), date("2027-06-12"), "{pattern}");
            assert!(problem(&of(&written, "32.13.2027")).contains("format"));
        }
    }

    #[test]
    fn instants_know_their_zone() {
        let instant = |text: &str| Cell::Instant(text.parse().unwrap());
        let plain = writing(ColumnKind::Instant);
        for (text, expected) in [
            ("2027-06-12 10:00:00", "2027-06-12T08:00:00Z"),
            ("2027-06-12", "2027-06-11T22:00:00Z"),
            ("2027-06-12 10:00", "2027-06-12T08:00:00Z"),
            ("2027-06-12 10:00:00+00", "2027-06-12T10:00:00Z"),
            ("2027-06-12 10:00:00-05:30", "2027-06-12T15:30:00Z"),
            ("2027-06-12T10:00:00Z", "2027-06-12T10:00:00Z"),
            ("2027-06-12T10:00:00+0200", "2027-06-12T08:00:00Z"),
            ("2027-03-28 02:30:00", "2027-03-28T01:30:00Z"),
        ] {
            assert_eq!(of(&plain, text), instant(expected), "{text}");
        }
        let stamp = Writing {
            class: TypeClass::Instant,
            ..writing(ColumnKind::Instant)
        };
        assert_eq!(of(&stamp, "2027-06-12 10:00:00"), instant("2027-06-12T10:00:00Z"));
        for (format, text) in [
            ("epoch_s", "1812880800"),
            ("epoch_ms", "1812880800000"),
            ("epoch_s", "1812880800.0"),
        ] {
            let written = Writing {
                format: Some(format.to_owned().try_into().unwrap()),
                ..writing(ColumnKind::Instant)
            };
            assert_eq!(of(&written, text), instant("2027-06-13T10:00:00Z"), "{format}");
            assert!(problem(&of(&written, "99999999999999999999")).contains("1970"));
        }
    }

    #[test]
    fn what_is_no_date_is_malformed_and_says_why_without_the_value() {
        for (text, why) in [
            ("0000-00-00", "zero date"),
            ("0000-00-00 00:00:00", "zero date"),
            ("2027-00-15", "zero date"),
            ("infinity", "infinite"),
            ("-infinity", "infinite"),
            ("2027-02-30", "no date"),
            ("0044-03-15 BC", "no date"),
            ("kim@example.com", "no date"),
            ("12.06.2027", "no date"),
            ("ééééééé+é", "no date"),
        ] {
            for kind in [ColumnKind::Date, ColumnKind::Instant] {
                let cell = of(&writing(kind), text);
                assert!(problem(&cell).contains(why), "{text}: {cell:?}");
                assert!(!problem(&cell).contains(text));
            }
        }
        let long = read(
            &writing(ColumnKind::Text),
            &Raw::Unreadable("it is not valid UTF-8"),
        );
        assert_eq!(problem(&long), "it is not valid UTF-8");
    }

    #[test]
    fn numbers_flags_and_texts() {
        let cents = Writing {
            scale: Some(0.01),
            ..writing(ColumnKind::Number)
        };
        assert_eq!(of(&cents, "12345"), Cell::Number(123.45));
        assert_eq!(
            of(&writing(ColumnKind::Number), " -1.5e3 "),
            Cell::Number(-1500.0)
        );
        for text in ["NaN", "Infinity", "1.234,5", "x"] {
            problem(&of(&writing(ColumnKind::Number), text));
        }
        for (text, expected) in [
            ("t", true),
            ("J", true),
            ("1", true),
            ("-1", true),
            ("No", false),
            ("0", false),
        ] {
            assert_eq!(
                of(&writing(ColumnKind::Flag), text),
                Cell::Flag(expected),
                "{text}"
            );
        }
        problem(&of(&writing(ColumnKind::Flag), "vielleicht"));
        let mapped = Writing {
            values: [("S".to_owned(), "no".to_owned())].into(),
            ..writing(ColumnKind::Flag)
        };
        assert_eq!(of(&mapped, "S "), Cell::Flag(false));
        assert_eq!(of(&mapped, "J"), Cell::Flag(true));
        let text = writing(ColumnKind::Text);
        assert_eq!(of(&text, "Kim  "), Cell::Text(Private::new("Kim".into())));
        assert_eq!(of(&text, "   "), Cell::Null);
        assert!(problem(&of(&text, "a\0b")).contains("zero byte"));
        assert_eq!(read(&text, &Raw::Null), Cell::Null);
    }
}
