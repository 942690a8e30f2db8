//! Leases of dead workers are taken over. Nothing special follows: a delivery's state says whether its call had begun,
//! so what was provably not sent is sent, and what may have been becomes `unknown`.

use crate::engine::Inner;
use crate::error::EngineError;
use crate::process::KINDS;
use tidings_queue::{TakenOver, take_over};

/// Leases taken over at once.
const LEASES: u32 = 8;

/// Takes over what dead workers left.
pub(crate) async fn rescue(inner: &Inner) -> Result<Vec<TakenOver>, EngineError> {
    let now = inner.now();
    let lease_ms = i64::try_from(inner.limits.lease.as_millis()).unwrap_or(i64::MAX);
    let mut tx = inner.tx().await?;
    let taken = take_over(&mut tx, inner.node, KINDS, now, lease_ms, LEASES).await?;
    inner.fail.pass("rescue_before_commit");
    tx.commit().await?;
    for one in &taken {
        tracing::warn!(from = %one.from, jobs = one.jobs.len(), "took over the jobs of a worker that ended");
        metrics::counter!("tidings_rescued_jobs_total").increment(one.jobs.len() as u64);
    }
    Ok(taken)
}
