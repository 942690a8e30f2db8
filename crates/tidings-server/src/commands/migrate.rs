//! `tidings migrate`.

use crate::installation::Installation;
use anyhow::Result;
use serde_json::json;
use tidings_core::Clock;

/// Brings the schema up to date.
pub async fn run(installation: &Installation, json: bool) -> Result<()> {
    let before = installation.store.schema_state().await?;
    let after = installation.store.migrate(installation.clock.now()).await?;
    let done = after.applied.saturating_sub(before.applied);
    if json {
        println!(
            "{}",
            json!({ "applied": done, "schema": after.applied, "database": installation.database.place() })
        );
    } else if done == 0 {
        println!("{} is up to date", installation.database.place());
    } else {
        println!("{}: {done} migrations applied", installation.database.place());
    }
    Ok(())
}
