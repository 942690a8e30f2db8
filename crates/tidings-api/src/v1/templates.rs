//! Templates: versioned content, drafts, publishing, preview.

use crate::words::{CategoryWord, ChannelWord};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_core::{Category, Channel, MessageType};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// What the body is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyFormat {
    /// HTML (e-mail).
    Html,
    /// MJML (e-mail).
    Mjml,
    /// Plain text (short channels).
    Text,
}

/// A draft to keep; replaces the earlier draft of the same type, channel and locale.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "type": "welcome", "channel": "email", "locale": "en",
    "subject": "Welcome, {{ first_name }}", "format": "html",
    "body": "<p>Hello {{ first_name }}, good to have you at {{ company }}.</p>"
}))]
pub struct TemplateDraft {
    /// The message type.
    #[serde(rename = "type")]
    #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[a-z][a-z0-9_]*$")]
    pub message_type: MessageType,
    /// The channel.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// Language tag; `en` when left out.
    #[serde(default = "english")]
    #[schema(min_length = 2, max_length = 35)]
    pub locale: String,
    /// Subject line (e-mail).
    #[schema(max_length = 250)]
    pub subject: Option<String>,
    /// What the body is written in.
    pub format: BodyFormat,
    /// The body, with `{{ variables }}`.
    #[schema(min_length = 1, max_length = 1_048_576)]
    pub body: String,
    /// Text part (e-mail); derived from the HTML when left out.
    #[schema(max_length = 1_048_576)]
    pub text_body: Option<String>,
}

fn english() -> String {
    "en".to_owned()
}

/// A version of a template.
#[derive(Serialize, ToSchema)]
pub struct TemplateView {
    /// Its id.
    pub id: Uuid,
    /// The message type.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub message_type: MessageType,
    /// The channel.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// Language tag.
    pub locale: String,
    /// Counts up with every draft.
    pub version: i32,
    /// `draft`, `published` or `archived`.
    pub state: String,
    /// Subject line.
    pub subject: Option<String>,
    /// What the body is written in.
    pub format: BodyFormat,
    /// The body.
    pub body: String,
    /// Text part.
    pub text_body: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was published.
    pub published_at: Option<Timestamp>,
}

/// What to preview: a kept version by `id`, a published or built-in one by `type` and `channel`, or a `draft` that is
/// not kept yet. Exactly one of the three.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"type": "welcome", "channel": "email", "context": {"first_name": "Ann"}}))]
pub struct PreviewRequest {
    /// A kept version.
    pub id: Option<Uuid>,
    /// The message type of the published template.
    #[serde(rename = "type")]
    #[schema(value_type = Option<String>)]
    pub message_type: Option<MessageType>,
    /// Its channel.
    #[schema(value_type = Option<ChannelWord>)]
    pub channel: Option<Channel>,
    /// Its locale; `en` when left out.
    pub locale: Option<String>,
    /// Content that is not kept.
    pub draft: Option<TemplateDraft>,
    /// Values for the variables; the type's sample values when left out.
    #[schema(value_type = Option<Object>)]
    pub context: Option<Map<String, Value>>,
    /// Category, for the footer of marketing mail.
    #[schema(value_type = Option<CategoryWord>)]
    pub category: Option<Category>,
}

/// A preview.
#[derive(Serialize, ToSchema)]
pub struct PreviewView {
    /// Subject line.
    pub subject: Option<String>,
    /// HTML part.
    pub html: Option<String>,
    /// Text part, or the text of a short channel.
    pub text: Option<String>,
    /// SMS segments.
    pub segments: Option<SegmentsView>,
    /// Variables the template asks for.
    pub variables: Vec<String>,
    /// Of these, the ones the context lacks; nothing is rendered while there are any.
    pub missing: Vec<String>,
}

/// How an SMS is cut.
#[derive(Serialize, ToSchema)]
pub struct SegmentsView {
    /// `gsm7` or `ucs2`.
    pub encoding: String,
    /// How many segments are sent and paid for.
    pub count: u32,
    /// Characters in the encoding's own units.
    pub units: u32,
}

/// Which templates to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TemplateQuery {
    /// Only this message type.
    #[serde(rename = "type")]
    #[param(value_type = Option<String>)]
    pub message_type: Option<MessageType>,
    /// Rows of a page, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}
