//! `chromedriver`, started on a free port of the loopback interface and ended with its owner.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How long it may take to say where it listens.
const START: Duration = Duration::from_secs(30);
/// It says so within the first lines.
const LINES: usize = 50;

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It could not be run.
    #[error("{program} cannot be run: {problem}; install the package chromium-driver, or name another program", program = program.display())]
    NotRun {
        /// The program.
        program: PathBuf,
        /// What the system said.
        problem: std::io::Error,
    },
    /// It ran and did not say where it listens.
    #[error("{program} did not say where it listens", program = program.display())]
    Silent {
        /// The program.
        program: PathBuf,
    },
}

/// The running driver.
#[derive(Debug)]
pub struct Chromedriver {
    child: Child,
    /// Its process group, which is the browser's too.
    group: Option<u32>,
    port: u16,
    /// Kept open: a driver that writes to a closed pipe would die of it.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Chromedriver {
    /// Starts it; it listens on the loopback interface only. `record` remembers it: one that a killed companion left behind is
    /// ended first, because its browser holds the profile.
    pub async fn start(program: &Path, record: &Path) -> Result<Self, StartError> {
        end_recorded(record);
        let not_run = |problem| StartError::NotRun {
            program: program.to_owned(),
            problem,
        };
        let silent = || StartError::Silent {
            program: program.to_owned(),
        };
        let mut child = Command::new(program)
            .args(["--port=0", "--allowed-ips=127.0.0.1", "--log-level=WARNING"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // It would repeat what the page's scripts print.
            .stderr(Stdio::null())
            // A group of its own, so that the browser can be ended with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(not_run)?;
        let group = child.id();
        if let Some(written) = group.and_then(identity)
            && let Err(error) = std::fs::write(record, written)
        {
            tracing::warn!(%error, "the driver is not remembered; if this is killed, end it by hand");
        }
        let mut output = BufReader::new(child.stdout.take().ok_or_else(silent)?).lines();
        let listening = async {
            for _ in 0..LINES {
                let line = output.next_line().await.ok().flatten()?;
                if let Some(port) = port_in(&line) {
                    return Some(port);
                }
            }
            None
        };
        let port = tokio::time::timeout(START, listening).await.ok().flatten();
        Ok(Self {
            child,
            group,
            port: port.ok_or_else(silent)?,
            _output: output,
        })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

/// A browser that hangs outlives its driver and would hold the profile.
impl Drop for Chromedriver {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            end_group(group);
        }
    }
}

fn end_group(group: u32) {
    let ended = std::process::Command::new("kill")
        .args(["-KILL", "--", &format!("-{group}")])
        .stderr(Stdio::null())
        .status();
    if let Err(error) = ended {
        tracing::warn!(%error, "`kill` cannot be run, so a browser may be left behind");
    }
}

/// A process by its number and when it was started: numbers are given out again. Linux tells; elsewhere nothing is known.
fn identity(process: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name comes first, in brackets, and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let started = fields.split_whitespace().nth(19)?;
    Some(format!("{process} {started}"))
}

/// Ends the driver of the record with its browser, if it is still the same process.
fn end_recorded(record: &Path) {
    let Ok(recorded) = std::fs::read_to_string(record) else {
        return;
    };
    let process = recorded.split(' ').next().and_then(|number| number.parse().ok());
    if let Some(process) = process
        && identity(process).as_deref() == Some(recorded.trim())
    {
        tracing::warn!("the browser of a companion that was killed is ended");
        end_group(process);
    }
}

/// The port in `ChromeDriver was started successfully on port 39369.`
fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("successfully on port ")?;
    rest.trim_end_matches('.').parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn one_that_was_left_behind_is_ended_by_the_next() {
        let Some(browser) = tidings_testkit::browser() else {
            return;
        };
        let folder = tidings_testkit::TemporaryFolder::new("driver");
        let record = folder.path().join("driver");
        let mut left = Chromedriver::start(&browser.driver, &record).await.unwrap();
        let _next = Chromedriver::start(&browser.driver, &record).await.unwrap();
        let ended = left.child.wait().await.unwrap();
        assert!(!ended.success());
        // It is gone, and its number may be another's: nothing is left to end.
        left.group = None;
        std::fs::write(&record, format!("{} 1", std::process::id())).unwrap();
        // A record of another process with the same number ends nobody, or this test would end here.
        end_recorded(&record);
    }

    #[test]
    fn the_port_is_read() {
        assert_eq!(
            port_in("ChromeDriver was started successfully on port 39369."),
            Some(39_369)
        );
        assert_eq!(port_in("Starting ChromeDriver 156.0 on port 0"), None);
    }
}
