//! What campaigns need of a database.

use tidings_core::campaign::{ColumnNeed, LogicalTable, Need, built_in, built_in_named, needs, table};

fn of(name: &str) -> Vec<ColumnNeed> {
    needs(built_in_named(name).unwrap())
}

fn find(needs: &[ColumnNeed], table: LogicalTable, column: &str, for_what: &str) -> Option<Need> {
    let found = needs
        .iter()
        .find(|one| one.table == table && one.column == column && one.for_what == for_what);
    found.map(|one| one.need)
}

#[test]
fn every_need_is_a_column_that_exists_and_stands_there_once_for_a_purpose() {
    for definition in built_in() {
        let needs = needs(definition);
        for (index, one) in needs.iter().enumerate() {
            assert!(
                table(one.table).column(&one.column).is_some(),
                "{}: {one:?}",
                definition.name
            );
            let same = |other: &ColumnNeed| {
                (other.table, &other.column, &other.for_what) == (one.table, &one.column, &one.for_what)
            };
            assert!(
                !needs[..index].iter().any(same),
                "{}: {one:?} twice",
                definition.name
            );
        }
    }
}

#[test]
fn the_row_its_customer_and_an_address() {
    for definition in built_in() {
        let needs = needs(definition);
        assert_eq!(
            find(&needs, LogicalTable::Customers, "customer_id", "the customer"),
            Some(Need::Required)
        );
        assert_eq!(
            find(&needs, definition.from, "customer_id", "the customer"),
            Some(Need::Required)
        );
        let addresses: Vec<_> = needs.iter().filter(|one| one.for_what == "an address").collect();
        assert_eq!(addresses.len(), 4);
        assert!(addresses.iter().all(|one| one.need == Need::OneOf));
    }
}

#[test]
fn what_the_rule_counts_from_is_required_and_what_it_can_do_without_is_not() {
    use LogicalTable::{Equipment, Invoices, Sales, WorkOrders};
    let check_in = of("seven_day_checkin");
    assert_eq!(
        find(&check_in, Equipment, "date_sold", "due"),
        Some(Need::Required)
    );
    assert_eq!(
        find(&check_in, Equipment, "equipment_make", "context: equipment"),
        Some(Need::OneOf)
    );
    let reminder = of("invoice_reminder");
    assert_eq!(
        find(&reminder, Invoices, "amount_due", "condition 1"),
        Some(Need::Optional)
    );
    assert_eq!(
        find(&reminder, Invoices, "amount_due", "context: amount_due"),
        Some(Need::Required)
    );
    let service = of("service_reminder");
    assert_eq!(find(&service, Equipment, "date_sold", "due"), Some(Need::OneOf));
    assert_eq!(
        find(&service, WorkOrders, "picked_up_at", "due"),
        Some(Need::OneOf)
    );
    assert_eq!(
        find(&service, WorkOrders, "equipment_id", "due"),
        Some(Need::Optional)
    );
    let winback = of("winback_missed_you");
    assert_eq!(find(&winback, Sales, "date_sold", "due"), Some(Need::OneOf));
    assert_eq!(find(&winback, Equipment, "date_sold", "due"), Some(Need::OneOf));
    let trade_in = of("trade_in_alert");
    assert_eq!(
        find(&trade_in, WorkOrders, "equipment_id", "condition 1"),
        Some(Need::Required)
    );
    assert_eq!(
        find(&trade_in, WorkOrders, "dropped_off_at", "condition 1"),
        Some(Need::Required)
    );
    let survey = of("post_service_survey");
    assert_eq!(
        find(&survey, Equipment, "equipment_make", "context: equipment"),
        Some(Need::Optional)
    );
    assert_eq!(
        find(&survey, WorkOrders, "equipment_id", "context: equipment"),
        Some(Need::Optional)
    );
}

#[test]
fn a_related_value_is_needed_as_the_rules_need_it() {
    let definition = |optional: bool| {
        super::campaign(
            "equipment",
            r#"rule = "crossed", number = "machine_hours", since = "then", step = 100"#,
            &format!(
                r#"
                conditions = [{{ column = "then", is = "present" }}]
                [[related]]
                name = "then"
                table = "work_orders"
                by = "equipment_id"
                take = "latest"
                column = "machine_hours"
                optional = {optional}
                "#
            ),
        )
    };
    for (optional, need) in [(true, Need::Optional), (false, Need::Required)] {
        let needs = needs(&definition(optional));
        for purpose in ["due: since", "condition 1"] {
            assert_eq!(
                find(&needs, LogicalTable::WorkOrders, "machine_hours", purpose),
                Some(need)
            );
            assert_eq!(
                find(&needs, LogicalTable::Equipment, "equipment_id", purpose),
                Some(need)
            );
        }
    }
}
