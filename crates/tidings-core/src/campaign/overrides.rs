//! A tenant's changes to a campaign: every field may be left out.

use super::definition::{Cadence, Condition, Content, ContextSource, Definition, DueRule, MissedRun};
use crate::channel::Channel;
use crate::message::{Category, MessageType, Urgency};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a tenant wants otherwise than the definition has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DefinitionOverrides {
    /// On or off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether every message waits for a person's yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<bool>,
    /// Where the words come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The channel it goes by where it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// The message that follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_type: Option<MessageType>,
    /// Its category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Its urgency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urgency: Option<Urgency>,
    /// When it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Cadence>,
    /// What happens to moments that passed while nothing ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed_run: Option<MissedRun>,
    /// After how many hours a message is not sent any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_after_hours: Option<u32>,
    /// When a row is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<DueRule>,
    /// The conditions, in place of the definition's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
    /// Conditions besides them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_conditions: Vec<Condition>,
    /// Variables besides the definition's; one of the same name takes its place.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, ContextSource>,
    /// The variables without which the message cannot be written, in place of the definition's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_context: Option<Vec<String>>,
}

impl Definition {
    /// The definition with the changes. What comes out is to be validated like any other.
    #[must_use]
    pub fn with(&self, overrides: DefinitionOverrides) -> Self {
        let mut changed = self.clone();
        put(&mut changed.enabled, overrides.enabled);
        put(&mut changed.approval, overrides.approval);
        put(&mut changed.content, overrides.content);
        put(&mut changed.message_type, overrides.message_type);
        put(&mut changed.category, overrides.category);
        put(&mut changed.urgency, overrides.urgency);
        put(&mut changed.schedule, overrides.schedule);
        put(&mut changed.missed_run, overrides.missed_run);
        put(&mut changed.due, overrides.due);
        put(&mut changed.conditions, overrides.conditions);
        put(&mut changed.required_context, overrides.required_context);
        changed.channel = overrides.channel.or(changed.channel);
        changed.expires_after_hours = overrides.expires_after_hours.or(changed.expires_after_hours);
        changed.conditions.extend(overrides.extra_conditions);
        changed.context.extend(overrides.context);
        changed
    }
}

fn put<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}
