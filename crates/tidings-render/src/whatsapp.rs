//! The approved WhatsApp template that a template goes by where free text may not go.
//!
//! Meta keeps the words; a message brings the values. Each value is a small template of its own (`{{ first_name }}`), strict
//! as any other: what is missing is an error to the caller, never a hole.

use crate::engine;
use crate::render::{RenderContext, RenderError};
use crate::template::{CompiledTemplate, Part, TEXT_PART, TemplateError, add_named};
use crate::values::Root;
use serde::{Deserialize, Serialize};
use tidings_core::{Channel, word_enum};

/// The most values of a body.
const MOST_VALUES: usize = 100;
/// The most buttons.
const MOST_BUTTONS: usize = 10;
/// The longest value, in characters.
const LONGEST_VALUE: usize = 1_024;

word_enum! {
    /// What fills a header.
    pub enum HeaderKind {
        /// Text.
        Text = "text",
        /// A picture.
        Image = "image",
        /// A document.
        Document = "document",
        /// A video.
        Video = "video",
    }
}

word_enum! {
    /// What a button does.
    pub enum ButtonWord {
        /// Answers with a payload.
        QuickReply = "quick_reply",
        /// Opens a URL whose end varies.
        Url = "url",
        /// Copies a code.
        CopyCode = "copy_code",
    }
}

/// An approved template of Meta, and where its values come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhatsappBinding {
    /// Its name at Meta (`order_ready`).
    pub name: String,
    /// Its language at Meta (`en_US`).
    pub language: String,
    /// The value of its header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderBinding>,
    /// The values of its body, in the order of `{{1}}`, `{{2}}` ...
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub body: Vec<String>,
    /// The values of its buttons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<ButtonBinding>,
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderBinding {
    /// What it is.
    pub kind: HeaderKind,
    /// A text, or the file's public `https` URL or id at Meta; itself a template.
    pub value: String,
    /// File name of a document; itself a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
}

/// The value of a button.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ButtonBinding {
    /// Its place among the template's buttons, from 0.
    pub index: u8,
    /// What it does.
    pub kind: ButtonWord,
    /// The payload, the end of the URL or the code; itself a template.
    pub value: String,
}

/// A binding with its values filled in.
#[derive(Clone, PartialEq, Eq)]
pub struct RenderedWhatsapp {
    /// The name at Meta.
    pub name: String,
    /// The language at Meta.
    pub language: String,
    /// What fills the header.
    pub header: Option<RenderedHeader>,
    /// What fills the body, in order.
    pub body: Vec<String>,
    /// What fills the buttons: index, what it does, value.
    pub buttons: Vec<(u8, ButtonWord, String)>,
}

/// A header's value.
#[derive(Clone, PartialEq, Eq)]
pub struct RenderedHeader {
    /// What it is.
    pub kind: HeaderKind,
    /// The text, URL or id.
    pub value: String,
    /// File name of a document.
    pub filename: Option<String>,
}

impl std::fmt::Debug for RenderedWhatsapp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RenderedWhatsapp({} {}, [private])", self.name, self.language)
    }
}

impl std::fmt::Debug for RenderedHeader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RenderedHeader({}, [private])", self.kind)
    }
}

impl WhatsappBinding {
    /// The values in a fixed order, with how errors name them.
    fn values(&self) -> impl Iterator<Item = (String, &str)> {
        let header = self.header.iter().flat_map(|header| {
            let value = ("header".to_owned(), header.value.as_str());
            let name = header.filename.as_deref();
            std::iter::once(value).chain(name.map(|name| ("header file name".to_owned(), name)))
        });
        let body = self.body.iter().enumerate();
        let body = body.map(|(at, value)| (format!("body value {}", at + 1), value.as_str()));
        let buttons = self.buttons.iter();
        let buttons = buttons.map(|button| (format!("button {}", button.index), button.value.as_str()));
        header.chain(body).chain(buttons)
    }

    /// What its form alone can tell wrong.
    fn check(&self) -> Result<(), String> {
        let name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        if self.name.is_empty() || self.name.len() > 512 || !self.name.bytes().all(name) {
            return Err(
                "whatsapp.name: use the template's name at Meta (lower-case letters, digits, _)".to_owned(),
            );
        }
        let tag = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        if !(2..=15).contains(&self.language.len()) || !self.language.bytes().all(tag) {
            return Err("whatsapp.language: use Meta's code, such as en or en_US".to_owned());
        }
        if self.body.len() > MOST_VALUES || self.buttons.len() > MOST_BUTTONS {
            return Err(format!(
                "whatsapp: {MOST_VALUES} values and {MOST_BUTTONS} buttons at most"
            ));
        }
        let mut places: Vec<u8> = self.buttons.iter().map(|button| button.index).collect();
        places.sort_unstable();
        places.dedup();
        let in_range = places.iter().all(|place| usize::from(*place) < MOST_BUTTONS);
        if places.len() < self.buttons.len() || !in_range {
            return Err("whatsapp.buttons: give each index from 0 to 9 once".to_owned());
        }
        let file = |header: &HeaderBinding| header.filename.is_some() && header.kind != HeaderKind::Document;
        if self.header.as_ref().is_some_and(file) {
            return Err("whatsapp.header: only a document has a file name".to_owned());
        }
        Ok(())
    }
}

impl CompiledTemplate {
    /// The template, bound to an approved one of Meta.
    ///
    /// # Errors
    /// The channel is another, a value is empty or cannot be parsed, or the message type has no such variable.
    pub fn with_whatsapp(mut self, binding: WhatsappBinding) -> Result<Self, TemplateError> {
        let label = self.label.clone();
        let fail = |line, problem: String| TemplateError {
            template: label.clone(),
            part: Part::Whatsapp,
            line,
            problem,
        };
        if self.channel != Channel::Whatsapp {
            let problem = format!("{} has no approved templates; remove whatsapp", self.channel);
            return Err(fail(None, problem));
        }
        binding.check().map_err(|problem| fail(None, problem))?;
        let own = self.variables().clone();
        for (at, (place, value)) in binding.values().enumerate() {
            if value.trim().is_empty() {
                return Err(fail(None, format!("{place}: is empty; write one")));
            }
            add_named(&mut self, Part::Whatsapp, part_name(at), value)
                .map_err(|(line, problem)| fail(line, format!("{place}: {problem}")))?;
        }
        if let Some(problem) = self.unknown_variable(&own) {
            return Err(fail(None, problem));
        }
        self.whatsapp = Some(binding);
        Ok(self)
    }

    /// A value of the binding that no message of a built-in type can have.
    fn unknown_variable(&self, of_body: &std::collections::BTreeSet<String>) -> Option<String> {
        let info = crate::message_types::message_type(self.message_type.as_str())?;
        let known = |name: &str| info.variables.iter().any(|variable| variable.name == name);
        let name = self
            .variables()
            .iter()
            .find(|name| !known(name) && !of_body.contains(*name))?;
        Some(format!(
            "the message type {} has no variable \"{name}\"; use one of its own, or use it in the body as well",
            self.message_type
        ))
    }

    /// The approved template it is bound to.
    pub fn whatsapp(&self) -> Option<&WhatsappBinding> {
        self.whatsapp.as_ref()
    }

    /// Fills in the values of the approved template; none where it is bound to none.
    pub fn render_whatsapp(
        &self,
        context: &RenderContext<'_>,
    ) -> Result<Option<RenderedWhatsapp>, RenderError> {
        let Some(binding) = &self.whatsapp else {
            return Ok(None);
        };
        let root = self.root(context)?;
        let places: Vec<String> = binding.values().map(|(place, _)| place).collect();
        let mut values = Vec::with_capacity(places.len());
        for (at, place) in places.iter().enumerate() {
            values.push(self.value(at, place, &root, context)?);
        }
        let mut values = values.into_iter();
        let mut next = || values.next().unwrap_or_default();
        let header = binding.header.as_ref().map(|header| RenderedHeader {
            kind: header.kind,
            value: next(),
            filename: header.filename.as_ref().map(|_| next()),
        });
        Ok(Some(RenderedWhatsapp {
            name: binding.name.clone(),
            language: binding.language.clone(),
            header,
            body: binding.body.iter().map(|_| next()).collect(),
            buttons: binding
                .buttons
                .iter()
                .map(|button| (button.index, button.kind, next()))
                .collect(),
        }))
    }

    /// One value, on one line: Meta refuses line breaks, tabs and rows of blanks.
    fn value(
        &self,
        at: usize,
        place: &str,
        root: &Root,
        context: &RenderContext<'_>,
    ) -> Result<String, RenderError> {
        let rendered = engine::render_part(&self.env, &part_name(at), root.to_value())
            .map_err(|error| self.failure(&error, TEXT_PART, context))?;
        let value = rendered.split_whitespace().collect::<Vec<_>>().join(" ");
        let count = value.chars().count();
        if count == 0 || count > LONGEST_VALUE {
            return Err(RenderError::Value {
                template: self.label.clone(),
                part: "whatsapp",
                problem: format!(
                    "the {place} has {count} characters with these values; it needs 1 to {LONGEST_VALUE}"
                ),
            });
        }
        Ok(value)
    }
}

/// What a value is called in the template's environment.
fn part_name(at: usize) -> String {
    format!("whatsapp {at}")
}

/// The values' names in the environment, for the pass that looks for holes.
pub(crate) fn part_names(binding: Option<&WhatsappBinding>) -> Vec<String> {
    let count = binding.map_or(0, |binding| binding.values().count());
    (0..count).map(part_name).collect()
}
