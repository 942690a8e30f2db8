//! Automation: `cargo xtask <command>`. One file for each command; add one as a module, a variant and an arm.
#![expect(
    clippy::disallowed_methods,
    reason = "the automation reads the environment that cargo and people set"
)]

use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod apt;
mod browser;
mod ci;
mod demo;
mod grafana;
mod moto;
mod mysql;
mod postfix;
mod postgres;
mod promtool;
mod proof;
mod redis;
mod shell;
mod test;
mod tidy;
mod watcher;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Automation for the Tidings workspace",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build Tidings and run its main job on a private PostgreSQL, with nothing else installed
    Demo(demo::Args),
    /// Run every test against private PostgreSQL, MariaDB and Redis servers
    Test(test::Args),
    /// Measure rates beside the floor of the same PostgreSQL
    Bench(proof::Args),
    /// Kill the real process at random points under load and count what was lost or sent twice
    Crash(proof::Args),
    /// Cut one of two connections under load, and measure how traffic leaves and returns
    Failover(proof::Args),
    /// Do faults of many kinds to the real process and count what was lost or sent twice
    Faults(proof::Args),
    /// Send one tenant's urgent messages beside another's million and compare how long they take
    Fairness(proof::Args),
    /// Work off more than rate limits allow with three processes, while their Redis is lost and returns
    Limits(proof::Args),
    /// Submit at a steady rate for minutes over HTTP, then look for the highest rate that holds
    Load(proof::Args),
    /// Read a large dealership for every campaign, and measure time and memory
    Scan(proof::Args),
    /// Run verification vectors through the real verifiers and parsers
    Vectors(proof::Args),
    /// Check the rules of the house that compilers do not know
    Tidy,
    /// Everything that a change must pass: formatting, lints, tidy, tests
    Ci,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => proof::run("bench", &args),
        Command::Crash(args) => proof::run("crash", &args),
        Command::Failover(args) => proof::run("failover", &args),
        Command::Faults(args) => proof::run("faults", &args),
        Command::Fairness(args) => proof::run("fairness", &args),
        Command::Limits(args) => proof::run("limits", &args),
        Command::Load(args) => proof::run("load", &args),
        Command::Scan(args) => proof::run("scan", &args),
        Command::Vectors(args) => proof::run("vectors", &args),
        Command::Tidy => tidy::run(),
        Command::Ci => ci::run(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
