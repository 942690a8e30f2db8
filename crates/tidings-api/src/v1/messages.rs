//! Messages in: one, a batch, cancelling, and the decision without sending.

use crate::check::Checks;
use crate::problem::{Answer, FieldError, Problem};
use crate::words::{CategoryWord, ChannelWord, MessageStatusWord, UrgencyWord};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_core::redact::Private;
use tidings_core::{Category, Channel, ContactId, MessageStatus, MessageType, Urgency};
use tidings_engine::providers::Attachment;
use tidings_engine::request::{self, AcceptError, AcceptRequest, Recipient};
use utoipa::ToSchema;
use uuid::Uuid;

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

impl From<request::Accepted> for AcceptedView {
    fn from(accepted: request::Accepted) -> Self {
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
        checks.optional_text("/source_reference", self.source_reference.as_deref(), 1, request::MAX_SOURCE_REFERENCE);
        checks.locale("/locale", self.locale.as_deref());
        if let RecipientBody::ExternalId(id) = &self.to {
            checks.text("/to/external_id", id, 1, 200);
        }
        if let RecipientBody::Contact(contact) = &self.to {
            contact.check(&mut checks);
        }
        checks.count("/attachments", self.attachments.len(), 0, request::MAX_ATTACHMENTS);
        for (index, file) in self.attachments.iter().enumerate() {
            checks.text(&format!("/attachments/{index}/filename"), &file.filename, 1, 200);
            checks.text(&format!("/attachments/{index}/content_type"), &file.content_type, 3, 100);
            checks.optional_text(&format!("/attachments/{index}/content_id"), file.content_id.as_deref(), 1, 100);
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
            checks.add("/to/contact", "field.choice", "give an external_id, an email or a phone, to find it again by");
        }
    }
}

impl From<MessageRequest> for AcceptRequest {
    fn from(body: MessageRequest) -> Self {
        Self {
            to: body.to.into(),
            message_type: body.message_type,
            context: Private::new(body.context),
            content: body.content.map(|content| request::DirectContent {
                subject: content.subject.map(Private::new),
                body: Private::new(content.body),
            }),
            urgency: body.urgency,
            category: body.category,
            channel: body.channel,
            send_at: body.send_at,
            expires_at: body.expires_at,
            source_reference: body.source_reference,
            locale: body.locale,
            attachments: body.attachments.into_iter().map(Attachment::from).collect(),
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
            RecipientBody::Contact(contact) => Self::Contact(request::InlineContact {
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
        let field = |pointer: String, code: &'static str| Self::invalid(vec![FieldError::new(pointer, code, detail.clone())]);
        match &error {
            AcceptError::UnknownTemplate { .. } => field("/message_type".to_owned(), "template.unknown"),
            AcceptError::NothingToSend => field("/message_type".to_owned(), "field.required"),
            AcceptError::MissingVariables { names, .. } => Self::invalid(missing(names)),
            AcceptError::Content { .. } => field("/context".to_owned(), "content.invalid"),
            AcceptError::UnknownContact { .. } => Self::not_found("contact"),
            AcceptError::ErasedContact => Self::conflict("contact.erased", detail),
            AcceptError::MalformedAddress { field: name, .. } => field(format!("/to/contact/{name}"), "address.invalid"),
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
            AcceptError::KeyReused => Self::invalid_field("#header/Idempotency-Key", "idempotency.key_reused", detail),
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
    let error = |name: &String| FieldError::new(format!("/context{}", pointer(name)), "variable.missing", detail);
    names.iter().map(error).collect()
}
