//! The approval queue: what waits for a person's yes, what it would say, and a yes to other words.

use crate::approve::not_waiting;
use crate::compose::{Composition, StoredRequest, open_request, seal_request};
use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use crate::hold::query;
use crate::request::{DirectContent, MAX_CONTEXT_BYTES, MAX_DIRECT_BYTES};
use crate::tenancy;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tidings_core::decide::Verdict;
use tidings_core::redact::Private;
use tidings_core::{Category, Channel, ContactId, MessageId, MessageType, TenantId, Urgency, WaitsFor};
use tidings_providers::Content;
use tidings_store::events::{self, NewEvent};
use tidings_store::messages::dispatch::MessageRow;
use tidings_store::messages::record::NewContent;
use tidings_store::messages::{facts, insert, pending};
use tidings_store::{Conn, Page};

/// Nothing waits longer for a person.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(24 * 90);

/// A message that waits for a yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApprovalTold {
    /// The message.
    pub message_id: MessageId,
    /// To whom.
    pub contact_id: ContactId,
    /// Its type.
    pub message_type: MessageType,
    /// Its category.
    pub category: Category,
    /// Its urgency.
    pub urgency: Urgency,
    /// The caller's reference; tells the campaign.
    pub source_reference: Option<String>,
    /// Since when.
    pub accepted_at: Timestamp,
    /// Until when; then it is cancelled.
    pub expires_at: Option<Timestamp>,
}

/// What a waiting message would say. For those who may read the tenant's messages; never for logs.
#[derive(Clone, Debug, Serialize)]
pub struct WaitingPreview {
    /// The message.
    #[serde(flatten)]
    pub message: ApprovalTold,
    /// The template's variables.
    pub context: Map<String, Value>,
    /// One entry a channel it can go by.
    pub contents: Vec<ChannelPreview>,
}

/// What it would say on a channel.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelPreview {
    /// The channel.
    pub channel: Channel,
    /// The subject of an e-mail.
    pub subject: Option<String>,
    /// The text.
    pub text: String,
    /// The HTML of an e-mail.
    pub html: Option<String>,
}

/// What a person changes before the yes.
#[derive(Clone, Debug)]
pub enum ApprovalEdit {
    /// Other values for variables; `null` takes one out, those not named stay. The words are the template's then, also
    /// where a model had drafted them.
    Context(Private<Map<String, Value>>),
    /// A text instead of the template.
    Content(DirectContent),
}

/// A waiting message with what it is rendered from.
struct Waiting {
    row: MessageRow,
    request: StoredRequest,
}

impl Engine {
    /// Messages that wait for a yes, the oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn approvals(
        &self,
        tenant: TenantId,
        after: Option<MessageId>,
        limit: u32,
    ) -> Result<Page<ApprovalTold, MessageId>, EngineError> {
        let oldest = self.now().saturating_sub(LONGEST_WAIT).unwrap_or(Timestamp::MIN);
        let mut tx = self.inner.store.tenant(tenant).tx().await?;
        let page = pending::awaiting_approval(&mut tx, oldest, after, limit).await?;
        tx.commit().await?;
        Ok(Page {
            items: page.items.iter().map(told).collect(),
            next: page.next,
        })
    }

    /// What a message that waits for a yes would say, on every channel it can go by.
    ///
    /// # Errors
    /// When there is no such message, it does not wait for approval, or it can no longer be rendered.
    pub async fn preview_waiting(
        &self,
        tenant: TenantId,
        message: MessageId,
    ) -> Result<WaitingPreview, EngineError> {
        let inner = &self.inner;
        let mut tx = inner.tx().await?;
        let waiting = open(inner, &mut tx, tenant, message).await?;
        let contents = render(inner, &mut tx, &waiting, self.now()).await?;
        tx.rollback().await?;
        Ok(WaitingPreview {
            message: told(&waiting.row),
            context: waiting.request.context.into_exposed(),
            contents,
        })
    }

    /// Approves a message with other words: what is changed is rendered first, so that an edit that cannot be sent changes
    /// nothing; then the rules are asked again.
    ///
    /// # Errors
    /// When there is no such message, it does not wait for approval, or the edit cannot be rendered.
    pub async fn approve_edited(
        &self,
        tenant: TenantId,
        message: MessageId,
        edit: ApprovalEdit,
    ) -> Result<Verdict, EngineError> {
        let inner = &self.inner;
        let now = self.now();
        let mut tx = inner.tx().await?;
        let mut waiting = open(inner, &mut tx, tenant, message).await?;
        match edit {
            ApprovalEdit::Context(changes) => {
                let mut context = waiting.request.context.into_exposed();
                for (name, value) in changes.into_exposed() {
                    if value.is_null() {
                        context.remove(&name);
                    } else {
                        context.insert(name, value);
                    }
                }
                waiting.request.context = Private::new(context);
            }
            ApprovalEdit::Content(content) if content.body.expose().len() > MAX_DIRECT_BYTES => {
                return Err(too_large("content.body", MAX_DIRECT_BYTES));
            }
            ApprovalEdit::Content(content) => {
                if let Some(problem) = content.problem_of_file() {
                    return Err(EngineError::Conflict {
                        problem: format!("content.media: {problem}"),
                    });
                }
                waiting.request.content = Some(content);
            }
        }
        // A draft says what held before the edit.
        waiting.request.drafted_email = None;
        let context = serde_json::to_vec(&waiting.request.context).map_or(usize::MAX, |json| json.len());
        if context > MAX_CONTEXT_BYTES {
            return Err(too_large("context", MAX_CONTEXT_BYTES));
        }
        render(inner, &mut tx, &waiting, now).await?;
        let pair = (tenant, waiting.row.contact);
        let keys = inner
            .store
            .keyring()
            .existing_contact_keys(&mut tx, &[pair])
            .await?;
        let sealed = seal_request(keys.get(pair.0, pair.1)?, tenant, message, &waiting.request)?;
        let content = NewContent {
            tenant,
            message,
            channel: None,
            sealed,
            template: None,
        };
        insert::contents(&mut tx, &[content]).await?;
        let event = NewEvent {
            tenant,
            kind: "MessageEdited".to_owned(),
            contact: Some(pair.1),
            message: Some(message),
            subject: None,
            data: json!({}),
        };
        events::append(&mut tx, &[event], &mut inner.dice(), now).await?;
        let verdict = self.approve_within(&mut tx, tenant, message, now).await?;
        tx.commit().await?;
        Ok(verdict)
    }
}

fn too_large(field: &str, limit: usize) -> EngineError {
    EngineError::Conflict {
        problem: format!("{field} is larger than {limit} bytes; shorten it. Nothing was changed"),
    }
}

async fn open(
    inner: &Inner,
    conn: &mut Conn,
    tenant: TenantId,
    message: MessageId,
) -> Result<Waiting, EngineError> {
    let found = pending::lock(conn, &[(tenant, message)]).await?;
    let found = found
        .into_iter()
        .find(|one| one.message.waits_for == Some(WaitsFor::Approval))
        .ok_or_else(|| not_waiting(message))?;
    let row = found.message;
    let pair = (tenant, row.contact);
    let keys = inner.store.keyring().existing_contact_keys(conn, &[pair]).await?;
    let sealed = found.request.ok_or_else(|| not_waiting(message))?;
    let request = open_request(keys.get(pair.0, pair.1)?, tenant, message, &sealed)?;
    Ok(Waiting { row, request })
}

/// Renders for every channel the message can go by and the contact has an address on.
async fn render(
    inner: &Inner,
    conn: &mut Conn,
    waiting: &Waiting,
    now: Timestamp,
) -> Result<Vec<ChannelPreview>, EngineError> {
    let row = &waiting.row;
    let views = tenancy::load(inner, conn, [row.tenant]).await?;
    let shelf = inner
        .templates
        .load(conn, [(row.tenant, row.message_type.clone())])
        .await?;
    let known = facts::load(conn, &[query(row)], now).await?;
    let (Some(view), Some(Some(known))) = (views.get(&row.tenant), known.into_iter().next()) else {
        return Err(not_waiting(row.id));
    };
    let composition = Composition {
        view,
        shelf: &shelf,
        known: &known,
        contact: row.contact,
        message: row.id,
        message_type: &row.message_type,
        category: row.category,
        locale: row.locale.as_deref(),
        request: &waiting.request,
    };
    let reachable = |channel: &Channel| known.indexes.iter().any(|(of, _)| of == channel);
    row.renderable_channels
        .iter()
        .filter(|channel| reachable(channel))
        .map(|channel| {
            let composed = composition
                .render(*channel)
                .map_err(|error| EngineError::Conflict {
                    problem: format!("it cannot be rendered for {channel}: {error}; nothing was changed"),
                })?;
            Ok(preview(*channel, composed.content))
        })
        .collect()
}

fn preview(channel: Channel, content: Content) -> ChannelPreview {
    match content {
        Content::Email(email) => ChannelPreview {
            channel,
            subject: Some(email.subject),
            text: email.text,
            html: email.html,
        },
        other => ChannelPreview {
            channel,
            subject: None,
            text: other.preview(),
            html: None,
        },
    }
}

fn told(row: &MessageRow) -> ApprovalTold {
    ApprovalTold {
        message_id: row.id,
        contact_id: row.contact,
        message_type: row.message_type.clone(),
        category: row.category,
        urgency: row.urgency,
        source_reference: row.source_reference.clone(),
        accepted_at: row.accepted_at,
        expires_at: row.decide_again_at,
    }
}
