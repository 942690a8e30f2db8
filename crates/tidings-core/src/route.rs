//! Which connection of a channel carries the next call, and which take over if it fails.

use crate::breaker::{Breaker, Permit};
use crate::dice::Dice;
use crate::ids::ConnectionId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What routing knows of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionState {
    /// Which one.
    pub id: ConnectionId,
    /// Switched on.
    pub enabled: bool,
    /// Lower goes first.
    pub priority: i32,
    /// Share among connections of the same priority; 0 only when no other of them can.
    pub weight: u32,
    /// Its breaker.
    pub breaker: Breaker,
    /// When its rate limit has room again, where it has none now.
    pub limited_until: Option<Timestamp>,
}

/// Where the next call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// By this connection.
    Use {
        /// Which one.
        connection: ConnectionId,
        /// The call is its breaker's single probe: record [`Breaker::probe`] first, and route again if another did.
        probe: bool,
        /// Who takes over when it says no, in order.
        others: Vec<ConnectionId>,
    },
    /// No connection may be called before the instant.
    Wait {
        /// When to route again.
        until: Timestamp,
    },
    /// There is no enabled connection.
    None,
}

/// Chooses by priority, then by weight at random. A connection whose breaker is due for a probe gets its probe at its
/// place in the order, so traffic returns when the first recovers; probes never stand in as a take-over.
pub fn route(connections: &[ConnectionState], now: Timestamp, dice: &mut Dice) -> Route {
    let mut open: Vec<(&ConnectionState, bool)> = Vec::with_capacity(connections.len());
    let mut soonest: Option<Timestamp> = None;
    for connection in connections.iter().filter(|connection| connection.enabled) {
        match readiness(connection, now) {
            Permit::Call => open.push((connection, false)),
            Permit::Probe => open.push((connection, true)),
            Permit::Wait(until) => soonest = Some(soonest.map_or(until, |other| other.min(until))),
        }
    }
    let mut order = shuffled(open, dice).into_iter();
    match (order.next(), soonest) {
        (Some((first, probe)), _) => Route::Use {
            connection: first.id,
            probe,
            others: order
                .filter(|(_, probe)| !probe)
                .map(|(connection, _)| connection.id)
                .collect(),
        },
        (None, Some(until)) => Route::Wait { until },
        (None, None) => Route::None,
    }
}

/// Breaker and rate limit together.
fn readiness(connection: &ConnectionState, now: Timestamp) -> Permit {
    let limited = connection.limited_until.filter(|until| *until > now);
    match (connection.breaker.permit(now), limited) {
        (permit, None) => permit,
        (Permit::Wait(until), Some(limited)) => Permit::Wait(until.max(limited)),
        (Permit::Call | Permit::Probe, Some(limited)) => Permit::Wait(limited),
    }
}

/// By priority; within one by weighted chance.
fn shuffled<'a>(
    mut open: Vec<(&'a ConnectionState, bool)>,
    dice: &mut Dice,
) -> Vec<(&'a ConnectionState, bool)> {
    // Stable whatever order the facts come in, so the same dice give the same route.
    open.sort_by_key(|(connection, _)| (connection.priority, connection.id));
    let mut order = Vec::with_capacity(open.len());
    for group in open.chunk_by(|(one, _), (other, _)| one.priority == other.priority) {
        let mut group = group.to_vec();
        while !group.is_empty() {
            order.push(group.remove(draw(&group, dice)));
        }
    }
    order
}

/// The place of one, drawn by weight; the first where all weigh nothing.
fn draw(group: &[(&ConnectionState, bool)], dice: &mut Dice) -> usize {
    let total = group
        .iter()
        .map(|(connection, _)| u64::from(connection.weight))
        .sum();
    let mut throw = dice.below(total);
    for (place, (connection, _)) in group.iter().enumerate() {
        let weight = u64::from(connection.weight);
        if throw < weight {
            return place;
        }
        throw -= weight;
    }
    0
}
