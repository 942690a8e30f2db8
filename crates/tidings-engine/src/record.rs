//! Outcomes on their way to the database: those of several batches share commits (`outcome.rs` says what is written).

use crate::deliver::Bench;
use crate::engine::Inner;
use crate::error::EngineError;
use crate::outcome::{Ended, Told, tell, write};
use crate::together::{COMPANY, PATIENCE, together};
use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tidings_core::JobId;
use tidings_queue::FinishReport;
use tidings_queue::coalesce::{CoalesceLimits, Coalescer};
use tokio_util::task::TaskTracker;

/// Outcomes in a shared commit. What waits is bounded by what a node has at work.
const LIMITS: CoalesceLimits = CoalesceLimits {
    batch_weight: 256,
    runners: 4,
    company: COMPANY,
    patience: PATIENCE,
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
    inner.recorder.submit(weight, EndedCalls { bench, ended }).await?
}

async fn record_together(inner: &Inner, batches: Vec<EndedCalls>) -> Vec<Result<FinishReport, EngineError>> {
    let mut answers = Vec::with_capacity(batches.len());
    let jobs = |batch: &EndedCalls| batch.ended.iter().map(|one| one.call.carried.job.id).collect();
    for round in rounds(batches, jobs) {
        let (places, round): (Vec<usize>, Vec<EndedCalls>) = round.into_iter().unzip();
        answers.extend(places.into_iter().zip(record_round(inner, round).await));
    }
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// Batches that are recorded together, with their places among all.
type Round<T> = Vec<(usize, T)>;

/// Batches with their places, divided so that a job stands once in a round: a worker that lost a lease and claimed its jobs again may
/// have two calls of one, whose outcomes follow each other.
fn rounds<T>(batches: Vec<T>, jobs: impl Fn(&T) -> HashSet<JobId>) -> Vec<Round<T>> {
    let mut rounds: Vec<(HashSet<JobId>, Round<T>)> = Vec::new();
    for one in batches.into_iter().enumerate() {
        let jobs = jobs(&one.1);
        let last = rounds.iter().rposition(|(known, _)| !known.is_disjoint(&jobs));
        match rounds.get_mut(last.map_or(0, |last| last + 1)) {
            Some((known, round)) => {
                known.extend(jobs);
                round.push(one);
            }
            None => rounds.push((jobs, vec![one])),
        }
    }
    rounds.into_iter().map(|(_, round)| round).collect()
}

async fn record_round(inner: &Inner, batches: Vec<EndedCalls>) -> Vec<Result<FinishReport, EngineError>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(batches: &[&[i64]]) -> Vec<Vec<usize>> {
        let rounds = rounds(batches.to_vec(), |jobs| jobs.iter().copied().map(JobId).collect());
        let places = |round: Round<&[i64]>| round.into_iter().map(|(place, _)| place).collect();
        rounds.into_iter().map(places).collect()
    }

    #[test]
    fn a_job_stands_once_in_a_round_and_its_outcomes_keep_their_order() {
        assert_eq!(divided(&[]), [[0; 0]; 0]);
        assert_eq!(divided(&[&[1, 2], &[3], &[4]]), [vec![0, 1, 2]]);
        assert_eq!(
            divided(&[&[1, 2], &[3, 2], &[4], &[3]]),
            [vec![0, 2], vec![1], vec![3]]
        );
        assert_eq!(divided(&[&[1], &[1], &[1], &[2]]), [vec![0, 3], vec![1], vec![2]]);
    }

    #[test]
    fn a_batch_fails_when_nothing_of_it_was_recorded() {
        let fenced = |job| {
            Ok(FinishReport {
                fenced: vec![JobId(job)],
                settled: Vec::new(),
            })
        };
        let failed = || {
            let problem = "spoilt".to_owned();
            Err(EngineError::Conflict { problem })
        };
        assert!(of_batch([failed(), failed()].into_iter()).is_err());
        for (reports, jobs) in [
            (vec![fenced(1), failed(), fenced(2)], vec![1, 2]),
            (vec![fenced(1)], vec![1]),
        ] {
            let report = of_batch(reports.into_iter()).unwrap_or_default();
            assert_eq!(report.fenced, jobs.into_iter().map(JobId).collect::<Vec<_>>());
        }
    }
}
