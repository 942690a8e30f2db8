//! The server's log file. The server appends to it directly, so that it goes on logging when its owner was killed; the owner keeps it short.

use crate::account::refuse_link;
use crate::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Beyond this many bytes the file is moved to `.1`; both together never hold much more than twice that.
const LIMIT: u64 = 8 * 1024 * 1024;

/// At most this many bytes of the log go into an error message.
const TAIL: u64 = 2000;

/// Opens the log for a server to append to.
pub(crate) fn open(path: &Path) -> Result<File> {
    refuse_link(path)?;
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::io("open the log", path))
}

/// Copies a log that has grown too long to `.1` and empties it in place, because the server holds it open. What is written between the two is lost.
pub(crate) fn bound(path: &Path) {
    let too_long = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > LIMIT);
    if !too_long {
        return;
    }
    let older = PathBuf::from(format!("{}.1", path.display()));
    if refuse_link(path).and_then(|()| refuse_link(&older)).is_err() {
        tracing::warn!(path = %path.display(), "the log of the private PostgreSQL is a symbolic link and is left alone");
        return;
    }
    let moved = std::fs::copy(path, older)
        .and_then(|_| OpenOptions::new().write(true).open(path))
        .and_then(|file| file.set_len(0));
    if let Err(error) = moved {
        tracing::warn!(path = %path.display(), %error, "the log of the private PostgreSQL could not be shortened");
    }
}

/// How long the log is now, to tell later what was added.
pub(crate) fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// The end of what was added after `from`, on one line.
pub(crate) fn added(path: &Path, from: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let start = from.max(file.metadata()?.len().saturating_sub(TAIL));
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" | ")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_long_log_is_moved_aside_while_it_is_held_open() {
        let path = PathBuf::from(format!("/tmp/tidings-log-test-{}", std::process::id()));
        let mut server = open(&path).unwrap();
        server
            .write_all(&vec![b'x'; usize::try_from(LIMIT).unwrap() + 1])
            .unwrap();
        bound(&path);
        assert_eq!(length(&path), 0);
        server.write_all(b"first\n\nsecond\n").unwrap();
        assert_eq!(length(&path), 14);
        assert_eq!(added(&path, 0), "first | second");
        assert_eq!(added(&path, 6), "second");
        let older = PathBuf::from(format!("{}.1", path.display()));
        assert_eq!(length(&older), LIMIT + 1);
        std::fs::remove_file(path).unwrap();
        std::fs::remove_file(older).unwrap();
    }
}
