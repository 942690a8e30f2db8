//! Which account the server runs as. PostgreSQL refuses root, so a Tidings that runs as root hands the cluster to another account.

use crate::{Error, Result};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Tried in this order when Tidings runs as root.
const ACCOUNTS: [&str; 3] = ["tidings", "postgres", "nobody"];

/// The account that owns the cluster and runs the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Account {
    /// Ourselves.
    Own {
        /// Our user id.
        uid: u32,
    },
    /// Another, because we are root.
    Other {
        /// Its name, for messages.
        name: String,
        /// Its user id.
        uid: u32,
        /// Its group id.
        gid: u32,
    },
}

impl Account {
    /// The owner of an existing cluster stays its owner; a new one gets the first account that exists.
    pub(crate) fn choose(existing: &Path) -> Result<Self> {
        let uid = own_uid()?;
        let owner = std::fs::metadata(existing)
            .ok()
            .map(|metadata| (metadata.uid(), metadata.gid()));
        if uid != 0 {
            return match owner {
                Some((owner, _)) if owner != uid => Err(Error::ForeignOwner {
                    dir: existing.to_owned(),
                    owner,
                    user: uid,
                }),
                _ => Ok(Self::Own { uid }),
            };
        }
        match owner {
            Some((uid, gid)) if uid != 0 => Ok(Self::Other {
                name: format!("with user id {uid}"),
                uid,
                gid,
            }),
            _ => first_account(&std::fs::read_to_string("/etc/passwd").unwrap_or_default())
                .ok_or(Error::NoAccount),
        }
    }

    pub(crate) fn uid(&self) -> u32 {
        match self {
            Self::Own { uid } | Self::Other { uid, .. } => *uid,
        }
    }

    /// A program to be run as this account, with no environment of ours: PGDATA, PGHOST and the like must not steer it.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null());
        if let Self::Other { uid, gid, .. } = self {
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// Makes the account the owner of a file or folder that we just made.
    pub(crate) fn give(&self, path: &Path) -> Result<()> {
        match self {
            Self::Own { .. } => Ok(()),
            Self::Other { uid, gid, .. } => {
                chown(path, Some(*uid), Some(*gid)).map_err(Error::io("change the owner of", path))
            }
        }
    }

    /// Checks that the account can enter every folder above `path`, which must exist.
    pub(crate) fn check_reach(&self, path: &Path) -> Result<()> {
        let Self::Other { name, uid, gid } = self else {
            return Ok(());
        };
        for dir in path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()) {
            let metadata = std::fs::metadata(dir).map_err(Error::io("look at", dir))?;
            let bit = if metadata.uid() == *uid {
                0o100
            } else if metadata.gid() == *gid {
                0o010
            } else {
                0o001
            };
            if metadata.mode() & bit == 0 {
                return Err(Error::Unreachable {
                    dir: dir.to_owned(),
                    account: name.clone(),
                });
            }
        }
        Ok(())
    }
}

/// The folder belongs to the server's account; where we are root, a link that it put there must not lead our writing elsewhere.
pub(crate) fn refuse_link(path: &Path) -> Result<()> {
    let is_link = path
        .symlink_metadata()
        .is_ok_and(|metadata| metadata.is_symlink());
    if is_link {
        return Err(Error::io("write to a symbolic link, remove", path)(
            std::io::ErrorKind::PermissionDenied.into(),
        ));
    }
    Ok(())
}

/// Whether the server's account could work below `dir`, which need not exist yet. Only ever fails for root.
pub fn reachable_by_server(dir: &Path) -> Result<()> {
    let dir = std::path::absolute(dir).map_err(Error::io("resolve", dir))?;
    let existing = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let real = existing.canonicalize().map_err(Error::io("resolve", existing))?;
    Account::choose(Path::new("/nonexistent"))?.check_reach(&real.join("below"))
}

/// `preferred`, or `/var/lib/tidings` where root prefers a folder (its home, mostly) that PostgreSQL's account cannot enter.
pub fn default_data_dir(preferred: PathBuf) -> PathBuf {
    match reachable_by_server(&preferred) {
        Err(Error::Unreachable { .. }) => PathBuf::from("/var/lib/tidings"),
        _ => preferred,
    }
}

/// The standard library cannot tell; the owner of our own entry in /proc can, and `id` where there is no /proc.
fn own_uid() -> Result<u32> {
    if let Ok(metadata) = std::fs::metadata("/proc/self") {
        return Ok(metadata.uid());
    }
    let output = Command::new("id")
        .arg("-u")
        .output()
        .map_err(Error::io("run", Path::new("id")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| {
        Error::io("read the answer of", Path::new("id -u"))(std::io::ErrorKind::InvalidData.into())
    })
}

fn first_account(passwd: &str) -> Option<Account> {
    let find = |wanted: &str| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| *name == wanted)?;
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            (uid != 0).then(|| Account::Other {
                name: name.to_owned(),
                uid,
                gid,
            })
        })
    };
    ACCOUNTS.iter().find_map(|name| find(name))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_first_known_account_that_is_not_root_is_taken() {
        let passwd = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/x\npostgres:x:101:104::/:/x\n";
        assert_eq!(
            first_account(passwd),
            Some(Account::Other {
                name: "postgres".into(),
                uid: 101,
                gid: 104
            })
        );
        assert_eq!(
            first_account("nobody:x:65534:65533::/:/x"),
            Some(Account::Other {
                name: "nobody".into(),
                uid: 65534,
                gid: 65533
            })
        );
        assert_eq!(first_account("tidings:x:0:0::/:/x\nroot:x:0:0"), None);
    }

    #[test]
    fn a_closed_parent_is_named() {
        let dir = PathBuf::from(format!("/tmp/tidings-account-test-{}", std::process::id()));
        let closed = dir.join("closed");
        std::fs::create_dir_all(closed.join("data")).unwrap();
        std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let stranger = Account::Other {
            name: "stranger".into(),
            uid: 4_000_000,
            gid: 4_000_000,
        };
        let refused = stranger.check_reach(&closed.join("data"));
        let allowed = stranger.check_reach(&closed);
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(
            matches!(&refused, Err(Error::Unreachable { dir, account }) if dir == &closed && account == "stranger"),
            "{refused:?}"
        );
        assert!(allowed.is_ok(), "{allowed:?}");
    }
}
