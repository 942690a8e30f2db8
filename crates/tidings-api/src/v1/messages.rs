//! Messages in: one, a batch, cancelling, and the decision without sending.

use crate::ApiState;
use crate::auth::Caller;
use crate::check::Checks;
use crate::extract::{self, Fingerprinted, Json, Path};
use crate::problem::{Answer, FieldError, Problem, REPLAYED};
use crate::words::{CategoryWord, ChannelWord, MessageStatusWord, UrgencyWord};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_core::redact::Private;
use tidings_core::{Category, Channel, ContactId, MessageId, MessageStatus, MessageType, TenantId, Urgency};
use tidings_engine::providers::{Attachment, MediaKind, MediaSource};
use tidings_engine::{self as engine, AcceptError, AcceptRequest, IdempotencyKey, Recipient};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The largest body with messages, in bytes: a message's attachments, or a batch.
pub const MESSAGES_BODY_MAX: usize = 32 * 1024 * 1024;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(send_message))
        .routes(routes!(send_batch))
        .routes(routes!(preview_decision))
        .layer(DefaultBodyLimit::max(MESSAGES_BODY_MAX))
        .routes(routes!(cancel_message))
}

/// Send a message
///
/// The rules decide at once; the answer says what they said. It is durable: once answered, the message is not lost. With an
/// `Idempotency-Key` the same request can be sent again whenever its answer was lost: it gets the first answer, with
/// status 200 and the header `Idempotent-Replayed: true`. The key is kept for 24 hours; with another body it is refused.
/// At most 32 MiB.
#[utoipa::path(post, path = "/v1/messages", tag = "messages", request_body = MessageRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible characters; a UUID is a good one")),
    responses((status = 201, description = "Accepted", body = AcceptedView), (status = 200, description = "The earlier answer, or the earlier message with this source reference", body = AcceptedView),
        (status = 409, description = "A request with this key is being answered at this moment", body = Problem, content_type = "application/problem+json")),
    security(("api_key" = ["messages:write"])))]
async fn send_message(
    caller: Caller,
    State(state): State<ApiState>,
    extract::IdempotencyKey(key): extract::IdempotencyKey,
    Fingerprinted { body, fingerprint }: Fingerprinted<MessageRequest>,
) -> Answer<(StatusCode, HeaderMap, Json<AcceptedView>)> {
    let request = body.checked()?;
    let keyed = key.map(|key| IdempotencyKey {
        key,
        body_hash: fingerprint,
    });
    let answer = accept(&state, caller.tenant, keyed, vec![request]).await.pop();
    let accepted = answer.ok_or_else(Problem::internal)??;
    let status = if accepted.duplicate {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, replayed(accepted.duplicate), Json(accepted.into())))
}

/// Send up to 1000 messages
///
/// Each request is taken or refused by itself; the answer has one result for each, in their order. With an
/// `Idempotency-Key` the whole batch gets its first answer again. At most 32 MiB.
#[utoipa::path(post, path = "/v1/messages/batch", tag = "messages", request_body = MessageBatch,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible characters; a UUID is a good one")),
    responses((status = 207, description = "One result a request", body = BatchView)),
    security(("api_key" = ["messages:write"])))]
async fn send_batch(
    caller: Caller,
    State(state): State<ApiState>,
    extract::IdempotencyKey(key): extract::IdempotencyKey,
    Fingerprinted { body, fingerprint }: Fingerprinted<MessageBatch>,
) -> Answer<(StatusCode, Json<BatchView>)> {
    let mut checks = Checks::default();
    checks.count("/messages", body.messages.len(), 1, engine::MAX_REQUESTS);
    checks.finish()?;
    let asked: Vec<Answer<AcceptRequest>> = body.messages.into_iter().map(one_of_batch).collect();
    let keyed = key.map(|key| IdempotencyKey {
        key,
        body_hash: fingerprint,
    });
    let good = asked
        .iter()
        .filter_map(|one| one.as_ref().ok().cloned())
        .collect();
    let mut answers = accept(&state, caller.tenant, keyed, good).await.into_iter();
    let results = asked.into_iter().map(|one| match one {
        Ok(_) => answers
            .next()
            .unwrap_or(Err(AcceptError::Busy))
            .map_err(Problem::from),
        Err(problem) => Err(problem),
    });
    Ok((StatusCode::MULTI_STATUS, Json(BatchView::of(results))))
}

fn one_of_batch(value: Value) -> Answer<AcceptRequest> {
    extract::parse_value::<MessageRequest>(value)?.checked()
}

async fn accept(
    state: &ApiState,
    tenant: TenantId,
    key: Option<IdempotencyKey>,
    requests: Vec<AcceptRequest>,
) -> Vec<Result<engine::Accepted, AcceptError>> {
    match key {
        Some(key) => state.engine().accept_with_key(tenant, key, requests).await,
        None => state.engine().accept(tenant, requests).await,
    }
}

fn replayed(duplicate: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if duplicate {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    headers
}

/// Ask the rules without sending
///
/// What would become of the request now, with every rule's reason. Nothing is written.
#[utoipa::path(post, path = "/v1/messages/preview-decision", tag = "messages", request_body = MessageRequest,
    responses((status = 200, description = "The decision", body = Object)),
    security(("api_key" = ["messages:read"])))]
async fn preview_decision(
    caller: Caller,
    State(state): State<ApiState>,
    Json(body): Json<MessageRequest>,
) -> Answer<Json<Value>> {
    let told = state
        .engine()
        .dry_run(caller.tenant, &body.checked()?, state.now())
        .await?;
    Ok(Json(serde_json::to_value(told).unwrap_or_default()))
}

/// Cancel a message
///
/// Only while no call to a provider has begun.
#[utoipa::path(post, path = "/v1/messages/{message_id}/cancel", tag = "messages",
    params(("message_id" = Uuid, Path, description = "The message")),
    responses((status = 204, description = "Cancelled"), (status = 409, description = "Too late", body = Problem, content_type = "application/problem+json")),
    security(("api_key" = ["messages:write"])))]
async fn cancel_message(
    caller: Caller,
    State(state): State<ApiState>,
    Path(message): Path<Uuid>,
) -> Answer<StatusCode> {
    state.engine().cancel(caller.tenant, MessageId(message)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A message to send: a type whose template is filled with `context`, or `content` that goes out as it stands.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "to": {"external_id": "C-1017"},
    "message_type": "reminder",
    "urgency": "normal",
    "context": {"client_name": "Ann Weaver", "subject": "your appointment", "date": "2027-03-02"},
    "source_reference": "appointment-883"
}))]
pub struct MessageRequest {
    /// To whom.
    pub to: RecipientBody,
    /// What kind of message; decides the template. May be left out with `content`.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[a-z][a-z0-9_]*$")]
    pub message_type: Option<MessageType>,
    /// Values for the template's variables; at most 256 KiB as JSON.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub context: Map<String, Value>,
    /// Instead of a template.
    pub content: Option<ContentBody>,
    /// How soon; the type's own when left out.
    #[schema(value_type = Option<UrgencyWord>)]
    pub urgency: Option<Urgency>,
    /// What it is in law; the type's own when left out.
    #[schema(value_type = Option<CategoryWord>)]
    pub category: Option<Category>,
    /// The channel, where it must be this one first; the rules choose when left out.
    #[schema(value_type = Option<ChannelWord>)]
    pub channel: Option<Channel>,
    /// Not before.
    pub send_at: Option<Timestamp>,
    /// Not after: what has not gone out by then is given up.
    pub expires_at: Option<Timestamp>,
    /// Your reference of what caused it; the same type and reference is never sent twice.
    #[schema(min_length = 1, max_length = 500)]
    pub source_reference: Option<String>,
    /// BCP 47 language tag; the contact's when left out.
    #[schema(max_length = 35)]
    pub locale: Option<String>,
    /// Files that go with an e-mail; 10 MiB of base64 in all.
    #[serde(default)]
    #[schema(max_items = 10)]
    pub attachments: Vec<AttachmentBody>,
}

/// To whom: exactly one of the three.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(example = json!({"external_id": "C-1017"}))]
pub enum RecipientBody {
    /// A contact by its id.
    ContactId(Uuid),
    /// A contact by your own id of it.
    ExternalId(String),
    /// A contact as given: found by its external id or an address, else made.
    Contact(InlineContactBody),
}

/// A contact as given with a request.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"external_id": "C-1017", "name": "Ann Weaver", "email": "ann@example.com", "zone": "America/Chicago"}))]
pub struct InlineContactBody {
    /// Your own id of it.
    #[schema(min_length = 1, max_length = 200)]
    pub external_id: Option<String>,
    /// Its name.
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// An e-mail address.
    #[schema(max_length = 254)]
    pub email: Option<String>,
    /// A phone number.
    #[schema(max_length = 64)]
    pub phone: Option<String>,
    /// IANA time zone.
    #[schema(max_length = 64)]
    pub zone: Option<String>,
    /// BCP 47 language tag.
    #[schema(max_length = 35)]
    pub locale: Option<String>,
    /// ISO 3166 alpha-2 code in capitals.
    #[schema(pattern = "^[A-Z]{2}$")]
    pub country: Option<String>,
}

/// A text that is sent as it stands.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"subject": "Your drawings", "body": "They are ready.\n\nYou can fetch them any day before six."}))]
pub struct ContentBody {
    /// Subject of an e-mail; one line.
    #[schema(max_length = 250)]
    pub subject: Option<String>,
    /// Plain text; empty lines part paragraphs.
    #[schema(min_length = 1, max_length = 102_400)]
    pub body: String,
    /// A file that WhatsApp carries with the text as its caption, which then has at most 1,024 characters; other channels carry the
    /// text alone.
    pub media: Option<MediaBody>,
}

/// A file that goes with a text by WhatsApp: by `link` or by `id`.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"kind": "document", "link": "https://files.example.com/plan.pdf", "filename": "plan.pdf"}))]
pub struct MediaBody {
    /// What it is. Audio shows no caption.
    #[schema(value_type = String, pattern = "^(image|document|audio|video)$")]
    pub kind: MediaKind,
    /// A public https URL; WhatsApp fetches it.
    #[schema(min_length = 9, max_length = 2_048)]
    pub link: Option<String>,
    /// The id that an upload to WhatsApp returned.
    #[schema(min_length = 1, max_length = 2_048)]
    pub id: Option<String>,
    /// File name of a document.
    #[schema(min_length = 1, max_length = 200)]
    pub filename: Option<String>,
}

/// A file that goes with an e-mail.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AttachmentBody {
    /// File name, without a path.
    #[schema(min_length = 1, max_length = 200)]
    pub filename: String,
    /// MIME type.
    #[schema(min_length = 3, max_length = 100)]
    pub content_type: String,
    /// Base64, standard alphabet, padded.
    pub content_base64: String,
    /// For an inline image: the `cid:` it is referred to by.
    #[schema(max_length = 100)]
    pub content_id: Option<String>,
}

/// What became of a request.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "message_id": "01890a5d-ac96-774b-bcce-b302099a8057", "contact_id": "01890a5d-ac96-774b-bcce-b302099a8058",
    "status": "queued", "verdict": {"verdict": "send", "channels": ["email", "sms"], "at": "2027-03-01T15:00:00Z", "priority": 60},
    "because": null, "duplicate": false
}))]
pub struct AcceptedView {
    /// The message, new or earlier.
    pub message_id: Uuid,
    /// The contact it goes to.
    pub contact_id: Uuid,
    /// Where it stands.
    #[schema(value_type = MessageStatusWord)]
    pub status: MessageStatus,
    /// What the rules said: `send` with its plan, `hold`, `batch`, `approve`, `suppress` or `duplicate`.
    #[schema(value_type = Object)]
    pub verdict: Value,
    /// The code of the reason that decided, where one stood in the way.
    pub because: Option<String>,
    /// It is the answer of an earlier request with the same source reference or key.
    pub duplicate: bool,
}

impl From<engine::Accepted> for AcceptedView {
    fn from(accepted: engine::Accepted) -> Self {
        Self {
            message_id: accepted.message_id.0,
            contact_id: accepted.contact_id.0,
            status: accepted.status,
            verdict: serde_json::to_value(&accepted.verdict).unwrap_or_default(),
            because: accepted.because,
            duplicate: accepted.duplicate,
        }
    }
}

/// Up to 1000 requests at once.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"messages": [{"to": {"external_id": "C-1017"}, "message_type": "reminder", "context": {"client_name": "Ann Weaver"}}]}))]
pub struct MessageBatch {
    /// The requests; each is taken or refused by itself.
    #[schema(value_type = Vec<MessageRequest>, min_items = 1, max_items = 1000)]
    pub messages: Vec<Value>,
}

/// What became of each request of a batch, in their order.
#[derive(Serialize, ToSchema)]
pub struct BatchView {
    /// How many were taken.
    pub accepted: usize,
    /// How many were refused; nothing was written for these.
    pub refused: usize,
    /// One entry a request.
    pub results: Vec<BatchResult>,
}

impl BatchView {
    fn of(results: impl Iterator<Item = Answer<engine::Accepted>>) -> Self {
        let result = |(index, result): (usize, Answer<engine::Accepted>)| match result {
            Ok(accepted) => BatchResult {
                index,
                status: if accepted.duplicate { 200 } else { 201 },
                message: Some(accepted.into()),
                problem: None,
            },
            Err(problem) => BatchResult {
                index,
                status: problem.status.as_u16(),
                message: None,
                problem: Some(problem),
            },
        };
        let results: Vec<BatchResult> = results.enumerate().map(result).collect();
        let accepted = results.iter().filter(|result| result.message.is_some()).count();
        Self {
            accepted,
            refused: results.len() - accepted,
            results,
        }
    }
}

/// What became of one request.
#[derive(Serialize, ToSchema)]
pub struct BatchResult {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// The status it would have had alone: 201, 200 for a duplicate, or that of its problem.
    pub status: u16,
    /// The message, when it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<AcceptedView>,
    /// The problem, when it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

impl MessageRequest {
    /// What the form alone can tell wrong; the engine checks the rest.
    pub(crate) fn checked(self) -> Answer<AcceptRequest> {
        let mut checks = Checks::default();
        checks.optional_text(
            "/source_reference",
            self.source_reference.as_deref(),
            1,
            engine::MAX_SOURCE_REFERENCE,
        );
        checks.locale("/locale", self.locale.as_deref());
        if let RecipientBody::ExternalId(id) = &self.to {
            checks.text("/to/external_id", id, 1, 200);
        }
        if let RecipientBody::Contact(contact) = &self.to {
            contact.check(&mut checks);
        }
        let file = self.content.as_ref().and_then(|content| content.media.as_ref());
        if file.is_some_and(|file| file.link.is_some() == file.id.is_some()) {
            checks.add("/content/media", "field.choice", "give either a link or an id");
        }
        checks.count("/attachments", self.attachments.len(), 0, engine::MAX_ATTACHMENTS);
        for (index, file) in self.attachments.iter().enumerate() {
            checks.text(&format!("/attachments/{index}/filename"), &file.filename, 1, 200);
            checks.text(
                &format!("/attachments/{index}/content_type"),
                &file.content_type,
                3,
                100,
            );
            checks.optional_text(
                &format!("/attachments/{index}/content_id"),
                file.content_id.as_deref(),
                1,
                100,
            );
        }
        checks.finish()?;
        Ok(self.into())
    }
}

impl InlineContactBody {
    fn check(&self, checks: &mut Checks) {
        checks.optional_text("/to/contact/external_id", self.external_id.as_deref(), 1, 200);
        checks.optional_text("/to/contact/name", self.name.as_deref(), 1, 200);
        checks.zone("/to/contact/zone", self.zone.as_deref());
        checks.locale("/to/contact/locale", self.locale.as_deref());
        checks.country("/to/contact/country", self.country.as_deref());
        if let Some(email) = &self.email {
            checks.address("/to/contact/email", Channel::Email, email, None);
        }
        if self.external_id.is_none() && self.email.is_none() && self.phone.is_none() {
            checks.add(
                "/to/contact",
                "field.choice",
                "give an external_id, an email or a phone, to find it again by",
            );
        }
    }
}

impl From<ContentBody> for engine::DirectContent {
    fn from(body: ContentBody) -> Self {
        Self {
            subject: body.subject.map(Private::new),
            body: Private::new(body.body),
            media: body.media.map(|file| engine::DirectMedia {
                kind: file.kind,
                // That exactly one is given was checked; with none the engine refuses the empty link.
                source: Private::new(match (file.link, file.id) {
                    (None, Some(id)) => MediaSource::Id(id),
                    (link, _) => MediaSource::Link(link.unwrap_or_default()),
                }),
                filename: file.filename.map(Private::new),
            }),
        }
    }
}

impl From<MessageRequest> for AcceptRequest {
    fn from(body: MessageRequest) -> Self {
        Self {
            to: body.to.into(),
            message_type: body.message_type,
            context: Private::new(body.context),
            content: body.content.map(engine::DirectContent::from),
            urgency: body.urgency,
            category: body.category,
            channel: body.channel,
            send_at: body.send_at,
            expires_at: body.expires_at,
            source_reference: body.source_reference,
            locale: body.locale,
            attachments: body.attachments.into_iter().map(Attachment::from).collect(),
            words: None,
        }
    }
}

impl From<AttachmentBody> for Attachment {
    fn from(body: AttachmentBody) -> Self {
        Self {
            filename: body.filename,
            content_type: body.content_type,
            content_base64: body.content_base64,
            content_id: body.content_id,
        }
    }
}

impl From<RecipientBody> for Recipient {
    fn from(body: RecipientBody) -> Self {
        match body {
            RecipientBody::ContactId(id) => Self::ContactId(ContactId(id)),
            RecipientBody::ExternalId(id) => Self::ExternalId(id),
            RecipientBody::Contact(contact) => Self::Contact(engine::InlineContact {
                external_id: contact.external_id,
                name: contact.name.map(Private::new),
                email: contact.email.map(Private::new),
                phone: contact.phone.map(Private::new),
                zone: contact.zone,
                locale: contact.locale,
                country: contact.country,
            }),
        }
    }
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Self {
        let detail = error.to_string();
        let field = |pointer: String, code: &'static str| {
            Self::invalid(vec![FieldError::new(pointer, code, detail.clone())])
        };
        match &error {
            AcceptError::UnknownTemplate { .. } => field("/message_type".to_owned(), "template.unknown"),
            AcceptError::NothingToSend => field("/message_type".to_owned(), "field.required"),
            AcceptError::MissingVariables { names, .. } => Self::invalid(missing(names)),
            AcceptError::Content { .. } => field("/context".to_owned(), "content.invalid"),
            AcceptError::UnknownContact { .. } => Self::not_found("contact"),
            AcceptError::ErasedContact => Self::conflict("contact.erased", detail),
            AcceptError::MalformedAddress { field: name, .. } => {
                field(format!("/to/contact/{name}"), "address.invalid")
            }
            AcceptError::WrongZone { .. } => field("/to/contact/zone".to_owned(), "zone.unknown"),
            AcceptError::Invalid { field: name, .. } => field(pointer(name), "value.invalid"),
            AcceptError::Expired { .. } => field("/expires_at".to_owned(), "expires_at.past"),
            AcceptError::TooLarge { field: name, .. } => field(pointer(name), "value.length"),
            AcceptError::TenantNotActive { .. } => Self::forbidden("tenant.not_active", detail),
            AcceptError::UnknownTenant => Self::not_found("tenant"),
            AcceptError::InProgress => Self {
                retry_after_seconds: Some(1),
                ..Self::conflict("idempotency.in_progress", detail)
            },
            AcceptError::KeyReused => {
                Self::invalid_field("#header/Idempotency-Key", "idempotency.key_reused", detail)
            }
            AcceptError::Busy => Self::too_many(detail, 5),
            AcceptError::Unavailable { reason } => {
                tracing::warn!(%reason, "requests could not be stored");
                crate::failure::database_unreachable()
            }
        }
    }
}

/// `attachments[0].filename` and `to.contact.zone` as pointers.
fn pointer(field: &str) -> String {
    format!("/{}", field.replace(['.', '['], "/").replace(']', ""))
}

fn missing(names: &[String]) -> Vec<FieldError> {
    let detail = "the template needs it; add it to context";
    let error =
        |name: &String| FieldError::new(format!("/context{}", pointer(name)), "variable.missing", detail);
    names.iter().map(error).collect()
}
