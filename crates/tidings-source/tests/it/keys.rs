//! Keys of any shape are read once each, in every order a database may have, and what is no key is refused.

use crate::campaign::{keys, read, reading};
use crate::place::{Place, everywhere};
use std::fmt::Write as _;
use tidings_source::{Mapping, SourceErrorCategory, SourceKind};

const CUSTOMERS: &str =
    "CREATE TABLE customers (customer_id int PRIMARY KEY); INSERT INTO customers VALUES (1);";

/// Three pages of fifty and a bit.
const MANY: usize = 170;

async fn every_key_once(place: &Place, source: &tidings_source::Source, from: &str, expected: usize) {
    let rows = read(source, &reading(from, ""), &[]).await.unwrap();
    let mut seen = keys(&rows);
    assert_eq!(seen.len(), expected, "on {}", place.kind);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), expected, "on {}", place.kind);
}

#[tokio::test]
async fn keys_of_several_columns_are_read_to_the_end() {
    everywhere(async |place| {
        let mut sql = "CREATE TABLE customers (branch char(2), no int, first_name varchar(20), PRIMARY KEY (branch, no));
            CREATE TABLE sales (sale_id int, branch char(2), no int, line int, date_sold {date}, PRIMARY KEY (branch, sale_id, line));
            CREATE TABLE work_orders (service_record_id int PRIMARY KEY, branch char(2), no int, picked_up_at {local});"
            .to_owned();
        for number in 0..MANY {
            let branch = if number % 3 == 0 { "B" } else { "A/" };
            let (no, line) = (number / 2, number % 2);
            write!(sql, "INSERT INTO customers VALUES ('{branch}', {number}, 'n{number}');").unwrap();
            write!(sql, "INSERT INTO sales VALUES ({no}, '{branch}', {number}, {line}, '2027-01-01');").unwrap();
            write!(sql, "INSERT INTO work_orders VALUES ({number}, '{branch}', {number}, '2027-01-01 10:00:00');").unwrap();
        }
        place.execute(&sql).await;
        let source = place.mapped(
            r#"
            [customers]
            table = "customers"
            columns = { customer_id = ["branch", "no"], first_name = "first_name" }
            [sales]
            table = "sales"
            columns = { sale_id = ["branch", "sale_id", "line"], customer_id = ["branch", "no"], date_sold = "date_sold" }
            [work_orders]
            table = "work_orders"
            columns = { service_record_id = "service_record_id", customer_id = ["branch", "no"], picked_up_at = "picked_up_at" }
            "#,
        );
        let definition = reading(
            "sales",
            r#"related = [{ name = "visits", table = "work_orders", by = "customer_id", take = "count" }]"#,
        );
        let rows = read(&source, &definition, &[]).await.unwrap();
        assert_eq!(rows.len(), MANY);
        assert_eq!(rows[0].key, "A%2F/0/1");
        for row in &rows {
            let customer = row.customer.as_ref().unwrap();
            assert_eq!(*row.cell("customer_id"), *customer.cell("customer_id"));
            assert_eq!(*row.cell("visits"), tidings_core::campaign::Cell::Number(1.0));
        }
        let mut seen = keys(&rows);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), MANY);
        let customer = source.customer("A%2F/1").await.unwrap().unwrap();
        assert_eq!(*customer.cell("first_name"), tidings_core::campaign::Cell::Text(tidings_core::redact::Private::new("n1".into())));
    })
    .await;
}

#[tokio::test]
async fn texts_of_any_letters_are_keys() {
    everywhere(async |place| {
        let mut sql = format!("{CUSTOMERS} CREATE TABLE sales (sale_id varchar(40) PRIMARY KEY, customer_id int, date_sold {{date}});");
        let odd = ["", " ", "%", "/", "a'b", "a\"b", "a\\b", "Ä", "ä ö", "\u{1F600}", "_", "-", "0", "00", "é", "z", "\t", "%2F"];
        for (number, key) in odd.iter().enumerate() {
            // In MySQL blanks at the end and accents make no difference to a key.
            let key = if place.kind == SourceKind::Mysql { format!("{number}{key}x") } else { (*key).to_owned() };
            write!(sql, "INSERT INTO sales VALUES ('{}', 1, '2027-01-01');", key.replace('\'', "''")).unwrap();
        }
        for number in 0..MANY {
            write!(sql, "INSERT INTO sales VALUES ('{}{number}', 1, '2027-01-01');", ["k", "K-", "ß"][number % 3]).unwrap();
        }
        place.execute(&sql).await;
        every_key_once(place, &place.source(Mapping::identity()), "sales", MANY + odd.len()).await;
    })
    .await;
}

#[tokio::test]
async fn keys_that_differ_in_case_alone_are_told_apart_where_the_database_orders_them_alike() {
    everywhere(async |place| {
        let column = match place.kind {
            SourceKind::Postgresql => "text",
            SourceKind::Mysql => "varchar(20) COLLATE utf8mb4_general_ci",
            SourceKind::Sqlite => "TEXT COLLATE NOCASE",
        };
        // No index keeps them unique.
        let mut sql = format!(
            "{CUSTOMERS} CREATE TABLE sales (sale_id {column} NOT NULL, customer_id int, date_sold {{date}});"
        );
        for number in 0..MANY {
            write!(
                sql,
                "INSERT INTO sales VALUES ('a{number}', 1, '2027-01-01'), ('A{number}', 1, '2027-01-01');"
            )
            .unwrap();
        }
        place.execute(&sql).await;
        every_key_once(place, &place.source(Mapping::identity()), "sales", 2 * MANY).await;
    })
    .await;
}

#[tokio::test]
async fn a_key_that_comes_again_is_an_error_that_names_it() {
    everywhere(async |place| {
        for (from, at) in [(1, 60), (2, 50)] {
            let view = format!("v{from}");
            let mut sql = if from == 1 { format!("{CUSTOMERS} CREATE TABLE t (id int, customer_id int, date_sold {{date}});") } else { "DELETE FROM t;".into() };
            for number in 0..MANY {
                write!(sql, "INSERT INTO t VALUES ({number}, 1, '2027-01-01');").unwrap();
            }
            write!(sql, "INSERT INTO t VALUES ({at}, 1, '2027-01-01'); CREATE VIEW {view} AS SELECT id, customer_id, date_sold FROM t;").unwrap();
            place.execute(&sql).await;
            let source = place.mapped(&format!(
                "[customers]\ntable = \"customers\"\ncolumns = {{ customer_id = \"customer_id\" }}\n[sales]\ntable = \"{view}\"\ncolumns = {{ sale_id = \"id\", customer_id = \"customer_id\", date_sold = \"date_sold\" }}"
            ));
            let error = read(&source, &reading("sales", ""), &[]).await.unwrap_err();
            assert_eq!(error.category, SourceErrorCategory::Malformed);
            assert!(error.message.contains("id of sales (") && error.message.contains("not unique"), "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn rows_without_a_key_are_an_error_and_a_filter_leaves_them_out() {
    everywhere(async |place| {
        place
            .execute(&format!(
                "{CUSTOMERS} CREATE TABLE sales (sale_id int, customer_id int, date_sold {{date}});
                 INSERT INTO sales VALUES (1, 1, '2027-01-01'), (NULL, 1, '2027-01-01');"
            ))
            .await;
        let error = read(&place.source(Mapping::identity()), &reading("sales", ""), &[])
            .await
            .unwrap_err();
        assert!(error.message.contains("is_null = false"), "{error}");
        let source = place.mapped(
            r#"
            [customers]
            table = "customers"
            columns = { customer_id = "customer_id" }
            [sales]
            table = "sales"
            filter = [{ column = "sale_id", is_null = false }]
            columns = { sale_id = "sale_id", customer_id = "customer_id", date_sold = "date_sold" }
            "#,
        );
        assert_eq!(
            keys(&read(&source, &reading("sales", ""), &[]).await.unwrap()),
            ["1"]
        );
    })
    .await;
}
