//! A run: claimed by one node, it reads the source page by page, proposes, and writes down what became of each due row with
//! where to go on. Interrupted anywhere, it goes on there, and nothing is proposed twice.

use super::author::Author;
use super::effective::find;
use super::propose::Proposer;
use super::source::{self, SourceProblem};
use crate::engine::Engine;
use crate::error::EngineError;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::campaign::cadence::{self, Plan};
use tidings_core::campaign::{Definition, RunWindow, bounds};
use tidings_core::{ErrorCategory, TenantId};
use tidings_source::Source;
use tidings_store::campaigns::{self as stored, ClaimedRun, Fate, PageDone};
use tidings_store::tenants;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Signs of life within a lease, so that one that fails costs nothing.
const BEATS: u32 = 3;
/// Between two looks for a run.
const LOOK: Duration = Duration::from_secs(1);
/// Waits after tries that failed; one more failure gives the run up, and the next one covers its moments.
const WAITS: [SignedDuration; 5] = [
    SignedDuration::from_mins(1),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(15),
    SignedDuration::from_mins(30),
    SignedDuration::from_mins(60),
];

/// Bounds of a node's runs.
#[derive(Clone, Copy, Debug)]
pub struct RunPace {
    /// Runs under way at once. Each reads one source, so a slow one holds up nobody but itself.
    pub runs: usize,
}

impl Default for RunPace {
    fn default() -> Self {
        Self { runs: 16 }
    }
}

/// What a run's turn led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    /// Every row was looked at.
    Complete,
    /// It is tried again at the instant.
    Again(Timestamp),
    /// It was given up.
    Failed,
    /// Another node has it.
    Lost,
}

/// Why a turn ended early.
enum Stopped {
    Source(SourceProblem),
    Engine(EngineError),
    Lost,
    Draining,
}

impl From<EngineError> for Stopped {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<tidings_store::StoreError> for Stopped {
    fn from(error: tidings_store::StoreError) -> Self {
        Self::Engine(error.into())
    }
}

impl From<SourceProblem> for Stopped {
    fn from(problem: SourceProblem) -> Self {
        Self::Source(problem)
    }
}

impl Engine {
    /// Works on runs until `stop` is cancelled, then lets those under way end their page.
    pub async fn run_campaigns(&self, pace: RunPace, stop: CancellationToken) {
        let mut under_way: JoinSet<()> = JoinSet::new();
        while !stop.is_cancelled() {
            let mut idle = true;
            if under_way.len() < pace.runs.max(1) {
                match self.claim_run(None).await {
                    Ok(Some(run)) => {
                        let (engine, stop) = (self.clone(), stop.clone());
                        under_way.spawn(async move {
                            engine.work_on(run, &stop).await;
                        });
                        idle = false;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%error, "no campaign run could be claimed; this is tried again");
                    }
                }
            }
            if idle {
                tokio::select! {
                    () = stop.cancelled() => {}
                    Some(_) = under_way.join_next() => {}
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// Runs everything that is due, one after the other, of one tenant or of all: for tests, simulations and the command
    /// line. Returns how many turns were taken.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn run_campaigns_due(&self, only: Option<TenantId>) -> Result<u64, EngineError> {
        let never = CancellationToken::new();
        let mut turns = 0;
        while let Some(run) = self.claim_run(only).await? {
            self.work_on(run, &never).await;
            turns += 1;
        }
        Ok(turns)
    }

    async fn claim_run(&self, only: Option<TenantId>) -> Result<Option<ClaimedRun>, EngineError> {
        let inner = &self.inner;
        let mut conn = inner.conn().await?;
        let claimed = stored::claim(&mut conn, inner.node, only, inner.now(), self.lease()).await?;
        if claimed.is_some() {
            inner.fail.pass("campaign_claimed_after_commit");
        }
        Ok(claimed)
    }

    /// One turn of a run, to its end or to what stops it.
    async fn work_on(&self, run: ClaimedRun, stop: &CancellationToken) -> Ran {
        let (tenant, campaign) = (run.tenant, run.campaign.clone());
        let read = tokio::select! {
            read = Box::pin(self.read_through(&run, stop)) => read,
            () = self.beat(&run) => Err(Stopped::Lost),
        };
        let ended = match read {
            Ok(ran) => Ok(ran),
            Err(Stopped::Lost) => Ok(Ran::Lost),
            Err(Stopped::Draining) => self.again(&run, self.now(), None).await,
            Err(Stopped::Source(problem)) => {
                tracing::warn!(%tenant, %campaign, error = %problem, "a campaign could not read its source");
                self.after_failure(&run, problem.category, &problem.problem).await
            }
            Err(Stopped::Engine(error)) => {
                tracing::error!(%tenant, %campaign, %error, "a campaign run failed");
                self.after_failure(&run, ErrorCategory::Transient, &error.to_string())
                    .await
            }
        };
        let ran = ended.unwrap_or_else(|error| {
            tracing::error!(%tenant, %campaign, %error, "a campaign run could not be ended; its lease expires and it goes on");
            Ran::Lost
        });
        let word = match ran {
            Ran::Complete => "complete",
            Ran::Again(_) => "again",
            Ran::Failed => "failed",
            Ran::Lost => "lost",
        };
        metrics::counter!("tidings_campaign_runs_total", "ended" => word).increment(1);
        ran
    }

    /// How long a node may be silent about a run.
    fn lease(&self) -> SignedDuration {
        SignedDuration::try_from(self.inner.limits.lease).unwrap_or(SignedDuration::MAX)
    }

    fn lease_until(&self) -> Timestamp {
        self.now().saturating_add(self.lease()).unwrap_or(Timestamp::MAX)
    }

    /// Renews the lease while a page is worked on, however long it takes; its statements have limits of their own. Ends
    /// when another node has the run.
    async fn beat(&self, run: &ClaimedRun) {
        let mut beats =
            tokio::time::interval((self.inner.limits.lease / BEATS).max(Duration::from_millis(1)));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once, and the claim is as fresh.
        beats.tick().await;
        loop {
            beats.tick().await;
            let renewed = async {
                let mut conn = self.inner.conn().await?;
                let kept = stored::heartbeat(&mut conn, run, self.lease_until()).await?;
                Ok::<_, EngineError>(kept)
            };
            match renewed.await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(tenant = %run.tenant, campaign = %run.campaign, %error, "the lease of a campaign run could not be renewed; this is tried again");
                }
            }
        }
    }

    async fn after_failure(
        &self,
        run: &ClaimedRun,
        category: ErrorCategory,
        error: &str,
    ) -> Result<Ran, EngineError> {
        let wait = WAITS.get(run.tries as usize).copied();
        if let Some(wait) = wait.filter(|_| category == ErrorCategory::Transient) {
            let at = self.now().saturating_add(wait).unwrap_or(Timestamp::MAX);
            return self.again(run, at, Some((category, error))).await;
        }
        let fate = Fate::Failed {
            category,
            error: error.to_owned(),
        };
        self.end(run, fate, Ran::Failed).await
    }

    async fn again(
        &self,
        run: &ClaimedRun,
        at: Timestamp,
        failed: Option<(ErrorCategory, &str)>,
    ) -> Result<Ran, EngineError> {
        let mut conn = self.inner.conn().await?;
        let kept = stored::retry(&mut conn, run, at, failed).await?;
        Ok(if kept { Ran::Again(at) } else { Ran::Lost })
    }

    async fn end(&self, run: &ClaimedRun, fate: Fate, ran: Ran) -> Result<Ran, EngineError> {
        let mut conn = self.inner.conn().await?;
        let kept = stored::finish(&mut conn, run, &fate, self.now()).await?;
        Ok(if kept { ran } else { Ran::Lost })
    }

    /// Reads to the end. The last page is written down with the run's end, in one transaction.
    async fn read_through(&self, run: &ClaimedRun, stop: &CancellationToken) -> Result<Ran, Stopped> {
        let inner = &self.inner;
        let (proposer, source) = self.begin(run).await?;
        let limits = bounds(&proposer.definition, &proposer.window);
        let mut pages = source
            .pages(&proposer.definition, run.as_of, &limits, run.after_key.as_deref())
            .await
            .map_err(SourceProblem::from)?;
        while let Some(page) = pages.next_page().await.map_err(SourceProblem::from)? {
            let Some(worked) = proposer.page(self, &page.rows, stop).await? else {
                return Err(Stopped::Draining);
            };
            inner.fail.pass("campaign_proposed");
            if worked.found != worked.rows.len() {
                tracing::error!(
                    tenant = %run.tenant, campaign = %run.campaign, due = worked.found, listed = worked.rows.len(),
                    "not every due row of a page is accounted for; the run's report says so"
                );
            }
            let now = inner.now();
            let done = PageDone {
                scanned: u32::try_from(page.rows.len()).unwrap_or(u32::MAX),
                last_key: page.last_key,
                due: u32::try_from(worked.found).unwrap_or(u32::MAX),
                rows: worked.rows,
                lease_until: self.lease_until(),
            };
            let mut tx = inner.tx().await?;
            if !stored::page_done(&mut tx, run, &done, now).await? {
                return Err(Stopped::Lost);
            }
            if page.done && !stored::finish(&mut tx, run, &Fate::Complete, now).await? {
                return Err(Stopped::Lost);
            }
            tx.commit().await?;
            inner.fail.pass("campaign_page_after_commit");
            if page.done {
                return Ok(Ran::Complete);
            }
            if stop.is_cancelled() {
                return Err(Stopped::Draining);
            }
        }
        Ok(self.end(run, Fate::Complete, Ran::Complete).await?)
    }

    /// Pins what the run goes by, and opens the source.
    async fn begin(&self, run: &ClaimedRun) -> Result<(Proposer, Arc<Source>), Stopped> {
        let inner = &self.inner;
        let mut tx = inner.store.worker_tenant(run.tenant).tx().await?;
        let tenant = tenants::get(&mut tx, run.tenant).await?;
        let (definition, previous) = if let Some(pinned) = &run.definition {
            let read = serde_json::from_value::<Definition>(pinned.clone());
            let unreadable = |error: serde_json::Error| {
                SourceProblem::permanent(format!(
                    "the run's definition cannot be read ({error}); run it anew"
                ))
            };
            (read.map_err(unreadable)?, run.previous)
        } else {
            let found = find(inner, &mut tx, &tenant.settings, &run.campaign).await?;
            let Some(effective) = found.filter(|one| one.switch.is_on()) else {
                let problem = format!("{} is no longer there or was switched off", run.campaign);
                return Err(SourceProblem::permanent(problem).into());
            };
            let previous = covered_until(&effective.definition, run);
            (effective.definition, previous)
        };
        let json =
            serde_json::to_value(&definition).map_err(|error| SourceProblem::permanent(error.to_string()))?;
        if !stored::renew(&mut tx, run, &json, previous, self.lease_until()).await? {
            return Err(Stopped::Lost);
        }
        let opened = source::open(inner, &mut tx, &tenant).await?;
        let author = Author::of(&mut tx, &definition).await?;
        tx.commit().await?;
        let window = RunWindow {
            as_of: run.as_of,
            previous,
        };
        let proposer = Proposer {
            tenant,
            definition,
            window,
            started_at: run.started_at,
            author,
        };
        Ok((proposer, opened?))
    }
}

/// From where on the run makes up for what was missed; what is too old is said and passed over.
fn covered_until(definition: &Definition, run: &ClaimedRun) -> Option<Timestamp> {
    match cadence::plan(
        &definition.schedule,
        definition.missed_run,
        run.previous,
        run.as_of,
    ) {
        Plan::Run { window, skipped } => {
            if let Some(skipped) = skipped {
                tracing::warn!(
                    tenant = %run.tenant, campaign = %run.campaign, after = %skipped.after, up_to = %skipped.up_to,
                    "a campaign did not run for so long that these moments are not made up for"
                );
            }
            window.previous
        }
        // A run by hand between two moments of the schedule.
        Plan::Nothing | Plan::Skip(_) => run.previous,
    }
}
