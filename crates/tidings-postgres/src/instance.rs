//! One server on one data directory: making it, starting it, finding one that runs already, stopping it.

use crate::account::{Account, refuse_link};
use crate::postmaster::{Identity, Phase, read_pid_file};
use crate::{Binaries, Error, Result, Settings, log, socket};
use std::fs::DirBuilder;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The superuser and the database of the product.
const NAME: &str = "tidings";

/// Replaying the log after a crash may take minutes; more than this is not recovery any more.
const START_LIMIT: Duration = Duration::from_mins(5);

/// How long processes of a dead postmaster get to notice, and a stopping server to finish.
const GONE_LIMIT: Duration = Duration::from_mins(1);

/// Starts are repeated this often when something of the previous server is still in the way.
const START_ATTEMPTS: u32 = 8;

/// Between two looks at a server that is starting or stopping.
const POLL: Duration = Duration::from_millis(10);

/// How a server came to run.
#[derive(Debug)]
pub enum Started {
    /// We started it and must wait for it.
    Spawned(Child),
    /// It ran already (its owner was killed); this is its pid.
    Adopted(u32),
}

/// A data directory with a cluster in it. It knows no owner: see [`crate::Cluster`] for the product's way to use it.
#[derive(Debug)]
pub struct Instance {
    binaries: Binaries,
    account: Account,
    pgdata: PathBuf,
    socket_dir: PathBuf,
    log: PathBuf,
    identity: Identity,
    reconfigured: AtomicBool,
}

/// Where the cluster of a data directory is.
pub(crate) fn pgdata_of(data_dir: &Path) -> PathBuf {
    data_dir.join("postgres").join("cluster")
}

/// Makes `<data_dir>/postgres`, closed to everybody but the account that the server will run as.
pub(crate) fn make_home(data_dir: &Path) -> Result<(PathBuf, Account)> {
    std::fs::create_dir_all(data_dir).map_err(Error::io("make the data directory", data_dir))?;
    let data_dir = data_dir.canonicalize().map_err(Error::io("resolve", data_dir))?;
    let home = data_dir.join("postgres");
    let account = Account::choose(&home)?;
    account.check_reach(&home)?;
    match DirBuilder::new().mode(0o700).create(&home) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Error::io("make the folder", &home)(error));
        }
        Ok(()) | Err(_) => account.give(&home)?,
    }
    Ok((home, account))
}

impl Instance {
    /// Makes the cluster if there is none, and writes its configuration. Callers see to it that only one process does so at a time.
    pub fn prepare(data_dir: &Path, binaries: &Binaries, settings: &Settings) -> Result<Self> {
        let (home, account) = make_home(data_dir)?;
        Self::in_home(&home, account, binaries, settings)
    }

    pub(crate) fn in_home(
        home: &Path,
        account: Account,
        binaries: &Binaries,
        settings: &Settings,
    ) -> Result<Self> {
        account.check_reach(binaries.dir())?;
        let pgdata = home.join("cluster");
        let cluster_name = format!("tidings-{:016x}", fnv(pgdata.as_os_str().as_encoded_bytes()));
        let socket_dir = socket::prepare(home, &cluster_name, &account)?;
        let identity = Identity {
            pgdata: pgdata.to_string_lossy().into_owned(),
            cluster_name,
        };
        let instance = Self {
            binaries: binaries.clone(),
            account,
            pgdata,
            socket_dir,
            log: home.join("server.log"),
            identity,
            reconfigured: AtomicBool::new(false),
        };
        if !instance.pgdata.join("PG_VERSION").exists() {
            instance.initialise(home, settings)?;
        }
        instance.check_version()?;
        instance.configure(settings)?;
        Ok(instance)
    }

    /// The URL of the product's database, as the superuser.
    pub fn url(&self) -> String {
        self.url_of(NAME)
    }

    /// The URL of another database of this server; `postgres` always exists.
    pub fn url_of(&self, database: &str) -> String {
        format!(
            "postgres://{NAME}@localhost/{database}?host={}",
            percent_encode(&self.socket_dir.to_string_lossy())
        )
    }

    /// The folder of the socket.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// PGDATA.
    pub fn pgdata(&self) -> &Path {
        &self.pgdata
    }

    /// The log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The programs.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The pid of the live postmaster, if there is one.
    pub fn pid(&self) -> Option<u32> {
        self.identity.live_postmaster().map(|(pid, _)| pid)
    }

    /// Whether this process is a live postmaster of this cluster.
    pub(crate) fn is_postmaster(&self, pid: u32) -> bool {
        self.identity.is_postmaster(pid)
    }

    /// Starts the server, or adopts the one that runs, and returns when it accepts connections. Blocks, for minutes after a crash
    /// with much to replay; gives up with [`Error::Cancelled`] soon after `cancel` becomes true.
    pub fn ensure_running(&self, cancel: &AtomicBool) -> Result<Started> {
        if self.reconfigured.swap(false, Ordering::Relaxed) && self.pid().is_some() {
            self.stop()?;
        }
        match self.identity.live_postmaster() {
            Some((pid, Phase::Starting | Phase::Ready)) => {
                let died =
                    || (!self.is_postmaster(pid)).then(|| format!("the running server (pid {pid}) died"));
                match self.wait_until_ready(died, cancel)? {
                    Ok(()) => Ok(Started::Adopted(pid)),
                    Err(_) => self.start(cancel).map(Started::Spawned),
                }
            }
            Some((_, Phase::Stopping)) | None => self.start(cancel).map(Started::Spawned),
        }
    }

    /// Fast shutdown: running transactions are rolled back, everything committed is written, then it ends. Fine when nothing runs.
    pub fn stop(&self) -> Result<()> {
        let mut said = String::new();
        for mode in ["fast", "immediate"] {
            if self.pid().is_none() {
                return Ok(());
            }
            let mut command = self.account.command(&self.binaries.program("pg_ctl"));
            command
                .args([
                    "stop",
                    "--wait",
                    "--silent",
                    "--timeout=60",
                    "--mode",
                    mode,
                    "--pgdata",
                ])
                .arg(&self.pgdata);
            let output = command
                .output()
                .map_err(Error::io("run", &self.binaries.program("pg_ctl")))?;
            if output.status.success() {
                return Ok(());
            }
            said = text_of(&output);
        }
        if self.pid().is_none() {
            Ok(())
        } else {
            Err(Error::Stop {
                dir: self.pgdata.clone(),
                output: said,
            })
        }
    }

    fn start(&self, cancel: &AtomicBool) -> Result<Child> {
        let mut pause = Duration::from_millis(100);
        let mut reason = String::new();
        for _ in 0..START_ATTEMPTS {
            self.clear_the_way(cancel)?;
            match self.start_once(cancel)? {
                Ok(child) => return Ok(child),
                Err(refusal) => reason = refusal,
            }
            // The remains of the previous server; they go away by themselves.
            let passing = ["lock file", "shared memory block"]
                .iter()
                .any(|sign| reason.contains(sign));
            if !passing {
                break;
            }
            tracing::info!(%reason, "the previous PostgreSQL is still in the way, trying again");
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        Err(self.start_error(reason))
    }

    /// One try; the inner error is what the server said when it ended.
    fn start_once(&self, cancel: &AtomicBool) -> Result<std::result::Result<Child, String>> {
        log::bound(&self.log);
        let from = log::length(&self.log);
        let (out, err) = (log::open(&self.log)?, log::open(&self.log)?);
        let mut command = self.account.command(&self.binaries.program("postgres"));
        // A group of its own: Ctrl-C in a terminal is for Tidings, which drains before it stops the server.
        let spawned = command
            .arg("-D")
            .arg(&self.pgdata)
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn();
        let mut child = spawned.map_err(Error::io("run", &self.binaries.program("postgres")))?;
        let ready = self.wait_until_ready(
            || {
                child
                    .try_wait()
                    .ok()
                    .flatten()
                    .map(|status| format!("it ended with {status}"))
            },
            cancel,
        );
        match ready {
            Ok(Ok(())) => Ok(Ok(child)),
            Ok(Err(ended)) => Ok(Err(format!("{ended}: {}", log::added(&self.log, from)))),
            Err(error) => {
                self.abandon(child);
                Err(error)
            }
        }
    }

    /// A server that was started in vain must not stay behind without an owner.
    fn abandon(&self, mut child: Child) {
        if let Err(error) = self.stop() {
            tracing::error!(%error, "the abandoned PostgreSQL is killed");
            // Already dead is fine too.
            let _ = child.kill();
        }
        let _ = child.wait();
    }

    /// Waits for the phase `ready`; the inner error is what `died` says.
    fn wait_until_ready(
        &self,
        mut died: impl FnMut() -> Option<String>,
        cancel: &AtomicBool,
    ) -> Result<std::result::Result<(), String>> {
        let begin = Instant::now();
        let mut announced = false;
        loop {
            if let Some(reason) = died() {
                return Ok(Err(reason));
            }
            if matches!(self.identity.live_postmaster(), Some((_, Phase::Ready))) {
                return Ok(Ok(()));
            }
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            if begin.elapsed() > START_LIMIT {
                return Err(self.start_error(format!("not ready after {} s", START_LIMIT.as_secs())));
            }
            if !announced && begin.elapsed() > Duration::from_secs(5) {
                tracing::info!(pgdata = %self.pgdata.display(), "PostgreSQL is still starting; after a crash it replays its log");
                announced = true;
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until no process of an earlier server is left, then removes the pid file it left, because PostgreSQL refuses
    /// to start while the pid in it belongs to any live process, whatever that is.
    fn clear_the_way(&self, cancel: &AtomicBool) -> Result<()> {
        let begin = Instant::now();
        loop {
            let left = self.identity.processes();
            if left.is_empty() {
                break;
            }
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            if begin.elapsed() > GONE_LIMIT {
                return Err(self.start_error(format!("processes of an earlier server are still there: {left:?}; end them with `kill`, never with `kill -9`")));
            }
            std::thread::sleep(POLL * 2);
        }
        if let Some((pid, _)) = read_pid_file(&self.pgdata) {
            let path = self.pgdata.join("postmaster.pid");
            tracing::info!(pid, path = %path.display(), "removing the pid file of a server that was killed");
            std::fs::remove_file(&path).map_err(Error::io("remove the stale pid file", &path))?;
        }
        Ok(())
    }

    fn start_error(&self, reason: String) -> Error {
        Error::Start {
            dir: self.pgdata.clone(),
            reason,
            log: self.log.clone(),
        }
    }

    /// Makes the cluster under another name first, so that an interrupted attempt is never taken for a cluster.
    fn initialise(&self, home: &Path, settings: &Settings) -> Result<()> {
        let staged = home.join("cluster.new");
        let failed = |output: String| Error::Init {
            dir: self.pgdata.clone(),
            output,
        };
        let mut said = String::new();
        for locale in self.locales() {
            remove_dir_if_there(&staged)?;
            let mut command = self.account.command(&self.binaries.program("initdb"));
            command
                .args([
                    "--username",
                    NAME,
                    "--encoding=UTF8",
                    "--auth=trust",
                    "--data-checksums",
                    "--no-instructions",
                ])
                .args(locale);
            command
                .args(settings.is_throwaway().then_some("--no-sync"))
                .arg("--pgdata")
                .arg(&staged);
            let output = command
                .output()
                .map_err(Error::io("run", &self.binaries.program("initdb")))?;
            if output.status.success() {
                self.create_database(&staged).map_err(failed)?;
                // The socket folder is the lock on the door; nothing else may come in.
                let access = staged.join("pg_hba.conf");
                std::fs::write(&access, "# Written by Tidings: only through the socket, whose folder is closed to other users.\nlocal all all trust\n").map_err(Error::io("write", &access))?;
                return std::fs::rename(&staged, &self.pgdata)
                    .map_err(Error::io("rename the new cluster to", &self.pgdata));
            }
            said = text_of(&output);
        }
        Err(failed(said))
    }

    /// Byte order with Unicode character classes where the version and the system have it, else plain C.
    fn locales(&self) -> Vec<Vec<&'static str>> {
        let mut locales = vec![vec!["--locale=C.UTF-8"], vec!["--locale=C"]];
        if self.binaries.major() >= 17 {
            locales.insert(
                0,
                vec![
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    "--locale=C",
                ],
            );
        }
        locales
    }

    /// Single-user mode, so that no server without our configuration ever runs. It reports errors only in words.
    fn create_database(&self, pgdata: &Path) -> std::result::Result<(), String> {
        let mut command: Command = self.account.command(&self.binaries.program("postgres"));
        command
            .args(["--single", "-D"])
            .arg(pgdata)
            .arg("postgres")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot run postgres --single: {error}"))?;
        let written = child
            .stdin
            .take()
            .map(|mut stdin| stdin.write_all(format!("CREATE DATABASE {NAME};\n").as_bytes()));
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let said = text_of(&output);
        let failed = !output.status.success()
            || ["ERROR:", "FATAL:", "PANIC:"]
                .iter()
                .any(|word| said.contains(word));
        if failed || !matches!(written, Some(Ok(()))) {
            Err(said)
        } else {
            Ok(())
        }
    }

    fn check_version(&self) -> Result<()> {
        let path = self.pgdata.join("PG_VERSION");
        let data = std::fs::read_to_string(&path)
            .map_err(Error::io("read", &path))?
            .trim()
            .to_owned();
        if data == self.binaries.major().to_string() {
            return Ok(());
        }
        Err(Error::VersionMismatch {
            dir: self.pgdata.clone(),
            data,
            bin_dir: self.binaries.dir().to_owned(),
            binaries: self.binaries.major(),
        })
    }

    fn configure(&self, settings: &Settings) -> Result<()> {
        let path = self.pgdata.join("postgresql.conf");
        let text = settings.render(&self.socket_dir, &self.identity.cluster_name);
        let changed = std::fs::read_to_string(&path).map_err(Error::io("read", &path))? != text;
        if changed {
            refuse_link(&path)?;
            std::fs::write(&path, text).map_err(Error::io("write", &path))?;
        }
        self.reconfigured.store(changed, Ordering::Relaxed);
        Ok(())
    }
}

fn remove_dir_if_there(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", dir)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What a program said, errors first, on one line of bounded length.
fn text_of(output: &Output) -> String {
    let text = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    let line = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" | ");
    let line = if line.is_empty() {
        format!("it ended with {}", output.status)
    } else {
        line
    };
    line.chars().take(2000).collect()
}

/// FNV-1a: a short stable name for a path, not a secret.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn percent_encode(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    path.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
