//! Rate limits of connections. A node takes slots from a bucket that all nodes share, a little ahead, for many calls at
//! once; a call uses one at its instant. Jobs for which there is no slot stay in the queue's line, in their order, and are
//! claimed in the number there are slots for: waiting costs neither a try nor a place.

mod admit;
mod lines;
mod pace;
mod pool;
mod source;

pub(crate) use admit::{Reserved, Turn, admit, held_at_gate};
pub(crate) use pace::{Held, on_time};

use crate::engine::Inner;
use crate::error::EngineError;
use jiff::Timestamp;
use lines::{Key, Lines, Waiting};
use pool::Pools;
use source::Source;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tidings_core::limit::{Pace, RateLimit, Wish};
use tidings_core::{ConnectionId, TenantId};
use tidings_queue::Line;
use tidings_store::limits::RedisBuckets;
use tidings_store::messages::routes::RouteRow;
use tokio::sync::Notify;

/// How long before their slots a working node claims deliveries: claiming takes its time, and is worth it for several.
const LEAD_US: i64 = 250_000;

/// How long before its slot a delivery goes through the gate: what is on record as begun is all but under way.
const AHEAD_US: i64 = 150_000;

/// A wish for everything within reach.
const ALL: u32 = 1 << 20;

/// What one process knows of rate limits.
#[derive(Debug)]
pub(crate) struct Limiter {
    pools: Mutex<Pools>,
    lines: Mutex<Lines>,
    source: Source,
    /// Until when a provider asked this node to wait, for connections with and without a limit.
    paused: Mutex<HashMap<ConnectionId, Timestamp>>,
    lead_us: AtomicI64,
    /// Told when a line has a new turn.
    pub turned: Notify,
}

impl Limiter {
    pub fn new(redis: Option<RedisBuckets>) -> Self {
        Self {
            pools: Mutex::default(),
            lines: Mutex::default(),
            source: Source::new(redis),
            paused: Mutex::default(),
            lead_us: AtomicI64::new(0),
            turned: Notify::new(),
        }
    }

    /// The process works by a clock that runs: deliveries may be begun before their slots, because time will pass.
    pub fn run_ahead(&self) {
        self.lead_us.store(LEAD_US, Ordering::Relaxed);
    }

    fn lead_us(&self) -> i64 {
        self.lead_us.load(Ordering::Relaxed)
    }

    /// Up to which slots deliveries may begin now.
    fn begins_until(&self, now: Timestamp) -> i64 {
        now.as_microsecond().saturating_add(self.lead_us().min(AHEAD_US))
    }

    /// Where the buckets are.
    pub fn source(&self) -> &Source {
        &self.source
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes no calls over a connection until its provider's window opens. Slots that were taken ahead are void.
    pub fn pause(&self, connection: ConnectionId, until: Timestamp) {
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = paused.entry(connection).or_insert(until);
        *entry = (*entry).max(until);
        self.pools().clear(connection);
    }

    fn paused_until(&self, connection: ConnectionId, now: Timestamp) -> Option<Timestamp> {
        let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        if paused.get(&connection).is_some_and(|until| *until <= now) {
            paused.remove(&connection);
        }
        paused.get(&connection).copied()
    }

    /// Asks the shared buckets for slots, and keeps what comes. Who was told to come later is not asked for before.
    async fn ask(&self, inner: &Inner, mut wishes: Vec<Wish>) -> Result<(), EngineError> {
        let now_us = inner.now().as_microsecond();
        {
            let pools = self.pools();
            wishes.retain(|wish| pools.may_ask(wish.connection, now_us));
        }
        wishes.sort_unstable_by_key(|wish| (wish.tenant, wish.connection));
        wishes.dedup_by_key(|wish| wish.connection);
        if wishes.is_empty() {
            return Ok(());
        }
        let leases = self.source.take(inner, &wishes, now_us).await?;
        let mut pools = self.pools();
        for wish in &wishes {
            match leases.get(&wish.connection) {
                Some(lease) => pools.add(wish.connection, *lease, wish.pace),
                None => pools.ask_later(wish.connection, now_us),
            }
        }
        Ok(())
    }

    /// A provider said "too many": every node makes half as many calls from now on, and none until an instant.
    pub async fn refused(
        &self,
        inner: &Inner,
        tenant: TenantId,
        connection: ConnectionId,
        pace: Pace,
        quiet_until: Timestamp,
    ) -> Result<(), EngineError> {
        let now_us = inner.now().as_microsecond();
        let quiet_us = quiet_until.as_microsecond();
        self.pools().clear(connection);
        metrics::counter!("tidings_limits_shrunk_total").increment(1);
        self.source
            .refused(inner, tenant, connection, pace, now_us, quiet_us)
            .await
    }

    /// Lines whose turn it is, with room for as many jobs as there are slots, up to `most` jobs in all. One that went long by
    /// what it knew gets one job to look at, so that what changed about its connections is seen.
    pub async fn due_lines(&self, inner: &Inner, most: u32) -> Result<Vec<Line>, EngineError> {
        let now_us = inner.now().as_microsecond();
        let due = self.lines().due(now_us);
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let ways = due.iter().flat_map(|(_, waiting)| &waiting.ways);
        let wishes = ways.map(|way| way.wish(ALL)).collect();
        self.ask(inner, wishes).await?;
        let until_us = now_us.saturating_add(self.lead_us());
        let mut pools = self.pools();
        let mut lines = self.lines();
        let mut ready = Vec::new();
        let mut room = most;
        for (key, waiting) in due {
            if room == 0 {
                break;
            }
            let mut jobs = 0_u32;
            if waiting.not_before_us <= now_us {
                for way in &waiting.ways {
                    jobs = jobs.saturating_add(pools.usable(way.connection, now_us, until_us));
                }
            }
            if jobs == 0 && self.lead_us() > 0 && lines.trusted_until(key) <= now_us {
                jobs = 1;
            }
            if jobs > 0 {
                lines.begin(key, now_us);
                let jobs = jobs.min(room);
                room -= jobs;
                ready.push(Line {
                    tenant: key.0,
                    kind: key.1,
                    jobs,
                });
            } else {
                let turn_us = self.turn(&mut pools, &waiting, lines.trusted_until(key), now_us);
                lines.put_off(key, turn_us);
            }
        }
        Ok(ready)
    }

    /// When a line may expect slots: a little after the next one, so that a claim is worth it.
    fn turn(&self, pools: &mut Pools, waiting: &Waiting, trusted_until_us: i64, now_us: i64) -> i64 {
        let lead = self.lead_us();
        let mut one = |connection| pools.next(connection, now_us);
        let next = waiting.ways.iter().map(|way| one(way.connection)).min();
        // Where no connection may be called there is no slot to wait for, only their breakers.
        let next = next.unwrap_or(pool::Next::Ask(waiting.not_before_us));
        let turn = match next {
            pool::Next::Slot(at) => at.saturating_sub(lead / 2),
            pool::Next::Ask(at) => at,
        };
        // The clock of tests and simulations moves only when something is due later than now; nothing changes about their
        // connections unseen.
        let turn = turn.max(waiting.not_before_us);
        let turn = if lead > 0 {
            turn.min(trusted_until_us)
        } else {
            turn
        };
        turn.max(now_us.saturating_add(1))
    }

    /// A delivery of the line found no slot: the line waits.
    pub fn hold(&self, key: Key, waiting: Waiting, now: Timestamp) {
        let now_us = now.as_microsecond();
        let trusted = now_us.saturating_add(lines::LOOK_AGAIN_US);
        let turn_us = self.turn(&mut self.pools(), &waiting, trusted, now_us);
        self.lines().hold(key, waiting, turn_us, now_us);
        self.turned.notify_one();
    }

    /// What claims of lines brought. One that brings less than there was room for is over.
    pub fn claimed(&self, lines: &[Line], got: &HashMap<Key, u32>, now: Timestamp) {
        let mut known = self.lines();
        for line in lines {
            let key = (line.tenant, line.kind);
            let jobs = got.get(&key).copied().unwrap_or(0);
            known.claimed(key, jobs >= line.jobs, jobs, now.as_microsecond());
        }
    }

    /// A batch that had jobs of these lines has ended.
    pub fn ended(&self, keys: &[Key]) {
        let mut lines = self.lines();
        for key in keys {
            lines.ended(*key);
        }
    }

    /// The lines that wait; their jobs are claimed by [`Limiter::due_lines`] alone.
    pub fn held(&self) -> Vec<Key> {
        self.lines().keys()
    }

    /// When the next line has its turn.
    pub fn next_turn(&self) -> Option<Timestamp> {
        let at = self.lines().next()?;
        Timestamp::from_microsecond(at).ok()
    }
}

/// A connection's rate limit: its own, else its provider's default.
pub(crate) fn limit_of(row: &RouteRow) -> Option<RateLimit> {
    RateLimit::of(row.provider, row.rate_limit, &row.config)
}
