//! What became of a message by now, whether it was reported or not: what its magic recipient or the account's script says.

use super::{Event, MAGIC_AFTER_MS, Step};
use crate::fault::{Magic, magic};
use crate::ledger::Entry;
use crate::world::World;
use jiff::{SignedDuration, Timestamp};

/// An event of a message's course.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Happened {
    pub event: Event,
    pub code: Option<u32>,
    pub at: Timestamp,
}

/// Everything that happened to a message by now, in order of time.
pub(crate) fn course(world: &World, entry: &Entry) -> Vec<Happened> {
    let by_magic = match magic(entry.recipient.expose()).filter(|_| world.magic) {
        Some(Magic::Report(event)) => Some(Step {
            after_ms: MAGIC_AFTER_MS,
            ..Step::of(event)
        }),
        _ => None,
    };
    let steps = match by_magic {
        Some(step) => vec![step],
        None => world
            .account(entry.vendor, &entry.account)
            .map(|account| account.script.clone())
            .unwrap_or_default(),
    };
    let now = world.now();
    let mut course: Vec<Happened> = steps
        .into_iter()
        .filter_map(|step| {
            let after = SignedDuration::from_millis(i64::try_from(step.after_ms).ok()?);
            let at = entry.at.saturating_add(after).ok()?;
            (at <= now).then_some(Happened {
                event: step.event,
                code: step.code,
                at,
            })
        })
        .collect();
    course.sort_by_key(|happened| happened.at);
    course
}
