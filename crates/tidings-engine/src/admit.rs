//! Admitting: what was decided is written in one transaction, with its jobs, batches, events and keys.

use crate::accept::{Answers, Decided};
use crate::compose::{seal_content, seal_request};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::figures;
use crate::request::{AcceptError, Accepted, IdempotencyKey};
use crate::settle;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::{BTreeSet, HashMap, HashSet};
use tidings_core::decide::Verdict;
use tidings_core::{BatchId, Channel, ContactId, DecisionStage, Dice, MessageId, MessageStatus, TenantId};
use tidings_queue::NewJob;
use tidings_store::events::{self, NewEvent};
use tidings_store::messages::facts;
use tidings_store::messages::idempotency::{self, KeyClaim};
use tidings_store::messages::record::{NewContent, NewMessage, Placement};
use tidings_store::messages::{batches, contacts_by, insert};
use tidings_store::{Conn, SealError, WorkerTx};

/// How long an answer is kept under its Idempotency-Key.
const KEY_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// Writes what was decided and commits. Contacts that were made for requests which come to nothing here (a duplicate, a
/// key that somebody else holds) go again.
#[expect(
    clippy::too_many_arguments,
    reason = "the last stage of the batch, called once"
)]
pub(crate) async fn write(
    inner: &Inner,
    mut tx: WorkerTx,
    decided: Vec<Decided>,
    made: &[(TenantId, ContactId)],
    keys: &[Option<(TenantId, IdempotencyKey)>],
    answers: &mut Answers,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let (ours, decided) = claim_keys(&mut tx, decided, keys, answers, now).await?;
    let (fresh, duplicates): (Vec<Decided>, Vec<Decided>) = decided
        .into_iter()
        .partition(|one| !matches!(one.decision.verdict, Verdict::Duplicate { .. }));
    let (fresh, lost) = insert_messages(&mut tx, fresh, now).await?;
    answer_duplicates(&mut tx, duplicates, lost, answers).await?;
    insert_rest(inner, &mut tx, &fresh, dice, now).await?;
    let kept: HashSet<_> = fresh
        .iter()
        .map(|one| (one.draft.tenant, one.draft.contact))
        .collect();
    let idle: Vec<_> = made.iter().copied().filter(|one| !kept.contains(one)).collect();
    contacts_by::unmake(&mut tx, &idle).await?;
    for one in &fresh {
        answers.set(one.draft.place, Ok(accepted(one)));
    }
    let stored: Vec<_> = ours
        .iter()
        .filter_map(|place| {
            keys[*place]
                .as_ref()
                .map(|(tenant, key)| (*place, *tenant, key.key.clone()))
        })
        .map(|(place, tenant, key)| {
            (
                tenant,
                key,
                serde_json::to_value(answers.of_submission(place)).unwrap_or_default(),
            )
        })
        .collect();
    idempotency::answer(&mut tx, &stored).await?;
    inner.fail.pass("accept_before_commit");
    tx.commit().await?;
    inner.fail.pass("accept_after_commit");
    for one in &fresh {
        count(one);
    }
    Ok(())
}

fn accepted(one: &Decided) -> Accepted {
    Accepted {
        message_id: one.draft.message,
        contact_id: one.draft.contact,
        status: settle::placement(&one.decision, Timestamp::UNIX_EPOCH).status,
        verdict: one.decision.verdict.clone(),
        because: settle::because(&one.decision),
        duplicate: false,
    }
}

fn count(one: &Decided) {
    let status = settle::placement(&one.decision, Timestamp::UNIX_EPOCH).status;
    metrics::counter!(
        "tidings_messages_accepted_total",
        "message_type" => figures::type_label(&one.draft.message_type),
        "status" => status.as_str(),
    )
    .increment(1);
    if status == MessageStatus::Suppressed {
        figures::communication(None, &one.draft.message_type, status);
    }
}

/// Claims the keys of the batch; a submission whose key somebody else holds by now is answered with `InProgress`, and
/// the caller's next try gets the stored answer. Only submissions with every request accepted or refused for its own
/// sake keep their key.
async fn claim_keys(
    tx: &mut Conn,
    decided: Vec<Decided>,
    keys: &[Option<(TenantId, IdempotencyKey)>],
    answers: &mut Answers,
    now: Timestamp,
) -> Result<(Vec<usize>, Vec<Decided>), EngineError> {
    let places: BTreeSet<usize> = decided
        .iter()
        .map(|one| one.draft.place.0)
        .filter(|place| keys[*place].is_some())
        .collect();
    let claims: Vec<KeyClaim> = places
        .iter()
        .filter_map(|place| keys[*place].as_ref())
        .map(|(tenant, key)| KeyClaim {
            tenant: *tenant,
            key: key.key.clone(),
            request_hash: key.body_hash.clone(),
        })
        .collect();
    let expires_at = now.saturating_add(KEY_LIFE).unwrap_or(now);
    let won = idempotency::claim(tx, &claims, now, expires_at).await?;
    let is_ours = |place: usize| match &keys[place] {
        Some((tenant, key)) => won.contains(&(*tenant, key.key.clone())),
        None => true,
    };
    let (ours, theirs): (Vec<Decided>, Vec<Decided>) =
        decided.into_iter().partition(|one| is_ours(one.draft.place.0));
    for one in theirs {
        answers.set(one.draft.place, Err(AcceptError::InProgress));
    }
    Ok((places.into_iter().filter(|place| is_ours(*place)).collect(), ours))
}

/// Inserts the messages; the second list met an earlier message with the same reference.
async fn insert_messages(
    tx: &mut Conn,
    fresh: Vec<Decided>,
    now: Timestamp,
) -> Result<(Vec<Decided>, Vec<Decided>), EngineError> {
    let rows: Vec<NewMessage> = fresh.iter().map(|one| new_message(one, now)).collect();
    let inserted: HashSet<MessageId> = insert::messages(tx, &rows).await?;
    Ok(fresh
        .into_iter()
        .partition(|one| inserted.contains(&one.draft.message)))
}

fn new_message(one: &Decided, now: Timestamp) -> NewMessage {
    let draft = &one.draft;
    NewMessage {
        tenant: draft.tenant,
        id: draft.message,
        contact: draft.contact,
        message_type: draft.message_type.clone(),
        category: draft.category,
        urgency: draft.urgency,
        source_reference: draft.source_reference.clone(),
        requested_channel: draft.channel,
        renderable_channels: draft.renderable.clone(),
        locale: draft.locale.clone(),
        send_at: draft.send_at,
        expires_at: draft.expires_at,
        accepted_at: now,
        placement: settle::placement(&one.decision, now),
    }
}

/// Answers those whose message exists already, with its status as it is.
async fn answer_duplicates(
    tx: &mut Conn,
    duplicates: Vec<Decided>,
    lost: Vec<Decided>,
    answers: &mut Answers,
) -> Result<(), EngineError> {
    if duplicates.is_empty() && lost.is_empty() {
        return Ok(());
    }
    let references: Vec<_> = duplicates
        .iter()
        .chain(&lost)
        .filter_map(|one| {
            let text = one.draft.source_reference.clone()?;
            Some((one.draft.tenant, one.draft.message_type.clone(), text))
        })
        .collect();
    let winners = facts::duplicates(tx, &references).await?;
    for one in duplicates.into_iter().chain(lost) {
        let draft = one.draft;
        let winner = draft
            .source_reference
            .and_then(|text| winners.get(&(draft.tenant, draft.message_type, text)).copied());
        let answer = match winner {
            Some((message_id, contact_id, status)) => Ok(Accepted {
                message_id,
                contact_id,
                status,
                verdict: Verdict::Duplicate { of: message_id },
                because: Some("duplicate.found".to_owned()),
                duplicate: true,
            }),
            None => Err(AcceptError::Unavailable {
                reason: "the earlier message is being removed".to_owned(),
            }),
        };
        answers.set(draft.place, answer);
    }
    Ok(())
}

/// Jobs, contents, decisions, deliveries, batches and events of new messages.
async fn insert_rest(
    inner: &Inner,
    tx: &mut Conn,
    fresh: &[Decided],
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let pairs: Vec<_> = fresh
        .iter()
        .map(|one| (one.draft.tenant, one.draft.contact))
        .collect();
    let keys = inner.store.keyring().contact_keys(tx, &pairs, now).await?;
    let mut contents = Vec::with_capacity(fresh.len() * 3);
    let mut decisions = Vec::with_capacity(fresh.len());
    for one in fresh {
        let (tenant, message) = (one.draft.tenant, one.draft.message);
        // An erased contact has no key: the decision stands, the content is not kept.
        match keys.get(tenant, one.draft.contact) {
            Ok(key) => {
                let sealed = seal_request(key, tenant, message, &one.draft.request)?;
                contents.push(NewContent {
                    tenant,
                    message,
                    channel: None,
                    sealed,
                    template: None,
                });
                for composed in &one.composed {
                    let sealed = seal_content(key, tenant, message, composed)?;
                    let (channel, template) = (Some(composed.channel), composed.template);
                    contents.push(NewContent {
                        tenant,
                        message,
                        channel,
                        sealed,
                        template,
                    });
                }
            }
            Err(SealError::Erased(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let stage = DecisionStage::Accept;
        decisions.push(settle::recorded(
            tenant,
            message,
            stage,
            &one.facts,
            &one.decision,
            dice,
            now,
        ));
    }
    insert::contents(tx, &contents).await?;
    insert::decisions(tx, &decisions).await?;
    insert_jobs(inner, tx, fresh, now).await?;
    gather(inner, tx, fresh, dice, now).await?;
    let events: Vec<NewEvent> = fresh
        .iter()
        .flat_map(|one| std::iter::once(event(one)).chain(words(one)))
        .collect();
    events::append(tx, &events, dice, now).await?;
    Ok(())
}

fn event(one: &Decided) -> NewEvent {
    let placement: Placement = settle::placement(&one.decision, Timestamp::UNIX_EPOCH);
    let kind = if placement.status == MessageStatus::Suppressed {
        "MessageSuppressed"
    } else {
        "MessageAccepted"
    };
    NewEvent {
        tenant: one.draft.tenant,
        kind: kind.to_owned(),
        contact: Some(one.draft.contact),
        message: Some(one.draft.message),
        subject: None,
        data: json!({
            "message_type": one.draft.message_type,
            "status": placement.status,
            "because": settle::because(&one.decision),
        }),
    }
}

/// Who found the words, where a model was to; nobody reads those of a message that ends here.
fn words(one: &Decided) -> Option<NewEvent> {
    let ends = one.decision.verdict == Verdict::Suppress;
    let told = one.draft.words.as_ref().filter(|_| !ends)?;
    Some(NewEvent {
        tenant: one.draft.tenant,
        kind: told.kind.to_owned(),
        contact: Some(one.draft.contact),
        message: Some(one.draft.message),
        subject: None,
        data: told.data.clone(),
    })
}

/// The jobs that carry, release and close, and the deliveries they carry.
async fn insert_jobs(
    inner: &Inner,
    tx: &mut Conn,
    fresh: &[Decided],
    now: Timestamp,
) -> Result<(), EngineError> {
    let mut jobs: Vec<NewJob> = Vec::with_capacity(fresh.len());
    let mut carried = Vec::with_capacity(fresh.len());
    for one in fresh {
        let draft = &one.draft;
        match &one.decision.verdict {
            Verdict::Send(plan) => {
                let Some(channel) = plan.channels.first().copied() else {
                    continue;
                };
                if draft.carrier.is_none() {
                    let (at, priority) = (plan.at, plan.priority);
                    let (tenant, message) = (draft.tenant, draft.message);
                    jobs.push(settle::send_job(
                        inner,
                        tenant,
                        message,
                        one.delivery,
                        channel,
                        priority,
                        at,
                    ));
                }
                carried.push((one, plan, draft.carrier));
            }
            Verdict::Hold { until } | Verdict::Approve { expires_at: until } if draft.carrier.is_none() => {
                jobs.push(settle::release_job(
                    inner,
                    draft.tenant,
                    draft.message,
                    draft.urgency,
                    *until,
                ));
            }
            _ => {}
        }
    }
    let enqueued = tidings_queue::enqueue(tx, &jobs, now).await?;
    let mut sent = jobs
        .iter()
        .zip(enqueued)
        .filter(|(job, _)| job.kind.is_send())
        .map(|(_, enqueued)| enqueued.id);
    let mut deliveries = Vec::with_capacity(carried.len());
    for (one, plan, carrier) in carried {
        let Some(job) = carrier.or_else(|| sent.next()) else {
            continue;
        };
        let (tenant, message) = (one.draft.tenant, one.draft.message);
        deliveries.extend(settle::first_delivery(
            tenant,
            message,
            one.delivery,
            plan,
            job,
            now,
        ));
    }
    insert::deliveries(tx, &deliveries).await?;
    Ok(())
}

/// Puts low-urgency messages into batches; whoever opens one schedules its end, whoever completes one ends it now.
async fn gather(
    inner: &Inner,
    tx: &mut Conn,
    fresh: &[Decided],
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let mut groups: HashMap<(TenantId, ContactId, Channel), (Vec<MessageId>, Timestamp)> = HashMap::new();
    for one in fresh {
        if let Verdict::Batch { channel, closes_at } = &one.decision.verdict {
            let group = groups
                .entry((one.draft.tenant, one.draft.contact, *channel))
                .or_insert_with(|| (Vec::new(), *closes_at));
            group.0.push(one.draft.message);
            group.1 = group.1.min(*closes_at);
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_unstable_by_key(|(key, _)| *key);
    let mut jobs = Vec::new();
    for ((tenant, contact, channel), (messages, closes_at)) in groups {
        let group = batches::Gathering {
            tenant,
            contact,
            channel,
            id: BatchId(dice.uuid(now)),
            messages,
            closes_at,
        };
        let gathered = batches::gather(tx, &group, now).await?;
        if gathered.opened {
            jobs.push(settle::close_job(inner, tenant, gathered.id, gathered.closes_at));
        }
        if closes_at <= now {
            jobs.push(settle::close_job(inner, tenant, gathered.id, now));
        }
    }
    tidings_queue::enqueue(tx, &jobs, now).await?;
    Ok(())
}
