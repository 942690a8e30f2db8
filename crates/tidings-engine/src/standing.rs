//! How connections stand: breaker, health, limits. And the drill, which breaks one on purpose.

use crate::engine::Engine;
use crate::error::EngineError;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;
use tidings_core::breaker::{Breaker, LONGEST_DRILL, Ramp, TripCause};
use tidings_core::limit::RateLimit;
use tidings_core::traffic::Tally;
use tidings_core::{ConnectionId, TenantId};
use tidings_store::audit::{self, AuditEntry};
use tidings_store::columns::Page;
use tidings_store::connections::{self, Connection};
use tidings_store::events::{self, NewEvent};
use tidings_store::messages::routes;
use tidings_store::{StoreError, TenantTx, health};

/// How often a drill is tried where the breaker moves at the same moment.
const TRIES: usize = 5;

/// A connection, with how it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// The connection, with its breaker.
    #[serde(flatten)]
    pub connection: Connection,
    /// Hundredths of its share that it may have now: less than 100 while its breaker is not closed, or closed lately.
    pub share: u8,
    /// When its breaker lets a probe through, while it is not closed.
    pub next_probe_at: Option<Timestamp>,
    /// Its health score, 0 to 100, of the calls of every node in the last five minutes; none while they are too few.
    pub health: Option<u8>,
    /// Those calls.
    pub lately: Lately,
    /// At most so many calls go out, all nodes together: its own limit, or its provider's default.
    pub rate: Option<connections::RateLimit>,
    /// How long one call may take, in milliseconds.
    pub call_ms: u64,
}

/// The calls of the last five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lately {
    /// How many ended.
    pub calls: u32,
    /// How many failed or had no answer.
    pub failed: u32,
    /// How long they took on average, in milliseconds.
    pub mean_ms: Option<u64>,
}

/// What a drill does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drill {
    /// Breaks the connection for so long; then it ends by itself.
    Break(SignedDuration),
    /// Ends the drill now.
    Restore,
}

impl Engine {
    /// A page of the tenant's connections.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn standings(
        &self,
        tenant: TenantId,
        after: Option<ConnectionId>,
        limit: u32,
    ) -> Result<Page<Standing, ConnectionId>, EngineError> {
        let mut tx = self.store().tenant(tenant).tx().await?;
        let page = connections::list(&mut tx, after, limit).await?;
        let seen = health::merged(&mut tx, &[tenant], self.now()).await?;
        tx.commit().await?;
        let stand = |connection: Connection| {
            let tally = seen.get(&connection.id).copied().unwrap_or_default();
            self.standing_of(connection, tally)
        };
        Ok(Page {
            next: page.next,
            items: page.items.into_iter().map(stand).collect(),
        })
    }

    /// One connection.
    ///
    /// # Errors
    /// When the tenant has no such connection.
    pub async fn standing(&self, tenant: TenantId, id: ConnectionId) -> Result<Standing, EngineError> {
        let mut tx = self.store().tenant(tenant).tx().await?;
        let standing = self.stand(&mut tx, id).await?;
        tx.commit().await?;
        Ok(standing)
    }

    /// Breaks a connection on purpose, or ends that. The breaker is the real one: traffic goes to the others, and comes
    /// back by a probe and in steps. Written down in the audit log under the actor, and in the event log.
    ///
    /// # Errors
    /// When the tenant has no such connection; when the breaker is open by itself, which a drill would hide; when there is
    /// no drill to end.
    pub async fn drill(
        &self,
        tenant: TenantId,
        id: ConnectionId,
        drill: Drill,
        actor: &str,
    ) -> Result<Standing, EngineError> {
        let now = self.now();
        let mut tx = self.store().tenant(tenant).tx().await?;
        let is = set(&mut tx, id, drill, now).await?;
        let (action, until) = match is {
            Breaker::Open { retry_at, .. } => ("connection.drilled", Some(retry_at)),
            Breaker::Closed { .. } | Breaker::HalfOpen { .. } => ("connection.restored", None),
        };
        let word = if until.is_some() { "break" } else { "restore" };
        let event = NewEvent {
            tenant,
            kind: "ConnectionDrilled".to_owned(),
            contact: None,
            message: None,
            subject: Some(id.to_string()),
            data: json!({"action": word, "until": until}),
        };
        events::append(&mut tx, &[event], &mut self.dice(), now).await?;
        let entry = AuditEntry {
            tenant,
            actor: actor.to_owned(),
            action: action.to_owned(),
            object: id.to_string(),
            contact: None,
            detail: Some(json!({"until": until})),
        };
        let keyring = tx.keyring();
        audit::append(&mut tx, &keyring, entry, now).await?;
        let standing = self.stand(&mut tx, id).await?;
        tx.commit().await?;
        tracing::warn!(%tenant, connection = %id, action, "a connection was drilled");
        Ok(standing)
    }

    async fn stand(&self, tx: &mut TenantTx, id: ConnectionId) -> Result<Standing, EngineError> {
        let connection = connections::get(tx, id).await?;
        let tenant = tx.tenant();
        let seen = health::merged(tx, &[tenant], self.now()).await?;
        let tally = seen.get(&id).copied().unwrap_or_default();
        Ok(self.standing_of(connection, tally))
    }

    fn standing_of(&self, connection: Connection, tally: Tally) -> Standing {
        let own = connection
            .rate_limit
            .and_then(|own| RateLimit::new(u64::from(own.limit), own.per_ms).ok());
        let rate =
            RateLimit::of(connection.provider, own, &connection.config).map(|rate| connections::RateLimit {
                limit: rate.limit(),
                per_ms: u64::try_from(rate.per().as_millis()).unwrap_or(u64::MAX),
            });
        let process_ms = u64::try_from(self.inner.limits.call.as_millis()).unwrap_or(u64::MAX);
        let position = connection.breaker.position;
        Standing {
            share: position.share(self.now()),
            next_probe_at: match position {
                Breaker::Closed { .. } => None,
                Breaker::Open { retry_at: at, .. } | Breaker::HalfOpen { probe_until: at, .. } => Some(at),
            },
            health: tally.health(),
            lately: Lately {
                calls: tally.calls,
                failed: tally.failed,
                mean_ms: tally.latency_ms.checked_div(u64::from(tally.calls)),
            },
            rate,
            call_ms: connection
                .call_limit_ms
                .map_or(process_ms, |own| u64::from(own).min(process_ms)),
            connection,
        }
    }
}

/// Moves the breaker; again where a call moved it at the same moment.
async fn set(
    tx: &mut TenantTx,
    id: ConnectionId,
    drill: Drill,
    now: Timestamp,
) -> Result<Breaker, EngineError> {
    for _ in 0..TRIES {
        let connection = connections::get(tx, id).await?;
        let is = after_drill(&connection, drill, now)?;
        let (tenant, version) = (tx.tenant(), connection.breaker.version);
        if routes::set_breaker(tx, tenant, id, version, is, None, now).await? {
            return Ok(is);
        }
    }
    Err(EngineError::Conflict {
        problem: format!("the breaker of connection {id} keeps moving; try again"),
    })
}

fn after_drill(connection: &Connection, drill: Drill, now: Timestamp) -> Result<Breaker, EngineError> {
    let drilled = connection.breaker.cause() == Some(TripCause::Drill);
    let name = &connection.name;
    match drill {
        Drill::Break(time) if !(SignedDuration::from_secs(1)..=LONGEST_DRILL).contains(&time) => {
            let problem = format!("use 1 to {}", LONGEST_DRILL.as_secs());
            Err(StoreError::invalid("for_seconds", problem).into())
        }
        Drill::Break(time) => match connection.breaker.cause() {
            Some(cause) if !drilled => Err(EngineError::Conflict {
                problem: format!(
                    "the breaker of connection \"{name}\" is open by itself ({cause}); a drill would hide that"
                ),
            }),
            _ => {
                let until = now.saturating_add(time).unwrap_or(Timestamp::MAX);
                Ok(Breaker::drilled(until))
            }
        },
        Drill::Restore if drilled => Ok(Breaker::Closed {
            ramp: Some(Ramp { since: now, trips: 0 }),
        }),
        Drill::Restore => Err(EngineError::Conflict {
            problem: format!("connection \"{name}\" is not under a drill; there is nothing to restore"),
        }),
    }
}
