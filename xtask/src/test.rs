//! `cargo xtask test`: every test, against servers of our own.

use crate::mysql::{self, Mariadb};
use crate::{browser, grafana, moto, postfix, postgres, promtool, redis, shell, watcher};
use anyhow::Context as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

#[derive(clap::Args, Default)]
pub struct Args {
    /// Passed to `cargo nextest run` (or `cargo test` where nextest is not installed): filters, `-p <crate>`, ...
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Starts the servers, runs the tests, stops the servers. The exit code is that of the tests.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let binaries = postgres::binaries()?;
    let dir = scratch_dir()?;
    let cluster = postgres::start_for_tests(&dir, &binaries)?;
    let redis = redis::available();
    if !redis {
        eprintln!(
            "warning: no Redis found, so the tests that start one do nothing; install redis-server to run them"
        );
    }
    let mariadb = mysql::program()
        .map(|program| mysql::start(&program, &dir))
        .transpose()
        .context("cannot start the private MariaDB")?;
    if mariadb.is_none() {
        eprintln!(
            "warning: no MariaDB found, so nothing is tested on it; install mariadb-server-core and mariadb-client-core to do so"
        );
    }
    browser::provide();
    postfix::provide()?;
    let moto = moto::program();
    let others: Vec<u32> = mariadb.iter().map(Mariadb::pid).collect();
    watcher::start(&dir, &others)
        .context("cannot start the watcher that stops the servers if this is killed")?;
    eprintln!(
        "PostgreSQL {}, {} and {}: private to this run",
        binaries.major(),
        if redis { "Redis" } else { "no Redis" },
        mariadb.as_ref().map_or("no MariaDB", |_| "MariaDB")
    );

    promtool::check(&dir)?;
    grafana::check()?;

    let mut command = tests(&args.args);
    command.env("TIDINGS_TEST_POSTGRES", cluster.instance().url_of("postgres"));
    command.env("PATH", shell::path_with(binaries.dir())?);
    match &mariadb {
        Some(mariadb) => command.env("TIDINGS_TEST_MYSQL", mariadb.url()),
        None => command.env_remove("TIDINGS_TEST_MYSQL"),
    };
    match &moto {
        Some(moto) => command.env("TIDINGS_TEST_MOTO", moto),
        None => command.env_remove("TIDINGS_TEST_MOTO"),
    };
    let status = shell::status(&mut command);

    drop(mariadb);
    let stopped = cluster.stop().context("the private PostgreSQL did not stop");
    drop(cluster);
    std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    let status = status?;
    stopped?;
    Ok(shell::exit_code(status))
}

/// nextest where it is installed: faster, and each test in a process of its own.
fn tests(args: &[String]) -> Command {
    let mut command = shell::cargo();
    if shell::succeeds(shell::cargo().args(["nextest", "--version"])) {
        command.args(["nextest", "run"]);
    } else {
        eprintln!("cargo-nextest is not installed, using cargo test");
        command.arg("test");
    }
    let chosen = args
        .iter()
        .any(|arg| arg == "-p" || arg.starts_with("--package") || arg.starts_with("-p="));
    command
        .arg("--locked")
        .args((!chosen).then_some("--workspace"))
        .args(args);
    command
}

/// In the temporary folder, or in /tmp where PostgreSQL's account cannot enter that.
fn scratch_dir() -> anyhow::Result<PathBuf> {
    let temporary = std::env::temp_dir();
    let parent = if tidings_postgres::reachable_by_server(&temporary).is_ok() {
        temporary
    } else {
        PathBuf::from("/tmp")
    };
    let dir = parent.join(format!("tidings-xtask-test-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}
