//! How much this process has written, so that the database looks at its tables again before autovacuum comes by.
//!
//! Tables that are filled from nothing, by a first import or a first campaign, have no statistics for up to a minute, and
//! the planner guesses. What it guesses is right for the small tables it last saw.

use crate::engine::Inner;
use std::sync::atomic::{AtomicU64, Ordering};
use tidings_store::statistics;

/// Rows after which the tables are looked at first.
const FIRST: u64 = 128;
/// How many times as many rows there are when they are looked at next.
const TIMES: u64 = 4;
/// Rows after which autovacuum is quick enough by itself.
const LAST: u64 = 1_000_000;

/// Rows of a kind that this process has written, with what hangs on them.
#[derive(Debug)]
pub(crate) struct Growth {
    rows: AtomicU64,
    next: AtomicU64,
}

impl Growth {
    pub(crate) const fn new() -> Self {
        Self {
            rows: AtomicU64::new(0),
            next: AtomicU64::new(FIRST),
        }
    }

    /// Counts; true when the tables are to be looked at, once for each step.
    fn passes(&self, rows: usize) -> bool {
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        let now = self.rows.fetch_add(rows, Ordering::Relaxed).saturating_add(rows);
        let next = self.next.load(Ordering::Relaxed);
        if now < next || next > LAST {
            return false;
        }
        let mut after = next;
        while after <= now {
            after = after.saturating_mul(TIMES);
        }
        // Two callers may pass one step at once; one of them looks.
        let step = self
            .next
            .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed);
        step.is_ok()
    }
}

/// Rows were written. Statistics are made in the background: without them everything is right, only slower.
pub(crate) fn grew(inner: &Inner, growth: &Growth, rows: usize) {
    if !growth.passes(rows) {
        return;
    }
    let store = inner.store.clone();
    inner.tasks.spawn(async move {
        let made = async { statistics::refresh(&mut *store.worker_conn().await?).await };
        match made.await {
            Ok(tables) if tables.is_empty() => {}
            Ok(tables) => tracing::info!(?tables, "tables grew and their statistics were made again"),
            Err(error) => tracing::warn!(%error, "statistics of tables could not be made"),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_passed_once_and_steps_end() {
        let growth = Growth::new();
        assert!(!growth.passes(127));
        assert!(growth.passes(1));
        assert!(!growth.passes(383));
        assert!(growth.passes(1));
        // Over several steps at once.
        assert!(growth.passes(100_000));
        assert!(!growth.passes(1_000));
        let more = (0..100).filter(|_| growth.passes(1_000_000)).count();
        assert_eq!(more, 1);
        assert!(!growth.passes(usize::MAX));
    }
}
