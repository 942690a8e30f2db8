//! What is asked for: a message type, a channel, the facts, and the limits of the text.

use crate::facts::{Fact, Facts};
use std::borrow::Cow;
use std::fmt;
use tidings_core::{Channel, MessageType};

/// Who the message comes from. It may be named, linked and given as contact in every draft.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brand {
    /// The name people know the sender by.
    pub name: String,
    /// The sender's site.
    pub website_url: Option<String>,
    /// Where replies and questions go.
    pub support_email: Option<String>,
    /// A telephone number for questions, as it is to be read.
    pub support_phone: Option<String>,
    /// The postal address.
    pub postal_address: Option<String>,
}

/// Whether what the rendered template says counts as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseRole {
    /// The template is an example of wording. Its figures, dates, links and names are taken from the facts or not at all.
    Wording,
    /// The template is the sender's own word: the offer it makes, the interval it names and the link it holds may be
    /// repeated. It would be sent in place of the draft anyway.
    Source,
}

/// The rendered template, from which the model starts and to which the caller falls back.
#[derive(Clone, PartialEq, Eq)]
pub struct Base {
    /// The subject, of an e-mail.
    pub subject: Option<String>,
    /// The text without markup.
    pub text: String,
    /// Whether it counts as known.
    pub role: BaseRole,
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// How long a draft may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fewest words of the text.
    pub min_words: usize,
    /// Most words of the text.
    pub max_words: usize,
    /// Most characters of the text.
    pub max_characters: usize,
    /// Most characters of the subject.
    pub max_subject_characters: usize,
    /// Most segments of a text message.
    pub max_segments: usize,
}

impl Limits {
    /// What suits the channel: an e-mail of 20 to 250 words with a subject of up to 78 characters, one segment of SMS,
    /// a WhatsApp text of up to 120 words.
    pub const fn of(channel: Channel) -> Self {
        let (min_words, max_words, max_characters) = match channel {
            Channel::Email => (20, 250, 2500),
            Channel::Sms => (3, 40, 480),
            Channel::Whatsapp | Channel::WhatsappWeb => (5, 120, 1024),
        };
        Self {
            min_words,
            max_words,
            max_characters,
            max_subject_characters: 78,
            max_segments: 1,
        }
    }
}

/// A draft that is asked for.
#[derive(Clone, Debug)]
pub struct DraftRequest<'a> {
    /// What the message is.
    pub message_type: MessageType,
    /// How it goes out.
    pub channel: Channel,
    /// The language of the text, as a tag (`en-US`, `de`).
    pub locale: String,
    /// What the model is told about this message type: [`crate::prompt`], or the tenant's own.
    pub system_prompt: Cow<'a, str>,
    /// What is known.
    pub facts: Facts,
    /// The fact that holds the reader's name, where it is known. A greeting must use it.
    pub addressee: Option<&'a str>,
    /// The sender.
    pub brand: Brand,
    /// The rendered template.
    pub base: Base,
    /// How long the text may be.
    pub limits: Limits,
}

impl DraftRequest<'_> {
    /// The reader's name, where the facts hold it.
    pub(crate) fn addressee_name(&self) -> Option<&str> {
        match self.facts.get(self.addressee?)? {
            Fact::Name(name) => Some(name),
            _ => None,
        }
    }

    /// The language of the tag, in lower case.
    pub(crate) fn language(&self) -> String {
        let tag = self.locale.split(['-', '_']).next().unwrap_or_default();
        tag.to_ascii_lowercase()
    }

    /// What makes the request itself impossible.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.addressee.is_some() && self.addressee_name().is_none() {
            Some("the addressee names no fact of the kind name")
        } else if self.system_prompt.trim().is_empty() {
            Some("there is no system prompt")
        } else if self.limits.min_words > self.limits.max_words {
            Some("the fewest words are more than the most words")
        } else {
            None
        }
    }
}
