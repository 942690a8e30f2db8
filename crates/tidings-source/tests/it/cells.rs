//! What stands in columns of any type becomes cells, whatever it is.

use crate::campaign::{keys, read, reading};
use crate::place::everywhere;
use tidings_core::campaign::{Bound, Cell, Range, Row};
use tidings_core::redact::Private;
use tidings_source::SourceKind;

fn text(value: &str) -> Cell {
    Cell::Text(Private::new(value.into()))
}

fn problem<'r>(row: &'r Row, column: &str) -> &'r str {
    match row.cell(column) {
        Cell::Malformed { problem } => problem,
        other => panic!("{} {column}: {other:?}", row.key),
    }
}

#[tokio::test]
async fn a_row_carries_what_belongs_to_it() {
    everywhere(async |place| {
        place
            .execute(
                "CREATE TABLE customers (customer_id int PRIMARY KEY, first_name varchar(40), email varchar(80), opt_out_sms char(1), created_at {instant} NULL);
                 CREATE TABLE emails (email_id int PRIMARY KEY, customer_id int, email varchar(80), is_primary int);
                 CREATE TABLE phones (phone_id int PRIMARY KEY, customer_id int, phone varchar(40), is_mobile char(1));
                 CREATE TABLE equipment (equipment_id varchar(20) PRIMARY KEY, customer_id int, equipment_make varchar(40), date_sold {date}, machine_hours decimal(10,2));
                 CREATE TABLE work_orders (service_record_id int PRIMARY KEY, customer_id int, equipment_id varchar(20), picked_up_at {local}, machine_hours decimal(10,2));
                 INSERT INTO customers VALUES (1, 'Kim', 'own@example.com', 'N', '2020-01-02 03:04:05'), (2, NULL, NULL, 'J', NULL);
                 INSERT INTO emails VALUES (1, 1, 'later@example.com', 0), (2, 1, 'first@example.com', 1), (3, 1, 'OWN@example.com', 0), (10, 1, 'tenth@example.com', 0), (9, 1, 'ninth@example.com', 0);
                 INSERT INTO phones VALUES (1, 1, '+12025550101', 'N'), (2, 1, '+12025550102', 'J'), (3, 1, '+12025550103', NULL);
                 INSERT INTO equipment VALUES ('a/1', 1, 'Ostara', '2024-05-01', 12.50), ('b%2', 2, '', NULL, NULL), ('c', 99, 'x', '2020-02-29', 0), ('d', NULL, 'y', '2021-01-01', 0);
                 INSERT INTO work_orders VALUES (1, 1, 'a/1', '2027-06-10 10:00:00', 20), (2, 1, 'a/1', '2024-06-10 10:00:00', 10.5), (3, 2, NULL, NULL, NULL);",
            )
            .await;
        let definition = reading(
            "equipment",
            r#"
            related = [
                { name = "repairs", table = "work_orders", by = "equipment_id", take = "count" },
                { name = "recent", table = "work_orders", by = "customer_id", take = "count", since = "picked_up_at", within_days = 30 },
                { name = "last_service", table = "work_orders", by = "equipment_id", take = "latest", column = "picked_up_at" },
                { name = "first_hours", table = "work_orders", by = "equipment_id", take = "earliest", column = "machine_hours" },
                { name = "paid", table = "invoices", by = "customer_id", take = "count", optional = true },
            ]
            "#,
        );
        let source = place.source(tidings_source::Mapping::identity());
        let rows = read(&source, &definition, &[]).await.unwrap();
        assert_eq!(keys(&rows), ["a%2F1", "b%252", "c", "d"]);

        let row = &rows[0];
        assert_eq!(*row.cell("equipment_id"), text("a%2F1"));
        assert_eq!(*row.cell("date_sold"), Cell::Date("2024-05-01".parse().unwrap()));
        assert_eq!(*row.cell("machine_hours"), Cell::Number(12.5));
        assert_eq!(*row.cell("repairs"), Cell::Number(2.0));
        assert_eq!(*row.cell("recent"), Cell::Number(1.0));
        // Times without a zone are the source's: Vienna, two hours ahead in summer.
        assert_eq!(*row.cell("last_service"), Cell::Instant("2027-06-10T08:00:00Z".parse().unwrap()));
        assert_eq!(*row.cell("first_hours"), Cell::Number(10.5));
        assert_eq!(*row.cell("paid"), Cell::Unmapped);
        assert_eq!(*row.cell("warranty_end_date"), Cell::Unmapped);
        assert_eq!(*row.cell("customer.first_name"), text("Kim"));
        assert_eq!(*row.cell("customer.opt_out_sms"), Cell::Flag(false));
        let customer = row.customer.as_ref().unwrap();
        assert_eq!(customer.key, "1");
        let emails: Vec<&str> = customer.emails.iter().map(|email| email.expose().as_str()).collect();
        let expected = ["first@example.com", "own@example.com", "later@example.com", "ninth@example.com", "tenth@example.com"];
        assert_eq!(emails, expected);
        let phones: Vec<&str> = customer.phones.iter().map(|phone| phone.expose().as_str()).collect();
        assert_eq!(phones, ["+12025550102", "+12025550103"]);

        assert_eq!(*rows[1].cell("date_sold"), Cell::Null);
        assert_eq!(*rows[1].cell("equipment_make"), Cell::Null, "blanks are nothing");
        assert_eq!(*rows[1].cell("repairs"), Cell::Number(0.0));
        assert_eq!(*rows[1].cell("last_service"), Cell::Null);
        assert_eq!(*rows[1].cell("customer.opt_out_sms"), Cell::Flag(true));
        assert_eq!(rows[2].customer, None, "nobody has this number");
        assert_eq!(rows[3].customer, None);
        assert_eq!(*rows[3].cell("recent"), Cell::Number(0.0));

        let customer = source.customer("1").await.unwrap().unwrap();
        assert_eq!(Some(&customer), rows[0].customer.as_ref());
        for nobody in ["99", "x", "", "1/2"] {
            assert_eq!(source.customer(nobody).await.unwrap(), None, "{nobody}");
        }
        let of_one = source.rows_of_customer(&definition, crate::campaign::as_of(), "1").await.unwrap();
        assert_eq!(of_one, rows[..1]);
        assert_eq!(source.sample(&definition, crate::campaign::as_of(), 2).await.unwrap(), rows[..2]);
        assert_eq!(source.count(tidings_core::campaign::LogicalTable::Equipment).await.unwrap(), 4);

        // The customers themselves.
        let rows = read(&source, &reading("customers", ""), &[]).await.unwrap();
        assert_eq!(keys(&rows), ["1", "2"]);
        assert_eq!(rows[0].customer.as_ref(), Some(&customer));
        assert_eq!(*rows[0].cell("created_at"), *customer.cell("created_at"));
        source.close().await;
    })
    .await;
}

#[tokio::test]
async fn one_odd_value_does_not_hide_the_rows_beside_it() {
    everywhere(async |place| {
        place
            .execute(
                "CREATE TABLE customers (customer_id int PRIMARY KEY, first_name varchar(10));
                 INSERT INTO customers VALUES (1, 'Kim');
                 CREATE TABLE sales (sale_id int PRIMARY KEY, customer_id varchar(20), date_sold {date} NULL, note text);
                 INSERT INTO sales VALUES (1, '1', '2027-06-01', 'a'), (2, 'x', NULL, 'b');",
            )
            .await;
        match place.kind {
            SourceKind::Postgresql => {
                place
                    .execute("INSERT INTO sales VALUES (3, '1', 'infinity', ''), (4, '1', '0044-03-15 BC', '')")
                    .await;
            }
            SourceKind::Mysql => {
                place
                    .execute("INSERT INTO sales VALUES (3, '1', '0000-00-00', ''), (4, '1', '2027-02-31', '')")
                    .await;
            }
            SourceKind::Sqlite => {
                place
                    .execute(
                        "INSERT INTO sales VALUES (3, '1', 'soon', x'ff00'), (4, 1, '2027-02-30', 'a' || char(0) || 'b'), (5, '1', 20270601, ''), (6, '1', x'ff', '')",
                    )
                    .await;
            }
        }
        let mapping = r#"
            [customers]
            table = "customers"
            columns = { customer_id = "customer_id", first_name = "first_name" }
            [sales]
            table = "sales"
            columns = { sale_id = "sale_id", customer_id = "customer_id", date_sold = "date_sold" }
        "#;
        let source = place.mapped(mapping);
        let bounds = [Bound {
            column: "date_sold".into(),
            range: Range::Dates {
                from: Some("2027-05-31".parse().unwrap()),
                to: Some("2027-06-02".parse().unwrap()),
            },
        }];
        for bounds in [&[][..], &bounds] {
            let rows = read(&source, &reading("sales", ""), bounds).await.unwrap();
            assert_eq!(keys(&rows)[..2], ["1", "2"]);
            assert!(rows[0].customer.is_some(), "text that is the number of a customer finds it");
            assert!(rows[1].customer.is_none(), "a word where numbers are finds nobody");
            assert_eq!(*rows[1].cell("date_sold"), Cell::Null);
            if !bounds.is_empty() && place.kind == SourceKind::Mysql {
                // A day that no month has is within or out of a bound as its numbers say.
                assert_eq!(keys(&rows), ["1", "2", "3"]);
                assert!(problem(&rows[2], "date_sold").contains("zero date"));
                continue;
            }
            for row in rows[2..].iter().filter(|row| row.key != "5") {
                problem(row, "date_sold");
            }
            let expected = if place.kind == SourceKind::Sqlite { 6 } else { 4 };
            assert_eq!(rows.len(), expected, "{:?}", keys(&rows));
        }
    })
    .await;
}

#[tokio::test]
async fn a_cell_has_a_largest_size() {
    everywhere(async |place| {
        place
            .execute(
                "CREATE TABLE customers (customer_id int PRIMARY KEY, first_name text, last_name text);
                 INSERT INTO customers VALUES (1, 'x', 'x'), (2, 'x', 'fine');",
            )
            .await;
        let (just, over) = ("y".repeat(64 * 1024 - 2), "y".repeat(65 * 1024 - 1));
        let over = if place.kind == SourceKind::Mysql {
            "é".repeat(32_700) + "yy"
        } else {
            over
        };
        place
            .execute(&format!(
                "UPDATE customers SET first_name = '{just}', last_name = '{over}' WHERE customer_id = 1"
            ))
            .await;
        let rows = read(
            &place.source(tidings_source::Mapping::identity()),
            &reading("customers", ""),
            &[],
        )
        .await
        .unwrap();
        assert_eq!(*rows[0].cell("first_name"), text(&just));
        if place.kind != SourceKind::Mysql {
            assert!(problem(&rows[0], "last_name").contains("64 KiB"));
        }
        assert_eq!(*rows[1].cell("last_name"), text("fine"));
    })
    .await;
}

#[tokio::test]
async fn columns_are_read_as_the_mapping_says() {
    everywhere(async |place| {
        place
            .execute(
                "CREATE TABLE \"KD STAMM\" (\"KD-NR\" int PRIMARY KEY, \"NAME\" varchar(60), \"MAIL\" varchar(60), \"WERBUNG\" char(1), \"ANGELEGT\" varchar(20), \"LAND\" char(3));
                 INSERT INTO \"KD STAMM\" VALUES (1, 'LEE, KIM', 'kim@example.com', 'S', '05.03.99', 'A'), (2, NULL, '', 'x', '1.13.2020', 'D');
                 CREATE TABLE re (nr int PRIMARY KEY, kd int, faellig bigint, cent bigint, art char(1), weg int NULL);
                 INSERT INTO re VALUES (1, 1, 1812880800, 12345, 'R', NULL), (2, 1, 1812880800000, 5, 'R', 1), (3, 1, 1, 5, 'G', NULL), (4, 1, 1812880801, -5, 'R', 0);"
                    .replace('"', if place.kind == SourceKind::Mysql { "`" } else { "\"" })
                    .as_str(),
            )
            .await;
        let source = place.mapped(
            r#"
            [customers]
            table = "KD STAMM"
            [customers.columns]
            customer_id = "KD-NR"
            first_name = { expression = "(NAME|split(',')|last|trim)|proper" }
            last_name = { expression = "NAME|split(',')|first|proper" }
            email = "mail"
            marketing_consent = { column = "WERBUNG", values = { S = "yes", x = "no" } }
            created_at = { column = "ANGELEGT", format = "%d.%m.%y", zone = "America/New_York" }
            country = { column = "LAND", values = { A = "AT", D = "DE" } }
            [invoices]
            table = "re"
            filter = [{ column = "art", one_of = ["R"] }, { column = "weg", not_equals = 1 }]
            [invoices.columns]
            invoice_id = "nr"
            customer_id = "kd"
            due_date = { column = "faellig", format = "epoch_s" }
            amount_due = { column = "cent", scale = 0.01 }
            currency = { expression = "'EUR'" }
            "#,
        );
        let definition = reading(
            "customers",
            r#"related = [
                { name = "last_due", table = "invoices", by = "customer_id", take = "latest", column = "due_date" },
                { name = "least", table = "invoices", by = "customer_id", take = "earliest", column = "amount_due" },
                { name = "open", table = "invoices", by = "customer_id", take = "count", since = "due_date", within_days = 10 },
            ]"#,
        );
        let rows = read(&source, &definition, &[]).await.unwrap();
        assert_eq!(*rows[0].cell("first_name"), text("Kim"));
        assert_eq!(*rows[0].cell("last_name"), text("Lee"));
        assert_eq!(*rows[0].cell("marketing_consent"), Cell::Flag(true));
        assert_eq!(*rows[0].cell("created_at"), Cell::Instant("1999-03-05T05:00:00Z".parse().unwrap()));
        assert_eq!(*rows[0].cell("country"), text("AT"));
        assert_eq!(*rows[0].cell("last_due"), Cell::Date("2027-06-13".parse().unwrap()));
        assert_eq!(*rows[0].cell("least"), Cell::Number(-0.05));
        assert_eq!(*rows[0].cell("open"), Cell::Number(2.0));
        assert_eq!(*rows[1].cell("first_name"), Cell::Null);
        assert_eq!(rows[1].customer.as_ref().unwrap().emails, []);
        assert!(problem(&rows[1], "created_at").contains("format"));

        if place.kind != SourceKind::Sqlite {
            // MySQL would take the word for a 0 and find the last one.
            let wrong = place.mapped(
                r#"
                [customers]
                table = "KD STAMM"
                columns = { customer_id = "KD-NR" }
                [invoices]
                table = "re"
                filter = [{ column = "weg", equals = "nein" }]
                columns = { invoice_id = "nr", customer_id = "kd", due_date = "faellig" }
                "#,
            );
            let error = read(&wrong, &reading("invoices", ""), &[]).await.unwrap_err();
            assert!(error.message.contains("weg with a word"), "{error}");
        }
        let rows = read(&source, &reading("invoices", ""), &[]).await.unwrap();
        assert_eq!(keys(&rows), ["1", "4"], "the filter leaves out G and what is deleted");
        assert_eq!(*rows[0].cell("amount_due"), Cell::Number(123.45));
        assert_eq!(*rows[0].cell("currency"), text("EUR"));
    })
    .await;
}

#[tokio::test]
async fn types_of_one_kind_alone() {
    everywhere(async |place| {
        let (sql, mapping) = match place.kind {
            SourceKind::Postgresql => (
                "CREATE TYPE channel AS ENUM ('sms', 'email');
                 CREATE DOMAIN short AS varchar(10);
                 CREATE TABLE customers (customer_id uuid PRIMARY KEY, first_name short, preferred_channel channel, opt_out_email boolean, opt_out_sms bit(1), marketing_consent smallint, created_at timestamptz, country bytea, locale jsonb);
                 INSERT INTO customers VALUES ('00000000-0000-0000-0000-000000000001', 'Kim', 'sms', true, B'1', 0, '2027-06-12 10:00:00+02', '\\x4154', '\"de\"');",
                "",
            ),
            SourceKind::Mysql => (
                "CREATE TABLE customers (customer_id binary(4) PRIMARY KEY, first_name varchar(10) CHARACTER SET latin1, preferred_channel enum('sms','email'), opt_out_email boolean, opt_out_sms bit(1), marketing_consent tinyint unsigned, created_at timestamp NULL, country varbinary(2), locale json);
                 INSERT INTO customers VALUES (x'00ff0001', 'Kim', 'sms', true, b'1', 0, '2027-06-12 08:00:00', 'AT', '\"de\"');
                 SET time_zone = '+00:00'; UPDATE customers SET created_at = '2027-06-12 08:00:00';",
                "",
            ),
            SourceKind::Sqlite => (
                "CREATE TABLE customers (customer_id BLOB PRIMARY KEY, first_name, preferred_channel TEXT, opt_out_email BOOLEAN, opt_out_sms INT, marketing_consent REAL, created_at TEXT, country BLOB, locale TEXT);
                 INSERT INTO customers VALUES (x'00ff0001', 'Kim', 'sms', 'TRUE', 1, 'no', '2027-06-12T08:00:00Z', x'4154', '\"de\"');",
                "",
            ),
        };
        place.execute(sql).await;
        let source = if mapping.is_empty() { place.source(tidings_source::Mapping::identity()) } else { place.mapped(mapping) };
        let rows = read(&source, &reading("customers", ""), &[]).await.unwrap();
        let row = &rows[0];
        let key = match place.kind {
            SourceKind::Postgresql => "00000000-0000-0000-0000-000000000001",
            SourceKind::Mysql | SourceKind::Sqlite => "00FF0001",
        };
        assert_eq!(row.key, key);
        assert_eq!(*row.cell("first_name"), text("Kim"));
        assert_eq!(*row.cell("preferred_channel"), text("sms"));
        assert_eq!(*row.cell("opt_out_email"), Cell::Flag(true));
        assert_eq!(*row.cell("opt_out_sms"), Cell::Flag(true));
        assert_eq!(*row.cell("marketing_consent"), Cell::Flag(false));
        assert_eq!(*row.cell("created_at"), Cell::Instant("2027-06-12T08:00:00Z".parse().unwrap()));
        let country = if place.kind == SourceKind::Postgresql { "\\x4154" } else { "AT" };
        assert_eq!(*row.cell("country"), text(country));
        assert_eq!(source.customer(key).await.unwrap().unwrap().key, key);
    })
    .await;
}
