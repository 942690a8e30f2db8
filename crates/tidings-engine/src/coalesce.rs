//! Many callers, few commits: work submitted at the same time is done in shared batches.
//!
//! A caller pays for its own answer only: while all runners are busy, what comes in gathers and leaves as the next
//! batch. There is no timer, so a lone caller never waits for company.

use futures::future::BoxFuture;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// How batches are made.
#[derive(Clone, Copy, Debug)]
pub struct CoalesceLimits {
    /// The most weight in one batch.
    pub batch_weight: usize,
    /// Batches that run at once.
    pub runners: usize,
    /// The most weight that may wait; beyond it callers are turned away.
    pub waiting_weight: usize,
}

type Handler<I, O> = dyn Fn(Vec<I>) -> BoxFuture<'static, Vec<O>> + Send + Sync;

struct Line<I, O> {
    waiting: VecDeque<(usize, I, oneshot::Sender<O>)>,
    weight: usize,
    running: usize,
}

struct Shared<I, O> {
    line: Mutex<Line<I, O>>,
    limits: CoalesceLimits,
    handler: Box<Handler<I, O>>,
    tasks: TaskTracker,
}

/// Gathers submissions into batches.
pub struct Coalescer<I, O>(Arc<Shared<I, O>>);

impl<I, O> Clone for Coalescer<I, O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I, O> std::fmt::Debug for Coalescer<I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coalescer")
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

/// Why a submission has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// Too much is waiting already.
    Full,
    /// The batch ended without an answer.
    Lost,
}

impl<I: Send + 'static, O: Send + 'static> Coalescer<I, O> {
    /// A coalescer whose batches run as tasks of the tracker; `handler` answers in the order of its input.
    pub fn new(
        limits: CoalesceLimits,
        tasks: TaskTracker,
        handler: impl Fn(Vec<I>) -> BoxFuture<'static, Vec<O>> + Send + Sync + 'static,
    ) -> Self {
        let line = Mutex::new(Line {
            waiting: VecDeque::new(),
            weight: 0,
            running: 0,
        });
        Self(Arc::new(Shared {
            line,
            limits,
            handler: Box::new(handler),
            tasks,
        }))
    }

    /// Submits an item of a weight and waits for its answer. The work goes on when the caller goes away.
    pub async fn submit(&self, weight: usize, item: I) -> Result<O, NoAnswer> {
        let (sender, receiver) = oneshot::channel();
        let start = {
            let mut line = self.0.line.lock().unwrap_or_else(PoisonError::into_inner);
            if line.weight.saturating_add(weight) > self.0.limits.waiting_weight && line.weight > 0 {
                return Err(NoAnswer::Full);
            }
            line.weight += weight;
            line.waiting.push_back((weight, item, sender));
            let start = line.running < self.0.limits.runners;
            line.running += usize::from(start);
            start
        };
        if start {
            let shared = Arc::clone(&self.0);
            self.0.tasks.spawn(async move { run(&shared).await });
        }
        receiver.await.map_err(|_| NoAnswer::Lost)
    }
}

async fn run<I: Send + 'static, O: Send + 'static>(shared: &Shared<I, O>) {
    // Ends when nothing waits; the last look and the farewell are one step under the lock, so nothing is left behind.
    while let Some((items, senders)) = next_batch(shared) {
        let answers = (shared.handler)(items).await;
        for (sender, answer) in senders.into_iter().zip(answers) {
            // A caller that went away does not want its answer.
            drop(sender.send(answer));
        }
    }
}

type Batch<I, O> = (Vec<I>, Vec<oneshot::Sender<O>>);

fn next_batch<I, O>(shared: &Shared<I, O>) -> Option<Batch<I, O>> {
    let mut line = shared.line.lock().unwrap_or_else(PoisonError::into_inner);
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
    Some((items, senders))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn everybody_gets_their_own_answer_from_few_batches() {
        let batches = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&batches);
        let limits = CoalesceLimits {
            batch_weight: 64,
            runners: 1,
            waiting_weight: 10_000,
        };
        let coalescer = Coalescer::new(limits, TaskTracker::new(), move |items: Vec<usize>| {
            counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                tokio::task::yield_now().await;
                items.into_iter().map(|item| item * 2).collect()
            })
        });
        let answers = futures::future::join_all((0..1000).map(|n| coalescer.submit(1, n))).await;
        for (n, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.unwrap(), n * 2);
        }
        assert!(batches.load(Ordering::SeqCst) < 40, "{batches:?}");
    }

    #[tokio::test]
    async fn a_full_line_turns_callers_away() {
        let limits = CoalesceLimits {
            batch_weight: 1,
            runners: 1,
            waiting_weight: 2,
        };
        let coalescer = Coalescer::new(limits, TaskTracker::new(), |items: Vec<()>| {
            Box::pin(async move {
                tokio::task::yield_now().await;
                items
            })
        });
        let answers = futures::future::join_all((0..10).map(|_| coalescer.submit(1, ()))).await;
        assert!(answers.contains(&Err(NoAnswer::Full)));
        assert!(answers.iter().any(Result::is_ok));
    }
}
