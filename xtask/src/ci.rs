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
    dependencies()?;
    test::run(&test::Args::default())
}

/// Licences, banned crates and sources, where cargo-deny is installed. Advisories are left out: they need the network.
fn dependencies() -> anyhow::Result<()> {
    if !shell::succeeds(shell::cargo().args(["deny", "--version"])) {
        eprintln!("cargo-deny is not installed, licences and sources are not checked");
        return Ok(());
    }
    shell::run(shell::cargo().args([
        "deny",
        "--log-level",
        "error",
        "check",
        "licenses",
        "bans",
        "sources",
    ]))
}
