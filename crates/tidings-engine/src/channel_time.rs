//! The time of a channel: when it is over and another channel follows, the delivery gives way instead of being tried again.

use crate::deliver::{Carried, failure_of};
use crate::engine::Inner;
use crate::fallback;
use crate::tenancy::TenantView;
use jiff::Timestamp;
use std::time::Duration;
use tidings_core::retry::{NextTry, next_try};
use tidings_core::{Dice, ErrorCategory};
use tidings_store::messages::dispatch::Dispatchable;

/// Until when the channel is tried; none where it has no limit, where nothing follows it, and for a call that may have
/// arrived, which nothing else may follow.
pub(crate) fn ends(row: &Dispatchable, view: &TenantView) -> Option<Timestamp> {
    if row.reference.is_some() || fallback::following(row).is_none() {
        return None;
    }
    view.policy().time_limits.channel_ends(row.channel, began(row))
}

/// When the channel's turn began: hours in which nothing may be sent are not its fault.
fn began(row: &Dispatchable) -> Timestamp {
    let message = &row.message;
    let first = message.dispatched_at.filter(|_| row.position == 0);
    [message.queued_at, message.planned_at, first]
        .into_iter()
        .flatten()
        .fold(row.created_at, Timestamp::max)
}

/// When a refused delivery is tried again, within the time of its channel.
pub(crate) fn next_try_within(
    inner: &Inner,
    view: Option<&TenantView>,
    carried: &Carried,
    category: ErrorCategory,
    retry_after: Option<Duration>,
    dice: &mut Dice,
    now: Timestamp,
) -> NextTry {
    let failure = failure_of(carried, category, retry_after, now);
    let next = next_try(&failure, carried.job.kind, &inner.schedule, now, dice);
    let ends = view.and_then(|view| ends(&carried.row, view));
    match (next, ends) {
        (NextTry::At { at, .. }, Some(ends)) if at >= ends => NextTry::GiveUp,
        (next, _) => next,
    }
}
