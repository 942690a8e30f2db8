//! The real binary, run as a user would: commands, and a serving process that can be killed.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// How long one start may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How often a starting process is asked.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One installation under proof: how to start it, and where it answers.
#[derive(Debug)]
pub struct Installation {
    binary: PathBuf,
    database_url: String,
    folder: PathBuf,
    port: u16,
    lease_s: u32,
    more: BTreeMap<&'static str, String>,
    /// An API key of its tenant.
    pub key: String,
    /// For calls to it.
    pub client: reqwest::Client,
}

impl Installation {
    /// Migrates, applies the file and makes a key for the tenant. Its processes may be silent for `lease_s`.
    pub async fn prepare(
        database_url: &str,
        folder: &Path,
        apply: &str,
        tenant: &str,
        lease_s: u32,
    ) -> Result<Self> {
        let file = folder.join("apply.toml");
        std::fs::write(&file, apply).with_context(|| format!("{} cannot be written", file.display()))?;
        #[expect(clippy::disallowed_methods, reason = "calls go to this machine's own process")]
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .build()?;
        let mut installation = Self {
            binary: sibling_binary()?,
            database_url: database_url.to_owned(),
            folder: folder.to_owned(),
            port: std::net::TcpListener::bind(("127.0.0.1", 0))?
                .local_addr()?
                .port(),
            lease_s,
            more: BTreeMap::new(),
            key: String::new(),
            client,
        };
        installation.cli(&["migrate"]).await?;
        installation.cli(&["apply", &file.to_string_lossy()]).await?;
        installation.key = installation.make_key(tenant).await?;
        Ok(installation)
    }

    /// Sets a variable of its processes, or takes it away.
    pub fn set(&mut self, name: &'static str, value: Option<String>) {
        match value {
            Some(value) => self.more.insert(name, value),
            None => self.more.remove(name),
        };
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .env("DATABASE_URL", &self.database_url)
            .env("TIDINGS_DATA_DIR", &self.folder)
            .env("TIDINGS_MASTER_KEY", "00".repeat(31) + "01")
            .env("TIDINGS_ALLOW_LOOPBACK", "true")
            .env("TIDINGS_LEASE_SECONDS", self.lease_s.to_string())
            .env("MAX_CONCURRENT_JOBS", "256")
            .env("POLL_INTERVAL_MS", "200")
            .env("RUST_LOG", "warn")
            .env_remove("REDIS_URL")
            .envs(&self.more)
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end; what it printed.
    pub async fn cli(&self, args: &[&str]) -> Result<String> {
        let output = self
            .command(args)
            .output()
            .await
            .context("the tidings binary could not be run")?;
        ensure!(
            output.status.success(),
            "tidings {} failed: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts serving a role; `fail_point` is `name@n`.
    pub fn serve(&self, role: &str, fail_point: Option<&str>) -> Result<Child> {
        match fail_point {
            Some(point) => self.serve_with(role, &[("TIDINGS_FAIL_POINTS", point)]),
            None => self.serve_with(role, &[]),
        }
    }

    /// Starts serving a role with more in its environment.
    pub fn serve_with(&self, role: &str, environment: &[(&str, &str)]) -> Result<Child> {
        let mut command = self.command(&[
            "serve",
            "--no-migrate",
            "--role",
            role,
            "--listen",
            &format!("127.0.0.1:{}", self.port),
        ]);
        command.envs(environment.iter().copied());
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("serve.log"))?;
        command.stdout(Stdio::null()).stderr(log);
        command.spawn().context("the engine could not be started")
    }

    /// Waits until it answers or has died.
    pub async fn up(&self, child: &mut Child) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < START_LIMIT {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            let answer = self.client.get(self.url("/readyz")).send().await;
            if answer.is_ok_and(|response| response.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        bail!(
            "the engine did not answer within {START_LIMIT:?}; see {}",
            self.folder.join("serve.log").display()
        )
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Where its database is.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Asks for a run of a campaign; whether it was taken down.
    pub async fn run_campaign(&self, campaign: &str) -> Result<bool> {
        let response = self
            .client
            .post(self.url(&format!("/v1/campaigns/{campaign}/run")))
            .bearer_auth(&self.key)
            .send()
            .await?;
        Ok(response.status().is_success())
    }

    /// Makes a key for a tenant.
    pub async fn make_key(&self, tenant: &str) -> Result<String> {
        let key = self.cli(&["key", "create", "--tenant", tenant, "--json"]).await?;
        let key: Value = serde_json::from_str(key.trim()).context("key create --json did not print JSON")?;
        let secret = key["secret"]
            .as_str()
            .context("key create --json printed no secret")?;
        Ok(secret.to_owned())
    }

    /// Puts jobs back that were set aside because process after process died with them, as a person would; how many.
    pub async fn replay_poison(&self) -> Result<usize> {
        let replayed = self
            .cli(&["queue", "replay", "--cause", "poison", "--json"])
            .await?;
        let replayed: Value = serde_json::from_str(replayed.trim()).context("queue replay --json")?;
        Ok(replayed["replayed"].as_array().map_or(0, Vec::len))
    }

    /// Submits one message under an idempotency key; the status and the answer.
    pub async fn submit(&self, body: &Value, idempotency_key: &str) -> Result<(u16, Value)> {
        self.submit_as(&self.key, body, idempotency_key).await
    }

    /// The same with another tenant's key.
    pub async fn submit_as(&self, key: &str, body: &Value, idempotency_key: &str) -> Result<(u16, Value)> {
        let response = self
            .client
            .post(self.url("/v1/messages"))
            .bearer_auth(key)
            .header("Idempotency-Key", idempotency_key)
            .json(body)
            .send()
            .await?;
        let status = response.status().as_u16();
        Ok((status, response.json().await?))
    }
}

/// Whether the process met its fail point in time; else it is killed.
pub async fn dies_within(child: &mut Child, life: Duration) -> Result<bool> {
    let Ok(status) = tokio::time::timeout(life, child.wait()).await else {
        child.kill().await?;
        return Ok(false);
    };
    let status = status?;
    ensure!(
        status.code().is_none(),
        "the engine ended by itself with {status}; see serve.log"
    );
    Ok(true)
}

/// Sends a signal (`TERM`, `STOP`) to a process that was not waited for.
pub async fn signal(pid: u32, name: &str) -> Result<()> {
    let sent = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status()
        .await
        .context("kill(1) could not be run")?;
    ensure!(sent.success(), "SIG{name} could not be sent to process {pid}");
    Ok(())
}

/// A figure of a process's memory, in kibibytes: `VmRSS` what it holds, `VmHWM` the most it ever held (proc(5)). None when
/// the process has ended or the system does not say.
pub fn memory_kib(pid: u32, figure: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// A fresh folder for a proof.
pub fn folder(name: &str) -> Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("tidings-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    Ok(path)
}

/// The `tidings` binary beside this one.
fn sibling_binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let binary = own.parent().unwrap_or(Path::new(".")).join("tidings");
    ensure!(
        binary.exists(),
        "{} is missing; run the proofs by cargo xtask, which builds it",
        binary.display()
    );
    Ok(binary)
}
