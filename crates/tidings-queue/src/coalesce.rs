//! Coalescing: concurrent callers share commits. Each submits one item and gets its own durable answer; a lane takes what has
//! gathered, flushes it at once, and meanwhile the next batch gathers. When nothing else is going on an item is flushed
//! immediately; under load a commit is shared by hundreds.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot};

/// How often a lane lets other tasks run while they keep submitting, before it flushes.
const YIELDS_MAX: u32 = 16;

/// Bounds of a coalescer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Items of one flush.
    pub batch: usize,
    /// Items that wait; further callers wait outside, or are refused by [`Coalescer::try_submit`].
    pub queue: usize,
    /// How long a lane waits for more when the last flush was shared and this one would be less than half of it.
    /// Zero: never.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch: 1_024,
            queue: 8_192,
            linger: Duration::from_millis(1),
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum CoalesceError<E> {
    /// The flush failed; every caller of the batch is told.
    Flush(Arc<E>),
    /// As many items wait as may.
    Full,
    /// All lanes have ended. Whether the item was written is unknown, as after a lost connection.
    Stopped,
    /// The flush answered another number of items than it was given: an error in the flush.
    Miscounted,
}

impl<E: fmt::Display> fmt::Display for CoalesceError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flush(error) => write!(f, "shared commit: {error}"),
            Self::Full => f.write_str("shared commit: too much is waiting; try again later"),
            Self::Stopped => {
                f.write_str("shared commit: the program is stopping; ask again with the same reference")
            }
            Self::Miscounted => f.write_str(
                "shared commit: the batch was answered in part; ask again with the same reference",
            ),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for CoalesceError<E> {}

struct Entry<T, R, E> {
    item: T,
    answer: oneshot::Sender<Result<R, CoalesceError<E>>>,
}

/// Where callers submit; cheap to clone. When all clones are gone the lanes flush what waits and end.
pub struct Coalescer<T, R, E> {
    sender: mpsc::Sender<Entry<T, R, E>>,
}

impl<T, R, E> Clone for Coalescer<T, R, E> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
        }
    }
}

impl<T, R, E> fmt::Debug for Coalescer<T, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalescer")
            .field("room", &self.sender.capacity())
            .finish()
    }
}

/// Makes the lanes of a coalescer; drop it when all are made.
pub struct Lanes<T, R, E> {
    receiver: Arc<Mutex<mpsc::Receiver<Entry<T, R, E>>>>,
    limits: Limits,
}

impl<T, R, E> fmt::Debug for Lanes<T, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A coalescer without lanes yet.
pub fn coalescer<T, R, E>(limits: Limits) -> (Coalescer<T, R, E>, Lanes<T, R, E>) {
    let (sender, receiver) = mpsc::channel(limits.queue.max(1));
    (
        Coalescer { sender },
        Lanes {
            receiver: Arc::new(Mutex::new(receiver)),
            limits,
        },
    )
}

impl<T, R, E> Coalescer<T, R, E> {
    /// Submits an item and waits for its answer; waits for room first. An item whose caller gives up is flushed all the same.
    ///
    /// # Errors
    /// See [`CoalesceError`].
    pub async fn submit(&self, item: T) -> Result<R, CoalesceError<E>> {
        let (answer, waiting) = oneshot::channel();
        self.sender
            .send(Entry { item, answer })
            .await
            .map_err(|_| CoalesceError::Stopped)?;
        waiting.await.unwrap_or(Err(CoalesceError::Stopped))
    }

    /// Like [`Self::submit`], but refuses when there is no room.
    ///
    /// # Errors
    /// See [`CoalesceError`].
    pub async fn try_submit(&self, item: T) -> Result<R, CoalesceError<E>> {
        let (answer, waiting) = oneshot::channel();
        self.sender
            .try_send(Entry { item, answer })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => CoalesceError::Full,
                mpsc::error::TrySendError::Closed(_) => CoalesceError::Stopped,
            })?;
        waiting.await.unwrap_or(Err(CoalesceError::Stopped))
    }

    /// Items that wait for a flush.
    pub fn waiting(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }
}

impl<T, R, E> Lanes<T, R, E>
where
    T: Clone + Send,
    R: Send,
    E: Send + Sync,
{
    /// A lane: a future that flushes until all [`Coalescer`]s are gone; the caller spawns it. `flush` makes a batch durable
    /// and answers each item, in order. When it fails and `isolate` says that an item may be to blame, the batch is halved
    /// until the item stands alone, so that one caller's bad item does not fail the others'; a flush that failed must
    /// have written nothing.
    pub fn lane<F, Fut>(
        &self,
        mut flush: F,
        isolate: fn(&E) -> bool,
    ) -> impl Future<Output = ()> + Send + use<T, R, E, F, Fut>
    where
        F: FnMut(Vec<T>) -> Fut + Send,
        Fut: Future<Output = Result<Vec<R>, E>> + Send,
    {
        let (receiver, limits) = (Arc::clone(&self.receiver), self.limits);
        async move {
            let mut last = 0;
            loop {
                let batch = gather(&receiver, limits, last).await;
                if batch.is_empty() {
                    return;
                }
                last = batch.len();
                flush_all(batch, &mut flush, isolate).await;
            }
        }
    }
}

/// The next batch; empty when all callers are gone. One lane gathers at a time, the others flush.
async fn gather<T, R, E>(
    receiver: &Mutex<mpsc::Receiver<Entry<T, R, E>>>,
    limits: Limits,
    last: usize,
) -> Vec<Entry<T, R, E>> {
    let mut receiver = receiver.lock().await;
    let mut batch = Vec::with_capacity(last.clamp(16, limits.batch.max(16)));
    let limit = limits.batch.max(1);
    receiver.recv_many(&mut batch, limit).await;
    for _ in 0..YIELDS_MAX {
        let before = batch.len();
        if before == 0 || before >= limit {
            return batch;
        }
        tokio::task::yield_now().await;
        drain(&mut receiver, &mut batch, limit);
        if batch.len() == before {
            break;
        }
    }
    if last > 1 && batch.len() * 2 < last && !limits.linger.is_zero() {
        let more = async {
            while batch.len() < last.min(limit) {
                let room = limit - batch.len();
                if receiver.recv_many(&mut batch, room).await == 0 {
                    break;
                }
            }
        };
        // Too late is fine: what has gathered is flushed.
        let _elapsed = tokio::time::timeout(limits.linger, more).await;
    }
    batch
}

fn drain<T>(receiver: &mut mpsc::Receiver<T>, batch: &mut Vec<T>, limit: usize) {
    while batch.len() < limit {
        let Ok(entry) = receiver.try_recv() else { return };
        batch.push(entry);
    }
}

async fn flush_all<T, R, E, F, Fut>(batch: Vec<Entry<T, R, E>>, flush: &mut F, isolate: fn(&E) -> bool)
where
    T: Clone,
    F: FnMut(Vec<T>) -> Fut,
    Fut: Future<Output = Result<Vec<R>, E>>,
{
    let mut parts = vec![batch];
    while let Some(mut part) = parts.pop() {
        let items: Vec<T> = part.iter().map(|entry| entry.item.clone()).collect();
        match flush(items).await {
            Ok(answers) if answers.len() == part.len() => {
                for (entry, answer) in part.into_iter().zip(answers) {
                    // The caller may have given up.
                    let _gone = entry.answer.send(Ok(answer));
                }
            }
            Ok(_) => {
                for entry in part {
                    let _gone = entry.answer.send(Err(CoalesceError::Miscounted));
                }
            }
            Err(error) if part.len() > 1 && isolate(&error) => {
                let second = part.split_off(part.len() / 2);
                parts.push(second);
                parts.push(part);
            }
            Err(error) => {
                let error = Arc::new(error);
                for entry in part {
                    let _gone = entry.answer.send(Err(CoalesceError::Flush(Arc::clone(&error))));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        clippy::disallowed_methods,
        reason = "tests: tasks end with the test's runtime"
    )]
    use super::*;
    use std::sync::Mutex as StdMutex;
    use tokio::sync::Semaphore;

    type Log = Arc<StdMutex<Vec<usize>>>;

    fn limits(batch: usize, queue: usize) -> Limits {
        Limits {
            batch,
            queue,
            linger: Duration::ZERO,
        }
    }

    /// A lane that notes the size of each flush, waits for a permit, doubles the items and fails on 13.
    fn start(
        limits: Limits,
        gate: &Arc<Semaphore>,
    ) -> (Coalescer<u32, u32, String>, Log, tokio::task::JoinHandle<()>) {
        let (coalescer, lanes) = coalescer(limits);
        let (log, gate) = (Log::default(), Arc::clone(gate));
        let noted = Arc::clone(&log);
        let flush = move |items: Vec<u32>| {
            let gate = Arc::clone(&gate);
            noted.lock().unwrap().push(items.len());
            async move {
                gate.acquire().await.unwrap().forget();
                if items.contains(&13) {
                    Err("unlucky".to_owned())
                } else {
                    Ok(items.iter().map(|i| i * 2).collect())
                }
            }
        };
        let lane = tokio::spawn(lanes.lane(flush, |_| true));
        (coalescer, log, lane)
    }

    #[tokio::test]
    async fn an_item_alone_is_flushed_at_once() {
        let (coalescer, log, _lane) = start(limits(8, 8), &Arc::new(Semaphore::new(9)));
        assert_eq!(coalescer.submit(21).await.unwrap(), 42);
        assert_eq!(*log.lock().unwrap(), [1]);
    }

    #[tokio::test]
    async fn callers_share_flushes_and_each_gets_its_own_answer() {
        let gate = Arc::new(Semaphore::new(0));
        let (coalescer, log, _lane) = start(limits(64, 256), &gate);
        let callers: Vec<_> = (100..200)
            .map(|i| {
                let coalescer = coalescer.clone();
                tokio::spawn(async move { (i, coalescer.submit(i).await.unwrap()) })
            })
            .collect();
        gate.add_permits(100);
        for caller in callers {
            let (i, answer) = caller.await.unwrap();
            assert_eq!(answer, i * 2);
        }
        let flushes = log.lock().unwrap().clone();
        assert!(
            flushes.len() < 10 && flushes.iter().all(|n| *n <= 64),
            "{flushes:?}"
        );
    }

    #[tokio::test]
    async fn a_bad_item_fails_alone() {
        let gate = Arc::new(Semaphore::new(1_000));
        let (coalescer, _, _lane) = start(limits(64, 256), &gate);
        let answers = (1..=20).map(|i| {
            let coalescer = coalescer.clone();
            tokio::spawn(async move { (i, coalescer.submit(i).await) })
        });
        let answers: Vec<_> = answers.collect();
        for answer in answers {
            let (i, answer) = answer.await.unwrap();
            assert_eq!(answer.is_err(), i == 13, "{i}");
        }
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_a_stopped_one_says_so() {
        let gate = Arc::new(Semaphore::new(0));
        let (coalescer, log, lane) = start(limits(1, 1), &gate);
        let first = tokio::spawn({
            let coalescer = coalescer.clone();
            async move { coalescer.submit(1).await }
        });
        while log.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let second = tokio::spawn({
            let coalescer = coalescer.clone();
            async move { coalescer.submit(2).await }
        });
        while coalescer.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(coalescer.try_submit(3).await, Err(CoalesceError::Full)));
        lane.abort();
        assert!(matches!(first.await.unwrap(), Err(CoalesceError::Stopped)));
        assert!(matches!(second.await.unwrap(), Err(CoalesceError::Stopped)));
        assert!(matches!(coalescer.submit(4).await, Err(CoalesceError::Stopped)));
    }

    #[tokio::test]
    async fn when_all_callers_are_gone_the_lane_ends() {
        let (coalescer, _, lane) = start(limits(8, 8), &Arc::new(Semaphore::new(9)));
        drop(coalescer);
        lane.await.unwrap();
    }
}
