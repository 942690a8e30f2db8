//! The figures on `/metrics` that people build on: their names, what they count, and labels that stay few.
//!
//! Labels are words of the product: channels, statuses, providers, categories, built-in message types. A type that a tenant
//! made is `other`; a tenant is never a label.

mod describe;
mod prime;
mod refresh;

pub use describe::describe;
pub use prime::prime;

use jiff::SignedDuration;
use tidings_core::{Channel, ErrorCategory, MessageStatus, MessageType, ProviderKind};
use tidings_render::message_types;

/// The label of everything that is not one of our own words.
const OTHER: &str = "other";

/// The label of a call that nobody could be asked for: no connection could be used.
const NOBODY: &str = "none";

/// The label of a call that had no answer.
const NO_ANSWER: &str = "no_answer";

/// A message type as a label.
pub(crate) fn type_label(message_type: &MessageType) -> &'static str {
    match message_types::message_type(message_type.as_str()) {
        Some(info) => info.name,
        None if message_type.as_str() == crate::draft::DIRECT_TYPE => crate::draft::DIRECT_TYPE,
        None => OTHER,
    }
}

/// A communication reached a status.
pub(crate) fn communication(channel: Option<Channel>, message_type: &MessageType, status: MessageStatus) {
    metrics::counter!(
        "crm_communications_total",
        "message_type" => type_label(message_type),
        "channel" => channel.map_or("none", Channel::as_str),
        "status" => status.as_str(),
    )
    .increment(1);
}

/// A provider reported a delivery so long after it took the message.
pub(crate) fn delivery_time(channel: Channel, time: SignedDuration) {
    let seconds = time.as_secs_f64().max(0.0);
    metrics::histogram!("crm_delivery_time_seconds", "channel" => channel.as_str()).record(seconds);
}

/// A call that was refused, or (without a category) had no answer. Without a provider there was nobody to call.
pub(crate) fn api_error(provider: Option<ProviderKind>, category: Option<ErrorCategory>) {
    metrics::counter!(
        "crm_api_errors_total",
        "api" => provider.map_or(NOBODY, ProviderKind::as_str),
        "error_type" => category.map_or(NO_ANSWER, ErrorCategory::as_str),
    )
    .increment(1);
}

/// A call to a provider that was made, whatever came of it.
pub(crate) fn provider_call(provider: ProviderKind) {
    metrics::counter!("tidings_provider_calls_total", "api" => provider.as_str()).increment(1);
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn labels_are_words_of_the_product() {
        for (name, label) in [
            ("welcome", "welcome"),
            ("direct", "direct"),
            ("spring_sale_of_tenant_4711", "other"),
        ] {
            assert_eq!(type_label(&MessageType::parse(name).unwrap()), label);
        }
    }
}
