//! Accepting: requests become messages, decided, rendered and queued in one commit that many callers share.
//!
//! A batch passes through stages; a request that fails at one is answered there and touches nothing. Everything that
//! is written for a request is written in the same transaction.

use crate::compose::{Composed, Composition, StoredRequest, seal_content, seal_request};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::recipients;
use crate::request::{
    AcceptError, AcceptRequest, Accepted, IdempotencyKey, MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS,
    MAX_CONTEXT_BYTES, MAX_DIRECT_BYTES, MAX_SOURCE_REFERENCE, Recipient,
};
use crate::settle;
use crate::templates::Shelf;
use crate::tenancy::{self, TenantView};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::{BTreeSet, HashMap, HashSet};
use tidings_core::decide::facts::{OpenBatch, RequestFacts};
use tidings_core::decide::{Decision, Facts, Plan, Verdict, decide};
use tidings_core::{
    BatchId, Category, Channel, ContactId, DecisionStage, DeliveryId, Dice, JobId, MessageId, MessageStatus,
    MessageType, TenantId, Urgency,
};
use tidings_queue::NewJob;
use tidings_render::message_types;
use tidings_store::events::{self, NewEvent};
use tidings_store::messages::facts::{self, ContactKnown, FactsQuery, Past};
use tidings_store::messages::idempotency::{self, KeyClaim};
use tidings_store::messages::record::{NewContent, NewMessage, Placement};
use tidings_store::messages::{batches, insert};
use tidings_store::{Conn, SealError};

/// How long an answer is kept under its Idempotency-Key.
const KEY_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// The type of direct content without one.
const DIRECT_TYPE: &str = "direct";

/// What one caller brings.
#[derive(Debug)]
pub(crate) struct Submission {
    pub tenant: TenantId,
    pub requests: Vec<AcceptRequest>,
    pub key: Option<IdempotencyKey>,
    /// The job of another program that carries the message instead of a new one; for a single request.
    pub carrier: Option<JobId>,
}

type Answer = Result<Accepted, AcceptError>;

/// A request on its way to becoming a message.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Which submission, and which request of it.
    place: (usize, usize),
    pub tenant: TenantId,
    pub message: MessageId,
    pub contact: ContactId,
    pub message_type: MessageType,
    pub category: Category,
    pub urgency: Urgency,
    pub channel: Option<Channel>,
    pub renderable: Vec<Channel>,
    pub send_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub source_reference: Option<String>,
    pub locale: Option<String>,
    pub request: StoredRequest,
    /// The job of another program that carries the message instead of a new one.
    pub carrier: Option<JobId>,
}

/// A draft with its verdict.
struct Decided {
    draft: Draft,
    facts: Facts,
    decision: Decision,
    composed: Vec<Composed>,
    delivery: DeliveryId,
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
    let mut conn = inner.conn().await?;
    let mut answers = Answers::of(&batch);
    let keys: Vec<Option<(TenantId, IdempotencyKey)>> = batch
        .iter()
        .map(|submission| submission.key.clone().map(|key| (submission.tenant, key)))
        .collect();
    replay(&mut conn, &keys, &mut answers, now).await?;
    let views = tenancy::load(inner, &mut conn, batch.iter().map(|submission| submission.tenant)).await?;
    let wanted = batch.iter().flat_map(|submission| {
        let types = submission
            .requests
            .iter()
            .filter_map(|request| request.message_type.clone());
        types.map(|message_type| (submission.tenant, message_type))
    });
    let shelf = inner
        .templates
        .load(&mut conn, wanted.collect::<Vec<_>>())
        .await?;
    let mut dice = inner.dice();
    let drafts = drafts(
        inner,
        &mut conn,
        batch,
        &views,
        &shelf,
        &mut answers,
        &mut dice,
        now,
    )
    .await?;
    let decided = decide_all(&mut conn, drafts, &views, &shelf, &mut answers, &mut dice, now).await?;
    drop(conn);
    if decided.is_empty() {
        return Ok(answers.done());
    }
    write(inner, decided, &keys, &mut answers, &mut dice, now).await?;
    Ok(answers.done())
}

/// The answers so far.
struct Answers(Vec<Vec<Option<Answer>>>);

impl Answers {
    fn of(batch: &[Submission]) -> Self {
        Self(
            batch
                .iter()
                .map(|submission| submission.requests.iter().map(|_| None).collect())
                .collect(),
        )
    }

    fn set(&mut self, place: (usize, usize), answer: Answer) {
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

    fn is_set(&self, place: (usize, usize)) -> bool {
        self.0
            .get(place.0)
            .and_then(|answers| answers.get(place.1))
            .is_some_and(Option::is_some)
    }

    /// The answers of a submission; every one is there by now.
    fn of_submission(&self, submission: usize) -> Vec<Answer> {
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

/// Checks the requests and finds their contacts.
#[expect(clippy::too_many_arguments, reason = "one stage of the batch, called once")]
async fn drafts(
    inner: &Inner,
    conn: &mut Conn,
    batch: Vec<Submission>,
    views: &HashMap<TenantId, TenantView>,
    shelf: &Shelf,
    answers: &mut Answers,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Vec<Draft>, EngineError> {
    let mut external = Vec::new();
    let mut checked = Vec::new();
    for (outer, submission) in batch.into_iter().enumerate() {
        for (within, request) in submission.requests.into_iter().enumerate() {
            let place = (outer, within);
            if answers.is_set(place) {
                continue;
            }
            let carrier = submission.carrier;
            match check(
                views.get(&submission.tenant),
                submission.tenant,
                shelf,
                &request,
                now,
                carrier.is_some(),
            ) {
                Ok((view, shape)) => {
                    if let Recipient::ExternalId(id) = &request.to {
                        external.push((submission.tenant, id.clone()));
                    }
                    checked.push((place, view, shape, request, carrier));
                }
                Err(error) => answers.set(place, Err(error)),
            }
        }
    }
    let external = recipients::by_external_id(conn, external).await?;
    let mut drafts = Vec::with_capacity(checked.len());
    for (place, view, shape, request, carrier) in checked {
        let tenant = view.tenant.id;
        let region = view.policy().default_region.as_deref();
        let contact = match &request.to {
            Recipient::ContactId(id) => Some(*id),
            Recipient::ExternalId(id) => external.get(&(tenant, id.clone())).copied(),
            Recipient::Contact(contact) => {
                match recipients::inline(inner, tenant, &view.key, contact, region).await {
                    Ok(id) => Some(id),
                    Err(EngineError::Store(tidings_store::StoreError::Invalid { field, problem })) => {
                        let field = format!("to.contact.{field}");
                        answers.set(place, Err(AcceptError::Invalid { field, problem }));
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        match contact {
            Some(contact) => drafts.push(Draft {
                carrier,
                ..draft(place, tenant, contact, shape, request, dice, now)
            }),
            None => answers.set(
                place,
                Err(AcceptError::UnknownContact {
                    reference: reference(&request.to),
                }),
            ),
        }
    }
    Ok(drafts)
}

fn reference(to: &Recipient) -> String {
    match to {
        Recipient::ContactId(id) => id.to_string(),
        Recipient::ExternalId(id) => format!("with external_id \"{id}\""),
        Recipient::Contact(_) => "as given".to_owned(),
    }
}

/// What follows from the type.
struct Shape {
    message_type: MessageType,
    category: Category,
    urgency: Urgency,
    renderable: Vec<Channel>,
}

fn check<'a>(
    view: Option<&'a TenantView>,
    tenant: TenantId,
    shelf: &Shelf,
    request: &AcceptRequest,
    now: Timestamp,
    carried: bool,
) -> Result<(&'a TenantView, Shape), AcceptError> {
    let view = view.ok_or(AcceptError::UnknownTenant)?;
    if !view.is_active() {
        return Err(AcceptError::TenantNotActive {
            status: view.tenant.status.to_string(),
        });
    }
    // A row that is taken up again finds its message, expired or not; the rules see to the rest.
    check_limits(request, if carried { Timestamp::MIN } else { now })?;
    recipients::check(&request.to, view.policy().default_region.as_deref())?;
    Ok((view, shape(tenant, shelf, request)?))
}

fn shape(tenant: TenantId, shelf: &Shelf, request: &AcceptRequest) -> Result<Shape, AcceptError> {
    let message_type = match (&request.message_type, &request.content) {
        (Some(message_type), _) => message_type.clone(),
        (None, Some(_)) => MessageType::parse(DIRECT_TYPE).map_err(|_| AcceptError::NothingToSend)?,
        (None, None) => return Err(AcceptError::NothingToSend),
    };
    let renderable = match request.content {
        Some(_) => Channel::ALL.to_vec(),
        None => shelf.channels(tenant, &message_type),
    };
    let missing = match request.channel {
        Some(channel) => !renderable.contains(&channel),
        None => renderable.is_empty(),
    };
    if missing {
        let message_type = message_type.to_string();
        return Err(AcceptError::UnknownTemplate {
            message_type,
            channel: request.channel,
        });
    }
    let info = message_types::message_type(message_type.as_str());
    Ok(Shape {
        category: request
            .category
            .or(info.map(|info| info.category))
            .unwrap_or(Category::Service),
        urgency: request
            .urgency
            .or(info.map(|info| info.urgency))
            .unwrap_or(Urgency::Normal),
        message_type,
        renderable,
    })
}

fn check_limits(request: &AcceptRequest, now: Timestamp) -> Result<(), AcceptError> {
    let too_large = |field: &str, limit: &str| AcceptError::TooLarge {
        field: field.to_owned(),
        limit: limit.to_owned(),
    };
    if let Some(expires_at) = request.expires_at.filter(|expires_at| *expires_at <= now) {
        return Err(AcceptError::Expired { expires_at });
    }
    if let (Some(send_at), Some(expires_at)) = (request.send_at, request.expires_at)
        && send_at >= expires_at
    {
        return Err(AcceptError::Expired { expires_at });
    }
    if json_bytes(request) > MAX_CONTEXT_BYTES {
        return Err(too_large("context", "256 KiB of JSON"));
    }
    if request.attachments.len() > MAX_ATTACHMENTS {
        return Err(too_large("attachments", "10 files"));
    }
    if request
        .attachments
        .iter()
        .map(|file| file.content_base64.len())
        .sum::<usize>()
        > MAX_ATTACHMENT_BYTES
    {
        return Err(too_large("attachments", "10 MiB of base64 together"));
    }
    if request
        .content
        .as_ref()
        .is_some_and(|content| content.body.expose().len() > MAX_DIRECT_BYTES)
    {
        return Err(too_large("content.body", "100 KiB"));
    }
    let reference = request
        .source_reference
        .as_deref()
        .map(|text| text.chars().count());
    if reference.is_some_and(|length| length == 0 || length > MAX_SOURCE_REFERENCE) {
        let problem = "use 1 to 500 characters, or leave it out".to_owned();
        return Err(AcceptError::Invalid {
            field: "source_reference".to_owned(),
            problem,
        });
    }
    if request
        .locale
        .as_deref()
        .is_some_and(|locale| locale.len() < 2 || locale.len() > 35)
    {
        let problem = "use a language tag such as en or de-AT".to_owned();
        return Err(AcceptError::Invalid {
            field: "locale".to_owned(),
            problem,
        });
    }
    Ok(())
}

/// The size of the context as JSON, counted without building the text.
fn json_bytes(request: &AcceptRequest) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, request.context.expose()) {
        Ok(()) => counter.0,
        Err(_) => usize::MAX,
    }
}

fn draft(
    place: (usize, usize),
    tenant: TenantId,
    contact: ContactId,
    shape: Shape,
    request: AcceptRequest,
    dice: &mut Dice,
    now: Timestamp,
) -> Draft {
    Draft {
        place,
        tenant,
        message: MessageId(dice.uuid(now)),
        contact,
        message_type: shape.message_type,
        category: shape.category,
        urgency: shape.urgency,
        channel: request.channel,
        renderable: shape.renderable,
        send_at: request.send_at,
        expires_at: request.expires_at,
        source_reference: request.source_reference,
        locale: request.locale,
        request: StoredRequest {
            context: request.context,
            content: request.content,
            attachments: request.attachments,
        },
        carrier: None,
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

fn request_facts(draft: &Draft, duplicate_of: Option<MessageId>) -> RequestFacts {
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
        whatsapp_template: false,
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
        let request = request_facts(&draft, known.duplicate_of.or(within));
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

/// Writes what was decided, in one transaction.
async fn write(
    inner: &Inner,
    decided: Vec<Decided>,
    keys: &[Option<(TenantId, IdempotencyKey)>],
    answers: &mut Answers,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    let mut tx = inner.tx().await?;
    let (ours, decided) = claim_keys(&mut tx, decided, keys, answers, now).await?;
    let (fresh, duplicates): (Vec<Decided>, Vec<Decided>) = decided
        .into_iter()
        .partition(|one| !matches!(one.decision.verdict, Verdict::Duplicate { .. }));
    let (fresh, lost) = insert_messages(&mut tx, fresh, now).await?;
    answer_duplicates(&mut tx, duplicates, lost, answers).await?;
    insert_rest(inner, &mut tx, &fresh, dice, now).await?;
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
        "message_type" => one.draft.message_type.to_string(),
        "status" => status.as_str(),
    )
    .increment(1);
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
    let events: Vec<NewEvent> = fresh.iter().map(event).collect();
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
                match draft.carrier {
                    Some(job) => carried.push((one, plan, Some(job))),
                    None => {
                        let (at, priority) = (plan.at, plan.priority);
                        jobs.push(settle::send_job(
                            inner,
                            draft.tenant,
                            draft.message,
                            one.delivery,
                            channel,
                            priority,
                            at,
                        ));
                        carried.push((one, plan, None));
                    }
                }
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
