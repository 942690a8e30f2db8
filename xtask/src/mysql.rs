//! A private MariaDB for tests.

use crate::apt;
use std::path::{Path, PathBuf};

#[path = "../../crates/tidings-testkit/src/listening.rs"]
mod listening;
#[path = "../../crates/tidings-testkit/src/mariadb.rs"]
mod mariadb;

pub use mariadb::Mariadb;

/// Starts one that keeps its files in `dir`.
pub fn start(program: &Path, dir: &Path) -> anyhow::Result<Mariadb> {
    Mariadb::start(program, std::env::var_os("PATH").as_deref(), dir)
}

/// The server's program: found, or installed for root; none where neither works, because only reading sources of this
/// kind needs it.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH");
    let find = || mariadb::program(path.as_deref());
    if let Some(found) = find() {
        return Some(found);
    }
    if apt::available() {
        eprintln!("no MariaDB found, installing it");
        if let Err(error) = apt::install_mariadb() {
            eprintln!("warning: {error:#}");
        }
    }
    find()
}
