//! A private PostgreSQL in a temporary folder, for what must write nothing anywhere else. It is gone when this is dropped.

use crate::config::Config;
use crate::folder::Folder;
use anyhow::{Context, Result};
use tidings_core::Timestamp;
use tidings_postgres::{Binaries, Cluster, Options, Settings};
use tidings_store::{Keyring, Store, StoreOptions};

/// The scratch server with one database, migrated.
#[derive(Debug)]
pub struct Scratch {
    /// Its store.
    pub store: Store,
    // The order matters: the server stops before its folder goes.
    cluster: Cluster,
    _folder: Folder,
}

impl Scratch {
    /// Starts one. The keyring is that of the installation whose data is copied here.
    pub async fn start(config: &Config, keyring: Keyring, now: Timestamp) -> Result<Self> {
        let folder = Folder::new("scratch")?;
        let binaries = Binaries::find(config.pg_bin.as_deref(), Some(&config.data_dir)).context(
            "a simulation runs on a private PostgreSQL of its own, also where DATABASE_URL is set",
        )?;
        let options = Options {
            data_dir: folder.path().to_path_buf(),
            binaries,
            settings: Settings::throwaway(),
        };
        let cluster = tokio::task::spawn_blocking(move || Cluster::open(&options))
            .await
            .context("starting the scratch PostgreSQL was cut short")??;
        let store = Store::connect(StoreOptions::new(cluster.url()), keyring, now).await?;
        store.migrate(now).await?;
        Ok(Self {
            store,
            cluster,
            _folder: folder,
        })
    }

    /// Stops it and removes its folder.
    pub async fn stop(self) -> Result<()> {
        self.store.close().await;
        let cluster = self.cluster;
        tokio::task::spawn_blocking(move || cluster.stop())
            .await
            .context("stopping the scratch PostgreSQL was cut short")?
            .context("the scratch PostgreSQL did not stop cleanly")
    }
}
