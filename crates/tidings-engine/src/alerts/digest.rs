//! The job that sends the digest of quiet alerts: a message to the operator, on the path of every other message.

use crate::accept::{Submission, accept_batch};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::process::finished;
use crate::request::{AcceptError, AcceptRequest, Accepted, DirectContent, InlineContact, Recipient};
use jiff::Timestamp;
use serde::Deserialize;
use std::fmt::Write as _;
use tidings_core::job::JobKind;
use tidings_core::redact::Private;
use tidings_core::retry::{Failure, NextTry, next_try};
use tidings_core::{
    Category, Channel, ErrorCategory, MessageId, MessageStatus, MessageType, TenantId, Urgency,
};
use tidings_queue::{ClaimedJob, FinishReport, LeaseId, Outcome, finish};
use tidings_store::alerts::{Alert, AlertState, notifications, settings};

/// Alerts of one digest; more wait for the next.
const ALERTS: i64 = 200;
/// The operator's contact is known by this.
const OPERATOR: &str = "tidings:operator";

#[derive(Deserialize)]
struct Payload {
    as_of: Timestamp,
}

/// Works on the job. The message's reference is the digest's moment, so it goes out once.
pub(super) async fn send(
    inner: &Inner,
    lease: LeaseId,
    job: &ClaimedJob,
    reports: &mut Vec<FinishReport>,
) -> Result<(), EngineError> {
    let tenant = job.tenant;
    let payload =
        serde_json::from_str::<Payload>(job.payload.get()).map_err(|error| EngineError::Conflict {
            problem: format!("the digest's job names no moment: {error}"),
        })?;
    let now = inner.now();
    let mut conn = inner.conn().await?;
    let alerts = notifications::for_digest(&mut conn, tenant, payload.as_of, ALERTS).await?;
    let key = inner.store.keyring().tenant_key(&mut conn, tenant).await?;
    let opened = settings::open(&mut conn, &key, tenant).await?;
    drop(conn);
    let to = opened.and_then(|(_, secrets)| secrets.digest_to);
    let (told, outcome) = match to {
        Some(to) if !alerts.is_empty() => {
            let request = request(to, &alerts, payload.as_of);
            match accept_one(inner, tenant, request).await {
                Ok(accepted) if accepted.status == MessageStatus::Suppressed => {
                    (&[][..], suppressed(accepted.message_id))
                }
                Ok(_) => (alerts.as_slice(), Outcome::Done),
                Err(error) => (&[][..], again(inner, job, error.to_string(), now)),
            }
        }
        _ => (&[][..], Outcome::Done),
    };
    let mut tx = inner.tx().await?;
    let report = finish(&mut tx, inner.node, &[finished(job, lease, outcome)], now).await?;
    if report.fenced.is_empty() && !told.is_empty() {
        notifications::digested(&mut tx, tenant, told, payload.as_of, now).await?;
    }
    tx.commit().await?;
    reports.push(report);
    Ok(())
}

async fn accept_one(
    inner: &Inner,
    tenant: TenantId,
    request: AcceptRequest,
) -> Result<Accepted, AcceptError> {
    let submission = Submission {
        tenant,
        requests: vec![request],
        key: None,
        carrier: None,
    };
    let answer = accept_batch(inner, vec![submission])
        .await
        .into_iter()
        .flatten()
        .next();
    answer.unwrap_or_else(|| {
        Err(AcceptError::Unavailable {
            reason: "the digest was not answered".to_owned(),
        })
    })
}

/// The rules let nothing go to the operator: a person must see it, and the alerts stay to be told.
fn suppressed(message: MessageId) -> Outcome {
    Outcome::Dead {
        cause: "digest".to_owned(),
        category: ErrorCategory::InvalidInput,
        error: format!(
            "the digest is message {message}, which the rules suppressed; see `tidings explain {message}`"
        ),
    }
}

fn again(inner: &Inner, job: &ClaimedJob, error: String, now: Timestamp) -> Outcome {
    let failure = Failure {
        category: ErrorCategory::Transient,
        retries: u32::try_from(job.retry_count).unwrap_or(0),
        max_retries: u32::try_from(job.max_retries).unwrap_or(0),
        retry_after: None,
        first_due_at: now,
    };
    match next_try(
        &failure,
        JobKind::AlertDigest,
        &inner.schedule,
        now,
        &mut inner.dice(),
    ) {
        NextTry::At { at, counts } => Outcome::Retry {
            at,
            category: ErrorCategory::Transient,
            error,
            counts,
        },
        NextTry::GiveUp => Outcome::Dead {
            cause: "digest".to_owned(),
            category: ErrorCategory::Transient,
            error,
        },
    }
}

fn request(to: Private<String>, alerts: &[Alert], as_of: Timestamp) -> AcceptRequest {
    let contact = InlineContact {
        external_id: Some(OPERATOR.to_owned()),
        email: Some(to),
        ..InlineContact::default()
    };
    let direct = MessageType::parse(crate::draft::DIRECT_TYPE).ok();
    AcceptRequest {
        to: Recipient::Contact(contact),
        message_type: direct,
        context: Private::default(),
        content: Some(DirectContent {
            subject: Some(Private::new(subject(alerts))),
            body: Private::new(body(alerts)),
            media: None,
        }),
        urgency: Some(Urgency::High),
        category: Some(Category::Transactional),
        channel: Some(Channel::Email),
        send_at: None,
        expires_at: None,
        source_reference: Some(format!("alert-digest:{as_of}")),
        locale: None,
        attachments: Vec::new(),
        words: None,
    }
}

fn subject(alerts: &[Alert]) -> String {
    let open = alerts
        .iter()
        .filter(|alert| alert.state == AlertState::Open)
        .count();
    format!("{open} alerts are open, {} are over", alerts.len() - open)
}

fn body(alerts: &[Alert]) -> String {
    let mut body = String::new();
    for (state, title) in [(AlertState::Open, "Open"), (AlertState::Resolved, "Over")] {
        let mut of_state = alerts.iter().filter(|alert| alert.state == state).peekable();
        if of_state.peek().is_none() {
            continue;
        }
        // Writing into a text cannot fail.
        let _ = writeln!(body, "{title}:\n");
        for alert in of_state {
            let _ = writeln!(
                body,
                "{} ({}, since {})\n",
                alert.detail, alert.rule, alert.opened_at
            );
        }
    }
    body
}
