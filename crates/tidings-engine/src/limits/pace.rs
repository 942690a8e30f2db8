//! A call at its slot: it waits the rest of the time, and one that comes too late takes another slot.

use super::admit::Turn;
use super::lines::Way;
use crate::engine::Inner;
use std::time::Duration;
use tidings_core::ErrorCategory;
use tidings_providers::{Rejection, SendOutcome};

/// How long a call that missed its slot may wait for another, before it is called off.
const PATIENCE_US: i64 = 3_000_000;

/// How often it asks at most.
const ASKS: usize = 32;

/// The code under which a call that was called off is on record.
pub(crate) const HELD_CODE: &str = "held_back";

/// A call that was not made: its slot passed and there was no other in time.
#[derive(Debug)]
pub(crate) struct Held;

impl Held {
    /// What is recorded. Nothing was sent, and waiting costs no try.
    pub fn outcome() -> SendOutcome {
        SendOutcome::Rejected(Rejection {
            category: ErrorCategory::RateLimit,
            code: HELD_CODE.to_owned(),
            detail: "the call was not made: its turn under the connection's rate limit had passed and no other came in time"
                .to_owned(),
            retry_after: Some(Duration::from_secs(1)),
            effect: None,
        })
    }
}

/// Waits for the call's slot.
pub(crate) async fn on_time(inner: &Inner, turn: Option<Turn>) -> Result<(), Held> {
    let Some(turn) = turn else { return Ok(()) };
    let begun_us = inner.now().as_microsecond();
    let mut slot = Some(turn.slot_us);
    for _ in 0..ASKS {
        let now_us = inner.now().as_microsecond();
        match slot.take() {
            Some(slot_us) if now_us <= slot_us.saturating_add(turn.pace.late_us) => {
                pass(slot_us - now_us).await;
                return Ok(());
            }
            _ => {}
        }
        if now_us - begun_us > PATIENCE_US {
            return Err(Held);
        }
        slot = another(inner, turn, now_us).await;
    }
    Err(Held)
}

/// Another slot for the connection, or none after a wait for the time at which there may be one.
async fn another(inner: &Inner, turn: Turn, now_us: i64) -> Option<i64> {
    let limiter = &inner.limiter;
    let until_us = now_us.saturating_add(PATIENCE_US);
    if let Some(slot) = limiter.pools().pop(turn.connection, now_us, until_us) {
        return Some(slot);
    }
    let way = Way {
        tenant: turn.tenant,
        connection: turn.connection,
        pace: turn.pace,
    };
    if let Err(error) = limiter.ask(inner, vec![way.wish(1)]).await {
        tracing::warn!(%error, "no slot could be asked for; the call waits");
    }
    let slot = limiter.pools().pop(turn.connection, now_us, until_us);
    if slot.is_none() {
        let next = match limiter.pools().next(turn.connection, now_us) {
            super::pool::Next::Slot(at) | super::pool::Next::Ask(at) => at,
        };
        pass((next - now_us).clamp(10_000, PATIENCE_US)).await;
    }
    slot
}

async fn pass(us: i64) {
    if let Ok(us @ 1..) = u64::try_from(us) {
        tokio::time::sleep(Duration::from_micros(us)).await;
    }
}
