//! `tidings apply FILE`.

use crate::apply::file::ApplyFile;
use crate::apply::{Applier, apply};
use crate::cli;
use crate::installation::Installation;
use anyhow::Result;
use serde_json::json;
use tidings_core::Clock;

/// Applies the file and shows the difference.
pub async fn run(installation: &Installation, options: &cli::Apply, json: bool) -> Result<()> {
    let file = ApplyFile::read(&options.file)?;
    let mut applier = Applier {
        store: &installation.store,
        environment: &installation.environment,
        dice: installation.dice()?,
        now: installation.clock.now(),
        dry_run: options.dry_run,
    };
    let entries = apply(&mut applier, &file).await?;
    let changed = entries.iter().filter(|entry| entry.is_change()).count();
    if json {
        println!(
            "{}",
            json!({ "changed": changed, "dry_run": options.dry_run, "entries": entries })
        );
        return Ok(());
    }
    for entry in entries.iter().filter(|entry| entry.is_change()) {
        println!("{entry}");
    }
    let unchanged = entries.len() - changed;
    match (changed, options.dry_run) {
        (0, _) => println!("nothing to do: all {unchanged} are as the file says"),
        (_, true) => {
            println!("{changed} would change, {unchanged} are as the file says; nothing was changed");
        }
        (_, false) => println!("{changed} changed, {unchanged} were as the file says"),
    }
    Ok(())
}
