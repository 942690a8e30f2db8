//! Counters that begin at nothing: Prometheus sees no increase in a series that springs up with its first event, so those
//! that rules ask for are there from the start, with every label they may have.

use super::{NO_ANSWER, NOBODY, OTHER};
use metrics::counter;
use tidings_core::alert::{AlertRule, Notifier};
use tidings_core::{Channel, ErrorCategory, MessageStatus, ProviderKind};
use tidings_render::message_types::MESSAGE_TYPES;

/// What becomes of calls to notifiers.
const NOTIFIED: [&str; 4] = ["told", "refused", "failed", "unknown"];

/// The statuses that rules ask for.
const STATUSES: [MessageStatus; 3] = [MessageStatus::Sent, MessageStatus::Bounced, MessageStatus::Failed];

/// Shows the counters that alert rules are made of as 0. Call it once, when the recorder is there.
pub fn prime() {
    let categories = ErrorCategory::ALL.iter().map(|category| category.as_str());
    for category in categories.chain([NO_ANSWER]) {
        for api in ProviderKind::ALL.iter().map(|provider| provider.as_str()) {
            counter!("crm_api_errors_total", "api" => api, "error_type" => category).increment(0);
        }
    }
    let refused = ErrorCategory::AuthFailure.as_str();
    counter!("crm_api_errors_total", "api" => NOBODY, "error_type" => refused).increment(0);
    for provider in ProviderKind::ALL {
        counter!("tidings_provider_calls_total", "api" => provider.as_str()).increment(0);
    }
    for rule in AlertRule::ALL {
        counter!("tidings_alerts_raised_total", "rule" => rule.as_str()).increment(0);
    }
    for notifier in [Notifier::Pagerduty, Notifier::Slack] {
        for outcome in NOTIFIED {
            counter!("tidings_alert_notifications_total", "notifier" => notifier.as_str(), "outcome" => outcome).increment(0);
        }
    }
    for channel in Channel::ALL
        .iter()
        .map(|channel| channel.as_str())
        .chain(["lost"])
    {
        counter!("tidings_unknown_outcomes_total", "channel" => channel).increment(0);
    }
    let types = MESSAGE_TYPES.iter().map(|info| info.name);
    for message_type in types.chain([crate::draft::DIRECT_TYPE, OTHER]) {
        for channel in Channel::ALL.iter().map(|channel| channel.as_str()) {
            for status in STATUSES.iter().map(|status| status.as_str()) {
                counter!("crm_communications_total", "message_type" => message_type, "channel" => channel, "status" => status)
                    .increment(0);
            }
        }
    }
}
