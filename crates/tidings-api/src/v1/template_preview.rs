//! Preview of templates, and the built-in ones.

/// What to preview: a kept version by `id`, a published or built-in one by `message_type` and `channel`, or a `draft` that is
/// not kept yet. Exactly one of the three.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"message_type": "welcome", "channel": "email", "context": {"first_name": "Ann"}}))]
pub struct PreviewRequest {
    /// A kept version.
    pub id: Option<Uuid>,
    /// The message type of the published template.
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

