//! What goes wrong is said with what, where and what to do, and without a password.

use crate::campaign::{as_of, read, reading};
use crate::place::{everywhere, place};
use secrecy::SecretString;
use tidings_core::campaign::LogicalTable;
use tidings_source::{Mapping, Source, SourceErrorCategory as Category, SourceKind};

const TABLES: &str = "CREATE TABLE customers (customer_id int PRIMARY KEY, first_name varchar(10));
    INSERT INTO customers VALUES (1, 'Kim');
    CREATE TABLE sales (sale_id int PRIMARY KEY, customer_id int, date_sold {date});
    INSERT INTO sales VALUES (1, 1, '2027-01-01');";

const MAPPING: &str = r#"
    [customers]
    table = "customers"
    columns = { customer_id = "customer_id", first_name = "first_name" }
    [sales]
    table = "sales"
    columns = { sale_id = "sale_id", customer_id = "customer_id", date_sold = "date_sold" }
"#;

#[tokio::test]
async fn what_disappears_during_a_reading_is_named() {
    everywhere(async |place| {
        place.execute(TABLES).await;
        let source = place.mapped(MAPPING);
        let definition = reading("sales", "");
        read(&source, &definition, &[]).await.unwrap();
        let mut begun = source.pages(&definition, as_of(), &[], None).await.unwrap();
        place
            .execute("ALTER TABLE customers DROP COLUMN first_name")
            .await;
        let error = begun.next_page().await.unwrap_err();
        // SQLite takes an unknown name in double quotes for a text; the mapping is looked up again soon after.
        assert_eq!(error.category, Category::MissingColumn, "{error}");
        assert!(!error.is_transient());

        let fresh = place.mapped(MAPPING);
        let error = read(&fresh, &definition, &[]).await.unwrap_err();
        assert_eq!(error.category, Category::MissingColumn);
        assert!(
            error
                .message
                .contains("customers (customers) has no column first_name"),
            "{error}"
        );

        place
            .execute("ALTER TABLE customers ADD COLUMN first_name varchar(10)")
            .await;
        let mut begun = source.pages(&definition, as_of(), &[], None).await.unwrap();
        place.execute("DROP TABLE sales").await;
        assert_eq!(
            begun.next_page().await.unwrap_err().category,
            Category::MissingTable
        );
        let fresh = place.mapped(MAPPING);
        let error = read(&fresh, &definition, &[]).await.unwrap_err();
        assert!(error.message.contains("no table or view sales"), "{error}");
        assert_eq!(
            fresh.count(LogicalTable::Customers).await.unwrap(),
            1,
            "the other tables are still read"
        );
    })
    .await;
}

#[tokio::test]
async fn nothing_can_be_written() {
    everywhere(async |place| {
        // A function of the database that writes, hidden in a view, is the only way to try.
        match place.kind {
            SourceKind::Postgresql => {
                place
                    .execute(
                        "CREATE TABLE written (n int);
                         CREATE FUNCTION write() RETURNS int LANGUAGE sql AS 'INSERT INTO dms.written VALUES (1) RETURNING n';
                         CREATE VIEW customers AS SELECT dms.write() AS customer_id;",
                    )
                    .await;
            }
            SourceKind::Mysql => {
                // MariaDB hides a view that writes from sessions that may not; so one that tells what kind it sees.
                place
                    .execute(
                        "CREATE FUNCTION reads_only() RETURNS int READS SQL DATA RETURN @@session.tx_read_only;
                         CREATE VIEW customers AS SELECT reads_only() AS customer_id;",
                    )
                    .await;
                let rows = read(&place.source(Mapping::identity()), &reading("customers", ""), &[]).await.unwrap();
                assert_eq!(crate::campaign::keys(&rows), ["1"]);
                return;
            }
            // A view of SQLite cannot write.
            SourceKind::Sqlite => return,
        }
        let error = read(&place.source(Mapping::identity()), &reading("customers", ""), &[]).await.unwrap_err();
        assert_eq!(error.category, Category::Internal, "{error}");
        place.execute("DROP VIEW customers; ALTER TABLE written RENAME TO customers; ALTER TABLE customers ADD COLUMN customer_id int;").await;
        assert_eq!(place.source(Mapping::identity()).count(LogicalTable::Customers).await.unwrap(), 0);
    })
    .await;
}

fn as_user(url: &str, name: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (_, host) = rest.split_once('@').unwrap();
    format!("{scheme}://{name}:hunter2@{host}")
}

#[tokio::test]
async fn an_account_that_may_not_read_is_told_what_to_grant() {
    for kind in [SourceKind::Postgresql, SourceKind::Mysql] {
        let Some(place) = place(kind).await else { continue };
        place.execute(TABLES).await;
        let name = format!("reader{}", std::process::id());
        let account = if kind == SourceKind::Postgresql {
            format!(
                "CREATE ROLE {name} LOGIN PASSWORD 'hunter2'; GRANT USAGE ON SCHEMA dms TO {name}; GRANT SELECT ON customers TO {name};"
            )
        } else {
            format!(
                "CREATE USER {name}@'%' IDENTIFIED BY 'hunter2'; GRANT SELECT ON customers TO {name}@'%';"
            )
        };
        place.execute(&account).await;
        let url = as_user(&place.url, &name);
        let mut settings = place.settings();
        settings.url = SecretString::from(url.clone());
        let open = |settings: &tidings_source::SourceSettings| {
            Source::open(
                settings,
                toml::from_str(MAPPING).unwrap(),
                &jiff::tz::TimeZone::UTC,
            )
            .unwrap()
        };
        let source = open(&settings);
        assert_eq!(source.count(LogicalTable::Customers).await.unwrap(), 1);
        let error = read(&source, &reading("sales", ""), &[]).await.unwrap_err();
        let expected = if kind == SourceKind::Mysql {
            Category::MissingTable
        } else {
            Category::Permission
        };
        assert_eq!(error.category, expected, "{error}");
        let check = source.check().await.unwrap();
        assert!(
            check.has(LogicalTable::Customers, "first_name") && !check.has(LogicalTable::Sales, "date_sold")
        );

        // What may be read at first may be forbidden later.
        let mut begun = source
            .pages(&reading("customers", ""), as_of(), &[], None)
            .await
            .unwrap();
        let host = if kind == SourceKind::Mysql { "@'%'" } else { "" };
        place
            .execute(&format!("REVOKE SELECT ON customers FROM {name}{host}"))
            .await;
        let error = begun.next_page().await.unwrap_err();
        assert_eq!(error.category, Category::Permission, "{error}");
        assert!(error.message.contains("grant SELECT"), "{error}");
        drop(source);

        if kind == SourceKind::Mysql {
            settings.url = SecretString::from(url.replace("hunter2", "hunter3"));
            let error = open(&settings).introspect().await.unwrap_err();
            assert_eq!(error.category, Category::Authentication, "{error}");
            assert!(!error.message.contains("hunter"), "{error}");
            place.execute(&format!("DROP USER {name}@'%'")).await;
        } else {
            place
                .execute(&format!("DROP OWNED BY {name}; DROP ROLE {name};"))
                .await;
        }
        place.remove();
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_may_pass() {
    let Some(place) = place(SourceKind::Postgresql).await else {
        return;
    };
    for (kind, url) in [
        (
            SourceKind::Postgresql,
            "postgres://reader:hunter2@127.0.0.1:1/shop",
        ),
        (SourceKind::Mysql, "mysql://reader:hunter2@127.0.0.1:1/shop"),
        (SourceKind::Sqlite, "/nowhere/shop.db"),
    ] {
        let mut settings = place.settings();
        settings.kind = kind;
        settings.url = SecretString::from(url);
        let source = Source::open(&settings, Mapping::identity(), &jiff::tz::TimeZone::UTC).unwrap();
        let error = source.introspect().await.unwrap_err();
        assert_eq!(error.category, Category::Unreachable, "{error}");
        assert!(
            error.is_transient() && !error.message.contains("hunter2"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_given_up() {
    everywhere(async |place| {
        // Every key is compared with every other.
        let numbers = match place.kind {
            SourceKind::Postgresql => "SELECT generate_series(1, 20000) AS n".to_owned(),
            SourceKind::Mysql => "SELECT seq AS n FROM seq_1_to_20000".into(),
            SourceKind::Sqlite => "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000) SELECT n FROM s".into(),
        };
        place
            .execute(&format!(
                "CREATE TABLE numbers AS {numbers};
                 CREATE VIEW customers AS SELECT count(*) AS customer_id FROM numbers a, numbers b WHERE a.n * b.n % 7 = 3;"
            ))
            .await;
        let mut settings = place.settings();
        settings.statement_timeout_ms = 300;
        let source = Source::open(&settings, Mapping::identity(), &jiff::tz::TimeZone::UTC).unwrap();
        let error = source.count(LogicalTable::Customers).await.unwrap_err();
        assert_eq!(error.category, Category::Timeout, "{error}");
        assert!(error.message.contains("customers (customers)") && error.message.contains("300 ms"), "{error}");
        source.introspect().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn connections_that_the_server_ended_are_made_anew() {
    for kind in [SourceKind::Postgresql, SourceKind::Mysql] {
        let Some(place) = place(kind).await else { continue };
        place.execute(TABLES).await;
        let source = place.mapped(MAPPING);
        assert_eq!(source.count(LogicalTable::Sales).await.unwrap(), 1);
        place
            .execute(if kind == SourceKind::Postgresql {
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'tidings' AND datname = current_database()"
            } else {
                "BEGIN NOT ATOMIC FOR p IN (SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()) DO KILL p.id; END FOR; END;"
            })
            .await;
        assert_eq!(source.count(LogicalTable::Sales).await.unwrap(), 1);
        place.remove();
    }
}
