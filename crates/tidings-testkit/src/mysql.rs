//! The MySQL or MariaDB server that tests use, where there is one.
//!
//! `cargo xtask test` starts one and names it in `TIDINGS_TEST_MYSQL`. Without it the first test that needs one starts a
//! private server in the temporary folder, which all test processes share until nobody has asked for it for a while.

use crate::mariadb::{self, Mariadb};
use crate::server;
use anyhow::Context as _;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Names the server: the URL of a superuser on any database.
const VARIABLE: &str = "TIDINGS_TEST_MYSQL";

/// Ends the server ($1) when the marker ($2) was not touched for ten minutes, and itself with the server.
const WATCHER: &str = r#"
while sleep 20; do
  kill -0 "$1" 2>/dev/null || exit 0
  [ -n "$(find "$2" -mmin -10 2>/dev/null)" ] || { kill -TERM "$1"; exit 0; }
done"#;

static SHARED: OnceLock<Option<String>> = OnceLock::new();

/// The URL of the test server, whose user may make databases and accounts; none where no server is installed.
///
/// # Panics
/// When a server is installed, but cannot be started.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are told their server by the environment"
)]
pub async fn mysql_server() -> Option<String> {
    if let Ok(url) = std::env::var(VARIABLE) {
        return Some(url);
    }
    let path = std::env::var_os("PATH");
    let start = move || -> anyhow::Result<Option<String>> {
        let Some(program) = mariadb::program(path.as_deref()) else {
            eprintln!("no MariaDB found, so nothing is tested on it; `cargo xtask test` installs one");
            return Ok(None);
        };
        shared(&program, path.as_deref()).map(Some)
    };
    if let Some(url) = SHARED.get() {
        return url.clone();
    }
    match tokio::task::spawn_blocking(start).await {
        Ok(Ok(url)) => SHARED.get_or_init(|| url).clone(),
        Ok(Err(error)) => panic!("no MariaDB for tests: {error:#}"),
        Err(error) => panic!("no MariaDB for tests: {error}"),
    }
}

/// A database of one test on MySQL or MariaDB, dropped when this is dropped.
#[derive(Debug)]
pub struct MysqlDatabase {
    /// The URL of the database, as a user who may do everything in it.
    pub url: String,
    name: String,
    server_url: String,
}

/// An empty database on the test server; none where no server is installed.
///
/// # Panics
/// When a server is installed, but cannot be started or refuses.
pub async fn mysql_database() -> Option<MysqlDatabase> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server_url = mysql_server().await?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("tidings_test_{}_{number}", std::process::id());
    if let Err(error) = run(&server_url, format!("CREATE DATABASE {name}")).await {
        panic!("no test database on {server_url}: {error}");
    }
    let base = server_url
        .rsplit_once('/')
        .map_or(server_url.as_str(), |(base, _)| base);
    Some(MysqlDatabase {
        url: format!("{base}/{name}"),
        name,
        server_url: server_url.clone(),
    })
}

/// Names cannot be parameters; every name that comes here was made in this file.
async fn run(server_url: &str, statement: String) -> sqlx::Result<()> {
    let mut admin = MySqlConnection::connect(server_url).await?;
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut admin)
        .await?;
    admin.close().await
}

impl Drop for MysqlDatabase {
    fn drop(&mut self) {
        let (server_url, statement) = (self.server_url.clone(), format!("DROP DATABASE {}", self.name));
        // The test's own runtime may be shutting down.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(sqlx::Error::Io)?;
            runtime.block_on(run(&server_url, statement))
        });
        if let Ok(Err(error)) = thread.join() {
            eprintln!("test database {} was not dropped: {error}", self.name);
        }
    }
}

/// Starts the shared server, or finds the running one; the lock makes the first process do it and the others wait.
fn shared(program: &Path, path: Option<&std::ffi::OsStr>) -> anyhow::Result<String> {
    let folder = server::folder();
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let lock =
        File::create(folder.join("mariadb.lock")).context("cannot open the lock of the shared MariaDB")?;
    lock.lock().context("cannot lock the shared MariaDB")?;
    let marker = folder.join("mariadb.used");
    server::touch(&marker)?;
    let note = folder.join("mariadb.url");
    if let Ok(noted) = std::fs::read_to_string(&note)
        && let Some((pid, url)) = noted.split_once(' ')
        && is_server(pid)
    {
        return Ok(url.to_owned());
    }
    let server = Mariadb::start(program, path, &folder)?;
    let (pid, url) = (server.pid(), server.url());
    watch(pid, &marker)?;
    std::fs::write(&note, format!("{pid} {url}")).context("cannot note the shared MariaDB")?;
    // It outlives this process; the watcher ends it.
    std::mem::forget(server);
    Ok(url)
}

/// Whether the process is still the server, not another that got its number.
fn is_server(pid: &str) -> bool {
    let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    command.starts_with("mariadbd") || command.starts_with("mysqld")
}

fn watch(pid: u32, marker: &Path) -> anyhow::Result<()> {
    Command::new("sh")
        .args(["-c", WATCHER, "tidings-test-watcher", &pid.to_string()])
        .arg(marker)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot watch the shared MariaDB")?;
    Ok(())
}
