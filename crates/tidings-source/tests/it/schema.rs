//! What a database says about itself, what of a mapping is there, and what is suggested.

use crate::place::everywhere;
use tidings_core::campaign::LogicalTable;
use tidings_source::{Mapping, SourceKind, TypeClass, check_mapping, suggest_mapping};

const SHOP: &str = "CREATE TABLE tbl_clients (client_id int NOT NULL PRIMARY KEY, fname varchar(40), surname varchar(40) NOT NULL, email_address varchar(80), created_on {local});
    CREATE INDEX by_surname ON tbl_clients (surname);
    CREATE TABLE machines (serial_number varchar(40) NOT NULL, client_id int NOT NULL, manufacturer varchar(20), purchase_date {date}, hours decimal(8,1), UNIQUE (serial_number, client_id));
    CREATE VIEW bookings AS SELECT 1 AS booking_id, client_id, created_on AS scheduled_at FROM tbl_clients;
    CREATE TABLE unrelated (x int, y text);";

#[tokio::test]
async fn the_catalogue_knows_tables_types_and_keys() {
    everywhere(async |place| {
        place.execute(SHOP).await;
        let catalogue = place.source(Mapping::identity()).introspect().await.unwrap();
        let schema = catalogue.default_schema.clone();
        let names: Vec<&str> = catalogue
            .tables
            .iter()
            .filter(|table| table.schema == schema)
            .map(|table| table.name.as_str())
            .collect();
        assert_eq!(names, ["bookings", "machines", "tbl_clients", "unrelated"]);
        assert!(!catalogue.truncated);
        let clients = catalogue.table(None, "TBL_Clients").unwrap();
        assert_eq!(clients.primary_key, ["client_id"]);
        assert!(clients.is_indexed("surname") && !clients.is_indexed("fname") && !clients.view);
        assert!(clients.column("fname").unwrap().nullable && !clients.column("surname").unwrap().nullable);
        let classes: Vec<TypeClass> = clients.columns.iter().map(|column| column.class).collect();
        let time = if place.kind == SourceKind::Sqlite {
            TypeClass::Decimal
        } else {
            TypeClass::LocalTime
        };
        assert_eq!(
            classes,
            [
                TypeClass::Integer,
                TypeClass::Text,
                TypeClass::Text,
                TypeClass::Text,
                time
            ]
        );
        let machines = catalogue.table(Some(&schema), "machines").unwrap();
        assert!(
            machines.is_unique(&["client_id", "serial_number"]) && !machines.is_unique(&["serial_number"])
        );
        assert!(catalogue.table(None, "bookings").unwrap().view);
    })
    .await;
}

#[tokio::test]
async fn a_check_names_what_is_missing_and_what_was_meant() {
    everywhere(async |place| {
        place.execute(SHOP).await;
        let source = place.mapped(
            r#"
            [customers]
            table = "tbl_clients"
            columns = { customer_id = "client_id", first_name = "f_name", email = { expression = "email_address ~ gone" } }
            [equipment]
            table = "machine"
            columns = { equipment_id = "serial_number", customer_id = "client_id" }
            [appointments]
            table = "bookings"
            filter = [{ column = "state", equals = 1 }]
            columns = { appointment_id = "booking_id", customer_id = "client_id", starts_at = "scheduled_at" }
            "#,
        );
        let check = source.check().await.unwrap();
        let problems: Vec<(LogicalTable, &str)> = check.problems().collect();
        let expected = [
            (LogicalTable::Customers, "first_name comes from f_name, but tbl_clients has no such column; did you mean fname"),
            (LogicalTable::Customers, "email comes from gone"),
            (LogicalTable::Equipment, "no table or view machine"),
            (LogicalTable::Appointments, "the filter names state"),
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for ((table, problem), (on, part)) in problems.iter().zip(expected) {
            assert!(*table == on && problem.contains(part), "{problem}");
        }
        assert!(!check.is_ready());
        assert!(check.has(LogicalTable::Customers, "customer_id") && !check.has(LogicalTable::Customers, "first_name"));
        let equipment = check.tables.iter().find(|table| table.table == LogicalTable::Equipment).unwrap();
        assert_eq!(equipment.closest, ["machines"]);
        let appointments = check.tables.iter().find(|table| table.table == LogicalTable::Appointments).unwrap();
        assert!(appointments.advice.iter().any(|advice| advice.contains("unique")), "{:?}", appointments.advice);
    })
    .await;
}

#[tokio::test]
async fn a_suggestion_can_be_checked_and_read() {
    everywhere(async |place| {
        place.execute(SHOP).await;
        place
            .execute("INSERT INTO tbl_clients VALUES (7, 'Kim', 'Lee', 'kim@example.com', NULL)")
            .await;
        let catalogue = place.source(Mapping::identity()).introspect().await.unwrap();
        let mapping = suggest_mapping(&catalogue);
        let tables: Vec<LogicalTable> = mapping.tables().map(|(table, _)| table).collect();
        assert!(
            tables.contains(&LogicalTable::Customers) && tables.contains(&LogicalTable::Appointments),
            "{tables:?}"
        );
        let customers = mapping.table(LogicalTable::Customers).unwrap();
        assert_eq!(customers.table.name, "tbl_clients");
        assert_eq!(customers.columns["first_name"].parts(), ["fname"]);
        assert_eq!(customers.columns["email"].parts(), ["email_address"]);
        assert!(check_mapping(&catalogue, &mapping).is_ready());
        let again: Mapping = toml::from_str(&toml::to_string(&mapping).unwrap()).unwrap();
        let customer = place.source(again).customer("7").await.unwrap().unwrap();
        assert_eq!(customer.emails.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_database_without_any_of_it_says_so() {
    everywhere(async |place| {
        let source = place.source(Mapping::identity());
        let check = source.check().await.unwrap();
        assert!(
            check
                .problems()
                .any(|(table, what)| table == LogicalTable::Customers && what.contains("not mapped"))
        );
        let error = source.count(LogicalTable::Customers).await.unwrap_err();
        assert!(error.message.contains("[mapping.customers]"), "{error}");
    })
    .await;
}
