//! A connection as a tenant's database sees it: read only, with limits, in UTC.

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use std::path::Path;
use std::time::Duration;

pub(crate) async fn postgresql(
    options: &PgConnectOptions,
    limit_ms: u64,
) -> Result<PgConnection, sqlx::Error> {
    let mut connection = options.clone().disable_statement_logging().connect().await?;
    let settings = format!(
        "SET default_transaction_read_only = on;
         SET statement_timeout = {limit_ms};
         SET lock_timeout = {limit_ms};
         SET idle_in_transaction_session_timeout = {limit_ms};
         SET TimeZone = 'UTC';
         SET DateStyle = 'ISO, YMD';
         SET bytea_output = 'hex';
         SET jit = off;
         SET max_parallel_workers_per_gather = 0"
    );
    sqlx::raw_sql(AssertSqlSafe(settings))
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

pub(crate) async fn mysql(
    options: &MySqlConnectOptions,
    limit_ms: u64,
) -> Result<MySqlConnection, sqlx::Error> {
    // Without strict modes, so that zero dates can be compared with; with backslashes as themselves.
    let options = options
        .clone()
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .disable_statement_logging();
    let mut connection = options.connect().await?;
    let version: String = sqlx::query_scalar("SELECT CAST(VERSION() AS CHAR)")
        .fetch_one(&mut connection)
        .await?;
    let limit = if version.to_ascii_lowercase().contains("mariadb") {
        format!("max_statement_time = {}.{:03}", limit_ms / 1000, limit_ms % 1000)
    } else {
        format!("max_execution_time = {limit_ms}")
    };
    let lock_s = (limit_ms / 1000).max(1);
    for statement in [
        "SET SESSION TRANSACTION READ ONLY".to_owned(),
        "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'".to_owned(),
        "SET SESSION time_zone = '+00:00'".to_owned(),
        format!("SET SESSION lock_wait_timeout = {lock_s}"),
        format!("SET SESSION {limit}"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await?;
    }
    Ok(connection)
}

pub(crate) async fn sqlite(path: &Path, limit_ms: u64) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .create_if_missing(false)
        .pragma("query_only", "ON")
        .pragma("trusted_schema", "OFF")
        // Four mebibytes: the system caches the file as well, and pages are read once.
        .pragma("cache_size", "-4096")
        .busy_timeout(Duration::from_millis(limit_ms))
        .disable_statement_logging()
        .connect()
        .await
}
