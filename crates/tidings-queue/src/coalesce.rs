//! Coalescing: many callers, few commits. Work submitted at the same time is done in shared batches.
//!
//! A caller pays for its own answer only: while runners are busy, what comes in gathers and leaves as the next batch. A further runner
//! begins when enough has gathered, or somebody has waited for long, so that few callers share commits instead of having one each at
//! once. Without [`CoalesceLimits::linger`] a lone caller never waits for company.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;

/// How often a lingering runner lets other tasks run while they keep submitting, before it takes a batch.
const YIELDS_MAX: u32 = 16;

/// How batches are made.
#[derive(Clone, Copy, Debug)]
pub struct CoalesceLimits {
    /// The most weight in one batch.
    pub batch_weight: usize,
    /// Batches that run at once.
    pub runners: usize,
    /// The weight for which a batch begins beside one that runs.
    pub company: usize,
    /// How long less than that waits for the one that runs; zero means for as long as it takes.
    pub patience: Duration,
    /// The most weight that may wait; beyond it callers are turned away.
    pub waiting_weight: usize,
    /// How long a runner waits for more when the last batch was shared and the next would be less than half of it: for
    /// callers that come back at once, so that batches do not shrink. Zero: what waits leaves at once.
    pub linger: Duration,
}

/// A batch at work: the answers, in the order of the items.
pub type Answers<O> = Pin<Box<dyn Future<Output = Vec<O>> + Send>>;

type Handler<I, O> = dyn Fn(Vec<I>) -> Answers<O> + Send + Sync;

struct Line<I, O> {
    waiting: VecDeque<(usize, I, oneshot::Sender<O>)>,
    weight: usize,
    running: usize,
    /// The weight of the last batch.
    last: usize,
}

struct Shared<I, O> {
    line: Mutex<Line<I, O>>,
    limits: CoalesceLimits,
    handler: Box<Handler<I, O>>,
    tasks: TaskTracker,
    /// The line has grown to the size of the last batch.
    grown: Notify,
}

/// Gathers submissions into batches; cheap to clone.
pub struct Coalescer<I, O>(Arc<Shared<I, O>>);

impl<I, O> Clone for Coalescer<I, O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I, O> fmt::Debug for Coalescer<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalescer")
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

/// Why a submission has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Too much is waiting already.
    #[error("too much is waiting for a shared commit; try again later")]
    Full,
    /// The batch ended without an answer; whether it was written is unknown, as after a lost connection.
    #[error("a shared commit ended without an answer; ask again with the same reference")]
    Lost,
}

impl<I: Send + 'static, O: Send + 'static> Coalescer<I, O> {
    /// A coalescer whose batches run as tasks of the tracker; `handler` answers in the order of its input.
    pub fn new(
        limits: CoalesceLimits,
        tasks: TaskTracker,
        handler: impl Fn(Vec<I>) -> Answers<O> + Send + Sync + 'static,
    ) -> Self {
        let line = Mutex::new(Line {
            waiting: VecDeque::new(),
            weight: 0,
            running: 0,
            last: 0,
        });
        Self(Arc::new(Shared {
            line,
            limits,
            handler: Box::new(handler),
            tasks,
            grown: Notify::new(),
        }))
    }

    /// Submits an item of a weight and waits for its answer. The work goes on when the caller goes away.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub async fn submit(&self, weight: usize, item: I) -> Result<O, NoAnswer> {
        let (sender, mut receiver) = oneshot::channel();
        let started = {
            let mut line = self.0.lock();
            if line.weight.saturating_add(weight) > self.0.limits.waiting_weight && line.weight > 0 {
                return Err(NoAnswer::Full);
            }
            line.weight += weight;
            line.waiting.push_back((weight, item, sender));
            if line.weight >= line.last {
                self.0.grown.notify_one();
            }
            let enough = line.running == 0 || line.weight >= self.0.limits.company;
            enough && self.start(&mut line)
        };
        let patience = self.0.limits.patience;
        if !started && self.0.limits.runners > 1 && !patience.is_zero() {
            match tokio::time::timeout(patience, &mut receiver).await {
                Ok(answer) => return answer.map_err(|_| NoAnswer::Lost),
                // Whatever waits goes beside the batches that run too long for it.
                Err(_) => drop(self.start(&mut self.0.lock())),
            }
        }
        receiver.await.map_err(|_| NoAnswer::Lost)
    }

    /// Begins a batch with what waits, where a runner is free for it; says whether it did.
    fn start(&self, line: &mut Line<I, O>) -> bool {
        if line.waiting.is_empty() || line.running >= self.0.limits.runners.max(1) {
            return false;
        }
        line.running += 1;
        let shared = Arc::clone(&self.0);
        self.0.tasks.spawn(async move { run(&shared).await });
        true
    }
}

impl<I, O> Shared<I, O> {
    fn lock(&self) -> MutexGuard<'_, Line<I, O>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run<I: Send + 'static, O: Send + 'static>(shared: &Arc<Shared<I, O>>) {
    loop {
        if !shared.limits.linger.is_zero() {
            linger(shared).await;
        }
        // Ends when nothing waits; the last look and the farewell are one step under the lock, so nothing is left behind.
        let Some((items, senders)) = next_batch(shared) else {
            return;
        };
        let worker = Arc::clone(shared);
        // A task of its own: a batch that panics takes its callers' answers with it, and not the runner.
        let work = shared.tasks.spawn(async move { (worker.handler)(items).await });
        let Ok(answers) = work.await else { continue };
        for (sender, answer) in senders.into_iter().zip(answers) {
            // A caller that went away does not want its answer.
            drop(sender.send(answer));
        }
    }
}

/// Lets the line grow while callers are at it.
async fn linger<I, O>(shared: &Shared<I, O>) {
    let limit = shared.limits.batch_weight;
    let look = || {
        let line = shared.lock();
        (line.weight, line.last)
    };
    let (mut before, last) = look();
    for _ in 0..YIELDS_MAX {
        if before == 0 || before >= limit {
            return;
        }
        tokio::task::yield_now().await;
        let (now, _) = look();
        if now == before {
            break;
        }
        before = now;
    }
    if last > 1 && before * 2 < last {
        let more = async {
            while look().0 < last.min(limit) {
                shared.grown.notified().await;
            }
        };
        // Too late is fine: what has gathered leaves.
        let _elapsed = tokio::time::timeout(shared.limits.linger, more).await;
    }
}

type Batch<I, O> = (Vec<I>, Vec<oneshot::Sender<O>>);

fn next_batch<I, O>(shared: &Shared<I, O>) -> Option<Batch<I, O>> {
    let mut line = shared.lock();
    let (mut items, mut senders, mut total) = (Vec::new(), Vec::new(), 0usize);
    while let Some((weight, ..)) = line.waiting.front() {
        if !items.is_empty() && total.saturating_add(*weight) > shared.limits.batch_weight {
            break;
        }
        let Some((weight, item, sender)) = line.waiting.pop_front() else {
            break;
        };
        total += weight;
        line.weight -= weight;
        items.push(item);
        senders.push(sender);
    }
    if items.is_empty() {
        line.running -= 1;
        return None;
    }
    line.last = total;
    Some((items, senders))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;
    use tokio::task::JoinSet;

    fn limits(batch_weight: usize, waiting_weight: usize, linger: Duration) -> CoalesceLimits {
        CoalesceLimits {
            batch_weight,
            runners: 1,
            company: 1,
            patience: Duration::ZERO,
            waiting_weight,
            linger,
        }
    }

    /// Sizes of batches that have begun.
    type Sizes = Arc<Mutex<Vec<usize>>>;

    /// Two runners whose batches stay at work until they are let go, one for each permit.
    fn held(patience: Duration) -> (Coalescer<usize, usize>, Arc<Semaphore>, Sizes) {
        let (gate, sizes) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let limits = CoalesceLimits {
            runners: 2,
            company: 3,
            patience,
            ..limits(64, 1_000, Duration::ZERO)
        };
        let (through, noted) = (Arc::clone(&gate), Arc::clone(&sizes));
        let coalescer = Coalescer::new(limits, TaskTracker::new(), move |items: Vec<usize>| {
            let (gate, sizes) = (Arc::clone(&through), Arc::clone(&noted));
            Box::pin(async move {
                sizes.lock().unwrap().push(items.len());
                gate.acquire().await.unwrap().forget();
                items
            })
        });
        (coalescer, gate, sizes)
    }

    /// Submits so many at once, and lets them come to rest.
    async fn submit_some(
        coalescer: &Coalescer<usize, usize>,
        callers: &mut JoinSet<Result<usize, NoAnswer>>,
        count: usize,
    ) {
        for n in 0..count {
            let coalescer = coalescer.clone();
            callers.spawn(async move { coalescer.submit(1, n).await });
        }
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    /// Doubles numbers and counts its batches; 13 is a bug.
    fn doubling(limits: CoalesceLimits) -> (Coalescer<usize, usize>, Arc<AtomicUsize>) {
        let batches = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&batches);
        let coalescer = Coalescer::new(limits, TaskTracker::new(), move |items: Vec<usize>| {
            counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                tokio::task::yield_now().await;
                assert!(!items.contains(&13), "unlucky");
                items.into_iter().map(|item| item * 2).collect()
            })
        });
        (coalescer, batches)
    }

    async fn submit_all(coalescer: &Coalescer<usize, usize>, items: std::ops::Range<usize>) {
        let mut callers = JoinSet::new();
        for n in items {
            let coalescer = coalescer.clone();
            callers.spawn(async move { (n, coalescer.submit(1, n).await) });
        }
        while let Some(caller) = callers.join_next().await {
            let (n, answer) = caller.unwrap();
            assert_eq!(answer.unwrap(), n * 2);
        }
    }

    #[tokio::test]
    async fn everybody_gets_their_own_answer_from_few_batches() {
        for linger in [Duration::ZERO, Duration::from_millis(1)] {
            let (coalescer, batches) = doubling(limits(64, 10_000, linger));
            submit_all(&coalescer, 100..1_100).await;
            let batches = batches.load(Ordering::SeqCst);
            assert!(batches < 40, "{batches} with {linger:?}");
        }
    }

    #[tokio::test]
    async fn a_lone_caller_is_answered_although_the_last_batch_was_shared() {
        let (coalescer, batches) = doubling(limits(64, 10_000, Duration::from_millis(1)));
        submit_all(&coalescer, 100..164).await;
        let before = batches.load(Ordering::SeqCst);
        assert_eq!(coalescer.submit(1, 21).await, Ok(42));
        assert_eq!(batches.load(Ordering::SeqCst), before + 1);
    }

    #[tokio::test]
    async fn few_share_the_next_batch_and_more_begin_one_beside_it() {
        let (coalescer, gate, sizes) = held(Duration::from_hours(1));
        let mut callers = JoinSet::new();
        for (count, batches) in [(1, vec![1]), (2, vec![1]), (1, vec![1, 3]), (9, vec![1, 3])] {
            submit_some(&coalescer, &mut callers, count).await;
            assert_eq!(*sizes.lock().unwrap(), batches);
        }
        gate.add_permits(3);
        let answers = callers.join_all().await;
        assert!(answers.len() == 13 && answers.iter().all(Result::is_ok));
        assert_eq!(*sizes.lock().unwrap(), [1, 3, 9]);
    }

    #[tokio::test]
    async fn nobody_waits_long_for_a_batch_that_hangs() {
        let (coalescer, gate, sizes) = held(Duration::from_millis(10));
        let mut callers = JoinSet::new();
        submit_some(&coalescer, &mut callers, 1).await;
        submit_some(&coalescer, &mut callers, 2).await;
        assert_eq!(*sizes.lock().unwrap(), [1]);
        while sizes.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*sizes.lock().unwrap(), [1, 2]);
        gate.add_permits(2);
        assert_eq!(callers.join_all().await.len(), 3);
    }

    #[tokio::test]
    async fn a_full_line_turns_callers_away() {
        let (coalescer, _) = doubling(limits(1, 2, Duration::ZERO));
        let mut callers = JoinSet::new();
        for n in 0..10 {
            let coalescer = coalescer.clone();
            callers.spawn(async move { coalescer.submit(1, n).await });
        }
        let answers = callers.join_all().await;
        assert!(answers.contains(&Err(NoAnswer::Full)));
        assert!(answers.iter().any(Result::is_ok));
    }

    #[tokio::test]
    async fn what_is_heavier_than_a_batch_goes_alone() {
        let (coalescer, batches) = doubling(limits(4, 10, Duration::ZERO));
        let (one, two) = tokio::join!(coalescer.submit(9, 1), coalescer.submit(1, 2));
        assert_eq!((one, two), (Ok(2), Ok(4)));
        assert_eq!(batches.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_batch_that_panics_loses_its_own_answers_only() {
        let (coalescer, _) = doubling(limits(1, 10, Duration::ZERO));
        assert_eq!(coalescer.submit(1, 13).await, Err(NoAnswer::Lost));
        assert_eq!(coalescer.submit(1, 14).await, Ok(28));
    }
}
