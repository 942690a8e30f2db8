//! When a channel is given up: the next of the chain takes over, or the message ends. Gathered for a batch, written in
//! the transaction that decides it.

use crate::deliver::{Carried, finish_in, is_open, wait, wait_in_place};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::figures;
use crate::process::ended;
use crate::rescue;
use crate::settle;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashSet;
use tidings_core::decide::{Facts, Reason};
use tidings_core::{
    BatchId, Channel, DecisionId, DecisionStage, DeliveryId, DeliveryState, Dice, ErrorCategory, JobId,
    MessageId, MessageStatus, MessageType, Provenance, TenantId,
};
use tidings_queue::{Finish, FinishReport, LeaseId, NewJob, Outcome, enqueue};
use tidings_store::Conn;
use tidings_store::events::{self, NewEvent};
use tidings_store::messages::dispatch::Dispatchable;
use tidings_store::messages::outcome::{self, DeliveryMove, MessageMove};
use tidings_store::messages::record::{NewDecision, NewDelivery};
use tidings_store::messages::{batches, insert};

/// What a batch leaves to be written.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    pub finishes: Vec<Finish>,
    pub moves: Vec<DeliveryMove>,
    pub messages: Vec<MessageMove>,
    pub follows: Vec<(TenantId, BatchId, MessageStatus, Provenance)>,
    pub decisions: Vec<NewDecision>,
    pub next: Vec<Next>,
    pub events: Vec<NewEvent>,
    reached: Vec<Reached>,
}

/// A status that a message reaches by a channel, to be counted.
#[derive(Debug)]
struct Reached {
    message: MessageId,
    channel: Channel,
    message_type: MessageType,
    status: MessageStatus,
}

/// The delivery of the next channel.
#[derive(Debug)]
pub(crate) struct Next {
    /// The job that gave up; when it is not ours any more, nothing follows it.
    after: JobId,
    job: NewJob,
    delivery: NewDelivery,
}

impl Aside {
    pub fn new(finishes: Vec<Finish>) -> Self {
        Self {
            finishes,
            ..Self::default()
        }
    }

    /// Ends a message, with the others of its batch.
    pub fn end_message(
        &mut self,
        carried: &Carried,
        to: MessageStatus,
        provenance: Provenance,
        because: Option<String>,
    ) {
        let message = &carried.row.message;
        if to == MessageStatus::Sent || message.status != to {
            self.reached.push(Reached {
                message: message.id,
                channel: carried.row.channel,
                message_type: message.message_type.clone(),
                status: to,
            });
        }
        if matches!(
            message.status,
            MessageStatus::Delivered | MessageStatus::Opened | MessageStatus::Clicked
        ) {
            // An earlier channel arrived after all; what becomes of this one changes nothing.
            return;
        }
        if let Some(batch) = message.batch {
            self.follows.push((message.tenant, batch, to, provenance));
        }
        self.messages.push(MessageMove {
            tenant: message.tenant,
            message: message.id,
            from: message.status,
            to,
            provenance,
            because,
        });
    }

    /// Notes an event about a delivery.
    pub fn event(&mut self, carried: &Carried, kind: &str, data: Value) {
        self.events.push(NewEvent {
            tenant: carried.row.tenant,
            kind: kind.to_owned(),
            contact: Some(carried.row.message.contact),
            message: Some(carried.row.message.id),
            subject: None,
            data,
        });
    }

    fn move_delivery(&mut self, carried: &Carried, to: DeliveryState, because: String) {
        self.moves.push(DeliveryMove {
            tenant: carried.row.tenant,
            delivery: carried.row.delivery,
            attempt_no: carried.row.attempt_no,
            from: carried.row.state,
            to,
            because: Some(because),
            job: None,
        });
    }
}

/// A repetition that waited too long, or whose connection is gone: the outcome of the call before it is unknown as before,
/// and is asked about at once.
pub(crate) fn lose_again(aside: &mut Aside, lease: LeaseId, carried: &Carried, now: Timestamp) {
    let because = "the provider may no longer recognise a repetition";
    aside.move_delivery(carried, DeliveryState::Unknown, because.to_owned());
    aside
        .finishes
        .push(ended(carried, lease, wait_in_place(now, because)));
}

/// A repetition that the rules stop. The call before it may have arrived, so the message was not suppressed and goes no
/// other way: nobody knows what became of it, and nobody will.
pub(crate) fn drop_repetition(
    aside: &mut Aside,
    lease: LeaseId,
    carried: &Carried,
    facts: &Facts,
    reason: &Reason,
) {
    let verdict = json!({"verdict": "stop", "channel": carried.row.channel, "scope": "message"});
    aside
        .decisions
        .push(gate_decision(carried, Some(facts), &verdict, reason, None));
    let code = reason.code.as_str();
    aside.move_delivery(
        carried,
        DeliveryState::Dropped,
        format!("{code}: {}", reason.detail),
    );
    aside.end_message(
        carried,
        MessageStatus::Failed,
        Provenance::Inferred,
        Some("unknown.dropped".to_owned()),
    );
    let data = json!({"because": code, "channel": carried.row.channel});
    aside.event(carried, "MessageFailed", data);
    aside.finishes.push(ended(carried, lease, Outcome::Cancelled));
}

/// Writes what was set aside. Jobs whose lease is lost are left out with what would have followed them.
pub(crate) async fn write(
    inner: &Inner,
    tx: &mut Conn,
    aside: Aside,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<FinishReport, EngineError> {
    let report = finish_in(inner, tx, &aside.finishes, now).await?;
    let fenced: HashSet<JobId> = report.fenced.iter().copied().collect();
    outcome::moves(tx, &aside.moves, now).await?;
    let moved = outcome::messages(tx, &aside.messages, now).await?;
    for one in &aside.reached {
        // What a provider took was sent, whatever is known of the message by now.
        if one.status == MessageStatus::Sent || moved.contains(&one.message) {
            figures::communication(Some(one.channel), &one.message_type, one.status);
        }
    }
    for (tenant, batch, to, provenance) in aside.follows {
        batches::follow(tx, tenant, batch, to, provenance, now).await?;
    }
    let mut decisions = aside.decisions;
    for decision in &mut decisions {
        (decision.id, decision.decided_at) = (DecisionId(dice.uuid(now)), now);
    }
    insert::decisions(tx, &decisions).await?;
    let next: Vec<Next> = aside
        .next
        .into_iter()
        .filter(|next| !fenced.contains(&next.after))
        .collect();
    let (jobs, mut deliveries): (Vec<NewJob>, Vec<NewDelivery>) =
        next.into_iter().map(|next| (next.job, next.delivery)).unzip();
    for (delivery, job) in deliveries.iter_mut().zip(enqueue(tx, &jobs, now).await?) {
        delivery.job = job.id;
    }
    insert::deliveries(tx, &deliveries).await?;
    events::append(tx, &aside.events, dice, now).await?;
    Ok(report)
}

/// The gate said "later".
pub(crate) fn hold(
    aside: &mut Aside,
    lease: LeaseId,
    carried: &Carried,
    facts: &Facts,
    until: Timestamp,
    reason: &Reason,
) {
    let why = format!("{}: {}", reason.code, reason.detail);
    aside
        .finishes
        .push(ended(carried, lease, wait(until, ErrorCategory::Transient, why)));
    let verdict = json!({"verdict": "hold", "until": until});
    aside
        .decisions
        .push(gate_decision(carried, Some(facts), &verdict, reason, Some(until)));
}

/// The gate said "no": for this channel, or for the message.
#[expect(clippy::too_many_arguments, reason = "one step of the gate")]
pub(crate) fn stop(
    inner: &Inner,
    aside: &mut Aside,
    lease: LeaseId,
    carried: &Carried,
    facts: Option<&Facts>,
    reason: &Reason,
    channel_only: bool,
    dice: &mut Dice,
    now: Timestamp,
) {
    let verdict = json!({"verdict": "stop", "channel": carried.row.channel, "scope": if channel_only { "channel" } else { "message" }});
    aside
        .decisions
        .push(gate_decision(carried, facts, &verdict, reason, None));
    stopped(
        inner,
        aside,
        lease,
        carried,
        reason.code.as_str(),
        &reason.detail,
        channel_only,
        dice,
        now,
    );
}

/// There is nothing to send, or nobody to send it to.
#[expect(clippy::too_many_arguments, reason = "one step of the gate")]
pub(crate) fn stop_for(
    inner: &Inner,
    aside: &mut Aside,
    lease: LeaseId,
    carried: &Carried,
    code: &str,
    detail: &str,
    dice: &mut Dice,
    now: Timestamp,
) {
    stopped(inner, aside, lease, carried, code, detail, true, dice, now);
}

#[expect(clippy::too_many_arguments, reason = "one step of the gate")]
fn stopped(
    inner: &Inner,
    aside: &mut Aside,
    lease: LeaseId,
    carried: &Carried,
    code: &str,
    detail: &str,
    channel_only: bool,
    dice: &mut Dice,
    now: Timestamp,
) {
    aside.move_delivery(carried, DeliveryState::Stopped, format!("{code}: {detail}"));
    let next = if channel_only {
        next(inner, aside, carried, dice, now)
    } else {
        None
    };
    let outcome = match next {
        Some(Channel::Email) => Outcome::FallbackEmail {
            category: ErrorCategory::Permanent,
            error: detail.to_owned(),
        },
        Some(_) => Outcome::Cancelled,
        None => {
            // After a text that went out and failed, nothing of the message was suppressed: it failed.
            let (to, event) = if is_open(carried.row.message.status) {
                (MessageStatus::Suppressed, "MessageSuppressed")
            } else {
                (MessageStatus::Failed, "MessageFailed")
            };
            aside.end_message(carried, to, Provenance::Inferred, Some(code.to_owned()));
            let data = json!({"because": code, "channel": carried.row.channel});
            aside.event(carried, event, data);
            Outcome::Cancelled
        }
    };
    aside.finishes.push(ended(carried, lease, outcome));
}

fn gate_decision(
    carried: &Carried,
    facts: Option<&Facts>,
    verdict: &Value,
    reason: &Reason,
    changes_at: Option<Timestamp>,
) -> NewDecision {
    NewDecision {
        tenant: carried.row.tenant,
        id: DecisionId(uuid::Uuid::nil()),
        message: carried.row.message.id,
        stage: DecisionStage::Gate,
        decided_at: Timestamp::UNIX_EPOCH,
        facts: settle::raw(&facts),
        verdict: settle::raw(verdict),
        reasons: settle::raw(&[reason]),
        changes_at,
    }
}

/// What follows a delivery's channel in its chain, with its place.
pub(crate) fn following(row: &Dispatchable) -> Option<(i16, Channel)> {
    let position = row.position.checked_add(1)?;
    let channel = row.chain.get(usize::try_from(position).ok()?).copied()?;
    Some((position, channel))
}

/// The delivery of the next channel of the chain, where there is one.
fn next(
    inner: &Inner,
    aside: &mut Aside,
    carried: &Carried,
    dice: &mut Dice,
    now: Timestamp,
) -> Option<Channel> {
    let row = &carried.row;
    let (position, channel) = following(row)?;
    let id = DeliveryId(dice.uuid(now));
    let job = settle::send_job(
        inner,
        row.tenant,
        row.message.id,
        id,
        channel,
        carried.job.priority,
        now,
    );
    let delivery = NewDelivery {
        tenant: row.tenant,
        id,
        message: row.message.id,
        channel,
        position,
        chain: row.chain.clone(),
        job: carried.job.id,
        created_at: now,
    };
    aside.next.push(Next {
        after: carried.job.id,
        job,
        delivery,
    });
    aside.event(
        carried,
        "FallbackStarted",
        json!({"from": row.channel, "to": channel}),
    );
    metrics::counter!("tidings_fallbacks_total", "from" => row.channel.as_str(), "to" => channel.as_str())
        .increment(1);
    Some(channel)
}

/// A channel failed for good: what follows, and how its job ends. The delivery's own row is written by the caller.
#[expect(clippy::too_many_arguments, reason = "one step of an outcome")]
pub(crate) fn after_failure(
    inner: &Inner,
    aside: &mut Aside,
    carried: &Carried,
    category: ErrorCategory,
    code: &str,
    error: String,
    dice: &mut Dice,
    now: Timestamp,
) -> Outcome {
    match next(inner, aside, carried, dice, now) {
        Some(Channel::Email) => Outcome::FallbackEmail { category, error },
        Some(_) => Outcome::Cancelled,
        None => {
            aside.end_message(
                carried,
                MessageStatus::Failed,
                Provenance::Response,
                Some(code.to_owned()),
            );
            aside.event(
                carried,
                "MessageFailed",
                json!({"because": code, "category": category}),
            );
            Outcome::Dead {
                cause: code.to_owned(),
                category,
                error,
            }
        }
    }
}

/// Gives up a delivery that was never called.
#[expect(clippy::too_many_arguments, reason = "one step of the gate")]
pub(crate) fn give_up(
    inner: &Inner,
    aside: &mut Aside,
    lease: LeaseId,
    carried: &Carried,
    category: ErrorCategory,
    why: String,
    now: Timestamp,
    dice: &mut Dice,
) {
    aside.move_delivery(carried, DeliveryState::Failed, why.clone());
    let outcome = after_failure(inner, aside, carried, category, category.as_str(), why, dice, now);
    aside.finishes.push(ended(carried, lease, outcome));
}

/// Gives up a delivery whose job ended its worker again and again before the call was begun.
pub(crate) fn poison(aside: &mut Aside, lease: LeaseId, carried: &Carried) {
    let outcome = rescue::poison();
    if let Outcome::Dead { cause, error, .. } = &outcome {
        aside.move_delivery(carried, DeliveryState::Failed, error.clone());
        if is_open(carried.row.message.status) {
            aside.end_message(
                carried,
                MessageStatus::Failed,
                Provenance::Inferred,
                Some(cause.clone()),
            );
            aside.event(carried, "MessageFailed", json!({"because": cause}));
        }
    }
    aside.finishes.push(ended(carried, lease, outcome));
}
