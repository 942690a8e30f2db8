//! The figures that are counted in the database. Each query has a bound that does not grow with the tables, and they are asked
//! now and then, never by whoever looks at `/metrics`.

use super::{OTHER, type_label};
use crate::engine::Engine;
use crate::error::EngineError;
use jiff::SignedDuration;
use std::collections::{BTreeSet, HashMap};
use std::str::FromStr as _;
use tidings_core::ProviderKind;
use tidings_core::alert::Severity;
use tidings_core::breaker::BreakerState;
use tidings_core::job::JobKind;
use tidings_queue::totals;
use tidings_render::message_types::MESSAGE_TYPES;
use tidings_store::health::{self, Standing};
use tidings_store::messages::figures;
use tidings_store::tenants;

/// The window of the open rate.
const OPENED_WITHIN: SignedDuration = SignedDuration::from_hours(7 * 24);

/// With more connections than this none has figures of its own: each would be a series of its own.
const MOST_NAMED: usize = 200;

/// Connections that are counted.
const MOST_COUNTED: i64 = 100_000;

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
        let rows = totals(&mut conn, self.now()).await?;
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
        let types = MESSAGE_TYPES.iter().map(|info| info.name);
        let mut rates: HashMap<&'static str, (i64, i64)> = types
            .chain([crate::draft::DIRECT_TYPE, OTHER])
            .map(|name| (name, (0, 0)))
            .collect();
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
            metrics::gauge!("tidings_open_rate_mails", "message_type" => message_type).set(mails as f64);
            // Without mail there is no rate; the one before stands, of no mail.
            if mails > 0 {
                metrics::gauge!("crm_open_rate", "message_type" => message_type)
                    .set(opened as f64 / mails as f64);
            }
        }
        Ok(())
    }
}
