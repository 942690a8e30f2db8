//! Pages, where a reading goes on, and bounds.

use crate::campaign::{as_of, keys, read, reading};
use crate::place::everywhere;
use std::fmt::Write as _;
use tidings_core::campaign::{Bound, Range};
use tidings_source::Mapping;

#[tokio::test]
async fn a_reading_goes_on_after_the_last_key_while_rows_come_and_go() {
    everywhere(async |place| {
        let mut sql = "CREATE TABLE customers (customer_id int PRIMARY KEY);".to_owned();
        for number in 1..=100 {
            write!(sql, "INSERT INTO customers VALUES ({});", number * 10).unwrap();
        }
        place.execute(&sql).await;
        let source = place.source(Mapping::identity());
        let definition = reading("customers", "");
        let mut pages = source.pages(&definition, as_of(), &[], None).await.unwrap();
        let first = pages.next_page().await.unwrap().unwrap();
        assert_eq!((first.rows.len(), first.last_key.as_deref(), first.done), (50, Some("500"), false));

        place
            .execute("INSERT INTO customers VALUES (5), (505); DELETE FROM customers WHERE customer_id IN (500, 510)")
            .await;
        let mut later = source.pages(&definition, as_of(), &[], first.last_key.as_deref()).await.unwrap();
        let second = later.next_page().await.unwrap().unwrap();
        assert_eq!(keys(&second.rows)[..2], ["505", "520"]);
        assert_eq!((second.rows.len(), second.last_key.as_deref(), second.done), (50, Some("1000"), true));
        assert_eq!(later.next_page().await.unwrap(), None);
        assert_eq!(pages.next_page().await.unwrap().unwrap().rows.len(), 50);

        let mut behind = source.pages(&definition, as_of(), &[], Some("1000")).await.unwrap();
        let page = behind.next_page().await.unwrap().unwrap();
        assert_eq!((page.rows.len(), page.last_key, page.done), (0, None, true));
        assert!(source.pages(&definition, as_of(), &[], Some("1/2")).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn bounds_leave_out_what_cannot_be_due_and_nothing_else() {
    everywhere(async |place| {
        place
            .execute(
                "CREATE TABLE customers (customer_id int PRIMARY KEY);
                 CREATE TABLE equipment (equipment_id int PRIMARY KEY, customer_id int, date_sold {date} NULL, machine_hours decimal(10,1));
                 INSERT INTO equipment VALUES (1, 1, '2027-01-01', 5), (2, 1, '2027-06-01', 20), (3, 1, NULL, NULL), (4, 1, '2027-06-30', 19.9), (5, 1, '2026-06-01', 400);
                 CREATE TABLE work_orders (service_record_id int PRIMARY KEY, customer_id int, picked_up_at {local} NULL, completed_at {instant} NULL);
                 INSERT INTO work_orders VALUES (1, 1, '2027-01-01 10:00:00', '2027-01-01 10:00:00'), (2, 1, '2027-06-13 12:00:00', '2027-06-13 12:00:00'), (3, 1, NULL, NULL), (4, 1, '2028-01-01 00:00:00', '2028-01-01 00:00:00');",
            )
            .await;
        let source = place.source(Mapping::identity());
        let cases = [
            ("equipment", "date_sold", Range::Dates { from: Some("2027-05-31".parse().unwrap()), to: Some("2027-06-02".parse().unwrap()) }, &["2", "3"][..]),
            ("equipment", "date_sold", Range::Dates { from: None, to: Some("2027-01-01".parse().unwrap()) }, &["1", "3", "5"]),
            ("equipment", "date_sold", Range::Dates { from: None, to: None }, &["1", "2", "3", "4", "5"]),
            ("equipment", "machine_hours", Range::Numbers { from: Some(20.0), to: None }, &["2", "3", "5"]),
            ("equipment", "machine_hours", Range::Numbers { from: Some(19.9), to: Some(20.0) }, &["2", "3", "4"]),
            ("equipment", "nonsense", Range::Numbers { from: Some(1e9), to: None }, &["1", "2", "3", "4", "5"]),
            ("work_orders", "picked_up_at", Range::Instants { from: Some("2027-06-12T12:00:00Z".parse().unwrap()), to: Some("2027-06-13T12:00:00Z".parse().unwrap()) }, &["2", "3"]),
            ("work_orders", "completed_at", Range::Instants { from: Some("2027-06-13T10:00:00Z".parse().unwrap()), to: Some("2027-06-13T12:00:00Z".parse().unwrap()) }, &["2", "3"]),
        ];
        for (from, column, range, expected) in cases {
            let bound = Bound { column: column.into(), range };
            let rows = read(&source, &reading(from, ""), &[bound]).await.unwrap();
            assert_eq!(keys(&rows), expected, "{column} {range:?} on {}", place.kind);
        }
    })
    .await;
}

#[tokio::test]
async fn a_page_of_large_rows_ends_early_and_the_next_one_goes_on() {
    everywhere(async |place| {
        let large = "x".repeat(60_000);
        place.execute("CREATE TABLE customers (customer_id int PRIMARY KEY, first_name text, last_name text, company text);").await;
        for number in 0..200 {
            place.execute(&format!("INSERT INTO customers VALUES ({number}, '{large}', '{large}', '{large}')")).await;
        }
        let mut settings = place.settings();
        settings.page_rows = 5000;
        let source = tidings_source::Source::open(&settings, Mapping::identity(), &jiff::tz::TimeZone::UTC).unwrap();
        let mut pages = source.pages(&reading("customers", ""), as_of(), &[], None).await.unwrap();
        let first = pages.next_page().await.unwrap().unwrap();
        assert!(first.rows.len() < 200 && !first.done, "{}", first.rows.len());
        let second = pages.next_page().await.unwrap().unwrap();
        assert_eq!(first.rows.len() + second.rows.len(), 200);
        assert!(second.done);
    })
    .await;
}
