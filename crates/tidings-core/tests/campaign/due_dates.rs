//! Before a date, on its yearly return, and in a series after it.

use super::due::{Expect, check, due};
use super::{campaign, day, first_run, later_run, row};
use Expect::{Due as Is, Not};
use NotDueCode::{Never, Passed, TooEarly, TooLate};
use tidings_core::campaign::{Moment, NotDueCode};

#[test]
fn days_before_a_date() {
    let definition = |more: &str| {
        let due = format!(r#"rule = "before", date = "warranty_end_date", days = 30{more}"#);
        campaign("equipment", &due, "")
    };
    let run = first_run("2026-11-25T14:00:00Z");
    for (ends, expect, with_lookback) in [
        ("2026-12-25", Is("2026-12-25"), Is("2026-12-25")),
        (
            "2026-12-26",
            Not(TooEarly, Some("2026-11-26")),
            Not(TooEarly, Some("2026-11-26")),
        ),
        ("2026-12-24", Not(TooLate, None), Is("2026-12-24")),
        ("2026-11-25", Not(TooLate, None), Is("2026-11-25")),
        ("2026-11-24", Not(Passed, None), Not(Passed, None)),
        ("-009999-01-01", Not(Passed, None), Not(Passed, None)),
    ] {
        let row = row(&[("warranty_end_date", ends)]);
        check(&definition(""), &row, "UTC", &run, &expect);
        check(
            &definition(", lookback_days = 60"),
            &row,
            "UTC",
            &run,
            &with_lookback,
        );
    }
    let found = due(
        &definition(""),
        &row(&[("warranty_end_date", "2026-12-25")]),
        "UTC",
        &run,
    );
    assert_eq!(found.known["days_left"], 30);
    assert_eq!(found.until, Some(Moment::Day(day("2026-12-25"))));
}

#[test]
fn the_yearly_return_of_a_date() {
    let definition = campaign(
        "equipment",
        r#"rule = "anniversary", date = "date_sold", days_before = 14"#,
        "",
    );
    for (sold, run, expect) in [
        ("2020-12-09", "2026-11-25", Is("2026")),
        ("2025-12-09", "2026-11-25", Is("2026")),
        ("2026-12-09", "2026-11-25", Not(TooEarly, Some("2027-11-25"))),
        ("2020-12-10", "2026-11-25", Not(Passed, Some("2026-11-26"))),
        ("2020-12-08", "2026-11-25", Not(TooLate, Some("2027-11-24"))),
        ("2020-11-24", "2026-11-25", Not(Passed, Some("2027-11-10"))),
        // The message goes out in the year before the return.
        ("2020-01-05", "2026-12-22", Is("2027")),
        ("2024-02-29", "2026-02-14", Is("2026")),
        ("2024-02-29", "2028-02-14", Not(Passed, Some("2028-02-15"))),
        ("2024-02-29", "2028-02-15", Is("2028")),
        ("2023-02-28", "2028-02-14", Is("2028")),
        ("9999-06-01", "2026-11-25", Not(Never, None)),
    ] {
        let window = first_run(&format!("{run}T14:00:00Z"));
        check(&definition, &row(&[("date_sold", sold)]), "UTC", &window, &expect);
    }
    let found = due(
        &definition,
        &row(&[("date_sold", "2020-12-09")]),
        "UTC",
        &first_run("2026-11-25T14:00:00Z"),
    );
    assert_eq!(found.known["years"], 6);
    assert_eq!(found.known["return_on"], "2026-12-09");
    assert_eq!(found.known["days_left"], 14);
}

#[test]
fn a_late_return_is_never_told_after_the_day() {
    let definition = campaign(
        "equipment",
        r#"rule = "anniversary", date = "date_sold", days_before = 1, lookback_days = 30"#,
        "",
    );
    let late = later_run("2026-11-20T14:00:00Z", "2026-11-25T14:00:00Z");
    for (sold, expect) in [
        ("2020-11-25", Is("2026")),
        ("2020-11-26", Is("2026")),
        ("2020-11-24", Not(Passed, Some("2027-11-23"))),
    ] {
        check(&definition, &row(&[("date_sold", sold)]), "UTC", &late, &expect);
    }
}

#[test]
fn the_parts_of_a_series() {
    let definition = campaign(
        "equipment",
        r#"rule = "series", date = "date_sold", every_days = 7, parts = 3"#,
        "",
    );
    let week = later_run("2026-11-18T14:00:00Z", "2026-11-25T14:00:00Z");
    for (sold, expect) in [
        ("2026-11-25", Not(TooEarly, Some("2026-12-02"))),
        ("2026-11-19", Not(TooEarly, Some("2026-11-26"))),
        ("2026-11-18", Is("1")),
        ("2026-11-12", Is("1")),
        ("2026-11-11", Is("2")),
        ("2026-11-04", Is("3")),
        ("2026-10-29", Is("3")),
        ("2026-10-28", Not(TooLate, None)),
        ("2027-01-01", Not(TooEarly, Some("2027-01-08"))),
    ] {
        check(&definition, &row(&[("date_sold", sold)]), "UTC", &week, &expect);
    }
    // A run that covers two parts sends the later one, not both.
    let fortnight = later_run("2026-11-11T14:00:00Z", "2026-11-25T14:00:00Z");
    check(
        &definition,
        &row(&[("date_sold", "2026-11-09")]),
        "UTC",
        &fortnight,
        &Is("2"),
    );
    check(
        &definition,
        &row(&[("date_sold", "2026-11-17")]),
        "UTC",
        &first_run("2026-11-25T14:00:00Z"),
        &Not(TooLate, Some("2026-12-01")),
    );
}

#[test]
fn the_year_of_a_return_is_the_same_in_every_zone() {
    let definition = campaign(
        "customers",
        r#"rule = "anniversary", date = "created_at", days_before = 0, lookback_days = 2"#,
        "",
    );
    // New Year in UTC, still the old year in New York.
    let row = row(&[("created_at", "2024-01-01T02:00:00Z")]);
    let window = first_run("2027-01-01T14:00:00Z");
    check(&definition, &row, "UTC", &window, &Is("2027"));
    let new_york = first_run("2026-12-31T14:00:00Z");
    check(&definition, &row, "America/New_York", &new_york, &Is("2027"));
}
