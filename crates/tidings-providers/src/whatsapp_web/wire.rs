//! What is said between Tidings and its companion: JSON over HTTP, under a bearer token.
//!
//! `POST /messages` takes a [`SendRequest`] and answers with a [`MessageReport`], or a [`Refusal`] that says that certainly
//! nothing was sent. `GET /messages/{reference}` reports; `DELETE /messages/{reference}` reports too, but a reference that
//! nothing is known of is withdrawn: it will never be sent. `GET /state` and `GET /qr` are about the session. The webhook's
//! body is a [`Batch`], signed as a Standard Webhook.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidings_core::redact::Private;
use tidings_core::word_enum;

/// The longest text taken, in characters.
pub const LONGEST_TEXT: usize = 4_096;
/// The longest reference taken, in bytes; letters, digits, hyphen, point and underscore.
pub const LONGEST_REFERENCE: usize = 128;

word_enum! {
    /// What is known of a message.
    pub enum Standing {
        /// It is being typed.
        Sending = "sending",
        /// It stands in the chat, and WhatsApp's servers do not have it yet.
        Pending = "pending",
        /// WhatsApp's servers have it (one tick).
        Sent = "sent",
        /// It is on the recipient's phone (two ticks).
        Delivered = "delivered",
        /// The recipient has seen it (blue ticks).
        Read = "read",
        /// The button was clicked, and whether the message went nobody can tell.
        Unknown = "unknown",
        /// It was not sent, and never will be.
        Withdrawn = "withdrawn",
    }
}

impl Standing {
    /// WhatsApp certainly has the message.
    pub const fn has_left(self) -> bool {
        matches!(self, Self::Sent | Self::Delivered | Self::Read)
    }
}

word_enum! {
    /// How the browser session stands.
    pub enum SessionState {
        /// The page loads, or the browser is being started.
        Starting = "starting",
        /// A phone must scan the QR code.
        Pairing = "pairing",
        /// Chats are open to be written to.
        Ready = "ready",
        /// The page has no connection to WhatsApp.
        Disconnected = "disconnected",
        /// Something stands before the chats: another window, an account that was locked, a page that is not known.
        Blocked = "blocked",
    }
}

/// One message to send.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendRequest {
    /// Our reference; sent once, whatever is asked how often.
    pub reference: String,
    /// The recipient's number in E.164 form.
    pub to: Private<String>,
    /// The text; line feeds part lines.
    pub text: Private<String>,
}

/// What is known of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageReport {
    /// Our reference.
    pub reference: String,
    /// Where it stands.
    pub standing: Standing,
    /// WhatsApp's id of the message, once it was seen in the chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What happened, where it is not plain; without personal data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The code of a [`Refusal`] of a number that WhatsApp does not know.
pub const NOT_ON_WHATSAPP: &str = "not_on_whatsapp";
/// The code of a [`Refusal`] of a call that came before the account may write again.
pub const TOO_SOON: &str = "too_soon";
/// The code of a [`Refusal`] of a reference that nothing is known of.
pub const NO_SUCH_MESSAGE: &str = "no_such_message";

/// A no: certainly nothing was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A word for programs.
    pub code: String,
    /// What is wrong and what to do, without personal data.
    pub detail: String,
}

/// How the session stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReport {
    /// The session.
    pub state: SessionState,
    /// What stands in the way and what to do; without personal data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The paired number, where the page tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Private<String>>,
    /// Seconds until the account may write again; 0 when it may.
    pub next_send_s: u64,
    /// Reports and messages that wait to be posted to the webhook.
    pub outbox: usize,
    /// Whether there is a webhook to post them to.
    pub webhook: bool,
}

/// A webhook's body.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Batch {
    /// The account's number, where the page tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Private<String>>,
    /// What became of messages.
    #[serde(default)]
    pub reports: Vec<StandingReport>,
    /// Messages from contacts.
    #[serde(default)]
    pub messages: Vec<Arrived>,
}

/// What became of a message, for the webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingReport {
    /// Our reference.
    pub reference: String,
    /// Where it stands: pending and beyond.
    pub standing: Standing,
    /// WhatsApp's id of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When the companion saw it.
    pub seen_at: Timestamp,
}

/// A message from a contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// The same for the same message; tells nothing about it.
    pub id: String,
    /// Who wrote, in E.164 form.
    pub from: Private<String>,
    /// The text; empty for a picture, a sound or a sticker without one.
    pub text: Private<String>,
    /// Something other than text came along; it is not fetched.
    #[serde(default)]
    pub media: bool,
    /// When the companion read it.
    pub seen_at: Timestamp,
}
