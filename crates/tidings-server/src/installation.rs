//! What every command works on: the database, the keys, the store.

use crate::clock::SystemClock;
use crate::config::{Config, Environment};
use crate::database::Database;
use crate::failure::Failure;
use crate::master_key;
use anyhow::{Context, Result, bail};
use std::str::FromStr;
use tidings_core::{Clock, Dice, TenantId};
use tidings_store::tenants::{self, Tenant};
use tidings_store::{Store, StoreError, StoreOptions};

/// An opened installation.
#[derive(Debug)]
pub struct Installation {
    /// Its configuration.
    pub config: Config,
    /// The environment, for what files refer to.
    pub environment: Environment,
    /// Its database.
    pub database: Database,
    /// Its store.
    pub store: Store,
    /// The clock.
    pub clock: SystemClock,
}

/// How a command opens the installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// As the engine: owns a private server, brings the schema up to date.
    Engine,
    /// As the engine, but an older schema is refused.
    EngineWithoutMigration,
    /// As a guest: joins the private server of a running engine.
    Guest,
    /// As a guest that may find no schema at all.
    GuestAnySchema,
}

impl Installation {
    /// Opens the database, the keys and the store.
    pub async fn open(config: Config, environment: Environment, opening: Opening) -> Result<Self> {
        #[cfg(feature = "fail-points")]
        if let Some(file) = environment.get(&["TIDINGS_CLOCK_FILE"]) {
            crate::clock::jump::follow(file.into()).context("TIDINGS_CLOCK_FILE")?;
        }
        let clock = SystemClock;
        let for_database = config.clone();
        let guest = matches!(opening, Opening::Guest | Opening::GuestAnySchema);
        // Starting PostgreSQL blocks; it must not hold up the runtime.
        let database = tokio::task::spawn_blocking(move || {
            if guest {
                Database::join(&for_database)
            } else {
                Database::open(&for_database)
            }
        })
        .await
        .context("opening the database was cut short")??;
        let keyring = master_key::keyring(&config)?;
        let options = StoreOptions {
            url: database.url.clone(),
            direct_url: database.direct_url.clone(),
            ..StoreOptions::new("")
        };
        let store = Store::connect(options, keyring, clock.now()).await?;
        let installation = Self {
            config,
            environment,
            database,
            store,
            clock,
        };
        match opening {
            Opening::Engine => {
                installation.store.migrate(clock.now()).await?;
            }
            Opening::EngineWithoutMigration | Opening::Guest => installation.require_schema().await?,
            Opening::GuestAnySchema => {}
        }
        Ok(installation)
    }

    async fn require_schema(&self) -> Result<()> {
        let state = self.store.schema_state().await?;
        if state.pending > 0 {
            return Err(StoreError::Unmigrated {
                pending: state.pending,
            }
            .into());
        }
        Ok(())
    }

    /// Dice of the configured seed, or of the operating system's randomness.
    pub fn dice(&self) -> Result<Dice> {
        Ok(Dice::from_seed(self.seed()?))
    }

    /// The configured seed, or one of the operating system's randomness.
    pub fn seed(&self) -> Result<u64> {
        self.config.dice_seed()
    }

    /// The tenant of an id or slug; without either, the only tenant there is.
    pub async fn tenant(&self, wanted: Option<&str>) -> Result<Tenant> {
        let mut conn = self.store.worker().acquire().await?;
        if let Some(wanted) = wanted {
            let found = match TenantId::from_str(wanted) {
                Ok(id) => tenants::get(&mut conn, id).await,
                Err(_) => tenants::get_by_slug(&mut conn, wanted).await,
            };
            return Ok(found?);
        }
        let mut page = tenants::list(&mut conn, None, 2).await?;
        match page.items.len() {
            0 => bail!(Failure::refused(
                "there is no tenant yet; make one with: tidings apply FILE.toml"
            )),
            1 => Ok(page.items.remove(0)),
            _ => bail!(Failure::Usage(
                "there is more than one tenant; say which with --tenant SLUG".to_owned()
            )),
        }
    }

    /// Closes the pools, then stops a private server.
    pub async fn close(self) -> Result<()> {
        self.store.close().await;
        let database = self.database;
        tokio::task::spawn_blocking(move || database.stop())
            .await
            .context("stopping was cut short")?
    }
}
