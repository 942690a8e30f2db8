//! Notifiers: who tells an operator of an alert. Not providers: they carry no message to a contact.

pub(crate) mod pagerduty;
pub(crate) mod slack;
#[cfg(test)]
mod tests;

pub use pagerduty::PagerDuty;
pub use slack::Slack;

use crate::contract::SendOutcome;
use async_trait::async_trait;
use std::fmt::Debug;
use tidings_core::Timestamp;
use tidings_core::alert::{NotifyEvent, Severity};

/// What a notifier is told. Nothing in it is personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// It is open, or over.
    pub event: NotifyEvent,
    /// The same for every word about one alert.
    pub dedup_key: String,
    /// Whose: the tenant's short name.
    pub tenant: String,
    /// The rule's word.
    pub rule: String,
    /// What it is about.
    pub subject: String,
    /// How loudly.
    pub severity: Severity,
    /// A sentence with the figures.
    pub detail: String,
    /// Since when.
    pub opened_at: Timestamp,
    /// The installation it comes from.
    pub source: String,
}

impl Note {
    /// One line that says it all.
    pub fn headline(&self) -> String {
        format!("{}: {} ({})", self.tenant, self.detail, self.rule)
    }
}

/// One way to tell an operator.
#[async_trait]
pub trait Notify: Debug + Send + Sync {
    /// Tells; one call, within the egress policy's time. No retry: the queue does that.
    async fn tell(&self, note: &Note) -> SendOutcome;
}
