//! The binary `tidings`: configuration, command line, wiring, life cycle.

mod apply;
mod cli;
mod clock;
mod config;
mod database;
mod master_key;
mod telemetry;

fn main() {}
