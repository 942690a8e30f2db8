//! Connections ready to send: built from their rows, kept while they do not change, chosen by the routing rule.

use crate::engine::Inner;
use crate::error::EngineError;
use crate::limits::Reserved;
use crate::sandbox::SandboxLine;
use crate::tenancy::TenantView;
use jiff::Timestamp;
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tidings_core::breaker::{Breaker, CallResult};
use tidings_core::route::{ConnectionState, Route, route};
use tidings_core::{Channel, ConnectionId, Dice, TenantId};
use tidings_providers::config::{ConnectionConfig, Credentials, build};
use tidings_providers::egress::Egress;
use tidings_providers::{Provider, SendOutcome};
use tidings_store::messages::routes::{self, RouteRow};
use tidings_store::{Conn, Place, TenantKey};

/// Built providers kept in memory; beyond it all are built anew when they are needed.
const KEPT: usize = 10_000;

/// A built provider, with what it was built from.
#[derive(Clone, Debug)]
struct Built {
    config: serde_json::Value,
    credentials_sealed: Option<Vec<u8>>,
    provider: Result<Arc<dyn Provider>, String>,
}

/// The providers of one process.
#[derive(Debug)]
pub(crate) struct Providers {
    egress: Egress,
    sandbox: SandboxLine,
    built: Mutex<HashMap<ConnectionId, Built>>,
}

impl Providers {
    pub fn new(egress: Egress, sandbox: SandboxLine) -> Self {
        Self {
            egress,
            sandbox,
            built: Mutex::default(),
        }
    }

    /// The way out.
    pub fn egress(&self) -> &Egress {
        &self.egress
    }

    /// The provider of a connection; the error says what is wrong with its configuration.
    pub fn of(&self, key: &TenantKey, row: &RouteRow) -> Result<Arc<dyn Provider>, String> {
        let kept = self
            .built
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&row.id)
            .cloned();
        if let Some(built) = kept
            .filter(|built| built.config == row.config && built.credentials_sealed == row.credentials_sealed)
        {
            return built.provider;
        }
        let provider = self.build(key, row);
        let built = Built {
            config: row.config.clone(),
            credentials_sealed: row.credentials_sealed.clone(),
            provider: provider.clone(),
        };
        let mut kept = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(row.id, built);
        provider
    }

    /// A provider of a configuration that is only looked at, and not kept.
    pub fn fresh(
        &self,
        config: &ConnectionConfig,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<Arc<dyn Provider>, tidings_providers::ConfigError> {
        build(config, &self.egress, self.sandbox.of(tenant, connection))
    }

    fn build(&self, key: &TenantKey, row: &RouteRow) -> Result<Arc<dyn Provider>, String> {
        let credentials = match &row.credentials_sealed {
            Some(sealed) => {
                let place = Place::new("connections", "credentials_sealed", row.tenant, row.id.0);
                let text = key.open(&place, sealed).map_err(|error| error.to_string())?;
                let text =
                    String::from_utf8(text).map_err(|_| "the stored credentials are not text".to_owned())?;
                Credentials::new(SecretString::from(text))
            }
            None => Credentials::none(),
        };
        let config = ConnectionConfig {
            kind: row.provider,
            channel: row.channel,
            settings: row.config.clone(),
            credentials,
        };
        let sandbox = self.sandbox.of(row.tenant, row.id);
        build(&config, &self.egress, sandbox).map_err(|error| error.to_string())
    }
}

/// The connections of a batch with their breakers as they move during it.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    breakers: HashMap<ConnectionId, Breaker>,
    /// Slots under rate limits that the batch holds.
    pub reserved: Reserved,
}

impl Routes {
    pub fn of(views: &HashMap<TenantId, TenantView>) -> Self {
        let rows = views.values().flat_map(|view| &view.routes);
        Self {
            breakers: rows.map(|row| (row.id, row.breaker)).collect(),
            reserved: Reserved::default(),
        }
    }

    /// Chooses the connection of the next call. `avoid` just failed and is passed over while another can.
    pub fn choose(
        &self,
        inner: &Inner,
        view: &TenantView,
        channel: Channel,
        avoid: Option<ConnectionId>,
        dice: &mut Dice,
        now: Timestamp,
    ) -> Route {
        let mut states: Vec<ConnectionState> = view
            .routes
            .iter()
            .filter(|row| row.channel == channel)
            .map(|row| ConnectionState {
                id: row.id,
                enabled: true,
                priority: row.priority,
                weight: row.weight,
                breaker: self.breakers.get(&row.id).copied().unwrap_or(row.breaker),
                limited_until: self.reserved.limited_until(inner, row, now),
            })
            .collect();
        if let Some(avoid) = avoid {
            let others: Vec<ConnectionState> =
                states.iter().filter(|state| state.id != avoid).cloned().collect();
            if let found @ Route::Use { .. } = route(&others, now, dice) {
                return found;
            }
        }
        states.sort_by_key(|state| (state.priority, state.id));
        route(&states, now, dice)
    }

    /// Takes the single probe of a breaker; false when another node was faster.
    pub async fn probe(
        &mut self,
        conn: &mut Conn,
        tenant: TenantId,
        connection: ConnectionId,
        now: Timestamp,
    ) -> Result<bool, EngineError> {
        let was = self.breakers.get(&connection).copied().unwrap_or_default();
        let is = was.probe(now);
        let taken = routes::set_breaker(conn, tenant, connection, was, is, None, now).await?;
        self.breakers.insert(connection, is);
        Ok(taken)
    }

    /// Moves breakers by what calls brought; writes only those that changed.
    pub async fn learn(
        &mut self,
        conn: &mut Conn,
        results: &[(TenantId, ConnectionId, CallResult, String)],
        dice: &mut Dice,
        now: Timestamp,
    ) -> Result<Vec<(TenantId, ConnectionId)>, EngineError> {
        let mut opened = Vec::new();
        let mut moved: HashMap<ConnectionId, (TenantId, Breaker, Breaker, String)> = HashMap::new();
        for (tenant, connection, result, cause) in results {
            let was = self.breakers.get(connection).copied().unwrap_or_default();
            let is = was.after(*result, now, dice);
            if is != was {
                self.breakers.insert(*connection, is);
                let entry = moved
                    .entry(*connection)
                    .or_insert_with(|| (*tenant, was, is, cause.clone()));
                entry.2 = is;
                if matches!(is, Breaker::Open { .. }) {
                    opened.push((*tenant, *connection));
                }
            }
        }
        let mut moved: Vec<_> = moved.into_iter().collect();
        moved.sort_by_key(|(connection, _)| *connection);
        for (connection, (tenant, was, is, cause)) in moved {
            if was != is {
                let cause = matches!(is, Breaker::Open { .. }).then_some(cause.as_str());
                routes::set_breaker(conn, tenant, connection, was, is, cause, now).await?;
            }
        }
        Ok(opened)
    }
}

/// What an outcome says about the connection's health. An unknown one counts as a failure: no answer came.
pub(crate) fn health(outcome: &SendOutcome) -> (CallResult, String) {
    match outcome {
        SendOutcome::Accepted { .. } => (CallResult::Answered, String::new()),
        SendOutcome::Rejected(rejection) => {
            let cause = format!("{}: {} {}", rejection.category, rejection.code, rejection.detail);
            (
                CallResult::from(rejection.category),
                cause.chars().take(200).collect(),
            )
        }
        SendOutcome::Unknown { detail } => (CallResult::Failed, detail.chars().take(200).collect()),
    }
}
