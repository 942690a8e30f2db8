//! When a backlog ends.

use super::RateLimit;
use jiff::{SignedDuration, Timestamp};

/// When so many waiting calls have been made over connections with these limits, all of them at work and nothing coming in
/// between. None without a connection.
pub fn ends_at(waiting: u64, limits: &[RateLimit], now: Timestamp) -> Option<Timestamp> {
    let per_us: f64 = limits
        .iter()
        .map(|limit| 1.0 / limit.pace().interval_us as f64)
        .sum();
    if per_us <= 0.0 {
        return None;
    }
    let us = (waiting as f64 / per_us).round().min(i64::MAX as f64) as i64;
    let end = now.saturating_add(SignedDuration::from_micros(us));
    Some(end.unwrap_or(Timestamp::MAX))
}
