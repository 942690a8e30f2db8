//! Delivering: the gate under the contacts' locks, the intent committed, the calls, their outcomes.
//!
//! A batch shares two commits: the one that begins its dispatches and the one that records what came of them. No
//! transaction is open while a provider is called.

use crate::compose::{is_erased, open_content};
use crate::connections::{Routes, limit_of};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::fallback::{self, Aside};
use crate::outcome::{self, Ended};
use crate::process::ended;
use crate::resolve;
use crate::tenancy::{self, TenantView};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tidings_core::decide::facts::RequestFacts;
use tidings_core::decide::{Facts, GateVerdict, StopScope, gate};
use tidings_core::redact::Private;
use tidings_core::retry::{Failure, NextTry, next_try};
use tidings_core::route::Route;
use tidings_core::{
    Address, AttemptId, Channel, ConnectionId, ContactId, DeliveryId, DeliveryState, Dice, ErrorCategory,
    MessageStatus, TenantId,
};
use tidings_providers::{Content, Provider, SendOutcome, Submission};
use tidings_queue::{ClaimedJob, Finish, FinishReport, LeaseId, Outcome, finish};
use tidings_store::messages::dispatch::{self, Dispatchable};
use tidings_store::messages::facts::{self, ContactKnown, FactsQuery, Past};
use tidings_store::messages::record::NewAttempt;
use tidings_store::seal::ContactKeys;
use tidings_store::{Conn, Place, SealError};

/// A job that ended its worker this often without a result is given up, before it is begun again.
const POISON: i16 = 3;

/// How long a suspended tenant's deliveries sleep before they look again.
const SUSPENDED: SignedDuration = SignedDuration::from_mins(60);

/// How soon a delivery that somebody else moved meanwhile looks again.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

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
    provider: Arc<dyn Provider>,
    submission: Submission,
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

fn no_delivery() -> Outcome {
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
            // A dead letter that an operator replays comes as `failed` or `held`: the replay is the decision.
            DeliveryState::Queued
            | DeliveryState::RetryWait
            | DeliveryState::Failed
            | DeliveryState::Held => {
                if !active {
                    let at = inner.now().saturating_add(SUSPENDED).unwrap_or(Timestamp::MAX);
                    let outcome = wait(at, ErrorCategory::Transient, "the tenant is not active");
                    self.ends.push(ended(&carried, bench.lease, outcome));
                } else if carried.job.crash_count >= POISON {
                    self.poisoned.push(carried);
                } else {
                    self.ready.push(carried);
                }
            }
            DeliveryState::Accepted | DeliveryState::Delivered | DeliveryState::Bounced => {
                self.ends.push(ended(&carried, bench.lease, Outcome::Done));
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

async fn run(
    inner: &Inner,
    bench: Bench,
    sorted: Sorted,
    reports: &mut Vec<FinishReport>,
) -> Result<(), EngineError> {
    if !sorted.unknown.is_empty() {
        resolve::resolve(inner, &bench, sorted.unknown, reports).await?;
    }
    let mut routes = Routes::of(&bench.views);
    let mut dice = inner.dice();
    let calls = begin(
        inner,
        &bench,
        &mut routes,
        sorted.ready,
        sorted.poisoned,
        sorted.ends,
        &mut dice,
        reports,
    )
    .await?;
    inner.fail.pass("dispatch_after_commit");
    let limit = inner.limits.calls.max(1);
    let mut chunks = stream::iter(calls)
        .map(|call| make(inner, call))
        .buffer_unordered(limit)
        .ready_chunks(limit);
    while let Some(chunk) = chunks.next().await {
        reports.push(outcome::record(inner, &bench, &mut routes, chunk, &mut dice).await?);
    }
    Ok(())
}

/// Makes one call. Whatever has no answer in time may have arrived.
async fn make(inner: &Inner, call: Call) -> Ended {
    let permit = inner.calls.acquire().await;
    inner.fail.pass("provider_before_call");
    let answered = tokio::time::timeout(inner.limits.call, call.provider.send(&call.submission)).await;
    drop(permit);
    let outcome = answered.unwrap_or_else(|_| SendOutcome::Unknown {
        detail: format!("no answer within {} s", inner.limits.call.as_secs()),
    });
    if matches!(outcome, SendOutcome::Accepted { .. }) {
        inner.fail.pass("provider_after_accept");
    }
    Ended { call, outcome }
}

/// The gate: asks the rules again under the contacts' locks and commits the intent of what may go.
#[expect(clippy::too_many_arguments, reason = "one stage of the batch, called once")]
async fn begin(
    inner: &Inner,
    bench: &Bench,
    routes: &mut Routes,
    ready: Vec<Carried>,
    poisoned: Vec<Carried>,
    ends: Vec<Finish>,
    dice: &mut Dice,
    reports: &mut Vec<FinishReport>,
) -> Result<Vec<Call>, EngineError> {
    if ready.is_empty() && poisoned.is_empty() && ends.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = inner.tx().await?;
    let contacts: BTreeSet<_> = ready
        .iter()
        .map(|one| (one.row.tenant, one.row.message.contact))
        .collect();
    let contacts: Vec<_> = contacts.into_iter().collect();
    facts::lock_contacts(&mut tx, &contacts).await?;
    // After the lock: an opt-out that came first is seen, one that comes later waits.
    let now = inner.now();
    let queries: Vec<FactsQuery> = ready.iter().map(|one| query(&one.row)).collect();
    let known = facts::load(&mut tx, &queries, now).await?;
    let mut gated = Gated {
        aside: Aside::new(ends),
        calls: Vec::with_capacity(ready.len()),
    };
    for carried in &poisoned {
        fallback::poison(&mut gated.aside, bench.lease, carried);
    }
    let mut went: HashMap<(TenantId, ContactId), Vec<Past>> = HashMap::new();
    for (carried, known) in ready.into_iter().zip(known) {
        let others = went
            .entry((carried.row.tenant, carried.row.message.contact))
            .or_default();
        let category = carried.row.message.category;
        let gone = ask(
            inner, &mut tx, bench, routes, &mut gated, carried, known, others, dice, now,
        )
        .await?;
        if gone {
            others.push(Past {
                category,
                at: now,
                dispatched: true,
            });
        }
    }
    let calls = commit_intents(inner, &mut tx, bench, &mut gated, dice, now).await?;
    let report = fallback::write(inner, &mut tx, gated.aside, dice, now).await?;
    inner.fail.pass("gate_before_commit");
    tx.commit().await?;
    reports.push(report);
    Ok(calls)
}

/// What the gate has sorted so far.
struct Gated {
    aside: Aside,
    calls: Vec<Call>,
}

fn query(row: &Dispatchable) -> FactsQuery {
    FactsQuery {
        tenant: row.tenant,
        contact: row.message.contact,
        message: row.message.id,
        message_type: row.message.message_type.clone(),
        source_reference: None,
    }
}

/// Asks the gate about one delivery; true when its call may be made.
#[expect(clippy::too_many_arguments, reason = "one step of the gate, called once")]
async fn ask(
    inner: &Inner,
    tx: &mut Conn,
    bench: &Bench,
    routes: &mut Routes,
    gated: &mut Gated,
    carried: Carried,
    known: Option<ContactKnown>,
    others: &[Past],
    dice: &mut Dice,
    now: Timestamp,
) -> Result<bool, EngineError> {
    let (Some(mut known), Some(view)) = (known, bench.views.get(&carried.row.tenant)) else {
        gated
            .aside
            .finishes
            .push(ended(&carried, bench.lease, no_delivery()));
        return Ok(false);
    };
    known.planned_or_sent.extend(others.iter().copied());
    let facts = gate_facts(&carried.row, &known, view);
    match gate(&facts, view.policy(), carried.row.channel, now) {
        GateVerdict::Dispatch => {}
        GateVerdict::Hold { until, reason } => {
            fallback::hold(&mut gated.aside, bench.lease, &carried, &facts, until, &reason);
            return Ok(false);
        }
        GateVerdict::Stop { reason, scope } => {
            let channel_only = scope == StopScope::Channel;
            fallback::stop(
                inner,
                &mut gated.aside,
                bench.lease,
                &carried,
                Some(&facts),
                &reason,
                channel_only,
                dice,
                now,
            );
            return Ok(false);
        }
    }
    let avoid = (carried.row.state == DeliveryState::RetryWait)
        .then_some(carried.row.connection)
        .flatten();
    let connection = match routes.choose(inner, view, carried.row.channel, avoid, dice, now) {
        Route::Use {
            connection, probe, ..
        } => {
            if probe && !routes.probe(tx, carried.row.tenant, connection, now).await? {
                let at = now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
                let outcome = wait(at, ErrorCategory::Transient, "another node probes the connection");
                gated.aside.finishes.push(ended(&carried, bench.lease, outcome));
                return Ok(false);
            }
            connection
        }
        Route::Wait { until } => {
            let until = turn(inner, view, carried.row.channel, until, now);
            let outcome = wait(
                until,
                ErrorCategory::RateLimit,
                "every connection of the channel rests or is at its limit",
            );
            gated.aside.finishes.push(ended(&carried, bench.lease, outcome));
            return Ok(false);
        }
        Route::None => {
            let why = format!("no connection is enabled for {}", carried.row.channel);
            unreachable(inner, gated, bench.lease, &carried, why, dice, now);
            return Ok(false);
        }
    };
    Ok(ready_call(
        inner, bench, gated, carried, view, connection, dice, now,
    ))
}

/// When a delivery that has to wait for a rate limit may expect its turn.
fn turn(inner: &Inner, view: &TenantView, channel: Channel, until: Timestamp, now: Timestamp) -> Timestamp {
    let limited = view
        .routes
        .iter()
        .filter(|route| route.channel == channel)
        .find_map(|route| {
            let limit = limit_of(route)?;
            inner
                .limiter
                .limited_until(route.id, Some(limit), now)
                .map(|_| (route.id, limit))
        });
    limited.map_or(until, |(connection, limit)| {
        inner.limiter.book(connection, limit, until)
    })
}

/// A delivery that cannot be called for a reason of configuration waits for an operator, and is given up in the end.
fn unreachable(
    inner: &Inner,
    gated: &mut Gated,
    lease: LeaseId,
    carried: &Carried,
    why: String,
    dice: &mut Dice,
    now: Timestamp,
) {
    metrics::counter!("crm_api_errors_total", "category" => "auth_failure").increment(1);
    let failure = failure_of(carried, ErrorCategory::AuthFailure, None);
    match next_try(&failure, carried.job.kind, &inner.schedule, now, dice) {
        NextTry::At { at, .. } => {
            gated
                .aside
                .finishes
                .push(ended(carried, lease, wait(at, ErrorCategory::AuthFailure, why)));
        }
        NextTry::GiveUp => fallback::give_up(
            inner,
            &mut gated.aside,
            lease,
            carried,
            ErrorCategory::AuthFailure,
            why,
            now,
            dice,
        ),
    }
}

/// A failure as the retry rule sees it.
pub(crate) fn failure_of(
    carried: &Carried,
    category: ErrorCategory,
    retry_after: Option<std::time::Duration>,
) -> Failure {
    Failure {
        category,
        retries: u32::try_from(carried.job.retry_count).unwrap_or(0),
        max_retries: u32::try_from(carried.job.max_retries).unwrap_or(0),
        retry_after,
        first_due_at: carried
            .row
            .message
            .queued_at
            .unwrap_or(carried.row.message.accepted_at),
    }
}

fn gate_facts(row: &Dispatchable, known: &ContactKnown, view: &TenantView) -> Facts {
    let message = &row.message;
    Facts {
        request: RequestFacts {
            message_type: message.message_type.clone(),
            category: message.category,
            urgency: message.urgency,
            channel: message.requested_channel,
            renderable_channels: message.renderable_channels.clone(),
            send_at: message.send_at,
            expires_at: message.expires_at,
            duplicate_of: None,
            approved: true,
            batched: message.batch.is_some(),
            bump_up: false,
            whatsapp_template: false,
        },
        contact: known.contact.clone(),
        addresses: known.addresses.clone(),
        consents: known.consents.clone(),
        history: known.history_dispatched(),
        connected_channels: view.connected(),
    }
}

/// Builds the call; true when it may be made.
#[expect(clippy::too_many_arguments, reason = "one step of the gate, called once")]
fn ready_call(
    inner: &Inner,
    bench: &Bench,
    gated: &mut Gated,
    carried: Carried,
    view: &TenantView,
    connection: ConnectionId,
    dice: &mut Dice,
    now: Timestamp,
) -> bool {
    let Some(route) = view.routes.iter().find(|route| route.id == connection) else {
        return false;
    };
    let provider = match inner.providers.of(&view.key, route) {
        Ok(provider) => provider,
        Err(why) => {
            unreachable(inner, gated, bench.lease, &carried, why, dice, now);
            return false;
        }
    };
    let attempt_no = carried.row.attempt_no + 1;
    let reference = carried
        .row
        .reference
        .clone()
        .unwrap_or_else(|| format!("{}-{attempt_no}", carried.row.delivery.0.simple()));
    match submission(&bench.keys, view, &carried.row, reference) {
        Ok(mut submission) => {
            submission.status_callback = Some(view.links.webhook(route.provider, connection));
            inner.limiter.count(connection, limit_of(route), now);
            gated.calls.push(Call {
                carried,
                attempt_no,
                connection,
                provider,
                submission,
            });
            true
        }
        Err(Unsendable { code, detail }) => {
            fallback::stop_for(
                inner,
                &mut gated.aside,
                bench.lease,
                &carried,
                code,
                detail,
                dice,
                now,
            );
            false
        }
    }
}

/// Why a delivery has nothing to send, or nobody to send it to.
struct Unsendable {
    code: &'static str,
    detail: &'static str,
}

fn submission(
    keys: &ContactKeys,
    view: &TenantView,
    row: &Dispatchable,
    reference: String,
) -> Result<Submission, Unsendable> {
    let erased = Unsendable {
        code: "consent.erased",
        detail: "the contact was erased",
    };
    let unreadable = Unsendable {
        code: "content.unreadable",
        detail: "the sealed content or address cannot be opened",
    };
    let lost = |error: &SealError| {
        if is_erased(error) {
            Unsendable {
                code: "consent.erased",
                detail: "the contact was erased",
            }
        } else {
            Unsendable {
                code: "content.unreadable",
                detail: "the sealed content or address cannot be opened",
            }
        }
    };
    let (tenant, contact) = (row.tenant, row.message.contact);
    let key = keys.get(tenant, contact).map_err(|error| lost(&error))?;
    let recipient = row.recipient.as_ref().ok_or(Unsendable {
        code: "address.missing",
        detail: "the contact has no address",
    })?;
    let place = Place::new("addresses", "value_sealed", tenant, recipient.id.0);
    let text = key
        .open_text(&place, &recipient.sealed)
        .map_err(|error| lost(&error))?;
    let region = view.policy().default_region.as_deref();
    let to = Address::parse(row.channel, text.expose(), region).map_err(|_| Unsendable {
        code: "address.invalid",
        detail: "the address is malformed",
    })?;
    let sealed = row.content.as_ref().ok_or(erased)?;
    let content: Content =
        open_content(key, tenant, row.message.id, row.channel, sealed).map_err(|_| unreadable)?;
    let to_name = row.name_sealed.as_ref().and_then(|sealed| {
        let place = Place::new("contacts", "name_sealed", tenant, contact.0);
        key.open_text(&place, sealed).ok()
    });
    Ok(Submission {
        reference,
        message_id: row.message.id.to_string(),
        channel: row.channel,
        category: row.message.category,
        to: Private::new(to),
        to_name,
        content: Private::new(content),
        status_callback: None,
    })
}

/// Writes the intents. A delivery that somebody else moved meanwhile is not called.
async fn commit_intents(
    inner: &Inner,
    tx: &mut Conn,
    bench: &Bench,
    gated: &mut Gated,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Vec<Call>, EngineError> {
    let calls = std::mem::take(&mut gated.calls);
    let intents: Vec<NewAttempt> = calls
        .iter()
        .map(|call| NewAttempt {
            tenant: call.carried.row.tenant,
            id: AttemptId(dice.uuid(now)),
            delivery: call.carried.row.delivery,
            message: call.carried.row.message.id,
            attempt_no: call.attempt_no,
            connection: call.connection,
            reference: call.submission.reference.clone(),
        })
        .collect();
    let moved = dispatch::begin(tx, &intents, inner.node, now).await?;
    let (ours, theirs): (Vec<Call>, Vec<Call>) = calls
        .into_iter()
        .partition(|call| moved.contains(&call.carried.row.delivery));
    for call in theirs {
        let at = now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
        let outcome = wait(at, ErrorCategory::Transient, "the delivery was moved meanwhile");
        gated
            .aside
            .finishes
            .push(ended(&call.carried, bench.lease, outcome));
    }
    Ok(ours)
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
