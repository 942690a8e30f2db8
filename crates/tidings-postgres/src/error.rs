//! What can go wrong with the private PostgreSQL, in words for the person who runs it.

use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Each message says what was tried, on what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No usable PostgreSQL on this machine.
    #[error(
        "no PostgreSQL {} or newer found: install one (`apt-get install postgresql`, `brew install postgresql`), give its folder with --pg-bin, or set DATABASE_URL",
        crate::MINIMUM_MAJOR
    )]
    NotFound,
    /// A folder was named by the operator, but it is not one of PostgreSQL's.
    #[error("{}: {reason}; --pg-bin takes the folder that holds initdb, postgres and pg_ctl", dir.display())]
    BadBinaries {
        /// The folder.
        dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The data were made by another major version.
    #[error("{} was made by PostgreSQL {data}, but {} is PostgreSQL {binaries}: install PostgreSQL {data} beside it (it is then chosen), give its folder with --pg-bin, or move the data with the pg_dumpall of {data} or pg_upgrade", dir.display(), bin_dir.display())]
    VersionMismatch {
        /// PGDATA.
        dir: PathBuf,
        /// What its PG_VERSION says.
        data: String,
        /// The folder of the binaries.
        bin_dir: PathBuf,
        /// Their major version.
        binaries: u32,
    },
    /// Another living process owns the cluster.
    #[error("{} is in use by another Tidings process (pid {pid}): stop it, choose another data directory, or set DATABASE_URL so that several processes share one server", dir.display())]
    Owned {
        /// The folder of the cluster.
        dir: PathBuf,
        /// Who holds the lock, as far as known.
        pid: String,
    },
    /// Tidings runs as root, and the account PostgreSQL runs as cannot get into a folder.
    #[error("PostgreSQL refuses to run as root, and the account {account} that it runs as instead cannot enter {}: choose a data directory outside it (for example /var/lib/tidings), or run Tidings as an ordinary user", dir.display())]
    Unreachable {
        /// The folder that stops it.
        dir: PathBuf,
        /// The account.
        account: String,
    },
    /// Tidings runs as root, and there is no other account to run PostgreSQL as.
    #[error(
        "PostgreSQL refuses to run as root, and /etc/passwd has none of the accounts tidings, postgres or nobody: create one with `useradd --system tidings`"
    )]
    NoAccount,
    /// The data belong to somebody else.
    #[error("{} belongs to user id {owner}, Tidings runs as {user}: run it as the owner, or choose another data directory", dir.display())]
    ForeignOwner {
        /// The folder.
        dir: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// initdb or the first statement failed.
    #[error("making a PostgreSQL cluster in {} failed: {output}", dir.display())]
    Init {
        /// The folder.
        dir: PathBuf,
        /// What the program said.
        output: String,
    },
    /// The server did not come up.
    #[error("PostgreSQL in {} did not start: {reason} (log: {})", dir.display(), log.display())]
    Start {
        /// PGDATA.
        dir: PathBuf,
        /// The last lines of its log, or that it took too long.
        reason: String,
        /// Where the log is.
        log: PathBuf,
    },
    /// The server did not go down.
    #[error("PostgreSQL in {} did not stop: {output}", dir.display())]
    Stop {
        /// PGDATA.
        dir: PathBuf,
        /// What pg_ctl said.
        output: String,
    },
    /// The owner asked to stop while the server was starting.
    #[error("the start of PostgreSQL was given up because Tidings is stopping")]
    Cancelled,
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Error {
    /// For `map_err`: says what was tried on which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
