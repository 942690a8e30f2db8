//! Connections ready to send: built from their rows, kept while they do not change, chosen by the routing rule.

use crate::engine::Inner;
use crate::error::EngineError;
use crate::limits::Reserved;
use crate::pulse::Change;
use crate::sandbox::SandboxLine;
use crate::tenancy::TenantView;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tidings_core::breaker::{Breaker, CallResult};
use tidings_core::route::{ConnectionState, PassedOver, Route, RouteCode, Wish, route};
use tidings_core::{Channel, ConnectionId, ContactId, Dice, TenantId};
use tidings_providers::config::{ConnectionConfig, Credentials, build};
use tidings_providers::egress::Egress;
use tidings_providers::{Provider, SendOutcome};
use tidings_store::messages::routes::{self, RouteRow};
use tidings_store::messages::stickiness::Carried;
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

/// The routes of a batch: which connection contacts stayed with during it.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    stayed: HashMap<(ContactId, Channel), ConnectionId>,
    /// Slots under rate limits that the batch holds.
    pub reserved: Reserved,
}

/// What a delivery knows of its route before it is chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traveller {
    pub contact: ContactId,
    pub channel: Channel,
    /// The connection that just refused it.
    pub avoid: Option<ConnectionId>,
    /// The connection that may have taken it already: it is repeated there under the same reference, or nowhere.
    pub pinned: Option<ConnectionId>,
    pub carried: Carried,
}

/// A breaker that a batch of outcomes moved.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub tenant: TenantId,
    pub connection: ConnectionId,
    pub is: Breaker,
    pub detail: String,
}

/// A call whose end moves the breaker of its connection.
#[derive(Debug)]
pub(crate) struct Lesson {
    pub tenant: TenantId,
    pub connection: ConnectionId,
    pub change: Change,
    pub detail: String,
}

impl Routes {
    pub fn of(inner: &Inner, views: &HashMap<TenantId, TenantView>) -> Self {
        let rows = views.values().flat_map(|view| &view.routes);
        inner.pulse.see(rows, inner.now());
        Self::default()
    }

    /// Chooses the connection of the next call.
    pub fn choose(
        &mut self,
        inner: &Inner,
        view: &TenantView,
        traveller: Traveller,
        dice: &mut Dice,
        now: Timestamp,
    ) -> Route {
        let rows = || view.routes.iter().filter(|row| row.channel == traveller.channel);
        // One that cannot be built is no way while another is; where none can, the first says what is wrong.
        let built = |row: &RouteRow| inner.providers.of(&view.key, row).is_ok();
        let some_built = rows().any(built);
        let states: Vec<ConnectionState> = rows()
            .filter(|row| traveller.pinned.is_none_or(|id| row.id == id))
            .filter(|row| traveller.pinned.is_some() || !some_built || built(row))
            .map(|row| state(inner, &self.reserved, row, now))
            .collect();
        let key = (traveller.contact, traveller.channel);
        let last = self.stayed.get(&key).copied().or(traveller.carried.last);
        let wish = Wish::of(traveller.avoid, last, traveller.carried.wrote_to, now);
        let chosen = route(&states, wish, now, dice);
        if let Route::Use { connection, .. } = chosen
            && states.len() > 1
        {
            self.stayed.insert(key, connection);
        }
        chosen
    }

    /// Takes the single probe of a breaker: its name, or none when another node was faster.
    pub async fn probe(
        inner: &Inner,
        conn: &mut Conn,
        row: &RouteRow,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, EngineError> {
        let stand = inner.pulse.stand(row, now);
        let change = Change {
            version: stand.version,
            is: stand.breaker.probe(now),
        };
        let taken = routes::take_probe(conn, row.tenant, row.id, change.version, change.is, now).await?;
        if !taken {
            inner.pulse.probed_elsewhere(row.id, change);
            return Ok(None);
        }
        inner.pulse.changed(row.id, change);
        Ok(match change.is {
            Breaker::HalfOpen { probe_until, .. } => Some(probe_until),
            Breaker::Closed { .. } | Breaker::Open { .. } => None,
        })
    }

    /// Writes the breakers that calls moved: the first change of each.
    pub async fn learn(
        inner: &Inner,
        conn: &mut Conn,
        lessons: impl IntoIterator<Item = &Lesson>,
        now: Timestamp,
    ) -> Result<Vec<Moved>, EngineError> {
        let mut first: BTreeMap<ConnectionId, &Lesson> = BTreeMap::new();
        for lesson in lessons {
            first.entry(lesson.connection).or_insert(lesson);
        }
        let mut moved = Vec::new();
        for (connection, lesson) in first {
            let change = lesson.change;
            let detail = matches!(change.is, Breaker::Open { .. }).then_some(lesson.detail.as_str());
            let written = routes::set_breaker(
                conn,
                lesson.tenant,
                connection,
                change.version,
                change.is,
                detail,
                now,
            )
            .await?;
            if written {
                inner.pulse.changed(connection, change);
                moved.push(Moved {
                    tenant: lesson.tenant,
                    connection,
                    is: change.is,
                    detail: lesson.detail.clone(),
                });
            } else {
                inner.pulse.doubt(connection, change.version);
            }
        }
        Ok(moved)
    }
}

fn state(inner: &Inner, reserved: &Reserved, row: &RouteRow, now: Timestamp) -> ConnectionState {
    let stand = inner.pulse.stand(row, now);
    ConnectionState {
        id: row.id,
        enabled: true,
        priority: row.priority,
        weight: row.weight,
        breaker: stand.breaker,
        limited_until: reserved.limited_until(inner, row, now),
        health: stand.health,
    }
}

/// How a route is kept with its attempt; none where the connection was simply the best.
pub(crate) fn kept(why: RouteCode, passed_over: &[PassedOver]) -> Option<serde_json::Value> {
    let plain = matches!(why, RouteCode::Preferred | RouteCode::Weight) && passed_over.is_empty();
    (!plain).then(|| json!({"why": why, "passed_over": passed_over}))
}

/// What stands in the way of each connection, by name.
pub(crate) fn in_the_way(view: &TenantView, passed_over: &[PassedOver]) -> String {
    let each: Vec<String> = passed_over
        .iter()
        .map(|one| {
            let route = view.routes.iter().find(|route| route.id == one.connection);
            let name = route.map_or("?", |route| route.name.as_str());
            match one.until {
                Some(until) => format!("{name} ({} until {until})", one.code),
                None => format!("{name} ({})", one.code),
            }
        })
        .collect();
    format!("{}: {}", RouteCode::NoneReady, each.join(", "))
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
