//! Tables and properties of the campaign rules.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bounds;
mod built_in;
mod cadence;
mod conditions;
mod context;
mod due;
mod due_dates;
mod due_hours;
mod due_numbers;
mod needs;
mod reasons;
mod runs;
mod total;
mod validate;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::sync::Arc;
use tidings_core::campaign::{Cell, Columns, Customer, Definition, Row, RunWindow};
use tidings_core::redact::Private;
use tidings_core::zone;

/// A campaign of a table and a due rule, with whatever TOML follows.
fn campaign(from: &str, due: &str, more: &str) -> Definition {
    let text = format!(
        r#"
        name = "check"
        title = "Check"
        purpose = "Proves a rule."
        message_type = "check"
        category = "service"
        urgency = "normal"
        schedule = {{ every = "day", hour_utc = 14 }}
        from = "{from}"
        due = {{ {due} }}
        {more}
        "#
    );
    toml::from_str(&text).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

fn place(name: &str) -> TimeZone {
    zone::find(name).unwrap()
}

fn text(text: &str) -> Cell {
    Cell::Text(Private::new(text.to_owned()))
}

/// A cell of what is written: a day, an instant, a number, nothing (`-`), or text.
fn cell(written: &str) -> Cell {
    if written == "-" {
        return Cell::Null;
    }
    if written == "!" {
        return Cell::Malformed {
            problem: "is not a date".to_owned(),
        };
    }
    if let Ok(instant) = written.parse() {
        return Cell::Instant(instant);
    }
    if let Ok(date) = written.parse() {
        return Cell::Date(date);
    }
    written.parse().map_or_else(|_| text(written), Cell::Number)
}

fn row(cells: &[(&str, &str)]) -> Row {
    row_of(
        cells
            .iter()
            .map(|(name, written)| (*name, cell(written)))
            .collect(),
    )
}

fn row_of(cells: Vec<(&str, Cell)>) -> Row {
    let names = cells.iter().map(|(name, _)| (*name).to_owned()).collect();
    Row {
        key: "1".to_owned(),
        columns: Arc::new(Columns::new(names)),
        cells: cells.into_iter().map(|(_, cell)| cell).collect(),
        customer: None,
    }
}

fn customer(cells: &[(&str, &str)]) -> Arc<Customer> {
    Arc::new(Customer {
        key: "7".to_owned(),
        columns: Arc::new(Columns::new(
            cells.iter().map(|(name, _)| (*name).to_owned()).collect(),
        )),
        cells: cells.iter().map(|(_, written)| cell(written)).collect(),
        emails: Vec::new(),
        phones: Vec::new(),
    })
}

fn first_run(as_of: &str) -> RunWindow {
    RunWindow {
        as_of: at(as_of),
        previous: None,
    }
}

fn later_run(previous: &str, as_of: &str) -> RunWindow {
    RunWindow {
        as_of: at(as_of),
        previous: Some(at(previous)),
    }
}
