//! Time zones: names, and what a wall clock means there.
//!
//! The bundled zone data is used, never the machine's: an operating system's copy may be older than this program and
//! wrong for zones whose rules changed since (Vancouver, Edmonton, Winnipeg and Casablanca did in 2026).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use std::sync::LazyLock;

static BUNDLED: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The longest IANA zone name has 32 characters; anything much longer is not one.
const LONGEST_NAME: usize = 64;

/// More transitions than any zone has in the days around an instant.
const TRANSITIONS_LOOKED_AT: usize = 16;

/// The zone of that IANA name (aliases such as `US/Eastern` included); none where there is no such zone.
pub fn find(name: &str) -> Option<TimeZone> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        return None;
    }
    BUNDLED.get(name).ok()
}

/// Every zone name known, sorted.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = BUNDLED.available().map(|name| name.as_str().to_owned()).collect();
    names.sort_unstable();
    names
}

/// The contact's zone, where it is set and known; else the tenant's; else UTC.
pub fn resolve(contact: Option<&str>, tenant: &str) -> TimeZone {
    contact
        .and_then(find)
        .or_else(|| find(tenant))
        .unwrap_or(TimeZone::UTC)
}

/// The instants a wall clock reading stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalInstant {
    /// Exactly one.
    Normal(Timestamp),
    /// None: the clocks jump over it.
    Gap {
        /// Read by the offset that holds after the jump; lies before it.
        before: Timestamp,
        /// The jump itself.
        transition: Timestamp,
        /// Read by the offset that held before the jump; lies after it, or on it.
        after: Timestamp,
    },
    /// Two: the clocks are put back over it.
    Overlap {
        /// The first time round.
        first: Timestamp,
        /// The second time round.
        second: Timestamp,
    },
}

impl LocalInstant {
    /// The one instant at which something planned for the reading happens: never skipped, never twice. A reading that
    /// does not exist moves on by the length of the gap; of two the first counts.
    pub const fn once(self) -> Timestamp {
        match self {
            Self::Normal(instant)
            | Self::Gap { after: instant, .. }
            | Self::Overlap { first: instant, .. } => instant,
        }
    }
}

/// The instants at which the wall clocks of the zone show the reading; saturating at the ends of time.
pub fn local_to_utc(zone: &TimeZone, local: DateTime) -> LocalInstant {
    let at = |offset: Offset| match offset.to_timestamp(local) {
        Ok(instant) => instant,
        Err(_) if local.year() > 0 => Timestamp::MAX,
        Err(_) => Timestamp::MIN,
    };
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => LocalInstant::Normal(at(offset)),
        AmbiguousOffset::Fold { before, after } => LocalInstant::Overlap {
            first: at(before),
            second: at(after),
        },
        AmbiguousOffset::Gap { before, after } => {
            let (early, late) = (at(after), at(before));
            let transition = transitions(zone, early, late).next().unwrap_or(late);
            LocalInstant::Gap {
                before: early,
                transition,
                after: late,
            }
        }
    }
}

/// The instants after `from`, up to and including `to`, at which the offset of the zone changes.
pub(crate) fn transitions(
    zone: &TimeZone,
    from: Timestamp,
    to: Timestamp,
) -> impl Iterator<Item = Timestamp> {
    let mut offset = zone.to_offset(from);
    zone.following(from)
        .take(TRANSITIONS_LOOKED_AT)
        .take_while(move |transition| transition.timestamp() <= to)
        .filter(move |transition| std::mem::replace(&mut offset, transition.offset()) != transition.offset())
        .map(|transition| transition.timestamp())
}
