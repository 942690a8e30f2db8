//! A database of each kind, with whatever a test puts into it.

use secrecy::SecretString;
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use tidings_source::{Mapping, Source, SourceKind, SourceSettings, Tls};
use tidings_testkit::{MysqlDatabase, TestDatabase};

/// Where a test's tables are.
pub struct Place {
    pub kind: SourceKind,
    pub url: String,
    held: Held,
}

enum Held {
    Postgresql(TestDatabase),
    Mysql(MysqlDatabase),
    Sqlite(PathBuf),
}

static NEXT: AtomicU32 = AtomicU32::new(0);

fn unique() -> String {
    format!("{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs a test on every kind of database there is here.
pub async fn everywhere(test: impl AsyncFn(&Place)) {
    for kind in SourceKind::ALL {
        if let Some(place) = place(*kind).await {
            eprintln!("on {kind}");
            test(&place).await;
            place.remove();
        }
    }
}

/// One of a kind; none where there is no MariaDB.
pub async fn place(kind: SourceKind) -> Option<Place> {
    let (url, held) = match kind {
        SourceKind::Postgresql => {
            let database = tidings_testkit::database().await;
            database.execute("CREATE SCHEMA dms").await;
            (database.url.clone(), Held::Postgresql(database))
        }
        SourceKind::Mysql => {
            let database = tidings_testkit::mysql_database().await?;
            (database.url.clone(), Held::Mysql(database))
        }
        SourceKind::Sqlite => {
            let path =
                PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tidings-source-{}.db", unique()));
            SqliteConnectOptions::new()
                .filename(&path)
                .create_if_missing(true)
                .connect()
                .await
                .unwrap();
            (path.display().to_string(), Held::Sqlite(path))
        }
    };
    Some(Place { kind, url, held })
}

impl Place {
    /// Runs statements as the owner. `{instant}`, `{local}` and `{date}` become the kind's types.
    pub async fn execute(&self, sql: &str) {
        let [instant, local, date] = match self.kind {
            SourceKind::Postgresql => ["timestamptz", "timestamp", "date"],
            SourceKind::Mysql => ["timestamp", "datetime", "date"],
            SourceKind::Sqlite => ["TIMESTAMP", "DATETIME", "DATE"],
        };
        let sql = sql
            .replace("{instant}", instant)
            .replace("{local}", local)
            .replace("{date}", date);
        let done = match self.kind {
            SourceKind::Postgresql => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                let sql = format!("SET search_path = dms; {sql}");
                sqlx::raw_sql(AssertSqlSafe(sql))
                    .execute(&mut connection)
                    .await
                    .map(drop)
            }
            SourceKind::Mysql => {
                let mut connection = MySqlConnection::connect(&self.url).await.unwrap();
                let sql = format!("SET SESSION sql_mode = 'ALLOW_INVALID_DATES,NO_BACKSLASH_ESCAPES'; {sql}");
                sqlx::raw_sql(AssertSqlSafe(sql))
                    .execute(&mut connection)
                    .await
                    .map(drop)
            }
            SourceKind::Sqlite => {
                let mut connection = SqliteConnectOptions::new()
                    .filename(&self.url)
                    .foreign_keys(false)
                    .connect()
                    .await
                    .unwrap();
                sqlx::raw_sql(AssertSqlSafe(sql))
                    .execute(&mut connection)
                    .await
                    .map(drop)
            }
        };
        if let Err(error) = done {
            panic!("{error}");
        }
    }

    pub fn settings(&self) -> SourceSettings {
        SourceSettings {
            kind: self.kind,
            url: SecretString::from(self.url.clone()),
            statement_timeout_ms: 10_000,
            page_rows: 50,
            tls: Tls::Prefer,
            tls_ca_pem: None,
            zone: Some("Europe/Vienna".into()),
            schema: (self.kind == SourceKind::Postgresql).then(|| "dms".into()),
        }
    }

    pub fn source(&self, mapping: Mapping) -> Source {
        Source::open(&self.settings(), mapping, &jiff::tz::TimeZone::UTC).unwrap()
    }

    /// A source with a mapping as it stands in a tenant's file.
    pub fn mapped(&self, mapping: &str) -> Source {
        self.source(toml::from_str(mapping).unwrap())
    }

    /// Removes what was made.
    pub fn remove(self) {
        match self.held {
            Held::Postgresql(database) => drop(database),
            Held::Mysql(database) => drop(database),
            Held::Sqlite(path) => std::fs::remove_file(path).unwrap(),
        }
    }
}
