//! What this node knows of its connections: the newest breaker it saw of each, and what its own calls brought.
//!
//! Breakers are shared by their rows: a change is made by compare and set on the row's version, and what others changed is
//! seen with the next batch. Calls are counted here, so that a connection that works costs no writes; every few seconds
//! the counts are written down, for whoever shows the health of a connection.

use crate::engine::Inner;
use crate::error::EngineError;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tidings_core::breaker::{Breaker, Ended};
use tidings_core::traffic::{HEALTH_WINDOW, Traffic};
use tidings_core::{ConnectionId, Dice, TenantId};
use tidings_store::health::{self, Seen};
use tidings_store::messages::routes::RouteRow;

/// Between two times that the counts are written down.
const WRITE_EVERY: SignedDuration = SignedDuration::from_secs(5);

/// Connections kept in memory; beyond it those without calls of late are forgotten.
const KEPT: usize = 20_000;

/// What is known of one connection.
#[derive(Clone, Copy, Debug)]
struct Known {
    tenant: TenantId,
    breaker: Breaker,
    version: i64,
    traffic: Traffic,
    last_call: Option<Timestamp>,
    /// There were calls that are not written down yet.
    unwritten: bool,
}

/// A breaker as it stands for this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stand {
    pub breaker: Breaker,
    pub version: i64,
    pub health: Option<u8>,
}

/// A change of a breaker that a call asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub version: i64,
    pub is: Breaker,
}

/// The connections of one node.
#[derive(Debug)]
pub(crate) struct Pulse {
    known: Mutex<HashMap<ConnectionId, Known>>,
    written_at: Mutex<Timestamp>,
}

impl Pulse {
    pub fn new() -> Self {
        Self {
            known: Mutex::default(),
            written_at: Mutex::new(Timestamp::MIN),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ConnectionId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what rows say, unless this node has seen newer.
    pub fn see<'a>(&self, rows: impl Iterator<Item = &'a RouteRow>, now: Timestamp) {
        let mut known = self.known();
        if known.len() >= KEPT {
            let old = now.saturating_sub(HEALTH_WINDOW).unwrap_or(now);
            known.retain(|_, one| one.last_call.is_some_and(|at| at > old));
        }
        for row in rows {
            let one = known.entry(row.id).or_insert_with(|| Known {
                tenant: row.tenant,
                breaker: row.breaker,
                version: row.breaker_version,
                traffic: Traffic::default(),
                last_call: None,
                unwritten: false,
            });
            if row.breaker_version > one.version {
                one.move_to(row.breaker, row.breaker_version);
            }
        }
    }

    /// How a connection stands.
    pub fn stand(&self, row: &RouteRow, now: Timestamp) -> Stand {
        match self.known().get(&row.id) {
            Some(one) => Stand {
                breaker: one.breaker,
                version: one.version,
                health: one.traffic.for_health(now).health(),
            },
            None => Stand {
                breaker: row.breaker,
                version: row.breaker_version,
                health: None,
            },
        }
    }

    /// Counts a call and says what it means for the breaker, where it means anything.
    pub fn count(
        &self,
        connection: ConnectionId,
        call: Ended,
        dice: &mut Dice,
        now: Timestamp,
    ) -> Option<Change> {
        let mut known = self.known();
        let one = known.get_mut(&connection)?;
        one.traffic
            .count(call.result, now.duration_since(call.began), now);
        (one.last_call, one.unwritten) = (Some(now), true);
        let is = one.breaker.after(call, &one.traffic, now, dice);
        (is != one.breaker).then_some(Change {
            version: one.version,
            is,
        })
    }

    /// A change was written: this node is the first to know.
    pub fn changed(&self, connection: ConnectionId, change: Change) {
        if let Some(one) = self.known().get_mut(&connection)
            && one.version == change.version
        {
            one.move_to(change.is, change.version.saturating_add(1));
        }
    }

    /// Another node was faster, or what was believed never came to be: the next row that is read tells.
    pub fn doubt(&self, connection: ConnectionId, version: i64) {
        if let Some(one) = self.known().get_mut(&connection)
            && one.version == version
        {
            one.version = i64::MIN;
        }
    }

    /// Another node has the probe: nobody here calls the connection until its row tells more.
    pub fn probed_elsewhere(&self, connection: ConnectionId, change: Change) {
        if let Some(one) = self.known().get_mut(&connection)
            && one.version == change.version
        {
            one.move_to(change.is, i64::MIN);
        }
    }

    /// Writes the counts down when it is time.
    pub async fn write(&self, inner: &Inner) -> Result<(), EngineError> {
        let now = inner.now();
        {
            let mut at = self.written_at.lock().unwrap_or_else(PoisonError::into_inner);
            if now.duration_since(*at) < WRITE_EVERY {
                return Ok(());
            }
            *at = now;
        }
        let seen = self.unwritten(now);
        if seen.is_empty() {
            return Ok(());
        }
        let mut conn = inner.conn().await?;
        Ok(health::write(&mut conn, inner.node, &seen, now).await?)
    }

    /// In the order of the primary key, so that nodes never wait for each other in a circle.
    fn unwritten(&self, now: Timestamp) -> Vec<Seen> {
        let mut seen: Vec<Seen> = self
            .known()
            .iter_mut()
            .filter_map(|(connection, one)| {
                std::mem::take(&mut one.unwritten).then(|| Seen {
                    tenant: one.tenant,
                    connection: *connection,
                    tally: one.traffic.for_health(now),
                })
            })
            .collect();
        seen.sort_by_key(|one| (one.tenant, one.connection));
        seen
    }
}

impl Known {
    fn move_to(&mut self, breaker: Breaker, version: i64) {
        if self.breaker != breaker {
            self.traffic.begin_anew();
        }
        (self.breaker, self.version) = (breaker, version);
    }
}
