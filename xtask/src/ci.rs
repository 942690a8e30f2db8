//! `cargo xtask ci`: everything that a change must pass.

use crate::{shell, test, tidy};
use std::process::ExitCode;

/// Stops at the first step that fails.
pub fn run() -> anyhow::Result<ExitCode> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    let code = tidy::run()?;
    if code != ExitCode::SUCCESS {
        return Ok(code);
    }
    shell::run(shell::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    test::run(&test::Args::default())
}
