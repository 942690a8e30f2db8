//! Closing batches: what gathered for one contact and channel goes as one message, carried by the oldest.

use crate::accept::facts_of;
use crate::compose::{Composed, Composition, StoredRequest, open_request, seal_content};
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
use tidings_core::decide::{Decision, Facts, Plan, Verdict, decide};
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
    let Some(carrier) = carrier(&open) else {
        batches::close(tx, tenant, batch, None, None, now).await?;
        return Ok(Outcome::Done);
    };
    let Some(known) = facts::load(tx, &[query(carrier)], now).await?.pop().flatten() else {
        return Ok(Outcome::Done);
    };
    let mut asked = request_facts(carrier, true, false);
    asked.channel = Some(open.channel);
    let facts = facts_of(&known, asked, view.connected());
    let decision = decide(&facts, view.policy(), now);
    let closing = Closing {
        inner,
        view,
        tenant,
        batch,
        open: &open,
        carrier,
        known: &known,
        facts: &facts,
        decision: &decision,
    };
    match &decision.verdict {
        Verdict::Send(plan) => closing.send(tx, plan, dice, now).await,
        Verdict::Hold { until }
        | Verdict::Approve { expires_at: until }
        | Verdict::Batch { closes_at: until, .. } => {
            closing.record(tx, dice, now).await?;
            Ok(wait(
                *until,
                ErrorCategory::Transient,
                "the batch waits for its hour",
            ))
        }
        Verdict::Suppress | Verdict::Duplicate { .. } => {
            closing
                .suppress(tx, settle::because(&decision), dice, now)
                .await?;
            Ok(Outcome::Done)
        }
    }
}

/// The message the strictest rules apply to carries the others: marketing first, then the oldest.
fn carrier(open: &OpenBatchRows) -> Option<&MessageRow> {
    open.members
        .iter()
        .find(|row| row.category == Category::Marketing)
        .or_else(|| open.members.first())
}

/// A batch at its end.
struct Closing<'a> {
    inner: &'a Inner,
    view: &'a TenantView,
    tenant: TenantId,
    batch: BatchId,
    open: &'a OpenBatchRows,
    carrier: &'a MessageRow,
    known: &'a ContactKnown,
    facts: &'a Facts,
    decision: &'a Decision,
}

impl Closing<'_> {
    async fn send(
        &self,
        tx: &mut Conn,
        plan: &Plan,
        dice: &mut Dice,
        now: Timestamp,
    ) -> Result<Outcome, EngineError> {
        let requests = self.requests(tx).await?;
        let mut types: Vec<_> = self
            .open
            .members
            .iter()
            .map(|row| (self.tenant, row.message_type.clone()))
            .collect();
        let batch_type = MessageType::parse(BATCH_TYPE).ok();
        types.extend(batch_type.clone().map(|batch_type| (self.tenant, batch_type)));
        let shelf = self.inner.templates.load(tx, types).await?;
        let composed: Result<Vec<Composed>, AcceptError> = plan
            .channels
            .iter()
            .map(|channel| self.compose(*channel, &shelf, &requests, batch_type.as_ref()))
            .collect();
        let Ok(composed) = composed else {
            self.suppress(tx, Some("content.unreadable".to_owned()), dice, now)
                .await?;
            return Ok(Outcome::Done);
        };
        self.write(tx, plan, &composed, dice, now).await?;
        Ok(Outcome::Done)
    }

    async fn requests(&self, tx: &mut Conn) -> Result<Vec<(MessageRow, StoredRequest)>, EngineError> {
        let wanted: Vec<_> = self
            .open
            .members
            .iter()
            .map(|row| (self.tenant, row.id))
            .collect();
        let contact = (self.tenant, self.carrier.contact);
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
        shelf: &'b Shelf,
        row: &'b MessageRow,
        request: &'b StoredRequest,
    ) -> Composition<'b> {
        Composition {
            view: self.view,
            shelf,
            known: self.known,
            contact: row.contact,
            message: self.carrier.id,
            message_type: &row.message_type,
            category: row.category,
            locale: row.locale.as_deref(),
            request,
        }
    }

    /// One message is itself; several become the items of one.
    fn compose(
        &self,
        channel: Channel,
        shelf: &Shelf,
        requests: &[(MessageRow, StoredRequest)],
        batch_type: Option<&MessageType>,
    ) -> Result<Composed, AcceptError> {
        if let [(row, request)] = requests {
            return self.composition(shelf, row, request).render(channel);
        }
        let mut items = Vec::with_capacity(requests.len());
        for (row, request) in requests {
            items.push(item(
                self.composition(shelf, row, request).render(channel)?.content,
                &row.message_type,
            ));
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
        let message_type = batch_type.ok_or(AcceptError::NothingToSend)?;
        let composition = Composition {
            message_type,
            category: self.carrier.category,
            ..self.composition(shelf, self.carrier, &together)
        };
        composition.render(channel)
    }

    async fn write(
        &self,
        tx: &mut Conn,
        plan: &Plan,
        composed: &[Composed],
        dice: &mut Dice,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let (tenant, message) = (self.tenant, self.carrier.id);
        let contact = (tenant, self.carrier.contact);
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
        self.record(tx, dice, now).await?;
        pending::settle(tx, &[(tenant, message, settle::placement(self.decision, now))]).await?;
        batches::close(tx, tenant, self.batch, Some(message), Some(plan.at), now).await?;
        batches::follow(
            tx,
            tenant,
            self.batch,
            MessageStatus::Queued,
            Provenance::Inferred,
            now,
        )
        .await?;
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
        let data = json!({"batch": self.batch, "messages": self.open.members.len()});
        events::append(tx, &[self.event("BatchClosed", data)], dice, now).await?;
        Ok(())
    }

    /// Records the decision on every member: each can be asked why it went, or did not.
    async fn record(&self, tx: &mut Conn, dice: &mut Dice, now: Timestamp) -> Result<(), EngineError> {
        let rows: Vec<_> = self
            .open
            .members
            .iter()
            .map(|row| {
                settle::recorded(
                    self.tenant,
                    row.id,
                    DecisionStage::Batch,
                    self.facts,
                    self.decision,
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
        because: Option<String>,
        dice: &mut Dice,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        self.record(tx, dice, now).await?;
        let mut placement = settle::placement(self.decision, now);
        placement.status = MessageStatus::Suppressed;
        placement.waits_for = None;
        placement.planned_at = None;
        placement.queued_at = None;
        placement.ended_because = because;
        let places: Vec<_> = self
            .open
            .members
            .iter()
            .map(|row| (self.tenant, row.id, placement.clone()))
            .collect();
        pending::settle(tx, &places).await?;
        for row in &self.open.members {
            figures::communication(None, &row.message_type, MessageStatus::Suppressed);
        }
        batches::close(tx, self.tenant, self.batch, None, None, now).await?;
        let events: Vec<NewEvent> = self
            .open
            .members
            .iter()
            .map(|row| NewEvent {
                message: Some(row.id),
                ..self.event("MessageSuppressed", json!({"because": placement.ended_because}))
            })
            .collect();
        events::append(tx, &events, dice, now).await?;
        Ok(())
    }

    fn event(&self, kind: &str, data: Value) -> NewEvent {
        NewEvent {
            tenant: self.tenant,
            kind: kind.to_owned(),
            contact: Some(self.carrier.contact),
            message: Some(MessageId(self.carrier.id.0)),
            subject: None,
            data,
        }
    }
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
