//! Redis (or Valkey) for the tests that start one of their own.

use crate::{apt, shell};

const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

/// Whether one is there: found, or installed for root.
pub fn available() -> bool {
    let find = || PROGRAMS.iter().any(|program| shell::on_path(program).is_some());
    if find() {
        return true;
    }
    if apt::available() {
        eprintln!("no Redis found, installing it");
        if let Err(error) = apt::install_redis() {
            eprintln!("warning: {error:#}");
        }
    }
    find()
}
