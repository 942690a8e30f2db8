//! Runs a private PostgreSQL in a folder until its input ends: `cargo run -p tidings-postgres --example run -- /tmp/somewhere`.

use std::io::Read as _;
use std::path::PathBuf;
use tidings_postgres::{Binaries, Cluster, Options, Settings};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data_dir = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("give a data directory")?;
    let binaries = Binaries::find(None, Some(&data_dir))?;
    let cluster = Cluster::open(&Options {
        data_dir,
        binaries,
        settings: Settings::product(),
    })?;
    println!("{}", cluster.url());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    cluster.stop()?;
    Ok(())
}
