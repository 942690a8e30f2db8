//! When soft bounces of one address add up.
//!
//! One says little: a mailbox is full over a weekend, a server is down for an afternoon. Three on three different days
//! within thirty, with nothing delivered between, say that the address takes no mail for now. It is left alone for thirty
//! days and then tried again. A block (reputation, content) is about us and never counts against an address.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// So many different days (UTC) with a soft bounce suppress the address.
pub const DAYS: usize = 3;
/// Within so long.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(30 * 24);
/// For so long.
pub const LEFT_ALONE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// So many days with a soft bounce are kept of an address.
pub const KEPT_DAYS: usize = 10;

/// What follows for the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// Nothing yet.
    Keep,
    /// Not written to until then.
    LeaveAlone {
        /// When it may be tried again.
        until: Timestamp,
    },
}

/// The soft bounces of an address that are kept, in order: the newest of each day (UTC), of the newest so many days that can count.
/// An address that bounces all day long must not push its own earlier days out.
pub fn kept(mut bounces: Vec<Timestamp>) -> Vec<Timestamp> {
    bounces.sort_unstable();
    let day = |at: &Timestamp| at.to_zoned(TimeZone::UTC).date();
    let mut kept: Vec<Timestamp> = Vec::with_capacity(KEPT_DAYS);
    for at in bounces.into_iter().rev() {
        if kept.last().is_some_and(|newer| day(newer) == day(&at)) {
            continue;
        }
        if kept.len() >= KEPT_DAYS {
            break;
        }
        kept.push(at);
    }
    kept.reverse();
    kept
}

/// Judges the soft bounces of one address, in any order; `delivered_at` is the newest delivery to it. Reports come late and
/// reordered: what counts is when things happened, and a bounce that was before the delivery is forgotten.
pub fn judge(bounces: &[Timestamp], delivered_at: Option<Timestamp>, now: Timestamp) -> Consequence {
    let earliest = now.saturating_sub(WINDOW).unwrap_or(Timestamp::MIN);
    let counting = bounces.iter().filter(|at| {
        **at >= earliest && **at <= now && delivered_at.is_none_or(|delivered| **at > delivered)
    });
    let days: BTreeSet<_> = counting.map(|at| at.to_zoned(TimeZone::UTC).date()).collect();
    if days.len() < DAYS {
        return Consequence::Keep;
    }
    Consequence::LeaveAlone {
        until: now.saturating_add(LEFT_ALONE).unwrap_or(Timestamp::MAX),
    }
}
