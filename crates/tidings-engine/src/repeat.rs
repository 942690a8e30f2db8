//! Repeating a call of unknown outcome under its reference, which the provider takes once only: over the same
//! connection, and only while the provider remembers the reference. A no to the repetition is no word about the call
//! before it, so nothing else is tried in its place.

use crate::deliver::Call;
use crate::tenancy::TenantView;
use jiff::{SignedDuration, Timestamp};
use tidings_core::DeliveryState;
use tidings_core::unknown::repeatable_until;
use tidings_providers::Provider;
use tidings_store::messages::dispatch::Dispatchable;

/// Until when the call of a delivery may be repeated over a provider.
pub(crate) fn until(row: &Dispatchable, provider: &dyn Provider) -> Timestamp {
    let remembers_for = provider
        .remembers_for()
        .map(|kept| SignedDuration::try_from(kept).unwrap_or(SignedDuration::MAX));
    repeatable_until(first_used(row), remembers_for)
}

/// When the provider can first have seen the reference: with its own attempt, or, where that one was repeated already,
/// not before the message's first dispatch.
fn first_used(row: &Dispatchable) -> Timestamp {
    let own = row
        .reference
        .as_deref()
        .and_then(|reference| reference.rsplit_once('-'))
        .is_some_and(|(_, number)| number == row.attempt_no.to_string());
    row.attempted_at
        .filter(|_| own)
        .or(row.message.dispatched_at)
        .unwrap_or(row.message.accepted_at)
}

/// Whether a queued delivery that may have arrived must not be called any more: its provider may have forgotten the
/// reference by which it would recognise the repetition, or its connection is gone. Its outcome is unknown as before.
pub(crate) fn is_too_late(row: &Dispatchable, view: &TenantView, now: Timestamp) -> bool {
    if row.reference.is_none() {
        return false;
    }
    let gone = !row
        .connection
        .is_some_and(|connection| view.routes.iter().any(|route| route.id == connection));
    // A queued delivery with a time to resolve it is a repetition that is safe until then.
    let forgotten = row.state == DeliveryState::Queued && row.resolve_after.is_some_and(|until| now >= until);
    gone || forgotten
}

/// Whether a call repeats one that may have arrived: a reference is kept only while that is so.
pub(crate) fn is_repetition(call: &Call) -> bool {
    call.carried.row.reference.is_some()
}
