//! A private MariaDB (or MySQL) for tests: made, started on a free port of the loopback interface, and thrown away.
//!
//! Also compiled into `xtask`, which starts one for all tests; so it needs nothing but the standard library and anyhow.

use super::listening;
use anyhow::{Context as _, bail};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SERVERS: [&str; 2] = ["mariadbd", "mysqld"];
const FOLDERS: [&str; 4] = [
    "/usr/sbin",
    "/usr/libexec",
    "/usr/local/sbin",
    "/opt/homebrew/bin",
];

/// Another program may take the free port between our look and the start.
const ATTEMPTS: u32 = 5;
const START_LIMIT: Duration = Duration::from_mins(1);

/// The server's program, where it is installed with what makes its system tables.
pub fn program(path: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
    installer(path)?;
    find(path, "my_print_defaults")?;
    SERVERS.iter().find_map(|name| find(path, name))
}

fn installer(path: Option<&std::ffi::OsStr>) -> Option<PathBuf> {
    find(path, "mariadb-install-db")
}

fn find(path: Option<&std::ffi::OsStr>, name: &str) -> Option<PathBuf> {
    let on_path = path.into_iter().flat_map(std::env::split_paths);
    on_path
        .chain(FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// A running server that keeps nothing.
#[derive(Debug)]
pub struct Mariadb {
    child: Child,
    port: u16,
}

impl Mariadb {
    /// Makes and starts one whose files are in `dir`/mariadb. As root it runs as `nobody`, because servers refuse root.
    pub fn start(program: &Path, path: Option<&std::ffi::OsStr>, dir: &Path) -> anyhow::Result<Self> {
        let files = dir.join("mariadb");
        let data = files.join("data");
        if files.exists() {
            std::fs::remove_dir_all(&files).with_context(|| format!("cannot clear {}", files.display()))?;
        }
        std::fs::create_dir_all(&files).with_context(|| format!("cannot make {}", files.display()))?;
        let account = account(&files)?;
        let installer = installer(path).context("mariadb-install-db is missing")?;
        let mut install = Command::new(installer);
        install
            .args([
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ])
            .arg(argument("--datadir=", &data))
            .args(&account)
            .stdin(Stdio::null());
        let done = install.output().context("cannot run mariadb-install-db")?;
        if !done.status.success() {
            bail!(
                "mariadb-install-db failed: {}{}",
                said(&done.stderr),
                // It says on its standard output what is missing.
                said(&done.stdout)
            );
        }
        for _ in 0..ATTEMPTS {
            let mut server = Self::spawn(program, &files, &data, &account)?;
            if listening::wait(&mut server.child, "MariaDB", server.port, START_LIMIT)? {
                return Ok(server);
            }
        }
        bail!("{} ended {ATTEMPTS} times at its start", program.display())
    }

    fn spawn(program: &Path, files: &Path, data: &Path, account: &[String]) -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .context("no free port")?
            .port();
        let mut command = Command::new(program);
        command
            .args([
                "--no-defaults",
                "--bind-address=127.0.0.1",
                "--skip-log-bin",
                "--skip-name-resolve",
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-doublewrite=0",
                "--innodb-buffer-pool-size=128M",
                "--character-set-server=utf8mb4",
            ])
            .arg(format!("--port={port}"))
            .arg(argument("--datadir=", data))
            .arg(argument("--socket=", &files.join("socket")))
            .arg(argument("--pid-file=", &files.join("pid")))
            .args(account)
            .current_dir("/");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is not for it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        Ok(Self { child, port })
    }

    /// Where it listens, as a superuser without a password.
    pub fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/mysql", self.port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Mariadb {
    /// Ends it; nothing in it is worth saving.
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first 500 characters of what a program said.
fn said(output: &[u8]) -> String {
    String::from_utf8_lossy(output).trim().chars().take(500).collect()
}

fn argument(name: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(name);
    argument.push(path);
    argument
}

/// As root: hands the folder to `nobody` and says to run as that.
fn account(files: &Path) -> anyhow::Result<Vec<String>> {
    if std::fs::metadata(files)?.uid() != 0 {
        return Ok(Vec::new());
    }
    let users = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let id = users
        .lines()
        .find(|line| line.starts_with("nobody:"))
        .and_then(|line| line.split(':').nth(2)?.parse().ok())
        .context("root needs the account nobody to run MariaDB as")?;
    std::os::unix::fs::chown(files, Some(id), None)?;
    Ok(vec!["--user=nobody".into()])
}
