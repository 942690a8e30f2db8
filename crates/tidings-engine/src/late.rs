//! What a provider says after it took a text: that it failed for now, and it is tried again as after a refusal while it has
//! tries left; that it failed for good, and the next channel takes over as after a refusal; or that it arrived, and what took
//! over is called off while nothing of it has begun to leave.
//!
//! Reports come in any order and any number. A fallback begins once: the delivery is locked, and only a delivery that is
//! neither known to have arrived nor overtaken gives way. Of a message whose chain goes on a report of failure says nothing
//! more than that: the message ends as its last channel does, or as delivered when any of them arrives after all.

use crate::engine::Inner;
use crate::error::EngineError;
use crate::settle;
use jiff::Timestamp;
use serde_json::json;
use tidings_core::event::{BounceClass, DeliveryEventKind};
use tidings_core::job::{JobKind, urgency_priority};
use tidings_core::retry::{Failure, NextTry, next_try};
use tidings_core::{Channel, DeliveryId, DeliveryState, Dice, ErrorCategory, JobId, MessageStatus};
use tidings_queue::{NewJob, Outcome, enqueue, overturn};
use tidings_store::TenantTx;
use tidings_store::events::{self, NewEvent};
use tidings_store::messages::dispatch::Dispatchable;
use tidings_store::messages::insert;
use tidings_store::messages::record::NewDelivery;
use tidings_store::tracking::moves;
use tidings_store::tracking::reports::{NewReport, Reported};

/// What a report means for the message beside its own delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It counts for the message.
    Counts,
    /// The channel failed; this one takes over.
    GivesWay(Channel),
    /// It no longer matters: another channel took over, or the message had arrived.
    PassedOver,
    /// The channel arrived although another took over.
    Arrived,
}

/// What a report means for the message.
pub(crate) fn meaning(reported: &Reported, report: &NewReport) -> Meaning {
    use DeliveryEventKind as Kind;
    let overtaken = is_overtaken(reported);
    match report.kind {
        Kind::Failed | Kind::Bounced if overtaken || reported.arrived_before => Meaning::PassedOver,
        Kind::Accepted | Kind::Deferred if overtaken => Meaning::PassedOver,
        Kind::Failed => given_up(reported),
        Kind::Bounced if report.bounce_class != Some(BounceClass::Soft) => given_up(reported),
        Kind::Delivered
        | Kind::MachineOpened
        | Kind::Opened
        | Kind::Clicked
        | Kind::Complained
        | Kind::Replied
            if overtaken =>
        {
            Meaning::Arrived
        }
        _ => Meaning::Counts,
    }
}

/// Whether a report says that a text which was taken could not be delivered for now. It is tried again as a refused one is.
pub(crate) fn may_come_again(reported: &Reported, report: &NewReport) -> bool {
    report.kind == DeliveryEventKind::Failed
        && report.error_category.is_some_and(is_temporary)
        && reported.channel.uses_phone()
        && reported.state == DeliveryState::Accepted
        && reported.standing.status == MessageStatus::Sent
        && !is_overtaken(reported)
        && !reported.arrived_before
}

pub(crate) const fn is_temporary(category: ErrorCategory) -> bool {
    matches!(category, ErrorCategory::Transient | ErrorCategory::RateLimit)
}

/// Whether another channel took over. A text that failed with channels left has been overtaken, also when the report that
/// did it was applied while this one waited for the lock.
fn is_overtaken(reported: &Reported) -> bool {
    let failed = matches!(reported.state, DeliveryState::Failed | DeliveryState::Bounced);
    reported.overtaken
        || failed && next_channel(reported.channel, reported.position, &reported.chain).is_some()
}

fn given_up(reported: &Reported) -> Meaning {
    use DeliveryState as State;
    let Some(next) = next_channel(reported.channel, reported.position, &reported.chain) else {
        return Meaning::Counts;
    };
    let open = matches!(
        reported.standing.status,
        MessageStatus::Pending | MessageStatus::Queued | MessageStatus::Sent
    );
    match reported.state {
        State::Queued
        | State::Dispatching
        | State::RetryWait
        | State::Accepted
        | State::Unknown
        | State::Held
            if open =>
        {
            Meaning::GivesWay(next)
        }
        State::Delivered => Meaning::PassedOver,
        _ => Meaning::Counts,
    }
}

/// The channel that takes over when a text fails after it was taken. Mail that bounces later has no such channel: its
/// chain is followed only while the provider still answers.
fn next_channel(channel: Channel, position: i16, chain: &[Channel]) -> Option<Channel> {
    let next = usize::try_from(position.checked_add(1)?).ok()?;
    chain.get(next).copied().filter(|_| channel.uses_phone())
}

/// How the turn of a job ends whose delivery was reported as failed meanwhile.
pub(crate) fn end_of_turn(row: &Dispatchable) -> Outcome {
    let (category, error) = (
        ErrorCategory::Permanent,
        "the provider reported that it failed".to_owned(),
    );
    match next_channel(row.channel, row.position, &row.chain) {
        Some(Channel::Email) => Outcome::FallbackEmail { category, error },
        Some(_) => Outcome::Cancelled,
        None => Outcome::Dead {
            cause: "reported_failed".to_owned(),
            category,
            error,
        },
    }
}

/// Puts a delivery that failed for now back in line, after the wait of its try, under a new job; false when every try is used
/// up. The report ended the attempt, so the next has a reference of its own, and the gate asks the rules about it.
pub(crate) async fn again(
    inner: &Inner,
    tx: &mut TenantTx,
    reported: &Reported,
    report: &NewReport,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<bool, EngineError> {
    let kind = JobKind::send_by(reported.channel);
    let (tried, most) = (
        reported.attempt_no.unsigned_abs().saturating_sub(1),
        inner.schedule.max_retries(kind),
    );
    // Counted in any case: reports name no time until which to wait, and waits that cost nothing could go on for ever.
    let failure = Failure {
        category: ErrorCategory::Transient,
        retries: tried,
        max_retries: most,
        retry_after: None,
        first_due_at: now,
    };
    let NextTry::At { at, .. } = next_try(&failure, kind, &inner.schedule, now, dice) else {
        return Ok(false);
    };
    let priority = urgency_priority(reported.urgency);
    let (tenant, message, delivery) = (tx.tenant(), reported.message, reported.delivery);
    let job = NewJob {
        max_retries: i32::try_from(most.saturating_sub(tried + 1)).unwrap_or(i32::MAX),
        ..settle::send_job(inner, tenant, message, delivery, reported.channel, priority, at)
    };
    let Some(job) = enqueue(tx, &[job], now)
        .await?
        .first()
        .map(|enqueued| enqueued.id)
    else {
        return Ok(false);
    };
    let error = why(report);
    moves::try_again(tx, delivery, job, report.error_category, &error, now).await?;
    let data = json!({"channel": reported.channel, "at": at, "code": report.code});
    note(tx, reported, "DeliveryRetried", data, dice, now).await?;
    metrics::counter!("tidings_late_retries_total", "channel" => reported.channel.as_str()).increment(1);
    Ok(true)
}

fn why(report: &NewReport) -> String {
    let code = report.code.as_deref().unwrap_or("failed");
    format!("the provider took it and reported later that it failed ({code})")
}

/// Begins the delivery of the next channel. The gate asks the rules about it as about any other.
pub(crate) async fn give_way(
    inner: &Inner,
    tx: &mut TenantTx,
    reported: &Reported,
    report: &NewReport,
    next: Channel,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let tenant = tx.tenant();
    let id = DeliveryId(dice.uuid(now));
    let priority = urgency_priority(reported.urgency);
    let job = settle::send_job(inner, tenant, reported.message, id, next, priority, now);
    let enqueued = enqueue(tx, &[job], now).await?;
    let Some(job) = enqueued.first().map(|enqueued| enqueued.id) else {
        return Ok(());
    };
    let delivery = NewDelivery {
        tenant,
        id,
        message: reported.message,
        channel: next,
        position: reported.position.saturating_add(1),
        chain: reported.chain.clone(),
        job,
        created_at: now,
    };
    insert::deliveries(tx, &[delivery]).await?;
    if next == Channel::Email
        && let Some(job) = reported.job
    {
        overturn_job(tx, job, report, now).await?;
    }
    let data = json!({"from": reported.channel, "to": next, "late": true});
    note(tx, reported, "FallbackStarted", data, dice, now).await?;
    metrics::counter!("tidings_fallbacks_total", "from" => reported.channel.as_str(), "to" => next.as_str())
        .increment(1);
    Ok(())
}

async fn overturn_job(
    tx: &mut TenantTx,
    job: JobId,
    report: &NewReport,
    now: Timestamp,
) -> Result<(), EngineError> {
    let error = why(report);
    let category = report.error_category.unwrap_or(ErrorCategory::Permanent);
    let tenant = tx.tenant();
    overturn(tx, tenant, job, category, &error, now).await?;
    Ok(())
}

/// Calls off what took over from a channel that arrived after all, as far as nothing of it has begun to leave.
pub(crate) async fn call_off(
    tx: &mut TenantTx,
    reported: &Reported,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let why = format!("called off: {} arrived after all", reported.channel);
    let stopped = moves::stop_later(tx, reported.message, reported.position, &why, now).await?;
    for delivery in stopped {
        let data = json!({"delivery": delivery, "arrived_by": reported.channel});
        note(tx, reported, "FallbackCalledOff", data, dice, now).await?;
    }
    Ok(())
}

async fn note(
    tx: &mut TenantTx,
    reported: &Reported,
    kind: &str,
    data: serde_json::Value,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let event = NewEvent {
        tenant: tx.tenant(),
        kind: kind.to_owned(),
        contact: Some(reported.contact),
        message: Some(reported.message),
        subject: None,
        data,
    };
    events::append(tx, &[event], dice, now).await?;
    Ok(())
}
