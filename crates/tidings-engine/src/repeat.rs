//! Repeating a call of unknown outcome under its reference, which the provider takes once only: over the same
//! connection, and only while the provider remembers the reference. A no to the repetition is no word about the call
//! before it, so nothing else is tried in its place.

use crate::deliver::Call;
use crate::tenancy::TenantView;
use jiff::{SignedDuration, Timestamp};
use tidings_core::unknown::repeatable_until;
use tidings_core::{ConnectionId, DeliveryState};
use tidings_providers::Provider;
use tidings_store::messages::dispatch::Dispatchable;

/// How a queued delivery may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repetition {
    /// It is no repetition: any connection may carry it.
    No,
    /// Over this connection only.
    Over(ConnectionId),
    /// It waited too long, or its connection is gone: its outcome is unknown as before.
    TooLate,
}

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

/// A queued delivery with a time to resolve it is a repetition that is safe until then.
pub(crate) fn of(row: &Dispatchable, view: &TenantView, now: Timestamp) -> Repetition {
    let Some(until) = row.resolve_after.filter(|_| row.state == DeliveryState::Queued) else {
        return Repetition::No;
    };
    match row.connection {
        Some(connection) if now < until && view.routes.iter().any(|route| route.id == connection) => {
            Repetition::Over(connection)
        }
        _ => Repetition::TooLate,
    }
}

/// Whether a call repeats one whose outcome is unknown.
pub(crate) fn is_repetition(call: &Call) -> bool {
    let row = &call.carried.row;
    row.state == DeliveryState::Queued && row.resolve_after.is_some()
}
