//! The facade: one engine a process, cheap to clone.

use crate::accept::{self, Submission};
use crate::connections::Providers;
use crate::error::EngineError;
use crate::failpoint::FailPoints;
use crate::growth::Growth;
use crate::keep::{self, Keeper};
use crate::limits::Limiter;
use crate::pulse::Pulse;
use crate::record::{self, Recorder};
use crate::request::{AcceptError, AcceptRequest, Accepted, IdempotencyKey, MAX_REQUESTS};
use crate::sandbox::SandboxLine;
use crate::templates::Templates;
use crate::together::{COMPANY, PATIENCE};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tidings_core::retry::Schedule;
use tidings_core::time_limit::LONGEST_CALL;
use tidings_core::{Clock, Dice, MessageType, NodeId, TenantId};
use tidings_providers::egress::Egress;
use tidings_queue::coalesce::{CoalesceLimits, Coalescer, NoAnswer};
use tidings_store::limits::RedisBuckets;
use tidings_store::{Store, WorkerConn, WorkerTx};
use tokio_util::task::TaskTracker;
use url::Url;

/// What an engine is made from.
#[derive(Debug)]
pub struct EngineOptions {
    /// The store.
    pub store: Store,
    /// Where "now" comes from.
    pub clock: Arc<dyn Clock>,
    /// Seed of ids and jitter; from the operating system in production.
    pub seed: u64,
    /// What operators call this process.
    pub node_name: String,
    /// Where recipients reach this installation: links, pixels, webhooks.
    pub public_base_url: Url,
    /// The way out.
    pub egress: Egress,
    /// Bounds.
    pub limits: Limits,
    /// Waits between tries.
    pub schedule: Schedule,
    /// Message types switched off for every tenant (`ENABLE_<TYPE>=false`).
    pub disabled_types: BTreeSet<MessageType>,
    /// Switches, hours and intervals of campaigns, as the environment names them (`ENABLE_WINBACK_DETECTION`,
    /// `WINBACK_INTERVAL_DAYS`).
    pub environment: BTreeMap<String, String>,
    /// A Redis that keeps the buckets of rate limits while it can (`REDIS_URL`); else the database does.
    pub redis: Option<RedisBuckets>,
    /// Points at which a test ends the process.
    pub fail_points: FailPoints,
}

/// Bounds of one engine.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests accepted in one commit.
    pub accept_batch: usize,
    /// Accepting commits under way at once.
    pub accept_runners: usize,
    /// Requests that may wait for their commit.
    pub accept_waiting: usize,
    /// Jobs claimed at once.
    pub claim_batch: u32,
    /// Batches worked on at once.
    pub batches: usize,
    /// Calls to providers under way at once, over all batches (`MAX_CONCURRENT_JOBS`).
    pub calls: usize,
    /// Jobs of one tenant in flight on this node.
    pub tenant_in_flight: u32,
    /// How long a lease lasts without a heartbeat.
    pub lease: Duration,
    /// How long an idle worker sleeps at most (`POLL_INTERVAL_MS`).
    pub poll: Duration,
    /// How long a drain may take.
    pub drain: Duration,
    /// How long one call to a provider may take; beyond it the outcome is unknown. Always less than the lease.
    pub call: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            accept_batch: 256,
            accept_runners: 2,
            accept_waiting: 20_000,
            claim_batch: 256,
            batches: 4,
            calls: 256,
            tenant_in_flight: 2048,
            lease: Duration::from_secs(30),
            poll: Duration::from_secs(5),
            drain: Duration::from_secs(25),
            call: LONGEST_CALL,
        }
    }
}

/// The engine of one process.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
    accepts: Coalescer<Submission, Vec<Result<Accepted, AcceptError>>>,
    pub(crate) keeper: Keeper,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub node: NodeId,
    pub node_name: String,
    pub base: Url,
    pub limits: Limits,
    pub schedule: Schedule,
    pub disabled_types: BTreeSet<MessageType>,
    pub environment: BTreeMap<String, String>,
    pub sources: crate::campaigns::Opened,
    pub fail: FailPoints,
    pub providers: Providers,
    pub templates: Templates,
    pub limiter: Limiter,
    pub recorder: Recorder,
    pub pulse: Pulse,
    /// Messages accepted by this process.
    pub accepted: Growth,
    /// Calls made by this process.
    pub attempted: Growth,
    pub calls: tokio::sync::Semaphore,
    pub watched_to: crate::alerts::WatchedTo,
    /// The process is to end: nothing more is begun.
    draining: AtomicBool,
    pub tasks: TaskTracker,
    dice: Mutex<Dice>,
    /// Idempotency keys being answered by this process.
    keys: Mutex<HashSet<(TenantId, String)>>,
}

impl Engine {
    /// An engine that is not working yet; see [`Engine::run`].
    pub fn new(options: EngineOptions) -> Self {
        let tasks = TaskTracker::new();
        let now = options.clock.now();
        let mut dice = Dice::from_seed(options.seed);
        let node = NodeId(dice.uuid(now));
        let line = SandboxLine::new(
            options.store.clone(),
            Arc::clone(&options.clock),
            options.seed,
            tasks.clone(),
        );
        let inner = Arc::new_cyclic(|inner| Inner {
            recorder: record::recorder(Weak::clone(inner), tasks.clone()),
            providers: Providers::new(options.egress.with_clock(Arc::clone(&options.clock)), line),
            templates: Templates::new(),
            limiter: Limiter::new(options.redis),
            pulse: Pulse::new(),
            accepted: Growth::new(),
            attempted: Growth::new(),
            calls: tokio::sync::Semaphore::new(options.limits.calls.max(1)),
            watched_to: crate::alerts::WatchedTo::default(),
            draining: AtomicBool::new(false),
            store: options.store,
            clock: options.clock,
            node,
            node_name: options.node_name,
            base: options.public_base_url,
            limits: options.limits,
            schedule: options.schedule,
            disabled_types: options.disabled_types,
            environment: options.environment,
            sources: crate::campaigns::opened(),
            fail: options.fail_points,
            tasks: tasks.clone(),
            dice: Mutex::new(dice),
            keys: Mutex::new(HashSet::new()),
        });
        let limits = CoalesceLimits {
            batch_weight: inner.limits.accept_batch,
            runners: inner.limits.accept_runners.max(1),
            company: COMPANY,
            patience: PATIENCE,
            waiting_weight: inner.limits.accept_waiting,
            linger: Duration::ZERO,
        };
        let shared = Arc::clone(&inner);
        let accepts = Coalescer::new(limits, tasks, move |batch| {
            let inner = Arc::clone(&shared);
            Box::pin(async move { accept::accept_batch(&inner, batch).await })
        });
        let keeper = keep::keeper(&inner);
        Self {
            inner,
            accepts,
            keeper,
        }
    }

    /// Accepts requests: decided, rendered, stored and queued in one commit, shared with whoever else calls at the moment.
    /// The answers stand in the order of the requests; one that is refused leaves nothing behind and does not touch the
    /// others.
    pub async fn accept(
        &self,
        tenant: TenantId,
        requests: Vec<AcceptRequest>,
    ) -> Vec<Result<Accepted, AcceptError>> {
        let count = requests.len();
        if count > MAX_REQUESTS {
            let error = AcceptError::TooLarge {
                field: "requests".to_owned(),
                limit: format!("{MAX_REQUESTS} in one call"),
            };
            return requests.iter().map(|_| Err(error.clone())).collect();
        }
        self.submit(
            Submission {
                tenant,
                requests,
                key: None,
                carrier: None,
            },
            count,
        )
        .await
    }

    /// The same under an Idempotency-Key: the same key and body get the same answer, whatever happened to the first.
    pub async fn accept_with_key(
        &self,
        tenant: TenantId,
        key: IdempotencyKey,
        requests: Vec<AcceptRequest>,
    ) -> Vec<Result<Accepted, AcceptError>> {
        let count = requests.len();
        let refuse = |error: AcceptError| (0..count).map(|_| Err(error.clone())).collect::<Vec<_>>();
        if key.key.is_empty() || key.key.chars().count() > 255 {
            return refuse(AcceptError::Invalid {
                field: "Idempotency-Key".to_owned(),
                problem: "use 1 to 255 characters".to_owned(),
            });
        }
        if count > MAX_REQUESTS {
            return refuse(AcceptError::TooLarge {
                field: "requests".to_owned(),
                limit: format!("{MAX_REQUESTS} in one call"),
            });
        }
        let Some(_held) = self.inner.hold_key(tenant, &key.key) else {
            return refuse(AcceptError::InProgress);
        };
        self.submit(
            Submission {
                tenant,
                requests,
                key: Some(key),
                carrier: None,
            },
            count,
        )
        .await
    }

    async fn submit(&self, submission: Submission, count: usize) -> Vec<Result<Accepted, AcceptError>> {
        if count == 0 {
            return Vec::new();
        }
        let error = match self.accepts.submit(count, submission).await {
            Ok(answers) => return answers,
            Err(NoAnswer::Full) => AcceptError::Busy,
            Err(NoAnswer::Lost) => AcceptError::Unavailable {
                reason: "the engine is stopping".to_owned(),
            },
        };
        (0..count).map(|_| Err(error.clone())).collect()
    }

    /// The present instant by the engine's clock.
    pub fn now(&self) -> Timestamp {
        self.inner.now()
    }

    /// This process as others see it.
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// The store beneath.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Where recipients reach this installation.
    pub fn public_base_url(&self) -> &Url {
        &self.inner.base
    }

    /// Counts rate limits in this process alone: for simulations, which are by themselves.
    pub fn keep_limits_in_process(&self) {
        self.inner.limiter.source().keep_in_process();
    }

    /// The waits between tries.
    pub fn schedule(&self) -> &Schedule {
        &self.inner.schedule
    }

    /// Dice of one's own, from the engine's.
    pub fn dice(&self) -> Dice {
        self.inner.dice()
    }

    /// Waits for what is under way (accepts, captures) after the last caller has gone.
    pub async fn close(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl Inner {
    /// The present instant, to the microsecond: what the database keeps.
    pub fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    /// How long a lease lasts without a heartbeat.
    pub fn lease_ms(&self) -> i64 {
        i64::try_from(self.limits.lease.as_millis()).unwrap_or(i64::MAX)
    }

    /// From now on nothing is begun; what is under way ends.
    pub fn begin_draining(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the process is to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Dice for one batch: taken once, so that no lock is held while it is used.
    pub fn dice(&self) -> Dice {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        Dice::from_seed(dice.below(u64::MAX))
    }

    /// A connection of the workers' pool.
    pub async fn conn(&self) -> Result<WorkerConn, EngineError> {
        Ok(self.store.worker_conn().await?)
    }

    /// A transaction of the workers' pool.
    pub async fn tx(&self) -> Result<WorkerTx, EngineError> {
        Ok(self.store.worker_tx().await?)
    }

    fn hold_key(self: &Arc<Self>, tenant: TenantId, key: &str) -> Option<HeldKey> {
        let entry = (tenant, key.to_owned());
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(entry.clone()).then(|| HeldKey {
            inner: Arc::clone(self),
            entry,
        })
    }
}

/// A key being answered, until it is dropped.
struct HeldKey {
    inner: Arc<Inner>,
    entry: (TenantId, String),
}

impl Drop for HeldKey {
    fn drop(&mut self) {
        self.inner
            .keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.entry);
    }
}
