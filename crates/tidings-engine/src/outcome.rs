//! What came of calls: attempts, deliveries, messages, suppressions, breakers, jobs and fallbacks in one transaction.

use crate::connections::{Routes, health};
use crate::deliver::{Bench, Call, failure_of, wait};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::fallback::{self, Aside};
use crate::figures;
use crate::process::ended;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::retry::{NextTry, next_try};
use tidings_core::{
    AttemptOutcome, ConnectionId, DeliveryState, Dice, ErrorCategory, MessageStatus, Provenance,
    ProviderKind, TenantId,
};
use tidings_providers::{Rejection, RejectionEffect, SendOutcome};
use tidings_queue::{FinishReport, Outcome};
use tidings_store::contacts;
use tidings_store::events::NewEvent;
use tidings_store::messages::outcome::{self, AttemptResult};
use tidings_store::suppressions::{self, NewSuppression};
use tidings_store::{BlindIndex, Conn};

/// How long after a call without an answer it is first asked about: long enough for what was under way to arrive.
pub(crate) const ASK_AFTER: SignedDuration = SignedDuration::from_secs(15);

/// How soon a delivery that somebody with better knowledge moved looks again.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// A call with what came of it.
pub(crate) struct Ended {
    pub call: Call,
    pub outcome: SendOutcome,
}

/// Records outcomes. What a provider said is kept even when the lease is lost; what would follow from it is not.
pub(crate) async fn record(
    inner: &Inner,
    bench: &Bench,
    routes: &mut Routes,
    ended: Vec<Ended>,
    dice: &mut Dice,
) -> Result<FinishReport, EngineError> {
    let now = inner.now();
    let told: Vec<Told> = ended
        .into_iter()
        .map(|one| tell(inner, bench, one, dice, now))
        .collect();
    let mut tx = inner.tx().await?;
    let results: Vec<AttemptResult> = told.iter().map(|one| one.result.clone()).collect();
    let moved = outcome::attempts(&mut tx, &results, now).await?;
    let mut aside = Aside::default();
    let mut suppress = Vec::new();
    for one in &told {
        if moved.contains(&one.result.delivery) {
            follow(inner, bench, &mut aside, &mut suppress, one, dice, now);
        } else {
            let at = now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
            let outcome = wait(at, ErrorCategory::Transient, "the delivery was moved meanwhile");
            aside
                .finishes
                .push(crate::process::ended(&one.call.carried, bench.lease, outcome));
        }
    }
    learn(inner, &mut tx, routes, &told, &mut aside, dice, now).await?;
    write_suppressions(&mut tx, &suppress, dice, now).await?;
    let report = fallback::write(inner, &mut tx, aside, dice, now).await?;
    crate::alerts::refused(&mut tx, &refusals(&told), dice, now).await?;
    inner.fail.pass("outcome_before_commit");
    tx.commit().await?;
    inner.fail.pass("outcome_after_commit");
    told.iter()
        .filter(|one| moved.contains(&one.result.delivery))
        .for_each(|one| count(one, now));
    Ok(report)
}

/// A call, its outcome, and what it means for the delivery's row.
struct Told {
    call: Call,
    outcome: SendOutcome,
    result: AttemptResult,
    next: Following,
}

/// What follows for the job.
enum Following {
    Done,
    Again { at: Timestamp, counts: bool },
    GiveUp,
}

fn tell(inner: &Inner, bench: &Bench, one: Ended, dice: &mut Dice, now: Timestamp) -> Told {
    let Ended { call, outcome } = one;
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
        SendOutcome::Rejected(rejection) => {
            let next = after_no(inner, bench, &call, rejection, dice, now);
            result.outcome = AttemptOutcome::Rejected;
            result.category = Some(rejection.category);
            result.code = Some(rejection.code.clone());
            result.detail = Some(rejection.detail.clone());
            result.state = match next {
                Following::Again { .. } => DeliveryState::RetryWait,
                Following::Done | Following::GiveUp => DeliveryState::Failed,
            };
            next
        }
    };
    Told {
        call,
        outcome,
        result,
        next,
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
    if let (ErrorCategory::RateLimit, Some(wait)) = (rejection.category, rejection.retry_after) {
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO);
        inner
            .limiter
            .pause(call.connection, now.saturating_add(wait).unwrap_or(now));
    }
    if may_fail_over(bench, call, rejection.category) {
        return Following::Again {
            at: now,
            counts: false,
        };
    }
    let failure = failure_of(&call.carried, rejection.category, rejection.retry_after);
    match next_try(&failure, call.carried.job.kind, &inner.schedule, now, dice) {
        NextTry::At { at, counts } => Following::Again { at, counts },
        NextTry::GiveUp => Following::GiveUp,
    }
}

/// Whether another connection of the channel takes over: once each for every counted try.
fn may_fail_over(bench: &Bench, call: &Call, category: ErrorCategory) -> bool {
    if !matches!(
        category,
        ErrorCategory::Transient | ErrorCategory::RateLimit | ErrorCategory::AuthFailure
    ) {
        return false;
    }
    let row = &call.carried.row;
    let routes = bench.views.get(&row.tenant).map_or(&[][..], |view| &view.routes);
    let connections = routes.iter().filter(|route| route.channel == row.channel).count();
    let tries = usize::try_from(call.carried.job.retry_count)
        .unwrap_or(0)
        .saturating_add(1);
    let attempts = usize::try_from(call.attempt_no).unwrap_or(usize::MAX);
    connections > 1 && attempts < tries.saturating_mul(connections)
}

/// What follows from an outcome that stands.
fn follow(
    inner: &Inner,
    bench: &Bench,
    aside: &mut Aside,
    suppress: &mut Vec<Suppress>,
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
            wait(
                *at,
                ErrorCategory::Transient,
                format!("the outcome of the call is unknown ({detail}); it is asked about"),
            )
        }
        (SendOutcome::Rejected(rejection), Following::Again { at, counts }) => Outcome::Retry {
            at: *at,
            category: rejection.category,
            error: format!("{}: {}", rejection.code, rejection.detail),
            counts: *counts,
        },
        (SendOutcome::Rejected(rejection), _) => {
            suppress.extend(effect(one, rejection));
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
    aside.finishes.push(ended(carried, bench.lease, outcome));
}

/// What a rejection says about the recipient.
struct Suppress {
    new: NewSuppression,
    known_bad: Option<String>,
}

fn effect(one: &Told, rejection: &Rejection) -> Option<Suppress> {
    let row = &one.call.carried.row;
    let index = BlindIndex::from_column(&row.recipient.as_ref()?.blind_index).ok()?;
    let (reason, known_bad) = match rejection.effect? {
        RejectionEffect::AddressBad => (
            SuppressionReason::HardBounce,
            Some(rejection.code.chars().take(64).collect()),
        ),
        RejectionEffect::OptedOut => (SuppressionReason::Stop, None),
        RejectionEffect::OptedOutOfMarketing => (SuppressionReason::Unsubscribe, None),
    };
    let new = NewSuppression {
        tenant: row.tenant,
        channel: row.channel,
        blind_index: index,
        reason,
        source: format!("connection {}", one.call.connection),
        detail: Some(rejection.code.clone()),
    };
    Some(Suppress { new, known_bad })
}

async fn write_suppressions(
    tx: &mut Conn,
    suppress: &[Suppress],
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    if suppress.is_empty() {
        return Ok(());
    }
    let rows: Vec<NewSuppression> = suppress.iter().map(|one| one.new.clone()).collect();
    suppressions::add(tx, &rows, dice, now).await?;
    for one in suppress {
        if let Some(why) = &one.known_bad {
            contacts::mark_known_bad(tx, one.new.tenant, one.new.blind_index, why, now).await?;
        }
    }
    Ok(())
}

/// Moves breakers by what calls brought, and says so where one opened.
async fn learn(
    inner: &Inner,
    tx: &mut Conn,
    routes: &mut Routes,
    told: &[Told],
    aside: &mut Aside,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let results: Vec<_> = told
        .iter()
        .map(|one| {
            let (result, cause) = health(&one.outcome);
            (one.call.carried.row.tenant, one.call.connection, result, cause)
        })
        .collect();
    let opened: Vec<(TenantId, ConnectionId)> = routes.learn(tx, &results, dice, now).await?;
    for (tenant, connection) in opened {
        tracing::warn!(%tenant, %connection, node = %inner.node, "the breaker of a connection opened");
        metrics::counter!("tidings_breakers_opened_total").increment(1);
        aside.events.push(NewEvent {
            tenant,
            kind: "BreakerOpened".to_owned(),
            contact: None,
            message: None,
            subject: Some(connection.to_string()),
            data: json!({}),
        });
    }
    Ok(())
}

/// Connections whose credentials were refused: an operator hears of it at once.
fn refusals(told: &[Told]) -> Vec<(TenantId, ConnectionId, ProviderKind)> {
    let refused = told
        .iter()
        .filter(|one| one.result.category == Some(ErrorCategory::AuthFailure));
    refused
        .map(|one| (one.result.tenant, one.call.connection, one.call.provider.kind()))
        .collect()
}

fn count(one: &Told, now: Timestamp) {
    let row = &one.call.carried.row;
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
