//! Kills the real process at random fail points under load, restarts it, and holds what became of every
//! acknowledged message against the stand-in provider's own ledger.

use crate::standin::StandIn;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidings_core::Dice;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// Where the process can be made to die, in the order of a message's path.
const FAIL_POINTS: &[&str] = &[
    "accept_before_commit",
    "accept_after_commit",
    "claim_after_commit",
    "gate_before_commit",
    "dispatch_after_commit",
    "provider_before_call",
    "provider_after_accept",
    "outcome_before_commit",
    "outcome_after_commit",
    "rescue_before_commit",
    "resolve_before_commit",
    "batch_before_commit",
];

/// How long the engine may take to settle everything after the last kill.
const SETTLE_LIMIT: Duration = Duration::from_secs(180);
/// How long one start may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);
/// A process that meets no fail point is killed after at most this long.
const LIFE_LIMIT_MS: u64 = 900;

/// What the proof needs.
#[derive(Debug)]
pub struct CrashOptions {
    /// How often to kill.
    pub kills: u32,
    /// Seed of the choice of fail points and moments.
    pub seed: u64,
    /// The `tidings` binary.
    pub binary: PathBuf,
    /// URL of a database of its own.
    pub database_url: String,
    /// A folder for the engine's files.
    pub folder: PathBuf,
}

/// One engine under test: how to start it, and where it answers.
struct Engine {
    options: CrashOptions,
    port: u16,
    key: String,
    client: reqwest::Client,
}

/// Acknowledged message ids, and what stops the submitters.
#[derive(Default)]
struct Load {
    acknowledged: Mutex<Vec<String>>,
    submitted: AtomicU64,
    stop: AtomicBool,
}

/// Runs the proof; the answer is the JSON line to print.
pub async fn run(options: CrashOptions, talk: bool) -> Result<Value> {
    let standin = StandIn::start().await?;
    let kills = options.kills;
    let mut dice = Dice::from_seed(options.seed);
    let engine = Arc::new(prepare(options, &standin).await?);
    let load = Arc::new(Load::default());
    let submitters: Vec<_> = (0..SUBMITTERS).map(|lane| submit(Arc::clone(&engine), Arc::clone(&load), lane)).collect();
    let submitting = futures::future::join_all(submitters);
    let killing = kill_repeatedly(&engine, &load, kills, &mut dice, talk);
    let (_, killed) = tokio::join!(submitting, killing);
    let points = killed?;
    settle(&engine, &standin, &load).await.map(|mut summary| {
        summary["kills"] = json!(kills);
        summary["by_fail_point"] = json!(points);
        summary
    })
}

/// Callers that submit at once.
const SUBMITTERS: usize = 8;

async fn prepare(options: CrashOptions, standin: &StandIn) -> Result<Engine> {
    let port = free_port()?;
    let file = options.folder.join("crash.toml");
    std::fs::write(&file, apply_file(standin)).with_context(|| format!("{} cannot be written", file.display()))?;
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .build()
        .context("the HTTP client could not be built")?;
    let mut engine = Engine { options, port, key: String::new(), client };
    engine.cli(&["migrate"]).await?;
    engine.cli(&["apply", &file.to_string_lossy()]).await?;
    let key = engine.cli(&["key", "create", "--tenant", "crash", "--json"]).await?;
    let key: Value = serde_json::from_str(key.trim()).context("key create --json did not print JSON")?;
    engine.key = key["secret"].as_str().context("key create --json printed no secret")?.to_owned();
    Ok(engine)
}

fn apply_file(standin: &StandIn) -> String {
    format!(
        r#"[[tenants]]
slug = "crash"
name = "Crash proof"

[tenants.policy]
quiet_hours = []
contact_quiet_hours = []

[[tenants.connections]]
name = "stand-in"
provider = "sandbox"
channel = "email"

[tenants.connections.settings]
base_url = "http://{}"
"#,
        standin.address
    )
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

impl Engine {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.options.binary);
        command
            .args(args)
            .env("DATABASE_URL", &self.options.database_url)
            .env("TIDINGS_DATA_DIR", &self.options.folder)
            .env("TIDINGS_MASTER_KEY", "00".repeat(31) + "01")
            .env("TIDINGS_ALLOW_LOOPBACK", "true")
            .env("TIDINGS_LEASE_SECONDS", "5")
            .env("POLL_INTERVAL_MS", "100")
            .env("RUST_LOG", "warn")
            .kill_on_drop(true);
        command
    }

    async fn cli(&self, args: &[&str]) -> Result<String> {
        let output = self.command(args).output().await.context("the tidings binary could not be run")?;
        ensure!(
            output.status.success(),
            "tidings {} failed: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn start(&self, fail_point: Option<(&str, u64)>) -> Result<Child> {
        let mut command = self.command(&["serve", "--no-migrate", "--listen", &format!("127.0.0.1:{}", self.port)]);
        if let Some((point, nth)) = fail_point {
            command.env("TIDINGS_FAIL_POINTS", format!("{point}@{nth}"));
        }
        let log = std::fs::File::options().create(true).append(true).open(self.options.folder.join("serve.log"))?;
        command.stdout(Stdio::null()).stderr(log);
        command.spawn().context("the engine could not be started")
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

}

/// Submits one message after the other, each until it is acknowledged; a lost answer is asked for again under
/// the same idempotency key.
async fn submit(engine: Arc<Engine>, load: Arc<Load>, lane: usize) {
    for number in 0u64.. {
        let body = json!({
            "to": { "contact": { "external_id": format!("c{lane}-{number}"), "email": format!("c{lane}-{number}@example.com") } },
            "message_type": "proof",
            "urgency": "critical",
            "category": "transactional",
            "content": { "subject": "Kill proof", "body": "Sent once, or not at all." },
            "source_reference": format!("{lane}-{number}"),
        });
        loop {
            if load.stop.load(Ordering::Relaxed) {
                return;
            }
            let sent = engine
                .client
                .post(engine.url("/v1/messages"))
                .bearer_auth(&engine.key)
                .header("Idempotency-Key", format!("{lane}-{number}"))
                .json(&body)
                .send()
                .await;
            let Ok(response) = sent else {
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let acknowledged = response.status().is_success();
            let Ok(answer) = response.json::<Value>().await else { continue };
            if let (true, Some(id)) = (acknowledged, answer["message_id"].as_str()) {
                load.acknowledged.lock().await.push(id.to_owned());
                load.submitted.fetch_add(1, Ordering::Relaxed);
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Starts and kills the engine; counts the fail points that were met ("sigkill" where none was).
async fn kill_repeatedly(
    engine: &Engine,
    load: &Load,
    kills: u32,
    dice: &mut Dice,
    talk: bool,
) -> Result<std::collections::BTreeMap<String, u32>> {
    let mut met = std::collections::BTreeMap::new();
    let result = async {
        for kill in 0..kills {
            if talk && kill % 10 == 0 {
                eprintln!("{kill} kills, {} messages acknowledged", load.submitted.load(Ordering::Relaxed));
            }
            let index = usize::try_from(dice.below(FAIL_POINTS.len() as u64)).unwrap_or(0);
            let nth = 1 + dice.below(6);
            let mut child = engine.start(Some((FAIL_POINTS[index], nth))).await?;
            wait_until_up(engine, &mut child).await?;
            let life = Duration::from_millis(100 + dice.below(LIFE_LIMIT_MS));
            let name = match tokio::time::timeout(life, child.wait()).await {
                Ok(status) => {
                    ensure!(!status?.success(), "the engine ended by itself with exit code 0");
                    FAIL_POINTS[index]
                }
                Err(_) => {
                    child.kill().await?;
                    "sigkill"
                }
            };
            *met.entry(name.to_owned()).or_insert(0) += 1;
        }
        Ok(())
    }
    .await;
    load.stop.store(true, Ordering::Relaxed);
    result.map(|()| met)
}

/// Waits until the engine answers or has died at its fail point.
async fn wait_until_up(engine: &Engine, child: &mut Child) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < START_LIMIT {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        let answer = engine.client.get(engine.url("/readyz")).send().await;
        if answer.is_ok_and(|response| response.status().is_success()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("the engine did not answer within {START_LIMIT:?}; see serve.log in the proof's folder")
}

/// Lets the engine finish, then counts.
async fn settle(engine: &Engine, standin: &StandIn, load: &Load) -> Result<Value> {
    let mut child = engine.start(None).await?;
    wait_until_up(engine, &mut child).await?;
    let acknowledged = load.acknowledged.lock().await.clone();
    let mut database = PgConnection::connect(&engine.options.database_url).await?;
    let started = Instant::now();
    let mut open = on_the_way(&mut database).await?;
    while started.elapsed() < SETTLE_LIMIT && open > 0 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        open = on_the_way(&mut database).await?;
    }
    child.kill().await?;
    let unknown = unknown(&mut database).await?;
    let ledger = standin.ledger();
    let duplicate = ledger.by_message.values().filter(|accepts| accepts.len() > 1).count();
    let lost: Vec<&String> =
        acknowledged.iter().filter(|id| !ledger.by_message.contains_key(*id) && !unknown.contains(*id)).collect();
    for id in lost.iter().take(10) {
        eprintln!("lost: {id}");
    }
    Ok(json!({
        "kills": 0,
        "lost": lost.len(),
        "duplicate": duplicate,
        "unknown": unknown.len(),
        "acknowledged": acknowledged.len(),
        "accepted_by_provider": ledger.by_message.len(),
        "unsettled": open,
        "settled_in_s": started.elapsed().as_secs(),
    }))
}

/// Messages whose end is not known yet and not waited for by a person.
async fn on_the_way(database: &mut PgConnection) -> Result<i64> {
    let open: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM messages m WHERE m.status IN ('pending', 'queued')
         AND NOT EXISTS (SELECT FROM unknown_deliveries u WHERE u.tenant_id = m.tenant_id AND u.message_id = m.id AND u.held)",
    )
    .fetch_one(database)
    .await?;
    Ok(open)
}

/// Messages with a delivery that is listed as unknown.
async fn unknown(database: &mut PgConnection) -> Result<HashSet<String>> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT message_id::text FROM unknown_deliveries").fetch_all(database).await?;
    Ok(ids.into_iter().collect())
}

/// A fresh folder for the proof, removed when it is dropped.
pub fn folder(name: &str) -> Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("tidings-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    Ok(path)
}

/// The `tidings` binary beside this one.
pub fn sibling_binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let binary = own.parent().unwrap_or(Path::new(".")).join("tidings");
    ensure!(binary.exists(), "{} is missing; build it with cargo build --release -p tidings-server", binary.display());
    Ok(binary)
}
