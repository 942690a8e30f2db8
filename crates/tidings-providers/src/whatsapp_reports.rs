//! What WhatsApp reports beside statuses, and what it can be told beside messages.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidings_core::TemplateStanding;
use tidings_core::redact::Private;

/// What a WhatsApp message says beside its text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WhatsappInbound {
    /// The message's type in Meta's words (`text`, `button`, `reaction`, `location` ...), at most 64 characters.
    pub form: String,
    /// It opens the 24 h service window; a notice of WhatsApp itself does not.
    pub opens_window: bool,
    /// The sender's business-scoped user id.
    pub user_id: Option<Private<String>>,
    /// What a button or list answers with, or the place, cards or order as JSON; at most 16 KiB.
    pub payload: Option<Private<String>>,
}

/// A user whose business-scoped id was seen beside something that tells which contact it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserLink {
    /// The id (`US.1349...`).
    pub user_id: Private<String>,
    /// The phone number seen with it, in E.164 form.
    pub phone: Option<Private<String>>,
    /// The provider's id of a message of ours that went to it.
    pub provider_message_id: Option<String>,
    /// The id the user had before.
    pub replaces: Option<Private<String>>,
}

/// What became of an approved template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateReport {
    /// The WhatsApp business account it belongs to.
    pub account: String,
    /// Its name.
    pub name: String,
    /// Its language.
    pub language: String,
    /// Where it stands.
    pub standing: TemplateStanding,
    /// Meta's own word.
    pub word: String,
    /// Meta's reason, at most 200 characters.
    pub reason: Option<String>,
    /// When; none where Meta gives no time.
    pub occurred_at: Option<Timestamp>,
}

/// Something short of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The message was read.
    Read {
        /// The provider's id of the message.
        provider_message_id: String,
    },
    /// Somebody writes an answer. WhatsApp shows it for 25 s at most, and marks the message as read.
    Typing {
        /// The provider's id of the message.
        provider_message_id: String,
    },
}
