//! Running other programs, and knowing where we are.

use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

/// The folder of the workspace.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or(here.clone(), Path::to_owned)
}

/// Cargo, started in the workspace's folder. Builds need no database: the queries are checked against the committed `.sqlx`.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).env("SQLX_OFFLINE", "true");
    // Set by the `cargo run` that started us; they would make every crate that looks at them build again.
    for variable in [
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_PKG_NAME",
        "CARGO_PKG_VERSION",
        "CARGO_PKG_AUTHORS",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Shows the command line and runs it with our own input and output.
pub fn status(command: &mut Command) -> anyhow::Result<ExitStatus> {
    eprintln!("$ {}", shown(command));
    command
        .status()
        .with_context(|| format!("cannot run {}", shown(command)))
}

/// Like [`status`], and fails unless the program succeeded.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` failed with {status}", shown(command));
    }
    Ok(())
}

/// Whether a program can be started and succeeds; its output is not shown.
pub fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Whether we are root. The owner of our entry in /proc is who we are; elsewhere `id` tells.
pub fn is_root() -> bool {
    let id = || {
        Command::new("id")
            .arg("-u")
            .output()
            .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
    };
    std::fs::metadata("/proc/self").map_or_else(
        |_| id(),
        |metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0,
    )
}

/// The first file of this name on PATH.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}

/// PATH with one folder before all others.
pub fn path_with(dir: &Path) -> anyhow::Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(dir.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(dirs).context("PATH has a folder that cannot be written in it")
}

/// The exit code of a program, for passing on.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Where what we fetched is kept between runs. Root's is not in root's home, because other accounts run the programs in it.
pub fn cache_dir() -> PathBuf {
    if is_root() {
        return PathBuf::from("/var/cache/tidings");
    }
    let home = || {
        std::env::var_os("HOME").map_or_else(
            || root().join("target"),
            |home| PathBuf::from(home).join(".cache"),
        )
    };
    std::env::var_os("XDG_CACHE_HOME")
        .filter(|dir| !dir.is_empty())
        .map_or_else(home, PathBuf::from)
        .join("tidings")
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
