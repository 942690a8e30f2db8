//! What calls over a connection lately brought: bounded memory for the breaker, and the health score.

use crate::breaker::CallResult;
use jiff::{SignedDuration, Timestamp};

/// Buckets of a window.
const BUCKETS: usize = 10;
/// The breaker looks at this window: ten seconds.
const BREAKER_BUCKET: SignedDuration = SignedDuration::from_secs(1);
/// Health looks at this window: five minutes.
const HEALTH_BUCKET: SignedDuration = SignedDuration::from_secs(30);
/// How far back a connection's health looks.
pub const HEALTH_WINDOW: SignedDuration = SignedDuration::from_mins(5);
/// Fewer calls than this say nothing about health.
pub const FEWEST_CALLS: u32 = 5;
/// Answers up to this time are as fast as need be.
const FAST_MS: u64 = 1_000;
/// Answers of this time, and slower ones, halve the score.
const SLOW_MS: u64 = 10_000;

/// Calls of a time, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many ended.
    pub calls: u32,
    /// How many of them failed, had no answer, or were refused for the credential.
    pub failed: u32,
    /// How long all of them took together, in milliseconds.
    pub latency_ms: u64,
}

impl Tally {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            failed: self.failed.saturating_add(other.failed),
            latency_ms: self.latency_ms.saturating_add(other.latency_ms),
        }
    }

    /// The health score, 0 to 100: the share of calls that were answered, less up to half for slowness. A mean of one
    /// second or less costs nothing, one of ten seconds or more costs half, in between in proportion. None while fewer
    /// than [`FEWEST_CALLS`] calls say anything; routing takes that for full health.
    pub fn health(&self) -> Option<u8> {
        if self.calls < FEWEST_CALLS {
            return None;
        }
        let calls = u64::from(self.calls);
        let answered = calls.saturating_sub(u64::from(self.failed));
        let over = (self.latency_ms / calls).clamp(FAST_MS, SLOW_MS) - FAST_MS;
        // In ten-thousandths, rounded once at the end.
        let pace = 10_000 - 5_000 * over / (SLOW_MS - FAST_MS);
        let score = (100 * answered * pace + calls * 5_000) / (calls * 10_000);
        u8::try_from(score).ok()
    }
}

/// A rolling window of ten buckets: the newest is still filling, so it covers nine to ten of them.
#[derive(Clone, Copy, Debug)]
struct Window {
    bucket_ms: i64,
    buckets: [(i64, Tally); BUCKETS],
}

impl Window {
    fn new(bucket: SignedDuration) -> Self {
        Self {
            bucket_ms: i64::try_from(bucket.as_millis()).unwrap_or(1).max(1),
            buckets: [(i64::MIN, Tally::default()); BUCKETS],
        }
    }

    fn slot(&self, now: Timestamp) -> i64 {
        now.as_millisecond().div_euclid(self.bucket_ms)
    }

    fn add(&mut self, one: Tally, now: Timestamp) {
        let slot = self.slot(now);
        let place = usize::try_from(slot.rem_euclid(BUCKETS as i64)).unwrap_or(0);
        let (kept, tally) = &mut self.buckets[place];
        if *kept != slot {
            (*kept, *tally) = (slot, Tally::default());
        }
        *tally = tally.plus(one);
    }

    fn sum(&self, now: Timestamp) -> Tally {
        let newest = self.slot(now);
        let oldest = newest.saturating_sub(BUCKETS as i64 - 1);
        self.buckets
            .iter()
            .filter(|(slot, _)| (oldest..=newest).contains(slot))
            .fold(Tally::default(), |sum, (_, tally)| sum.plus(*tally))
    }
}

/// The calls of one node over one connection, as far back as anything looks.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    in_a_row: u32,
    breaker: Window,
    health: Window,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            in_a_row: 0,
            breaker: Window::new(BREAKER_BUCKET),
            health: Window::new(HEALTH_BUCKET),
        }
    }
}

impl Traffic {
    /// Counts a call that ended at `now` after `took`.
    pub fn count(&mut self, result: CallResult, took: SignedDuration, now: Timestamp) {
        let failed = u32::from(result != CallResult::Answered);
        self.in_a_row = if failed == 0 {
            0
        } else {
            self.in_a_row.saturating_add(1)
        };
        let one = Tally {
            calls: 1,
            failed,
            latency_ms: u64::try_from(took.as_millis()).unwrap_or(0),
        };
        self.breaker.add(one, now);
        self.health.add(one, now);
    }

    /// Failures since the last answer.
    pub const fn failures_in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// The last ten seconds.
    pub fn lately(&self, now: Timestamp) -> Tally {
        self.breaker.sum(now)
    }

    /// The last five minutes.
    pub fn for_health(&self, now: Timestamp) -> Tally {
        self.health.sum(now)
    }

    /// What led to an opening counts once: the breaker begins anew. Health remembers.
    pub fn begin_anew(&mut self) {
        self.in_a_row = 0;
        self.breaker = Window::new(BREAKER_BUCKET);
    }
}
