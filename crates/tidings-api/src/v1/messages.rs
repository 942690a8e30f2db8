//! Messages in: one, a batch, cancelling, and the decision without sending.

use crate::words::{CategoryWord, ChannelWord, MessageStatusWord, UrgencyWord};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_core::{Category, Channel, MessageStatus, MessageType, Urgency};
use utoipa::ToSchema;
use uuid::Uuid;

/// A message to send.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "contact": {"external_id": "C-1017"},
    "type": "welcome",
    "urgency": "normal",
    "context": {"first_name": "Ann", "company": "Weaver Kitchens"},
    "source_reference": "signup-1017"
}))]
pub struct MessageRequest {
    /// To whom.
    pub contact: ContactReference,
    /// The message type; a template of this type must be published, or `content` be given.
    #[serde(rename = "type")]
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[a-z][a-z0-9_]*$")]
    pub message_type: MessageType,
    /// How soon; `normal` when left out.
    #[schema(value_type = Option<UrgencyWord>)]
    pub urgency: Option<Urgency>,
    /// What it is in law; the type's own category when left out.
    #[schema(value_type = Option<CategoryWord>)]
    pub category: Option<Category>,
    /// Only this channel first, if the rules allow it; chosen by the rules when left out.
    #[schema(value_type = Option<ChannelWord>)]
    pub channel: Option<Channel>,
    /// BCP 47 language tag; the contact's when left out.
    #[schema(max_length = 35)]
    pub locale: Option<String>,
    /// Values for the template's variables; at most 256 KiB as JSON.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub context: Map<String, Value>,
    /// Content given directly, instead of a template.
    pub content: Option<DirectContent>,
    /// Files that go with an e-mail; 10 MiB in all.
    #[serde(default)]
    #[schema(max_items = 10)]
    pub attachments: Vec<AttachmentInput>,
    /// Your reference of what caused it; the same type and reference is never sent twice.
    #[schema(min_length = 1, max_length = 500)]
    pub source_reference: Option<String>,
    /// Not before.
    pub send_at: Option<Timestamp>,
    /// Not after: what has not gone out by then is given up.
    pub expires_at: Option<Timestamp>,
}

/// A contact by its id, or by your own id of it: exactly one of the two.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"external_id": "C-1017"}))]
pub struct ContactReference {
    /// Its id.
    pub id: Option<Uuid>,
    /// Your own id of it.
    #[schema(min_length = 1, max_length = 200)]
    pub external_id: Option<String>,
}

/// Content instead of a template. Variables of `context` are not filled in; it goes out as it stands.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"subject": "Your drawings", "body": "<p>They are ready.</p>"}))]
pub struct DirectContent {
    /// Subject line (e-mail); no line breaks.
    #[schema(max_length = 250)]
    pub subject: Option<String>,
    /// The body: HTML for e-mail, plain text for the short channels.
    #[schema(min_length = 1, max_length = 500_000)]
    pub body: String,
}

/// A file that goes with an e-mail.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AttachmentInput {
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
pub struct Accepted {
    /// The message's id; of the earlier message for a duplicate.
    pub id: Uuid,
    /// Where it stands.
    #[schema(value_type = MessageStatusWord)]
    pub status: MessageStatus,
    /// The decision in one word: `send`, `hold`, `batch`, `approve`, `suppress`, `duplicate`.
    pub verdict: String,
    /// The code of the rule that decided, where it is not a plain send.
    pub because: Option<String>,
    /// When it is planned to go out, or is decided again.
    pub planned_at: Option<Timestamp>,
}

/// Up to 1000 requests at once.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageBatch {
    /// The requests; each is taken or refused by itself.
    #[schema(min_items = 1, max_items = 1000)]
    pub messages: Vec<Value>,
}
