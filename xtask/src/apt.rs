//! Installing packages of Debian and its relatives, without letting them start servers of their own.

use crate::shell;
use anyhow::Context as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tells the package scripts not to start anything (exit code 101 is "forbidden by policy").
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Has the switch that makes PostgreSQL's packages create a cluster for everybody.
const CREATE_CLUSTER: &str = "/etc/postgresql-common/createcluster.conf";

/// Whether packages can be installed here.
pub fn available() -> bool {
    shell::is_root() && shell::on_path("apt-get").is_some()
}

/// Installs PostgreSQL's programs; no cluster is made, because Tidings makes its own.
pub fn install_postgresql() -> anyhow::Result<()> {
    let _policy = Replaced::write(POLICY, "#!/bin/sh\nexit 101\n", 0o755)?;
    update()?;
    install("postgresql-common")?;
    let _switch = Replaced::write(CREATE_CLUSTER, "create_main_cluster = false\n", 0o644)?;
    install("postgresql")
}

/// Installs Redis; it is not started.
pub fn install_redis() -> anyhow::Result<()> {
    let _policy = Replaced::write(POLICY, "#!/bin/sh\nexit 101\n", 0o755)?;
    update()?;
    install("redis-server")
}

/// Installs MariaDB's server without anything that starts it. What makes its system tables needs a tool of the client's
/// package, on which the server's does not depend.
pub fn install_mariadb() -> anyhow::Result<()> {
    let _policy = Replaced::write(POLICY, "#!/bin/sh\nexit 101\n", 0o755)?;
    update()?;
    install("mariadb-client-core")?;
    install("mariadb-server-core")
}

/// Installs Prometheus, for its tool; it is not started.
pub fn install_prometheus() -> anyhow::Result<()> {
    let _policy = Replaced::write(POLICY, "#!/bin/sh\nexit 101\n", 0o755)?;
    update()?;
    install("prometheus")
}

/// Installs Chromium with the program that drives it.
pub fn install_chromium() -> anyhow::Result<()> {
    let _policy = Replaced::write(POLICY, "#!/bin/sh\nexit 101\n", 0o755)?;
    update()?;
    install("chromium")?;
    install("chromium-driver")
}

/// Installs Postfix without a configuration, so that nothing of it runs now or at the next start of the machine.
pub fn install_postfix() -> anyhow::Result<()> {
    let _policy = Replaced::write(POLICY, "#!/bin/sh\nexit 101\n", 0o755)?;
    update()?;
    answer("postfix postfix/main_mailer_type select No configuration\n")?;
    install("postfix")
}

/// Installs what makes virtual environments for Python, which Debian keeps apart.
pub fn install_python_venv() -> anyhow::Result<()> {
    update()?;
    install("python3-venv")
}

/// Answers a question of a package before it is asked.
fn answer(line: &str) -> anyhow::Result<()> {
    let mut command = Command::new("debconf-set-selections");
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .spawn()
        .context("cannot run debconf-set-selections")?;
    if let Some(mut input) = child.stdin.take() {
        std::io::Write::write_all(&mut input, line.as_bytes())?;
    }
    let status = child.wait()?;
    anyhow::ensure!(status.success(), "debconf-set-selections failed with {status}");
    Ok(())
}

fn update() -> anyhow::Result<()> {
    shell::run(apt_get().args(["update", "-qq"]))
}

fn install(package: &str) -> anyhow::Result<()> {
    shell::run(apt_get().args([
        "install",
        "-y",
        "-qq",
        "--no-install-recommends",
        "-o",
        "Dpkg::Options::=--force-confold",
        package,
    ]))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("UCF_FORCE_CONFFOLD", "1")
        .stdin(std::process::Stdio::null());
    // What it prints must not mix with what a caller reads from our output.
    command.stdout(std::io::stderr());
    command
}

/// A file with other content for a while; what was there before comes back at the end.
struct Replaced {
    path: PathBuf,
    before: Option<Vec<u8>>,
}

impl Replaced {
    fn write(path: &str, content: &str, mode: u32) -> anyhow::Result<Self> {
        let path = Path::new(path).to_owned();
        let before = std::fs::read(&path).ok();
        let replaced = Self { path, before };
        std::fs::write(&replaced.path, content)
            .with_context(|| format!("cannot write {}", replaced.path.display()))?;
        std::fs::set_permissions(&replaced.path, std::fs::Permissions::from_mode(mode))?;
        Ok(replaced)
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        let restored = match &self.before {
            Some(content) => std::fs::write(&self.path, content),
            None => std::fs::remove_file(&self.path),
        };
        if let Err(error) = restored {
            eprintln!("warning: {} could not be restored: {error}", self.path.display());
        }
    }
}
