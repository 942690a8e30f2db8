//! A stand-in that can be killed with every connection to it, and started again with its ledger at the same address.

use crate::bench::MachineClock;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tidings_stand_in::{Options, StandIn, StartError};
use tokio::runtime::Runtime;

/// Entries that a ledger holds: far more than any run makes.
const MOST_ENTRIES: usize = 5_000_000;
/// Tries to have the address again after a kill, and the wait between two.
const TRIES: u32 = 200;
const TRY_EVERY: Duration = Duration::from_millis(25);

/// How the stand-ins of proofs are started: the ledger lies in a file, and holds everything.
pub fn options(ledger: &Path) -> Options {
    let mut options = Options::new(Arc::new(MachineClock));
    options.ledger = Some(ledger.to_owned());
    options.most_entries = MOST_ENTRIES;
    options
}

/// A stand-in with a life of its own.
#[derive(Debug)]
pub struct Killable {
    /// Where it answers, in every life.
    pub address: SocketAddr,
    ledger: PathBuf,
    life: Option<(Runtime, StandIn)>,
}

impl Killable {
    /// Starts one on a free port.
    pub async fn start(ledger: &Path) -> Result<Self> {
        let mut killable = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            ledger: ledger.to_owned(),
            life: None,
        };
        killable.revive().await?;
        Ok(killable)
    }

    /// The living one.
    pub fn stand_in(&self) -> Result<&StandIn> {
        let (_, stand_in) = self.life.as_ref().context("the stand-in was killed")?;
        Ok(stand_in)
    }

    /// Ends it at once: connections break, new ones are refused.
    pub fn kill(&mut self) {
        if let Some((life, stand_in)) = self.life.take() {
            life.shutdown_background();
            drop(stand_in);
        }
    }

    /// Starts it at the same address, with what its ledger holds.
    pub async fn revive(&mut self) -> Result<()> {
        for attempt in 0.. {
            // A runtime of its own: what ends it ends every connection.
            let life = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?;
            let mut options = options(&self.ledger);
            options.listen = self.address;
            match life.spawn(StandIn::start(options)).await? {
                Ok(stand_in) => {
                    self.address = stand_in.address();
                    self.life = Some((life, stand_in));
                    return Ok(());
                }
                Err(StartError::Listen { .. }) if attempt < TRIES => {
                    // The listener of the life before is not closed yet.
                    life.shutdown_background();
                    tokio::time::sleep(TRY_EVERY).await;
                }
                Err(error) => {
                    life.shutdown_background();
                    return Err(error).context("the stand-in does not start");
                }
            }
        }
        Ok(())
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        self.kill();
    }
}
