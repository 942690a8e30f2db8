//! The contract between the engine and a provider.
//!
//! A provider turns a [`Submission`] into one call and reports what is known of it. It never retries, never
//! fails over and never decides: the engine does. `send` must tell three outcomes apart (accepted, rejected,
//! unknown); a time-out after the request was written is `Unknown`, before it is a transient rejection.

use crate::feedback;
use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tidings_core::event::{BounceClass, DeliveryEventKind};
use tidings_core::redact::Private;
use tidings_core::{Address, Category, Channel, ErrorCategory, ProviderKind};

pub use crate::feedback::{ListQuestion, ListedSuppression, Report, SuppressionPage};
pub use crate::whatsapp_content::{
    ButtonKind, Media, MediaKind, MediaSource, WhatsappButton, WhatsappHeader, WhatsappTemplate,
};
pub use crate::whatsapp_reports::{Signal, TemplateReport, UserLink, WhatsappInbound};
pub use tidings_core::TemplateStanding;

/// What a provider can do, beyond sending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The same reference sent twice is accepted once.
    pub idempotent_send: bool,
    /// [`Provider::lookup`] answers.
    pub lookup: bool,
    /// Status webhooks echo our reference, so an unknown outcome resolves itself.
    pub echoes_reference: bool,
    /// [`Provider::report`] answers.
    pub reports: bool,
}

/// One message, ready for one call.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Our reference: the delivery's id and dispatch number. Echoed by providers, used for lookups and as the
    /// idempotency key where one exists.
    pub reference: String,
    /// The message's id, echoed in custom arguments.
    pub message_id: String,
    /// The channel.
    pub channel: Channel,
    /// Decides about unsubscribe headers.
    pub category: Category,
    /// The recipient.
    pub to: Private<Address>,
    /// The recipient's display name.
    pub to_name: Option<Private<String>>,
    /// What is sent.
    pub content: Private<Content>,
    /// Where status callbacks go, for providers that take it per message.
    pub status_callback: Option<String>,
    /// How long the call may take. A provider that knows how far a dialogue got ends it by itself within this time; the
    /// caller cuts it off a little later, and then nothing is known.
    pub time_limit: Duration,
}

/// Rendered content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    /// An e-mail.
    Email(EmailContent),
    /// An SMS or WhatsApp text.
    Text {
        /// The text.
        body: String,
    },
    /// An approved WhatsApp template.
    WhatsappTemplate(WhatsappTemplate),
    /// A media file (WhatsApp).
    Media(Media),
}

impl Content {
    /// What it is, for errors.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Email(_) => "an e-mail",
            Self::Text { .. } => "a text",
            Self::WhatsappTemplate(_) => "a WhatsApp template",
            Self::Media(_) => "a media file",
        }
    }

    /// What a person may read of it where only text is shown.
    pub fn preview(&self) -> String {
        match self {
            Self::Email(email) => email.text.clone(),
            Self::Text { body } => body.clone(),
            Self::WhatsappTemplate(template) => template.describe(),
            Self::Media(media) => media.describe(),
        }
    }
}

/// An e-mail's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailContent {
    /// Subject line; no CR or LF.
    pub subject: String,
    /// HTML part.
    pub html: Option<String>,
    /// Text part.
    pub text: String,
    /// `Message-ID` without angle brackets; the same over retries and providers.
    pub message_id_header: String,
    /// `Reply-To`.
    pub reply_to: Option<String>,
    /// One-click unsubscribe URL (RFC 8058); sets both headers.
    pub unsubscribe_url: Option<String>,
    /// `In-Reply-To` and `References`.
    pub in_reply_to: Option<String>,
    /// `Auto-Submitted: auto-generated` (RFC 3834).
    pub auto_submitted: bool,
    /// Files.
    pub attachments: Vec<Attachment>,
}

/// A file that goes with an e-mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// File name; no path, no control characters.
    pub filename: String,
    /// MIME type.
    pub content_type: String,
    /// Base64 (standard alphabet, padded).
    pub content_base64: String,
    /// Set for an inline image: the `cid:` it is referred to by.
    pub content_id: Option<String>,
}

/// What is known of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The provider took it.
    Accepted {
        /// The provider's id of the message, if it gave one.
        provider_message_id: Option<String>,
    },
    /// The provider said no, or was provably not reached.
    Rejected(Rejection),
    /// The request may have arrived.
    Unknown {
        /// What happened, without personal data.
        detail: String,
    },
}

/// The code of what a provider cannot do at all.
pub const UNSUPPORTED: &str = "unsupported";

/// A provider's no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Decides what happens next.
    pub category: ErrorCategory,
    /// The provider's own code (`21610`, `550 5.1.1`).
    pub code: String,
    /// What it said, without personal data, at most 500 characters.
    pub detail: String,
    /// How long it asked us to wait.
    pub retry_after: Option<Duration>,
    /// What else follows.
    pub effect: Option<RejectionEffect>,
}

/// What else a rejection says about the recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionEffect {
    /// The address does not exist: suppress it on this channel.
    AddressBad,
    /// The recipient opted out at the provider (Twilio 21610): record a STOP on this channel.
    OptedOut,
    /// The recipient stopped marketing (WhatsApp 131050).
    OptedOutOfMarketing,
}

/// The answer to "did you take this?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It did.
    Found {
        /// The provider's id of the message.
        provider_message_id: Option<String>,
    },
    /// It did not, and never will.
    NotFound,
    /// The provider cannot tell, or could not be asked.
    Unavailable {
        /// Why.
        detail: String,
    },
}

/// A webhook as it arrived.
#[derive(Clone, Debug)]
pub struct WebhookRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// The URL the provider called: the configured public base URL, path and query, byte for byte.
    pub url: String,
    /// Headers, names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The raw body.
    pub body: Bytes,
}

impl WebhookRequest {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Why a webhook changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRefusal {
    /// No signature where one must be.
    #[error("the signature is missing")]
    SignatureMissing,
    /// The signature does not match.
    #[error("the signature does not match")]
    SignatureInvalid,
    /// Signed outside the tolerated window.
    #[error("the timestamp is outside the tolerated window")]
    Stale,
    /// For another account, number or topic than this connection's.
    #[error("it is for another account than this connection's")]
    WrongAccount,
    /// Signed rightly, but not readable.
    #[error("the body cannot be read: {0}")]
    Malformed(String),
    /// The connection has no webhook secret set.
    #[error("the connection has no webhook key: {0}")]
    NotConfigured(String),
    /// What it takes to verify or read it cannot be had now; the provider should send it again.
    #[error("it cannot be read now: {0}")]
    Unavailable(String),
    /// The provider has no webhooks.
    #[error("this provider sends no webhooks")]
    Unsupported,
}

/// What a webhook said: status events, inbound messages, and the answer the provider expects.
#[derive(Clone, Debug, Default)]
pub struct WebhookParsed {
    /// Reports about deliveries.
    pub events: Vec<ReportedEvent>,
    /// Messages from contacts.
    pub inbound: Vec<InboundMessage>,
    /// Body to answer with (empty for most; TwiML for Twilio inbound).
    pub response: WebhookResponse,
    /// Elements that could not be read, without personal data; the rest of the batch stands.
    pub skipped: Vec<String>,
    /// What became of approved templates (WhatsApp).
    pub templates: Vec<TemplateReport>,
    /// Users whose provider id and number or message were seen together (WhatsApp).
    pub links: Vec<UserLink>,
}

/// The answer a provider expects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookResponse {
    /// MIME type, with the body.
    pub content_type: Option<&'static str>,
    /// Body.
    pub body: String,
}

/// A report about a delivery.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct ReportedEvent {
    /// The same for the same event, however often it arrives.
    pub dedupe_key: String,
    /// What happened.
    pub kind: DeliveryEventKind,
    /// When, by the provider; none where the provider gives no time.
    pub occurred_at: Option<Timestamp>,
    /// The provider's id of the message.
    pub provider_message_id: Option<String>,
    /// Our reference, echoed.
    pub reference: Option<String>,
    /// The recipient it is about.
    pub recipient: Option<Private<String>>,
    /// For bounces.
    pub bounce_class: Option<BounceClass>,
    /// The provider's error code, if any, classed by the same table as answers. A soft bounce without one says
    /// nothing about the address (an out-of-office answer, a message too large) and is not counted against it.
    pub error: Option<(ErrorCategory, String)>,
    /// The address must be suppressed, and why.
    pub suppress: Option<SuppressBecause>,
    /// Further detail without personal data (a bounce text cut and masked, a clicked URL).
    pub detail: Option<String>,
}

impl ReportedEvent {
    /// A report of which only the key and the kind are known yet.
    pub fn new(dedupe_key: String, kind: DeliveryEventKind) -> Self {
        Self {
            dedupe_key,
            kind,
            occurred_at: None,
            provider_message_id: None,
            reference: None,
            recipient: None,
            bounce_class: None,
            error: None,
            suppress: None,
            detail: None,
        }
    }
}

/// Why a reported event suppresses the recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuppressBecause {
    /// Hard bounce.
    HardBounce,
    /// Complaint.
    Complaint,
    /// Unsubscribed at the provider.
    Unsubscribe,
    /// STOP at the provider.
    Stop,
    /// No marketing any more, everything else still (WhatsApp's own switch, error 131050).
    MarketingStop,
}

/// A message from a contact.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct InboundMessage {
    /// The same for the same message, however often it arrives.
    pub dedupe_key: String,
    /// The channel it came by.
    pub channel: Channel,
    /// Who wrote, as the provider gave it (E.164 or an e-mail address; a WhatsApp user id where there is no number).
    pub from: Private<String>,
    /// To which of our numbers or addresses.
    pub to: Option<Private<String>>,
    /// Display name.
    pub name: Option<Private<String>>,
    /// Subject (e-mail).
    pub subject: Option<Private<String>>,
    /// Text.
    pub text: Private<String>,
    /// The provider's id of the message.
    pub provider_message_id: Option<String>,
    /// When it was sent, by the provider.
    pub occurred_at: Option<Timestamp>,
    /// How many media files came with it.
    pub media: Vec<InboundMedia>,
    /// The provider has already acted on a keyword (Twilio `OptOutType`): do not answer again. Of a mail that asks to be left
    /// alone, [`InboundMessage::UNSUBSCRIBE`].
    pub handled_keyword: Option<String>,
    /// Of the message it answers, the provider's id or our `Message-ID`.
    pub in_reply_to: Option<String>,
    /// An automatic answer (RFC 3834), or a reaction: must not stop sequences or wake anybody.
    pub automatic: bool,
    /// What only WhatsApp tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whatsapp: Option<WhatsappInbound>,
}

impl InboundMessage {
    /// The [`handled_keyword`](Self::handled_keyword) of a mail that asks to be left alone.
    pub const UNSUBSCRIBE: &str = "UNSUBSCRIBE";
}

/// A media file of an inbound message; fetched only from the provider's own hosts.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct InboundMedia {
    /// MIME type.
    pub content_type: String,
    /// The provider's URL or media id.
    pub location: String,
}

/// What an address of a connection takes mail for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MailAddress {
    /// The return path of one dispatch; its token was proved.
    Bounce {
        /// Our reference of the dispatch.
        reference: String,
    },
    /// Where one message is answered to; its token was proved.
    Reply {
        /// Our reference of the dispatch.
        reference: String,
    },
    /// The sender's own address: proves nothing.
    Own,
}

/// What a connection test found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The credentials and endpoint work.
    pub ok: bool,
    /// What was tried and found, one line each, without secrets.
    pub findings: Vec<String>,
}

/// One provider connection: configured, ready to send.
#[async_trait]
pub trait Provider: Send + Sync + std::fmt::Debug {
    /// Which provider this is.
    fn kind(&self) -> ProviderKind;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// How long a reference is remembered where [`Capabilities::idempotent_send`] says that one is taken once; none
    /// when it is for good.
    fn remembers_for(&self) -> Option<Duration> {
        None
    }

    /// Makes one call. Bounded in time; never panics; never retries.
    async fn send(&self, submission: &Submission) -> SendOutcome;

    /// Asks whether an earlier call with this reference arrived.
    async fn lookup(&self, reference: &str) -> Lookup;

    /// Asks what became of a message that was taken. Makes one call, bounded in time; never retries. Most providers only tell
    /// by webhook.
    async fn report(&self, provider_message_id: &str) -> Report {
        let _ = provider_message_id;
        Report::Unanswered(feedback::unsupported(format!(
            "{} cannot be asked what became of a message",
            self.kind()
        )))
    }

    /// The provider's own lists of addresses it does not write to, by names of ours; most providers show none.
    fn suppression_lists(&self) -> &'static [&'static str] {
        &[]
    }

    /// Reads a page of such a list. Makes one call, bounded in time; never retries. What cannot be read as a whole is a no, an
    /// entry that cannot be read is left out and counted.
    async fn suppressions(&self, question: &ListQuestion<'_>) -> Result<SuppressionPage, Rejection> {
        let _ = question;
        Err(feedback::unsupported(format!(
            "{} shows no list of addresses it does not write to",
            self.kind()
        )))
    }

    /// What an address takes mail for; none where it is no address of this connection, or its token is forged. Pure.
    fn mail_address(&self, _address: &str) -> Option<MailAddress> {
        None
    }

    /// Tests credentials and endpoint without sending.
    async fn check(&self) -> CheckReport;

    /// Tells the author of an inbound message something short of an answer. Most providers cannot.
    async fn signal(&self, signal: &Signal) -> SendOutcome {
        let _ = signal;
        SendOutcome::Rejected(Rejection {
            category: ErrorCategory::InvalidInput,
            code: UNSUPPORTED.to_owned(),
            detail: format!("{} has neither read marks nor typing indicators", self.kind()),
            retry_after: None,
            effect: None,
        })
    }

    /// Verifies a webhook over its raw bytes and reads it. Replay and duplicates are the engine's matter
    /// (by `dedupe_key`). May ask the provider itself for what a webhook only points to, bounded in time; what
    /// cannot be had now is [`WebhookRefusal::Unavailable`], so that the provider sends it again.
    async fn webhook(
        &self,
        request: &WebhookRequest,
        now: Timestamp,
    ) -> Result<WebhookParsed, WebhookRefusal>;
}
