//! What callers ask for, and what they are answered.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_core::decide::Verdict;
use tidings_core::redact::Private;
use tidings_core::{Category, Channel, ContactId, MessageId, MessageStatus, MessageType, Urgency};
use tidings_providers::{Attachment, Media, MediaKind, MediaSource};

/// The most a message's context may hold, as JSON, in bytes.
pub const MAX_CONTEXT_BYTES: usize = 256 * 1024;
/// The most files of one message.
pub const MAX_ATTACHMENTS: usize = 10;
/// The most the files of one message may hold together, in bytes of base64.
pub const MAX_ATTACHMENT_BYTES: usize = 10 * 1024 * 1024;
/// The longest text of direct content, in bytes.
pub const MAX_DIRECT_BYTES: usize = 100 * 1024;
/// The longest text beside a file, in characters: WhatsApp's for a caption.
pub const MAX_CAPTION: usize = 1024;
/// The longest link or id of a file, in characters.
pub const MAX_MEDIA_PLACE: usize = 2048;
/// The longest source reference, in characters.
pub const MAX_SOURCE_REFERENCE: usize = 500;
/// The most requests of one call.
pub const MAX_REQUESTS: usize = 1000;

/// A request for one message to one contact.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptRequest {
    /// To whom.
    pub to: Recipient,
    /// What kind of message; decides the template. May be left out with direct content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_type: Option<MessageType>,
    /// The template's variables.
    #[serde(default)]
    pub context: Private<Map<String, Value>>,
    /// Instead of a template: a text that is sent as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<DirectContent>,
    /// How soon; the type's own where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgency: Option<Urgency>,
    /// What it is in law; the type's own where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// The channel, where the caller must have it so; else the rules choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_at: Option<Timestamp>,
    /// Not after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The caller's reference; a second request of the same type and reference is answered with the first message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_reference: Option<String>,
    /// Language and region (`de-AT`); the contact's where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Files that go with an e-mail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Who found the words, where a model was to: of campaigns alone, so no caller gives it.
    #[serde(skip)]
    pub words: Option<Words>,
}

/// To whom: exactly one of the three.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// A contact by its id.
    ContactId(ContactId),
    /// A contact by the tenant's own id of it.
    ExternalId(String),
    /// A contact as given: found by its external id or address, else created.
    Contact(InlineContact),
}

/// A contact as given with a request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InlineContact {
    /// The tenant's own id.
    pub external_id: Option<String>,
    /// Name.
    pub name: Option<Private<String>>,
    /// E-mail address.
    pub email: Option<Private<String>>,
    /// Phone number, in E.164 or in the national form of the tenant's region.
    pub phone: Option<Private<String>>,
    /// IANA zone name.
    pub zone: Option<String>,
    /// Language and region.
    pub locale: Option<String>,
    /// ISO 3166 alpha-2.
    pub country: Option<String>,
}

/// A text that is sent as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectContent {
    /// Subject of an e-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Private<String>>,
    /// Plain text; empty lines separate paragraphs.
    pub body: Private<String>,
    /// A file that WhatsApp carries with the text as its caption; the other channels carry the text alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<DirectMedia>,
}

impl DirectContent {
    /// What is wrong with its file, where it has one.
    pub(crate) fn problem_of_file(&self) -> Option<String> {
        self.media.as_ref()?.problem(self.body.expose())
    }
}

/// A file that goes with a text by WhatsApp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectMedia {
    /// What it is.
    pub kind: MediaKind,
    /// Where it is.
    pub source: Private<MediaSource>,
    /// File name of a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<Private<String>>,
}

impl DirectMedia {
    /// As it goes out, under a text.
    pub(crate) fn with_caption(&self, caption: String) -> Media {
        Media {
            kind: self.kind,
            source: self.source.expose().clone(),
            // Audio shows none.
            caption: (self.kind != MediaKind::Audio).then_some(caption),
            filename: self.filename.as_ref().map(|name| name.expose().clone()),
        }
    }

    /// What is wrong with it under a text, beside what the channel's provider says.
    fn problem(&self, body: &str) -> Option<String> {
        let place = match self.source.expose() {
            MediaSource::Link(link) => link,
            MediaSource::Id(id) => id,
        };
        if self.kind != MediaKind::Audio && body.chars().count() > MAX_CAPTION {
            return Some(format!(
                "content.body is its caption: at most {MAX_CAPTION} characters"
            ));
        }
        if place.is_empty() || place.chars().count() > MAX_MEDIA_PLACE {
            return Some(format!("its link or id has 1 to {MAX_MEDIA_PLACE} characters"));
        }
        match self.source.expose() {
            MediaSource::Link(link) if !link.starts_with("https://") => {
                Some("its link must be an https URL".to_owned())
            }
            _ => None,
        }
    }
}

/// Who found the words of a message that a model was to write.
#[derive(Clone, Debug)]
pub enum Words {
    /// A model. Its words stand in an e-mail; other channels have those of the template.
    Model {
        /// The e-mail's subject and text.
        email: DirectContent,
        /// The model's name.
        model: String,
        /// Calls made.
        tries: u32,
    },
    /// The template after all.
    Template {
        /// Why, as a stable word (`ai_checks_failed`).
        reason: &'static str,
        /// What the checks found, as stable words.
        findings: Vec<&'static str>,
    },
}

impl Words {
    /// Those of the template, for a reason that no draft led to.
    pub const fn template(reason: &'static str) -> Self {
        Self::Template {
            reason,
            findings: Vec::new(),
        }
    }

    /// The e-mail's words, where a model wrote them.
    pub fn into_email(self) -> Option<DirectContent> {
        match self {
            Self::Model { email, .. } => Some(email),
            Self::Template { .. } => None,
        }
    }
}

/// For lists and reports; no personal data.
impl std::fmt::Display for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Model { model, .. } => write!(f, "words by the model {model}"),
            Self::Template { reason, findings } if findings.is_empty() => {
                write!(f, "words of the template: {reason}")
            }
            Self::Template { reason, findings } => {
                write!(f, "words of the template: {reason} ({})", findings.join(", "))
            }
        }
    }
}

/// A key under which the same call gets the same answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The key, 1 to 255 characters.
    pub key: String,
    /// SHA-256 of the body.
    pub body_hash: Vec<u8>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// The message, new or earlier.
    pub message_id: MessageId,
    /// The contact it goes to.
    pub contact_id: ContactId,
    /// Where it stands.
    pub status: MessageStatus,
    /// What the rules said.
    pub verdict: Verdict,
    /// The code of the reason that decided, where one stood in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// An earlier message with the same source reference, or an earlier answer under the same key.
    pub duplicate: bool,
}

/// Why a request was not accepted. Nothing was written for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum AcceptError {
    /// There is no template.
    #[error("there is no template for the message type \"{message_type}\"{on}; publish one, or send direct content", on = channel.map(|channel| format!(" on {channel}")).unwrap_or_default())]
    UnknownTemplate {
        /// The type asked for.
        message_type: String,
        /// The channel asked for.
        channel: Option<Channel>,
    },
    /// Neither type nor content.
    #[error("give message_type, or content for a text that is sent as it is")]
    NothingToSend,
    /// The template needs more.
    #[error("the template {template} needs {}; add them to context", names.join(", "))]
    MissingVariables {
        /// Which template.
        template: String,
        /// Every variable that is missing.
        names: Vec<String>,
    },
    /// The template refuses the values.
    #[error("{problem}")]
    Content {
        /// What is wrong and what to do.
        problem: String,
    },
    /// The tenant has no such contact.
    #[error("there is no contact {reference}; create it first, or give it inline")]
    UnknownContact {
        /// What was asked for.
        reference: String,
    },
    /// The contact was erased.
    #[error("the contact was erased; nothing can be sent to it")]
    ErasedContact,
    /// An address that cannot be one.
    #[error("to.contact.{field}: {problem}")]
    MalformedAddress {
        /// Which field.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// No such zone.
    #[error("to.contact.zone: there is no time zone \"{zone}\"; use an IANA name such as Europe/Vienna")]
    WrongZone {
        /// What was given.
        zone: String,
    },
    /// A field that breaks a limit.
    #[error("{field}: {problem}")]
    Invalid {
        /// Which field.
        field: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Too late already.
    #[error("expires_at is not in the future ({expires_at}); nothing would be sent")]
    Expired {
        /// What was asked for.
        expires_at: Timestamp,
    },
    /// More than a message may hold.
    #[error("{field} is too large: at most {limit}")]
    TooLarge {
        /// Which field.
        field: String,
        /// The limit with its unit.
        limit: String,
    },
    /// The tenant does not send.
    #[error("the tenant is {status}; nothing is accepted for it")]
    TenantNotActive {
        /// Its status.
        status: String,
    },
    /// There is no such tenant.
    #[error("there is no such tenant")]
    UnknownTenant,
    /// The same key is being answered at this moment.
    #[error("a request with this Idempotency-Key is being processed; ask again in a moment")]
    InProgress,
    /// The same key with another body.
    #[error("this Idempotency-Key was used with another body; use a new key for a new request")]
    KeyReused,
    /// Too much is waiting.
    #[error("too many requests are waiting; try again in a few seconds")]
    Busy,
    /// The database failed.
    #[error("the request could not be stored and was not accepted ({reason}); try again")]
    Unavailable {
        /// What failed.
        reason: String,
    },
}

impl AcceptError {
    /// The stable code of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownTemplate { .. } => "unknown_template",
            Self::NothingToSend => "nothing_to_send",
            Self::MissingVariables { .. } => "missing_variables",
            Self::Content { .. } => "content",
            Self::UnknownContact { .. } => "unknown_contact",
            Self::ErasedContact => "erased_contact",
            Self::MalformedAddress { .. } => "malformed_address",
            Self::WrongZone { .. } => "wrong_zone",
            Self::Invalid { .. } => "invalid",
            Self::Expired { .. } => "expired",
            Self::TooLarge { .. } => "too_large",
            Self::TenantNotActive { .. } => "tenant_not_active",
            Self::UnknownTenant => "unknown_tenant",
            Self::InProgress => "in_progress",
            Self::KeyReused => "key_reused",
            Self::Busy => "busy",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    /// Whether the same request may be accepted later.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::InProgress | Self::Busy | Self::Unavailable { .. })
    }
}

impl AcceptRequest {
    /// A request with everything left to the rules.
    pub fn new(to: Recipient, message_type: MessageType) -> Self {
        Self {
            to,
            message_type: Some(message_type),
            context: Private::default(),
            content: None,
            urgency: None,
            category: None,
            channel: None,
            send_at: None,
            expires_at: None,
            source_reference: None,
            locale: None,
            attachments: Vec::new(),
            words: None,
        }
    }
}
