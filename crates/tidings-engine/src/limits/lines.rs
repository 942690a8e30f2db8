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

/// Batches of one line at work at once: a provider that hangs holds up its own line, and little else.
const AT_WORK: u32 = 4;

/// How long a line goes by what it knew when its jobs were looked at last: connections are added, mended and given other
/// limits meanwhile.
pub(super) const LOOK_AGAIN_US: i64 = 5_000_000;

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
    at_work: u32,
    looked_us: i64,
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

    /// When the next line that may be claimed has its turn.
    pub fn next(&self) -> Option<i64> {
        let open = self.0.values().filter(|line| line.at_work < AT_WORK);
        open.map(|line| line.turn_us).min()
    }

    /// Lines whose turn it is, the longest due first.
    pub fn due(&self, now_us: i64) -> Vec<(Key, Waiting)> {
        let mut due: Vec<_> = self
            .0
            .iter()
            .filter(|(_, line)| line.turn_us <= now_us && line.at_work < AT_WORK)
            .map(|(key, line)| (line.turn_us, *key, line.waiting.clone()))
            .collect();
        due.sort_unstable_by_key(|(turn_us, key, _)| (*turn_us, key.0, key.1.as_str()));
        due.into_iter().map(|(_, key, waiting)| (key, waiting)).collect()
    }

    /// Jobs of the line were looked at: what it waits for, and its next turn.
    pub fn hold(&mut self, key: Key, waiting: Waiting, turn_us: i64, now_us: i64) {
        let line = self.0.entry(key).or_insert(Line {
            waiting: waiting.clone(),
            turn_us,
            misses: 0,
            at_work: 0,
            looked_us: now_us,
        });
        line.waiting = waiting;
        line.turn_us = turn_us;
        line.looked_us = now_us;
    }

    /// Nothing of the kind waits for slots any more.
    pub fn forget(&mut self, key: Key) {
        self.0.remove(&key);
    }

    pub fn put_off(&mut self, key: Key, turn_us: i64) {
        if let Some(line) = self.0.get_mut(&key) {
            line.turn_us = turn_us;
        }
    }

    /// Until when a line may go by what it knew; it is looked at again then.
    pub fn trusted_until(&self, key: Key) -> i64 {
        let looked = self.0.get(&key).map_or(i64::MAX, |line| line.looked_us);
        looked.saturating_add(LOOK_AGAIN_US)
    }

    /// A claim of the line is under way.
    pub fn begin(&mut self, key: Key, now_us: i64) {
        self.put_off(key, now_us.saturating_add(AT_WORK_US));
    }

    /// A claim of the line is done, and a batch with jobs of it begins.
    pub fn claimed(&mut self, key: Key, full: bool, jobs: u32, now_us: i64) {
        let Some(line) = self.0.get_mut(&key) else { return };
        line.at_work += u32::from(jobs > 0);
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

    /// A batch with jobs of the line has ended.
    pub fn ended(&mut self, key: Key) {
        if let Some(line) = self.0.get_mut(&key) {
            line.at_work = line.at_work.saturating_sub(1);
        }
    }
}
