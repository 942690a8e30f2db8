//! The built-in message types: what they are for, what they need, how soon and in which category they go.
//!
//! Besides its own variables every template can use `brand` (`name`, `website_url`, `support_email`,
//! `support_phone`, `postal_address`) and `mail` (`category`, `locale`, `zone`, `unsubscribe_url`,
//! `preference_url`, `subject`). Optional ones are asked for with `{% if name is defined %}`.

mod lifecycle;
mod workflow;

pub use lifecycle::LIFECYCLE;
use tidings_core::{Category, Urgency};
use workflow::WORKFLOW;

/// A variable of a message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name in the context.
    pub name: &'static str,
    /// Whether messages without it are refused.
    pub required: bool,
    /// What it holds.
    pub meaning: &'static str,
}

/// A built-in message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageTypeInfo {
    /// The word used in requests.
    pub name: &'static str,
    /// What the message tells its reader.
    pub purpose: &'static str,
    /// The category where the request names none.
    pub category: Category,
    /// The urgency where the request names none.
    pub urgency: Urgency,
    /// Whether it is written for e-mail first (tables, cards) rather than for a short text.
    pub detailed: bool,
    /// Its variables.
    pub variables: &'static [Variable],
}

const fn needs(name: &'static str, meaning: &'static str) -> Variable {
    Variable {
        name,
        required: true,
        meaning,
    }
}

const fn takes(name: &'static str, meaning: &'static str) -> Variable {
    Variable {
        name,
        required: false,
        meaning,
    }
}

/// Every built-in type: first those of the planning workflow, then the [`LIFECYCLE`].
pub const MESSAGE_TYPES: &[MessageTypeInfo] = &JOINED;

const JOINED: [MessageTypeInfo; WORKFLOW.len() + LIFECYCLE.len()] = joined();

const fn joined() -> [MessageTypeInfo; WORKFLOW.len() + LIFECYCLE.len()] {
    let mut all = [WORKFLOW[0]; WORKFLOW.len() + LIFECYCLE.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = if at < WORKFLOW.len() {
            WORKFLOW[at]
        } else {
            LIFECYCLE[at - WORKFLOW.len()]
        };
        at += 1;
    }
    all
}

/// The built-in type of a name.
pub fn message_type(name: &str) -> Option<&'static MessageTypeInfo> {
    MESSAGE_TYPES.iter().find(|info| info.name == name)
}

impl MessageTypeInfo {
    /// Names that a template uses and the type does not document.
    pub fn undocumented<'a>(&self, used: impl IntoIterator<Item = &'a String>) -> Vec<String> {
        used.into_iter()
            .filter(|name| !self.variables.iter().any(|variable| variable.name == **name))
            .cloned()
            .collect()
    }
}
