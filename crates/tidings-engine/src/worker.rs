//! The worker: claims batches, works on several at once, renews its leases, takes over what dead workers left, sleeps
//! until it is woken, and drains when it is told to stop.

use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use crate::process::{KINDS, process};
use crate::rescue::rescue;
use crate::sandbox_reports;
use std::sync::Arc;
use std::time::Duration;
use tidings_queue::{CHANNEL, ClaimLimits, Claimed, Claimer, FinishReport, promote};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Runs that are moved into the line at once.
const PROMOTED: u32 = 1_000;

/// Rows of other programs that are taken up at once.
const ADOPTED: u32 = 1_000;

/// How often due schedules, arrivals and expired leases are looked for.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// How soon a worker that found nothing looks again before it really sleeps.
const LOOKS: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];

/// How long a failing loop waits before it goes on.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// More rounds than this in one `run_due` mean that something makes work for itself.
const ROUNDS: usize = 10_000;

/// What a worker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerReport {
    /// Jobs whose turn ended.
    pub jobs: u64,
    /// Batches claimed.
    pub batches: u64,
    /// Jobs taken over from dead workers.
    pub rescued: u64,
}

impl Engine {
    /// Works until `stop` is cancelled, then drains: claims nothing more, finishes what it has or gives it back within
    /// the limit.
    ///
    /// # Errors
    /// When the node cannot be registered at the start. Later failures are logged and tried again.
    pub async fn run(&self, stop: CancellationToken) -> Result<WorkerReport, EngineError> {
        let inner = &self.inner;
        register(inner).await?;
        let wake = Arc::new(Notify::new());
        let helpers = CancellationToken::new();
        inner
            .tasks
            .spawn(listen(Arc::clone(inner), Arc::clone(&wake), helpers.clone()));
        inner.tasks.spawn(beat(Arc::clone(inner), helpers.clone()));
        let (sender, rescued) = tokio::sync::mpsc::channel(8);
        inner.tasks.spawn(keep_house(
            Arc::clone(inner),
            Arc::clone(&wake),
            sender,
            helpers.clone(),
        ));
        let mut worker = Worker::new(Arc::clone(inner), rescued);
        worker.work(&stop, &wake).await;
        worker.drain().await;
        helpers.cancel();
        leave(inner).await;
        Ok(worker.report)
    }

    /// Registers this node, which opens the queue of a fresh database.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn register(&self) -> Result<(), EngineError> {
        register(&self.inner).await
    }

    /// Runs everything that is due at the engine's clock, and returns when nothing is: for tests and simulations.
    ///
    /// # Errors
    /// When the database fails, or work makes new work without end.
    pub async fn run_due(&self) -> Result<WorkerReport, EngineError> {
        let inner = &self.inner;
        register(inner).await?;
        let mut report = WorkerReport::default();
        let mut claimer = claimer(inner);
        for _ in 0..ROUNDS {
            tend(inner).await?;
            let mut worked = false;
            for taken in rescue(inner).await? {
                report.rescued += taken.jobs.len() as u64;
                settle(
                    &mut claimer,
                    &mut report,
                    &process(inner, taken.lease, taken.jobs).await,
                );
                worked = true;
            }
            let claimed = claim(inner, &mut claimer).await?;
            if let Some(lease) = claimed.lease {
                report.batches += 1;
                settle(
                    &mut claimer,
                    &mut report,
                    &process(inner, lease, claimed.jobs).await,
                );
                worked = true;
            }
            if !worked {
                return Ok(report);
            }
        }
        Err(EngineError::Conflict {
            problem: format!("work goes on after {ROUNDS} rounds; a job makes itself due again"),
        })
    }
}

async fn register(inner: &Inner) -> Result<(), EngineError> {
    let mut conn = inner.conn().await?;
    let version = env!("CARGO_PKG_VERSION");
    let fence =
        tidings_queue::register(&mut conn, inner.node, &inner.node_name, version, inner.now()).await?;
    if let Some(fence) = fence {
        tracing::warn!(reason = %fence.reason, "the queue is fenced: nothing is sent until an operator lifts the fence");
    }
    Ok(())
}

async fn leave(inner: &Inner) {
    let left = async {
        let mut conn = inner.conn().await?;
        Ok::<_, EngineError>(tidings_queue::deregister(&mut conn, inner.node).await?)
    };
    match left.await {
        Ok(given_back) => tracing::info!(given_back, "the worker has drained"),
        Err(error) => {
            tracing::warn!(%error, "the worker could not sign off; its leases expire by themselves");
        }
    }
}

fn claimer(inner: &Inner) -> Claimer {
    let limits = ClaimLimits {
        tenant_in_flight: inner.limits.tenant_in_flight,
        ..ClaimLimits::default()
    };
    Claimer::new(inner.node, KINDS, limits)
}

fn lease_ms(inner: &Inner) -> i64 {
    i64::try_from(inner.limits.lease.as_millis()).unwrap_or(i64::MAX)
}

async fn claim(inner: &Inner, claimer: &mut Claimer) -> Result<Claimed, EngineError> {
    let mut conn = inner.conn().await?;
    let claimed = claimer
        .claim(&mut conn, inner.limits.claim_batch, inner.now(), lease_ms(inner))
        .await?;
    inner.fail.pass("claim_after_commit");
    Ok(claimed)
}

/// Moves due work into the line: schedules, and rows of other programs.
async fn tend(inner: &Inner) -> Result<bool, EngineError> {
    sandbox_reports::report_due(inner).await?;
    let mut conn = inner.conn().await?;
    let promoted = promote(&mut conn, inner.now(), PROMOTED).await?;
    let adopted = tidings_queue::adopt_arrivals(&mut conn, inner.now(), ADOPTED).await?;
    Ok(promoted > 0 || adopted.ready > 0)
}

fn settle(claimer: &mut Claimer, report: &mut WorkerReport, finished: &[FinishReport]) {
    for one in finished {
        claimer.settle(one);
        report.jobs += one
            .settled
            .iter()
            .map(|settled| u64::from(settled.jobs))
            .sum::<u64>();
    }
}

type Taken = tidings_queue::TakenOver;

/// The main loop's own things.
struct Worker {
    inner: Arc<Inner>,
    claimer: Claimer,
    working: JoinSet<Vec<FinishReport>>,
    rescued: tokio::sync::mpsc::Receiver<Vec<Taken>>,
    report: WorkerReport,
    /// Looks without finding anything since the last work.
    looks: usize,
}

/// What woke the main loop.
enum Woken {
    Stop,
    Finished(Vec<FinishReport>),
    Rescued(Vec<Taken>),
    Look,
}

impl Worker {
    fn new(inner: Arc<Inner>, rescued: tokio::sync::mpsc::Receiver<Vec<Taken>>) -> Self {
        Self {
            claimer: claimer(&inner),
            inner,
            working: JoinSet::new(),
            rescued,
            report: WorkerReport::default(),
            looks: 0,
        }
    }

    async fn work(&mut self, stop: &CancellationToken, wake: &Notify) {
        while !stop.is_cancelled() {
            let pause = match self.fill().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(%error, "claiming failed and is tried again");
                    AFTER_ERROR
                }
            };
            match self.wait(stop, wake, pause).await {
                Woken::Stop => return,
                Woken::Finished(finished) => settle(&mut self.claimer, &mut self.report, &finished),
                Woken::Rescued(taken) => taken.into_iter().for_each(|one| self.start_rescued(one)),
                Woken::Look => {}
            }
        }
    }

    /// Claims until as many batches are under way as may be; says how long to sleep.
    async fn fill(&mut self) -> Result<Duration, EngineError> {
        while self.working.len() < self.inner.limits.batches.max(1) {
            let claimed = claim(&self.inner, &mut self.claimer).await?;
            let Some(lease) = claimed.lease else {
                if self.working.is_empty() {
                    return self.fall_asleep().await;
                }
                break;
            };
            self.wake_up().await?;
            self.report.batches += 1;
            let inner = Arc::clone(&self.inner);
            self.working
                .spawn(async move { process(&inner, lease, claimed.jobs).await });
        }
        Ok(self.inner.limits.poll)
    }

    /// Says that the node sleeps, and looks twice more soon after: who added work just before did not know it yet.
    async fn fall_asleep(&mut self) -> Result<Duration, EngineError> {
        let mut conn = self.inner.conn().await?;
        if self.looks == 0 {
            tidings_queue::set_idle(&mut conn, self.inner.node, true).await?;
        }
        let soon = LOOKS.get(self.looks).copied();
        self.looks = self.looks.saturating_add(1);
        if let Some(soon) = soon {
            return Ok(soon);
        }
        let next = tidings_queue::next_due(&mut conn).await?;
        let until_due = next.map(|due| due.duration_since(self.inner.now()));
        let until_due = until_due
            .and_then(|wait| Duration::try_from(wait).ok())
            .unwrap_or(self.inner.limits.poll);
        // The poll may be set shorter than housekeeping's own pace.
        Ok(until_due.max(HOUSEKEEPING).min(self.inner.limits.poll))
    }

    async fn wake_up(&mut self) -> Result<(), EngineError> {
        if std::mem::take(&mut self.looks) > 0 {
            let mut conn = self.inner.conn().await?;
            tidings_queue::set_idle(&mut conn, self.inner.node, false).await?;
        }
        Ok(())
    }

    fn start_rescued(&mut self, taken: Taken) {
        self.report.rescued += taken.jobs.len() as u64;
        let inner = Arc::clone(&self.inner);
        self.working
            .spawn(async move { process(&inner, taken.lease, taken.jobs).await });
    }

    async fn wait(&mut self, stop: &CancellationToken, wake: &Notify, pause: Duration) -> Woken {
        tokio::select! {
            () = stop.cancelled() => Woken::Stop,
            Some(finished) = self.working.join_next() => Woken::Finished(finished.unwrap_or_else(|error| {
                tracing::error!(%error, "a batch ended abnormally; its lease expires and it is taken over");
                Vec::new()
            })),
            Some(taken) = self.rescued.recv() => Woken::Rescued(taken),
            () = wake.notified() => Woken::Look,
            () = tokio::time::sleep(pause) => Woken::Look,
        }
    }

    /// Finishes what is under way within the limit; what is not finished then is given back when the node signs off.
    async fn drain(&mut self) {
        self.inner.begin_draining();
        let draining = async {
            let mut conn = self.inner.conn().await?;
            Ok::<_, EngineError>(tidings_queue::set_draining(&mut conn, self.inner.node).await?)
        };
        if let Err(error) = draining.await {
            tracing::warn!(%error, "the node could not say that it drains");
        }
        let limit = self.inner.limits.drain;
        let finish = async {
            while let Some(finished) = self.working.join_next().await {
                settle(&mut self.claimer, &mut self.report, &finished.unwrap_or_default());
            }
        };
        if tokio::time::timeout(limit, finish).await.is_err() {
            tracing::warn!(
                batches = self.working.len(),
                "the drain took too long; what is left is given back"
            );
            self.working.shutdown().await;
        }
    }
}

/// Wakes the main loop when another process adds work.
async fn listen(inner: Arc<Inner>, wake: Arc<Notify>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let hear = async {
            let mut listener = inner.store.listen(CHANNEL).await?;
            loop {
                listener.wait().await?;
                wake.notify_one();
            }
        };
        let heard: Result<(), EngineError> = tokio::select! {
            () = stop.cancelled() => return,
            heard = hear => heard,
        };
        if let Err(error) = heard {
            tracing::warn!(%error, "listening for new work failed; polling goes on");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(AFTER_ERROR) => {}
        }
    }
}

/// Renews the node's leases while it lives.
async fn beat(inner: Arc<Inner>, stop: CancellationToken) {
    let every = inner.limits.lease / 3;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        let beaten = async {
            let mut conn = inner.conn().await?;
            tidings_queue::heartbeat(&mut conn, inner.node, inner.now(), lease_ms(&inner)).await?;
            let lease =
                jiff::SignedDuration::try_from(inner.limits.lease).unwrap_or(jiff::SignedDuration::ZERO);
            let since = inner.now().saturating_sub(lease).unwrap_or(jiff::Timestamp::MIN);
            let nodes = tidings_queue::alive_nodes(&mut conn, since).await?;
            inner.limiter.set_nodes(u32::try_from(nodes.len()).unwrap_or(1));
            Ok::<_, EngineError>(())
        };
        if let Err(error) = beaten.await {
            tracing::warn!(%error, "a heartbeat failed; the leases expire unless a later one succeeds");
        }
    }
}

/// Looks for what came due, what other programs added and what dead workers left.
async fn keep_house(
    inner: Arc<Inner>,
    wake: Arc<Notify>,
    rescued: tokio::sync::mpsc::Sender<Vec<Taken>>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(HOUSEKEEPING) => {}
        }
        match tend(&inner).await {
            Ok(true) => wake.notify_one(),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "housekeeping failed and is tried again"),
        }
        match rescue(&inner).await {
            Ok(taken) if !taken.is_empty() => {
                if rescued.send(taken).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "rescue failed and is tried again"),
        }
    }
}
