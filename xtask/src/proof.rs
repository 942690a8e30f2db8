//! `cargo xtask bench`, `crash`, `failover`, `faults`, `fairness`, `limits`, `load`, `scan` and `vectors`: build the proofs with the
//! binary they are about, and run them.

use crate::{postgres, redis, shell};
use anyhow::Context as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

#[derive(clap::Args)]
pub struct Args {
    /// Passed on; `--help` lists what there is
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Becomes the proof, so that Ctrl-C and the exit code are its own. Its output is the only one on standard output.
pub fn run(proof: &str, args: &Args) -> anyhow::Result<ExitCode> {
    let mut build = shell::cargo();
    build.args(["build", "--release", "--locked", "-p", "tidings-proof"]);
    let mut path = None;
    if proof != "vectors" {
        path = Some(shell::path_with(postgres::binaries()?.dir())?);
        build.args(["-p", "tidings-server"]);
    }
    if matches!(proof, "limits" | "faults") && !redis::available() {
        eprintln!("warning: no Redis found; the limits are measured without one");
    }
    if matches!(proof, "crash" | "faults") {
        build.args(["--features", "tidings-server/fail-points"]);
    }
    shell::run(build.stdout(std::io::stderr()))?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| shell::root().join("target"), PathBuf::from);
    let program = target.join("release").join("tidings-proof");
    let mut command = Command::new(&program);
    command.arg(proof).args(&args.args);
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
