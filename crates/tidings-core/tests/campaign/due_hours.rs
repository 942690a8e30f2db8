//! Hours after and before an instant.

use super::due::{Expect, answer, check};
use super::{campaign, first_run, later_run, row};
use Expect::{Due as Is, Malformed as Bad, Not};
use NotDueCode::{Never, Passed, TooEarly, TooLate};
use tidings_core::campaign::{Assessment, NotDueCode};

#[test]
fn hours_after_an_instant() {
    let definition = campaign(
        "work_orders",
        r#"rule = "hours_after", instant = "picked_up_at", from_hours = 48, to_hours = 72"#,
        "",
    );
    let first = first_run("2026-11-25T15:00:00Z");
    let later = later_run("2026-11-24T15:00:00Z", "2026-11-25T15:00:00Z");
    let late = later_run("2026-11-22T15:00:00Z", "2026-11-25T15:00:00Z");
    for (picked_up, at_first, at_later, at_late) in [
        ("2026-11-23T15:00:00Z", true, true, true),
        ("2026-11-22T15:00:01Z", true, true, true),
        ("2026-11-22T15:00:00Z", false, false, true),
        ("2026-11-20T15:00:01Z", false, false, true),
        ("2026-11-20T15:00:00Z", false, false, false),
    ] {
        for (window, is_due) in [(first, at_first), (later, at_later), (late, at_late)] {
            let found = answer(
                &definition,
                &row(&[("picked_up_at", picked_up)]),
                "Asia/Tokyo",
                &window,
            );
            match found {
                Assessment::Due(due) => {
                    assert!(is_due && due.occurrence == picked_up, "{picked_up} {window:?}");
                }
                Assessment::NotDue(not) => {
                    assert!(!is_due && not.code == TooLate, "{picked_up} {window:?} {not:?}");
                }
                Assessment::Malformed(malformed) => panic!("{malformed:?}"),
            }
        }
    }
    let early = row(&[("picked_up_at", "2026-11-23T15:00:01Z")]);
    check(
        &definition,
        &early,
        "UTC",
        &first,
        &Not(TooEarly, Some("2026-11-25T15:00:01Z")),
    );
    check(
        &definition,
        &row(&[("picked_up_at", "2026-11-23")]),
        "UTC",
        &first,
        &Bad("picked_up_at"),
    );
    check(
        &definition,
        &row(&[("picked_up_at", "9999-12-30T21:00:00Z")]),
        "UTC",
        &first,
        &Not(Never, None),
    );
}

#[test]
fn hours_before_an_instant() {
    let definition = campaign(
        "appointments",
        r#"rule = "hours_before", instant = "starts_at", from_hours = 24, to_hours = 25, late_from_hours = 3"#,
        "",
    );
    let hourly = later_run("2026-11-25T09:00:00Z", "2026-11-25T10:00:00Z");
    let late = later_run("2026-11-24T20:00:00Z", "2026-11-25T10:00:00Z");
    for (starts, expect, expect_late) in [
        (
            "2026-11-26T11:00:01Z",
            Not(TooEarly, Some("2026-11-25T10:00:01Z")),
            Not(TooEarly, Some("2026-11-25T10:00:01Z")),
        ),
        (
            "2026-11-26T11:00:00Z",
            Is("2026-11-26T11:00:00Z"),
            Is("2026-11-26T11:00:00Z"),
        ),
        (
            "2026-11-26T10:00:01Z",
            Is("2026-11-26T10:00:01Z"),
            Is("2026-11-26T10:00:01Z"),
        ),
        (
            "2026-11-26T10:00:00Z",
            Not(TooLate, None),
            Is("2026-11-26T10:00:00Z"),
        ),
        ("2026-11-25T21:00:00Z", Not(TooLate, None), Not(TooLate, None)),
        ("2026-11-25T13:00:00Z", Not(Passed, None), Not(Passed, None)),
        ("2026-11-25T09:00:00Z", Not(Passed, None), Not(Passed, None)),
    ] {
        let row = row(&[("starts_at", starts)]);
        check(&definition, &row, "UTC", &hourly, &expect);
        check(
            &definition,
            &row,
            "UTC",
            &first_run("2026-11-25T10:00:00Z"),
            &expect,
        );
        check(&definition, &row, "UTC", &late, &expect_late);
    }
    let long = later_run("2026-11-24T10:00:00Z", "2026-11-25T10:00:00Z");
    check(
        &definition,
        &row(&[("starts_at", "2026-11-25T13:00:01Z")]),
        "UTC",
        &long,
        &Is("2026-11-25T13:00:01Z"),
    );
    check(
        &definition,
        &row(&[("starts_at", "2026-11-25T13:00:00Z")]),
        "UTC",
        &long,
        &Not(Passed, None),
    );
}
