//! Accepting: requests become messages, decided, rendered and queued in one commit that many callers share.
//!
//! A batch passes through stages; a request that fails at one is answered there and touches nothing. Everything that
//! is written for a request is written in the same transaction.

use crate::admit;
use crate::compose::{self, Composed, Composition};
use crate::draft::{Draft, drafts};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::growth;
use crate::recipients::{self, Inline};
use crate::request::{AcceptError, AcceptRequest, Accepted, IdempotencyKey};
use crate::templates::Shelf;
use crate::tenancy::{self, TenantView};
use jiff::Timestamp;
use std::collections::HashMap;
use tidings_core::decide::facts::{OpenBatch, RequestFacts};
use tidings_core::decide::{Decision, Facts, Plan, Verdict, decide};
use tidings_core::{Category, Channel, ContactId, DeliveryId, Dice, JobId, MessageId, MessageType, TenantId};
use tidings_store::Conn;
use tidings_store::messages::facts::{self, ContactKnown, FactsQuery, Past};
use tidings_store::messages::idempotency;

/// What one caller brings.
#[derive(Debug)]
pub(crate) struct Submission {
    pub tenant: TenantId,
    pub requests: Vec<AcceptRequest>,
    pub key: Option<IdempotencyKey>,
    /// The job of another program that carries the message instead of a new one; for a single request.
    pub carrier: Option<JobId>,
}

pub(crate) type Answer = Result<Accepted, AcceptError>;

/// A draft with its verdict.
pub(crate) struct Decided {
    pub draft: Draft,
    pub facts: Facts,
    pub decision: Decision,
    pub composed: Vec<Composed>,
    pub delivery: DeliveryId,
}

/// Accepts a batch; the answers stand in the order of submissions and requests.
pub(crate) async fn accept_batch(inner: &Inner, batch: Vec<Submission>) -> Vec<Vec<Answer>> {
    let shapes: Vec<usize> = batch.iter().map(|submission| submission.requests.len()).collect();
    let size: usize = shapes.iter().sum();
    metrics::histogram!("tidings_accept_batch_size").record(size as f64);
    match try_batch(inner, batch).await {
        Ok(answers) => answers,
        Err(error) => {
            tracing::error!(%error, requests = size, "a batch of requests was not accepted");
            let answer = AcceptError::Unavailable {
                reason: error.to_string(),
            };
            shapes
                .into_iter()
                .map(|count| (0..count).map(|_| Err(answer.clone())).collect())
                .collect()
        }
    }
}

async fn try_batch(inner: &Inner, batch: Vec<Submission>) -> Result<Vec<Vec<Answer>>, EngineError> {
    let now = inner.now();
    // From the first look to the commit: contacts that are given with requests stand or fall with them.
    let mut tx = inner.tx().await?;
    let mut answers = Answers::of(&batch);
    let keys: Vec<Option<(TenantId, IdempotencyKey)>> = batch
        .iter()
        .map(|submission| submission.key.clone().map(|key| (submission.tenant, key)))
        .collect();
    replay(&mut tx, &keys, &mut answers, now).await?;
    let views = tenancy::load(inner, &mut tx, batch.iter().map(|submission| submission.tenant)).await?;
    let wanted = batch.iter().flat_map(|submission| {
        let types = submission
            .requests
            .iter()
            .filter_map(|request| request.message_type.clone());
        types.map(|message_type| (submission.tenant, message_type))
    });
    let shelf = inner.templates.load(&mut tx, wanted.collect::<Vec<_>>()).await?;
    let mut dice = inner.dice();
    let (mut waiting, mut inline) =
        drafts(&mut tx, batch, &views, &shelf, &mut answers, &mut dice, now).await?;
    loop {
        let made = bring_in(inner, &mut tx, &inline, &mut waiting, &views, &mut dice, now).await?;
        let decided = decide_all(&mut tx, waiting, &views, &shelf, &mut answers, &mut dice, now).await?;
        let given = inline.len();
        inline.retain(|one| !answers.is_set(one.place));
        if decided.is_empty() {
            tx.rollback().await?;
            break;
        }
        if inline.len() == given {
            let count = decided.len();
            admit::write(inner, tx, decided, &made, &keys, &mut answers, &mut dice, now).await?;
            growth::grew(inner, &inner.accepted, count);
            break;
        }
        // Refused with a contact of its own: once more without it, so that nothing of it stays.
        tx.rollback().await?;
        waiting = decided.into_iter().map(|one| one.draft).collect();
        tx = inner.tx().await?;
    }
    Ok(answers.done())
}

/// Brings in the contacts given with requests and says which are new.
async fn bring_in(
    inner: &Inner,
    conn: &mut Conn,
    inline: &[Inline],
    drafts: &mut [Draft],
    views: &HashMap<TenantId, TenantView>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Vec<(TenantId, ContactId)>, EngineError> {
    let brought = recipients::bring_in(inner, conn, inline, views, dice, now).await?;
    let contacts: HashMap<(usize, usize), ContactId> = inline
        .iter()
        .zip(&brought)
        .map(|(one, contact)| (one.place, contact.id))
        .collect();
    for draft in drafts {
        if let Some(contact) = contacts.get(&draft.place) {
            draft.contact = *contact;
        }
    }
    let made = inline.iter().zip(brought).filter(|(_, contact)| contact.created);
    Ok(made.map(|(one, contact)| (one.tenant, contact.id)).collect())
}

/// The answers so far.
pub(crate) struct Answers(Vec<Vec<Option<Answer>>>);

impl Answers {
    fn of(batch: &[Submission]) -> Self {
        Self(
            batch
                .iter()
                .map(|submission| submission.requests.iter().map(|_| None).collect())
                .collect(),
        )
    }

    pub fn set(&mut self, place: (usize, usize), answer: Answer) {
        if let Some(slot) = self
            .0
            .get_mut(place.0)
            .and_then(|answers| answers.get_mut(place.1))
        {
            *slot = Some(answer);
        }
    }

    fn set_all(&mut self, submission: usize, answers: Vec<Answer>) {
        for (place, answer) in answers.into_iter().enumerate() {
            self.set((submission, place), answer);
        }
    }

    pub fn is_set(&self, place: (usize, usize)) -> bool {
        self.0
            .get(place.0)
            .and_then(|answers| answers.get(place.1))
            .is_some_and(Option::is_some)
    }

    /// The answers of a submission; every one is there by now.
    pub fn of_submission(&self, submission: usize) -> Vec<Answer> {
        let lost = || {
            Err(AcceptError::Unavailable {
                reason: "the request was lost in its batch".to_owned(),
            })
        };
        let answers = self.0.get(submission).into_iter().flatten();
        answers
            .map(|answer| answer.clone().unwrap_or_else(lost))
            .collect()
    }

    fn done(self) -> Vec<Vec<Answer>> {
        (0..self.0.len())
            .map(|submission| self.of_submission(submission))
            .collect()
    }
}

/// Answers submissions whose key was answered before.
async fn replay(
    conn: &mut Conn,
    keys: &[Option<(TenantId, IdempotencyKey)>],
    answers: &mut Answers,
    now: Timestamp,
) -> Result<(), EngineError> {
    let places: Vec<usize> = (0..keys.len()).filter(|place| keys[*place].is_some()).collect();
    let wanted: Vec<_> = places
        .iter()
        .filter_map(|place| keys[*place].as_ref())
        .map(|(tenant, key)| (*tenant, key.key.clone()))
        .collect();
    let earlier = idempotency::look_up(conn, &wanted, now).await?;
    for (place, earlier) in places.into_iter().zip(earlier) {
        let (Some(earlier), Some((_, key))) = (earlier, &keys[place]) else {
            continue;
        };
        let count = answers.0[place].len();
        let given = if earlier.request_hash == key.body_hash {
            serde_json::from_value::<Vec<Answer>>(earlier.response)
                .map(|given| given.into_iter().map(|answer| answer.map(repeated)).collect())
                .unwrap_or_default()
        } else {
            (0..count).map(|_| Err(AcceptError::KeyReused)).collect()
        };
        answers.set_all(place, given);
    }
    Ok(())
}

fn repeated(accepted: Accepted) -> Accepted {
    Accepted {
        duplicate: true,
        ..accepted
    }
}

/// The facts of a request about a contact.
pub(crate) fn facts_of(known: &ContactKnown, request: RequestFacts, connected: Vec<Channel>) -> Facts {
    Facts {
        request,
        contact: known.contact.clone(),
        addresses: known.addresses.clone(),
        consents: known.consents.clone(),
        history: known.history_with_plans(),
        connected_channels: connected,
    }
}

fn request_facts(draft: &Draft, duplicate_of: Option<MessageId>, whatsapp_template: bool) -> RequestFacts {
    RequestFacts {
        message_type: draft.message_type.clone(),
        category: draft.category,
        urgency: draft.urgency,
        channel: draft.channel,
        renderable_channels: draft.renderable.clone(),
        send_at: draft.send_at,
        expires_at: draft.expires_at,
        duplicate_of,
        approved: false,
        batched: false,
        bump_up: false,
        whatsapp_template,
    }
}

/// Decides and renders. Requests of one batch see each other: the second to a contact counts the first.
async fn decide_all(
    conn: &mut Conn,
    drafts: Vec<Draft>,
    views: &HashMap<TenantId, TenantView>,
    shelf: &Shelf,
    answers: &mut Answers,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Vec<Decided>, EngineError> {
    let queries: Vec<FactsQuery> = drafts
        .iter()
        .map(|draft| FactsQuery {
            tenant: draft.tenant,
            contact: draft.contact,
            message: draft.message,
            message_type: draft.message_type.clone(),
            source_reference: draft.source_reference.clone(),
        })
        .collect();
    let known = facts::load(conn, &queries, now).await?;
    let mut planned: HashMap<(TenantId, ContactId), Vec<Past>> = HashMap::new();
    let mut gathering: HashMap<(TenantId, ContactId), OpenBatch> = HashMap::new();
    let mut references: HashMap<(TenantId, MessageType, String), MessageId> = HashMap::new();
    let mut decided = Vec::with_capacity(drafts.len());
    for (draft, known) in drafts.into_iter().zip(known) {
        let (Some(mut known), Some(view)) = (known, views.get(&draft.tenant)) else {
            let reference = draft.contact.to_string();
            answers.set(draft.place, Err(AcceptError::UnknownContact { reference }));
            continue;
        };
        let reference = draft
            .source_reference
            .clone()
            .map(|text| (draft.tenant, draft.message_type.clone(), text));
        let within = reference
            .as_ref()
            .and_then(|reference| references.get(reference).copied());
        let others = planned.entry((draft.tenant, draft.contact)).or_default();
        known.planned_or_sent.extend(others.iter().copied());
        if let Some(batch) = gathering.get(&(draft.tenant, draft.contact)) {
            known.open_batch = Some(OpenBatch::clone(batch));
        }
        let locale = compose::locale(draft.locale.as_deref(), &known, view);
        let bound = draft.request.content.is_none()
            && shelf.has_whatsapp_template(draft.tenant, &draft.message_type, locale);
        let request = request_facts(&draft, known.duplicate_of.or(within), bound);
        let facts = facts_of(&known, request, view.connected());
        let decision = decide(&facts, view.policy(), now);
        let composed = match compose(view, shelf, &known, &draft, &decision) {
            Ok(composed) => composed,
            Err(error) => {
                answers.set(draft.place, Err(error));
                continue;
            }
        };
        if let Verdict::Send(Plan { at, .. }) = &decision.verdict {
            others.push(Past {
                category: draft.category,
                at: *at,
                dispatched: false,
            });
        }
        if let Verdict::Batch { channel, .. } = &decision.verdict {
            let open = known.open_batch.take().filter(|batch| batch.channel == *channel);
            let mut open = open.unwrap_or(OpenBatch {
                channel: *channel,
                size: 0,
                opened_at: now,
            });
            open.size = open.size.saturating_add(1);
            gathering.insert((draft.tenant, draft.contact), open);
        }
        if let (Some(reference), None) = (reference, within) {
            references.insert(reference, draft.message);
        }
        let delivery = DeliveryId(dice.uuid(now));
        decided.push(Decided {
            draft,
            facts,
            decision,
            composed,
            delivery,
        });
    }
    Ok(decided)
}

/// Renders every channel of the plan; what does not go out yet is rendered once, so that a request that cannot be
/// rendered is refused at once and not days later.
fn compose(
    view: &TenantView,
    shelf: &Shelf,
    known: &ContactKnown,
    draft: &Draft,
    decision: &Decision,
) -> Result<Vec<Composed>, AcceptError> {
    let composition = Composition {
        view,
        shelf,
        known,
        contact: draft.contact,
        message: draft.message,
        message_type: &draft.message_type,
        category: draft.category,
        locale: draft.locale.as_deref(),
        request: &draft.request,
    };
    match &decision.verdict {
        Verdict::Send(plan) => plan
            .channels
            .iter()
            .map(|channel| composition.render(*channel))
            .collect(),
        Verdict::Duplicate { .. } => Ok(Vec::new()),
        Verdict::Hold { .. } | Verdict::Batch { .. } | Verdict::Approve { .. } | Verdict::Suppress => {
            let channel = draft.channel.or_else(|| draft.renderable.first().copied());
            // A channel whose link cannot be made (no address there) would refuse marketing for the wrong reason.
            let testable = channel.filter(|channel| {
                draft.category != Category::Marketing || known.indexes.iter().any(|(of, _)| of == channel)
            });
            if let Some(channel) = testable {
                composition.render(channel)?;
            }
            Ok(Vec::new())
        }
    }
}
