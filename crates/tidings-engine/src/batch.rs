//! Closing batches: what gathered for one contact and channel goes as one message, carried by the oldest.

use crate::accept::facts_of;
use crate::compose::{self, Composed, Composition, StoredRequest, open_request, seal_content};
use crate::deliver::wait;
use crate::engine::Inner;
use crate::error::EngineError;
use crate::figures;
use crate::hold::{query, request_facts};
use crate::process::finished;
use crate::request::AcceptError;
use crate::settle;
use crate::templates::Shelf;
use crate::tenancy::{self, TenantView};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidings_core::decide::{Decision, Facts, Plan, Verdict, decide, whatsapp_window_open};
use tidings_core::redact::Private;
use tidings_core::{
    BatchId, Category, Channel, DecisionStage, DeliveryId, Dice, ErrorCategory, MessageId, MessageStatus,
    MessageType, Provenance, TenantId,
};
use tidings_providers::{Content, WhatsappTemplate};
use tidings_queue::{ClaimedJob, FinishReport, LeaseId, Outcome, enqueue, finish};
use tidings_store::Conn;
use tidings_store::events::{self, NewEvent};
use tidings_store::messages::batches::{self, OpenBatchRows};
use tidings_store::messages::dispatch::MessageRow;
use tidings_store::messages::facts::{self, ContactKnown};
use tidings_store::messages::record::NewContent;
use tidings_store::messages::{insert, pending};

/// The type under which several messages are rendered as one.
const BATCH_TYPE: &str = "batch";

#[derive(Deserialize)]
struct Payload {
    batch_id: BatchId,
}

/// Works on one `batch.close` job.
pub(crate) async fn close(
    inner: &Inner,
    lease: LeaseId,
    job: &ClaimedJob,
    reports: &mut Vec<FinishReport>,
) -> Result<(), EngineError> {
    let now = inner.now();
    let mut dice = inner.dice();
    let mut tx = inner.tx().await?;
    let outcome = match serde_json::from_str::<Payload>(job.payload.get()) {
        Ok(payload) => try_close(inner, &mut tx, job.tenant, payload.batch_id, &mut dice, now).await?,
        Err(_) => Outcome::Dead {
            cause: "payload".to_owned(),
            category: ErrorCategory::InvalidInput,
            error: "the payload has no batch_id".to_owned(),
        },
    };
    let report = finish(&mut tx, inner.node, &[finished(job, lease, outcome)], now).await?;
    if !report.fenced.is_empty() {
        return Ok(());
    }
    inner.fail.pass("batch_before_commit");
    tx.commit().await?;
    reports.push(report);
    Ok(())
}

async fn try_close(
    inner: &Inner,
    tx: &mut Conn,
    tenant: TenantId,
    batch: BatchId,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Outcome, EngineError> {
    let Some(open) = batches::lock_open(tx, tenant, batch).await? else {
        return Ok(Outcome::Done);
    };
    let views = tenancy::load(inner, tx, [tenant]).await?;
    let Some(view) = views.get(&tenant) else {
        return Ok(Outcome::Done);
    };
    let full = u32::try_from(open.size).unwrap_or(0) >= view.policy().batch_size;
    if now < open.closes_at && !full {
        // Another job waits for the end of its window.
        return Ok(Outcome::Done);
    }
    let Some(first) = open.members.first() else {
        batches::close(tx, tenant, batch, None, None, now).await?;
        return Ok(Outcome::Done);
    };
    let Some(known) = facts::load(tx, &[query(first)], now).await?.pop().flatten() else {
        return Ok(Outcome::Done);
    };
    let closing = Closing {
        inner,
        view,
        tenant,
        batch,
        open: &open,
        known: &known,
    };
    closing.close(tx, dice, now).await
}

/// Messages that leave together, and what the rules say of them.
struct Group<'a> {
    members: Vec<&'a MessageRow>,
    /// The message the strictest rules apply to carries the others: marketing first, then the oldest.
    carrier: &'a MessageRow,
    facts: Facts,
    decision: Decision,
}

/// What the members of a batch asked for.
type Requests = Vec<(MessageRow, StoredRequest)>;

/// A batch at its end.
struct Closing<'a> {
    inner: &'a Inner,
    view: &'a TenantView,
    tenant: TenantId,
    batch: BatchId,
    open: &'a OpenBatchRows,
    known: &'a ContactKnown,
}

impl<'a> Closing<'a> {
    async fn close(&self, tx: &mut Conn, dice: &mut Dice, now: Timestamp) -> Result<Outcome, EngineError> {
        let requests = self.requests(tx).await?;
        let shelf = self.shelf(tx).await?;
        let groups = self.groups(&requests, &shelf, now);
        let waits = groups.iter().filter_map(|group| match &group.decision.verdict {
            Verdict::Hold { until }
            | Verdict::Approve { expires_at: until }
            | Verdict::Batch { closes_at: until, .. } => Some(*until),
            Verdict::Send(_) | Verdict::Suppress | Verdict::Duplicate { .. } => None,
        });
        if let Some(until) = waits.max() {
            for group in &groups {
                self.record(tx, group, dice, now).await?;
            }
            let why = "the batch waits for its hour";
            return Ok(wait(until, ErrorCategory::Transient, why));
        }
        let mut gone = None;
        for group in &groups {
            let Verdict::Send(plan) = &group.decision.verdict else {
                let because = settle::because(&group.decision);
                self.suppress(tx, group, because, dice, now).await?;
                continue;
            };
            if self.send(tx, group, plan, (&requests, &shelf), dice, now).await? {
                gone = Some((group.carrier.id, plan.at));
            }
        }
        // Of messages that go one by one none carries the others.
        let carrier = gone.filter(|_| groups.len() == 1).map(|gone| gone.0);
        let goes_at = gone.map(|gone| gone.1);
        batches::close(tx, self.tenant, self.batch, carrier, goes_at, now).await?;
        if carrier.is_some() {
            let to = MessageStatus::Queued;
            batches::follow(tx, self.tenant, self.batch, to, Provenance::Inferred, now).await?;
        }
        Ok(Outcome::Done)
    }

    /// All as one; or each by itself, where one has a file, or WhatsApp takes nothing but approved templates when they go, and the
    /// messages have some, but their being together has none.
    fn groups(&self, requests: &Requests, shelf: &Shelf, now: Timestamp) -> Vec<Group<'a>> {
        let all: Vec<&MessageRow> = self.open.members.iter().collect();
        let Some(whole) = self.group(all, requests, shelf, now) else {
            return Vec::new();
        };
        let goes_at = match &whole.decision.verdict {
            Verdict::Send(plan) => plan.at,
            _ => now,
        };
        let needs_template = self.open.channel == Channel::Whatsapp
            && !whole.facts.request.whatsapp_template
            && !whatsapp_window_open(&whole.facts.contact, goes_at);
        let has_file = |(_, request): &(MessageRow, StoredRequest)| {
            request.content.as_ref().is_some_and(|text| text.media.is_some())
        };
        let files = self.open.channel == Channel::Whatsapp && requests.iter().any(has_file);
        if whole.members.len() < 2 || !(needs_template || files) {
            return vec![whole];
        }
        let members = self.open.members.iter();
        let each: Vec<_> = members
            .filter_map(|row| self.group(vec![row], requests, shelf, now))
            .collect();
        if files || each.iter().any(|group| group.facts.request.whatsapp_template) {
            each
        } else {
            vec![whole]
        }
    }

    fn group(
        &self,
        members: Vec<&'a MessageRow>,
        requests: &Requests,
        shelf: &Shelf,
        now: Timestamp,
    ) -> Option<Group<'a>> {
        let marketing = members.iter().find(|row| row.category == Category::Marketing);
        let carrier = *marketing.or_else(|| members.first())?;
        let locale = compose::locale(carrier.locale.as_deref(), self.known, self.view);
        let bound_by =
            |message_type: &MessageType| shelf.has_whatsapp_template(self.tenant, message_type, locale);
        let bound = if members.len() == 1 {
            let asked = requests.iter().find(|(row, _)| row.id == carrier.id);
            asked.is_some_and(|(row, request)| request.content.is_none() && bound_by(&row.message_type))
        } else {
            batch_type().is_some_and(|message_type| bound_by(&message_type))
        };
        let mut asked = request_facts(carrier, true, bound);
        asked.channel = Some(self.open.channel);
        let facts = facts_of(self.known, asked, self.view.connected());
        let decision = decide(&facts, self.view.policy(), now);
        Some(Group {
            members,
            carrier,
            facts,
            decision,
        })
    }

    async fn shelf(&self, tx: &mut Conn) -> Result<Shelf, EngineError> {
        let types = self.open.members.iter().map(|row| row.message_type.clone());
        let types: Vec<_> = types
            .chain(batch_type())
            .map(|message_type| (self.tenant, message_type))
            .collect();
        self.inner.templates.load(tx, types).await
    }

    /// Whether it goes; content that cannot be made any more is suppressed.
    async fn send(
        &self,
        tx: &mut Conn,
        group: &Group<'_>,
        plan: &Plan,
        (requests, shelf): (&Requests, &Shelf),
        dice: &mut Dice,
        now: Timestamp,
    ) -> Result<bool, EngineError> {
        let composed: Result<Vec<Composed>, AcceptError> = plan
            .channels
            .iter()
            .map(|channel| self.compose(group, *channel, shelf, requests))
            .collect();
        let Ok(composed) = composed else {
            let because = Some("content.unreadable".to_owned());
            self.suppress(tx, group, because, dice, now).await?;
            return Ok(false);
        };
        self.write(tx, group, plan, &composed, dice, now).await?;
        Ok(true)
    }

    async fn requests(&self, tx: &mut Conn) -> Result<Requests, EngineError> {
        let wanted: Vec<_> = self
            .open
            .members
            .iter()
            .map(|row| (self.tenant, row.id))
            .collect();
        let contact = (self.tenant, self.open.contact);
        let keys = self
            .inner
            .store
            .keyring()
            .existing_contact_keys(tx, &[contact])
            .await?;
        let mut requests = Vec::with_capacity(wanted.len());
        for waiting in pending::lock(tx, &wanted).await? {
            let (Ok(key), Some(sealed)) = (keys.get(contact.0, contact.1), &waiting.request) else {
                continue;
            };
            let request = open_request(key, self.tenant, waiting.message.id, sealed)?;
            requests.push((waiting.message, request));
        }
        requests.sort_by_key(|(row, _)| (row.accepted_at, row.id));
        Ok(requests)
    }

    fn composition<'b>(
        &'b self,
        carrier: MessageId,
        shelf: &'b Shelf,
        row: &'b MessageRow,
        request: &'b StoredRequest,
    ) -> Composition<'b> {
        Composition {
            view: self.view,
            shelf,
            known: self.known,
            contact: row.contact,
            message: carrier,
            message_type: &row.message_type,
            category: row.category,
            locale: row.locale.as_deref(),
            request,
        }
    }

    /// One message is itself; several become the items of one.
    fn compose(
        &self,
        group: &Group<'_>,
        channel: Channel,
        shelf: &Shelf,
        requests: &Requests,
    ) -> Result<Composed, AcceptError> {
        let carrier = group.carrier;
        let is_member = |row: &MessageRow| group.members.iter().any(|member| member.id == row.id);
        let requests: Vec<_> = requests.iter().filter(|(row, _)| is_member(row)).collect();
        if let [(row, request)] = requests.as_slice() {
            return self.composition(carrier.id, shelf, row, request).render(channel);
        }
        let mut items = Vec::with_capacity(requests.len());
        for (row, request) in &requests {
            let rendered = self
                .composition(carrier.id, shelf, row, request)
                .render(channel)?;
            items.push(item(rendered.content, &row.message_type));
        }
        let attachments = requests
            .iter()
            .flat_map(|(_, request)| request.attachments.clone())
            .collect();
        let together = StoredRequest {
            context: Private::new(Map::from_iter([("items".to_owned(), Value::Array(items))])),
            content: None,
            drafted_email: None,
            attachments,
        };
        let message_type = batch_type().ok_or(AcceptError::NothingToSend)?;
        let composition = Composition {
            message_type: &message_type,
            category: carrier.category,
            ..self.composition(carrier.id, shelf, carrier, &together)
        };
        composition.render(channel)
    }

    async fn write(
        &self,
        tx: &mut Conn,
        group: &Group<'_>,
        plan: &Plan,
        composed: &[Composed],
        dice: &mut Dice,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let (tenant, message) = (self.tenant, group.carrier.id);
        let contact = (tenant, group.carrier.contact);
        let keys = self
            .inner
            .store
            .keyring()
            .existing_contact_keys(tx, &[contact])
            .await?;
        let key = keys.get(contact.0, contact.1)?;
        let mut contents = Vec::with_capacity(composed.len());
        for one in composed {
            let sealed = seal_content(key, tenant, message, one)?;
            contents.push(NewContent {
                tenant,
                message,
                channel: Some(one.channel),
                sealed,
                template: one.template,
            });
        }
        insert::contents(tx, &contents).await?;
        self.record(tx, group, dice, now).await?;
        pending::settle(tx, &[(tenant, message, settle::placement(&group.decision, now))]).await?;
        let delivery = DeliveryId(dice.uuid(now));
        let Some(channel) = plan.channels.first().copied() else {
            return Ok(());
        };
        let job = settle::send_job(
            self.inner,
            tenant,
            message,
            delivery,
            channel,
            plan.priority,
            plan.at,
        );
        if let Some(job) = enqueue(tx, &[job], now).await?.first() {
            let delivery = settle::first_delivery(tenant, message, delivery, plan, job.id, now);
            insert::deliveries(tx, &delivery.into_iter().collect::<Vec<_>>()).await?;
        }
        let data = json!({"batch": self.batch, "messages": group.members.len()});
        events::append(tx, &[self.event(message, "BatchClosed", data)], dice, now).await?;
        Ok(())
    }

    /// Records the decision on every member: each can be asked why it went, or did not.
    async fn record(
        &self,
        tx: &mut Conn,
        group: &Group<'_>,
        dice: &mut Dice,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let rows: Vec<_> = group
            .members
            .iter()
            .map(|row| {
                settle::recorded(
                    self.tenant,
                    row.id,
                    DecisionStage::Batch,
                    &group.facts,
                    &group.decision,
                    dice,
                    now,
                )
            })
            .collect();
        insert::decisions(tx, &rows).await?;
        Ok(())
    }

    async fn suppress(
        &self,
        tx: &mut Conn,
        group: &Group<'_>,
        because: Option<String>,
        dice: &mut Dice,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        self.record(tx, group, dice, now).await?;
        let mut placement = settle::placement(&group.decision, now);
        placement.status = MessageStatus::Suppressed;
        placement.waits_for = None;
        placement.planned_at = None;
        placement.queued_at = None;
        placement.ended_because = because;
        let places: Vec<_> = group
            .members
            .iter()
            .map(|row| (self.tenant, row.id, placement.clone()))
            .collect();
        pending::settle(tx, &places).await?;
        for row in &group.members {
            figures::communication(None, &row.message_type, MessageStatus::Suppressed);
        }
        let data = json!({"because": placement.ended_because});
        let events: Vec<NewEvent> = group
            .members
            .iter()
            .map(|row| self.event(row.id, "MessageSuppressed", data.clone()))
            .collect();
        events::append(tx, &events, dice, now).await?;
        Ok(())
    }

    fn event(&self, message: MessageId, kind: &str, data: Value) -> NewEvent {
        NewEvent {
            tenant: self.tenant,
            kind: kind.to_owned(),
            contact: Some(self.open.contact),
            message: Some(message),
            subject: None,
            data,
        }
    }
}

fn batch_type() -> Option<MessageType> {
    MessageType::parse(BATCH_TYPE).ok()
}

/// A rendered message as an item of another.
fn item(content: Content, message_type: &MessageType) -> Value {
    match content {
        Content::Email(email) => json!({"title": email.subject, "text": email.text}),
        // The free text where there is one: a batch is one.
        Content::WhatsappTemplate(WhatsappTemplate {
            free_text: Some(body),
            ..
        })
        | Content::Text { body } => {
            json!({"title": message_type.as_str().replace('_', " "), "text": body})
        }
        other => json!({"title": message_type.as_str().replace('_', " "), "text": other.preview()}),
    }
}
