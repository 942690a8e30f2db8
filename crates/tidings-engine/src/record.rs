//! Outcomes on their way to the database: those of several batches share commits (`outcome.rs` says what is written).

use crate::deliver::Bench;
use crate::engine::Inner;
use crate::error::EngineError;
use crate::outcome::{Ended, Told, tell, write};
use crate::together::together;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tidings_queue::FinishReport;
use tidings_queue::coalesce::{CoalesceLimits, Coalescer, NoAnswer};
use tokio_util::task::TaskTracker;

/// Outcomes in a shared commit. What waits is bounded by what a node has at work.
const LIMITS: CoalesceLimits = CoalesceLimits {
    batch_weight: 256,
    runners: 4,
    company: 8,
    patience: Duration::from_millis(10),
    waiting_weight: usize::MAX,
    linger: Duration::ZERO,
};

/// Calls of a batch that have ended.
pub(crate) struct EndedCalls {
    bench: Arc<Bench>,
    ended: Vec<Ended>,
}

/// Records outcomes, those of several batches in a commit.
pub(crate) type Recorder = Coalescer<EndedCalls, Result<FinishReport, EngineError>>;

/// The recorder of a process.
pub(crate) fn recorder(inner: Weak<Inner>, tasks: TaskTracker) -> Recorder {
    Coalescer::new(LIMITS, tasks, move |batches| {
        let inner = Weak::clone(&inner);
        Box::pin(async move {
            match inner.upgrade() {
                Some(inner) => record_together(&inner, batches).await,
                None => Vec::new(),
            }
        })
    })
}

/// Records outcomes. What a provider said is kept even when the lease is lost; what would follow from it is not.
pub(crate) async fn record(
    inner: &Inner,
    bench: &Arc<Bench>,
    ended: Vec<Ended>,
) -> Result<FinishReport, EngineError> {
    let weight = ended.len();
    let bench = Arc::clone(bench);
    match inner.recorder.submit(weight, EndedCalls { bench, ended }).await {
        Ok(answer) => answer,
        Err(error @ (NoAnswer::Full | NoAnswer::Lost)) => Err(EngineError::Conflict {
            problem: error.to_string(),
        }),
    }
}

async fn record_together(inner: &Inner, batches: Vec<EndedCalls>) -> Vec<Result<FinishReport, EngineError>> {
    let now = inner.now();
    let mut dice = inner.dice();
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.ended.len()).collect();
    let mut told: Vec<Told> = Vec::with_capacity(sizes.iter().sum());
    for EndedCalls { bench, ended } in batches {
        let each = ended.into_iter();
        told.extend(each.map(|one| tell(inner, &bench, one, &mut dice, now)));
    }
    metrics::histogram!("tidings_outcome_batch_size").record(told.len() as f64);
    let with = (inner, now);
    let reports = together(&with, &told, |(inner, now), told| {
        Box::pin(write(inner, told, *now))
    })
    .await;
    let mut reports = reports.into_iter();
    sizes
        .into_iter()
        .map(|size| of_batch(reports.by_ref().take(size)))
        .collect()
}

/// What became of a batch. One outcome that cannot be recorded is not the end of the batch: its job stays with the lease, and what
/// became of its call is asked about by whoever takes that over.
fn of_batch(
    reports: impl Iterator<Item = Result<FinishReport, EngineError>>,
) -> Result<FinishReport, EngineError> {
    let (mut whole, mut problem, mut recorded) = (FinishReport::default(), None, false);
    for report in reports {
        match report {
            Ok(report) => {
                recorded = true;
                whole.fenced.extend(report.fenced);
                whole.settled.extend(report.settled);
            }
            Err(error) => {
                tracing::error!(%error, "the outcome of a call could not be recorded; it is asked about");
                problem = Some(error);
            }
        }
    }
    match problem {
        Some(error) if !recorded => Err(error),
        _ => Ok(whole),
    }
}
