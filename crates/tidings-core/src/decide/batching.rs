//! Rule 11: low urgency gathers, and goes as one at the next business hour; one batch per contact and local day.

use super::timing;
use super::{Facts, Policy, ReasonCode, Remark};
use crate::channel::Channel;
use crate::message::Urgency;
use crate::zone;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// A contact who had nothing for this long gets a message alone.
const QUIET_SPELL: SignedDuration = SignedDuration::from_hours(24);

/// What becomes of the message.
pub(super) enum Gathering {
    /// Goes by itself, or as the batch it is.
    Go(Remark),
    /// Goes as a batch, but on a later day.
    Later(Timestamp, Remark),
    /// Waits for others until the instant at the latest.
    Gather(Timestamp, Remark),
}

/// Asks about a message that may go at `at`.
pub(super) fn check(
    facts: &Facts,
    policy: &Policy,
    channel: Channel,
    zone: &TimeZone,
    now: Timestamp,
    at: Timestamp,
) -> Gathering {
    if facts.request.urgency != Urgency::Low {
        return Gathering::Go(Remark::new(
            ReasonCode::BatchingNotLow,
            "Only messages of low urgency gather.",
        ));
    }
    if facts.request.batched {
        return gathered(facts, policy, channel, zone, now, at);
    }
    let quiet_spell = facts
        .history
        .last_sent_at
        .is_none_or(|last| now.duration_since(last) >= QUIET_SPELL);
    if quiet_spell {
        let detail = "The contact has had nothing for 24 hours: the message goes alone.";
        return Gathering::Go(Remark::new(ReasonCode::BatchingAlone, detail));
    }
    let (closes_at, remark) = join(facts, policy, channel, now);
    if facts.request.send_at.is_some_and(|send_at| send_at > closes_at) {
        let detail = "The request names a later time than the batch may take: the message goes alone.";
        return Gathering::Go(Remark::new(ReasonCode::BatchingOwnTime, detail));
    }
    let goes_at = timing::plan(facts, policy, channel, zone, closes_at, now).map(|planned| planned.at);
    if goes_at.is_none_or(|goes_at| timing::expired(facts, goes_at).is_some()) {
        let detail = "It would expire before the batch may go: the message goes alone.";
        return Gathering::Go(Remark::new(ReasonCode::BatchingExpiresFirst, detail));
    }
    Gathering::Gather(closes_at, remark)
}

/// The batch it opens, joins or completes.
fn join(facts: &Facts, policy: &Policy, channel: Channel, now: Timestamp) -> (Timestamp, Remark) {
    let window = SignedDuration::from_secs(i64::from(policy.batch_window_seconds));
    let closing = |opened_at: Timestamp| {
        opened_at
            .saturating_add(window)
            .unwrap_or(Timestamp::MAX)
            .max(now)
    };
    let open = facts
        .history
        .open_batch
        .as_ref()
        .filter(|batch| batch.channel == channel);
    let (size, opened_at) = open.map_or((1, now), |batch| {
        (batch.size.saturating_add(1), batch.opened_at.min(now))
    });
    if size >= policy.batch_size {
        return (
            now,
            Remark::new(ReasonCode::BatchingCompleted, "The batch is full and closes now."),
        );
    }
    let closes_at = closing(opened_at);
    if open.is_some() {
        let detail = format!("Joins the contact's open batch, which closes at {closes_at} at the latest.");
        return (closes_at, Remark::new(ReasonCode::BatchingJoined, detail));
    }
    let detail = format!("Opens a batch that gathers until {closes_at} at the latest.");
    (closes_at, Remark::new(ReasonCode::BatchingOpened, detail))
}

/// The batch itself: not on a local day that has one.
fn gathered(
    facts: &Facts,
    policy: &Policy,
    channel: Channel,
    zone: &TimeZone,
    now: Timestamp,
    at: Timestamp,
) -> Gathering {
    let day = |instant: Timestamp| zone.to_datetime(instant).date();
    let taken = facts
        .history
        .last_batch_at
        .map(day)
        .filter(|taken| *taken >= day(at));
    let later = taken.and_then(|taken| {
        let midnight = taken
            .saturating_add(1.day())
            .to_datetime(jiff::civil::Time::midnight());
        timing::plan(
            facts,
            policy,
            channel,
            zone,
            zone::local_to_utc(zone, midnight).once(),
            now,
        )
    });
    match later {
        Some(planned) => {
            let detail = format!(
                "The contact has a batch that local day; this one goes at {}.",
                planned.at
            );
            Gathering::Later(planned.at, Remark::new(ReasonCode::BatchingDayTaken, detail))
        }
        None => Gathering::Go(Remark::new(
            ReasonCode::BatchingGathered,
            "The gathered messages go as one.",
        )),
    }
}
