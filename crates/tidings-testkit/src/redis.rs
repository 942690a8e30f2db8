//! A private Redis (or Valkey) that keeps nothing: started on a free port of the loopback interface, killed, started again.

use super::listening;
use anyhow::{Context as _, bail};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

/// Another program may take the free port between our look and the start.
const ATTEMPTS: u32 = 5;

const START_LIMIT: Duration = Duration::from_secs(20);

/// A Redis; what runs ends with it.
#[derive(Debug)]
pub struct Redis {
    program: PathBuf,
    child: Option<Child>,
    port: u16,
}

impl Redis {
    /// Starts one; none where none is installed (`cargo xtask test` installs it for root).
    ///
    /// # Errors
    /// When it is there and does not start.
    pub fn start() -> anyhow::Result<Option<Self>> {
        #[expect(
            clippy::disallowed_methods,
            reason = "programs are found as a shell finds them"
        )]
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path)
            .flat_map(|folder| PROGRAMS.map(|name| folder.join(name)))
            .find(|candidate| candidate.is_file());
        let Some(program) = found else { return Ok(None) };
        for _ in 0..ATTEMPTS {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .and_then(|listener| listener.local_addr())
                .context("no free port")?
                .port();
            let mut redis = Self {
                program: program.clone(),
                child: None,
                port,
            };
            if redis.restart()? {
                return Ok(Some(redis));
            }
        }
        bail!("{} ended {ATTEMPTS} times at its start", program.display())
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again at the same port, empty; false when it ended instead.
    ///
    /// # Errors
    /// When it cannot be run, or does not listen in time.
    pub fn restart(&mut self) -> anyhow::Result<bool> {
        self.kill();
        let mut command = Command::new(&self.program);
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--daemonize", "no", "--port", &self.port.to_string()])
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        let open = listening::wait(&mut child, "Redis", self.port, START_LIMIT)?;
        if open {
            self.child = Some(child);
        }
        Ok(open)
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Says commands to it, each a line; what it answers.
    ///
    /// # Errors
    /// When it does not answer within ten seconds.
    pub fn say(&self, commands: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(format!("{commands}\r\nQUIT\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
