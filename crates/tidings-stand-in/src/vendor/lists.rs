//! The lists that vendors keep of addresses they do not write to: whoever bounced, complained or unsubscribed by now.

use super::Vendor;
use crate::ledger::Query;
use crate::webhook::{Event, course};
use crate::world::World;
use jiff::Timestamp;
use std::collections::HashSet;

/// Why an address is on a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Suppressed {
    Bounced,
    Complained,
    Unsubscribed,
}

/// Every address of an account, why and since when, oldest first; once for each reason.
pub(super) fn suppressed(
    world: &World,
    vendor: Vendor,
    account: &str,
) -> Vec<(String, Suppressed, Timestamp)> {
    let entries = world.all(
        &Query {
            vendor: Some(vendor),
            ..Query::default()
        },
        |entry| entry.account == account && !entry.replay,
    );
    let mut found = Vec::new();
    for entry in entries {
        for happened in course(world, &entry) {
            let why = match happened.event {
                Event::BouncedHard => Suppressed::Bounced,
                Event::Complained => Suppressed::Complained,
                Event::Unsubscribed => Suppressed::Unsubscribed,
                _ => continue,
            };
            found.push((entry.recipient.expose().to_ascii_lowercase(), why, happened.at));
        }
    }
    found.sort_by_key(|(_, _, at)| *at);
    let mut seen = HashSet::new();
    found.retain(|(address, why, _)| seen.insert((address.clone(), *why)));
    found
}
