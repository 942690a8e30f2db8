//! Writing the dealership into an empty database. This is the only code here that writes, and it only ever makes tables
//! that were not there.

use super::Dealership;
use super::tables::{Table, Value};
use crate::error::SourceError;
use crate::settings::SourceKind;
use crate::statement::quoted;
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use std::path::Path;

/// Rows written by one statement.
const BATCH: usize = 500;
/// Bytes sent by one piece of a COPY.
const PIECE: usize = 256 * 1024;

impl Dealership {
    /// Writes it into a new file.
    ///
    /// # Errors
    /// When the file is there already with such tables, or cannot be written.
    pub async fn load_sqlite(&self, path: &Path) -> Result<(), SourceError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(false)
            .synchronous(SqliteSynchronous::Off)
            .disable_statement_logging();
        let done = async {
            let mut connection = options.connect().await?;
            self.write_sqlite(&mut connection).await?;
            connection.close().await
        };
        done.await.map_err(|error| failed(&path.display(), &error))
    }

    /// Writes it into a database of PostgreSQL.
    ///
    /// # Errors
    /// When it cannot be reached, such tables are there already, or the account may not make any.
    pub async fn load_postgresql(&self, url: &str) -> Result<(), SourceError> {
        let done = async {
            let mut connection = PgConnection::connect(url).await?;
            self.write_postgresql(&mut connection).await?;
            connection.close().await
        };
        done.await.map_err(|error| failed(&"PostgreSQL", &error))
    }

    /// Writes it into a database of MySQL or MariaDB.
    ///
    /// # Errors
    /// When it cannot be reached, such tables are there already, or the account may not make any.
    pub async fn load_mysql(&self, url: &str) -> Result<(), SourceError> {
        let done = async {
            let mut connection = MySqlConnection::connect(url).await?;
            self.write_mysql(&mut connection).await?;
            connection.close().await
        };
        done.await.map_err(|error| failed(&"MySQL", &error))
    }

    async fn write_sqlite(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let mut transaction = connection.begin().await?;
        for mut table in self.tables(SourceKind::Sqlite) {
            run_sqlite(&mut transaction, create(SourceKind::Sqlite, &table)).await?;
            loop {
                let batch: Vec<Vec<Value>> = table.rows.by_ref().take(BATCH).collect();
                if batch.is_empty() {
                    break;
                }
                let mut query = sqlx::query(AssertSqlSafe(insert(SourceKind::Sqlite, &table, batch.len())));
                for value in batch.into_iter().flatten() {
                    query = match value {
                        Value::Null => query.bind(None::<i64>),
                        Value::Integer(number) => query.bind(number),
                        Value::Flag(flag) => query.bind(flag),
                        Value::Text(text) => query.bind(text),
                    };
                }
                query.execute(&mut *transaction).await?;
            }
            for index in indexes(SourceKind::Sqlite, &table) {
                run_sqlite(&mut transaction, index).await?;
            }
        }
        transaction.commit().await?;
        run_sqlite(connection, "ANALYZE".into()).await
    }

    async fn write_mysql(&self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        for mut table in self.tables(SourceKind::Mysql) {
            run_mysql(connection, create(SourceKind::Mysql, &table)).await?;
            let mut transaction = connection.begin().await?;
            loop {
                let batch: Vec<Vec<Value>> = table.rows.by_ref().take(BATCH).collect();
                if batch.is_empty() {
                    break;
                }
                let mut query = sqlx::query(AssertSqlSafe(insert(SourceKind::Mysql, &table, batch.len())));
                for value in batch.into_iter().flatten() {
                    query = match value {
                        Value::Null => query.bind(None::<i64>),
                        Value::Integer(number) => query.bind(number),
                        Value::Flag(flag) => query.bind(flag),
                        Value::Text(text) => query.bind(text),
                    };
                }
                query.execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
            for index in indexes(SourceKind::Mysql, &table) {
                run_mysql(connection, index).await?;
            }
            run_mysql(
                connection,
                format!("ANALYZE TABLE {}", quoted(SourceKind::Mysql, table.name)),
            )
            .await?;
        }
        Ok(())
    }

    async fn write_postgresql(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let mut transaction = connection.begin().await?;
        for mut table in self.tables(SourceKind::Postgresql) {
            run_postgresql(&mut transaction, create(SourceKind::Postgresql, &table)).await?;
            let name = quoted(SourceKind::Postgresql, table.name);
            let mut copy = transaction
                .copy_in_raw(&format!("COPY {name} FROM STDIN"))
                .await?;
            let mut piece = String::with_capacity(PIECE + 1024);
            for row in table.rows.by_ref() {
                write_row(&mut piece, &row);
                if piece.len() >= PIECE {
                    copy.send(piece.as_bytes()).await?;
                    piece.clear();
                }
            }
            copy.send(piece.as_bytes()).await?;
            copy.finish().await?;
            for index in indexes(SourceKind::Postgresql, &table) {
                run_postgresql(&mut transaction, index).await?;
            }
            run_postgresql(&mut transaction, format!("ANALYZE {name}")).await?;
        }
        transaction.commit().await
    }
}

fn failed(place: &dyn std::fmt::Display, error: &sqlx::Error) -> SourceError {
    SourceError::of_driver(&"loading the demonstration", &place.to_string(), 0, error)
}

/// Nothing of other people is in these statements.
async fn run_sqlite(connection: &mut SqliteConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

async fn run_mysql(connection: &mut MySqlConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

async fn run_postgresql(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

fn create(kind: SourceKind, table: &Table<'_>) -> String {
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|(name, of)| format!("{} {}", quoted(kind, name), of.sql(kind)))
        .collect();
    format!(
        "CREATE TABLE {} ({})",
        quoted(kind, table.name),
        columns.join(", ")
    )
}

fn indexes(kind: SourceKind, table: &Table<'_>) -> Vec<String> {
    table
        .indexes
        .iter()
        .map(|column| {
            format!(
                "CREATE INDEX {} ON {} ({})",
                quoted(kind, &format!("{}_by_{column}", table.name)),
                quoted(kind, table.name),
                quoted(kind, column)
            )
        })
        .collect()
}

fn insert(kind: SourceKind, table: &Table<'_>, rows: usize) -> String {
    let row = format!("({})", vec!["?"; table.columns.len()].join(", "));
    format!(
        "INSERT INTO {} VALUES {}",
        quoted(kind, table.name),
        vec![row.as_str(); rows].join(", ")
    )
}

/// A line of COPY's text format.
fn write_row(piece: &mut String, row: &[Value]) {
    for (place, value) in row.iter().enumerate() {
        if place > 0 {
            piece.push('\t');
        }
        match value {
            Value::Null => piece.push_str("\\N"),
            Value::Integer(number) => piece.push_str(&number.to_string()),
            Value::Flag(flag) => piece.push(if *flag { 't' } else { 'f' }),
            Value::Text(text) => {
                for letter in text.chars() {
                    match letter {
                        '\\' => piece.push_str("\\\\"),
                        '\t' => piece.push_str("\\t"),
                        '\n' => piece.push_str("\\n"),
                        '\r' => piece.push_str("\\r"),
                        letter => piece.push(letter),
                    }
                }
            }
        }
    }
    piece.push('\n');
}
