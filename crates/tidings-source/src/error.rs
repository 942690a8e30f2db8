//! What can go wrong while reading a source, in words that say what to do. Never a password, never a value of a row.

use sqlx::mysql::MySqlDatabaseError;
use std::fmt;
use tidings_core::word_enum;

word_enum! {
    /// What kind of failure it was.
    pub enum SourceErrorCategory {
        /// Nobody answers, or the connection broke.
        Unreachable = "unreachable",
        /// The account or its password was refused.
        Authentication = "authentication",
        /// The account may not read something.
        Permission = "permission",
        /// A table of the mapping is not there.
        MissingTable = "missing_table",
        /// A column of the mapping is not there.
        MissingColumn = "missing_column",
        /// It took too long.
        Timeout = "timeout",
        /// Settings or mapping do not fit the database.
        InvalidMapping = "invalid_mapping",
        /// The data cannot be read as they are: keys that are missing or not unique, rows that are too large.
        Malformed = "malformed",
        /// Something that should not happen.
        Internal = "internal",
    }
}

/// A failure while reading a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// What kind of failure it was.
    pub category: SourceErrorCategory,
    /// What was tried, where, and what to do.
    pub message: String,
}

impl SourceError {
    /// One of a category.
    pub(crate) fn new(category: SourceErrorCategory, message: impl Into<String>) -> Self {
        Self {
            category,
            message: message.into(),
        }
    }

    pub(crate) fn mapping(message: impl Into<String>) -> Self {
        Self::new(SourceErrorCategory::InvalidMapping, message)
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(SourceErrorCategory::Malformed, message)
    }

    pub(crate) fn timeout(doing: &impl fmt::Display, place: &str, limit_ms: u64) -> Self {
        Self::new(
            SourceErrorCategory::Timeout,
            format!(
                "{doing} in {place} took longer than {limit_ms} ms; an index on the key and on the columns that campaigns look at helps, else raise statement_timeout_ms"
            ),
        )
    }

    /// Whether the same call may succeed later without anybody changing something.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.category,
            SourceErrorCategory::Unreachable | SourceErrorCategory::Timeout
        )
    }

    /// Reads what a driver reports while `doing` something at `place`.
    pub(crate) fn of_driver(
        doing: &impl fmt::Display,
        place: &str,
        limit_ms: u64,
        error: &sqlx::Error,
    ) -> Self {
        use SourceErrorCategory::{Internal, InvalidMapping, Unreachable};
        match error {
            sqlx::Error::Database(database) => {
                let (category, advice) = verdict(database.as_ref());
                if category == SourceErrorCategory::Timeout {
                    return Self::timeout(doing, place, limit_ms);
                }
                Self::new(category, format!("{doing} in {place}: {advice}"))
            }
            sqlx::Error::PoolTimedOut => Self::new(
                Unreachable,
                format!(
                    "{doing}: no connection to {place} within {limit_ms} ms; check that the server runs and lets this machine in"
                ),
            ),
            sqlx::Error::Tls(_) => Self::new(
                Unreachable,
                format!("{doing}: the TLS connection to {place} failed; check `tls` and `tls_ca_pem`"),
            ),
            sqlx::Error::Io(io) => Self::new(
                Unreachable,
                format!(
                    "{doing}: no connection to {place} ({}); check address, port and firewall",
                    io.kind()
                ),
            ),
            sqlx::Error::PoolClosed => Self::new(Internal, format!("{doing}: the source {place} was closed")),
            sqlx::Error::Configuration(_) => Self::new(
                InvalidMapping,
                format!(
                    "{doing}: the connection to {place} is not configured right; check url, tls and tls_ca_pem"
                ),
            ),
            sqlx::Error::WorkerCrashed | sqlx::Error::Protocol(_) => Self::new(
                Unreachable,
                format!(
                    "{doing}: the connection to {place} broke or the server speaks another protocol; an account of MySQL with caching_sha2_password needs TLS (`tls = \"require\"`)"
                ),
            ),
            _ => Self::new(Internal, format!("{doing} in {place} failed in the driver")),
        }
    }
}

/// The category, and what to do. Texts of the database are passed on only where they name tables and columns alone.
fn verdict(error: &dyn sqlx::error::DatabaseError) -> (SourceErrorCategory, String) {
    if let Some(mysql) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return of_mysql(mysql);
    }
    let code = error.code().unwrap_or_default().into_owned();
    if error
        .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
        .is_some()
    {
        return of_postgresql(&code, error.message());
    }
    of_sqlite(&code, error.message())
}

fn of_postgresql(code: &str, text: &str) -> (SourceErrorCategory, String) {
    use SourceErrorCategory::{
        Authentication, Internal, Malformed, MissingColumn, MissingTable, Permission, Timeout, Unreachable,
    };
    match code {
        "42P01" | "3F000" => (
            MissingTable,
            format!("{text}; correct the mapping or create the table"),
        ),
        "42703" => (
            MissingColumn,
            format!("{text}; correct the mapping or bring the column back"),
        ),
        "42501" => (
            Permission,
            format!("{text}; grant SELECT on it to the account of the source"),
        ),
        "57014" | "55P03" | "25P03" => (Timeout, String::new()),
        "3D000" => (Unreachable, "there is no such database; correct the url".into()),
        "57P01" | "57P02" | "57P03" => (
            Unreachable,
            "the server is starting or stopping; it is tried again".into(),
        ),
        "40001" | "40P01" => (
            Unreachable,
            format!("the server cancelled it for another one (SQLSTATE {code}); it is tried again"),
        ),
        "53300" => (
            Unreachable,
            "the server has no connection left; it is tried again".into(),
        ),
        code if code.starts_with("28") => (Authentication, refused()),
        code if code.starts_with("08") || code.starts_with("53") || code.starts_with("58") => (
            Unreachable,
            format!("the server could not answer (SQLSTATE {code})"),
        ),
        code if code.starts_with("22") => (Malformed, unfit(&format!("SQLSTATE {code}"))),
        code => (
            Internal,
            format!("the server refused the query (SQLSTATE {code})"),
        ),
    }
}

fn of_mysql(error: &MySqlDatabaseError) -> (SourceErrorCategory, String) {
    use SourceErrorCategory::{
        Authentication, Internal, Malformed, MissingColumn, MissingTable, Permission, Timeout, Unreachable,
    };
    let text = error.message();
    match error.number() {
        1146 | 1356 => (
            MissingTable,
            format!("{text}; correct the mapping or create the table"),
        ),
        1054 => (
            MissingColumn,
            format!("{text}; correct the mapping or bring the column back"),
        ),
        1142 | 1143 | 1227 => (
            Permission,
            "the account may not read it; grant SELECT on it to the account of the source".into(),
        ),
        1045 | 1698 | 1251 | 1862 | 1820 => (Authentication, refused()),
        1044 | 1049 => (
            Permission,
            "there is no such database, or the account may not use it; correct the url or grant SELECT on it"
                .into(),
        ),
        1205 | 1317 | 1969 | 3024 => (Timeout, String::new()),
        1040 | 1053 | 1129 | 1130 | 1203 | 2002..=2055 => (
            Unreachable,
            format!("the server could not answer (error {})", error.number()),
        ),
        1292 | 1366 | 1525 => (Malformed, unfit(&format!("error {}", error.number()))),
        number => (Internal, format!("the server refused the query (error {number})")),
    }
}

fn of_sqlite(code: &str, text: &str) -> (SourceErrorCategory, String) {
    use SourceErrorCategory::{
        Internal, Malformed, MissingColumn, MissingTable, Permission, Timeout, Unreachable,
    };
    // Extended codes carry the primary one in their lowest byte.
    match code.parse::<i32>().unwrap_or(0) & 0xff {
        1 if text.starts_with("no such table") => (
            MissingTable,
            format!("{text}; correct the mapping or create the table"),
        ),
        1 if text.starts_with("no such column") => (
            MissingColumn,
            format!("{text}; correct the mapping or bring the column back"),
        ),
        3 | 23 => (
            Permission,
            "the file may not be read by the account that runs Tidings".into(),
        ),
        5 | 6 | 9 => (Timeout, String::new()),
        10 => (Unreachable, "the file could not be read from its disk".into()),
        11 | 26 => (
            Malformed,
            "the file is damaged or is no SQLite database".into(),
        ),
        14 => (
            Unreachable,
            "the file cannot be opened; check the path and that the account that runs Tidings may read it (and, for a database in WAL mode, write to its folder)".into(),
        ),
        _ => (Internal, format!("SQLite refused the query (code {code})")),
    }
}

fn refused() -> String {
    "the account or its password was refused; correct the url".into()
}

fn unfit(code: &str) -> String {
    format!(
        "a value does not fit the type of its column ({code}); check that the mapping's filters and keys have the types of their columns"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_by_itself_is_transient() {
        let transient: Vec<_> = SourceErrorCategory::ALL
            .iter()
            .filter(|category| SourceError::new(**category, "x").is_transient())
            .map(|category| category.as_str())
            .collect();
        assert_eq!(transient, ["unreachable", "timeout"]);
    }

    #[test]
    fn values_in_the_texts_of_databases_are_not_passed_on() {
        let (category, text) = of_postgresql(
            "22P02",
            "invalid input syntax for type integer: \"kim@example.com\"",
        );
        assert_eq!(category, SourceErrorCategory::Malformed);
        assert!(!text.contains("kim"), "{text}");
        let (category, text) = of_postgresql("28P01", "password authentication failed for user \"secret\"");
        assert_eq!(category, SourceErrorCategory::Authentication);
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(
            of_sqlite("5", "database is locked").0,
            SourceErrorCategory::Timeout
        );
        assert_eq!(
            of_sqlite("1", "no such table: x").0,
            SourceErrorCategory::MissingTable
        );
    }
}
