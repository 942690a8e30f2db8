//! Conditions, operator by operator.

use super::{at, campaign, cell, customer, day, first_run, place, row_of, text};
use tidings_core::campaign::{Assessment, Cell, NotDueCode, Row, assess};

/// What a condition on a cell says on 25 November 2026, 14:00 in UTC: met, not met, or malformed.
fn ask_in(zone: &str, column: &str, cell: Cell, condition: &str) -> Assessment {
    let definition = campaign(
        "appointments",
        r#"rule = "season", word = "now""#,
        &format!(r#"conditions = [{{ column = "{column}", {condition} }}]"#),
    );
    let row = row_of(vec![(column, cell)]);
    assess(
        &definition,
        &row,
        &place(zone),
        &first_run("2026-11-25T14:00:00Z"),
    )
}

fn word(assessment: &Assessment) -> &'static str {
    match assessment {
        Assessment::Due(_) => "met",
        Assessment::NotDue(not) if not.code == NotDueCode::ConditionNotMet => "not met",
        Assessment::NotDue(not) if not.code == NotDueCode::Unmapped => "unmapped",
        Assessment::NotDue(_) => "not due",
        Assessment::Malformed(_) => "malformed",
    }
}

#[track_caller]
fn check(found: Cell, condition: &str, expect: &str) {
    let shown = format!("{found:?} {condition}");
    let answer = ask_in("UTC", "status", found, condition);
    assert_eq!(word(&answer), expect, "{shown}: {answer:?}");
}

#[test]
fn presence() {
    for (found, present) in [
        (cell("open"), true),
        (cell("0"), true),
        (cell("-"), false),
        (text(""), false),
        (text(" \t"), false),
        (Cell::Flag(false), true),
    ] {
        let words = if present {
            ["met", "not met"]
        } else {
            ["not met", "met"]
        };
        check(found.clone(), r#"is = "present""#, words[0]);
        check(found, r#"is = "absent""#, words[1]);
    }
    check(cell("!"), r#"is = "absent""#, "malformed");
}

#[test]
fn sameness() {
    for (found, value, same) in [
        (text("Open"), r#""open""#, true),
        (text(" OPEN "), r#""open""#, true),
        (text("opened"), r#""open""#, false),
        (text("3"), "3", true),
        (cell("3"), "3.0", true),
        (cell("3"), r#""3""#, true),
        (cell("3"), "4", false),
        (Cell::Flag(true), "true", true),
        (Cell::Flag(true), "false", false),
        (cell("2026-11-25"), r#""2026-11-25""#, true),
        (cell("2026-11-25T23:00:00Z"), r#""2026-11-25""#, true),
        (cell("2026-11-25T23:00:00Z"), r#""2026-11-25T23:00:00Z""#, true),
        (cell("2026-11-25T23:00:00Z"), r#""2026-11-26""#, false),
    ] {
        let words = if same {
            ["met", "not met"]
        } else {
            ["not met", "met"]
        };
        check(
            found.clone(),
            &format!(r#"is = "equal", value = {value}"#),
            words[0],
        );
        check(
            found.clone(),
            &format!(r#"is = "not_equal", value = {value}"#),
            words[1],
        );
        check(
            found.clone(),
            &format!(r#"is = "one_of", values = [{value}]"#),
            words[0],
        );
        check(found, &format!(r#"is = "none_of", values = [{value}]"#), words[1]);
    }
    check(text("b"), r#"is = "one_of", values = ["a", "b"]"#, "met");
    check(text("b"), r#"is = "none_of", values = ["a", "b"]"#, "not met");
    check(Cell::Flag(true), r#"is = "equal", value = "yes""#, "malformed");
    check(
        cell("2026-11-25"),
        r#"is = "equal", value = "someday""#,
        "malformed",
    );
    check(cell("3"), r#"is = "equal", value = "three""#, "malformed");
}

#[test]
fn order() {
    for (found, value, words) in [
        (cell("3"), "3", ["met", "met", "not met", "not met"]),
        (cell("4"), "3", ["met", "not met", "met", "not met"]),
        (cell("2.9"), "3", ["not met", "met", "not met", "met"]),
        (
            cell("2026-11-25"),
            r#""2026-11-24""#,
            ["met", "not met", "met", "not met"],
        ),
        (
            cell("2026-11-25T10:00:00Z"),
            r#""2026-11-25""#,
            ["met", "met", "not met", "not met"],
        ),
        (cell("-"), "3", ["not met"; 4]),
        (text("4"), "3", ["malformed"; 4]),
        (Cell::Flag(true), "true", ["malformed"; 4]),
        (cell("inf"), "3", ["malformed"; 4]),
    ] {
        for (operator, word) in ["at_least", "at_most", "more_than", "less_than"]
            .iter()
            .zip(words)
        {
            check(
                found.clone(),
                &format!(r#"is = "{operator}", value = {value}"#),
                word,
            );
        }
    }
}

#[test]
fn a_null_cell_meets_absent_not_equal_and_none_of_and_nothing_else() {
    for (condition, expect) in [
        (r#"is = "present""#, "not met"),
        (r#"is = "absent""#, "met"),
        (r#"is = "equal", value = 1"#, "not met"),
        (r#"is = "not_equal", value = 1"#, "met"),
        (r#"is = "one_of", values = [1]"#, "not met"),
        (r#"is = "none_of", values = [1]"#, "met"),
        (r#"is = "at_least", value = 1"#, "not met"),
        (r#"is = "at_most", value = 1"#, "not met"),
        (r#"is = "more_than", value = 1"#, "not met"),
        (r#"is = "less_than", value = 1"#, "not met"),
        (r#"is = "older_than", days = 1"#, "not met"),
        (r#"is = "within", days = 1"#, "not met"),
    ] {
        check(Cell::Null, condition, expect);
        check(text(" "), condition, expect);
    }
}

#[test]
fn age() {
    for (found, older, within) in [
        ("2026-11-14", "met", "not met"),
        ("2026-11-15", "not met", "met"),
        ("2026-11-25", "not met", "met"),
        ("2026-11-26", "not met", "not met"),
        ("2026-11-15T13:59:59Z", "met", "not met"),
        ("2026-11-15T14:00:00Z", "not met", "met"),
        ("2026-11-25T14:00:01Z", "not met", "not met"),
        ("12", "malformed", "malformed"),
        ("-009999-01-01", "met", "not met"),
        ("9999-12-31", "not met", "not met"),
    ] {
        check(cell(found), r#"is = "older_than", days = 10"#, older);
        check(cell(found), r#"is = "within", days = 10"#, within);
    }
}

#[test]
fn a_condition_of_age_says_when_it_changes() {
    let changes = |found: &str, condition: &str| match ask_in("UTC", "status", cell(found), condition) {
        Assessment::NotDue(not) => not.changes_at.map(|moment| moment.to_string()),
        other => panic!("{other:?}"),
    };
    let older = r#"is = "older_than", days = 10"#;
    assert_eq!(changes("2026-11-20", older).as_deref(), Some("2026-12-01"));
    assert_eq!(
        changes("2026-11-20T10:00:00Z", older).as_deref(),
        Some("2026-11-30T10:00:00.000000001Z")
    );
    assert_eq!(
        changes("2026-11-30", r#"is = "within", days = 10"#).as_deref(),
        Some("2026-11-30")
    );
    assert_eq!(changes("2026-11-01", r#"is = "within", days = 10"#), None);
}

#[test]
fn today_is_that_of_the_contact() {
    // In Kiritimati it is the 26th already.
    let older = r#"is = "older_than", days = 10"#;
    let found = Cell::Date(day("2026-11-15"));
    assert_eq!(word(&ask_in("UTC", "status", found.clone(), older)), "not met");
    assert_eq!(word(&ask_in("Pacific/Kiritimati", "status", found, older)), "met");
}

#[test]
fn a_column_the_tenant_lacks() {
    check(Cell::Unmapped, r#"is = "absent""#, "unmapped");
    check(Cell::Unmapped, r#"is = "present", optional = true"#, "met");
    let definition = campaign(
        "customers",
        r#"rule = "season", word = "now""#,
        r#"
        conditions = [{ column = "machines", is = "at_least", value = 1 }]
        [[related]]
        name = "machines"
        table = "equipment"
        by = "customer_id"
        take = "count"
        optional = true
        "#,
    );
    let answer = assess(
        &definition,
        &row_of(vec![]),
        &place("UTC"),
        &first_run("2026-11-25T14:00:00Z"),
    );
    assert_eq!(
        word(&answer),
        "met",
        "an optional related value is not asked either"
    );
}

#[test]
fn the_customer_can_be_asked() {
    let definition = campaign(
        "equipment",
        r#"rule = "season", word = "now""#,
        r#"conditions = [{ column = "customer.country", is = "equal", value = "AT" }]"#,
    );
    let of = |customer| Row {
        customer,
        ..row_of(vec![])
    };
    let ask = |row: &Row| {
        word(&assess(
            &definition,
            row,
            &place("UTC"),
            &first_run("2026-11-25T14:00:00Z"),
        ))
    };
    assert_eq!(ask(&of(Some(customer(&[("country", "at")])))), "met");
    assert_eq!(ask(&of(Some(customer(&[("country", "de")])))), "not met");
    assert_eq!(ask(&of(None)), "not met");
}

#[test]
fn only_the_first_no_is_named_and_no_text_of_the_row() {
    let definition = campaign(
        "appointments",
        r#"rule = "season", word = "now""#,
        r#"
        conditions = [
            { column = "location", is = "equal", value = "Main Street" },
            { column = "status", is = "none_of", values = ["cancelled"] },
        ]
        "#,
    );
    let row = row_of(vec![
        ("location", text("secret place")),
        ("status", text("Cancelled")),
    ]);
    let window = first_run("2026-11-25T14:00:00Z");
    let Assessment::NotDue(not) = assess(&definition, &row, &place("UTC"), &window) else {
        panic!("due");
    };
    assert_eq!(not.condition, "condition 1: location equal Main Street");
    assert!(!not.detail.contains("secret"), "{not:?}");
    assert!(!format!("{not:?} {row:?}").contains("secret"));
    assert_eq!(at("2026-11-25T14:00:00Z"), window.as_of);
}
