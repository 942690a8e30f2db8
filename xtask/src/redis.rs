//! A private Redis (or Valkey) for tests.

use crate::{apt, shell};
use anyhow::{Context as _, bail};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

/// Another program may take the free port between our look and the start.
const ATTEMPTS: u32 = 5;

const START_LIMIT: Duration = Duration::from_secs(20);

/// A running server that keeps nothing; it is killed at the end, because there is nothing to save.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    /// Starts one on a free port of the loopback interface, working in `dir`.
    pub fn start(program: &Path, dir: &Path) -> anyhow::Result<Self> {
        for _ in 0..ATTEMPTS {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .and_then(|listener| listener.local_addr())
                .context("no free port")?
                .port();
            let mut command = Command::new(program);
            command.args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--save",
                "",
                "--appendonly",
                "no",
                "--daemonize",
                "no",
                "--dir",
            ]);
            let child = command
                .arg(dir)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .with_context(|| format!("cannot run {}", program.display()))?;
            let mut redis = Self { child, port };
            if redis.wait_until_ready()? {
                return Ok(redis);
            }
        }
        bail!("{} ended {ATTEMPTS} times at its start", program.display())
    }

    /// False when it ended instead.
    fn wait_until_ready(&mut self) -> anyhow::Result<bool> {
        let begin = Instant::now();
        while begin.elapsed() < START_LIMIT {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!(
            "Redis did not listen on port {} within {} s",
            self.port,
            START_LIMIT.as_secs()
        )
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server's program: found, or installed for root; none where neither works, because Redis is optional.
pub fn program() -> Option<PathBuf> {
    let find = || PROGRAMS.iter().find_map(|program| shell::on_path(program));
    if let Some(found) = find() {
        return Some(found);
    }
    if apt::available() {
        eprintln!("no Redis found, installing it");
        if let Err(error) = apt::install_redis() {
            eprintln!("warning: {error:#}");
        }
    }
    find()
}
