//! Stored webhooks, applied by their jobs. Those that only report about deliveries share their transactions; one that brings
//! messages, mail or news of templates is applied alone.

use crate::engine::Inner;
use crate::error::EngineError;
use crate::keep::{Kept, users_of};
use crate::mail;
use crate::process::finished;
use crate::reply::{self, Answered};
use crate::track::{self, Heard, Source};
use crate::whatsapp;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidings_core::job::JobKind;
use tidings_core::retry::{Failure, NextTry, next_try};
use tidings_core::{Channel, Dice, ErrorCategory, ProviderKind, TenantId, Urgency};
use tidings_queue::{ClaimedJob, Finish, FinishReport, LeaseId, NewJob, Outcome, finish};
use tidings_store::TenantTx;
use tidings_store::tracking::inbox::{self as stored, Loaded, StoredWebhook};
use uuid::Uuid;

/// Webhooks that are read in one transaction.
const AT_ONCE: usize = 64;
/// Bytes of each of them, sealed; a larger one is applied alone. So four mebibytes are read at most, and opened one by one while there
/// is room.
const MOST_BYTES: i32 = 64 * 1024;
/// Reports that are applied in one, unless a single webhook has more.
const REPORTS_AT_ONCE: usize = 1_000;

/// The payload of a `webhook.process` job.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    webhook_id: Uuid,
}

/// The job that applies a webhook.
pub(crate) fn job(inner: &Inner, tenant: TenantId, id: Uuid) -> Result<NewJob, EngineError> {
    let payload = serde_json::value::to_raw_value(&Payload { webhook_id: id }).map_err(|error| {
        EngineError::Conflict {
            problem: error.to_string(),
        }
    })?;
    let kind = JobKind::WebhookProcess;
    Ok(NewJob {
        source_reference: Some(format!("webhook:{id}")),
        max_retries: i32::try_from(inner.schedule.max_retries(kind)).unwrap_or(i32::MAX),
        ..NewJob::new(tenant, kind, kind.priority(Urgency::High), payload)
    })
}

fn webhook_of(job: &ClaimedJob) -> Result<Uuid, EngineError> {
    let payload: Payload =
        serde_json::from_str(job.payload.get()).map_err(|error| EngineError::Conflict {
            problem: format!("the payload of webhook.process: {error}"),
        })?;
    Ok(payload.webhook_id)
}

fn kept(stored: &StoredWebhook) -> Result<Kept, EngineError> {
    serde_json::from_slice(&stored.content()?).map_err(|error| EngineError::Conflict {
        problem: format!("the stored webhook cannot be read: {error}"),
    })
}

/// Applies those that only report about deliveries, and returns the others. Where a transaction fails all of it is returned:
/// alone, what cannot be applied holds up nobody.
pub(crate) async fn apply_together(
    inner: &Inner,
    lease: LeaseId,
    jobs: Vec<ClaimedJob>,
    reports: &mut Vec<FinishReport>,
) -> Vec<ClaimedJob> {
    let mut by_tenant: BTreeMap<TenantId, Vec<ClaimedJob>> = BTreeMap::new();
    for job in jobs {
        by_tenant.entry(job.tenant).or_default().push(job);
    }
    let mut alone = Vec::new();
    for (tenant, mut waiting) in by_tenant {
        while waiting.len() > 1 {
            let later = waiting.split_off(waiting.len().min(AT_ONCE));
            match apply_part(inner, lease, tenant, &waiting).await {
                Ok(part) => {
                    reports.push(part.report);
                    let mut verdicts = part.verdicts.into_iter();
                    let mut left = Vec::new();
                    for job in waiting {
                        match verdicts.next() {
                            Some(Part::Applied) => {}
                            Some(Part::Alone) => alone.push(job),
                            Some(Part::Later) | None => left.push(job),
                        }
                    }
                    waiting = left;
                }
                Err(error) => {
                    tracing::warn!(%tenant, %error, webhooks = waiting.len(), "webhooks could not be applied together; each is applied alone");
                    alone.append(&mut waiting);
                }
            }
            waiting.extend(later);
        }
        alone.append(&mut waiting);
    }
    alone
}

/// What became of a job in a shared transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Its turn has ended.
    Applied,
    /// It needs a transaction of its own.
    Alone,
    /// The transaction is large enough without it.
    Later,
}

struct Applied {
    report: FinishReport,
    /// In order of the jobs.
    verdicts: Vec<Part>,
}

/// One shared transaction over webhooks of a tenant. The first that only reports is always in it.
async fn apply_part(
    inner: &Inner,
    lease: LeaseId,
    tenant: TenantId,
    jobs: &[ClaimedJob],
) -> Result<Applied, EngineError> {
    let now = inner.now();
    let mut dice = inner.dice();
    let ids = jobs.iter().map(webhook_of).collect::<Result<Vec<_>, _>>()?;
    let mut tx = inner.store.worker_tenant(tenant).tx().await?;
    let mut found = stored::load_all(&mut tx, &ids, MOST_BYTES).await?;
    let mut verdicts = Vec::with_capacity(jobs.len());
    let mut finishes: Vec<Finish> = Vec::new();
    let mut taken: Vec<(&ClaimedJob, Uuid, StoredWebhook, Kept)> = Vec::new();
    let (mut events, mut full) = (0, false);
    for (job, id) in jobs.iter().zip(ids) {
        let webhook = match found.remove(&id) {
            Some(Loaded::Whole(webhook)) => webhook,
            Some(Loaded::TooLarge) => {
                verdicts.push(Part::Alone);
                continue;
            }
            None => {
                // Applied already.
                finishes.push(finished(job, lease, Outcome::Done));
                verdicts.push(Part::Applied);
                continue;
            }
        };
        if full {
            verdicts.push(Part::Later);
            continue;
        }
        let kept = kept(&webhook)?;
        verdicts.push(if !kept.only_reports() {
            Part::Alone
        } else if events > 0 && events + kept.events.len() > REPORTS_AT_ONCE {
            full = true;
            Part::Later
        } else {
            events += kept.events.len();
            taken.push((job, id, webhook, kept));
            Part::Applied
        });
    }
    let heard: Vec<Heard<'_>> = taken
        .iter()
        .map(|(_, _, webhook, kept)| Heard {
            source: Source::webhook(webhook.connection, webhook.received_at),
            channel: webhook.channel,
            events: &kept.events,
        })
        .collect();
    let about = track::find(&mut tx, &heard).await?;
    about.lock(&mut tx, &[]).await?;
    track::apply(inner, &mut tx, &about, &mut dice, now).await?;
    let mut processed = Vec::new();
    for ((job, id, ..), unmatched) in taken.iter().zip(&about.unmatched) {
        let ended = end_of(inner, job, *unmatched, &mut dice, now);
        finishes.push(finished(job, lease, ended.outcome));
        if ended.processed {
            processed.push((*id, ended.failure));
        }
    }
    stored::mark_processed(&mut tx, &processed, now).await?;
    let report = finish(&mut tx, inner.node, &finishes, now).await?;
    tx.commit().await?;
    Ok(Applied { report, verdicts })
}

/// Applies one webhook with everything it brings, and ends its job's turn.
pub(crate) async fn apply(
    inner: &Inner,
    lease: LeaseId,
    job: &ClaimedJob,
    reports: &mut Vec<FinishReport>,
) -> Result<(), EngineError> {
    let id = webhook_of(job)?;
    let now = inner.now();
    let mut dice = inner.dice();
    let mut tx = inner.store.worker_tenant(job.tenant).tx().await?;
    let Some(webhook) = stored::load(&mut tx, id).await? else {
        reports.push(end(inner, tx, lease, job, Outcome::Done, now).await?);
        return Ok(());
    };
    let kept = kept(&webhook)?;
    let (kept, proven) = match kept.mail {
        Some(letter) => {
            let (kept, answered) = mail::open(&mut tx, webhook.connection, letter).await?;
            (kept, Some(answered))
        }
        None => (kept, None),
    };
    whatsapp::lock_users(&mut tx, &users_of(&kept)).await?;
    let heard = Heard {
        source: Source::webhook(webhook.connection, webhook.received_at),
        channel: webhook.channel,
        events: &kept.events,
    };
    let found = track::find(&mut tx, &[heard]).await?;
    let mut writing = whatsapp::linked(&mut tx, webhook.connection, &kept.links).await?;
    for message in &kept.inbound {
        writing.extend(whatsapp::author(&mut tx, webhook.connection, message).await?.1);
    }
    found.lock(&mut tx, &writing).await?;
    whatsapp::note_reviews(&mut tx, &kept.templates, webhook.received_at, &mut dice, now).await?;
    whatsapp::link(&mut tx, webhook.connection, &kept.links, &mut dice, now).await?;
    track::apply(inner, &mut tx, &found, &mut dice, now).await?;
    let answers = take_in(inner, &mut tx, &webhook, &kept, proven, &mut dice, now).await?;
    let unmatched = found.unmatched.iter().sum();
    let ended = end_of(inner, job, unmatched, &mut dice, now);
    if ended.processed {
        if !answers.is_empty() {
            // Accepted in a transaction of its own, before the webhook counts as applied; a repetition finds it done.
            tx.commit().await?;
            reply::answer(inner, job.tenant, answers).await?;
            tx = inner.store.worker_tenant(job.tenant).tx().await?;
        }
        stored::mark_processed(&mut tx, &[(id, ended.failure)], now).await?;
    }
    reports.push(end(inner, tx, lease, job, ended.outcome, now).await?);
    Ok(())
}

/// Takes in what people wrote; what the sandbox answers them.
async fn take_in(
    inner: &Inner,
    tx: &mut TenantTx,
    webhook: &StoredWebhook,
    kept: &Kept,
    proven: Option<Answered>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Vec<reply::ToAnswer>, EngineError> {
    let connection = webhook.connection;
    let mut answers = Vec::new();
    for message in &kept.inbound {
        let answered = match proven {
            Some(answered) => answered,
            None if message.channel == Channel::Email && webhook.provider != ProviderKind::Sandbox => {
                mail::answered(tx, connection, message).await?
            }
            None => Answered::Newest,
        };
        let answer = reply::store(inner, tx, connection, message, &answered, dice, now).await?;
        answers.extend(answer.filter(|_| webhook.provider == ProviderKind::Sandbox));
    }
    Ok(answers)
}

/// Ends a job's turn with what it wrote.
async fn end(
    inner: &Inner,
    mut tx: TenantTx,
    lease: LeaseId,
    job: &ClaimedJob,
    outcome: Outcome,
    now: Timestamp,
) -> Result<FinishReport, EngineError> {
    let report = finish(&mut tx, inner.node, &[finished(job, lease, outcome)], now).await?;
    tx.commit().await?;
    Ok(report)
}

/// How a webhook's job ends.
struct Ended {
    outcome: Outcome,
    /// The webhook counts as applied.
    processed: bool,
    /// What of it could not be.
    failure: Option<String>,
}

/// Reports about deliveries nobody knows yet make the job come back: a webhook may be faster than the answer to the call it
/// is about. What was matched is stored and will not be applied twice; what is unknown after the last try is none of ours.
fn end_of(inner: &Inner, job: &ClaimedJob, unmatched: usize, dice: &mut Dice, now: Timestamp) -> Ended {
    if unmatched == 0 {
        return Ended {
            outcome: Outcome::Done,
            processed: true,
            failure: None,
        };
    }
    let failure = Failure {
        category: ErrorCategory::Transient,
        retries: job.retry_count.unsigned_abs(),
        max_retries: job.max_retries.unsigned_abs(),
        retry_after: None,
        first_due_at: now,
    };
    match next_try(&failure, job.kind, &inner.schedule, now, dice) {
        NextTry::At { at, counts } => Ended {
            outcome: Outcome::Retry {
                at,
                category: ErrorCategory::Transient,
                error: format!("{unmatched} reports are about messages not known yet"),
                counts,
            },
            processed: false,
            failure: None,
        },
        NextTry::GiveUp => Ended {
            outcome: Outcome::Done,
            processed: true,
            failure: Some(format!(
                "{unmatched} reports are about messages this connection never sent"
            )),
        },
    }
}
