//! The gate: the rules once more, under the contacts' locks, and the intent of every call that may be made.

use crate::channel_time;
use crate::connections::{Routes, Traveller, in_the_way, kept};
use crate::deliver::{Bench, Call, Carried, back, no_delivery, wait};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::fallback::{self, Aside};
use crate::figures;
use crate::limits::{Turn, held_at_gate};
use crate::process::ended;
use crate::repeat;
use crate::submission::{Unsendable, submission};
use crate::tenancy::TenantView;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tidings_core::decide::facts::RequestFacts;
use tidings_core::decide::{Facts, GateVerdict, StopScope, gate, whatsapp_window_open};
use tidings_core::retry::NextTry;
use tidings_core::route::{CONVERSATION, Route};
use tidings_core::{AttemptId, Channel, ContactId, DeliveryState, Dice, ErrorCategory, TenantId};
use tidings_queue::{Finish, FinishReport, LeaseId};
use tidings_store::Conn;
use tidings_store::messages::dispatch::{self, Dispatchable};
use tidings_store::messages::facts::{self, ContactKnown, FactsQuery, Past};
use tidings_store::messages::record::NewAttempt;
use tidings_store::messages::routes::RouteRow;
use tidings_store::messages::stickiness;

/// How much sooner than it is cut off a call is to end by itself: then it is known whether anything was sent.
const MARGIN: Duration = Duration::from_secs(1);

/// How soon a delivery that somebody else moved meanwhile looks again.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// The gate: asks the rules again under the contacts' locks and commits the intent of what may go.
#[expect(clippy::too_many_arguments, reason = "one stage of the batch, called once")]
pub(crate) async fn begin(
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
    let carried_by = carried_by(&mut tx, bench, &ready, now).await?;
    let mut gated = Gated {
        aside: Aside::new(ends),
        calls: Vec::with_capacity(ready.len()),
    };
    for carried in &poisoned {
        fallback::poison(&mut gated.aside, bench.lease, carried);
    }
    let mut went: HashMap<(TenantId, ContactId), Vec<Past>> = HashMap::new();
    for (carried, known) in ready.into_iter().zip(known) {
        inner.fail.swallow(carried.row.message.id);
        let others = went
            .entry((carried.row.tenant, carried.row.message.contact))
            .or_default();
        let category = carried.row.message.category;
        let gone = ask(
            inner,
            &mut tx,
            bench,
            routes,
            &mut gated,
            carried,
            known,
            others,
            &carried_by,
            dice,
            now,
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
    carried_by: &CarriedBy,
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
    let window_open = whatsapp_window_open(&facts.contact, now);
    match gate(&facts, view.policy(), carried.row.channel, now) {
        GateVerdict::Dispatch => {}
        GateVerdict::Hold { until, reason } => {
            fallback::hold(&mut gated.aside, bench.lease, &carried, &facts, until, &reason);
            return Ok(false);
        }
        GateVerdict::Stop { reason, .. } if carried.row.reference.is_some() => {
            fallback::drop_repetition(&mut gated.aside, bench.lease, &carried, &facts, &reason);
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
    if repeat::is_too_late(&carried.row, view, now) {
        fallback::lose_again(&mut gated.aside, bench.lease, &carried, now);
        return Ok(false);
    }
    let ends = channel_time::ends(&carried.row, view);
    if ends.is_some_and(|ends| ends <= now) {
        let why = format!("its time on {} is over", carried.row.channel);
        let category = ErrorCategory::Transient;
        fallback::give_up(
            inner,
            &mut gated.aside,
            bench.lease,
            &carried,
            category,
            why,
            now,
            dice,
        );
        return Ok(false);
    }
    let traveller = traveller(&carried.row, carried_by);
    // Another node may take a probe first; then the next best way is chosen.
    for _ in 0..=view.routes.len() {
        match routes.choose(inner, view, traveller, dice, now) {
            Route::Use {
                connection,
                probe,
                why,
                passed_over,
                ..
            } => {
                let row = view.routes.iter().find(|route| route.id == connection);
                // Chosen among these very routes; if it ever is not, the delivery looks again.
                let Some(row) = row else { break };
                let probe = if probe {
                    let taken = Routes::probe(inner, tx, row, now).await?;
                    if taken.is_none() {
                        continue;
                    }
                    taken
                } else {
                    None
                };
                let path = Path {
                    row,
                    probe,
                    kept: kept(why, &passed_over),
                };
                let turn = routes.reserved.pop(inner, row, now);
                return Ok(ready_call(
                    inner,
                    bench,
                    gated,
                    carried,
                    view,
                    path,
                    turn,
                    window_open,
                    dice,
                    now,
                ));
            }
            Route::Wait { until, passed_over } => {
                let why = in_the_way(view, &passed_over);
                // One that can go by its own connection only holds up nobody else.
                let in_line =
                    traveller.pinned.is_none() && held_at_gate(inner, view, &carried, until, now).is_some();
                let outcome = if in_line {
                    back(now, why)
                } else {
                    let soon = now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
                    let until = ends.map_or(until, |ends| until.min(ends));
                    wait(until.max(soon), ErrorCategory::RateLimit, why)
                };
                gated.aside.finishes.push(ended(&carried, bench.lease, outcome));
                return Ok(false);
            }
            Route::None => {
                let why = format!("no connection is enabled for {}", carried.row.channel);
                unreachable(inner, gated, bench.lease, &carried, view, why, dice, now);
                return Ok(false);
            }
        }
    }
    let at = now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
    let outcome = wait(at, ErrorCategory::Transient, "other nodes probe the connections");
    gated.aside.finishes.push(ended(&carried, bench.lease, outcome));
    Ok(false)
}

/// The way a call takes.
struct Path<'a> {
    row: &'a RouteRow,
    /// The probe it is.
    probe: Option<Timestamp>,
    /// Why this one.
    kept: Option<serde_json::Value>,
}

/// What carried contacts before, where there is a choice.
type CarriedBy = HashMap<(TenantId, ContactId, Channel), stickiness::Carried>;

/// Looks up what contacts stay with, for those whose channel has more than one connection: nobody else has a choice.
async fn carried_by(
    tx: &mut Conn,
    bench: &Bench,
    ready: &[Carried],
    now: Timestamp,
) -> Result<CarriedBy, EngineError> {
    let choice = |one: &Carried| {
        let view = bench.views.get(&one.row.tenant)?;
        let same = view
            .routes
            .iter()
            .filter(|route| route.channel == one.row.channel);
        (same.count() > 1).then_some((one.row.tenant, one.row.message.contact, one.row.channel))
    };
    let wanted: BTreeSet<_> = ready.iter().filter_map(choice).collect();
    let wanted: Vec<_> = wanted.into_iter().collect();
    let since = now.saturating_sub(CONVERSATION).unwrap_or(Timestamp::MIN);
    let found = stickiness::carried(tx, &wanted, since).await?;
    Ok(wanted.into_iter().zip(found).collect())
}

fn traveller(row: &Dispatchable, carried_by: &CarriedBy) -> Traveller {
    let key = (row.tenant, row.message.contact, row.channel);
    Traveller {
        contact: row.message.contact,
        channel: row.channel,
        avoid: (row.state == DeliveryState::RetryWait)
            .then_some(row.connection)
            .flatten(),
        // A reference is kept only while its call may have arrived.
        pinned: row.reference.as_ref().and(row.connection),
        carried: carried_by.get(&key).copied().unwrap_or_default(),
    }
}

/// A delivery that cannot be called for a reason of configuration waits for an operator, and is given up in the end.
#[expect(clippy::too_many_arguments, reason = "one step of the gate")]
fn unreachable(
    inner: &Inner,
    gated: &mut Gated,
    lease: LeaseId,
    carried: &Carried,
    view: &TenantView,
    why: String,
    dice: &mut Dice,
    now: Timestamp,
) {
    let category = ErrorCategory::AuthFailure;
    figures::api_error(None, Some(category));
    match channel_time::next_try_within(inner, Some(view), carried, category, None, dice, now) {
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
            whatsapp_template: row.whatsapp_template,
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
    path: Path<'_>,
    turn: Option<Turn>,
    window_open: bool,
    dice: &mut Dice,
    now: Timestamp,
) -> bool {
    let Path {
        row: route,
        probe,
        kept,
    } = path;
    let provider = match inner.providers.of(&view.key, route) {
        Ok(provider) => provider,
        Err(why) => {
            unreachable(inner, gated, bench.lease, &carried, view, why, dice, now);
            return false;
        }
    };
    let attempt_no = carried.row.attempt_no + 1;
    let reference = carried
        .row
        .reference
        .clone()
        .unwrap_or_else(|| format!("{}-{attempt_no}", carried.row.delivery.0.simple()));
    let limit = route
        .call_limit
        .map_or(inner.limits.call, |own| own.min(inner.limits.call));
    let time_limit = limit.saturating_sub(MARGIN.min(limit / 2));
    match submission(
        &bench.keys,
        view,
        &carried.row,
        window_open,
        reference,
        time_limit,
    ) {
        Ok(mut submission) => {
            submission.status_callback = Some(view.links.webhook(route.provider, route.id));
            gated.calls.push(Call {
                carried,
                attempt_no,
                connection: route.id,
                probe,
                turn,
                route: kept,
                limit,
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
            route: call.route.clone(),
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
