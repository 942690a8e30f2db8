//! A call at its slot: it waits the little that is left, and one that comes too late takes another slot or is not made.

use super::admit::Turn;
use crate::engine::Inner;
use std::time::Duration;
use tidings_core::ErrorCategory;
use tidings_core::attempt::HELD_BACK;
use tidings_providers::{Rejection, SendOutcome};

/// A call that was not made: its slot passed and there was no other.
#[derive(Debug)]
pub(crate) struct Held;

impl Held {
    /// What is recorded. Nobody was called: the delivery goes back to where it was.
    pub fn outcome() -> SendOutcome {
        SendOutcome::Rejected(Rejection {
            category: ErrorCategory::RateLimit,
            code: HELD_BACK.to_owned(),
            detail: "the call was not made: its turn under the connection's rate limit had passed and there was no other"
                .to_owned(),
            retry_after: None,
            effect: None,
        })
    }

    /// Whether it is such a one.
    pub fn is(outcome: &SendOutcome) -> bool {
        matches!(outcome, SendOutcome::Rejected(rejection) if rejection.code == HELD_BACK)
    }
}

/// Waits for the call's slot. The intent is on record meanwhile, so the wait is short: see [`super::AHEAD_US`].
pub(crate) async fn on_time(inner: &Inner, turn: Option<Turn>) -> Result<(), Held> {
    let Some(turn) = turn else { return Ok(()) };
    let now = inner.now();
    let now_us = now.as_microsecond();
    let slot_us = if now_us <= turn.slot_us.saturating_add(turn.pace.late_us) {
        turn.slot_us
    } else {
        let until_us = inner.limiter.begins_until(now);
        let other = inner.limiter.pools().pop(turn.connection, now_us, until_us);
        other.ok_or(Held)?
    };
    if let Ok(us @ 1..) = u64::try_from(slot_us.saturating_sub(now_us)) {
        tokio::time::sleep(Duration::from_micros(us)).await;
    }
    Ok(())
}
