//! One process of Tidings: the engine, its workers, its HTTP server, and how they stop.

use crate::config::Config;
use crate::installation::Installation;
use anyhow::{Context, Result};
use metrics_exporter_prometheus::PrometheusHandle;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tidings_api::{ApiSettings, ApiState};
use tidings_core::retry::Schedule;
use tidings_core::{Clock, MessageType};
use tidings_engine::{Engine, EngineOptions, FailPoints, Limits, ReconcilePace, RunPace};
use tidings_providers::egress::{Egress, EgressPolicy};
use tidings_store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a process does.
#[derive(Clone, Copy, Debug)]
pub struct Roles {
    /// Answers HTTP.
    pub api: bool,
    /// Works off the queue.
    pub worker: bool,
    /// Runs campaigns, and keeps house: retention, figures, jobs that no list knows.
    pub scheduler: bool,
}

/// A running process.
#[derive(Debug)]
pub struct Node {
    /// The engine.
    pub engine: Engine,
    /// Where it answers HTTP.
    pub address: Option<SocketAddr>,
    /// Where it shows its figures beside that.
    pub metrics_address: Option<SocketAddr>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// How often the metrics recorder tidies up.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// How often figures that are counted in the database are refreshed for `/metrics`.
const FIGURES_INTERVAL: Duration = Duration::from_secs(15);

/// The same where counting takes long: it never keeps the database busy for more than this part of the time.
const FIGURES_SHARE: u32 = 20;

/// At least this often, however long it takes.
const FIGURES_INTERVAL_MAX: Duration = Duration::from_mins(5);

/// Builds the engine of an installation, not yet working.
pub fn engine(installation: &Installation) -> Result<Engine> {
    engine_on(
        installation,
        installation.store.clone(),
        Arc::new(installation.clock),
    )
}

/// The same engine on another store and by another clock, for simulations.
pub fn engine_on(installation: &Installation, store: Store, clock: Arc<dyn Clock>) -> Result<Engine> {
    let config = &installation.config;
    let policy = if config.allow_loopback {
        EgressPolicy::for_stand_ins()
    } else {
        EgressPolicy::default()
    };
    let fail_points = installation
        .environment
        .get(&["TIDINGS_FAIL_POINTS"])
        .unwrap_or_default();
    let words: Vec<String> = fail_points
        .split(',')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    Ok(Engine::new(EngineOptions {
        store,
        clock,
        seed: installation.seed()?,
        node_name: format!("{}:{}", host_name(), std::process::id()),
        public_base_url: config.public_base_url(),
        egress: Egress::new(policy).context("the HTTP client could not be built")?,
        limits: limits(config),
        schedule: schedule(config),
        disabled_types: disabled_types(config)?,
        environment: installation.environment.campaigns(),
        redis: config.redis.clone(),
        fail_points: FailPoints::arm(&words).context("TIDINGS_FAIL_POINTS")?,
    }))
}

fn disabled_types(config: &Config) -> Result<BTreeSet<MessageType>> {
    let parse = |word: &String| {
        MessageType::parse(word)
            .with_context(|| format!("ENABLE_{} names no message type", word.to_uppercase()))
    };
    config.disabled_types.iter().map(parse).collect()
}

fn limits(config: &Config) -> Limits {
    Limits {
        calls: config.max_concurrent_jobs,
        lease: config.lease,
        poll: config.poll_interval,
        drain: config.drain,
        ..Limits::default()
    }
}

fn schedule(config: &Config) -> Schedule {
    let mut schedule = Schedule {
        send_retries: config.max_retries,
        ..Schedule::default()
    };
    if let Some(delay) = config.retry_delay {
        schedule.send = vec![delay];
    }
    schedule
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}

/// Starts the roles. The address is bound before this returns, so a port that is taken is an error here.
pub async fn start(
    installation: &Installation,
    roles: Roles,
    listen: SocketAddr,
    metrics: PrometheusHandle,
) -> Result<Node> {
    let engine = engine(installation)?;
    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    // First: a process whose port is taken must not begin to work.
    let state = api_state(&engine, metrics.clone());
    let address = if roles.api {
        let router = tidings_api::router(state.clone(), &engine.node().to_string());
        Some(listen_on(router, listen, "TIDINGS_LISTEN", &tasks, &stop).await?)
    } else {
        None
    };
    let metrics_address = match installation.config.metrics_listen {
        Some(listen) => {
            let router = tidings_api::watch_router(state);
            Some(listen_on(router, listen, "TIDINGS_METRICS_LISTEN", &tasks, &stop).await?)
        }
        None => None,
    };
    if roles.api
        && let Some(address) = installation.config.mail_listen
    {
        let tls = installation.config.mail_tls.as_ref();
        crate::mail_in::listen(&engine, address, tls, &tasks, &stop).await?;
    }
    if roles.worker {
        let (engine, stop) = (engine.clone(), stop.clone());
        tasks.spawn(async move {
            // Without workers nothing is sent: however they end, a panic included, the process ends too, and whoever
            // watches it starts it again.
            let _ended = stop.clone().drop_guard();
            if let Err(error) = engine.run(stop).await {
                tracing::error!(%error, "the workers ended");
            }
        });
    }
    if roles.scheduler {
        let (engine, stop) = (engine.clone(), stop.clone());
        tasks.spawn(async move { engine.keep_up(stop).await });
    }
    if roles.scheduler {
        let (scheduling, stopped) = (engine.clone(), stop.clone());
        tasks.spawn(async move { scheduling.schedule_campaigns(stopped).await });
        let (watching, stopped) = (engine.clone(), stop.clone());
        tasks.spawn(async move { watching.watch_alerts(stopped).await });
        let (counting, stopped) = (engine.clone(), stop.clone());
        tasks.spawn(async move { counting.count_deliveries(stopped).await });
        let (asking, stopped) = (engine.clone(), stop.clone());
        tasks.spawn(async move { asking.reconcile(ReconcilePace::default(), stopped).await });
        let (engine, stop) = (engine.clone(), stop.clone());
        tasks.spawn(async move { engine.run_campaigns(RunPace::default(), stop).await });
    }
    if roles.api {
        tasks.spawn(refresh_figures(engine.clone(), stop.clone()));
    }
    let upkeep = stop.clone();
    tasks.spawn(async move {
        while tokio::time::timeout(UPKEEP_INTERVAL, upkeep.cancelled())
            .await
            .is_err()
        {
            metrics.run_upkeep();
        }
    });
    Ok(Node {
        engine,
        address,
        metrics_address,
        tasks,
        stop,
    })
}

/// Counts again and again until `stop` is cancelled.
async fn refresh_figures(engine: Engine, stop: CancellationToken) {
    loop {
        let began = std::time::Instant::now();
        if let Err(error) = engine.refresh_figures().await {
            tracing::warn!(%error, "figures could not be refreshed");
        }
        let pause = (began.elapsed() * FIGURES_SHARE).clamp(FIGURES_INTERVAL, FIGURES_INTERVAL_MAX);
        if tokio::time::timeout(pause, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}

fn api_state(engine: &Engine, metrics: PrometheusHandle) -> ApiState {
    let settings = ApiSettings {
        metrics: Arc::new(move || metrics.render()),
    };
    ApiState::new(engine.clone(), settings)
}

/// Answers HTTP at an address; `setting` is the variable that names it.
async fn listen_on(
    router: axum::Router,
    listen: SocketAddr,
    setting: &str,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; is another process there? Set {setting}"))?;
    let address = listener.local_addr()?;
    let stop = stop.clone();
    tasks.spawn(async move {
        let _ended = stop.clone().drop_guard();
        let service =
            axum::serve(listener, router.into_make_service()).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = service.await {
            tracing::error!(%error, "an HTTP server ended");
        }
    });
    Ok(address)
}

impl Node {
    /// Returns when a part ended that nobody told to end.
    pub async fn broken(&self) {
        self.stop.cancelled().await;
    }

    /// Stops claiming and accepting, lets what was begun end within the limit, and returns.
    pub async fn stop(self, limit: Duration) -> Result<()> {
        self.stop.cancel();
        self.tasks.close();
        // The workers release what they hold within their own limit; this one is for a hanging connection.
        let drained = tokio::time::timeout(limit + Duration::from_secs(3), self.tasks.wait()).await;
        if drained.is_err() {
            tracing::warn!("not everything ended in time; leases bring back what was begun");
        }
        let _ = tokio::time::timeout(Duration::from_secs(2), self.engine.close()).await;
        Ok(())
    }
}

/// Returns at SIGTERM or SIGINT.
pub async fn until_told_to_stop() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
    }
    Ok(())
}
