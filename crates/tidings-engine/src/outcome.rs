//! What came of calls: attempts, deliveries, messages, suppressions, breakers, jobs and fallbacks in one transaction.

use crate::channel_time;
use crate::connections::{Lesson, Moved, Routes, health};
use crate::deliver::{Bench, Call, back, failure_of, wait, wait_in_place};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::fallback::{self, Aside};
use crate::figures;
use crate::growth;
use crate::limits::{Held, limit_of};
use crate::process::ended;
use crate::repeat;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidings_core::breaker::{self, Breaker, Permit};
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::retry::{NextTry, next_try};
use tidings_core::{
    AttemptOutcome, Channel, ConnectionId, ContactId, DeliveryState, Dice, ErrorCategory, MessageStatus,
    Provenance, ProviderKind, TenantId,
};
use tidings_providers::{Rejection, RejectionEffect, SendOutcome};
use tidings_queue::{FinishReport, Outcome, Settled};
use tidings_store::events::NewEvent;
use tidings_store::messages::outcome::{self, AttemptResult};
use tidings_store::messages::routes::RouteRow;
use tidings_store::suppressions::{self, NewSuppression};
use tidings_store::{BlindIndex, Conn, consents, contacts};

/// How long after a call without an answer it is first asked about: long enough for what was under way to arrive.
pub(crate) const ASK_AFTER: SignedDuration = SignedDuration::from_secs(15);

/// How soon a delivery that somebody with better knowledge moved looks again.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// A call with what came of it.
pub(crate) struct Ended {
    pub call: Call,
    pub outcome: SendOutcome,
    /// When the call began.
    pub began: Timestamp,
}

/// Records outcomes in one commit; of each what became of its job.
pub(crate) async fn write(
    inner: &Inner,
    told: &[Told],
    now: Timestamp,
) -> Result<Vec<FinishReport>, EngineError> {
    let dice = &mut inner.dice();
    let mut tx = inner.tx().await?;
    // Contacts before deliveries, as everybody locks them: what a refusal says of a recipient is written at the end.
    let about: Vec<_> = told.iter().filter_map(about_recipient).collect();
    suppressions::lock_ahead(&mut tx, &about).await?;
    let results: Vec<AttemptResult> = told.iter().map(|one| one.result.clone()).collect();
    let moved = outcome::attempts(&mut tx, &results, now).await?;
    let mut aside = Aside::default();
    let mut learned = Vec::new();
    for one in told {
        if moved.contains(&one.result.delivery) {
            follow(inner, &mut aside, &mut learned, one, dice, now);
        } else {
            let at = now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
            let outcome = wait(at, ErrorCategory::Transient, "the delivery was moved meanwhile");
            aside
                .finishes
                .push(crate::process::ended(&one.call.carried, one.bench.lease, outcome));
        }
    }
    learn(inner, &mut tx, told, &mut aside, now).await?;
    write_learned(&mut tx, learned, dice, now).await?;
    let report = fallback::write(inner, &mut tx, aside, dice, now).await?;
    inner.fail.pass("outcome_before_commit");
    tx.commit().await?;
    inner.fail.pass("outcome_after_commit");
    growth::grew(inner, &inner.attempted, told.len());
    // Not before: what was sent stays on record whatever becomes of an alert.
    crate::alerts::raise_refused(inner, &refusals(told), dice, now).await;
    shrink_limits(inner, told, now).await;
    told.iter()
        .filter(|one| moved.contains(&one.result.delivery))
        .for_each(|one| count(one, now));
    Ok(told.iter().map(|one| share(&report, one)).collect())
}

/// What of a report is about a call: it ends the turn of its own job.
fn share(report: &FinishReport, one: &Told) -> FinishReport {
    let job = &one.call.carried.job;
    if report.fenced.contains(&job.id) {
        return FinishReport {
            fenced: vec![job.id],
            settled: Vec::new(),
        };
    }
    let settled = Settled {
        lease: one.bench.lease,
        tenant: job.tenant,
        jobs: 1,
    };
    FinishReport {
        fenced: Vec::new(),
        settled: vec![settled],
    }
}

/// A provider that says "too many" knows better than the limit that is set. What was recorded stands if this fails: the
/// next refusal says it again.
async fn shrink_limits(inner: &Inner, told: &[Told], now: Timestamp) {
    let mut refused: BTreeMap<(TenantId, ConnectionId), (Timestamp, &Bench)> = BTreeMap::new();
    for one in told {
        let SendOutcome::Rejected(rejection) = &one.outcome else {
            continue;
        };
        if rejection.category == ErrorCategory::RateLimit && !Held::is(&one.outcome) {
            let wait = rejection
                .retry_after
                .and_then(|wait| SignedDuration::try_from(wait).ok());
            let until = now
                .saturating_add(wait.unwrap_or(SignedDuration::ZERO))
                .unwrap_or(now);
            let key = (one.call.carried.row.tenant, one.call.connection);
            let entry = refused.entry(key).or_insert((until, one.bench.as_ref()));
            entry.0 = entry.0.max(until);
        }
    }
    for ((tenant, connection), (until, bench)) in refused {
        let routes = bench.views.get(&tenant).map_or(&[][..], |view| &view.routes);
        let limit = routes.iter().find(|row| row.id == connection).and_then(limit_of);
        let Some(limit) = limit else { continue };
        let done = inner
            .limiter
            .refused(inner, tenant, connection, limit.pace(), until);
        if let Err(error) = done.await {
            tracing::warn!(%error, %connection, "a refusal for its rate could not be shared with other nodes");
        }
    }
}

/// A call, its outcome, and what it means for the delivery's row.
pub(crate) struct Told {
    bench: Arc<Bench>,
    call: Call,
    outcome: SendOutcome,
    lesson: Option<Lesson>,
    result: AttemptResult,
    next: Following,
}

/// What follows for the job.
enum Following {
    Done,
    Again {
        at: Timestamp,
        counts: bool,
    },
    /// Nobody was called: back to where it was.
    Back,
    GiveUp,
}

pub(crate) fn tell(inner: &Inner, bench: &Arc<Bench>, one: Ended, dice: &mut Dice, now: Timestamp) -> Told {
    let Ended { call, outcome, began } = one;
    let mut result = AttemptResult {
        tenant: call.carried.row.tenant,
        delivery: call.carried.row.delivery,
        attempt_no: call.attempt_no,
        connection: call.connection,
        outcome: AttemptOutcome::Accepted,
        category: None,
        code: None,
        detail: None,
        state: DeliveryState::Accepted,
        provider_message_id: None,
        resolve_after: None,
        keep_reference: false,
    };
    let next = match &outcome {
        SendOutcome::Accepted { provider_message_id } => {
            result.provider_message_id.clone_from(provider_message_id);
            Following::Done
        }
        SendOutcome::Unknown { detail } => {
            let at = now.saturating_add(ASK_AFTER).unwrap_or(Timestamp::MAX);
            result.outcome = AttemptOutcome::Unknown;
            result.state = DeliveryState::Unknown;
            result.detail = Some(detail.clone());
            result.resolve_after = Some(at);
            Following::Again { at, counts: false }
        }
        SendOutcome::Rejected(rejection) if Held::is(&outcome) => {
            let row = &call.carried.row;
            result.outcome = AttemptOutcome::Rejected;
            result.category = Some(rejection.category);
            result.code = Some(rejection.code.clone());
            result.detail = Some(rejection.detail.clone());
            result.state = row.state;
            result.keep_reference = row.reference.is_some();
            result.resolve_after = row.resolve_after;
            Following::Back
        }
        SendOutcome::Rejected(rejection) if repeat::is_repetition(&call) => {
            let at = after_refused_repetition(inner, &call, rejection, dice, now);
            result.outcome = AttemptOutcome::Unknown;
            result.state = DeliveryState::Unknown;
            result.category = Some(rejection.category);
            result.code = Some(rejection.code.clone());
            result.detail = Some(format!(
                "the repetition was refused ({}); what became of the call before it is not known",
                rejection.detail
            ));
            result.resolve_after = Some(at);
            Following::Again { at, counts: false }
        }
        SendOutcome::Rejected(rejection) => {
            let next = after_no(inner, bench, &call, rejection, dice, now);
            result.outcome = AttemptOutcome::Rejected;
            result.category = Some(rejection.category);
            result.code = Some(rejection.code.clone());
            result.detail = Some(rejection.detail.clone());
            result.state = match next {
                Following::Again { .. } => DeliveryState::RetryWait,
                Following::Done | Following::Back | Following::GiveUp => DeliveryState::Failed,
            };
            next
        }
    };
    Told {
        bench: Arc::clone(bench),
        lesson: lesson(inner, &call, &outcome, began, dice, now),
        call,
        outcome,
        result,
        next,
    }
}

/// When a call whose repetition was refused is asked about again. Nothing else may carry the message meanwhile.
fn after_refused_repetition(
    inner: &Inner,
    call: &Call,
    rejection: &Rejection,
    dice: &mut Dice,
    now: Timestamp,
) -> Timestamp {
    rest(inner, call, rejection, now);
    let failure = failure_of(
        &call.carried,
        ErrorCategory::Transient,
        rejection.retry_after,
        now,
    );
    match next_try(&failure, call.carried.job.kind, &inner.schedule, now, dice) {
        NextTry::At { at, .. } => at,
        // The question ends it then: every try is used up.
        NextTry::GiveUp => now.saturating_add(ASK_AFTER).unwrap_or(Timestamp::MAX),
    }
}

/// A connection rests as long as its provider asked for.
fn rest(inner: &Inner, call: &Call, rejection: &Rejection, now: Timestamp) {
    if let (ErrorCategory::RateLimit, Some(wait)) = (rejection.category, rejection.retry_after) {
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO);
        inner
            .limiter
            .pause(call.connection, now.saturating_add(wait).unwrap_or(now));
    }
}

/// After a no: another connection at once, a later try, or the end.
fn after_no(
    inner: &Inner,
    bench: &Bench,
    call: &Call,
    rejection: &Rejection,
    dice: &mut Dice,
    now: Timestamp,
) -> Following {
    rest(inner, call, rejection, now);
    if may_fail_over(inner, bench, call, rejection.category, now) {
        return Following::Again {
            at: now,
            counts: false,
        };
    }
    let view = bench.views.get(&call.carried.row.tenant);
    let (category, retry_after) = (rejection.category, rejection.retry_after);
    match channel_time::next_try_within(inner, view, &call.carried, category, retry_after, dice, now) {
        NextTry::At { at, counts } => Following::Again { at, counts },
        NextTry::GiveUp => Following::GiveUp,
    }
}

/// Whether another connection of the channel takes over: one that its breaker lets be called, once each for every counted
/// try.
fn may_fail_over(inner: &Inner, bench: &Bench, call: &Call, category: ErrorCategory, now: Timestamp) -> bool {
    if !matches!(
        category,
        ErrorCategory::Transient | ErrorCategory::RateLimit | ErrorCategory::AuthFailure
    ) {
        return false;
    }
    let row = &call.carried.row;
    let routes = bench.views.get(&row.tenant).map_or(&[][..], |view| &view.routes);
    let same = || routes.iter().filter(|route| route.channel == row.channel);
    let takes_over = |route: &RouteRow| {
        route.id != call.connection && inner.pulse.stand(route, now).breaker.permit(now) == Permit::Call
    };
    if !same().any(takes_over) {
        return false;
    }
    let connections = same().count();
    let tries = usize::try_from(call.carried.job.retry_count)
        .unwrap_or(0)
        .saturating_add(1);
    let attempts = usize::try_from(call.attempt_no).unwrap_or(usize::MAX);
    attempts < tries.saturating_mul(connections)
}

/// What follows from an outcome that stands.
fn follow(
    inner: &Inner,
    aside: &mut Aside,
    learned: &mut Vec<Learned>,
    one: &Told,
    dice: &mut Dice,
    now: Timestamp,
) {
    let carried = &one.call.carried;
    let outcome = match (&one.outcome, &one.next) {
        (SendOutcome::Accepted { .. }, _) => {
            aside.end_message(carried, MessageStatus::Sent, Provenance::Response, None);
            let data = json!({"channel": carried.row.channel, "connection": one.call.connection, "attempt": one.call.attempt_no});
            aside.event(carried, "MessageSent", data);
            Outcome::Done
        }
        (SendOutcome::Unknown { detail }, Following::Again { at, .. }) => {
            aside.event(
                carried,
                "DeliveryUnknown",
                json!({"channel": carried.row.channel, "attempt": one.call.attempt_no}),
            );
            wait_in_place(
                *at,
                format!("the outcome of the call is unknown ({detail}); it is asked about"),
            )
        }
        (SendOutcome::Rejected(rejection), Following::Back) => back(now, rejection.detail.clone()),
        (SendOutcome::Rejected(rejection), Following::Again { at, counts }) => Outcome::Retry {
            at: *at,
            category: rejection.category,
            error: format!("{}: {}", rejection.code, rejection.detail),
            counts: *counts,
        },
        (SendOutcome::Rejected(rejection), _) => {
            learned.extend(effect(one, rejection));
            let error = format!("{}: {}", rejection.code, rejection.detail);
            fallback::after_failure(
                inner,
                aside,
                carried,
                rejection.category,
                &rejection.code,
                error,
                dice,
                now,
            )
        }
        (SendOutcome::Unknown { .. }, _) => Outcome::Done,
    };
    aside.finishes.push(ended(carried, one.bench.lease, outcome));
}

/// What a rejection says about the recipient.
struct Suppress {
    new: NewSuppression,
    known_bad: Option<String>,
}

/// What follows for the recipient.
enum Learned {
    Suppress(Suppress),
    /// No marketing on the channel any more; everything else goes on.
    NoMarketing(TenantId, ContactId, Channel),
}

/// The address that a refusal says something about.
fn about_recipient(one: &Told) -> Option<(TenantId, BlindIndex)> {
    let SendOutcome::Rejected(Rejection { effect: Some(_), .. }) = &one.outcome else {
        return None;
    };
    let row = &one.call.carried.row;
    let index = BlindIndex::from_column(&row.recipient.as_ref()?.blind_index).ok()?;
    Some((row.tenant, index))
}

fn effect(one: &Told, rejection: &Rejection) -> Option<Learned> {
    let row = &one.call.carried.row;
    let (_, index) = about_recipient(one)?;
    let (reason, known_bad) = match rejection.effect? {
        RejectionEffect::AddressBad => (
            SuppressionReason::HardBounce,
            Some(rejection.code.chars().take(64).collect()),
        ),
        RejectionEffect::OptedOut => (SuppressionReason::Stop, None),
        RejectionEffect::OptedOutOfMarketing => {
            return Some(Learned::NoMarketing(row.tenant, row.message.contact, row.channel));
        }
    };
    let new = NewSuppression {
        tenant: row.tenant,
        channel: row.channel,
        blind_index: index,
        reason,
        source: format!("connection {}", one.call.connection),
        detail: Some(rejection.code.clone()),
    };
    Some(Learned::Suppress(Suppress { new, known_bad }))
}

async fn write_learned(
    tx: &mut Conn,
    learned: Vec<Learned>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let (mut suppress, mut withdrawn) = (Vec::new(), Vec::new());
    for one in learned {
        match one {
            Learned::Suppress(one) => suppress.push(one),
            Learned::NoMarketing(tenant, contact, channel) => withdrawn.push((tenant, contact, channel)),
        }
    }
    if !withdrawn.is_empty() {
        let source = "the provider refused marketing for this contact";
        consents::withdraw_marketing(tx, &withdrawn, source, dice, now).await?;
    }
    if suppress.is_empty() {
        return Ok(());
    }
    let rows: Vec<NewSuppression> = suppress.iter().map(|one| one.new.clone()).collect();
    suppressions::add(tx, &rows, dice, now).await?;
    for one in &suppress {
        if let Some(why) = &one.known_bad {
            contacts::mark_known_bad(tx, one.new.tenant, one.new.blind_index, why, now).await?;
        }
    }
    Ok(())
}

/// Counts a call, once whatever becomes of the commit, and says whether that moves a breaker.
fn lesson(
    inner: &Inner,
    call: &Call,
    outcome: &SendOutcome,
    began: Timestamp,
    dice: &mut Dice,
    now: Timestamp,
) -> Option<Lesson> {
    if Held::is(outcome) {
        // A call that this node held back says nothing about the provider.
        return None;
    }
    let (result, detail) = health(outcome);
    let ended = breaker::Ended {
        result,
        began,
        probe: call.probe,
    };
    let change = inner.pulse.count(call.connection, ended, dice, now)?;
    Some(Lesson {
        tenant: call.carried.row.tenant,
        connection: call.connection,
        change,
        detail,
    })
}

/// Moves breakers by what calls brought, and says so where one opened or closed.
async fn learn(
    inner: &Inner,
    tx: &mut Conn,
    told: &[Told],
    aside: &mut Aside,
    now: Timestamp,
) -> Result<(), EngineError> {
    let lessons = told.iter().filter_map(|one| one.lesson.as_ref());
    for moved in Routes::learn(inner, tx, lessons, now).await? {
        aside.events.extend(moved_event(inner, moved));
    }
    Ok(())
}

fn moved_event(inner: &Inner, moved: Moved) -> Option<NewEvent> {
    let Moved {
        tenant,
        connection,
        is,
        detail,
    } = moved;
    let (kind, data) = match is {
        Breaker::Open { retry_at, cause, .. } => {
            tracing::warn!(%tenant, %connection, node = %inner.node, %cause, "the breaker of a connection opened");
            metrics::counter!("tidings_breakers_opened_total", "cause" => cause.as_str()).increment(1);
            let data = json!({"cause": cause, "detail": detail, "next_probe_at": retry_at});
            ("BreakerOpened", data)
        }
        Breaker::Closed { .. } => {
            tracing::info!(%tenant, %connection, node = %inner.node, "the breaker of a connection closed");
            ("BreakerClosed", json!({"cause": "probe_answered"}))
        }
        Breaker::HalfOpen { .. } => return None,
    };
    Some(NewEvent {
        tenant,
        kind: kind.to_owned(),
        contact: None,
        message: None,
        subject: Some(connection.to_string()),
        data,
    })
}

/// Connections whose credentials were refused, also to a repetition: an operator hears of it at once.
fn refusals(told: &[Told]) -> Vec<(TenantId, ConnectionId, ProviderKind)> {
    let refused = told
        .iter()
        .filter(|one| one.result.category == Some(ErrorCategory::AuthFailure));
    refused
        .map(|one| (one.result.tenant, one.call.connection, one.call.provider.kind()))
        .collect()
}

fn count(one: &Told, now: Timestamp) {
    if Held::is(&one.outcome) {
        // Nobody was called.
        return;
    }
    let row = &one.call.carried.row;
    figures::provider_call(one.call.provider.kind());
    match &one.outcome {
        SendOutcome::Accepted { .. } => {
            let seconds = now.duration_since(row.message.accepted_at).as_secs_f64();
            metrics::histogram!("tidings_time_to_send_seconds", "channel" => row.channel.as_str())
                .record(seconds);
        }
        SendOutcome::Rejected(rejection) => {
            figures::api_error(Some(one.call.provider.kind()), Some(rejection.category));
        }
        SendOutcome::Unknown { .. } => {
            figures::api_error(Some(one.call.provider.kind()), None);
            metrics::counter!("tidings_unknown_outcomes_total", "channel" => row.channel.as_str())
                .increment(1);
        }
    }
}
