//! The bucket: one instant that moves, and what a provider's refusals did to its pace.

use super::Pace;
use super::slots::Slots;

/// Further in the future than any node can have moved a bucket, clocks that differ included: such a value is garbage,
/// or the clock went back.
const ABSURD_US: i64 = 60_000_000;

/// How long after a bucket moved to another keeper the former may still have given out slots: a node may go by what it
/// knew of the keeper for a second, and takes slots half a second ahead; the rest is for clocks that differ.
pub const HANDOVER_US: i64 = 2_000_000;

/// The whole limit, in thousandths.
const WHOLE: i64 = 1_000;

/// A limit is never shrunk below this many thousandths.
const LEAST: i64 = 62;

/// Refusals within this time have one cause and shrink a limit once.
const SAME_CAUSE_US: i64 = 1_000_000;

/// What is shared of a rate limit. Instants are microseconds since 1970. The database does the same arithmetic in its own
/// language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// When the next slot lies.
    pub next_us: i64,
    /// What was left of the limit when it was last shrunk, in thousandths.
    pub factor: i64,
    /// When it was last shrunk.
    pub shrunk_us: i64,
    /// Until when the provider asked for quiet.
    pub paused_us: i64,
}

/// The answer to a node that wants slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What it may use.
    pub slots: Slots,
    /// When there may be more: ask again then, not before.
    pub more_us: i64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            next_us: 0,
            factor: WHOLE,
            shrunk_us: 0,
            paused_us: 0,
        }
    }
}

impl Bucket {
    /// What is left of the limit now, in thousandths: it grows back slowly, never beyond the whole.
    pub fn factor_at(&self, pace: Pace, now_us: i64) -> i64 {
        let grown = now_us.saturating_sub(self.shrunk_us).max(0) / pace.grow_us;
        self.factor.saturating_add(grown).clamp(LEAST, WHOLE)
    }

    /// Takes up to `want` slots that lie no further ahead than the pace allows.
    pub fn take(&mut self, pace: Pace, now_us: i64, want: u32) -> Lease {
        let interval = pace.interval_us.saturating_mul(WHOLE) / self.factor_at(pace, now_us);
        let horizon = now_us.saturating_add(pace.ahead_us);
        // It may have moved when its slots lay furthest apart.
        let widest = pace.interval_us.saturating_mul(WHOLE) / LEAST;
        let known = if self.next_us > horizon.saturating_add(widest).saturating_add(ABSURD_US) {
            now_us
        } else {
            self.next_us
        };
        let first = known.max(now_us.saturating_sub(pace.late_us)).max(self.paused_us);
        let fit = if first > horizon {
            0
        } else {
            (horizon - first) / interval + 1
        };
        let count = fit.min(i64::from(want));
        self.next_us = first.saturating_add(count.saturating_mul(interval));
        Lease {
            slots: Slots {
                first_us: first,
                interval_us: interval,
                count: count as u32,
            },
            more_us: self.next_us.saturating_sub(pace.ahead_us),
        }
    }

    /// The bucket as a new keeper goes on with it that took over at an instant: an interval after anything that the former can
    /// have given out, so that the slots of both together are as far apart as those of one.
    #[must_use]
    pub fn handed_over(self, pace: Pace, since_us: i64) -> Self {
        let interval = pace.interval_us.saturating_mul(WHOLE) / self.factor_at(pace, since_us);
        let after = since_us.saturating_add(HANDOVER_US).saturating_add(interval);
        Self {
            next_us: self.next_us.max(after),
            ..self
        }
    }

    /// After a provider's "too many": half of the limit, and quiet for as long as it asked.
    pub fn refused(&mut self, pace: Pace, now_us: i64, quiet_until_us: i64) {
        if now_us.saturating_sub(self.shrunk_us) >= SAME_CAUSE_US {
            self.factor = (self.factor_at(pace, now_us) / 2).max(LEAST);
            self.shrunk_us = now_us;
        }
        self.paused_us = self.paused_us.max(quiet_until_us);
    }
}
