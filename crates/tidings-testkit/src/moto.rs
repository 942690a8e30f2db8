//! A private moto: a stand-in of AWS that others wrote, on a free port of the loopback interface.

use super::listening;
use anyhow::{Context as _, bail};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Names the program `moto_server`, of the version that the tests were written for.
const VARIABLE: &str = "TIDINGS_TEST_MOTO";

/// Another program may take the free port between our look and the start.
const ATTEMPTS: u32 = 5;

/// Python reads a lot of files before it listens.
const START_LIMIT: Duration = Duration::from_mins(1);

/// A moto; what runs ends with it.
#[derive(Debug)]
pub struct Moto {
    child: Child,
    port: u16,
}

impl Moto {
    /// Starts one; none where `TIDINGS_TEST_MOTO` names none (`cargo xtask test` fetches it), which is said.
    ///
    /// # Errors
    /// When it is named and does not start.
    pub fn start() -> anyhow::Result<Option<Self>> {
        #[expect(
            clippy::disallowed_methods,
            reason = "tests are told their server by the environment"
        )]
        let program = std::env::var_os(VARIABLE).map(PathBuf::from);
        let Some(program) = program else {
            eprintln!("{VARIABLE} names no moto, so nothing is tested on it; `cargo xtask test` fetches one");
            return Ok(None);
        };
        for _ in 0..ATTEMPTS {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .and_then(|listener| listener.local_addr())
                .context("no free port")?
                .port();
            let child = Command::new(&program)
                .args(["-H", "127.0.0.1", "-p", &port.to_string()])
                .current_dir(std::env::temp_dir())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .with_context(|| format!("cannot run {}", program.display()))?;
            let mut moto = Self { child, port };
            if listening::wait(&mut moto.child, "moto", port, START_LIMIT)? {
                return Ok(Some(moto));
            }
        }
        bail!("{} ended {ATTEMPTS} times at its start", program.display())
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
