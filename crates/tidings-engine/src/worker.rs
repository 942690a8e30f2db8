//! The worker: claims batches, works on several at once, renews its leases, takes over what dead workers left, sleeps
//! until it is woken, and drains when it is told to stop.

use crate::claims::{claim, claim_lines, claimer};
use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use crate::process::process;
use crate::rescue;
use crate::sandbox_reports;
use futures::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::TenantId;
use tidings_core::job::JobKind;
use tidings_queue::{CHANNEL, ClaimedJob, Claimer, FinishReport, LeaseId, ParkedWork, TakenOver, promote};
use tokio::sync::{Notify, watch};
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

/// Single jobs that are worked on alone before others have their turn again.
const SINGLES: usize = 16;

/// Batches from lines that wait for a rate limit, beside the ordinary ones: they are small, and none may keep others from
/// beginning. A line has only a few of them at work, so one whose provider hangs leaves room for the others.
const LINE_BATCHES: usize = 32;

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
        inner.limiter.run_ahead();
        let wake = Arc::new(Notify::new());
        let helpers = CancellationToken::new();
        inner
            .tasks
            .spawn(listen(Arc::clone(inner), Arc::clone(&wake), helpers.clone()));
        inner.tasks.spawn(beat(Arc::clone(inner), helpers.clone()));
        let (sender, parked) = watch::channel(ParkedWork::default());
        inner.tasks.spawn(keep_house(
            Arc::clone(inner),
            Arc::clone(&wake),
            sender,
            helpers.clone(),
        ));
        let mut worker = Worker::new(Arc::clone(inner), parked);
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
            rescue::look(inner).await?;
            let group = rescue::group(inner).await?;
            // One batch at a time: a single job is alone in any case.
            let taken = match group {
                Some(group) => Some(group),
                None => rescue::single(inner).await?,
            };
            if let Some(TakenOver { lease, jobs }) = taken {
                report.rescued += jobs.len() as u64;
                work_off(inner, lease, jobs, &mut claimer, &mut report).await?;
                worked = true;
            }
            let claimed = claim(inner, &mut claimer).await?;
            let from_lines = claim_lines(inner, &mut claimer).await?;
            for claimed in [claimed, from_lines.claimed] {
                if let Some(lease) = claimed.lease {
                    report.batches += 1;
                    work_off(inner, lease, claimed.jobs, &mut claimer, &mut report).await?;
                    worked = true;
                }
            }
            inner.limiter.ended(&from_lines.keys);
            if !worked {
                return Ok(report);
            }
        }
        Err(EngineError::Conflict {
            problem: format!("work goes on after {ROUNDS} rounds; a job makes itself due again"),
        })
    }
}

/// Works on a batch here and now.
async fn work_off(
    inner: &Inner,
    lease: LeaseId,
    jobs: Vec<ClaimedJob>,
    claimer: &mut Claimer,
    report: &mut WorkerReport,
) -> Result<(), EngineError> {
    let count = jobs.len();
    let reports = process(inner, lease, jobs).await;
    settle(claimer, report, &reports);
    if ended(&reports) < count {
        return Err(EngineError::Conflict {
            problem: "a batch ended without an end for each job; see the errors logged before".to_owned(),
        });
    }
    Ok(())
}

/// How many jobs have their end, or belong to somebody else by now.
fn ended(reports: &[FinishReport]) -> usize {
    let one = |report: &FinishReport| {
        let settled: u32 = report.settled.iter().map(|settled| settled.jobs).sum();
        settled as usize + report.fenced.len()
    };
    reports.iter().map(one).sum()
}

/// What became of a batch of so many jobs, and whether every one has its end; also when the work panics.
async fn to_the_end(
    work: impl Future<Output = Vec<FinishReport>>,
    count: usize,
) -> (Vec<FinishReport>, bool) {
    let reports = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_default();
    let whole = ended(&reports) >= count;
    (reports, whole)
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

/// Moves due work into the line: schedules, and rows of other programs.
async fn tend(inner: &Inner) -> Result<bool, EngineError> {
    sandbox_reports::report_due(inner).await?;
    if let Err(error) = inner.pulse.write(inner).await {
        // Only whoever shows the health of connections waits for it.
        tracing::warn!(%error, "the calls of connections could not be written down; this is tried again");
    }
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

/// The main loop's own things.
struct Worker {
    inner: Arc<Inner>,
    claimer: Claimer,
    working: JoinSet<Worked>,
    /// What dead workers left, as housekeeping saw it last.
    parked: watch::Receiver<ParkedWork>,
    /// Leases whose work ended abnormally and which are not parked yet: their heartbeat goes on, so nobody else would.
    abandoned: Vec<LeaseId>,
    report: WorkerReport,
    /// Looks without finding anything since the last work.
    looks: usize,
    /// Batches at work that came from lines.
    from_lines: usize,
}

/// A batch that was worked on.
struct Worked {
    lease: LeaseId,
    /// Lines that its jobs came from.
    lines: Vec<(TenantId, JobKind)>,
    /// Every job has its end, or belongs to somebody else by now.
    whole: bool,
    reports: Vec<FinishReport>,
}

/// What woke the main loop.
enum Woken {
    Stop,
    Finished(Worked),
    Look,
}

impl Worker {
    fn new(inner: Arc<Inner>, parked: watch::Receiver<ParkedWork>) -> Self {
        Self {
            claimer: claimer(&inner),
            inner,
            working: JoinSet::new(),
            parked,
            abandoned: Vec::new(),
            report: WorkerReport::default(),
            looks: 0,
            from_lines: 0,
        }
    }

    async fn work(&mut self, stop: &CancellationToken, wake: &Notify) {
        while !stop.is_cancelled() {
            let pause = match self.begin(stop).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(%error, "claiming failed and is tried again");
                    AFTER_ERROR
                }
            };
            match self.wait(stop, wake, pause).await {
                Woken::Stop => return,
                Woken::Finished(worked) => self.settle(&worked),
                Woken::Look => {}
            }
        }
    }

    /// Begins what there is to do; says how long to sleep.
    async fn begin(&mut self, stop: &CancellationToken) -> Result<Duration, EngineError> {
        while let Some(lease) = self.abandoned.last().copied() {
            rescue::give_up(&self.inner, lease).await?;
            self.abandoned.pop();
        }
        let seen = self.parked.has_changed().unwrap_or(false);
        let parked = *self.parked.borrow_and_update();
        if seen && parked.alone {
            self.work_alone(stop).await?;
        }
        if parked.groups {
            self.fill_with_groups().await?;
        }
        self.fill().await
    }

    /// Works on single jobs with nothing beside them, so that another crash is their own; a few, then others have their turn.
    async fn work_alone(&mut self, stop: &CancellationToken) -> Result<(), EngineError> {
        for _ in 0..SINGLES {
            if !self.idle(stop).await {
                return Ok(());
            }
            let Some(taken) = rescue::single(&self.inner).await? else {
                return Ok(());
            };
            self.report.rescued += taken.jobs.len() as u64;
            self.start(taken.lease, taken.jobs, Vec::new());
        }
        self.idle(stop).await;
        Ok(())
    }

    /// Waits until nothing is at work; false when the process is to end.
    async fn idle(&mut self, stop: &CancellationToken) -> bool {
        while !self.working.is_empty() {
            tokio::select! {
                () = stop.cancelled() => return false,
                Some(worked) = self.working.join_next() => {
                    if let Ok(worked) = worked {
                        self.settle(&worked);
                    }
                }
            }
        }
        !stop.is_cancelled()
    }

    async fn fill_with_groups(&mut self) -> Result<(), EngineError> {
        while self.has_room() {
            let Some(TakenOver { lease, jobs }) = rescue::group(&self.inner).await? else {
                break;
            };
            self.report.rescued += jobs.len() as u64;
            self.start(lease, jobs, Vec::new());
        }
        Ok(())
    }

    /// Begins what has its turn in lines.
    async fn fill_from_lines(&mut self) -> Result<(), EngineError> {
        while self.from_lines < LINE_BATCHES {
            let from = claim_lines(&self.inner, &mut self.claimer).await?;
            let Some(lease) = from.claimed.lease else { break };
            self.report.batches += 1;
            self.start(lease, from.claimed.jobs, from.keys);
        }
        Ok(())
    }

    /// How long until a line has its turn, where that is sooner.
    fn until_turn(&self, pause: Duration) -> Duration {
        if self.from_lines >= LINE_BATCHES {
            return pause;
        }
        let wait = self
            .inner
            .limiter
            .next_turn()
            .map(|at| at.duration_since(self.inner.now()));
        wait.map_or(pause, |wait| {
            pause.min(Duration::try_from(wait).unwrap_or(Duration::ZERO))
        })
    }

    /// Claims until as many batches are under way as may be; says how long to sleep.
    async fn fill(&mut self) -> Result<Duration, EngineError> {
        self.fill_from_lines().await?;
        while self.has_room() {
            let claimed = claim(&self.inner, &mut self.claimer).await?;
            let Some(lease) = claimed.lease else {
                if self.working.is_empty() {
                    return self.fall_asleep().await;
                }
                break;
            };
            self.wake_up().await?;
            self.report.batches += 1;
            self.start(lease, claimed.jobs, Vec::new());
        }
        Ok(self.inner.limits.poll)
    }

    fn has_room(&self) -> bool {
        self.working.len() - self.from_lines < self.inner.limits.batches.max(1)
    }

    fn start(&mut self, lease: LeaseId, jobs: Vec<ClaimedJob>, lines: Vec<(TenantId, JobKind)>) {
        self.from_lines += usize::from(!lines.is_empty());
        let inner = Arc::clone(&self.inner);
        let count = jobs.len();
        self.working.spawn(async move {
            let (reports, whole) = to_the_end(Box::pin(process(&inner, lease, jobs)), count).await;
            Worked {
                lease,
                lines,
                whole,
                reports,
            }
        });
    }

    fn settle(&mut self, worked: &Worked) {
        self.from_lines -= usize::from(!worked.lines.is_empty());
        self.inner.limiter.ended(&worked.lines);
        settle(&mut self.claimer, &mut self.report, &worked.reports);
        // What a drain leaves goes back when the node signs off.
        if !worked.whole && !self.inner.is_draining() {
            tracing::error!(
                lease = worked.lease.0,
                "a batch ended without an end for each job; what is left is taken up again"
            );
            self.claimer.forget(worked.lease);
            self.abandoned.push(worked.lease);
        }
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

    async fn wait(&mut self, stop: &CancellationToken, wake: &Notify, pause: Duration) -> Woken {
        let pause = self.until_turn(pause);
        tokio::select! {
            () = stop.cancelled() => Woken::Stop,
            Some(worked) = self.working.join_next() => worked.map_or(Woken::Look, Woken::Finished),
            () = wake.notified() => Woken::Look,
            () = self.inner.limiter.turned.notified() => Woken::Look,
            () = tokio::time::sleep(pause) => Woken::Look,
        }
    }

    /// Finishes what is under way within the limit; what is not finished then is given back when the node signs off.
    async fn drain(&mut self) {
        self.inner.begin_draining();
        self.inner.fail.pass("drain_begun");
        let draining = async {
            let mut conn = self.inner.conn().await?;
            Ok::<_, EngineError>(tidings_queue::set_draining(&mut conn, self.inner.node).await?)
        };
        if let Err(error) = draining.await {
            tracing::warn!(%error, "the node could not say that it drains");
        }
        let limit = self.inner.limits.drain;
        let finish = async {
            while let Some(worked) = self.working.join_next().await {
                if let Ok(worked) = worked {
                    self.settle(&worked);
                }
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
            tidings_queue::heartbeat(&mut conn, inner.node, inner.now(), inner.lease_ms()).await?;
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
    parked: watch::Sender<ParkedWork>,
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
        match rescue::look(&inner).await {
            Ok(ParkedWork {
                groups: false,
                alone: false,
            }) => {
                parked.send_replace(ParkedWork::default());
            }
            Ok(work) => {
                parked.send_replace(work);
                wake.notify_one();
            }
            Err(error) => tracing::warn!(%error, "rescue failed and is tried again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::{JobId, TenantId};
    use tidings_queue::Settled;

    fn report(settled: u32, fenced: i64) -> FinishReport {
        FinishReport {
            fenced: (0..fenced).map(JobId).collect(),
            settled: vec![Settled {
                lease: LeaseId(1),
                tenant: TenantId(uuid::Uuid::nil()),
                jobs: settled,
            }],
        }
    }

    #[tokio::test]
    async fn work_that_panics_or_leaves_jobs_is_not_whole() {
        let (reports, whole) = to_the_end(async { vec![report(2, 0), report(0, 1)] }, 3).await;
        assert!(whole && reports.len() == 2);
        let (_, whole) = to_the_end(async { vec![report(2, 0)] }, 3).await;
        assert!(!whole);
        let (reports, whole) = to_the_end(async { panic!("a bug") }, 1).await;
        assert!(!whole && reports.is_empty());
    }
}
