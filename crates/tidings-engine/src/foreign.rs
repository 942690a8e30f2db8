//! Rows that other programs put into the queue. They become messages on the same path, and the row itself carries the
//! delivery, so that its status is the truth.
//!
//! The message's source reference is the row's own, or `job:<id>`: taking a row up again finds the message it made.

use crate::accept::{Submission, accept_batch};
use crate::deliver::{Carried, deliver_loaded, wait};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::hold::{Again, decide_again};
use crate::process::finished;
use crate::request::{AcceptError, AcceptRequest, DirectContent, InlineContact, Recipient};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use tidings_core::decide::Verdict;
use tidings_core::redact::Private;
use tidings_core::{
    Category, Channel, ContactId, DecisionStage, ErrorCategory, MessageId, MessageStatus, MessageType,
    TenantId, Urgency, WaitsFor,
};
use tidings_queue::{ClaimedJob, Finish, FinishReport, LeaseId, Outcome, finish};
use tidings_store::messages::dispatch::{self, Dispatchable, MessageRow};
use tidings_store::messages::pending::{self, Waiting};

/// How often a row looks after a message that it does not carry itself (a batch, an approval).
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// What other programs write. Unknown fields are theirs.
#[derive(Deserialize)]
struct Payload {
    to: Option<Private<String>>,
    body: Option<Private<String>>,
    subject: Option<Private<String>>,
    #[serde(alias = "external_id")]
    customer_id: Option<Value>,
    contact_id: Option<Value>,
    message_type: Option<MessageType>,
    #[serde(alias = "variables")]
    context: Option<Map<String, Value>>,
    urgent: Option<bool>,
    urgency: Option<Urgency>,
    category: Option<Category>,
    channel: Option<Channel>,
    send_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    locale: Option<String>,
}

/// Takes up rows: accepts what is new and goes on with what was accepted before.
pub(crate) async fn take_up(
    inner: &Inner,
    lease: LeaseId,
    jobs: &[ClaimedJob],
    reports: &mut Vec<FinishReport>,
) -> Result<(), EngineError> {
    let mut ends: Vec<Finish> = Vec::new();
    let mut asked: Vec<&ClaimedJob> = Vec::with_capacity(jobs.len());
    let mut batch: Vec<Submission> = Vec::with_capacity(jobs.len());
    for job in jobs {
        match request(job) {
            Ok(request) => {
                batch.push(Submission {
                    tenant: job.tenant,
                    requests: vec![request],
                    key: None,
                    carrier: Some(job.id),
                });
                asked.push(job);
            }
            Err(problem) => ends.push(finished(job, lease, unreadable(problem))),
        }
    }
    let answers = accept_batch(inner, batch).await;
    let mut accepted: Vec<(&ClaimedJob, MessageId)> = Vec::with_capacity(asked.len());
    for (job, answer) in asked.into_iter().zip(answers) {
        match answer.into_iter().next() {
            Some(Ok(answer)) => accepted.push((job, answer.message_id)),
            Some(Err(error)) => ends.push(finished(job, lease, refused(inner, &error))),
            None => {}
        }
    }
    go_on(inner, lease, accepted, ends, reports).await
}

fn unreadable(problem: String) -> Outcome {
    Outcome::Dead {
        cause: "payload".to_owned(),
        category: ErrorCategory::InvalidInput,
        error: problem,
    }
}

/// A row whose request is refused. What may work later is tried again.
fn refused(inner: &Inner, error: &AcceptError) -> Outcome {
    if error.is_transient() {
        let at = inner.now().saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
        return wait(at, ErrorCategory::Transient, error.to_string());
    }
    Outcome::Dead {
        cause: error.code().to_owned(),
        category: ErrorCategory::InvalidInput,
        error: error.to_string(),
    }
}

/// Reads a row. The error names fields, never their values.
fn request(job: &ClaimedJob) -> Result<AcceptRequest, String> {
    let payload: Payload = serde_json::from_str(job.payload.get()).map_err(|error| {
        format!(
            "the payload cannot be read ({:?} at column {}); see the queue's page for its fields",
            error.classify(),
            error.column()
        )
    })?;
    let channel = job.kind.channel().or(payload.channel);
    let to = recipient(&payload)?;
    let content = payload.body.map(|body| DirectContent {
        subject: payload.subject,
        body,
        media: None,
    });
    if content.is_none() && payload.message_type.is_none() {
        return Err("the payload has neither message_type nor body".to_owned());
    }
    Ok(AcceptRequest {
        to,
        message_type: payload.message_type,
        context: Private::new(payload.context.unwrap_or_default()),
        content,
        urgency: if payload.urgent == Some(true) {
            Some(Urgency::Critical)
        } else {
            payload.urgency
        },
        category: payload.category,
        channel,
        send_at: payload.send_at,
        // A row that is taken up again after its message expired must still find it.
        expires_at: payload.expires_at,
        source_reference: Some(
            job.source_reference
                .clone()
                .unwrap_or_else(|| format!("job:{}", job.id)),
        ),
        locale: payload.locale,
        attachments: Vec::new(),
        words: None,
    })
}

fn recipient(payload: &Payload) -> Result<Recipient, String> {
    let text = |value: &Option<Value>| match value {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    if let Some(id) = text(&payload.contact_id) {
        return Ok(match id.parse::<ContactId>() {
            Ok(id) => Recipient::ContactId(id),
            Err(_) => Recipient::ExternalId(id),
        });
    }
    let external_id = text(&payload.customer_id);
    let Some(to) = &payload.to else {
        return external_id
            .map(Recipient::ExternalId)
            .ok_or_else(|| "the payload has no to, customer_id or contact_id".to_owned());
    };
    let email = to.expose().contains('@');
    Ok(Recipient::Contact(InlineContact {
        external_id,
        email: email.then(|| to.clone()),
        phone: (!email).then(|| to.clone()),
        ..InlineContact::default()
    }))
}

/// Goes on with accepted rows: delivers what is due, waits for what is not, ends what has ended.
async fn go_on(
    inner: &Inner,
    lease: LeaseId,
    accepted: Vec<(&ClaimedJob, MessageId)>,
    mut ends: Vec<Finish>,
    reports: &mut Vec<FinishReport>,
) -> Result<(), EngineError> {
    let now = inner.now();
    let mut dice = inner.dice();
    let wanted: Vec<(TenantId, MessageId)> = accepted
        .iter()
        .map(|(job, message)| (job.tenant, *message))
        .collect();
    let mut tx = inner.tx().await?;
    let waiting = pending::lock(&mut tx, &wanted).await?;
    let carriers: HashMap<MessageId, &ClaimedJob> =
        accepted.iter().map(|(job, message)| (*message, *job)).collect();
    let due: Vec<Again> = waiting
        .iter()
        .filter(|one| is_due(&one.message, now))
        .map(|one| Again {
            waiting: Waiting::clone(one),
            carrier: carriers.get(&one.message.id).map(|job| job.id),
            stage: DecisionStage::Release,
        })
        .collect();
    let again: HashMap<MessageId, Verdict> = decide_again(inner, &mut tx, due, &mut dice, now)
        .await?
        .into_iter()
        .map(|one| (one.message, one.verdict))
        .collect();
    let newest = dispatch::newest(&mut tx, &wanted).await?;
    let rows: HashMap<MessageId, MessageRow> = waiting
        .into_iter()
        .map(|one| (one.message.id, one.message))
        .collect();
    let mut carried = Vec::new();
    for (job, message) in accepted {
        let Some(row) = rows.get(&message) else { continue };
        match newest.get(&message) {
            Some(delivery) if delivery.job == Some(job.id) => {
                let not_yet = planned(row, &again, message).filter(|at| *at > now);
                match not_yet {
                    Some(at) => ends.push(finished(
                        job,
                        lease,
                        wait(at, ErrorCategory::Transient, "planned for later"),
                    )),
                    None => carried.push(Carried {
                        job: job.clone(),
                        row: Dispatchable::clone(delivery),
                    }),
                }
            }
            _ => ends.push(finished(job, lease, mirror(row, again.get(&message), now))),
        }
    }
    let report = finish(&mut tx, inner.node, &ends, now).await?;
    tx.commit().await?;
    reports.push(report);
    if carried.is_empty() {
        return Ok(());
    }
    deliver_loaded(inner, lease, carried, reports).await
}

/// When a message that is to be sent may go.
fn planned(row: &MessageRow, again: &HashMap<MessageId, Verdict>, message: MessageId) -> Option<Timestamp> {
    match again.get(&message) {
        Some(Verdict::Send(plan)) => Some(plan.at),
        _ => row.planned_at,
    }
}

fn is_due(row: &MessageRow, now: Timestamp) -> bool {
    row.status == MessageStatus::Pending
        && row.waits_for == Some(WaitsFor::Hold)
        && row.decide_again_at.is_none_or(|at| at <= now)
}

/// How a row stands whose message it does not carry (any more).
fn mirror(row: &MessageRow, again: Option<&Verdict>, now: Timestamp) -> Outcome {
    let later = now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX);
    match again {
        Some(Verdict::Hold { until }) => return wait(*until, ErrorCategory::Transient, "held"),
        Some(Verdict::Suppress) => return Outcome::Cancelled,
        Some(_) => return wait(later, ErrorCategory::Transient, "the message waits"),
        None => {}
    }
    match row.status {
        MessageStatus::Pending => {
            let at = row
                .decide_again_at
                .filter(|at| *at > now && row.waits_for == Some(WaitsFor::Hold));
            wait(at.unwrap_or(later), ErrorCategory::Transient, "the message waits")
        }
        MessageStatus::Queued => wait(later, ErrorCategory::Transient, "another job carries the message"),
        MessageStatus::Sent | MessageStatus::Delivered | MessageStatus::Opened | MessageStatus::Clicked => {
            Outcome::Done
        }
        MessageStatus::Suppressed | MessageStatus::Cancelled => Outcome::Cancelled,
        MessageStatus::Failed | MessageStatus::Bounced => Outcome::Dead {
            cause: row
                .ended_because
                .clone()
                .unwrap_or_else(|| row.status.to_string()),
            category: ErrorCategory::Permanent,
            error: format!("the message {} has {}", row.id, row.status),
        },
    }
}
