//! A fresh, migrated database for each test.
//!
//! The migrations run once into a template database whose name carries their hash; a test gets a copy, which the server makes
//! in tens of milliseconds. A copy is dropped with its [`TestDatabase`]; what a killed test left behind is removed by later ones.

use crate::server;
use anyhow::Context as _;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use std::str::FromStr as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

static MIGRATIONS: Migrator = sqlx::migrate!("../tidings-store/migrations");

/// Serialises the making of templates and the removal of leftovers on one server; any constant nobody else uses.
const LOCK: i64 = 0x0074_6964_696e_6773;

/// Databases of killed tests are removed when they are this old, in seconds: no test runs that long.
const LEFTOVER_AGE_S: i64 = 1800;

/// At most this many leftovers are removed by one test process, so that no test pays for all of them.
const LEFTOVERS_PER_PROCESS: i64 = 4;

/// This many templates are kept, so that neighbouring branches do not remove each other's.
const TEMPLATES_KEPT: i64 = 12;

/// A database of one test, dropped when this is dropped.
#[derive(Debug)]
pub struct TestDatabase {
    /// The URL of the database, as a superuser who owns everything in it.
    pub url: String,
    name: String,
    server_url: String,
    pool: OnceLock<PgPool>,
}

impl TestDatabase {
    /// A pool of at most ten connections as the owner, made at the first call and shared by later ones.
    ///
    /// # Panics
    /// When the URL of the test server is malformed.
    pub fn pool(&self) -> PgPool {
        let make = || {
            let options = PgConnectOptions::from_str(&self.url).expect("the URL was parsed before");
            PgPoolOptions::new()
                .max_connections(10)
                .test_before_acquire(false)
                .acquire_timeout(Duration::from_secs(20))
                .connect_lazy_with(options)
        };
        self.pool.get_or_init(make).clone()
    }

    /// Runs a statement as the owner: what another program with access to the database would do. Returns how many rows
    /// it touched.
    ///
    /// # Panics
    /// When the database refuses.
    pub async fn execute(&self, statement: &str) -> u64 {
        match sqlx::query(AssertSqlSafe(statement)).execute(&self.pool()).await {
            Ok(done) => done.rows_affected(),
            Err(error) => panic!("{statement}: {error}"),
        }
    }

    /// Runs a statement as another role of the server, with no more than that role was granted. Returns how many rows it
    /// touched.
    ///
    /// # Panics
    /// When the database refuses.
    pub async fn execute_as(&self, role: &str, statement: &str) -> u64 {
        let done = async {
            let mut transaction = self.pool().begin().await?;
            sqlx::query(AssertSqlSafe(format!(r#"SET LOCAL ROLE "{role}""#)))
                .execute(&mut *transaction)
                .await?;
            let done = sqlx::query(AssertSqlSafe(statement))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok::<_, sqlx::Error>(done.rows_affected())
        };
        match done.await {
            Ok(rows) => rows,
            Err(error) => panic!("{statement} as {role}: {error}"),
        }
    }

    /// The first column of every row of a query, as text.
    ///
    /// # Panics
    /// When the database refuses.
    pub async fn texts(&self, query: &str) -> Vec<String> {
        let wrapped =
            format!("SELECT coalesce((t.r).a::text, '') FROM (SELECT q AS r FROM ({query}) AS q (a)) AS t");
        match sqlx::query_scalar(AssertSqlSafe(wrapped))
            .fetch_all(&self.pool())
            .await
        {
            Ok(texts) => texts,
            Err(error) => panic!("{query}: {error}"),
        }
    }

    /// The name of the database on its server.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server_url, name) = (self.server_url.clone(), self.name.clone());
        // The test's own runtime may be shutting down; FORCE ends whatever connections are still open.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&server_url).await?;
                drop_database(&mut connection, &name).await
            })
        });
        if let Ok(Err(error)) = thread.join() {
            let error: anyhow::Error = error;
            eprintln!(
                "test database {} was not dropped: {error:#}; a later test removes it",
                self.name
            );
        }
    }
}

/// A fresh database with all migrations applied.
///
/// # Panics
/// When the test server cannot be reached or a migration fails, with the reason: a test cannot go on without its database.
pub async fn database() -> TestDatabase {
    match create().await {
        Ok(database) => database,
        Err(error) => panic!("no test database: {error:#}"),
    }
}

async fn create() -> anyhow::Result<TestDatabase> {
    let server_url = server::url().await?;
    let mut admin = PgConnection::connect(&server_url)
        .await
        .with_context(|| format!("cannot connect to the test server {server_url}"))?;
    let template = template_name();
    if !template_is_complete(&mut admin, &template).await? {
        make_template(&mut admin, &server_url, &template).await?;
    }
    let name = copy_template(&mut admin, &template).await?;
    let database = TestDatabase {
        url: with_database(&server_url, &name)?,
        name,
        server_url,
        pool: OnceLock::new(),
    };
    remove_leftovers(&mut admin).await?;
    admin.close().await?;
    Ok(database)
}

/// The template's name carries a hash (FNV-1a) of every migration's number and checksum.
fn template_name() -> String {
    let bytes = MIGRATIONS.iter().flat_map(|migration| {
        migration
            .version
            .to_be_bytes()
            .into_iter()
            .chain(migration.checksum.iter().copied())
    });
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("tidings_template_{hash:016x}")
}

/// A finished template refuses connections; one whose making was interrupted still allows them.
async fn template_is_complete(admin: &mut PgConnection, template: &str) -> sqlx::Result<bool> {
    let complete: Option<i32> =
        sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = $1 AND NOT datallowconn")
            .bind(template)
            .fetch_optional(admin)
            .await?;
    Ok(complete.is_some())
}

async fn make_template(admin: &mut PgConnection, server_url: &str, template: &str) -> anyhow::Result<()> {
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut *admin)
        .await?;
    let made = if template_is_complete(admin, template).await? {
        Ok(())
    } else {
        migrate_template(admin, server_url, template).await
    };
    sqlx::query("SELECT pg_advisory_unlock($1)")
        .bind(LOCK)
        .execute(&mut *admin)
        .await?;
    made
}

async fn migrate_template(admin: &mut PgConnection, server_url: &str, template: &str) -> anyhow::Result<()> {
    drop_database(admin, template).await?;
    execute(
        admin,
        format!(r#"CREATE DATABASE "{template}" TEMPLATE template0"#),
    )
    .await?;
    let mut connection = PgConnection::connect(&with_database(server_url, template)?).await?;
    MIGRATIONS
        .run(&mut connection)
        .await
        .context("a migration in crates/tidings-store/migrations failed")?;
    connection.close().await?;
    execute(
        admin,
        format!(r#"ALTER DATABASE "{template}" WITH ALLOW_CONNECTIONS false"#),
    )
    .await?;
    remove_old_templates(admin).await
}

async fn remove_old_templates(admin: &mut PgConnection) -> anyhow::Result<()> {
    let old: Vec<String> = sqlx::query_scalar(r"SELECT datname::text FROM pg_database WHERE datname LIKE 'tidings\_template\_%' ORDER BY oid DESC OFFSET $1 LIMIT 100")
        .bind(TEMPLATES_KEPT)
        .fetch_all(&mut *admin)
        .await?;
    for name in old {
        drop_database(admin, &name).await?;
    }
    Ok(())
}

/// Copies the template under a name that says when (server time) and by whom it was made.
async fn copy_template(admin: &mut PgConnection, template: &str) -> anyhow::Result<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Where nothing is flushed to disk, copying files is twice as fast as writing them through the log; PostgreSQL 14 always copies.
    let (seconds, copies_files): (i64, bool) = sqlx::query_as(
        "SELECT extract(epoch FROM clock_timestamp())::bigint,
                current_setting('fsync') = 'off' AND current_setting('server_version_num')::int >= 150000",
    )
    .fetch_one(&mut *admin)
    .await?;
    let strategy = if copies_files { " STRATEGY file_copy" } else { "" };
    let name = format!(
        "tidings_test_{seconds}_{}_{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    execute(
        admin,
        format!(r#"CREATE DATABASE "{name}" TEMPLATE "{template}"{strategy}"#),
    )
    .await?;
    Ok(name)
}

/// Removes a few old databases that nobody is connected to; another process doing the same is not waited for.
async fn remove_leftovers(admin: &mut PgConnection) -> anyhow::Result<()> {
    static ONCE: OnceLock<()> = OnceLock::new();
    if ONCE.set(()).is_err() {
        return Ok(());
    }
    let leftovers: Vec<String> = sqlx::query_scalar(
        r"SELECT datname::text FROM pg_database
          WHERE datname ~ '^tidings_test_[0-9]{1,12}_[0-9]+_[0-9]+$'
            AND split_part(datname, '_', 3)::bigint < extract(epoch FROM clock_timestamp())::bigint - $1
            AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE pg_stat_activity.datname = pg_database.datname)
          ORDER BY oid LIMIT $2",
    )
    .bind(LEFTOVER_AGE_S)
    .bind(LEFTOVERS_PER_PROCESS)
    .fetch_all(&mut *admin)
    .await?;
    for name in leftovers {
        // Another process may be dropping the same one.
        if let Err(error) = drop_database(admin, &name).await {
            eprintln!("leftover test database {name} stays for now: {error:#}");
        }
    }
    Ok(())
}

async fn drop_database(connection: &mut PgConnection, name: &str) -> anyhow::Result<()> {
    execute(
        connection,
        format!(r#"DROP DATABASE IF EXISTS "{name}" WITH (FORCE)"#),
    )
    .await
}

/// Database names cannot be parameters; every name that comes here was made in this file.
async fn execute(connection: &mut PgConnection, statement: String) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement.clone()))
        .execute(connection)
        .await
        .with_context(|| format!("`{statement}` failed"))?;
    Ok(())
}

/// The same server, another database.
fn with_database(url: &str, name: &str) -> anyhow::Result<String> {
    let (scheme, rest) = url
        .split_once("://")
        .with_context(|| format!("{url}: a PostgreSQL URL starts with postgres://"))?;
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (rest, String::new()),
    };
    let authority = path.split('/').next().unwrap_or(path);
    Ok(format!("{scheme}://{authority}/{name}{query}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn only_the_database_of_a_url_is_replaced() {
        let cases = [
            (
                "postgres://postgres@localhost/postgres?host=/run/pg",
                "postgres://postgres@localhost/x?host=/run/pg",
            ),
            ("postgres://u:p@db:5433", "postgres://u:p@db:5433/x"),
            (
                "postgres://u:p@db:5433/a?sslmode=disable",
                "postgres://u:p@db:5433/x?sslmode=disable",
            ),
        ];
        for (url, expected) in cases {
            assert_eq!(with_database(url, "x").unwrap(), expected);
        }
        assert!(with_database("db:5432", "x").is_err());
    }

    #[tokio::test]
    async fn each_test_has_its_own_database_and_it_goes_away() {
        let (one, two) = (database().await, database().await);
        assert_ne!(one.name(), two.name());
        sqlx::raw_sql("CREATE TABLE only_here (n int)")
            .execute(&one.pool())
            .await
            .unwrap();
        let count = "SELECT count(*) FROM pg_class WHERE relname = 'only_here'";
        assert_eq!(
            sqlx::query_scalar::<_, i64>(count)
                .fetch_one(&one.pool())
                .await
                .unwrap(),
            1
        );
        assert_eq!(
            sqlx::query_scalar::<_, i64>(count)
                .fetch_one(&two.pool())
                .await
                .unwrap(),
            0
        );

        let name = one.name().to_owned();
        drop(one);
        let left: Option<i32> = sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = $1")
            .bind(name)
            .fetch_optional(&two.pool())
            .await
            .unwrap();
        assert_eq!(left, None);
    }

    #[tokio::test]
    async fn a_copy_carries_every_migration() {
        let database = database().await;
        let applied: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations WHERE success")
            .fetch_one(&database.pool())
            .await
            .unwrap();
        assert_eq!(applied, i64::try_from(MIGRATIONS.iter().count()).unwrap());
    }
}
