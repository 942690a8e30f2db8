//! What a row is told: the reason, the steps of an explanation, and when a message expires.

use super::due::{answer, due, week_after};
use super::{at, campaign, day, first_run, place, row, row_of, text};
use NotDueCode::TooLate;
use tidings_core::campaign::{Assessment, Cell, Definition, NotDueCode, StepOutcome, assess_all};

#[test]
fn the_reason_says_what_was_found_and_what_is_wanted() {
    let today = first_run("2026-11-25T14:00:00Z");
    let Assessment::NotDue(not) = answer(&week_after(), &row(&[("date_sold", "2026-11-16")]), "UTC", &today)
    else {
        panic!("due");
    };
    assert_eq!(not.condition, "due: date_sold + 7 days");
    assert_eq!(
        not.detail,
        "date_sold is 2026-11-16, 9 days ago; the rule wants 7 days: it came due on 2026-11-23, before the days this run covers"
    );
}

#[test]
fn a_message_expires_with_the_date_it_is_about() {
    let confirmation = campaign(
        "appointments",
        r#"rule = "hours_before", instant = "starts_at", from_hours = 24, to_hours = 25"#,
        "",
    );
    let window = first_run("2026-11-25T10:00:00Z");
    let found = due(
        &confirmation,
        &row(&[("starts_at", "2026-11-26T11:00:00Z")]),
        "UTC",
        &window,
    );
    let expires =
        |definition: &Definition, zone: &str| found.expires_at(definition, &place(zone), window.as_of);
    assert_eq!(expires(&confirmation, "UTC"), Some(at("2026-11-26T11:00:00Z")));
    let mut sooner = confirmation.clone();
    sooner.expires_after_hours = Some(20);
    assert_eq!(expires(&sooner, "UTC"), Some(at("2026-11-26T06:00:00Z")));

    let warranty = campaign(
        "equipment",
        r#"rule = "before", date = "warranty_end_date", days = 30"#,
        "",
    );
    let found = due(
        &warranty,
        &row(&[("warranty_end_date", "2026-12-25")]),
        "America/New_York",
        &window,
    );
    let end = found.expires_at(&warranty, &place("America/New_York"), window.as_of);
    assert_eq!(end, Some(at("2026-12-26T05:00:00Z")));
    let found = due(
        &week_after(),
        &row(&[("date_sold", "2026-11-18")]),
        "UTC",
        &window,
    );
    assert_eq!(found.expires_at(&week_after(), &place("UTC"), window.as_of), None);
}

#[test]
fn explaining_asks_everything_even_after_a_no() {
    let definition = campaign(
        "invoices",
        r#"rule = "after", latest_of = ["due_date"], days = 30"#,
        r#"
        conditions = [
            { column = "amount_due", is = "more_than", value = 0 },
            { column = "status", is = "none_of", values = ["paid"], optional = true },
            { column = "paid_at", is = "absent" },
        ]
        "#,
    );
    let row = row_of(vec![
        ("due_date", Cell::Date(day("2026-10-01"))),
        ("amount_due", text("much")),
        ("paid_at", Cell::Instant(at("2026-10-02T10:00:00Z"))),
    ]);
    let steps = assess_all(
        &definition,
        &row,
        &place("UTC"),
        &first_run("2026-11-25T14:00:00Z"),
    );
    let outcomes: Vec<(&str, StepOutcome)> = steps
        .iter()
        .map(|step| (step.condition.as_str(), step.outcome))
        .collect();
    assert_eq!(
        outcomes,
        [
            ("due: due_date + 30 days", StepOutcome::NotMet(TooLate)),
            ("condition 1: amount_due more_than 0", StepOutcome::Malformed),
            ("condition 2: status none_of paid", StepOutcome::Skipped),
            (
                "condition 3: paid_at absent",
                StepOutcome::NotMet(NotDueCode::ConditionNotMet)
            ),
        ]
    );
    assert!(
        steps.iter().all(|step| !step.detail.contains("much")),
        "{steps:?}"
    );
}
