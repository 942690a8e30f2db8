//! The variables of a message.

use super::{campaign, cell, customer, first_run, place, row, text};
use serde_json::{Value, json};
use tidings_core::campaign::{Assessment, Cell, Definition, Malformed, Row, assess, context};

fn of(definition: &Definition, row: &Row) -> Result<Value, Malformed> {
    match assess(definition, row, &place("UTC"), &first_run("2026-11-25T14:00:00Z")) {
        Assessment::Due(due) => context(definition, row, &due).map(Value::Object),
        other => panic!("{other:?}"),
    }
}

fn now(more: &str) -> Definition {
    campaign("equipment", r#"rule = "season", word = "now""#, more)
}

#[test]
fn values_are_written_as_templates_read_them() {
    let definition = now(r#"
        [context]
        sold = "date_sold"
        hours = "machine_hours"
        kind = "equipment_type"
        model = "equipment_model"
        season = "season"
        due_on = "due_on"
        offer = { value = "10 %" }
        percent = { value = 10 }
        new = { value = true }
        "#);
    let row = row(&[
        ("date_sold", "2026-11-18"),
        ("machine_hours", "120"),
        ("equipment_type", " Mower "),
        ("equipment_model", "-"),
    ]);
    let expected = json!({
        "sold": "2026-11-18", "hours": 120, "kind": "Mower", "season": "now", "due_on": "2026-11-25",
        "offer": "10 %", "percent": 10, "new": true,
    });
    assert_eq!(of(&definition, &row), Ok(expected));
}

#[test]
fn numbers_lose_decimals_only_where_they_have_none() {
    let definition = now("[context]\nhours = \"machine_hours\"");
    for (hours, written) in [
        ("20", "20"),
        ("20.5", "20.5"),
        ("-3", "-3"),
        ("1e300", "1e+300"),
        ("0", "0"),
    ] {
        let found = of(&definition, &row(&[("machine_hours", hours)])).unwrap();
        assert_eq!(found["hours"].to_string(), written);
    }
}

#[test]
fn instants_are_rfc_3339() {
    let definition = campaign(
        "work_orders",
        r#"rule = "season", word = "now""#,
        "[context]\npicked_up_on = \"picked_up_at\"",
    );
    let found = of(
        &definition,
        &row(&[("picked_up_at", "2026-11-18T02:00:00+01:00")]),
    )
    .unwrap();
    assert_eq!(found, json!({ "picked_up_on": "2026-11-18T01:00:00Z" }));
}

#[test]
fn customers_are_addressed_by_first_name_company_last_name_or_politely() {
    let definition = now("required_context = [\"name\"]\n[context]\nname = \"customer_name\"");
    for (cells, name) in [
        (
            vec![("first_name", "Kim"), ("company", "Acme"), ("last_name", "Lee")],
            "Kim",
        ),
        (
            vec![("first_name", " "), ("company", "Acme"), ("last_name", "Lee")],
            "Acme",
        ),
        (
            vec![("first_name", "!"), ("company", "-"), ("last_name", "Lee")],
            "Lee",
        ),
        (vec![], "customer"),
    ] {
        let row = Row {
            customer: Some(customer(&cells)),
            ..row(&[])
        };
        assert_eq!(of(&definition, &row), Ok(json!({ "name": name })));
    }
    assert_eq!(of(&definition, &row(&[])), Ok(json!({ "name": "customer" })));
    let own = campaign(
        "customers",
        r#"rule = "season", word = "now""#,
        "[context]\nname = \"customer_name\"",
    );
    assert_eq!(
        of(&own, &row(&[("first_name", "Kim")])),
        Ok(json!({ "name": "Kim" }))
    );
}

#[test]
fn machines_are_called_by_make_and_model_else_by_type() {
    let definition = now("[context]\nmachine = \"equipment_label\"");
    for (make, model, kind, label) in [
        ("Toro", "Z Master", "mower", json!({ "machine": "Toro Z Master" })),
        ("Toro", "-", "mower", json!({ "machine": "Toro" })),
        ("-", "Z Master", "mower", json!({ "machine": "Z Master" })),
        ("-", "!", "mower", json!({ "machine": "mower" })),
        ("-", "-", "-", json!({})),
    ] {
        let row = row(&[
            ("equipment_make", make),
            ("equipment_model", model),
            ("equipment_type", kind),
        ]);
        assert_eq!(of(&definition, &row), Ok(label), "{make} {model} {kind}");
    }
}

#[test]
fn what_is_malformed_is_left_out_unless_the_message_needs_it() {
    let optional = now("[context]\nhours = \"machine_hours\"");
    let required = now("required_context = [\"hours\"]\n[context]\nhours = \"machine_hours\"");
    for bad in [cell("!"), Cell::Number(f64::NAN), Cell::Number(f64::INFINITY)] {
        let row = super::row_of(vec![("machine_hours", bad)]);
        assert_eq!(of(&optional, &row), Ok(json!({})));
        assert_eq!(of(&required, &row).unwrap_err().column, "machine_hours");
    }
    for missing in [Cell::Null, Cell::Unmapped, text("")] {
        let row = super::row_of(vec![("machine_hours", missing)]);
        assert_eq!(of(&optional, &row), Ok(json!({})));
        let problem = of(&required, &row).unwrap_err();
        assert_eq!(
            problem.to_string(),
            "machine_hours: is empty, and the message cannot be written without its hours"
        );
    }
}

#[test]
fn a_malformed_make_is_told_where_the_label_is_needed() {
    let required = now("required_context = [\"machine\"]\n[context]\nmachine = \"equipment_label\"");
    let problem = of(
        &required,
        &row(&[("equipment_make", "!"), ("equipment_model", "-")]),
    )
    .unwrap_err();
    assert_eq!(problem.column, "equipment_make");
    let problem = of(&required, &row(&[])).unwrap_err();
    assert_eq!(problem.column, "equipment_label");
}
