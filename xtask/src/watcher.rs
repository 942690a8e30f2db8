//! Cleaning up after ourselves even when we are killed.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// When process $1 is gone: ends the PostgreSQL of data directory $2 and the processes $3 (if any), and removes the folder $2.
const SCRIPT: &str = r#"
while kill -0 "$1" 2>/dev/null; do sleep 1; done
pid=$(head -n 1 "$2/postgres/cluster/postmaster.pid" 2>/dev/null) && kill -INT "$pid" 2>/dev/null
[ -n "$3" ] && kill -KILL $3 2>/dev/null
for try in 1 2 3 4 5 6 7 8 9 10; do
  [ -e "$2/postgres/cluster/postmaster.pid" ] || break
  sleep 1
done
rm -rf "$2""#;

/// Ctrl-C ends us without a word; this small process then stops what we started. It is in a group of its own, so Ctrl-C misses it.
pub fn start(dir: &Path, others: &[u32]) -> std::io::Result<()> {
    let others: Vec<String> = others.iter().map(u32::to_string).collect();
    let mut command = Command::new("sh");
    command
        .args(["-c", SCRIPT, "tidings-watcher", &std::process::id().to_string()])
        .arg(dir)
        .arg(others.join(" "))
        .current_dir("/");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map(drop)
}
