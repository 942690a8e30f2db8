//! The slots a node holds.

use std::collections::{HashMap, VecDeque};
use tidings_core::ConnectionId;
use tidings_core::limit::{Lease, Pace, Slots};

/// Connections remembered; beyond it those without slots are forgotten.
const KEPT: usize = 10_000;

/// How soon a bucket that could not be asked is asked again.
const ASK_AGAIN_US: i64 = 100_000;

#[derive(Debug, Default)]
struct Pool {
    slots: VecDeque<Slots>,
    late_us: i64,
    /// Before this there is nothing to get.
    ask_us: i64,
}

/// The slots of all connections.
#[derive(Debug, Default)]
pub(super) struct Pools(HashMap<ConnectionId, Pool>);

/// When a connection has its next slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Next {
    /// One that this node holds.
    Slot(i64),
    /// When it may ask for one.
    Ask(i64),
}

impl Pools {
    pub fn may_ask(&self, connection: ConnectionId, now_us: i64) -> bool {
        self.0.get(&connection).is_none_or(|pool| pool.ask_us <= now_us)
    }

    pub fn add(&mut self, connection: ConnectionId, lease: Lease, pace: Pace) {
        if self.0.len() >= KEPT {
            self.0.retain(|_, pool| !pool.slots.is_empty());
        }
        let pool = self.0.entry(connection).or_default();
        pool.late_us = pace.late_us;
        pool.ask_us = lease.more_us;
        if lease.slots.count > 0 {
            pool.slots.push_back(lease.slots);
        }
    }

    pub fn ask_later(&mut self, connection: ConnectionId, now_us: i64) {
        self.0.entry(connection).or_default().ask_us = now_us.saturating_add(ASK_AGAIN_US);
    }

    /// Forgets the slots of a connection.
    pub fn clear(&mut self, connection: ConnectionId) {
        if let Some(pool) = self.0.get_mut(&connection) {
            pool.slots.clear();
        }
    }

    /// How many slots may be used until an instant.
    pub fn usable(&mut self, connection: ConnectionId, now_us: i64, until_us: i64) -> u32 {
        let Some(pool) = self.0.get_mut(&connection) else {
            return 0;
        };
        pool.expire(now_us);
        let counts = pool.slots.iter().map(|slots| slots.until(until_us));
        counts.fold(0, u32::saturating_add)
    }

    /// Takes the first slot that may be used until an instant.
    pub fn pop(&mut self, connection: ConnectionId, now_us: i64, until_us: i64) -> Option<i64> {
        let pool = self.0.get_mut(&connection)?;
        pool.expire(now_us);
        pool.slots.front_mut()?.pop(until_us)
    }

    /// Takes back a slot that was not used.
    pub fn give_back(&mut self, connection: ConnectionId, slot_us: i64) {
        if let Some(pool) = self.0.get_mut(&connection) {
            pool.slots.push_front(Slots {
                first_us: slot_us,
                interval_us: 1,
                count: 1,
            });
        }
    }

    pub fn next(&mut self, connection: ConnectionId, now_us: i64) -> Next {
        let Some(pool) = self.0.get_mut(&connection) else {
            return Next::Ask(now_us);
        };
        pool.expire(now_us);
        match pool.slots.front() {
            Some(slots) => Next::Slot(slots.first_us),
            None => Next::Ask(pool.ask_us),
        }
    }
}

impl Pool {
    /// Forgets slots that are too late to be used.
    fn expire(&mut self, now_us: i64) {
        let before = now_us.saturating_sub(self.late_us);
        let mut expired = 0;
        while let Some(first) = self.slots.front_mut() {
            expired += first.expire(before);
            if first.count > 0 {
                break;
            }
            self.slots.pop_front();
        }
        if expired > 0 {
            metrics::counter!("tidings_limit_slots_expired_total").increment(u64::from(expired));
        }
    }
}
