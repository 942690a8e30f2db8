//! Time that is lived through at once: the engine's own path under a virtual clock, on a scratch copy of one tenant.
//!
//! Nothing here decides anything. The clock is moved to the next instant at which something is due, and the same
//! functions work on it that work on it live; so what a simulation says is what a live run does from the same beginning.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::limits::limit_of;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use tidings_core::campaign::cadence;
use tidings_core::clock::FixedClock;
use tidings_core::decide::Policy;
use tidings_core::{CampaignRunId, Channel, MessageStatus, TenantId, WaitsFor};
use tidings_store::Store;
use tidings_store::campaigns::{self as stored, Fate, NewRun};
use tidings_store::messages::routes;
use tidings_store::scratch::{self, Lived, NextDue};
use tidings_store::tenants::{self, TenantChanges};

/// More instants than any simulation within its limits has.
const INSTANTS_MAX: u64 = 2_000_000;
/// After so many campaign runs the planner is told for the first time what the tables hold: the first ones fill them.
const ANALYZED_FIRST: u64 = 1;
/// The longest time that is lived through.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 400);

/// What was lived through.
#[derive(Clone, Debug, Serialize)]
pub struct Simulated {
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// Instants at which something was due.
    pub instants: u64,
    /// Campaign runs.
    pub runs: u64,
    /// Every message, in order of its acceptance.
    pub messages: Vec<SimulatedMessage>,
}

/// A message of a simulation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SimulatedMessage {
    /// The campaign it came from, or its type.
    pub campaign: String,
    /// The caller's reference: the same in every simulation of the same source.
    pub source_reference: Option<String>,
    /// To whom, by the tenant's own id.
    pub contact: Option<String>,
    /// What became of it by the end.
    pub outcome: SimulatedOutcome,
    /// The channel.
    pub channel: Option<Channel>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it went out, is planned to, or is decided again.
    pub at: Timestamp,
    /// The reason that held it up or ended it.
    pub because: Option<String>,
}

tidings_core::word_enum! {
    /// What became of a simulated message by the end.
    pub enum SimulatedOutcome {
        /// It went out.
        Sent = "sent",
        /// It waits for its hour.
        Held = "held",
        /// It waits for company.
        Batched = "batched",
        /// It waits for a person.
        Approval = "approval",
        /// A rule said no.
        Suppressed = "suppressed",
        /// It could not be sent, or was withdrawn.
        Failed = "failed",
    }
}

impl Engine {
    /// Copies a tenant into this engine's store, which must be a scratch one, as of an instant: connections become
    /// sandboxes with the limits of their providers, and campaigns that have run before are taken to have run until then.
    ///
    /// # Errors
    /// When a database refuses.
    pub async fn prepare_simulation(
        &self,
        live: &Store,
        tenant: TenantId,
        from: Timestamp,
        policy: Option<Policy>,
    ) -> Result<(), EngineError> {
        let inner = &self.inner;
        self.keep_limits_in_process();
        self.register().await?;
        scratch::copy_tenant(live, &inner.store, tenant, from).await?;
        let mut tx = inner.store.worker_tenant(tenant).tx().await?;
        let limits: Vec<_> = routes::load(&mut tx, &[tenant])
            .await?
            .into_iter()
            .map(|route| {
                let json = limit_of(&route)
                    .map(|limit| json!({ "limit": limit.limit(), "per_ms": limit.per().as_millis() }));
                (route.id, json)
            })
            .collect();
        scratch::sandbox_connections(&mut tx, tenant, &limits).await?;
        if let Some(policy) = policy {
            let changes = TenantChanges {
                policy: Some(policy),
                ..TenantChanges::default()
            };
            tenants::update(&mut tx, tenant, changes, from).await?;
        }
        tx.commit().await?;
        self.assume_earlier_runs(tenant, from).await
    }

    /// A campaign that ran before is taken to have run at its last moment before the beginning: what came due between its
    /// last real run and the beginning is not of this simulation.
    async fn assume_earlier_runs(&self, tenant: TenantId, from: Timestamp) -> Result<(), EngineError> {
        let inner = &self.inner;
        let campaigns = self.campaigns(tenant).await?;
        for campaign in campaigns {
            let definition = campaign.definition;
            let mut tx = inner.store.worker_tenant(tenant).tx().await?;
            let known = stored::list_runs(&mut tx, Some(&definition.name), None, 1).await?;
            let before = from.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(from);
            let assumed = cadence::previous(&definition.schedule, before)
                .filter(|at| known.items.first().is_some_and(|run| run.as_of < *at));
            if let Some(as_of) = assumed {
                let run = NewRun {
                    tenant,
                    id: CampaignRunId(inner.dice().uuid(from)),
                    campaign: definition.name,
                    as_of,
                    by_hand: false,
                };
                stored::create(&mut tx, &[run], as_of).await?;
                let lease = SignedDuration::from_mins(1);
                if let Some(claimed) = stored::claim(&mut tx, inner.node, Some(tenant), as_of, lease).await? {
                    stored::finish(&mut tx, &claimed, &Fate::Complete, as_of).await?;
                }
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Lives through the time from the clock's instant up to `to`: campaigns run, messages are decided, held, batched and
    /// sent to the sandbox. `clock` must be this engine's.
    ///
    /// # Errors
    /// When the time is too long, or the scratch database fails.
    pub async fn simulate(
        &self,
        clock: &FixedClock,
        tenant: TenantId,
        to: Timestamp,
    ) -> Result<Simulated, EngineError> {
        let from = self.now();
        if to <= from || to.duration_since(from) > LONGEST {
            return Err(EngineError::Conflict {
                problem: format!(
                    "a simulation lives through up to {} days, and its end lies after its beginning; {from} to {to} is not that",
                    LONGEST.as_hours() / 24
                ),
            });
        }
        let (instants, runs) = self.live_until(clock, tenant, to).await?;
        let mut conn = self.inner.conn().await?;
        let lived = scratch::lived(&mut conn, tenant, from).await?;
        Ok(Simulated {
            from,
            to,
            instants,
            runs,
            messages: lived.into_iter().map(told).collect(),
        })
    }

    /// Works on everything that comes due up to an instant, moving the clock from one to the next. Returns how many there
    /// were, and how many campaign runs.
    ///
    /// # Errors
    /// When the database fails, or instants do not end.
    pub async fn live_until(
        &self,
        clock: &FixedClock,
        tenant: TenantId,
        to: Timestamp,
    ) -> Result<(u64, u64), EngineError> {
        self.sync_schedules(None).await?;
        // What was there before, and what knows no instant: arrivals of other programs, what a dead node left.
        self.run_due().await?;
        let mut runs = 0;
        let mut analyze_at = ANALYZED_FIRST;
        // Moving the clock changes nothing that is stored, so what comes next is asked only after work.
        let mut next = self.next_due(tenant).await?;
        for instants in 1..=INSTANTS_MAX {
            if runs >= analyze_at {
                scratch::analyze(&self.inner.store).await?;
                analyze_at = runs.saturating_mul(4);
            }
            let now = self.now();
            if next.campaign.is_some_and(|at| at <= now) {
                self.decide_moments().await?;
                runs += self.run_campaigns_due(Some(tenant)).await?;
                next = self.next_due(tenant).await?;
            }
            if next.ready || next.job.is_some_and(|at| at <= now) {
                self.run_due().await?;
                next = self.next_due(tenant).await?;
            }
            // A line may outlive its jobs; it has a turn only while some are ready.
            let turn = self.inner.limiter.next_turn().filter(|_| next.ready);
            match next.campaign.into_iter().chain(next.job).chain(turn).min() {
                // Rounded to the microsecond, as the database keeps it.
                Some(at) if at <= to => {
                    let soonest = now.saturating_add(SignedDuration::from_micros(1)).unwrap_or(to);
                    clock.set(at.max(soonest));
                }
                _ => {
                    clock.set(to);
                    return Ok((instants, runs));
                }
            }
        }
        Err(EngineError::Conflict {
            problem: format!("more than {INSTANTS_MAX} instants; something makes itself due again"),
        })
    }

    async fn next_due(&self, tenant: TenantId) -> Result<NextDue, EngineError> {
        let mut conn = self.inner.conn().await?;
        Ok(scratch::next_due(&mut conn, tenant).await?)
    }
}

fn told(lived: Lived) -> SimulatedMessage {
    let campaign = lived
        .source_reference
        .as_deref()
        .and_then(|reference| reference.strip_prefix("campaign:")?.split(':').next())
        .unwrap_or(&lived.message_type)
        .to_owned();
    let outcome = match (lived.status, lived.waits_for) {
        (MessageStatus::Suppressed, _) => SimulatedOutcome::Suppressed,
        (MessageStatus::Failed | MessageStatus::Bounced | MessageStatus::Cancelled, _) => {
            SimulatedOutcome::Failed
        }
        (MessageStatus::Pending, Some(WaitsFor::Batch)) => SimulatedOutcome::Batched,
        (MessageStatus::Pending, Some(WaitsFor::Approval)) => SimulatedOutcome::Approval,
        (MessageStatus::Pending | MessageStatus::Queued, _) => SimulatedOutcome::Held,
        _ => SimulatedOutcome::Sent,
    };
    SimulatedMessage {
        campaign,
        source_reference: lived.source_reference,
        contact: lived.contact,
        outcome,
        channel: lived.channel,
        accepted_at: lived.accepted_at,
        at: lived.at,
        because: lived.because,
    }
}

/// What a changed policy does to a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The message's reference.
    pub source_reference: String,
    /// The campaign it came from.
    pub campaign: String,
    /// As things are; none when there was no such message.
    pub before: Option<SimulatedMessage>,
    /// With the change.
    pub after: Option<SimulatedMessage>,
}

/// The messages that two simulations of the same source differ about, in order of their references. What has no reference
/// cannot be told apart and is left out.
pub fn differences(before: &Simulated, after: &Simulated) -> Vec<Moved> {
    let by_reference = |simulated: &Simulated| -> BTreeMap<String, SimulatedMessage> {
        let messages = simulated.messages.iter();
        messages
            .filter_map(|message| Some((message.source_reference.clone()?, message.clone())))
            .collect()
    };
    let (old, mut new) = (by_reference(before), by_reference(after));
    let mut moved: Vec<Moved> = old
        .into_iter()
        .filter_map(|(reference, before)| {
            let after = new.remove(&reference);
            (after.as_ref() != Some(&before)).then(|| Moved {
                campaign: before.campaign.clone(),
                source_reference: reference,
                before: Some(before),
                after,
            })
        })
        .collect();
    moved.extend(new.into_iter().map(|(reference, after)| Moved {
        campaign: after.campaign.clone(),
        source_reference: reference,
        before: None,
        after: Some(after),
    }));
    moved.sort_by(|one, other| one.source_reference.cmp(&other.source_reference));
    moved
}
