//! From a decision to rows: where the message stands, which delivery and job follow, what is recorded.

use crate::engine::Inner;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tidings_core::decide::{Decision, Facts, Plan, Verdict};
use tidings_core::job::JobKind;
use tidings_core::{
    BatchId, Channel, DecisionId, DecisionStage, DeliveryId, Dice, JobId, MessageId, MessageStatus, TenantId,
    Urgency, WaitsFor,
};
use tidings_queue::NewJob;
use tidings_store::messages::record::{NewDecision, NewDelivery, Placement};

/// Where a decision leaves a message.
pub(crate) fn placement(decision: &Decision, now: Timestamp) -> Placement {
    let waiting = |waits_for, again| Placement {
        status: MessageStatus::Pending,
        waits_for: Some(waits_for),
        planned_at: None,
        decide_again_at: Some(again),
        queued_at: None,
        ended_because: None,
        batch: None,
    };
    match &decision.verdict {
        Verdict::Send(plan) => Placement {
            status: MessageStatus::Queued,
            waits_for: None,
            planned_at: Some(plan.at),
            decide_again_at: None,
            queued_at: Some(now),
            ended_because: None,
            batch: None,
        },
        Verdict::Hold { until } => waiting(WaitsFor::Hold, *until),
        Verdict::Batch { closes_at, .. } => waiting(WaitsFor::Batch, *closes_at),
        Verdict::Approve { expires_at } => waiting(WaitsFor::Approval, *expires_at),
        Verdict::Suppress | Verdict::Duplicate { .. } => Placement {
            status: MessageStatus::Suppressed,
            waits_for: None,
            planned_at: None,
            decide_again_at: None,
            queued_at: None,
            ended_because: because(decision),
            batch: None,
        },
    }
}

/// The code of the reason that decided, where one stood in the way.
pub(crate) fn because(decision: &Decision) -> Option<String> {
    decision.deciding().map(|reason| reason.code.as_str().to_owned())
}

/// The decision as it is recorded.
pub(crate) fn recorded(
    tenant: TenantId,
    message: MessageId,
    stage: DecisionStage,
    facts: &Facts,
    decision: &Decision,
    dice: &mut Dice,
    now: Timestamp,
) -> NewDecision {
    NewDecision {
        tenant,
        id: DecisionId(dice.uuid(now)),
        message,
        stage,
        decided_at: now,
        facts: raw(facts),
        verdict: raw(&decision.verdict),
        reasons: raw(&decision.reasons),
        changes_at: decision.changes_at,
    }
}

/// A value of the engine's own as JSON text, which cannot fail to be written.
pub(crate) fn raw(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_default()
}

/// The job of a delivery.
pub(crate) fn send_job(
    inner: &Inner,
    tenant: TenantId,
    message: MessageId,
    delivery: DeliveryId,
    channel: Channel,
    priority: i16,
    at: Timestamp,
) -> NewJob {
    let kind = JobKind::send_by(channel);
    NewJob {
        process_after: Some(at),
        max_retries: i32::try_from(inner.schedule.max_retries(kind)).unwrap_or(i32::MAX),
        ..NewJob::new(
            tenant,
            kind,
            priority,
            raw(&json!({"message_id": message, "delivery_id": delivery})),
        )
    }
}

/// The job that decides again about a waiting message.
pub(crate) fn release_job(
    inner: &Inner,
    tenant: TenantId,
    message: MessageId,
    urgency: Urgency,
    at: Timestamp,
) -> NewJob {
    let kind = JobKind::MessageRelease;
    NewJob {
        process_after: Some(at),
        max_retries: i32::try_from(inner.schedule.max_retries(kind)).unwrap_or(i32::MAX),
        ..NewJob::new(
            tenant,
            kind,
            kind.priority(urgency),
            raw(&json!({"message_id": message})),
        )
    }
}

/// The job that closes a batch.
pub(crate) fn close_job(inner: &Inner, tenant: TenantId, batch: BatchId, at: Timestamp) -> NewJob {
    let kind = JobKind::BatchClose;
    NewJob {
        process_after: Some(at),
        max_retries: i32::try_from(inner.schedule.max_retries(kind)).unwrap_or(i32::MAX),
        ..NewJob::new(
            tenant,
            kind,
            kind.priority(Urgency::Low),
            raw(&json!({"batch_id": batch})),
        )
    }
}

/// The first delivery of a plan, carried by a job.
pub(crate) fn first_delivery(
    tenant: TenantId,
    message: MessageId,
    id: DeliveryId,
    plan: &Plan,
    job: JobId,
    now: Timestamp,
) -> Option<NewDelivery> {
    Some(NewDelivery {
        tenant,
        id,
        message,
        channel: plan.channels.first().copied()?,
        position: 0,
        chain: plan.channels.clone(),
        job,
        created_at: now,
    })
}
