//! What dead workers left is taken up again. Nothing special follows: a delivery's state says whether its call had begun,
//! so what was provably not sent is sent, and what may have been becomes `unknown`.
//!
//! Who killed a worker is found by company: jobs of crashed leases come back in parts that get smaller, at last one by
//! one with nothing else at work ([`tidings_queue::take_alone`]). A job that kills its worker like that again and again
//! ([`tidings_core::crash`]) is given up before it is begun again; those that were merely near it never are.

use crate::engine::Inner;
use crate::error::EngineError;
use crate::process::KINDS;
use tidings_core::ErrorCategory;
use tidings_queue::{
    LeaseId, Outcome, Parked, ParkedWork, TakenOver, park, park_expired, parked_work, take_alone, take_group,
};

/// Leases parked at once.
const LEASES: u32 = 8;

/// The end of a job that is poison.
pub(crate) fn poison() -> Outcome {
    let error = "its worker ended each time it had nothing but this job at work; look at the logs before replaying it";
    Outcome::Dead {
        cause: "poison".to_owned(),
        category: ErrorCategory::Transient,
        error: error.to_owned(),
    }
}

/// Parks what dead workers left, and says whether something is parked.
pub(crate) async fn look(inner: &Inner) -> Result<ParkedWork, EngineError> {
    let mut tx = inner.tx().await?;
    let parked = park_expired(&mut tx, KINDS, inner.now(), LEASES).await?;
    let work = parked_work(&mut tx, KINDS).await?;
    inner.fail.pass("rescue_before_commit");
    tx.commit().await?;
    parked.iter().for_each(tell);
    Ok(work)
}

/// Parks a lease of this process whose work ended abnormally.
pub(crate) async fn give_up(inner: &Inner, lease: LeaseId) -> Result<(), EngineError> {
    let mut conn = inner.conn().await?;
    let parked = park(&mut conn, inner.node, lease, inner.now()).await?;
    parked.iter().for_each(tell);
    Ok(())
}

fn tell(parked: &Parked) {
    tracing::warn!(from = %parked.from, jobs = parked.jobs, parts = parked.parts, "took over the jobs of a worker that ended");
    metrics::counter!("tidings_rescued_jobs_total").increment(u64::from(parked.jobs));
}

/// A parked group, to be worked on beside other work.
pub(crate) async fn group(inner: &Inner) -> Result<Option<TakenOver>, EngineError> {
    let mut conn = inner.conn().await?;
    Ok(take_group(&mut conn, inner.node, KINDS, inner.now(), inner.lease_ms()).await?)
}

/// A parked single job, to be worked on with nothing else at work.
pub(crate) async fn single(inner: &Inner) -> Result<Option<TakenOver>, EngineError> {
    let mut conn = inner.conn().await?;
    Ok(take_alone(&mut conn, inner.node, KINDS, inner.now(), inner.lease_ms()).await?)
}
