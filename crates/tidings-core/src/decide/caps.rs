//! Rule 7: how often a contact is written to. A cap defers, it never strands.

use super::policy::Cap;
use super::{Facts, Policy, ReasonCode, Remark};
use jiff::{SignedDuration, Timestamp};

/// What the caps of the category say.
pub(super) enum Capped {
    /// Nothing against the instant.
    Free(Remark),
    /// Not before the instant.
    Until(Timestamp, Remark),
    /// Not at all: the tenant allows none.
    Never(Remark),
}

/// The first instant from `from` at which one more message breaks no cap: no stretch of a cap's length, past or planned,
/// then holds more than its limit.
pub(super) fn check(facts: &Facts, policy: &Policy, from: Timestamp) -> Capped {
    let category = facts.request.category;
    let caps: Vec<Cap> = policy
        .caps
        .get(&category)
        .into_iter()
        .flatten()
        .copied()
        .filter(|cap| cap.hours > 0)
        .collect();
    if caps.is_empty() {
        return Capped::Free(Remark::new(
            ReasonCode::FrequencyCapNone,
            "This kind of message has no frequency cap.",
        ));
    }
    if caps.iter().any(|cap| cap.limit == 0) {
        return Capped::Never(Remark::new(
            ReasonCode::FrequencyCapZero,
            "The tenant allows no message of this kind (a cap of zero).",
        ));
    }
    let mut sent: Vec<Timestamp> = facts
        .history
        .sent
        .iter()
        .filter(|(of, _)| *of == category)
        .map(|(_, at)| *at)
        .collect();
    sent.sort_unstable();
    let Some(reached) = caps.iter().find(|cap| breaks(**cap, &sent, from)).copied() else {
        return Capped::Free(Remark::new(
            ReasonCode::FrequencyCapFree,
            "The contact was written to less often than the cap allows.",
        ));
    };
    let until = first_free(&caps, &sent, from);
    let detail = format!(
        "At most {} messages of this kind in {} hours; free again at {until}.",
        reached.limit, reached.hours
    );
    Capped::Until(until, Remark::new(ReasonCode::FrequencyCapReached, detail))
}

/// A window frees when its oldest message leaves it, so only those instants need be tried; the last one always is free.
fn first_free(caps: &[Cap], sent: &[Timestamp], from: Timestamp) -> Timestamp {
    let mut instants: Vec<Timestamp> = caps
        .iter()
        .flat_map(|cap| {
            sent.iter()
                .map(|at| at.saturating_add(length(*cap)).unwrap_or(Timestamp::MAX))
        })
        .filter(|at| *at > from)
        .collect();
    instants.sort_unstable();
    let last = instants.last().copied().unwrap_or(from);
    instants
        .into_iter()
        .find(|at| !caps.iter().any(|cap| breaks(*cap, sent, *at)))
        .unwrap_or(last)
}

/// Whether a message at the instant makes a stretch of the cap's length hold more than its limit. `sent` is sorted.
fn breaks(cap: Cap, sent: &[Timestamp], at: Timestamp) -> bool {
    let limit = usize::try_from(cap.limit).unwrap_or(usize::MAX);
    let near: Vec<Timestamp> = sent
        .iter()
        .copied()
        .filter(|other| other.duration_since(at).abs() < length(cap))
        .collect();
    if near.len() < limit {
        return false;
    }
    let place = near.partition_point(|other| *other <= at);
    let mut all = near;
    all.insert(place, at);
    // Only stretches that hold the new message: what is there already is not its fault.
    (place.saturating_sub(limit)..=place).any(|first| {
        all.get(first + limit)
            .is_some_and(|last| last.duration_since(all[first]) < length(cap))
    })
}

fn length(cap: Cap) -> SignedDuration {
    SignedDuration::from_hours(i64::from(cap.hours))
}
