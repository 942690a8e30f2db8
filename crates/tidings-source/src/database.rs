//! Connections to a source: few, read only, and never without a time limit.

use crate::error::SourceError;
use crate::session;
use crate::settings::{Access, Target};
use crate::statement::{Parameter, Statement};
use futures::{Stream, TryStreamExt as _};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, ColumnIndex, Connection as _, Decode, Row, ValueRef as _};
use std::pin::pin;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// A tenant's database carries at most this many connections of ours for each source.
const CONNECTIONS: usize = 2;

/// One that was not used for so long may have been closed by something on the way.
const IDLE_LIMIT: Duration = Duration::from_mins(1);

/// The server ends a statement that takes too long; we give up on it a little later, when it does not answer at all.
const GRACE: Duration = Duration::from_secs(2);

/// Longer values are not kept.
pub(crate) const LONGEST_CELL: usize = 64 * 1024;

/// SQLite looks at the clock every so many steps.
const STEPS: i32 = 5000;

/// What a cell holds, as text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Raw {
    Null,
    Text(String),
    /// Why it is not text.
    Unreadable(&'static str),
}

impl Raw {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Unreadable(_) => None,
        }
    }
}

pub(crate) type RawRow = Vec<Raw>;

/// How much is read at most.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

/// What was read.
pub(crate) struct Fetched {
    pub(crate) rows: Vec<RawRow>,
    /// There was more than the budget allows.
    pub(crate) cut: bool,
}

pub(crate) enum Connection {
    Postgresql(PgConnection),
    Mysql(MySqlConnection),
    Sqlite(SqliteConnection),
}

/// A source's connections.
pub(crate) struct Database {
    access: Access,
    permits: Semaphore,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Database {
    pub(crate) fn new(access: Access) -> Self {
        Self {
            access,
            permits: Semaphore::new(CONNECTIONS),
            idle: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// Runs a query. A connection whose query did not end well, or was given up, is closed, not used again.
    pub(crate) async fn fetch(&self, statement: Statement, budget: Budget) -> Result<Fetched, SourceError> {
        let waiting = self.limit() + GRACE;
        let _permit = match tokio::time::timeout(waiting, self.permits.acquire()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(self.failed(&statement.doing, &sqlx::Error::PoolClosed)),
            Err(_) => return Err(self.late(&statement.doing)),
        };
        if let Some(connection) = self.take_idle() {
            match self.run(connection, &statement, budget).await {
                // Reading again does no harm.
                Err(error) if was_closed(&error) => {}
                done => return done.map_err(|error| self.failed(&statement.doing, &error)),
            }
        }
        let connecting = tokio::time::timeout(waiting, self.connect()).await;
        let connection = match connecting {
            Ok(connected) => connected.map_err(|error| self.failed(&"connecting", &error))?,
            Err(_) => return Err(self.failed(&"connecting", &sqlx::Error::PoolTimedOut)),
        };
        self.run(connection, &statement, budget)
            .await
            .map_err(|error| self.failed(&statement.doing, &error))
    }

    async fn run(
        &self,
        mut connection: Connection,
        statement: &Statement,
        budget: Budget,
    ) -> Result<Fetched, sqlx::Error> {
        let reading = read(&mut connection, statement, budget, self.limit());
        let Ok(done) = tokio::time::timeout(self.limit() + GRACE, reading).await else {
            return Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
        };
        let fetched = done?;
        // The rest of a reading that was cut is still on its way.
        if !fetched.cut
            && let Ok(mut idle) = self.idle.lock()
        {
            idle.push((connection, Instant::now()));
        }
        Ok(fetched)
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().ok()?;
        idle.retain(|(_, since)| since.elapsed() < IDLE_LIMIT);
        idle.pop().map(|(connection, _)| connection)
    }

    async fn connect(&self) -> Result<Connection, sqlx::Error> {
        let limit_ms = self.access.statement_timeout_ms;
        match &self.access.target {
            Target::Postgresql(options) => session::postgresql(options, limit_ms)
                .await
                .map(Connection::Postgresql),
            Target::Mysql(options) => session::mysql(options, limit_ms).await.map(Connection::Mysql),
            Target::Sqlite(path) => session::sqlite(path, limit_ms).await.map(Connection::Sqlite),
        }
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(self.access.statement_timeout_ms)
    }

    fn late(&self, doing: &str) -> SourceError {
        SourceError::timeout(&doing, &self.access.place, self.access.statement_timeout_ms)
    }

    fn failed(&self, doing: &impl std::fmt::Display, error: &sqlx::Error) -> SourceError {
        match error {
            sqlx::Error::Io(io) if io.kind() == std::io::ErrorKind::TimedOut => {
                SourceError::timeout(doing, &self.access.place, self.access.statement_timeout_ms)
            }
            error => {
                SourceError::of_driver(doing, &self.access.place, self.access.statement_timeout_ms, error)
            }
        }
    }

    /// Says goodbye to the server; dropping closes as well, without a word.
    pub(crate) async fn close(&self) {
        self.permits.close();
        let idle: Vec<_> = self
            .idle
            .lock()
            .map(|mut idle| idle.drain(..).collect())
            .unwrap_or_default();
        for (connection, _) in idle {
            // Whatever goes wrong here, the connection is gone.
            let closing = async {
                match connection {
                    Connection::Postgresql(connection) => connection.close().await,
                    Connection::Mysql(connection) => connection.close().await,
                    Connection::Sqlite(connection) => connection.close().await,
                }
            };
            let _ = tokio::time::timeout(GRACE, closing).await;
        }
    }
}

/// Whether the server, or something between, closed a connection while it was idle.
fn was_closed(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(io) => io.kind() != std::io::ErrorKind::TimedOut,
        sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(database) => database.code().is_some_and(|code| code == "57P01"),
        _ => false,
    }
}

async fn read(
    connection: &mut Connection,
    statement: &Statement,
    budget: Budget,
    limit: Duration,
) -> Result<Fetched, sqlx::Error> {
    // Every name in it was found in the catalogue and quoted, every value is a parameter.
    let sql = AssertSqlSafe(statement.sql.clone());
    match connection {
        Connection::Postgresql(connection) => {
            let mut query = sqlx::query(sql);
            for parameter in &statement.parameters {
                query = match parameter {
                    Parameter::Text(text) => query.bind(text),
                    Parameter::Integer(number) => query.bind(number),
                    Parameter::Unsigned(number) => query.bind(number.to_string()),
                    Parameter::Number(number) => query.bind(number),
                    Parameter::Texts(texts) => query.bind(texts),
                };
            }
            collect(query.fetch(connection), budget).await
        }
        Connection::Mysql(connection) => {
            let mut query = sqlx::query(sql);
            for parameter in &statement.parameters {
                query = match parameter {
                    Parameter::Text(text) => query.bind(text),
                    Parameter::Integer(number) => query.bind(number),
                    Parameter::Unsigned(number) => query.bind(number),
                    Parameter::Number(number) => query.bind(number),
                    Parameter::Texts(_) => return Err(sqlx::Error::InvalidArgument("a list".into())),
                };
            }
            collect(query.fetch(connection), budget).await
        }
        Connection::Sqlite(connection) => {
            let begin = Instant::now();
            connection
                .lock_handle()
                .await?
                .set_progress_handler(STEPS, move || begin.elapsed() < limit);
            let mut query = sqlx::query(sql);
            for parameter in &statement.parameters {
                query = match parameter {
                    Parameter::Text(text) => query.bind(text),
                    Parameter::Integer(number) => query.bind(number),
                    Parameter::Unsigned(number) => query.bind(number.to_string()),
                    Parameter::Number(number) => query.bind(number),
                    Parameter::Texts(_) => return Err(sqlx::Error::InvalidArgument("a list".into())),
                };
            }
            collect(query.fetch(connection), budget).await
        }
    }
}

async fn collect<R>(
    rows: impl Stream<Item = Result<R, sqlx::Error>>,
    budget: Budget,
) -> Result<Fetched, sqlx::Error>
where
    R: Row,
    usize: ColumnIndex<R>,
    for<'r> &'r [u8]: Decode<'r, R::Database>,
{
    let mut rows = pin!(rows);
    let mut fetched = Fetched {
        rows: Vec::new(),
        cut: false,
    };
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await? {
        // One row is always kept, however large: else reading would never get past it.
        if fetched.rows.len() >= budget.rows || (bytes > budget.bytes && !fetched.rows.is_empty()) {
            fetched.cut = true;
            break;
        }
        let cells = (0..row.len())
            .map(|place| raw(&row, place))
            .collect::<Result<RawRow, _>>()?;
        bytes += cells
            .iter()
            .map(|cell| cell.text().map_or(0, str::len))
            .sum::<usize>();
        fetched.rows.push(cells);
    }
    Ok(fetched)
}

fn raw<R>(row: &R, place: usize) -> Result<Raw, sqlx::Error>
where
    R: Row,
    usize: ColumnIndex<R>,
    for<'r> &'r [u8]: Decode<'r, R::Database>,
{
    let value = row.try_get_raw(place)?;
    if value.is_null() {
        return Ok(Raw::Null);
    }
    let bytes = <&[u8]>::decode(value).map_err(sqlx::Error::Decode)?;
    if bytes.len() > LONGEST_CELL {
        return Ok(Raw::Unreadable("it is longer than 64 KiB"));
    }
    Ok(match std::str::from_utf8(bytes) {
        Ok(text) => Raw::Text(text.to_owned()),
        Err(_) => Raw::Unreadable("it is not valid UTF-8"),
    })
}
