//! Alerts: looked at once a minute by one node, raised as soon as a refused credential is on record, told through the queue.
//!
//! `round` turns figures into alerts by the rules of `tidings_core::alert`; `raise` writes them together with the jobs that
//! tell of them; `notify` and `digest` are those jobs. What is told follows from the alert's state at the moment of telling,
//! so jobs may come late, twice or in any order.

mod digest;
mod facade;
mod notify;
mod raise;
mod round;
mod schedule;
mod setup;

pub use facade::AlertTold;
pub(crate) use raise::raise_refused;
pub use round::RoundDone;
pub(crate) use round::WatchedTo;
pub use setup::{AlertSetup, check_notifiers};

use crate::engine::Inner;
use crate::error::EngineError;
use jiff::Timestamp;
use tidings_core::TenantId;
use tidings_core::job::JobKind;
use tidings_queue::{ClaimedJob, FinishReport, LeaseId};
use tidings_store::Conn;
use uuid::Uuid;

/// Whom the installation's own schedules belong to.
pub(crate) const INSTALLATION: TenantId = TenantId(Uuid::nil());

/// Works on a job that tells of alerts.
pub(crate) async fn tell(
    inner: &Inner,
    lease: LeaseId,
    job: &ClaimedJob,
    reports: &mut Vec<FinishReport>,
) -> Result<(), EngineError> {
    if job.kind == JobKind::AlertDigest {
        digest::send(inner, lease, job, reports).await
    } else {
        notify::tell(inner, lease, job, reports).await
    }
}

/// Forgets alerts that have long been over, and moments at which nothing but looking was done. Returns how many rows.
pub(crate) async fn forget(
    conn: &mut Conn,
    alerts_before: Timestamp,
    rounds_before: Timestamp,
    limit: u32,
) -> Result<u64, EngineError> {
    let mut gone = tidings_store::alerts::forget(conn, alerts_before, i64::from(limit)).await?;
    for name in [schedule::ROUND, schedule::DIGEST] {
        gone += tidings_queue::schedule::forget_of(conn, INSTALLATION, name, rounds_before).await?;
    }
    Ok(gone)
}
