//! Who hears of an alert, and what there is to say next.

use super::{Notifier, Severity};
use crate::word::word_enum;

/// Which notifiers a tenant has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// PagerDuty.
    pub pagerduty: bool,
    /// Slack.
    pub slack: bool,
    /// The daily digest.
    pub digest: bool,
}

/// Who hears of an alert: critical by PagerDuty, high and medium by Slack, low in the digest. Where that one is missing the
/// next quieter one hears of it; none: it is in the list of alerts alone.
pub const fn notifier_of(severity: Severity, configured: Configured) -> Option<Notifier> {
    match severity {
        Severity::Critical if configured.pagerduty => Some(Notifier::Pagerduty),
        Severity::Critical | Severity::High | Severity::Medium if configured.slack => Some(Notifier::Slack),
        _ if configured.digest => Some(Notifier::Digest),
        _ => None,
    }
}

word_enum! {
    /// What a notifier has been told of an alert.
    pub enum Told {
        /// Nothing.
        Nothing = "nothing",
        /// That it is open.
        Open = "open",
        /// That it is over.
        Over = "over",
    }
}

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyEvent {
    /// It is open.
    Trigger,
    /// It is over.
    Resolve,
}

/// What there is to say, whatever was queued, in whatever order: the alert's state now and what was told decide.
/// `perhaps`: a call had no answer, so the notifier may know more than is on record.
pub const fn next_word(is_open: bool, told: Told, perhaps: bool) -> Option<NotifyEvent> {
    match (is_open, told) {
        (true, Told::Nothing) => Some(NotifyEvent::Trigger),
        (false, Told::Open) => Some(NotifyEvent::Resolve),
        (false, Told::Nothing) if perhaps => Some(NotifyEvent::Resolve),
        // Over before it was told: nobody is woken for it.
        (false, Told::Nothing | Told::Over) | (true, Told::Open | Told::Over) => None,
    }
}
