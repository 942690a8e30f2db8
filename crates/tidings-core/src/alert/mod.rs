//! Alerts: what an operator must hear of, how loudly, and when it is over. All of it pure: figures in, steps out.

mod assess;
mod figures;
mod step;
mod tell;
mod thresholds;

pub use assess::{Finding, Verdict, assess, auth_failure_detail};
pub use figures::{ConnectionHealth, Figures, OpenFigures, ProviderFigures, RunHealth};
pub use step::{HOLD_MAX_S, LAPSE, Step, step};
pub use tell::{Configured, NotifyEvent, Told, next_word, notifier_of};
pub use thresholds::{CALLS_MOST, MAILS_MOST, ThresholdError, Thresholds};

use crate::word::word_enum;

word_enum! {
    /// What is watched.
    pub enum AlertRule {
        /// A provider refuses a connection's credentials.
        AuthFailure = "auth_failure",
        /// No connection of a channel takes calls.
        ChannelDown = "channel_down",
        /// Too few deliveries over a provider reach their address.
        DeliveryRate = "delivery_rate",
        /// Too many calls to a provider fail.
        ApiErrors = "api_errors",
        /// Too many calls to a provider are repetitions.
        Retries = "retries",
        /// Too little mail is opened.
        OpenRate = "open_rate",
        /// Jobs are given up.
        DeadLetters = "dead_letters",
        /// Outcomes that nobody knows wait for a person.
        UnknownOutcomes = "unknown_outcomes",
        /// A campaign's source cannot be asked.
        SourceUnreachable = "source_unreachable",
        /// Due work waits too long.
        QueueAge = "queue_age",
        /// Raised by hand, to try the notifiers.
        Test = "test",
    }
}

word_enum! {
    /// How loudly.
    pub enum Severity {
        /// Somebody gets up at night.
        Critical = "critical",
        /// Today.
        High = "high",
        /// This week.
        Medium = "medium",
        /// Read in a digest.
        Low = "low",
    }
}

word_enum! {
    /// Who passes an alert on.
    pub enum Notifier {
        /// PagerDuty, Events API v2.
        Pagerduty = "pagerduty",
        /// A Slack channel, by incoming webhook.
        Slack = "slack",
        /// A daily e-mail.
        Digest = "digest",
    }
}

impl AlertRule {
    /// How loudly the rule speaks.
    pub const fn severity(self) -> Severity {
        match self {
            Self::AuthFailure | Self::ChannelDown | Self::Test => Severity::Critical,
            Self::DeliveryRate | Self::ApiErrors => Severity::High,
            Self::Retries | Self::OpenRate => Severity::Medium,
            Self::DeadLetters | Self::UnknownOutcomes | Self::SourceUnreachable | Self::QueueAge => {
                Severity::Low
            }
        }
    }

    /// Whether an alert ends when nothing has been heard for long: a rate without traffic says nothing any more. A
    /// credential that was refused stays refused until a call succeeds.
    pub const fn lapses(self) -> bool {
        matches!(
            self,
            Self::DeliveryRate | Self::ApiErrors | Self::Retries | Self::OpenRate
        )
    }
}

/// What one alert is about: at most one alert of a key is open at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertKey {
    /// The rule.
    pub rule: AlertRule,
    /// The connection, provider, channel or campaign; `tenant` where it is the whole.
    pub subject: String,
}

/// The subject of what concerns the tenant as a whole.
pub const WHOLE: &str = "tenant";

impl AlertKey {
    /// A key.
    pub fn new(rule: AlertRule, subject: impl Into<String>) -> Self {
        Self {
            rule,
            subject: subject.into(),
        }
    }
}
