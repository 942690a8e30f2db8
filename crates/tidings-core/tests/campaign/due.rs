//! A table for each rule: what is due, under which occurrence, and what the answer is where it is not.

use super::{at, campaign, day, first_run, later_run, place, row};
use tidings_core::campaign::{Assessment, Definition, Due, Moment, NotDueCode, Row, RunWindow, assess};

#[derive(Debug, PartialEq)]
pub enum Expect {
    /// Due under the occurrence.
    Due(&'static str),
    /// Not due, with the code, and when that changes.
    Not(NotDueCode, Option<&'static str>),
    /// Malformed in the column.
    Malformed(&'static str),
}
use Expect::{Due as Is, Malformed as Bad, Not};
use NotDueCode::{Never, NoValue, TooEarly, TooLate, Unmapped};

pub fn answer(definition: &Definition, row: &Row, zone: &str, window: &RunWindow) -> Assessment {
    assess(definition, row, &place(zone), window)
}

pub fn due(definition: &Definition, row: &Row, zone: &str, window: &RunWindow) -> Due {
    match answer(definition, row, zone, window) {
        Assessment::Due(due) => due,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub fn check(definition: &Definition, row: &Row, zone: &str, window: &RunWindow, expect: &Expect) {
    let answer = answer(definition, row, zone, window);
    let good = match (&answer, expect) {
        (Assessment::Due(due), Is(occurrence)) => due.occurrence == *occurrence,
        (Assessment::NotDue(not), Not(code, changes)) => {
            not.code == *code && not.changes_at.map(|moment| moment.to_string()).as_deref() == *changes
        }
        (Assessment::Malformed(malformed), Bad(column)) => malformed.column == *column,
        _ => false,
    };
    assert!(
        good,
        "{row:?} in {zone} during {window:?}: {answer:?}, not {expect:?}"
    );
}

pub fn week_after() -> Definition {
    campaign(
        "equipment",
        r#"rule = "after", latest_of = ["date_sold"], days = 7"#,
        "",
    )
}

#[test]
fn days_after_a_date() {
    let today = first_run("2026-11-25T14:00:00Z");
    for (sold, expect) in [
        ("2026-11-18", Is("2026-11-18")),
        ("2026-11-19", Not(TooEarly, Some("2026-11-26"))),
        ("2026-12-24", Not(TooEarly, Some("2026-12-31"))),
        ("2026-11-17", Not(TooLate, None)),
        ("2026-11-16", Not(TooLate, None)),
        ("-000100-01-01", Not(TooLate, None)),
        ("9999-12-30", Not(Never, None)),
        ("-", Not(NoValue, None)),
        ("   ", Not(NoValue, None)),
        ("!", Bad("date_sold")),
        ("soon", Bad("date_sold")),
        ("12", Bad("date_sold")),
    ] {
        check(
            &week_after(),
            &row(&[("date_sold", sold)]),
            "UTC",
            &today,
            &expect,
        );
    }
    check(&week_after(), &row(&[]), "UTC", &today, &Not(Unmapped, None));
}

#[test]
fn months_and_years_end_where_the_month_ends() {
    for (span, sold, run, expect) in [
        (
            "months = 1",
            "2026-01-31",
            "2026-02-28T14:00:00Z",
            Is("2026-01-31"),
        ),
        (
            "months = 1",
            "2026-01-28",
            "2026-02-28T14:00:00Z",
            Is("2026-01-28"),
        ),
        (
            "months = 1",
            "2024-01-31",
            "2024-02-28T14:00:00Z",
            Not(TooEarly, Some("2024-02-29")),
        ),
        (
            "months = 1",
            "2024-01-31",
            "2024-02-29T14:00:00Z",
            Is("2024-01-31"),
        ),
        (
            "years = 2",
            "2024-02-29",
            "2026-02-28T14:00:00Z",
            Is("2024-02-29"),
        ),
        (
            "years = 4",
            "2024-02-29",
            "2028-02-28T14:00:00Z",
            Not(TooEarly, Some("2028-02-29")),
        ),
        (
            "years = 1, months = 1, days = 1",
            "2025-01-31",
            "2026-03-01T14:00:00Z",
            Is("2025-01-31"),
        ),
        ("days = 0", "2026-03-01", "2026-03-01T00:00:00Z", Is("2026-03-01")),
    ] {
        let due = format!(r#"rule = "after", latest_of = ["date_sold"], {span}"#);
        let definition = campaign("equipment", &due, "");
        check(
            &definition,
            &row(&[("date_sold", sold)]),
            "UTC",
            &first_run(run),
            &expect,
        );
    }
}

#[test]
fn the_day_is_that_of_the_contact() {
    // 20:00 in UTC: in Kiritimati the 26th has begun, in Pago Pago it is the 25th until 11:00 of the next day.
    let run = first_run("2026-11-25T20:00:00Z");
    for (zone, sold) in [
        ("UTC", "2026-11-18"),
        ("America/Los_Angeles", "2026-11-18"),
        ("Pacific/Kiritimati", "2026-11-19"),
        ("Asia/Tokyo", "2026-11-19"),
        ("Pacific/Pago_Pago", "2026-11-18"),
    ] {
        let row = row(&[("date_sold", sold)]);
        let occurrence = if sold == "2026-11-18" {
            Is("2026-11-18")
        } else {
            Is("2026-11-19")
        };
        check(&week_after(), &row, zone, &run, &occurrence);
    }
    let early = first_run("2026-11-25T05:00:00Z");
    check(
        &week_after(),
        &row(&[("date_sold", "2026-11-18")]),
        "America/New_York",
        &first_run("2026-11-25T04:59:59Z"),
        &Not(TooEarly, Some("2026-11-25")),
    );
    check(
        &week_after(),
        &row(&[("date_sold", "2026-11-18")]),
        "America/New_York",
        &early,
        &Is("2026-11-18"),
    );
}

#[test]
fn clocks_that_change_neither_skip_nor_double_a_day() {
    // New York puts the clocks forward on 8 March 2026; Beirut and Havana do so at midnight.
    for (zone, sold, previous, as_of) in [
        (
            "America/New_York",
            "2026-03-01",
            "2026-03-07T19:00:00Z",
            "2026-03-08T18:00:00Z",
        ),
        (
            "America/Havana",
            "2026-03-01",
            "2026-03-07T14:00:00Z",
            "2026-03-08T14:00:00Z",
        ),
        (
            "Europe/Berlin",
            "2026-10-18",
            "2026-10-24T14:00:00Z",
            "2026-10-25T14:00:00Z",
        ),
    ] {
        let row = row(&[("date_sold", sold)]);
        let occurrence = if sold == "2026-03-01" {
            Is("2026-03-01")
        } else {
            Is("2026-10-18")
        };
        check(
            &week_after(),
            &row,
            zone,
            &later_run(previous, as_of),
            &occurrence,
        );
        let next = at(as_of)
            .checked_add(jiff::SignedDuration::from_hours(24))
            .unwrap();
        check(
            &week_after(),
            &row,
            zone,
            &later_run(as_of, &next.to_string()),
            &Not(TooLate, None),
        );
    }
}

#[test]
fn a_late_run_makes_up_for_the_days_it_missed_and_a_repeated_one_finds_nothing_new() {
    let sold = |sold| row(&[("date_sold", sold)]);
    let late = later_run("2026-11-22T14:00:00Z", "2026-11-25T14:00:00Z");
    check(
        &week_after(),
        &sold("2026-11-15"),
        "UTC",
        &late,
        &Not(TooLate, None),
    );
    check(
        &week_after(),
        &sold("2026-11-16"),
        "UTC",
        &late,
        &Is("2026-11-16"),
    );
    check(
        &week_after(),
        &sold("2026-11-18"),
        "UTC",
        &late,
        &Is("2026-11-18"),
    );
    let again = later_run("2026-11-25T14:00:00Z", "2026-11-25T20:00:00Z");
    check(
        &week_after(),
        &sold("2026-11-18"),
        "UTC",
        &again,
        &Not(TooLate, None),
    );
    let same = later_run("2026-11-22T14:00:00Z", "2026-11-25T14:00:00Z");
    assert_eq!(
        answer(&week_after(), &sold("2026-11-16"), "UTC", &late),
        answer(&week_after(), &sold("2026-11-16"), "UTC", &same)
    );
}

#[test]
fn the_look_back_takes_rows_that_came_due_before() {
    let definition = campaign(
        "invoices",
        r#"rule = "after", latest_of = ["due_date"], days = 30, lookback_days = 10"#,
        "",
    );
    let run = first_run("2026-11-25T13:00:00Z");
    for (due_date, expect) in [
        ("2026-10-26", Is("2026-10-26")),
        ("2026-10-16", Is("2026-10-16")),
        ("2026-10-15", Not(TooLate, None)),
        ("2026-10-27", Not(TooEarly, Some("2026-11-26"))),
    ] {
        check(&definition, &row(&[("due_date", due_date)]), "UTC", &run, &expect);
    }
    let known = due(&definition, &row(&[("due_date", "2026-10-16")]), "UTC", &run).known;
    assert_eq!(known["days_since"], 40);
    assert_eq!(known["due_on"], "2026-11-15");
    assert_eq!(known["latest_on"], "2026-10-16");
    assert_eq!(known["years"], 0);
}

#[test]
fn the_latest_of_several_dates_counts() {
    let related = r#"
        [[related]]
        name = "last_service_at"
        table = "work_orders"
        by = "equipment_id"
        take = "latest"
        column = "picked_up_at"
        optional = OPTIONAL
        "#;
    let due_rule = r#"rule = "after", latest_of = ["date_sold", "last_service_at"], years = 2"#;
    let optional = campaign("equipment", due_rule, &related.replace("OPTIONAL", "true"));
    let needed = campaign("equipment", due_rule, &related.replace("OPTIONAL", "false"));
    let run = first_run("2026-11-25T14:00:00Z");
    let sold = ("date_sold", "2024-11-25");
    for (cells, expect, expect_needed) in [
        (
            vec![sold, ("last_service_at", "-")],
            Is("2024-11-25"),
            Is("2024-11-25"),
        ),
        (vec![sold], Is("2024-11-25"), Not(Unmapped, None)),
        (
            vec![sold, ("last_service_at", "2025-01-10T10:00:00Z")],
            Not(TooEarly, Some("2027-01-10")),
            Not(TooEarly, Some("2027-01-10")),
        ),
        (
            vec![
                ("date_sold", "2020-01-01"),
                ("last_service_at", "2024-11-25T10:00:00Z"),
            ],
            Is("2024-11-25"),
            Is("2024-11-25"),
        ),
        (
            vec![("last_service_at", "2024-11-25T10:00:00Z")],
            Is("2024-11-25"),
            Is("2024-11-25"),
        ),
        (
            vec![("date_sold", "-"), ("last_service_at", "-")],
            Not(NoValue, None),
            Not(NoValue, None),
        ),
        (vec![], Not(Unmapped, None), Not(Unmapped, None)),
        (
            vec![sold, ("last_service_at", "!")],
            Bad("last_service_at"),
            Bad("last_service_at"),
        ),
    ] {
        check(&optional, &row(&cells), "UTC", &run, &expect);
        check(&needed, &row(&cells), "UTC", &run, &expect_needed);
    }
}

#[test]
fn what_stands_in_counts_only_where_the_other_is_not_mapped() {
    let definition = campaign(
        "equipment",
        r#"rule = "after", latest_of = ["date_sold", "last_service_at"], years = 2"#,
        r#"
        [[related]]
        name = "last_service_at"
        table = "work_orders"
        by = "equipment_id"
        take = "latest"
        column = "picked_up_at"
        optional = true
        [[related]]
        name = "of_customer"
        table = "work_orders"
        by = "customer_id"
        take = "latest"
        column = "picked_up_at"
        optional = true
        instead_of = "last_service_at"
        "#,
    );
    let run = first_run("2026-11-25T14:00:00Z");
    let recent = ("of_customer", "2026-01-01T10:00:00Z");
    let mapped = row(&[("date_sold", "2024-11-25"), ("last_service_at", "-"), recent]);
    check(&definition, &mapped, "UTC", &run, &Is("2024-11-25"));
    let unmapped = row(&[("date_sold", "2024-11-25"), recent]);
    check(
        &definition,
        &unmapped,
        "UTC",
        &run,
        &Not(TooEarly, Some("2028-01-01")),
    );
}

#[test]
fn an_instant_counts_by_its_local_day_under_an_occurrence_that_no_zone_changes() {
    let definition = campaign(
        "work_orders",
        r#"rule = "after", latest_of = ["picked_up_at"], days = 7, lookback_days = 30"#,
        "",
    );
    // Early on the 18th in UTC, still the 17th in New York.
    let row = row(&[("picked_up_at", "2026-11-18T02:00:00Z")]);
    let run = first_run("2026-11-25T14:00:00Z");
    let (utc, new_york) = (
        due(&definition, &row, "UTC", &run),
        due(&definition, &row, "America/New_York", &run),
    );
    assert_eq!(utc.occurrence, "2026-11-18");
    assert_eq!(new_york.occurrence, "2026-11-18");
    assert_eq!(utc.due_on, Moment::Day(day("2026-11-25")));
    assert_eq!(new_york.due_on, Moment::Day(day("2026-11-24")));
}

#[test]
fn the_latest_of_several_has_one_occurrence_in_every_zone() {
    let definition = campaign(
        "work_orders",
        r#"rule = "after", latest_of = ["dropped_off_at", "picked_up_at"], days = 7, lookback_days = 9"#,
        "",
    );
    let run = first_run("2026-11-25T14:00:00Z");
    for cells in [
        [
            ("dropped_off_at", "2026-11-17"),
            ("picked_up_at", "2026-11-18T02:00:00Z"),
        ],
        [
            ("dropped_off_at", "2026-11-18T02:00:00Z"),
            ("picked_up_at", "2026-11-17"),
        ],
        [
            ("dropped_off_at", "2026-11-18T02:00:00Z"),
            ("picked_up_at", "2026-11-17T23:00:00Z"),
        ],
    ] {
        for zone in ["UTC", "America/New_York", "Pacific/Kiritimati"] {
            check(&definition, &row(&cells), zone, &run, &Is("2026-11-18"));
        }
    }
}
