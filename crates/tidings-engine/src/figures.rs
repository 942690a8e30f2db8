//! The figures on `/metrics` that people build on: their names, what they count, and labels that stay few.
//!
//! Labels are words of the product: channels, statuses, providers, categories, built-in message types. A type that a tenant
//! made is `other`; a tenant is never a label.

use crate::engine::Engine;
use crate::error::EngineError;
use jiff::SignedDuration;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use std::collections::{BTreeSet, HashMap};
use std::str::FromStr as _;
use tidings_core::alert::Severity;
use tidings_core::breaker::BreakerState;
use tidings_core::job::JobKind;
use tidings_core::{Channel, ErrorCategory, MessageStatus, MessageType, ProviderKind};
use tidings_queue::stats;
use tidings_render::message_types;
use tidings_store::health::{self, Standing};
use tidings_store::messages::figures;
use tidings_store::tenants;

/// The window of the open rate.
const OPENED_WITHIN: SignedDuration = SignedDuration::from_hours(7 * 24);

/// With more connections than this none has figures of its own: each would be a series of its own.
const MOST_NAMED: usize = 200;

/// Connections that are counted.
const MOST_COUNTED: i64 = 100_000;

/// The label of everything that is not one of our own words.
const OTHER: &str = "other";

/// Says on `/metrics` what each figure means.
pub fn describe() {
    describe_counter!(
        "crm_communications_total",
        "Communications by message type, channel and status: sent (a provider took it), delivered, opened, clicked, \
         bounced, failed, suppressed (channel none where none was chosen)"
    );
    describe_histogram!(
        "crm_delivery_time_seconds",
        Unit::Seconds,
        "From the moment a provider took a message to the moment it reports it as delivered"
    );
    describe_gauge!(
        "crm_open_rate",
        "Share of mail that a person opened (0 to 1), of the newest mail of the last seven days, without mail whose \
         opens are not tracked"
    );
    describe_counter!(
        "crm_api_errors_total",
        "Calls to providers that were refused or had no answer, by provider (api) and category (error_type)"
    );
    describe_histogram!(
        "tidings_time_to_send_seconds",
        Unit::Seconds,
        "From the acceptance of a request to the moment a provider took it"
    );
    describe_counter!(
        "tidings_bounces_total",
        "Bounces by connection and class: hard (the address), soft (adds up), block (our reputation or content)"
    );
    describe_counter!(
        "tidings_mail_total",
        "Mail that came back, by kind and outcome: stored, known (again), applied, joined, unjoined, ignored, unproved, \
         stranger (about somebody the message did not go to), unreadable, unknown_recipient"
    );
    describe_gauge!("tidings_queue_jobs", "Jobs by type and state");
    describe_gauge!(
        "tidings_connections",
        "Enabled connections by provider and state of their breaker (closed, open, half_open)"
    );
    describe_gauge!(
        "tidings_connection_state",
        "The breaker of a connection: 0 closed, 1 half open, 2 open; only while there are few connections"
    );
    describe_gauge!(
        "tidings_connection_health",
        "The health score of a connection, 0 to 100, of the last five minutes; only while there are few connections"
    );
    describe_gauge!(
        "tidings_queue_oldest_age_seconds",
        Unit::Seconds,
        "How long the oldest due job has been waiting"
    );
    describe_gauge!("tidings_alerts_open", "Open alerts by severity");
    describe_counter!("tidings_alerts_raised_total", "Alerts opened, by rule");
    describe_counter!(
        "tidings_alert_notifications_total",
        "Calls to notifiers, by notifier and outcome: told, refused (tried again), failed (given up), unknown (no answer)"
    );
}

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
        "api" => provider.map_or("none", ProviderKind::as_str),
        "error_type" => category.map_or("no_answer", ErrorCategory::as_str),
    )
    .increment(1);
}

/// One connection's own figures.
fn name_connection(one: &Standing, provider: ProviderKind, state: BreakerState) {
    let position = match state {
        BreakerState::Closed => 0.0,
        BreakerState::HalfOpen => 1.0,
        BreakerState::Open => 2.0,
    };
    let (id, provider) = (one.connection.to_string(), provider.as_str());
    metrics::gauge!("tidings_connection_state", "connection" => id.clone(), "provider" => provider)
        .set(position);
    let health = f64::from(one.tally.health().unwrap_or(100));
    metrics::gauge!("tidings_connection_health", "connection" => id, "provider" => provider).set(health);
}

impl Engine {
    /// Refreshes the figures that are counted in the database. Every node that shows them shows the same.
    ///
    /// # Errors
    /// When the database fails; the figures stay as they were.
    pub async fn refresh_figures(&self) -> Result<(), EngineError> {
        self.refresh_queue().await?;
        self.refresh_connections().await?;
        self.refresh_alerts().await?;
        self.refresh_open_rate().await
    }

    async fn refresh_alerts(&self) -> Result<(), EngineError> {
        let mut conn = self.inner.conn().await?;
        let open = tidings_store::alerts::count_open(&mut conn).await?;
        for severity in Severity::ALL {
            let n = open
                .iter()
                .find(|(known, _)| known == severity)
                .map_or(0, |(_, n)| *n);
            metrics::gauge!("tidings_alerts_open", "severity" => severity.as_str()).set(n as f64);
        }
        Ok(())
    }

    async fn refresh_queue(&self) -> Result<(), EngineError> {
        let mut conn = self.inner.conn().await?;
        let rows = stats(&mut conn, None, self.now()).await?;
        drop(conn);
        let mut jobs: HashMap<(&'static str, &'static str), i64> = HashMap::new();
        let kinds = JobKind::ALL.iter().map(|kind| kind.as_str()).chain([OTHER]);
        for kind in kinds {
            for state in ["queued", "scheduled", "processing", "dead"] {
                jobs.insert((kind, state), 0);
            }
        }
        for row in &rows {
            let kind = JobKind::from_str(&row.kind).map_or(OTHER, JobKind::as_str);
            for (state, n) in [
                ("queued", row.queued),
                ("scheduled", row.scheduled),
                ("processing", row.processing),
                ("dead", row.dead),
            ] {
                *jobs.entry((kind, state)).or_default() += n;
            }
        }
        for ((kind, state), n) in jobs {
            metrics::gauge!("tidings_queue_jobs", "job_type" => kind, "state" => state).set(n as f64);
        }
        let oldest = rows.iter().filter_map(|row| row.oldest_age_ms).max().unwrap_or(0);
        metrics::gauge!("tidings_queue_oldest_age_seconds").set(oldest as f64 / 1_000.0);
        Ok(())
    }

    async fn refresh_connections(&self) -> Result<(), EngineError> {
        let mut conn = self.inner.conn().await?;
        let all = health::standings(&mut conn, self.now(), MOST_COUNTED).await?;
        drop(conn);
        let mut counts: HashMap<(ProviderKind, BreakerState), usize> = HashMap::new();
        for provider in ProviderKind::ALL {
            counts.extend(BreakerState::ALL.iter().map(|state| ((*provider, *state), 0)));
        }
        let few = all.len() <= MOST_NAMED;
        for one in &all {
            let (Ok(provider), Ok(state)) = (one.provider.parse(), one.state.parse()) else {
                continue;
            };
            *counts.entry((provider, state)).or_default() += 1;
            if few {
                name_connection(one, provider, state);
            }
        }
        for ((provider, state), count) in counts {
            metrics::gauge!("tidings_connections", "provider" => provider.as_str(), "state" => state.as_str())
                .set(count as f64);
        }
        Ok(())
    }

    async fn refresh_open_rate(&self) -> Result<(), EngineError> {
        let now = self.now();
        let since = now.saturating_sub(OPENED_WITHIN).unwrap_or(now);
        let mut conn = self.inner.conn().await?;
        let rows = figures::opened(&mut conn, since).await?;
        let ids: Vec<_> = rows
            .iter()
            .map(|row| row.tenant)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let tenants = tenants::load(&mut conn, &ids).await?;
        drop(conn);
        let mut rates: HashMap<&'static str, (i64, i64)> = HashMap::new();
        for row in &rows {
            let tracked = tenants
                .get(&row.tenant)
                .is_some_and(|tenant| tenant.settings.tracking.of(&row.message_type).opens);
            if tracked {
                let rate = rates.entry(type_label(&row.message_type)).or_default();
                rate.0 += row.mails;
                rate.1 += row.opened;
            }
        }
        for (message_type, (mails, opened)) in rates {
            metrics::gauge!("crm_open_rate", "message_type" => message_type)
                .set(opened as f64 / mails.max(1) as f64);
        }
        Ok(())
    }
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
