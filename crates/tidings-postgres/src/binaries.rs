//! Finding PostgreSQL's programs.

use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest major version whose SQL the product uses.
pub const MINIMUM_MAJOR: u32 = 14;

/// The programs that a folder must hold.
const PROGRAMS: [&str; 3] = ["initdb", "postgres", "pg_ctl"];

/// A folder of PostgreSQL programs of a known version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    dir: PathBuf,
    major: u32,
}

impl Binaries {
    /// Looks in this order: `explicit` (nothing else is tried when it is given), `<data_dir>/pgsql/bin`, PATH, the folders of
    /// Linux distributions (highest version first), Homebrew and the usual places of installers.
    ///
    /// Where `data_dir` already holds a cluster, the first folder of the cluster's own major version wins, so that a newer
    /// PostgreSQL installed beside the old one does not lock the data out.
    pub fn find(explicit: Option<&Path>, data_dir: Option<&Path>) -> Result<Self> {
        if let Some(dir) = explicit {
            return Self::in_dir(dir);
        }
        let wanted = data_dir.and_then(cluster_major);
        let mut first = None;
        for dir in places(data_dir) {
            let Ok(found) = Self::in_dir(&dir) else { continue };
            if wanted.is_none_or(|major| major == found.major) {
                return Ok(found);
            }
            first = first.or(Some(found));
        }
        first.ok_or(Error::NotFound)
    }

    /// The programs in one folder, or in its `bin`.
    pub fn in_dir(dir: &Path) -> Result<Self> {
        let bad = |reason: String| Error::BadBinaries {
            dir: dir.to_owned(),
            reason,
        };
        let holds_all = |dir: &Path| PROGRAMS.iter().all(|program| dir.join(program).is_file());
        let candidates = [dir.to_owned(), dir.join("bin")];
        let found = candidates
            .into_iter()
            .find(|dir| holds_all(dir))
            .ok_or_else(|| bad("not a folder of PostgreSQL programs".into()))?;
        // Where PATH holds only links, the other programs (psql, pg_dump) are beside the real ones.
        let real = found
            .join("postgres")
            .canonicalize()
            .map_err(Error::io("resolve", &found))?;
        let beside = real.parent().filter(|dir| holds_all(dir)).map(Path::to_owned);
        let found = match beside {
            Some(dir) => dir,
            // An absolute path, because the programs are started from another folder.
            None => found.canonicalize().map_err(Error::io("resolve", &found))?,
        };
        let major = version_of(&found.join("postgres")).map_err(bad)?;
        if major < MINIMUM_MAJOR {
            return Err(bad(format!(
                "PostgreSQL {major} is too old, {MINIMUM_MAJOR} is the oldest that works"
            )));
        }
        Ok(Self { dir: found, major })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The major version, for example 16.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The path of one program, whether or not it is there: only `initdb`, `postgres` and `pg_ctl` are certain.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// The major version of the cluster in a data directory, if there is one.
fn cluster_major(data_dir: &Path) -> Option<u32> {
    let stamp = std::fs::read_to_string(crate::instance::pgdata_of(data_dir).join("PG_VERSION")).ok()?;
    stamp.trim().parse().ok()
}

#[expect(
    clippy::disallowed_methods,
    reason = "PATH is where programs are found; nothing else of the environment is read here"
)]
fn places(data_dir: Option<&Path>) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = data_dir.map(|data| data.join("pgsql")).into_iter().collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    places.extend(std::env::split_paths(&path).filter(|dir| dir.is_absolute()));
    // Debian, Ubuntu; Fedora, RHEL (PGDG); Homebrew on ARM and Intel; Postgres.app; the EDB installer.
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
        ("/Applications/Postgres.app/Contents/Versions", ""),
        ("/Library/PostgreSQL", ""),
    ] {
        places.extend(versions_in(Path::new(parent), prefix));
    }
    places.extend(
        [
            "/opt/homebrew/opt/postgresql",
            "/usr/local/pgsql",
            "/usr/libexec/postgresql",
        ]
        .map(PathBuf::from),
    );
    places
}

/// The folders named `<prefix><major>`, highest first.
fn versions_in(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .take(1000);
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?,
                entry.path(),
            ))
        })
        .collect();
    found.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    found.into_iter().map(|(_, path)| path).collect()
}

/// Asks the program itself: `postgres (PostgreSQL) 16.4 (Debian 16.4-1)`.
fn version_of(postgres: &Path) -> std::result::Result<u32, String> {
    let output = Command::new(postgres)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("`postgres --version` does not run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    parse_version(&text).ok_or_else(|| {
        format!(
            "`postgres --version` said {:?}",
            format!("{text}{}", String::from_utf8_lossy(&output.stderr)).trim()
        )
    })
}

fn parse_version(text: &str) -> Option<u32> {
    let version = text.split_once("(PostgreSQL) ")?.1;
    let digits = version
        .split(|character: char| !character.is_ascii_digit())
        .next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_programs_print() {
        let cases = [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 18.4\n", Some(18)),
            ("postgres (PostgreSQL) 19devel\n", Some(19)),
            ("postgres (EnterpriseDB) 9\n", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_version(text), expected, "{text}");
        }
    }

    #[test]
    fn an_explicit_folder_without_the_programs_is_refused_by_name() {
        let error = Binaries::find(Some(Path::new("/etc")), None).map_err(|error| error.to_string());
        assert!(
            matches!(&error, Err(text) if text.starts_with("/etc: not a folder") && text.contains("--pg-bin")),
            "{error:?}"
        );
    }

    #[test]
    fn the_message_for_no_postgresql_says_how_to_get_one() {
        let text = Error::NotFound.to_string();
        assert!(
            text.contains("apt-get install postgresql")
                && text.contains("--pg-bin")
                && text.contains("DATABASE_URL")
        );
        assert!(!text.contains('\n'));
    }
}
