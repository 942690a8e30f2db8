//! When alerts are looked at, and when digests are due: durable schedules of the installation.

use super::INSTALLATION;
use crate::campaigns::next_of;
use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::time::Duration;
use tidings_core::TenantId;
use tidings_core::campaign::{Cadence, cadence};
use tidings_core::job::JobKind;
use tidings_queue::schedule::{self, MissedRun, Occurrence, Schedule};
use tidings_queue::{NewJob, enqueue};
use tidings_store::Conn;
use tidings_store::alerts::settings;
use tokio_util::sync::CancellationToken;

/// All schedules of alerts are named so.
const PREFIX: &str = "alerts:";
/// Figures are looked at.
pub(super) const ROUND: &str = "alerts:round";
/// Digests are looked for.
pub(super) const DIGEST: &str = "alerts:digest";
/// Between two looks at the figures.
const ROUND_MS: i64 = 60_000;
/// Between two looks for digests.
const DIGEST_MS: i64 = 3_600_000;
/// Between two looks at the schedules.
const LOOK: Duration = Duration::from_secs(1);
/// Between two checks that the schedules are there.
const SYNC: SignedDuration = SignedDuration::from_secs(15);
/// Schedules decided in one transaction: there are two.
const DECIDED_AT_ONCE: u32 = 10;
/// Open rates change slowly and cost more: looked at every so many minutes.
const OPENS_EVERY_MIN: i64 = 15;

impl Engine {
    /// Looks at figures and enqueues digests when their moments come, until `stop` is cancelled. By itself: neither waits
    /// for campaigns, nor do campaigns wait for it.
    pub async fn watch_alerts(&self, stop: CancellationToken) {
        let mut synced: Option<Timestamp> = None;
        loop {
            let worked = async {
                let now = self.now();
                if synced.is_none_or(|at| now.duration_since(at) >= SYNC) {
                    self.sync_alert_schedules().await?;
                    synced = Some(now);
                }
                self.decide_alert_moments().await
            };
            if let Err(error) = worked.await {
                tracing::warn!(%error, "the schedules of alerts could not be looked at; this is tried again");
            }
            if tokio::time::timeout(LOOK, stop.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// Decides the moments of alerts that came due, and does what they ask for.
    ///
    /// # Errors
    /// When the database refuses. Figures that cannot be looked at are told in the log.
    pub async fn decide_alert_moments(&self) -> Result<(), EngineError> {
        let inner = &self.inner;
        let now = inner.now();
        let mut tx = inner.tx().await?;
        let due = schedule::run_due(&mut tx, inner.node, PREFIX, now, DECIDED_AT_ONCE, next_of).await?;
        enqueue_digests(inner, &mut tx, &due, now).await?;
        tx.commit().await?;
        watch(inner, &due).await;
        Ok(())
    }

    /// Writes the schedules of alerts where they are missing; nothing changes where they are there.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn sync_alert_schedules(&self) -> Result<(), EngineError> {
        let now = self.inner.now();
        let mut conn = self.inner.conn().await?;
        let known = schedule::list(&mut conn, INSTALLATION, PREFIX).await?;
        for (name, interval_ms) in [(ROUND, ROUND_MS), (DIGEST, DIGEST_MS)] {
            let beat = Cadence::Interval {
                interval_ms,
                interval_env: None,
            };
            let cadence = serde_json::to_value(&beat).map_err(|error| EngineError::Conflict {
                problem: error.to_string(),
            })?;
            let there = |one: &Schedule| one.name == name && one.cadence == cadence && one.next_at.is_some();
            if known.iter().any(there) {
                continue;
            }
            let wanted = Schedule {
                tenant: INSTALLATION,
                name: name.to_owned(),
                cadence,
                // The figures are those of now, whenever the moment was.
                missed_run: MissedRun::RunLate,
                next_at: cadence::next(&beat, now),
            };
            schedule::put(&mut conn, &wanted, now).await?;
        }
        Ok(())
    }
}

/// Enqueues the digests whose hour has come by a moment. Each hour of each tenant is one job, however often it is asked
/// for, so hours that were missed are made up for.
async fn enqueue_digests(
    inner: &Inner,
    conn: &mut Conn,
    due: &[Occurrence],
    now: Timestamp,
) -> Result<(), EngineError> {
    let Some(moment) = due.iter().find(|one| one.schedule.name == DIGEST) else {
        return Ok(());
    };
    let mut jobs = Vec::new();
    for (tenant, hour_utc) in settings::with_digest(conn).await? {
        let beat = Cadence::Day {
            hour_utc,
            hour_env: None,
        };
        if let Some(at) = cadence::previous(&beat, moment.due_at) {
            jobs.extend(digest_job(inner, tenant, at));
        }
    }
    enqueue(conn, &jobs, now).await?;
    Ok(())
}

fn digest_job(inner: &Inner, tenant: TenantId, at: Timestamp) -> Option<NewJob> {
    let kind = JobKind::AlertDigest;
    let payload = serde_json::value::to_raw_value(&json!({ "as_of": at })).ok()?;
    let mut job = NewJob::new(tenant, kind, kind.priority(tidings_core::Urgency::Low), payload);
    job.source_reference = Some(format!("digest:{at}"));
    job.max_retries = i32::try_from(inner.schedule.max_retries(kind)).unwrap_or(i32::MAX);
    Some(job)
}

/// Looks at the figures where a moment says so. A failure is told and the next minute tries again.
async fn watch(inner: &Inner, due: &[Occurrence]) {
    let Some(moment) = due.iter().find(|one| one.schedule.name == ROUND) else {
        return;
    };
    let minute = moment.due_at.as_second().div_euclid(60);
    let with_opens = minute.rem_euclid(OPENS_EVERY_MIN) == 0
        || moment.late_ms > SignedDuration::from_mins(OPENS_EVERY_MIN).as_millis() as i64;
    match super::round::round(inner, with_opens).await {
        Ok(done) if done.raised + done.resolved > 0 => {
            tracing::info!(raised = done.raised, resolved = done.resolved, "alerts changed");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "alerts could not be looked at; the next minute tries again"),
    }
}
