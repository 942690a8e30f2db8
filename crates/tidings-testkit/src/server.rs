//! The PostgreSQL server that test databases live on.
//!
//! `cargo xtask test` starts one and names it in `TIDINGS_TEST_POSTGRES`. Without it (`cargo test`, an editor) the first test
//! starts a private server in the temporary folder, which all test processes share; a small watcher ends it when nobody has
//! asked for a database for a while, because no test process lives long enough to own it.

use anyhow::Context as _;
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use tidings_postgres::{Binaries, Instance, Settings, Started};

/// Names the server: the URL of a superuser on a maintenance database.
const VARIABLE: &str = "TIDINGS_TEST_POSTGRES";

/// Ends the server when the marker ($2) was not touched for ten minutes, and itself with the server. $1 is PGDATA.
const WATCHER: &str = r#"
while sleep 20; do
  pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null) || exit 0
  [ -n "$(find "$2" -mmin -10 2>/dev/null)" ] || { kill -INT "$pid"; exit 0; }
done"#;

static SHARED: OnceLock<String> = OnceLock::new();

/// The URL of the test server.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are told their server by the environment"
)]
pub(crate) async fn url() -> anyhow::Result<String> {
    if let Ok(url) = std::env::var(VARIABLE) {
        return Ok(url);
    }
    if let Some(url) = SHARED.get() {
        touch(&folder().join("used"))?;
        return Ok(url.clone());
    }
    let url = tokio::task::spawn_blocking(|| shared(&folder())).await??;
    Ok(SHARED.get_or_init(|| url).clone())
}

#[expect(clippy::disallowed_methods, reason = "names a folder for each user")]
pub(crate) fn folder() -> PathBuf {
    // One for each user: a folder made by another cannot be written.
    let user = std::env::var("USER").unwrap_or_else(|_| "shared".into());
    std::env::temp_dir().join(format!(
        "tidings-test-{}",
        user.replace(|character: char| !character.is_ascii_alphanumeric(), "-")
    ))
}

/// Starts the shared server, or finds the running one; the lock makes the first process do it and the others wait.
fn shared(folder: &Path) -> anyhow::Result<String> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let lock = File::create(folder.join("lock")).context("cannot open the lock of the shared test server")?;
    lock.lock().context("cannot lock the shared test server")?;
    touch(&folder.join("used"))?;
    let binaries = Binaries::find(None, Some(folder))
        .context("tests need PostgreSQL; `cargo xtask test` installs one")?;
    let instance = Instance::prepare(folder, &binaries, &Settings::throwaway())
        .context("cannot make the shared test server")?;
    let started = instance
        .ensure_running(&AtomicBool::new(false))
        .context("cannot start the shared test server")?;
    if let Started::Spawned(_) = started {
        watch(instance.pgdata(), &folder.join("used")).context("cannot watch the shared test server")?;
    }
    Ok(instance.url_of("postgres"))
}

/// The watcher is in a process group of its own and holds none of our files, so that test runners do not wait for it.
fn watch(pgdata: &Path, marker: &Path) -> std::io::Result<()> {
    let mut command = Command::new("sh");
    command
        .args(["-c", WATCHER, "tidings-test-watcher"])
        .arg(pgdata)
        .arg(marker)
        .current_dir("/");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map(drop)
}

pub(crate) fn touch(path: &Path) -> anyhow::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(path);
    let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, b"used\n"));
    written.with_context(|| format!("cannot touch {}", path.display()))
}
