//! Who of a batch has a slot. The rest goes back into the queue's line before the rules are asked about it.

use super::lines::{Waiting, Way};
use super::{ALL, limit_of};
use crate::deliver::{Bench, Carried};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::tenancy::TenantView;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use tidings_core::limit::Pace;
use tidings_core::{Channel, ConnectionId, TenantId};
use tidings_store::messages::routes::RouteRow;

/// A slot for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub tenant: TenantId,
    pub connection: ConnectionId,
    pub pace: Pace,
    pub slot_us: i64,
}

/// Slots that a batch holds for its calls.
#[derive(Debug, Default)]
pub(crate) struct Reserved(HashMap<ConnectionId, VecDeque<Turn>>);

impl Reserved {
    /// When the connection may be called, where it may not now.
    pub fn limited_until(&self, inner: &Inner, row: &RouteRow, now: Timestamp) -> Option<Timestamp> {
        let limiter = &inner.limiter;
        let paused = limiter.paused_until(row.id, now);
        if limit_of(row).is_none() || self.0.get(&row.id).is_some_and(|turns| !turns.is_empty()) {
            return paused;
        }
        let next = match limiter.pools().next(row.id, now.as_microsecond()) {
            super::pool::Next::Slot(at) | super::pool::Next::Ask(at) => at,
        };
        // Never "now": whoever asks holds no slot.
        let next = next.max(now.as_microsecond().saturating_add(1));
        Timestamp::from_microsecond(next).ok().max(paused)
    }

    /// Takes the next slot of a connection.
    pub fn pop(&mut self, connection: ConnectionId) -> Option<Turn> {
        self.0.get_mut(&connection)?.pop_front()
    }

    /// Gives back what was not used.
    pub fn give_back(&mut self, inner: &Inner) {
        let mut pools = inner.limiter.pools();
        for (connection, mut turns) in self.0.drain() {
            while let Some(turn) = turns.pop_back() {
                pools.give_back(connection, turn.slot_us);
            }
        }
    }

    /// Moves up to `want` slots of a connection from the pool; how many.
    fn fill(&mut self, inner: &Inner, way: Way, want: usize, now: Timestamp) -> usize {
        let now_us = now.as_microsecond();
        let until_us = now_us.saturating_add(inner.limiter.lead_us());
        let mut pools = inner.limiter.pools();
        let turns = self.0.entry(way.connection).or_default();
        let mut got = 0;
        while got < want
            && let Some(slot_us) = pools.pop(way.connection, now_us, until_us)
        {
            turns.push_back(Turn {
                tenant: way.tenant,
                connection: way.connection,
                pace: way.pace,
                slot_us,
            });
            got += 1;
        }
        got
    }
}

/// The limited connections of a channel in the order they are tried.
pub(super) fn ways(view: &TenantView, channel: Channel) -> Vec<Way> {
    let mut rows: Vec<&RouteRow> = view.routes.iter().filter(|row| row.channel == channel).collect();
    rows.sort_by_key(|row| (row.priority, row.id));
    let way = |row: &&RouteRow| {
        Some(Way {
            tenant: row.tenant,
            connection: row.id,
            pace: limit_of(row)?.pace(),
        })
    };
    rows.iter().filter_map(way).collect()
}

/// Whether a connection of the channel has no limit.
fn has_unlimited(view: &TenantView, channel: Channel) -> bool {
    view.routes
        .iter()
        .any(|row| row.channel == channel && limit_of(row).is_none())
}

/// The deliveries of one tenant and channel, by their places in the batch.
struct Group {
    ways: Vec<Way>,
    /// What has no slot goes by a connection without a limit.
    open: bool,
    members: Vec<usize>,
    line_at_work: bool,
}

/// Sorts a batch into those that may go now and those that stay in the line. Costs a round trip only where a limited
/// connection needs more slots than this node holds.
pub(crate) async fn admit(
    inner: &Inner,
    bench: &Bench,
    reserved: &mut Reserved,
    ready: Vec<Carried>,
) -> Result<(Vec<Carried>, Vec<Carried>), EngineError> {
    let mut groups = grouped(inner, bench, &ready);
    if groups.is_empty() {
        return Ok((ready, Vec::new()));
    }
    let now = inner.now();
    let mut wishes = Vec::new();
    for group in groups.values() {
        let mut missing = group.members.len();
        for way in &group.ways {
            missing -= reserved.fill(inner, *way, missing, now);
        }
        if missing > 0 || group.line_at_work {
            // A line goes on: slots for its next turn are taken along.
            let want = if group.line_at_work { ALL } else { missing as u32 };
            wishes.extend(group.ways.iter().map(|way| way.wish(want)));
        }
    }
    inner.limiter.ask(inner, wishes).await?;
    let now = inner.now();
    let mut back = HashSet::new();
    for ((tenant, channel), group) in &mut groups {
        let held: usize = group.ways.iter().map(|way| reserved.count(way.connection)).sum();
        let mut missing = group.members.len().saturating_sub(held);
        for way in &group.ways {
            missing -= reserved.fill(inner, *way, missing, now);
        }
        if !group.open {
            let rest = group.members.split_off(group.members.len() - missing);
            back.extend(rest);
        }
        let short = missing > 0 && !group.open;
        if short || group.line_at_work {
            let kinds: HashSet<_> = ready
                .iter()
                .filter(|one| one.row.tenant == *tenant && one.row.channel == *channel)
                .map(|one| one.job.kind)
                .collect();
            for kind in kinds {
                if short || inner.limiter.lines().is_held((*tenant, kind)) {
                    let waiting = Waiting {
                        ways: group.ways.clone(),
                        not_before_us: 0,
                    };
                    inner.limiter.hold((*tenant, kind), waiting, now);
                }
            }
        }
    }
    let mut going = Vec::with_capacity(ready.len());
    let mut staying = Vec::with_capacity(back.len());
    for (place, carried) in ready.into_iter().enumerate() {
        if back.contains(&place) {
            staying.push(carried);
        } else {
            going.push(carried);
        }
    }
    Ok((going, staying))
}

impl Reserved {
    fn count(&self, connection: ConnectionId) -> usize {
        self.0.get(&connection).map_or(0, VecDeque::len)
    }
}

fn grouped(inner: &Inner, bench: &Bench, ready: &[Carried]) -> BTreeMap<(TenantId, Channel), Group> {
    let mut groups: BTreeMap<(TenantId, Channel), Group> = BTreeMap::new();
    for (place, carried) in ready.iter().enumerate() {
        let key = (carried.row.tenant, carried.row.channel);
        let Some(view) = bench.views.get(&key.0) else {
            continue;
        };
        let group = groups.entry(key).or_insert_with(|| Group {
            ways: ways(view, key.1),
            open: has_unlimited(view, key.1),
            members: Vec::new(),
            line_at_work: false,
        });
        group.members.push(place);
        group.line_at_work |= inner.limiter.lines().is_held((key.0, carried.job.kind));
    }
    groups.retain(|_, group| !group.ways.is_empty());
    groups
}

/// A delivery that the gate could not route because of a limit or a broken connection: its line waits. None where the
/// channel has no limited connection, so that there is no line to wait in.
pub(crate) fn held_at_gate(
    inner: &Inner,
    view: &TenantView,
    carried: &Carried,
    until: Timestamp,
    now: Timestamp,
) -> Option<()> {
    let ways = ways(view, carried.row.channel);
    if ways.is_empty() || has_unlimited(view, carried.row.channel) {
        return None;
    }
    let waiting = Waiting {
        ways,
        not_before_us: until.as_microsecond(),
    };
    inner
        .limiter
        .hold((carried.row.tenant, carried.job.kind), waiting, now);
    Some(())
}
