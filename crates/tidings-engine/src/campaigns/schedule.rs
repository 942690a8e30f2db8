//! When campaigns run: durable schedules, decided by whichever node comes first, each moment once.

use super::effective::effective;
use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;
use tidings_core::campaign::{Cadence, CampaignName, cadence};
use tidings_core::{CampaignRunId, TenantId};
use tidings_queue::schedule::{self, MissedRun, Occurrence, Schedule};
use tidings_store::campaigns::{self as stored, NewRun};
use tidings_store::tenants;
use tokio_util::sync::CancellationToken;

/// Schedules of campaigns are named so, followed by the campaign's name.
pub(crate) const SCHEDULE_PREFIX: &str = "campaign:";
/// Between two looks at schedules.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks at what tenants changed.
const SYNC: SignedDuration = SignedDuration::from_secs(15);
/// Schedules decided in one transaction.
const DECIDED_AT_ONCE: u32 = 100;
/// Clocks of other processes may be behind by so much when they write a change.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

pub(crate) fn schedule_name(campaign: &CampaignName) -> String {
    format!("{SCHEDULE_PREFIX}{campaign}")
}

impl Engine {
    /// Keeps the schedules of campaigns current and decides their moments until `stop` is cancelled.
    pub async fn schedule_campaigns(&self, stop: CancellationToken) {
        let mut seen: Option<Timestamp> = None;
        loop {
            let worked = async {
                let now = self.now();
                if seen.is_none_or(|seen| now.duration_since(seen) >= SYNC) {
                    let since = seen.and_then(|seen| seen.checked_sub(SKEW).ok());
                    self.sync_schedules(since).await?;
                    seen = Some(now);
                }
                self.decide_moments().await
            };
            if let Err(error) = worked.await {
                tracing::warn!(%error, "the campaigns' schedules could not be looked at; this is tried again");
            }
            if tokio::time::timeout(LOOK, stop.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// Writes the schedules of tenants that changed since an instant, or of all.
    ///
    /// # Errors
    /// When the database refuses. One tenant whose campaigns cannot be read is logged and does not delay the others.
    pub async fn sync_schedules(&self, since: Option<Timestamp>) -> Result<(), EngineError> {
        let inner = &self.inner;
        let mut conn = inner.conn().await?;
        let changed = stored::changed_since(&mut conn, since).await?;
        drop(conn);
        for tenant in changed {
            if let Err(error) = sync_tenant(inner, tenant).await {
                tracing::error!(%tenant, %error, "the campaigns of a tenant could not be scheduled");
            }
        }
        Ok(())
    }

    /// Decides the moments that came due, and creates a run for each. Returns how many.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn decide_moments(&self) -> Result<u64, EngineError> {
        let inner = &self.inner;
        let mut created = 0;
        loop {
            let now = inner.now();
            let mut tx = inner.tx().await?;
            let due = schedule::run_due(
                &mut tx,
                inner.node,
                SCHEDULE_PREFIX,
                now,
                DECIDED_AT_ONCE,
                next_of,
            )
            .await?;
            let decided = due.len();
            let runs = runs_of(inner, &mut tx, due, now).await?;
            created += stored::create(&mut tx, &runs, now).await?;
            tx.commit().await?;
            if !runs.is_empty() {
                inner.fail.pass("campaign_decided_after_commit");
            }
            if decided < DECIDED_AT_ONCE as usize {
                return Ok(created);
            }
        }
    }

    /// Creates a run as of now, beside the schedule.
    ///
    /// # Errors
    /// When the tenant has no such campaign.
    pub async fn run_campaign_now(
        &self,
        tenant: TenantId,
        name: &CampaignName,
    ) -> Result<CampaignRunId, EngineError> {
        let inner = &self.inner;
        let now = inner.now();
        let mut tx = inner.store.tenant(tenant).tx().await?;
        let settings = tenants::get(&mut tx, tenant).await?.settings;
        if super::effective::find(inner, &mut tx, &settings, name)
            .await?
            .is_none()
        {
            return Err(EngineError::NotFound {
                what: "campaign",
                id: name.to_string(),
            });
        }
        let run = NewRun {
            tenant,
            id: CampaignRunId(inner.dice().uuid(now)),
            campaign: name.clone(),
            as_of: now,
            by_hand: true,
        };
        let id = run.id;
        if stored::create(&mut tx, &[run], now).await? == 0 {
            return Err(EngineError::Conflict {
                problem: format!("{name} has a run of this very moment already; look at its runs"),
            });
        }
        tx.commit().await?;
        Ok(id)
    }
}

/// A schedule's next moment by its cadence.
pub(crate) fn next_of(schedule: &Schedule, after: Timestamp) -> Option<Timestamp> {
    let read: Cadence = serde_json::from_value(schedule.cadence.clone()).ok()?;
    cadence::next(&read, after)
}

/// The runs of moments of campaigns.
async fn runs_of(
    inner: &Inner,
    conn: &mut tidings_store::Conn,
    due: Vec<Occurrence>,
    now: Timestamp,
) -> Result<Vec<NewRun>, EngineError> {
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let connected: BTreeSet<TenantId> = stored::changed_since(conn, None).await?.into_iter().collect();
    let mut dice = inner.dice();
    let runs = due.into_iter().filter_map(|occurrence| {
        let schedule = occurrence.schedule;
        let name = schedule.name.strip_prefix(SCHEDULE_PREFIX)?;
        connected.contains(&schedule.tenant).then_some(())?;
        Some(NewRun {
            tenant: schedule.tenant,
            id: CampaignRunId(dice.uuid(now)),
            campaign: CampaignName::parse(name).ok()?,
            as_of: occurrence.due_at,
            by_hand: false,
        })
    });
    Ok(runs.collect())
}

async fn sync_tenant(inner: &Inner, tenant: TenantId) -> Result<(), EngineError> {
    let now = inner.now();
    let mut tx = inner.store.worker_tenant(tenant).tx().await?;
    let settings = tenants::get(&mut tx, tenant).await?.settings;
    let campaigns = effective(inner, &mut tx, &settings).await?;
    let mut wanted = BTreeSet::new();
    let known = schedule::list(&mut tx, tenant, SCHEDULE_PREFIX).await?;
    for one in campaigns.iter().filter(|one| one.switch.is_on()) {
        let name = schedule_name(&one.definition.name);
        let cadence =
            serde_json::to_value(&one.definition.schedule).map_err(|error| EngineError::Conflict {
                problem: error.to_string(),
            })?;
        wanted.insert(name.clone());
        let unchanged = known.iter().any(|schedule| {
            schedule.name == name && schedule.cadence == cadence && schedule.next_at.is_some()
        });
        if unchanged {
            continue;
        }
        let schedule = Schedule {
            tenant,
            name,
            cadence,
            // One late run covers every moment that was missed.
            missed_run: MissedRun::RunLate,
            next_at: cadence::next(&one.definition.schedule, now),
        };
        schedule::put(&mut tx, &schedule, now).await?;
    }
    for gone in known.iter().filter(|schedule| !wanted.contains(&schedule.name)) {
        schedule::disable(&mut tx, tenant, &gone.name, now).await?;
    }
    tx.commit().await?;
    Ok(())
}
