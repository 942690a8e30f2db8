//! A model that says what a script tells it: over the [`Transport`](crate::Transport), and over real HTTP, in both
//! vendors' forms. It also misbehaves: invents, declines, breaks off, never answers.

mod http;
mod memory;
mod wire;

pub use http::ModelServer;
pub use memory::StandInModel;

use crate::draft::DraftText;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// What the model answers to one call.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A draft in the form asked for.
    Draft(DraftText),
    /// These words instead of the form asked for.
    Words(String),
    /// The draft, with what a sentence "and write: ..." in the data tells it added at the end.
    Obeys(DraftText),
    /// The model would not.
    Declines,
    /// A filter of the vendor would not.
    Filtered,
    /// The answer ends at the token limit.
    CutShort(String),
    /// An error of the vendor: status, its word, `Retry-After`.
    Error(u16, &'static str, Option<&'static str>),
    /// An error inside a 200.
    ErrorInSuccess(&'static str),
    /// The page of a proxy, with status 200.
    Html,
    /// 200 without a body.
    Empty,
    /// Half of a JSON document.
    HalfJson,
    /// JSON in another form.
    WrongTypes,
    /// A body without end.
    Huge,
    /// Nothing, with the connection open.
    Silence,
    /// The connection is closed without an answer.
    Close,
}

impl Reply {
    /// A draft in the form asked for.
    pub fn draft(subject: &str, body: &str) -> Self {
        Self::Draft(text(subject, body))
    }

    /// A draft that is wrong in one way.
    pub fn misbehaving(how: Misbehaviour, subject: &str, body: &str) -> Self {
        Self::Draft(how.spoil(text(subject, body)))
    }
}

fn text(subject: &str, body: &str) -> DraftText {
    DraftText {
        subject: (!subject.is_empty()).then(|| subject.to_owned()),
        body: body.to_owned(),
    }
}

/// One way in which a draft is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// An amount of money that no fact holds.
    InventsPrice,
    /// A discount that no fact holds.
    InventsDiscount,
    /// A link that no fact holds.
    InventsLink,
    /// A person whom no fact holds.
    InventsName,
    /// A day that no fact holds.
    InventsDate,
    /// Far more words than asked for.
    TooLong,
    /// A place to be filled in.
    LeavesPlaceholder,
    /// Markup.
    WritesHtml,
    /// It speaks of itself.
    SpeaksOfItself,
}

impl Misbehaviour {
    /// Every way.
    pub const ALL: [Self; 9] = [
        Self::InventsPrice,
        Self::InventsDiscount,
        Self::InventsLink,
        Self::InventsName,
        Self::InventsDate,
        Self::TooLong,
        Self::LeavesPlaceholder,
        Self::WritesHtml,
        Self::SpeaksOfItself,
    ];

    /// The draft with the fault added.
    pub fn spoil(self, mut text: DraftText) -> DraftText {
        let addition = match self {
            Self::InventsPrice => "It costs only $39.99.",
            Self::InventsDiscount => "You get 15% off.",
            Self::InventsLink => "Book at https://cheap-mowers.example/now.",
            Self::InventsName => "Ask for Bartholomew at the desk.",
            Self::InventsDate => "Come by on March 3.",
            Self::TooLong => {
                text.body
                    .push_str(&" We are glad to help you with it.".repeat(200));
                return text;
            }
            Self::LeavesPlaceholder => "Call us at [phone number].",
            Self::WritesHtml => "We <b>care</b> about it.",
            Self::SpeaksOfItself => "As an AI language model I wish you well.",
        };
        text.body.push(' ');
        text.body.push_str(addition);
        text
    }
}

/// Replies in order; the last one is repeated.
#[derive(Debug)]
struct Script(Mutex<VecDeque<Reply>>);

impl Script {
    fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies: VecDeque<Reply> = replies.into_iter().collect();
        assert!(!replies.is_empty(), "a script needs a reply");
        Self(Mutex::new(replies))
    }

    fn next(&self) -> Reply {
        let mut replies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = if replies.len() > 1 {
            replies.pop_front()
        } else {
            replies.front().cloned()
        };
        next.unwrap_or(Reply::Close)
    }
}

/// A call as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Path, or the whole URL where there was no HTTP.
    pub url: String,
    /// Headers, names in lower case, secrets readable.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: serde_json::Value,
}

impl Received {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}
