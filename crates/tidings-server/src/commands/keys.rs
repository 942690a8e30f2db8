//! `tidings keys rotate`: every tenant's key under the present master key.

use crate::installation::Installation;
use anyhow::Result;
use serde_json::json;
use tidings_core::Clock;

/// Re-wraps what older master keys wrap. May be repeated: it goes on where it stopped.
pub async fn rotate(installation: &Installation, json: bool) -> Result<()> {
    let mut conn = installation.store.worker().acquire().await?;
    let rotation = installation
        .store
        .keyring()
        .rotate_master_key(&mut conn, installation.clock.now())
        .await?;
    if json {
        println!(
            "{}",
            json!({ "rewrapped": rotation.rewrapped, "retired": rotation.retired })
        );
    } else {
        println!(
            "{} tenant keys re-wrapped, {} master keys retired; TIDINGS_PREVIOUS_MASTER_KEYS may be emptied now",
            rotation.rewrapped, rotation.retired
        );
    }
    Ok(())
}
