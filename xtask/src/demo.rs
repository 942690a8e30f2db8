//! `cargo xtask demo`: builds Tidings and runs `tidings demo`.

use crate::{postgres, shell};
use anyhow::Context as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

#[derive(clap::Args)]
pub struct Args {
    /// Passed to `tidings demo`: `--once`, ...
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Becomes `tidings demo`, so that Ctrl-C and the exit code are its own. Its output is the only one on standard output.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let binaries = postgres::binaries()?;
    shell::run(
        shell::cargo()
            .args(["build", "--release", "--locked", "-p", "tidings-server"])
            .stdout(std::io::stderr()),
    )?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| shell::root().join("target"), PathBuf::from);
    let program = target.join("release").join("tidings");
    let mut command = Command::new(&program);
    command
        .arg("demo")
        .args(&args.args)
        .env("PATH", shell::path_with(binaries.dir())?);
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
