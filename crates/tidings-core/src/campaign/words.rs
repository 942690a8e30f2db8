//! Spans, ages and numbers in words, for reasons and references.

use super::calendar::days_between;
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;

/// From here on numbers are written with an exponent, so that none is hundreds of digits long.
const LONG: f64 = 1e15;

fn count(number: i64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {one}{plural}")
}

/// `1 day`, `7 days`.
pub(super) fn days(number: i64) -> String {
    count(number, "day")
}

/// `2 years`, `1 year and 3 days`.
pub(super) fn span(years: u16, months: u16, days: u16) -> String {
    let parts = [(years, "year"), (months, "month"), (days, "day")];
    let said: Vec<String> = parts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| count(i64::from(number), unit))
        .collect();
    if said.is_empty() {
        count(0, "day")
    } else {
        said.join(" and ")
    }
}

/// `9 days ago`, `today`, `in 3 days`.
pub(super) fn ago(date: Date, today: Date) -> String {
    match days_between(date, today) {
        0 => "today".to_owned(),
        past if past > 0 => format!("{} ago", days(past)),
        ahead => format!("in {}", days(-ahead)),
    }
}

/// `50 hours ago`, `in 24.5 hours`.
pub(super) fn hours_ago(instant: Timestamp, as_of: Timestamp) -> String {
    let seconds = as_of.duration_since(instant).as_secs();
    let tenths = (seconds.abs() + 180) / 360;
    let said = match (tenths / 10, tenths % 10) {
        (whole, 0) => count(whole, "hour"),
        (whole, tenth) => format!("{whole}.{tenth} hours"),
    };
    if seconds >= 0 {
        format!("{said} ago")
    } else {
        format!("in {said}")
    }
}

/// The shortest digits that mean the number: `20`, `2.5`, `1e300`.
pub(super) fn number(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    if number.is_finite() && (number.abs() >= LONG || number.abs() < 1.0 / LONG) {
        return format!("{number:e}");
    }
    number.to_string()
}

/// Whole numbers without decimals; null for what is no number.
pub(super) fn json_number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < LONG {
        return Value::from(number as i64);
    }
    serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number)
}
