//! Which PostgreSQL this process works on: the one of `DATABASE_URL`, or a private one of its own.

use crate::config::Config;
use anyhow::{Context, Result};
use secrecy::{ExposeSecret, SecretString};
use tidings_postgres::{Binaries, Cluster, Error, Instance, Options, Settings};

/// The database of this process. Keep it until everything that uses it has ended: dropping it stops the private
/// server.
#[derive(Debug)]
pub struct Database {
    /// Where to connect.
    pub url: SecretString,
    /// Where to connect past a pooler.
    pub direct_url: Option<SecretString>,
    cluster: Option<Cluster>,
}

impl Database {
    /// For a process that runs the engine: owns the private server. Another owner is an error that names it.
    pub fn open(config: &Config) -> Result<Self> {
        match &config.database_url {
            Some(url) => Ok(Self::external(config, url)),
            None => Self::own(config).map_err(anyhow::Error::from),
        }
    }

    /// For a command that asks or changes something and ends: joins the private server of a running engine, or
    /// starts it for as long as the command lasts.
    pub fn join(config: &Config) -> Result<Self> {
        if let Some(url) = &config.database_url {
            return Ok(Self::external(config, url));
        }
        match Self::own(config) {
            Err(Error::Owned { .. }) => {
                let binaries = Binaries::find(config.pg_bin.as_deref(), Some(&config.data_dir))?;
                let instance = Instance::prepare(&config.data_dir, &binaries, &Settings::product())
                    .context("the private PostgreSQL of the running engine cannot be joined")?;
                Ok(Self {
                    url: SecretString::from(instance.url()),
                    direct_url: None,
                    cluster: None,
                })
            }
            other => other.map_err(anyhow::Error::from),
        }
    }

    fn external(config: &Config, url: &SecretString) -> Self {
        Self {
            url: url.clone(),
            direct_url: config.direct_url.clone(),
            cluster: None,
        }
    }

    fn own(config: &Config) -> Result<Self, Error> {
        let binaries = Binaries::find(config.pg_bin.as_deref(), Some(&config.data_dir))?;
        let options = Options {
            data_dir: config.data_dir.clone(),
            binaries,
            settings: if config.throwaway_database {
                Settings::throwaway()
            } else {
                Settings::product()
            },
        };
        let cluster = Cluster::open(&options)?;
        Ok(Self {
            url: SecretString::from(cluster.url()),
            direct_url: None,
            cluster: Some(cluster),
        })
    }

    /// The URL without its password, for people.
    pub fn place(&self) -> String {
        match url::Url::parse(self.url.expose_secret()) {
            Ok(url) => format!("{}{}", url.host_str().unwrap_or("localhost"), url.path()),
            Err(_) => "an unreadable URL".to_owned(),
        }
    }

    /// Stops the private server; close the pools first.
    pub fn stop(self) -> Result<()> {
        match self.cluster {
            Some(cluster) => cluster
                .stop()
                .context("the private PostgreSQL did not stop cleanly"),
            None => Ok(()),
        }
    }
}
