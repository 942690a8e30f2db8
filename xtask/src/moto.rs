//! moto, the stand-in of AWS that others wrote: fetched with pip into a folder of its own.

use crate::{apt, shell};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// moto 5.2.5 (Apache-2.0) with what its SES and SNS need, all of them pinned.
const REQUIREMENTS: &str = include_str!("moto.txt");

/// Changes with the requirements, so that another version never takes the folder of this one.
const FOLDER: &str = "moto-5.2.5";

/// Written when everything is there: an interrupted attempt is made again from the beginning.
const MARK: &str = "complete";

/// The program, found in the cache or fetched; none where it cannot be had, which is said.
pub fn program() -> Option<PathBuf> {
    let cache = shell::cache_dir();
    let folder = cache.join(FOLDER);
    if !folder.join(MARK).is_file() {
        eprintln!("no moto found, fetching it");
        if let Err(error) = fetch(&cache, &folder) {
            eprintln!("warning: moto could not be fetched, so nothing is tested on it: {error:#}");
            return None;
        }
    }
    Some(folder.join("bin/moto_server"))
}

/// A virtual environment knows its own path, so it is made in its place.
fn fetch(cache: &Path, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let venv = || {
        let mut python = Command::new("python3");
        python.args(["-m", "venv", "--clear"]).arg(folder);
        shell::run(python.stdout(std::io::stderr()))
    };
    if let Err(error) = venv() {
        if !apt::available() {
            return Err(error);
        }
        apt::install_python_venv()?;
        venv()?;
    }
    let requirements = folder.join("requirements.txt");
    std::fs::write(&requirements, REQUIREMENTS)
        .with_context(|| format!("cannot write {}", requirements.display()))?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--no-deps", "--only-binary=:all:", "--requirement"])
        .arg(&requirements);
    shell::run(pip.stdout(std::io::stderr()))?;
    std::fs::write(folder.join(MARK), FOLDER).context("cannot mark that moto is complete")
}
