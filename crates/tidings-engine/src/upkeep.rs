//! Upkeep: what is finished leaves the tables when its time is over, figures are added up, and jobs that no list knows
//! are found again. Every step is bounded; several nodes may do it at once and do no harm.

use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tidings_core::JobId;
use tidings_queue::{roll_up_tallies, sweep};
use tidings_store::campaigns;
use tidings_store::messages::retention::{self, Retention};
use tidings_store::suppressions;
use tokio_util::sync::CancellationToken;

/// Between two steps while there is something to do.
const BUSY: Duration = Duration::from_secs(1);
/// Between two steps when there is not.
const IDLE: Duration = Duration::from_mins(1);
/// Between two looks at what is kept no longer.
const RETENTION_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// Rows of one step.
const STEP: u32 = 2_000;

/// Finished jobs are kept so long.
const JOBS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Hourly figures are kept so long.
const FIGURES_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Communication logs are kept two years.
const MESSAGES_KEPT: SignedDuration = SignedDuration::from_hours(2 * 365 * 24);
/// Applied webhooks hold personal data that erasure does not reach; they go soon.
const WEBHOOKS_KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Campaign runs, with what became of each due row, and the moments of schedules: a season's run can be compared with the last.
const RUNS_KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);
/// Alerts that are over.
const ALERTS_KEPT: SignedDuration = SignedDuration::from_hours(180 * 24);
/// Moments at which alerts were looked at: one a minute.
const ROUNDS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Runs of one step; each may have a hundred thousand rows.
const RUNS_AT_ONCE: i64 = 20;
/// What the sandbox captured.
const SANDBOX_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

impl Engine {
    /// Keeps house until `stop` is cancelled.
    pub async fn keep_up(&self, stop: CancellationToken) {
        let mut state = State {
            place: None,
            retention_due: self.now(),
        };
        loop {
            let pause = match step(&self.inner, &mut state).await {
                Ok(0) => IDLE,
                Ok(_) => BUSY,
                Err(error) => {
                    tracing::warn!(%error, "upkeep failed and is tried again");
                    IDLE
                }
            };
            if tokio::time::timeout(pause, stop.cancelled()).await.is_ok() {
                return;
            }
        }
    }
}

/// Where upkeep stands.
struct State {
    /// Where the walk over all jobs goes on.
    place: Option<JobId>,
    /// When retention is looked at again: it reads tables from end to end.
    retention_due: Timestamp,
}

/// One step of everything; returns how many rows were touched.
async fn step(inner: &Inner, state: &mut State) -> Result<u64, EngineError> {
    let now = inner.now();
    let before = |kept: SignedDuration| now.saturating_sub(kept).unwrap_or(Timestamp::MIN);
    let mut conn = inner.conn().await?;
    let mut touched = roll_up_tallies(&mut conn, STEP, before(FIGURES_KEPT)).await?;
    let swept = sweep(&mut conn, state.place, STEP, before(JOBS_KEPT)).await?;
    state.place = swept.next;
    touched += u64::from(swept.next.is_some());
    touched += suppressions::lift_expired(&mut conn, i64::from(STEP), now).await?;
    if now >= state.retention_due {
        let retention = Retention {
            messages_before: before(MESSAGES_KEPT),
            webhooks_before: before(WEBHOOKS_KEPT),
            sandbox_before: before(SANDBOX_KEPT),
            keys_before: now,
        };
        let gone = retention::step(&mut conn, &retention, i64::from(STEP)).await?;
        let runs = campaigns::forget(&mut conn, before(RUNS_KEPT), RUNS_AT_ONCE).await?;
        let moments = tidings_queue::schedule::forget(&mut conn, before(RUNS_KEPT)).await?;
        let alerts = crate::alerts::forget(&mut conn, before(ALERTS_KEPT), before(ROUNDS_KEPT), STEP).await?;
        if gone < u64::from(STEP) && runs == 0 && moments == 0 && alerts == 0 {
            state.retention_due = now.saturating_add(RETENTION_EVERY).unwrap_or(Timestamp::MAX);
        }
        touched += gone + runs + moments + alerts;
    }
    Ok(touched)
}
