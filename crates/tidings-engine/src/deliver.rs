//! Delivering: the gate and the intents committed, the calls, their outcomes.
//!
//! A batch shares its commits: those that begin dispatches and those that record what came of them. No
//! transaction is open while a provider is called.

use crate::connections::Routes;
use crate::engine::Inner;
use crate::error::EngineError;
use crate::gate;
use crate::late;
use crate::limits::{Held, Turn, admit, on_time};
use crate::outcome::Ended;
use crate::process::ended;
use crate::record::record;
use crate::resolve;
use crate::tenancy::{self, TenantView};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::retry::Failure;
use tidings_core::{
    ConnectionId, ContactId, DeliveryId, DeliveryState, ErrorCategory, MessageStatus, TenantId,
};
use tidings_providers::{Provider, SendOutcome, Submission};
use tidings_queue::{ClaimedJob, Finish, FinishReport, LeaseId, Outcome, finish};
use tidings_store::Conn;
use tidings_store::messages::dispatch::{self, Dispatchable};
use tidings_store::seal::ContactKeys;
use tokio::sync::SemaphorePermit;

/// How long a suspended tenant's deliveries sleep before they look again.
const SUSPENDED: SignedDuration = SignedDuration::from_mins(60);

/// A delivery with the job that carries it.
#[derive(Debug)]
pub(crate) struct Carried {
    pub job: ClaimedJob,
    pub row: Dispatchable,
}

/// What a batch of deliveries works with.
pub(crate) struct Bench {
    pub lease: LeaseId,
    pub views: HashMap<TenantId, TenantView>,
    pub keys: ContactKeys,
}

/// A dispatch whose intent is committed.
pub(crate) struct Call {
    pub carried: Carried,
    pub attempt_no: i32,
    pub connection: ConnectionId,
    /// The probe of a breaker that it is.
    pub probe: Option<Timestamp>,
    /// Why it goes by this connection, where it was not simply the best.
    pub route: Option<serde_json::Value>,
    /// How long it may take.
    pub limit: Duration,
    /// Its slot, where the connection has a rate limit.
    pub turn: Option<Turn>,
    pub provider: Arc<dyn Provider>,
    pub submission: Submission,
}

/// Works on the deliveries of a lease.
pub(crate) async fn deliver(
    inner: &Inner,
    lease: LeaseId,
    jobs: Vec<(ClaimedJob, DeliveryId)>,
    reports: &mut Vec<FinishReport>,
) -> Result<(), EngineError> {
    let wanted: Vec<_> = jobs
        .iter()
        .map(|(job, delivery)| (job.tenant, *delivery))
        .collect();
    let mut conn = inner.conn().await?;
    let mut rows: HashMap<DeliveryId, Dispatchable> = dispatch::load(&mut conn, &wanted)
        .await?
        .into_iter()
        .map(|row| (row.delivery, row))
        .collect();
    let bench = bench(inner, &mut conn, lease, rows.values()).await?;
    drop(conn);
    let mut sorted = Sorted::default();
    for (job, delivery) in jobs {
        match rows.remove(&delivery) {
            Some(row) => sorted.push(inner, &bench, Carried { job, row }),
            None => sorted.ends.push(Finish {
                job: job.id,
                lease,
                outcome: no_delivery(),
            }),
        }
    }
    run(inner, bench, sorted, reports).await
}

/// Works on deliveries that were loaded by somebody else.
pub(crate) async fn deliver_loaded(
    inner: &Inner,
    lease: LeaseId,
    carried: Vec<Carried>,
    reports: &mut Vec<FinishReport>,
) -> Result<(), EngineError> {
    let mut conn = inner.conn().await?;
    let bench = bench(
        inner,
        &mut conn,
        lease,
        carried.iter().map(|carried| &carried.row),
    )
    .await?;
    drop(conn);
    let mut sorted = Sorted::default();
    for carried in carried {
        sorted.push(inner, &bench, carried);
    }
    run(inner, bench, sorted, reports).await
}

async fn bench(
    inner: &Inner,
    conn: &mut Conn,
    lease: LeaseId,
    rows: impl Iterator<Item = &Dispatchable>,
) -> Result<Bench, EngineError> {
    let pairs: Vec<(TenantId, ContactId)> = rows.map(|row| (row.tenant, row.message.contact)).collect();
    let views = tenancy::load(inner, conn, pairs.iter().map(|(tenant, _)| *tenant)).await?;
    let keys = inner.store.keyring().existing_contact_keys(conn, &pairs).await?;
    Ok(Bench { lease, views, keys })
}

pub(crate) fn no_delivery() -> Outcome {
    Outcome::Dead {
        cause: "no_delivery".to_owned(),
        category: ErrorCategory::InvalidInput,
        error: "the delivery this job names does not exist; it was removed by retention".to_owned(),
    }
}

/// Deliveries by what they need.
#[derive(Default)]
struct Sorted {
    ready: Vec<Carried>,
    unknown: Vec<Carried>,
    poisoned: Vec<Carried>,
    ends: Vec<Finish>,
}

impl Sorted {
    fn push(&mut self, inner: &Inner, bench: &Bench, carried: Carried) {
        if carried.row.job != Some(carried.job.id) {
            // Another job carries the delivery by now.
            self.ends.push(ended(&carried, bench.lease, Outcome::Cancelled));
            return;
        }
        let active = bench
            .views
            .get(&carried.row.tenant)
            .is_some_and(TenantView::is_active);
        match carried.row.state {
            DeliveryState::Dispatching | DeliveryState::Unknown => self.unknown.push(carried),
            // A dead letter that an operator replays may come as `held`: the replay is the decision.
            DeliveryState::Queued | DeliveryState::RetryWait | DeliveryState::Held => {
                if !active {
                    let at = inner.now().saturating_add(SUSPENDED).unwrap_or(Timestamp::MAX);
                    let outcome = wait(at, ErrorCategory::Transient, "the tenant is not active");
                    self.ends.push(ended(&carried, bench.lease, outcome));
                } else if carried.job.is_poison() {
                    self.poisoned.push(carried);
                } else {
                    self.ready.push(carried);
                }
            }
            DeliveryState::Accepted | DeliveryState::Delivered | DeliveryState::Bounced => {
                self.ends.push(ended(&carried, bench.lease, Outcome::Done));
            }
            DeliveryState::Failed => {
                let outcome = late::end_of_turn(&carried.row);
                self.ends.push(ended(&carried, bench.lease, outcome));
            }
            DeliveryState::Dropped | DeliveryState::Stopped => {
                self.ends.push(ended(&carried, bench.lease, Outcome::Cancelled));
            }
        }
    }
}

/// A wait that costs no try.
pub(crate) fn wait(at: Timestamp, category: ErrorCategory, why: impl Into<String>) -> Outcome {
    Outcome::Retry {
        at,
        category,
        error: why.into(),
        counts: false,
    }
}

/// Begins as many deliveries as there are free places for calls and rate limits have slots for, and goes on as places
/// become free and slots come: what was begun is under way (or has its slot within a blink), never waiting for its turn
/// with an intent on record. An opt-out, a drain or a crash meanwhile finds the rest untouched.
async fn run(
    inner: &Inner,
    bench: Bench,
    sorted: Sorted,
    reports: &mut Vec<FinishReport>,
) -> Result<(), EngineError> {
    let Sorted {
        ready,
        unknown,
        poisoned,
        mut ends,
    } = sorted;
    let bench = Arc::new(bench);
    if !unknown.is_empty() {
        resolve::resolve(inner, &bench, unknown, reports).await?;
    }
    let mut routes = Routes::of(inner, &bench.views);
    let mut dice = inner.dice();
    let (mut waiting, staying) = admit(inner, &bench, &mut routes.reserved, ready).await?;
    let now = inner.now();
    let stay = |carried| ended(carried, bench.lease, back(now, IN_LINE));
    ends.extend(staying.iter().map(stay));
    // What needs no call.
    gate::begin(
        inner,
        &bench,
        &mut routes,
        Vec::new(),
        poisoned,
        ends,
        &mut dice,
        reports,
    )
    .await?;
    let mut under_way = FuturesUnordered::new();
    loop {
        let may_begin = !waiting.is_empty() && !inner.is_draining();
        if !may_begin && under_way.is_empty() {
            // What is left while the process drains goes back with the lease.
            routes.reserved.give_back(inner);
            return Ok(());
        }
        if waiting.is_empty() {
            // Nobody of this batch needs them any more.
            routes.reserved.give_back(inner);
        }
        let now = inner.now();
        routes.reserved.expire(now);
        let due = routes.reserved.due(inner, &waiting, now);
        let count = due.count();
        let step = tokio::select! {
            biased;
            Some(first) = under_way.next() => Step::Ended(vec![first]),
            places = places(inner, count), if may_begin && count > 0 => Step::Room(places),
            () = tokio::time::sleep(due.pause), if may_begin && count == 0 => Step::Slot,
        };
        match step {
            Step::Ended(mut told) => {
                while let Some(Some(next)) = under_way.next().now_or_never() {
                    told.push(next);
                }
                reports.push(record(inner, &bench, told).await?);
            }
            Step::Slot => {}
            Step::Room(_) if inner.is_draining() => {}
            Step::Room(mut places) => {
                let next = due.take(&mut waiting, places.num_permits());
                let calls = gate::begin(
                    inner,
                    &bench,
                    &mut routes,
                    next,
                    Vec::new(),
                    Vec::new(),
                    &mut dice,
                    reports,
                )
                .await?;
                inner.fail.pass("dispatch_after_commit");
                under_way.extend(calls.into_iter().map(|call| make(inner, call, places.split(1))));
            }
        }
    }
}

enum Step<'a> {
    Ended(Vec<Ended>),
    Room(SemaphorePermit<'a>),
    /// The time of a slot has come.
    Slot,
}

/// What a delivery without a slot waits for.
const IN_LINE: &str = "it waits in line for the rate limit of its connection";

/// A wait that costs no try and keeps its place: what is asked about does not stand behind what was due later.
pub(crate) fn wait_in_place(at: Timestamp, why: impl Into<String>) -> Outcome {
    Outcome::Return {
        at,
        category: ErrorCategory::Transient,
        error: why.into(),
    }
}

/// Back to its place in the line at once.
pub(crate) fn back(now: Timestamp, why: impl Into<String>) -> Outcome {
    Outcome::Return {
        at: now,
        category: ErrorCategory::RateLimit,
        error: why.into(),
    }
}

/// Free places for calls: at least a quarter of all where there is that much to do, so that a commit is shared, and
/// as many more as are free.
async fn places(inner: &Inner, wanted: usize) -> SemaphorePermit<'_> {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let least = wanted.min(inner.limits.calls / 4).max(1);
    let places = inner.calls.acquire_many(count(least)).await;
    // The semaphore is never closed.
    let mut places = places.unwrap_or_else(|_| unreachable!("nobody closes the semaphore of calls"));
    let more = wanted.saturating_sub(least).min(inner.calls.available_permits());
    if let Ok(more) = inner.calls.try_acquire_many(count(more)) {
        places.merge(more);
    }
    places
}

/// Makes one call. Whatever has no answer in time may have arrived.
async fn make(inner: &Inner, call: Call, place: Option<SemaphorePermit<'_>>) -> Ended {
    if let Err(Held) = on_time(inner, call.turn).await {
        return Ended {
            call,
            outcome: Held::outcome(),
            began: inner.now(),
        };
    }
    inner.fail.pass("provider_before_call");
    let began = inner.now();
    let answered = tokio::time::timeout(call.limit, call.provider.send(&call.submission)).await;
    drop(place);
    let outcome = answered.unwrap_or_else(|_| SendOutcome::Unknown {
        detail: format!("no answer within {} s", call.limit.as_secs_f64()),
    });
    if matches!(outcome, SendOutcome::Accepted { .. }) {
        inner.fail.pass("provider_after_accept");
    }
    Ended { call, outcome, began }
}

/// A failure as the retry rule sees it. The patience with a rate limit counts from the first call: a message may have
/// waited its turn for days before.
pub(crate) fn failure_of(
    carried: &Carried,
    category: ErrorCategory,
    retry_after: Option<std::time::Duration>,
    now: Timestamp,
) -> Failure {
    let message = &carried.row.message;
    let first_due_at = if category == ErrorCategory::RateLimit {
        message.dispatched_at.unwrap_or(now)
    } else {
        message.queued_at.unwrap_or(message.accepted_at)
    };
    Failure {
        category,
        retries: u32::try_from(carried.job.retry_count).unwrap_or(0),
        max_retries: u32::try_from(carried.job.max_retries).unwrap_or(0),
        retry_after,
        first_due_at,
    }
}

/// Finishes jobs inside a transaction.
pub(crate) async fn finish_in(
    inner: &Inner,
    tx: &mut Conn,
    finishes: &[Finish],
    now: Timestamp,
) -> Result<FinishReport, EngineError> {
    Ok(finish(tx, inner.node, finishes, now).await?)
}

/// Whether a message has not ended.
pub(crate) const fn is_open(status: MessageStatus) -> bool {
    matches!(status, MessageStatus::Pending | MessageStatus::Queued)
}
