//! When a backlog ends.

use super::{Bucket, Pace};
use jiff::{SignedDuration, Timestamp};

/// When so many waiting calls are made at the present pace, were nothing to come after them. A shrunken limit is taken as
/// it stands, so the true end is rather sooner.
pub fn ends_at(bucket: &Bucket, pace: Pace, waiting: u64, now: Timestamp) -> Timestamp {
    let now_us = now.as_microsecond();
    let interval = i128::from(pace.interval_us) * 1_000 / i128::from(bucket.factor_at(pace, now_us));
    let begins = bucket.paused_us.max(bucket.next_us).max(now_us);
    let last = i128::from(waiting.saturating_sub(1)) * interval;
    let us = (i128::from(begins - now_us) + last).min(i128::from(i64::MAX));
    now.saturating_add(SignedDuration::from_micros(us as i64))
        .unwrap_or(Timestamp::MAX)
}
