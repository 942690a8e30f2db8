//! The cluster as the product uses it: one owner, started, watched, restarted, stopped.

use crate::account::{Account, refuse_link};
use crate::instance::{Instance, Started, make_home};
use crate::{Binaries, Error, Result, Settings, log};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks at a running server.
const WATCH: Duration = Duration::from_millis(500);

/// Looks between two checks of the log's length: about a minute.
const LOG_EVERY: u32 = 120;

/// The pause after a first failed restart; it doubles up to the limit. Restarting goes on as long as the owner lives, because
/// a full disk or a missing folder may be put right at any time.
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_LIMIT: Duration = Duration::from_secs(30);

/// Which cluster to run, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory of Tidings; the cluster is in its folder `postgres`.
    pub data_dir: PathBuf,
    /// The programs, see [`Binaries::find`].
    pub binaries: Binaries,
    /// The server's settings.
    pub settings: Settings,
}

/// How the server is, for readiness checks and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It accepts connections.
    Running,
    /// It died and is being started again; the last failure, if a start failed.
    Restarting(Option<String>),
    /// It was stopped on purpose.
    Stopped,
}

/// A running private PostgreSQL. Dropping it stops the server.
#[derive(Debug)]
pub struct Cluster {
    watched: Arc<Watched>,
    watcher: Mutex<Option<JoinHandle<()>>>,
    /// Held for as long as we own the cluster; the system releases it when the process ends, however it ends.
    _lock: File,
}

#[derive(Debug)]
struct Watched {
    instance: Instance,
    state: Mutex<State>,
    wake: Condvar,
    stopping: AtomicBool,
    restarts: AtomicU64,
}

#[derive(Debug)]
struct State {
    server: Server,
    health: Health,
}

#[derive(Debug)]
enum Server {
    Child(Child),
    Adopted(u32),
    Gone,
}

impl Cluster {
    /// Makes the cluster if there is none, starts it (or adopts the running one of a killed owner), and watches it.
    ///
    /// Blocks until it accepts connections: a second or two the first time, tenths of a second later, longer after a crash.
    /// Fails with [`Error::Owned`] when another living process has it open.
    pub fn open(options: &Options) -> Result<Self> {
        let (home, account) = make_home(&options.data_dir)?;
        let lock = own(&home, &account)?;
        let instance = Instance::in_home(&home, account, &options.binaries, &options.settings)?;
        let server = Server::from(instance.ensure_running(&AtomicBool::new(false))?);
        tracing::info!(pgdata = %instance.pgdata().display(), version = instance.binaries().major(), adopted = matches!(server, Server::Adopted(_)), "the private PostgreSQL is running");
        let state = Mutex::new(State {
            server,
            health: Health::Running,
        });
        let watched = Arc::new(Watched {
            instance,
            state,
            wake: Condvar::new(),
            stopping: AtomicBool::new(false),
            restarts: AtomicU64::new(0),
        });
        let watcher = std::thread::Builder::new().name("postgres-watch".into()).spawn({
            let watched = Arc::clone(&watched);
            move || watched.watch()
        });
        let cluster = Self {
            watched,
            watcher: Mutex::new(None),
            _lock: lock,
        };
        let watcher = watcher.map_err(Error::io("start a thread to watch", &options.data_dir))?;
        *lock_of(&cluster.watcher) = Some(watcher);
        Ok(cluster)
    }

    /// The URL of the product's database, as the superuser.
    pub fn url(&self) -> String {
        self.watched.instance.url()
    }

    /// The server: its folders, its programs, URLs of other databases.
    pub fn instance(&self) -> &Instance {
        &self.watched.instance
    }

    /// How it is now.
    pub fn health(&self) -> Health {
        self.watched.lock().health.clone()
    }

    /// How often it died and was started again since it was opened.
    pub fn restarts(&self) -> u64 {
        self.watched.restarts.load(Ordering::Relaxed)
    }

    /// Fast shutdown; waits until the server has ended. Close the pools first: open transactions are rolled back. Once is enough,
    /// more often is fine.
    pub fn stop(&self) -> Result<()> {
        {
            // Under the lock, so that a watcher about to wait cannot miss it.
            let _state = self.watched.lock();
            self.watched.stopping.store(true, Ordering::Relaxed);
        }
        self.watched.wake.notify_all();
        if let Some(watcher) = lock_of(&self.watcher).take() {
            // A watcher that panicked has nothing left to say; the server is stopped all the same.
            let _ = watcher.join();
        }
        let stopped = self.watched.instance.stop();
        let mut state = self.watched.lock();
        if let Server::Child(child) = &mut state.server
            && stopped.is_ok()
        {
            let _ = child.wait();
        }
        state.server = Server::Gone;
        state.health = Health::Stopped;
        stopped
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!(%error, "the private PostgreSQL did not stop; the next start adopts it");
        }
    }
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock_of(&self.state)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn watch(&self) {
        let mut looks = 0_u32;
        while !self.stopping() {
            self.pause(WATCH);
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(LOG_EVERY) {
                log::bound(self.instance.log());
            }
            if !self.stopping() && !self.is_alive() {
                tracing::error!(log = %self.instance.log().display(), "the private PostgreSQL died, starting it again");
                self.restart();
            }
        }
    }

    /// Waits, but no longer than until the stop.
    fn pause(&self, duration: Duration) {
        let result = self
            .wake
            .wait_timeout_while(self.lock(), duration, |_| !self.stopping());
        drop(result.unwrap_or_else(PoisonError::into_inner));
    }

    /// Asks for the exit status of a child, which also removes its remains from the process table.
    fn is_alive(&self) -> bool {
        let mut state = self.lock();
        let alive = match &mut state.server {
            Server::Child(child) => matches!(child.try_wait(), Ok(None)),
            Server::Adopted(pid) => self.instance.is_postmaster(*pid),
            Server::Gone => false,
        };
        if !alive {
            *state = State {
                server: Server::Gone,
                health: Health::Restarting(None),
            };
        }
        alive
    }

    fn restart(&self) {
        let mut pause = BACKOFF;
        while !self.stopping() {
            match self.instance.ensure_running(&self.stopping) {
                Ok(started) => {
                    *self.lock() = State {
                        server: started.into(),
                        health: Health::Running,
                    };
                    self.restarts.fetch_add(1, Ordering::Relaxed);
                    tracing::info!("the private PostgreSQL is running again");
                    return;
                }
                Err(Error::Cancelled) => return,
                Err(error) => {
                    tracing::error!(%error, retry_in_ms = pause.as_millis() as u64, "the private PostgreSQL cannot be started");
                    self.lock().health = Health::Restarting(Some(error.to_string()));
                }
            }
            self.pause(pause);
            pause = (pause * 2).min(BACKOFF_LIMIT);
        }
    }
}

impl From<Started> for Server {
    fn from(started: Started) -> Self {
        match started {
            Started::Spawned(child) => Self::Child(child),
            Started::Adopted(pid) => Self::Adopted(pid),
        }
    }
}

fn lock_of<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the lock on the cluster and writes our pid into it, for the message that another process would give.
fn own(home: &Path, account: &Account) -> Result<File> {
    let path = home.join("owner.lock");
    refuse_link(&path)?;
    let opened = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path);
    let mut file = opened.map_err(Error::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = std::fs::read_to_string(&path)
                .unwrap_or_default()
                .trim()
                .to_owned();
            return Err(Error::Owned {
                dir: home.to_owned(),
                pid: if pid.is_empty() { "unknown".into() } else { pid },
            });
        }
        Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
    }
    account.give(&path)?;
    let written = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(Error::io("write", &path))?;
    Ok(file)
}
