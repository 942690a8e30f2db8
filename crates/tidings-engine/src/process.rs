//! Working on a claimed batch: each job goes to the file that knows its kind. Every part finishes its own jobs in the
//! transactions that write their effects.

use crate::deliver::{self, Carried};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::rescue::poison;
use crate::{alerts, batch, foreign, hold, inbox};
use serde::Deserialize;
use tidings_core::job::JobKind;
use tidings_core::retry::{Failure, NextTry, next_try};
use tidings_core::{DeliveryId, ErrorCategory};
use tidings_queue::{ClaimedJob, Finish, FinishReport, LeaseId, Outcome, finish};

/// The kinds this engine works on.
pub(crate) const KINDS: &[JobKind] = &[
    JobKind::SendSms,
    JobKind::SendEmail,
    JobKind::SendWhatsapp,
    JobKind::NotifyCustomer,
    JobKind::MessageRelease,
    JobKind::BatchClose,
    JobKind::WebhookProcess,
    JobKind::AlertNotify,
    JobKind::AlertDigest,
    JobKind::Noop,
];

/// The part of a send job's payload that the engine itself wrote.
#[derive(Deserialize)]
struct OwnPayload {
    delivery_id: DeliveryId,
}

/// Jobs of one lease, by what they need.
#[derive(Default)]
struct Sorted {
    deliveries: Vec<(ClaimedJob, DeliveryId)>,
    foreign: Vec<ClaimedJob>,
    releases: Vec<ClaimedJob>,
    closes: Vec<ClaimedJob>,
    webhooks: Vec<ClaimedJob>,
    alerts: Vec<ClaimedJob>,
    done: Vec<ClaimedJob>,
    /// Those that kill their workers, but for deliveries, whose message ends with them.
    poison: Vec<ClaimedJob>,
}

impl Sorted {
    fn of(jobs: Vec<ClaimedJob>) -> Self {
        let mut sorted = Self::default();
        for job in jobs {
            let own = serde_json::from_str::<OwnPayload>(job.payload.get())
                .ok()
                .filter(|_| job.kind.is_send());
            match (job.kind, own) {
                (_, Some(own)) => sorted.deliveries.push((job, own.delivery_id)),
                _ if job.is_poison() => sorted.poison.push(job),
                (JobKind::MessageRelease, _) => sorted.releases.push(job),
                (JobKind::BatchClose, _) => sorted.closes.push(job),
                (JobKind::WebhookProcess, _) => sorted.webhooks.push(job),
                (JobKind::AlertNotify | JobKind::AlertDigest, _) => sorted.alerts.push(job),
                (kind, _) if kind.is_send() => sorted.foreign.push(job),
                _ => sorted.done.push(job),
            }
        }
        sorted
    }
}

/// Works on a batch and returns what was finished.
pub(crate) async fn process(inner: &Inner, lease: LeaseId, jobs: Vec<ClaimedJob>) -> Vec<FinishReport> {
    let sorted = Sorted::of(jobs);
    let mut reports = Vec::new();
    let done = sorted.done.iter().map(|job| finished(job, lease, Outcome::Done));
    let poison = sorted.poison.iter().map(|job| finished(job, lease, poison()));
    let ends: Vec<Finish> = done.chain(poison).collect();
    if !ends.is_empty() {
        reports.extend(finish_only(inner, ends).await);
    }
    // Before anything that waits for a provider.
    for job in inbox::apply_together(inner, lease, sorted.webhooks, &mut reports).await {
        let worked = inbox::apply(inner, lease, &job, &mut reports).await;
        settle_failure(inner, lease, vec![job], worked, &mut reports).await;
    }
    let deliveries: Vec<ClaimedJob> = sorted.deliveries.iter().map(|(job, _)| job.clone()).collect();
    if !deliveries.is_empty() {
        let worked = deliver::deliver(inner, lease, sorted.deliveries, &mut reports).await;
        settle_failure(inner, lease, deliveries, worked, &mut reports).await;
    }
    if !sorted.foreign.is_empty() {
        let worked = foreign::take_up(inner, lease, &sorted.foreign, &mut reports).await;
        settle_failure(inner, lease, sorted.foreign, worked, &mut reports).await;
    }
    if !sorted.releases.is_empty() {
        let worked = hold::release(inner, lease, &sorted.releases, &mut reports).await;
        settle_failure(inner, lease, sorted.releases, worked, &mut reports).await;
    }
    for job in sorted.alerts {
        let worked = alerts::tell(inner, lease, &job, &mut reports).await;
        settle_failure(inner, lease, vec![job], worked, &mut reports).await;
    }
    for job in sorted.closes {
        let worked = batch::close(inner, lease, &job, &mut reports).await;
        settle_failure(inner, lease, vec![job], worked, &mut reports).await;
    }
    reports
}

/// Jobs whose part failed come again later; whatever a delivery had begun is found by its state. A job that keeps
/// failing ends as a dead letter instead of going round for ever.
async fn settle_failure(
    inner: &Inner,
    lease: LeaseId,
    jobs: Vec<ClaimedJob>,
    worked: Result<(), EngineError>,
    reports: &mut Vec<FinishReport>,
) {
    let Err(error) = worked else { return };
    tracing::error!(%error, jobs = jobs.len(), "a batch of jobs failed and is tried again");
    metrics::counter!("tidings_batches_failed_total").increment(1);
    let now = inner.now();
    let mut dice = inner.dice();
    let mut finishes = Vec::with_capacity(jobs.len());
    for job in &jobs {
        let failure = Failure {
            category: ErrorCategory::Transient,
            retries: u32::try_from(job.retry_count).unwrap_or(0),
            max_retries: u32::try_from(job.max_retries).unwrap_or(0),
            retry_after: None,
            first_due_at: now,
        };
        let text = error.to_string();
        // Internal waits: the provider has nothing to do with it.
        let outcome = match next_try(&failure, JobKind::Noop, &inner.schedule, now, &mut dice) {
            NextTry::At { at, .. } => {
                let counts = !error.is_transient();
                Outcome::Retry {
                    at,
                    category: ErrorCategory::Transient,
                    error: text,
                    counts,
                }
            }
            NextTry::GiveUp => Outcome::Dead {
                cause: "internal_error".to_owned(),
                category: ErrorCategory::Transient,
                error: text,
            },
        };
        finishes.push(finished(job, lease, outcome));
    }
    reports.extend(finish_only(inner, finishes).await);
}

/// Finishes jobs that have no effects. When the database does not answer the lease keeps them: they are rescued when it
/// expires.
async fn finish_only(inner: &Inner, finishes: Vec<Finish>) -> Option<FinishReport> {
    let worked = async {
        let mut tx = inner.tx().await?;
        let report = finish(&mut tx, inner.node, &finishes, inner.now()).await?;
        tx.commit().await?;
        Ok::<_, EngineError>(report)
    };
    match worked.await {
        Ok(report) => Some(report),
        Err(error) => {
            tracing::error!(%error, jobs = finishes.len(), "jobs could not be finished");
            None
        }
    }
}

/// The end of a job's turn.
pub(crate) fn finished(job: &ClaimedJob, lease: LeaseId, outcome: Outcome) -> Finish {
    Finish {
        job: job.id,
        lease,
        outcome,
    }
}

/// The end of a carried delivery's turn.
pub(crate) fn ended(carried: &Carried, lease: LeaseId, outcome: Outcome) -> Finish {
    finished(&carried.job, lease, outcome)
}
