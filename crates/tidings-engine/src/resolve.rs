//! What nobody knows the outcome of: asked about, then decided by evidence or policy. Nothing is resent silently.

use crate::deliver::{Bench, Carried, failure_of, wait_in_place};
use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use crate::fallback::{self, Aside};
use crate::figures;
use crate::outcome::ASK_AFTER;
use crate::process::ended;
use crate::repeat;
use crate::settle;
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tidings_core::job::urgency_priority;
use tidings_core::retry::{NextTry, next_try};
use tidings_core::unknown::{self, Evidence, UnknownAction};
use tidings_core::{
    AttemptOutcome, ConnectionId, DeliveryState, Dice, ErrorCategory, MessageId, MessageStatus, Provenance,
    TenantId,
};
use tidings_providers::Lookup;
use tidings_queue::{FinishReport, Outcome, enqueue};
use tidings_store::events::{self, NewEvent};
use tidings_store::messages::outcome::{self, AttemptResult, DeliveryMove, MessageMove};
use tidings_store::messages::unknown as listed;
use tidings_store::messages::{dispatch, routes};

/// How long a provider that could not be asked is left alone, while there is time.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// Questions to providers at once.
const ASKING: usize = 32;

/// Works on deliveries that are `unknown`, or `dispatching` under a worker that is gone.
pub(crate) async fn resolve(
    inner: &Inner,
    bench: &Bench,
    carried: Vec<Carried>,
    reports: &mut Vec<FinishReport>,
) -> Result<(), EngineError> {
    let (lost, unknown): (Vec<Carried>, Vec<Carried>) = carried
        .into_iter()
        .partition(|one| one.row.state == DeliveryState::Dispatching);
    if !lost.is_empty() {
        reports.push(name_unknown(inner, bench, &lost).await?);
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let asked: Vec<Asked> = stream::iter(unknown)
        .map(|one| ask(inner, bench, one))
        .buffer_unordered(ASKING)
        .collect()
        .await;
    reports.push(conclude(inner, bench, &asked).await?);
    Ok(())
}

/// A call whose worker died or lost its lease gets its name: unknown. It is asked about a little later, because the
/// call may still be on its way.
async fn name_unknown(inner: &Inner, bench: &Bench, lost: &[Carried]) -> Result<FinishReport, EngineError> {
    let now = inner.now();
    let at = now.saturating_add(ASK_AFTER).unwrap_or(Timestamp::MAX);
    let detail = "the worker that made the call ended before it recorded the answer";
    let results: Vec<AttemptResult> = lost
        .iter()
        .filter_map(|one| {
            let mut result = result(one, AttemptOutcome::Unknown, DeliveryState::Unknown)?;
            result.detail = Some(detail.to_owned());
            result.resolve_after = Some(at);
            Some(result)
        })
        .collect();
    let mut aside = Aside::default();
    for one in lost {
        aside
            .finishes
            .push(ended(one, bench.lease, wait_in_place(at, detail)));
        aside.event(
            one,
            "DeliveryUnknown",
            json!({"channel": one.row.channel, "attempt": one.row.attempt_no}),
        );
    }
    let mut dice = inner.dice();
    let mut tx = inner.tx().await?;
    outcome::attempts(&mut tx, &results, now).await?;
    let report = fallback::write(inner, &mut tx, aside, &mut dice, now).await?;
    inner.fail.pass("resolve_before_commit");
    tx.commit().await?;
    metrics::counter!("tidings_unknown_outcomes_total", "channel" => "lost").increment(lost.len() as u64);
    Ok(report)
}

fn result(one: &Carried, outcome: AttemptOutcome, state: DeliveryState) -> Option<AttemptResult> {
    Some(AttemptResult {
        tenant: one.row.tenant,
        delivery: one.row.delivery,
        attempt_no: one.row.attempt_no,
        connection: one.row.connection?,
        outcome,
        category: None,
        code: None,
        detail: None,
        state,
        provider_message_id: None,
        resolve_after: None,
        keep_reference: true,
    })
}

/// A delivery with what its provider said about it.
struct Asked {
    carried: Carried,
    evidence: Evidence,
    provider_message_id: Option<String>,
    /// With [`Evidence::Repeatable`]: until when.
    repeatable_until: Option<Timestamp>,
}

async fn ask(inner: &Inner, bench: &Bench, carried: Carried) -> Asked {
    let silent = |carried| Asked {
        carried,
        evidence: Evidence::Unavailable,
        provider_message_id: None,
        repeatable_until: None,
    };
    if carried.job.is_poison() {
        // Asking has killed workers; policy decides without the answer.
        return silent(carried);
    }
    let row = &carried.row;
    let Some(view) = bench.views.get(&row.tenant) else {
        return silent(carried);
    };
    let route = row
        .connection
        .and_then(|id| view.routes.iter().find(|route| route.id == id));
    let (Some(route), Some(reference)) = (route, row.reference.as_deref()) else {
        return silent(carried);
    };
    let Ok(provider) = inner.providers.of(&view.key, route) else {
        return silent(carried);
    };
    let asked = tokio::time::timeout(inner.limits.call, provider.lookup(reference)).await;
    let mut repeatable_until = None;
    let (evidence, provider_message_id) = match asked {
        Ok(Lookup::Found { provider_message_id }) => (Evidence::Found, provider_message_id),
        Ok(Lookup::NotFound) => (Evidence::NotFound, None),
        Ok(Lookup::Unavailable { .. }) if provider.capabilities().idempotent_send => {
            let until = repeat::until(row, provider.as_ref());
            repeatable_until = Some(until).filter(|until| inner.now() < *until);
            match repeatable_until {
                Some(_) => (Evidence::Repeatable, None),
                None => (Evidence::Unavailable, None),
            }
        }
        Ok(Lookup::Unavailable { .. }) | Err(_) => (Evidence::Unavailable, None),
    };
    Asked {
        carried,
        evidence,
        provider_message_id,
        repeatable_until,
    }
}

/// Decides about each and writes it.
async fn conclude(inner: &Inner, bench: &Bench, asked: &[Asked]) -> Result<FinishReport, EngineError> {
    let now = inner.now();
    let mut dice = inner.dice();
    let mut aside = Aside::default();
    let mut results = Vec::with_capacity(asked.len());
    for one in asked {
        let row = &one.carried.row;
        let Some(view) = bench.views.get(&row.tenant) else {
            continue;
        };
        let attempted_at = row.attempted_at.unwrap_or(row.message.accepted_at);
        let action = unknown::resolve(
            row.channel,
            row.message.category,
            view.policy(),
            attempted_at,
            now,
            one.evidence,
        );
        // What may have arrived is repeated where it was made; where that is gone nobody but a person may.
        let gone = !row
            .connection
            .is_some_and(|connection| view.routes.iter().any(|route| route.id == connection));
        let action = match action {
            UnknownAction::Resend if one.evidence != Evidence::NotFound && gone => UnknownAction::Hold,
            action => action,
        };
        act(
            inner,
            bench,
            &mut aside,
            &mut results,
            one,
            action,
            &mut dice,
            now,
        );
    }
    let mut tx = inner.tx().await?;
    outcome::attempts(&mut tx, &results, now).await?;
    let report = fallback::write(inner, &mut tx, aside, &mut dice, now).await?;
    inner.fail.pass("resolve_before_commit");
    tx.commit().await?;
    Ok(report)
}

#[expect(
    clippy::too_many_arguments,
    reason = "one step of the conclusion, called once"
)]
fn act(
    inner: &Inner,
    bench: &Bench,
    aside: &mut Aside,
    results: &mut Vec<AttemptResult>,
    one: &Asked,
    action: UnknownAction,
    dice: &mut Dice,
    now: Timestamp,
) {
    let carried = &one.carried;
    let (outcome, state) = match action {
        UnknownAction::Accept => (AttemptOutcome::Accepted, DeliveryState::Accepted),
        UnknownAction::WaitUntil(_) => (AttemptOutcome::Unknown, DeliveryState::Unknown),
        UnknownAction::Resend => {
            let known = if one.evidence == Evidence::NotFound {
                AttemptOutcome::Rejected
            } else {
                AttemptOutcome::Unknown
            };
            (known, DeliveryState::Queued)
        }
        UnknownAction::Hold => (AttemptOutcome::Unknown, DeliveryState::Held),
        UnknownAction::Drop => (AttemptOutcome::Unknown, DeliveryState::Dropped),
    };
    let Some(mut result) = result(carried, outcome, state) else {
        return;
    };
    // What certainly did not arrive is a new call, by whichever connection; anything else is repeated where it was made.
    result.keep_reference = one.evidence != Evidence::NotFound;
    result.provider_message_id.clone_from(&one.provider_message_id);
    result.detail = Some(said(one.evidence, action).to_owned());
    let data = json!({"channel": carried.row.channel, "evidence": one.evidence, "state": state});
    let end = match action {
        UnknownAction::Accept => {
            aside.end_message(carried, MessageStatus::Sent, Provenance::Poll, None);
            aside.event(carried, "MessageSent", data);
            Outcome::Done
        }
        UnknownAction::WaitUntil(until) => {
            let again = now.saturating_add(ASK_AGAIN).unwrap_or(until).min(until);
            result.resolve_after = Some(again);
            wait_in_place(again, said(one.evidence, action))
        }
        UnknownAction::Resend => resend(inner, aside, &mut result, one, dice, now),
        UnknownAction::Hold => {
            aside.event(carried, "DeliveryHeld", data);
            Outcome::Dead {
                cause: "unknown_outcome".to_owned(),
                category: ErrorCategory::Transient,
                error: "nobody can tell whether it arrived; held for a person (a replay sends it again)"
                    .to_owned(),
            }
        }
        UnknownAction::Drop => {
            aside.end_message(
                carried,
                MessageStatus::Failed,
                Provenance::Inferred,
                Some("unknown.dropped".to_owned()),
            );
            aside.event(carried, "MessageFailed", data);
            Outcome::Cancelled
        }
    };
    results.push(result);
    aside.finishes.push(ended(carried, bench.lease, end));
}

/// A call that is known, or allowed, to be repeated; it costs a try, so it ends.
fn resend(
    inner: &Inner,
    aside: &mut Aside,
    result: &mut AttemptResult,
    one: &Asked,
    dice: &mut Dice,
    now: Timestamp,
) -> Outcome {
    let failure = failure_of(&one.carried, ErrorCategory::Transient, None, now);
    let data = json!({"channel": one.carried.row.channel, "evidence": one.evidence});
    if let NextTry::At { .. } = next_try(&failure, one.carried.job.kind, &inner.schedule, now, dice) {
        result.resolve_after = one.repeatable_until;
        aside.event(&one.carried, "DeliveryResent", data);
        let error = said(one.evidence, UnknownAction::Resend).to_owned();
        return Outcome::Retry {
            at: now,
            category: ErrorCategory::Transient,
            error,
            counts: true,
        };
    }
    result.state = DeliveryState::Failed;
    let error = "every try was lost on the way".to_owned();
    // Only what certainly did not arrive may go by another channel.
    if one.evidence == Evidence::NotFound {
        return fallback::after_failure(
            inner,
            aside,
            &one.carried,
            ErrorCategory::Transient,
            "lost",
            error,
            dice,
            now,
        );
    }
    result.state = DeliveryState::Held;
    aside.event(&one.carried, "DeliveryHeld", data);
    Outcome::Dead {
        cause: "unknown_outcome".to_owned(),
        category: ErrorCategory::Transient,
        error,
    }
}

const fn said(evidence: Evidence, action: UnknownAction) -> &'static str {
    match (evidence, action) {
        (Evidence::Found, _) => "the provider has the message",
        (Evidence::NotFound, _) => "the provider does not have the message; it is sent again",
        (Evidence::Repeatable, _) => "the provider takes the same reference once only; it is sent again",
        (Evidence::Unavailable, UnknownAction::WaitUntil(_)) => {
            "the provider cannot tell yet; it is asked again"
        }
        (Evidence::Unavailable, UnknownAction::Resend) => {
            "nobody can tell; sent again by the tenant's policy"
        }
        (Evidence::Unavailable, UnknownAction::Hold) => {
            "nobody can tell; held for a person by the tenant's policy"
        }
        (Evidence::Unavailable, UnknownAction::Drop) => "nobody can tell; given up by the tenant's policy",
        (Evidence::Unavailable, UnknownAction::Accept) => "accepted",
    }
}

/// What a person decides about a delivery of unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersonDecides {
    /// Send it anew, by any connection: whoever says so takes it that it may arrive twice.
    Resend,
    /// It arrived.
    Arrived,
    /// Leave it.
    Drop,
}

impl Engine {
    /// A person's decision about a message whose outcome nobody knows.
    ///
    /// # Errors
    /// When the message is unknown, or its outcome is not.
    pub async fn decide_unknown(
        &self,
        tenant: TenantId,
        message: MessageId,
        decision: PersonDecides,
    ) -> Result<(), EngineError> {
        let inner = &self.inner;
        let now = inner.now();
        let mut tx = inner.tx().await?;
        let not_found = || EngineError::NotFound {
            what: "message",
            id: message.to_string(),
        };
        let (delivery, _) = listed::newest_delivery(&mut tx, tenant, message)
            .await?
            .ok_or_else(not_found)?;
        let row = dispatch::load(&mut tx, &[(tenant, delivery)])
            .await?
            .pop()
            .ok_or_else(not_found)?;
        if !matches!(row.state, DeliveryState::Unknown | DeliveryState::Held) {
            let problem = format!(
                "the outcome of message {message} is not unknown: its delivery is {}",
                row.state
            );
            return Err(EngineError::Conflict { problem });
        }
        let connection = row.connection.unwrap_or(ConnectionId(uuid::Uuid::nil()));
        let to = |status, because: Option<&str>| MessageMove {
            tenant,
            message,
            from: row.message.status,
            to: status,
            provenance: Provenance::Inferred,
            because: because.map(str::to_owned),
        };
        match decision {
            PersonDecides::Resend => {
                let priority = urgency_priority(row.message.urgency);
                let job = settle::send_job(inner, tenant, message, delivery, row.channel, priority, now);
                let job = enqueue(&mut tx, &[job], now)
                    .await?
                    .first()
                    .map(|enqueued| enqueued.id);
                let moving = DeliveryMove {
                    tenant,
                    delivery,
                    attempt_no: row.attempt_no,
                    from: row.state,
                    to: DeliveryState::Queued,
                    because: Some("sent again by a person".to_owned()),
                    job,
                };
                outcome::moves(&mut tx, &[moving], now).await?;
                let routes = routes::load(&mut tx, &[tenant]).await?;
                if !routes.iter().any(|route| Some(route.id) == row.connection) {
                    // A person takes the risk of another way: the connection that made the call is gone.
                    outcome::forget_reference(&mut tx, tenant, delivery).await?;
                }
            }
            PersonDecides::Arrived | PersonDecides::Drop => {
                let arrived = decision == PersonDecides::Arrived;
                let result = AttemptResult {
                    tenant,
                    delivery,
                    attempt_no: row.attempt_no,
                    connection,
                    outcome: if arrived {
                        AttemptOutcome::Accepted
                    } else {
                        AttemptOutcome::Unknown
                    },
                    category: None,
                    code: None,
                    detail: Some("decided by a person".to_owned()),
                    state: if arrived {
                        DeliveryState::Accepted
                    } else {
                        DeliveryState::Dropped
                    },
                    provider_message_id: None,
                    resolve_after: None,
                    keep_reference: true,
                };
                outcome::attempts(&mut tx, &[result], now).await?;
                let moving = if arrived {
                    to(MessageStatus::Sent, None)
                } else {
                    to(MessageStatus::Failed, Some("unknown.dropped"))
                };
                figures::communication(Some(row.channel), &row.message.message_type, moving.to);
                outcome::messages(&mut tx, &[moving], now).await?;
            }
        }
        let event = NewEvent {
            tenant,
            kind: "UnknownDecided".to_owned(),
            contact: Some(row.message.contact),
            message: Some(message),
            subject: None,
            data: json!({"decision": format!("{decision:?}").to_lowercase()}),
        };
        events::append(&mut tx, &[event], &mut inner.dice(), now).await?;
        tx.commit().await?;
        Ok(())
    }
}
