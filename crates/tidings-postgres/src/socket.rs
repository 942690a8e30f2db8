//! The folder of the server's socket: closed to everybody else, and short enough for a socket address.

use crate::account::{Account, refuse_link};
use crate::{Error, Result};
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// The longest folder name that leaves room for `/.s.PGSQL.5432` and the final zero in the 104 bytes of a BSD socket address (Linux has 108).
const LONGEST: usize = 104 - 1 - "/.s.PGSQL.5432".len();

/// Where the name of a folder outside the data directory is remembered.
const REMEMBERED: &str = "socket_dir";

/// Tries this many names before it gives up.
const ATTEMPTS: u32 = 20;

/// `<home>/socket`, or a folder of its own under /tmp where that is too long; made, closed (0700) and given to the account.
pub(crate) fn prepare(home: &Path, cluster_name: &str, account: &Account) -> Result<PathBuf> {
    let inside = home.join("socket");
    if inside.as_os_str().len() <= LONGEST {
        return if open_private(&inside, account)? {
            Ok(inside)
        } else {
            Err(foreign(&inside))
        };
    }
    let note = home.join(REMEMBERED);
    if let Ok(remembered) = std::fs::read_to_string(&note) {
        let remembered = PathBuf::from(remembered.trim());
        if remembered.is_absolute() && open_private(&remembered, account)? {
            return Ok(remembered);
        }
    }
    // /tmp belongs to everybody: a name that somebody else took is passed over, never trusted.
    for attempt in 0..ATTEMPTS {
        let candidate = PathBuf::from(format!("/tmp/{cluster_name}-{attempt}"));
        if open_private(&candidate, account)? {
            refuse_link(&note)?;
            std::fs::write(&note, candidate.to_string_lossy().as_bytes())
                .map_err(Error::io("write", &note))?;
            return Ok(candidate);
        }
    }
    Err(foreign(&PathBuf::from(format!("/tmp/{cluster_name}-0"))))
}

/// Makes the folder, or checks that the one that is there is a closed folder of this account; false if it is not.
fn open_private(dir: &Path, account: &Account) -> Result<bool> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => account.give(dir).map(|()| true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let metadata = dir.symlink_metadata().map_err(Error::io("look at", dir))?;
            Ok(metadata.is_dir() && metadata.uid() == account.uid() && metadata.mode() & 0o777 == 0o700)
        }
        Err(error) => Err(Error::io("make the socket folder", dir)(error)),
    }
}

fn foreign(dir: &Path) -> Error {
    Error::io(
        "use as socket folder (it is not a folder of mode 0700 of the right account; remove it)",
        dir,
    )(std::io::ErrorKind::PermissionDenied.into())
}
