//! Telling whether a server runs on a data directory, from its pid file and the process list.
//!
//! A pid file alone proves nothing: after `kill -9` it stays, and its number may by now belong to another program. Processes are
//! recognised by their command line, which everybody may read; their folders (`/proc/<pid>/cwd`) are closed to root in a container.

use std::path::Path;
use std::process::Command;

/// A server's processes are recognised by these two.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// PGDATA, absolute: the postmaster has it in its arguments.
    pub(crate) pgdata: String,
    /// The setting `cluster_name`: it is in the titles of all the postmaster's children.
    pub(crate) cluster_name: String,
}

/// What the pid file says about the server's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Ready,
    Stopping,
}

/// The pid and phase in `postmaster.pid`, if there is a complete one.
pub(crate) fn read_pid_file(pgdata: &Path) -> Option<(u32, Phase)> {
    parse_pid_file(&std::fs::read_to_string(pgdata.join("postmaster.pid")).ok()?)
}

/// Line 1 is the pid (negative for a single-user backend), line 8 the phase, which the postmaster writes last.
fn parse_pid_file(text: &str) -> Option<(u32, Phase)> {
    let pid = text.lines().next()?.trim().parse().ok()?;
    let phase = match text.lines().nth(7).map(str::trim) {
        Some("ready" | "standby") => Phase::Ready,
        Some("stopping") => Phase::Stopping,
        _ => Phase::Starting,
    };
    Some((pid, phase))
}

impl Identity {
    /// The live postmaster that the pid file names.
    pub(crate) fn live_postmaster(&self) -> Option<(u32, Phase)> {
        let (pid, phase) = read_pid_file(Path::new(&self.pgdata))?;
        self.is_postmaster(pid).then_some((pid, phase))
    }

    /// Whether this process is a postmaster of this data directory.
    pub(crate) fn is_postmaster(&self, pid: u32) -> bool {
        command_line(pid).is_some_and(|line| self.is_postmaster_line(&line))
    }

    /// Every live process of this server, the postmaster included.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let own = |line: &str| {
            self.is_postmaster_line(line) || line.starts_with(&format!("postgres: {}: ", self.cluster_name))
        };
        process_list()
            .into_iter()
            .filter(|(_, line)| own(line))
            .map(|(pid, _)| pid)
            .collect()
    }

    fn is_postmaster_line(&self, line: &str) -> bool {
        line.strip_suffix(&self.pgdata)
            .and_then(|start| start.strip_suffix(" -D "))
            .is_some_and(|program| program.ends_with("postgres"))
    }
}

/// The arguments of a process separated by blanks; none for a dead or defunct one.
fn command_line(pid: u32) -> Option<String> {
    if Path::new("/proc/self/cmdline").exists() {
        return read_cmdline(pid);
    }
    let output = Command::new("ps")
        .args(["-o", "command=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!line.is_empty()).then_some(line)
}

fn read_cmdline(pid: u32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&bytes)
        .replace('\0', " ")
        .trim()
        .to_owned();
    (!line.is_empty()).then_some(line)
}

fn process_list() -> Vec<(u32, String)> {
    if Path::new("/proc/self/cmdline").exists() {
        let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        return pids
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|pid| Some((pid, read_cmdline(pid)?)))
            .collect();
    }
    let Ok(output) = Command::new("ps").args(["-axo", "pid=,command="]).output() else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter_map(|line| {
            line.trim()
                .split_once(' ')
                .and_then(|(pid, line)| Some((pid.parse().ok()?, line.trim().to_owned())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_is_believed_only_where_it_is_complete() {
        let file = |status: &str| format!("4711\n/data\n1763700000\n5432\n/run\n\n 1 2\n{status}\n");
        assert_eq!(parse_pid_file(&file("ready   ")), Some((4711, Phase::Ready)));
        assert_eq!(parse_pid_file(&file("stopping")), Some((4711, Phase::Stopping)));
        assert_eq!(parse_pid_file(&file("starting")), Some((4711, Phase::Starting)));
        assert_eq!(parse_pid_file("4711\n"), Some((4711, Phase::Starting)));
        assert_eq!(parse_pid_file("-4711\n/data\n"), None);
        assert_eq!(parse_pid_file(""), None);
    }

    #[test]
    fn only_the_postmaster_of_the_same_folder_is_recognised() {
        let identity = Identity {
            pgdata: "/a/b".into(),
            cluster_name: "tidings-1".into(),
        };
        assert!(identity.is_postmaster_line("/usr/bin/postgres -D /a/b"));
        for other in [
            "/usr/bin/postgres -D /a/bc",
            "/usr/bin/postgres -D /x/a/b",
            "vi -D /a/b",
            "/a/b",
            "",
        ] {
            assert!(!identity.is_postmaster_line(other), "{other}");
        }
        assert!(!identity.is_postmaster(std::process::id()));
    }
}
