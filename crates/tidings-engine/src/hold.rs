//! Waiting messages come back: their hour has come, or a person has spoken. They are decided again by the same rules.

use crate::accept::facts_of;
use crate::compose::{self, Composed, Composition, open_request, seal_content};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::figures;
use crate::process::finished;
use crate::settle;
use crate::tenancy;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tidings_core::decide::facts::RequestFacts;
use tidings_core::decide::{Decision, Facts, Verdict, decide};
use tidings_core::{
    BatchId, DecisionStage, DeliveryId, Dice, JobId, MessageId, MessageStatus, Provenance, TenantId, WaitsFor,
};
use tidings_queue::{ClaimedJob, FinishReport, LeaseId, Outcome, enqueue, finish};
use tidings_store::Conn;
use tidings_store::events::{self, NewEvent};
use tidings_store::messages::dispatch::MessageRow;
use tidings_store::messages::facts::{self, FactsQuery};
use tidings_store::messages::outcome::{self, MessageMove};
use tidings_store::messages::pending::{self, Waiting};
use tidings_store::messages::record::NewContent;
use tidings_store::messages::{batches, insert};

#[derive(Deserialize)]
struct Payload {
    message_id: MessageId,
}

/// Works on `message.release` jobs.
pub(crate) async fn release(
    inner: &Inner,
    lease: LeaseId,
    jobs: &[ClaimedJob],
    reports: &mut Vec<FinishReport>,
) -> Result<(), EngineError> {
    let now = inner.now();
    let read = |job: &ClaimedJob| serde_json::from_str::<Payload>(job.payload.get()).ok();
    let wanted: Vec<(TenantId, MessageId)> = jobs
        .iter()
        .filter_map(|job| read(job).map(|payload| (job.tenant, payload.message_id)))
        .collect();
    let mut dice = inner.dice();
    let mut tx = inner.tx().await?;
    let waiting = pending::lock(&mut tx, &wanted).await?;
    let due: Vec<Again> = waiting
        .into_iter()
        .filter(|one| is_due(&one.message, now))
        .map(|waiting| Again {
            waiting,
            carrier: None,
            stage: DecisionStage::Release,
        })
        .collect();
    decide_again(inner, &mut tx, due, &mut dice, now).await?;
    // A job whose message has moved on, or is due later under another job, has nothing left to do.
    let finishes: Vec<_> = jobs
        .iter()
        .map(|job| finished(job, lease, Outcome::Done))
        .collect();
    let report = finish(&mut tx, inner.node, &finishes, now).await?;
    if !report.fenced.is_empty() {
        // Whoever holds the jobs now decides.
        return Ok(());
    }
    tx.commit().await?;
    reports.push(report);
    Ok(())
}

fn is_due(message: &MessageRow, now: Timestamp) -> bool {
    message.status == MessageStatus::Pending
        && message.waits_for != Some(WaitsFor::Batch)
        && message.decide_again_at.is_none_or(|at| at <= now)
}

/// A message to decide again.
pub(crate) struct Again {
    pub waiting: Waiting,
    /// The job of another program that carries it, instead of a new one.
    pub carrier: Option<JobId>,
    pub stage: DecisionStage,
}

/// What became of it.
pub(crate) struct Redecided {
    pub message: MessageId,
    pub verdict: Verdict,
}

struct Settled {
    row: MessageRow,
    carrier: Option<JobId>,
    stage: DecisionStage,
    facts: Facts,
    decision: Decision,
    composed: Vec<Composed>,
    delivery: DeliveryId,
}

/// Decides locked messages again and writes where that leaves them.
pub(crate) async fn decide_again(
    inner: &Inner,
    tx: &mut Conn,
    due: Vec<Again>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Vec<Redecided>, EngineError> {
    let (expired, due): (Vec<Again>, Vec<Again>) = due
        .into_iter()
        .partition(|one| approval_expired(&one.waiting, now));
    expire(tx, &expired, dice, now).await?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let views = tenancy::load(inner, tx, due.iter().map(|one| one.waiting.message.tenant)).await?;
    let types = due.iter().map(|one| {
        (
            one.waiting.message.tenant,
            one.waiting.message.message_type.clone(),
        )
    });
    let shelf = inner.templates.load(tx, types.collect::<Vec<_>>()).await?;
    let pairs: Vec<_> = due
        .iter()
        .map(|one| (one.waiting.message.tenant, one.waiting.message.contact))
        .collect();
    let keys = inner.store.keyring().existing_contact_keys(tx, &pairs).await?;
    let queries: Vec<FactsQuery> = due.iter().map(|one| query(&one.waiting.message)).collect();
    let known = facts::load(tx, &queries, now).await?;
    let mut settled = Vec::with_capacity(due.len());
    for (one, known) in due.into_iter().zip(known) {
        let row = one.waiting.message;
        let (Some(known), Some(view)) = (known, views.get(&row.tenant)) else {
            continue;
        };
        let request = match (keys.get(row.tenant, row.contact), &one.waiting.request) {
            (Ok(key), Some(sealed)) => Some(open_request(key, row.tenant, row.id, sealed)?),
            _ => None,
        };
        let locale = compose::locale(row.locale.as_deref(), &known, view);
        let bound = request.as_ref().is_some_and(|request| request.content.is_none())
            && shelf.has_whatsapp_template(row.tenant, &row.message_type, locale);
        let facts = facts_of(&known, request_facts(&row, false, bound), view.connected());
        let mut decision = decide(&facts, view.policy(), now);
        let composed = match (&decision.verdict, request) {
            (Verdict::Send(plan), Some(request)) => {
                let composition = Composition {
                    view,
                    shelf: &shelf,
                    known: &known,
                    contact: row.contact,
                    message: row.id,
                    message_type: &row.message_type,
                    category: row.category,
                    locale: row.locale.as_deref(),
                    request: &request,
                };
                plan.channels
                    .iter()
                    .map(|channel| composition.render(*channel))
                    .collect()
            }
            // Without its key there is no request any more: the contact was erased.
            (Verdict::Send(_), None) => {
                decision.verdict = Verdict::Suppress;
                Ok(Vec::new())
            }
            _ => Ok(Vec::new()),
        };
        let composed = composed.unwrap_or_else(|error| {
            tracing::warn!(tenant = %row.tenant, message = %row.id, code = error.code(), "a waiting message can no longer be rendered");
            decision.verdict = Verdict::Suppress;
            Vec::new()
        });
        let delivery = DeliveryId(dice.uuid(now));
        settled.push(Settled {
            row,
            carrier: one.carrier,
            stage: one.stage,
            facts,
            decision,
            composed,
            delivery,
        });
    }
    write(inner, tx, settled, dice, now).await
}

pub(crate) fn query(row: &MessageRow) -> FactsQuery {
    FactsQuery {
        tenant: row.tenant,
        contact: row.contact,
        message: row.id,
        message_type: row.message_type.clone(),
        source_reference: None,
    }
}

/// The facts of a stored message.
pub(crate) fn request_facts(row: &MessageRow, batched: bool, whatsapp_template: bool) -> RequestFacts {
    RequestFacts {
        message_type: row.message_type.clone(),
        category: row.category,
        urgency: row.urgency,
        channel: row.requested_channel,
        renderable_channels: row.renderable_channels.clone(),
        send_at: row.send_at,
        expires_at: row.expires_at,
        duplicate_of: None,
        approved: row.approved_at.is_some(),
        batched,
        bump_up: false,
        whatsapp_template,
    }
}

fn approval_expired(waiting: &Waiting, now: Timestamp) -> bool {
    let row = &waiting.message;
    row.waits_for == Some(WaitsFor::Approval)
        && row.approved_at.is_none()
        && row.decide_again_at.is_some_and(|at| at <= now)
}

/// Nobody said yes in time.
async fn expire(
    tx: &mut Conn,
    expired: &[Again],
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    if expired.is_empty() {
        return Ok(());
    }
    let moves: Vec<MessageMove> = expired
        .iter()
        .map(|one| MessageMove {
            tenant: one.waiting.message.tenant,
            message: one.waiting.message.id,
            from: MessageStatus::Pending,
            to: MessageStatus::Cancelled,
            provenance: Provenance::Inferred,
            because: Some("approval.expired".to_owned()),
        })
        .collect();
    outcome::messages(tx, &moves, now).await?;
    let events: Vec<NewEvent> = expired
        .iter()
        .map(|one| event(&one.waiting.message, "ApprovalExpired", json!({})))
        .collect();
    events::append(tx, &events, dice, now).await?;
    Ok(())
}

fn event(row: &MessageRow, kind: &str, data: serde_json::Value) -> NewEvent {
    NewEvent {
        tenant: row.tenant,
        kind: kind.to_owned(),
        contact: Some(row.contact),
        message: Some(row.id),
        subject: None,
        data,
    }
}

async fn write(
    inner: &Inner,
    tx: &mut Conn,
    settled: Vec<Settled>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Vec<Redecided>, EngineError> {
    let places: Vec<_> = settled
        .iter()
        .map(|one| (one.row.tenant, one.row.id, settle::placement(&one.decision, now)))
        .collect();
    let moved = pending::settle(tx, &places).await?;
    let settled: Vec<Settled> = settled
        .into_iter()
        .filter(|one| moved.contains(&one.row.id))
        .collect();
    let pairs: Vec<_> = settled
        .iter()
        .map(|one| (one.row.tenant, one.row.contact))
        .collect();
    let keys = inner.store.keyring().existing_contact_keys(tx, &pairs).await?;
    let mut contents = Vec::new();
    let mut decisions = Vec::with_capacity(settled.len());
    let mut events = Vec::new();
    for one in &settled {
        let (tenant, message) = (one.row.tenant, one.row.id);
        for composed in &one.composed {
            let sealed = seal_content(keys.get(tenant, one.row.contact)?, tenant, message, composed)?;
            let (channel, template) = (Some(composed.channel), composed.template);
            contents.push(NewContent {
                tenant,
                message,
                channel,
                sealed,
                template,
            });
        }
        decisions.push(settle::recorded(
            tenant,
            message,
            one.stage,
            &one.facts,
            &one.decision,
            dice,
            now,
        ));
        if let Verdict::Suppress = one.decision.verdict {
            figures::communication(None, &one.row.message_type, MessageStatus::Suppressed);
            events.push(event(
                &one.row,
                "MessageSuppressed",
                json!({"because": settle::because(&one.decision)}),
            ));
        }
    }
    insert::contents(tx, &contents).await?;
    insert::decisions(tx, &decisions).await?;
    write_jobs(inner, tx, &settled, dice, now).await?;
    events::append(tx, &events, dice, now).await?;
    Ok(settled
        .into_iter()
        .map(|one| Redecided {
            message: one.row.id,
            verdict: one.decision.verdict,
        })
        .collect())
}

async fn write_jobs(
    inner: &Inner,
    tx: &mut Conn,
    settled: &[Settled],
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let mut deliveries = Vec::new();
    for one in settled {
        let (tenant, message) = (one.row.tenant, one.row.id);
        match &one.decision.verdict {
            Verdict::Send(plan) => {
                let Some(channel) = plan.channels.first().copied() else {
                    continue;
                };
                let job = if let Some(job) = one.carrier {
                    Some(job)
                } else {
                    let job = settle::send_job(
                        inner,
                        tenant,
                        message,
                        one.delivery,
                        channel,
                        plan.priority,
                        plan.at,
                    );
                    enqueue(tx, &[job], now)
                        .await?
                        .first()
                        .map(|enqueued| enqueued.id)
                };
                let Some(job) = job else { continue };
                deliveries.extend(settle::first_delivery(
                    tenant,
                    message,
                    one.delivery,
                    plan,
                    job,
                    now,
                ));
            }
            Verdict::Hold { until } | Verdict::Approve { expires_at: until } if one.carrier.is_none() => {
                let job = settle::release_job(inner, tenant, message, one.row.urgency, *until);
                enqueue(tx, &[job], now).await?;
            }
            Verdict::Batch { channel, closes_at } => {
                let group = batches::Gathering {
                    tenant,
                    contact: one.row.contact,
                    channel: *channel,
                    id: BatchId(dice.uuid(now)),
                    messages: vec![message],
                    closes_at: *closes_at,
                };
                let gathered = batches::gather(tx, &group, now).await?;
                if gathered.opened || *closes_at <= now {
                    let job =
                        settle::close_job(inner, tenant, gathered.id, (*closes_at).min(gathered.closes_at));
                    enqueue(tx, &[job], now).await?;
                }
            }
            _ => {}
        }
    }
    insert::deliveries(tx, &deliveries).await?;
    Ok(())
}
