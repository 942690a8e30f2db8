//! Lines: which tenant's jobs of which kind wait for slots, and when they have their turn.

use std::collections::HashMap;
use tidings_core::job::JobKind;
use tidings_core::limit::{Pace, Wish};
use tidings_core::{ConnectionId, TenantId};

/// A line.
pub(crate) type Key = (TenantId, JobKind);

/// A batch that was claimed from a line says when the next turn is. One that fails before it could is waited for so long.
const AT_WORK_US: i64 = 2_000_000;

/// A claim may miss jobs that another node is just looking at; a line that brings too little so often is over.
const MISSES: u32 = 3;
const MISSED_US: i64 = 30_000;

/// One connection that a line waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub tenant: TenantId,
    pub connection: ConnectionId,
    pub pace: Pace,
}

impl Way {
    pub fn wish(&self, want: u32) -> Wish {
        Wish {
            tenant: self.tenant,
            connection: self.connection,
            pace: self.pace,
            want,
        }
    }
}

/// What a line waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub ways: Vec<Way>,
    /// A pause or a broken connection keeps it longer than slots would.
    pub not_before_us: i64,
}

#[derive(Debug)]
struct Line {
    waiting: Waiting,
    turn_us: i64,
    misses: u32,
}

/// The lines of a node: at most one a tenant and kind of job.
#[derive(Debug, Default)]
pub(super) struct Lines(HashMap<Key, Line>);

impl Lines {
    pub fn keys(&self) -> Vec<Key> {
        self.0.keys().copied().collect()
    }

    pub fn is_held(&self, key: Key) -> bool {
        self.0.contains_key(&key)
    }

    pub fn next(&self) -> Option<i64> {
        self.0.values().map(|line| line.turn_us).min()
    }

    /// Lines whose turn it is.
    pub fn due(&self, now_us: i64) -> Vec<(Key, Waiting)> {
        let mut due: Vec<_> = self
            .0
            .iter()
            .filter(|(_, line)| line.turn_us <= now_us)
            .map(|(key, line)| (*key, line.waiting.clone()))
            .collect();
        due.sort_unstable_by_key(|(key, _)| (key.0, key.1.as_str()));
        due
    }

    pub fn hold(&mut self, key: Key, waiting: Waiting, turn_us: i64) {
        let line = self.0.entry(key).or_insert(Line {
            waiting: waiting.clone(),
            turn_us,
            misses: 0,
        });
        line.waiting = waiting;
        line.turn_us = turn_us;
    }

    pub fn put_off(&mut self, key: Key, turn_us: i64) {
        if let Some(line) = self.0.get_mut(&key) {
            line.turn_us = turn_us;
        }
    }

    /// A claim of the line is under way.
    pub fn begin(&mut self, key: Key, now_us: i64) {
        self.put_off(key, now_us.saturating_add(AT_WORK_US));
    }

    /// A claim of the line is done.
    pub fn claimed(&mut self, key: Key, full: bool, jobs: u32, now_us: i64) {
        let Some(line) = self.0.get_mut(&key) else { return };
        if full {
            line.misses = 0;
            return;
        }
        line.misses += 1;
        if line.misses >= MISSES {
            self.0.remove(&key);
        } else if jobs == 0 {
            line.turn_us = now_us.saturating_add(MISSED_US);
        }
    }
}
