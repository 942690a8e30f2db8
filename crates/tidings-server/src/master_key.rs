//! The master key: from the environment, or, with the private PostgreSQL, from a file made at first start.

use crate::config::Config;
use anyhow::{Context, Result, bail};
use aws_lc_rs::digest;
use secrecy::ExposeSecret;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tidings_store::{Keyring, MasterKey};

/// The file's name in the data directory.
const KEY_FILE: &str = "master.key";

/// Builds the keyring: the present key first, older ones after it.
pub fn keyring(config: &Config) -> Result<Keyring> {
    let present = match &config.master_key {
        Some(key) => key.expose_secret().to_owned(),
        None if config.database_url.is_none() => from_file(&config.data_dir)?,
        None => bail!(
            "no master key is set, and with DATABASE_URL there must be one: set TIDINGS_MASTER_KEY to 32 bytes \
             (make one with: openssl rand -hex 32) and keep it, for without it nothing sealed can be read"
        ),
    };
    let mut keys = vec![parse(&present)?];
    for previous in &config.previous_master_keys {
        keys.push(parse(previous.expose_secret()).context("TIDINGS_PREVIOUS_MASTER_KEYS holds a wrong key")?);
    }
    Keyring::new(keys).context("the master keys cannot be used")
}

/// A key's id is a fingerprint of it, so that the same key has the same id on every node and nobody has to name it.
fn parse(text: &str) -> Result<MasterKey> {
    let hash = digest::digest(
        &digest::SHA256,
        format!("tidings master key id\0{}", text.trim()).as_bytes(),
    );
    MasterKey::parse(&hex::encode(&hash.as_ref()[..6]), text)
        .context("TIDINGS_MASTER_KEY (or DB_ENCRYPTION_KEY)")
}

fn from_file(data_dir: &Path) -> Result<String> {
    let path = data_dir.join(KEY_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error)
                .with_context(|| format!("the master key in {} cannot be read", path.display()));
        }
    }
    std::fs::create_dir_all(data_dir).with_context(|| format!("{} cannot be made", data_dir.display()))?;
    let (_, text) = MasterKey::generate("new").context("no master key could be made")?;
    // Written beside and linked into place: two processes that start at once end with one key, and a crash leaves
    // no half-written one.
    let draft = data_dir.join(format!("{KEY_FILE}.{}", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::hard_link(&draft, &path));
    let _ = std::fs::remove_file(&draft);
    match written {
        Ok(()) => {
            tracing::warn!(file = %path.display(), "a master key was made; keep a copy, without it nothing sealed can be read");
            Ok(text)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => from_file(data_dir),
        Err(error) => {
            Err(error).with_context(|| format!("the master key cannot be written to {}", path.display()))
        }
    }
}
