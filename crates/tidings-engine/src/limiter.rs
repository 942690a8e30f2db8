//! Rate limits of connections: at most so many calls in a window, counted over this node's share.

use jiff::{SignedDuration, Timestamp};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use tidings_core::{ConnectionId, ProviderKind};

/// The most calls a window may hold; a larger limit counts as this.
const LARGEST: u32 = 100_000;

/// At most `limit` calls in any `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateLimit {
    pub limit: u32,
    pub per: SignedDuration,
}

impl RateLimit {
    /// A connection's own limit (`{limit, per_ms}`), else its provider's default. The sandbox has none.
    pub fn of(provider: ProviderKind, own: Option<&serde_json::Value>) -> Option<Self> {
        let number = |name: &str| {
            own.and_then(|value| value.get(name))
                .and_then(serde_json::Value::as_u64)
        };
        if let (Some(limit), Some(per_ms)) = (number("limit"), number("per_ms")) {
            let per = SignedDuration::from_millis(i64::try_from(per_ms).unwrap_or(i64::MAX).max(1));
            return Some(Self {
                limit: u32::try_from(limit).unwrap_or(LARGEST).clamp(1, LARGEST),
                per,
            });
        }
        let (limit, seconds) = match provider {
            ProviderKind::Sandbox => return None,
            ProviderKind::Sendgrid => (100, 60),
            ProviderKind::Ses => (200, 1),
            ProviderKind::Resend => (2, 1),
            ProviderKind::Twilio => (1, 1),
            ProviderKind::Smtp => (100, 3600),
            ProviderKind::WhatsappCloud => (1000, 86_400),
            ProviderKind::WhatsappWeb => (1, 75),
        };
        Some(Self {
            limit,
            per: SignedDuration::from_secs(seconds),
        })
    }

    /// The share of one of so many nodes; never nothing.
    pub fn shared_by(self, nodes: u32) -> Self {
        let nodes = nodes.max(1);
        if self.limit >= nodes {
            return Self {
                limit: self.limit / nodes,
                ..self
            };
        }
        // Fewer calls than nodes in a window: one call in a window that is longer.
        let per = self
            .per
            .checked_mul(i32::try_from(nodes).unwrap_or(i32::MAX))
            .unwrap_or(self.per);
        Self { limit: 1, per }
    }
}

/// The calls of this node.
#[derive(Debug)]
pub(crate) struct Limiter {
    calls: Mutex<HashMap<ConnectionId, VecDeque<Timestamp>>>,
    /// When the next delivery that has to wait may expect its turn.
    booked: Mutex<HashMap<ConnectionId, Timestamp>>,
    /// Until when a provider asked us to wait.
    paused: Mutex<HashMap<ConnectionId, Timestamp>>,
    nodes: std::sync::atomic::AtomicU32,
}

impl Limiter {
    pub fn new() -> Self {
        Self {
            calls: Mutex::default(),
            booked: Mutex::default(),
            paused: Mutex::default(),
            nodes: std::sync::atomic::AtomicU32::new(1),
        }
    }

    /// How many nodes share the limits, as last seen.
    pub fn set_nodes(&self, nodes: u32) {
        self.nodes
            .store(nodes.max(1), std::sync::atomic::Ordering::Relaxed);
    }

    /// When the connection has room again, where it has none now.
    pub fn limited_until(
        &self,
        connection: ConnectionId,
        limit: Option<RateLimit>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let paused = self.paused_until(connection, now);
        let Some(limit) = limit else { return paused };
        let limit = limit.shared_by(self.nodes.load(std::sync::atomic::Ordering::Relaxed));
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = calls.entry(connection).or_default();
        forget(calls, limit, now);
        if calls.len() < usize::try_from(limit.limit).unwrap_or(usize::MAX) {
            return paused;
        }
        calls
            .front()
            .and_then(|oldest| oldest.saturating_add(limit.per).ok())
            .max(paused)
    }

    /// A turn of its own for each delivery that waits, so that a long line does not come back at every opening of the
    /// window only to be sent away again.
    pub fn book(&self, connection: ConnectionId, limit: RateLimit, earliest: Timestamp) -> Timestamp {
        let limit = limit.shared_by(self.nodes.load(std::sync::atomic::Ordering::Relaxed));
        let apart = limit.per / i32::try_from(limit.limit).unwrap_or(i32::MAX).max(1);
        let mut booked = self.booked.lock().unwrap_or_else(PoisonError::into_inner);
        let next = booked.entry(connection).or_insert(earliest);
        let turn = (*next).max(earliest);
        *next = turn.saturating_add(apart).unwrap_or(turn);
        turn
    }

    /// Makes no calls over a connection until its provider's window opens.
    pub fn pause(&self, connection: ConnectionId, until: Timestamp) {
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = paused.entry(connection).or_insert(until);
        *entry = (*entry).max(until);
    }

    fn paused_until(&self, connection: ConnectionId, now: Timestamp) -> Option<Timestamp> {
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        if paused.get(&connection).is_some_and(|until| *until <= now) {
            paused.remove(&connection);
        }
        paused.get(&connection).copied()
    }

    /// Counts a call.
    pub fn count(&self, connection: ConnectionId, limit: Option<RateLimit>, now: Timestamp) {
        if limit.is_none() {
            return;
        }
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.entry(connection).or_default().push_back(now);
    }
}

fn forget(calls: &mut VecDeque<Timestamp>, limit: RateLimit, now: Timestamp) {
    while let Some(oldest) = calls.front()
        && now.duration_since(*oldest) >= limit.per
    {
        calls.pop_front();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_window_fills_and_empties() {
        let limiter = Limiter::new();
        let connection = ConnectionId(uuid::Uuid::nil());
        let limit = Some(RateLimit {
            limit: 2,
            per: SignedDuration::from_secs(10),
        });
        let start: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
        for _ in 0..2 {
            assert_eq!(limiter.limited_until(connection, limit, start), None);
            limiter.count(connection, limit, start);
        }
        let free = start + SignedDuration::from_secs(10);
        assert_eq!(limiter.limited_until(connection, limit, start), Some(free));
        assert_eq!(limiter.limited_until(connection, limit, free), None);
    }

    #[test]
    fn those_who_wait_have_turns() {
        let limiter = Limiter::new();
        let connection = ConnectionId(uuid::Uuid::nil());
        let limit = RateLimit {
            limit: 4,
            per: SignedDuration::from_secs(1),
        };
        let free: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
        let turns: Vec<_> = (0..3).map(|_| limiter.book(connection, limit, free)).collect();
        let apart = SignedDuration::from_millis(250);
        assert_eq!(turns, [free, free + apart, free + apart + apart]);
        let later = free + SignedDuration::from_secs(60);
        assert_eq!(limiter.book(connection, limit, later), later);
    }

    #[test]
    fn nodes_share_a_limit() {
        let second = SignedDuration::from_secs(1);
        let limit = RateLimit {
            limit: 200,
            per: second,
        };
        assert_eq!(
            limit.shared_by(2),
            RateLimit {
                limit: 100,
                per: second
            }
        );
        let one = RateLimit {
            limit: 1,
            per: second,
        };
        assert_eq!(
            one.shared_by(3),
            RateLimit {
                limit: 1,
                per: SignedDuration::from_secs(3)
            }
        );
    }
}
