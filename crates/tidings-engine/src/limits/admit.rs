//! Who of a batch has a slot. The rest goes back into the queue's line before the rules are asked about it.

use super::lines::{Key, Waiting, Way};
use super::{ALL, limit_of};
use crate::deliver::{Bench, Carried};
use crate::engine::Inner;
use crate::error::EngineError;
use crate::tenancy::TenantView;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;
use tidings_core::breaker::Permit;
use tidings_core::limit::Pace;
use tidings_core::{Channel, ConnectionId, TenantId};
use tidings_store::messages::routes::RouteRow;

/// A slot for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub connection: ConnectionId,
    pub pace: Pace,
    pub slot_us: i64,
}

/// Slots that a batch holds for its calls: of each connection as many as it has deliveries, because the route of each is
/// chosen only when it goes.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    turns: HashMap<ConnectionId, VecDeque<Turn>>,
    /// The limited connections of each channel that has no other.
    groups: HashMap<(TenantId, Channel), Vec<ConnectionId>>,
}

impl Reserved {
    /// When the connection may be called, where it may not now.
    pub fn limited_until(&self, inner: &Inner, row: &RouteRow, now: Timestamp) -> Option<Timestamp> {
        let limiter = &inner.limiter;
        let paused = limiter.paused_until(row.id, now);
        if limit_of(row).is_none() {
            return paused;
        }
        let until_us = limiter.begins_until(now);
        let held = self.turns.get(&row.id).and_then(VecDeque::front);
        let next_us = match held {
            Some(turn) => turn.slot_us,
            None => match limiter.pools().next(row.id, now.as_microsecond()) {
                super::pool::Next::Slot(at) => at,
                // Never "now": nobody holds a slot.
                super::pool::Next::Ask(at) => at.max(until_us.saturating_add(1)),
            },
        };
        if next_us <= until_us {
            return paused;
        }
        Timestamp::from_microsecond(next_us).ok().max(paused)
    }

    /// Takes the next slot of a limited connection, a held one first.
    pub fn pop(&mut self, inner: &Inner, row: &RouteRow, now: Timestamp) -> Option<Turn> {
        if let Some(turn) = self.turns.get_mut(&row.id).and_then(VecDeque::pop_front) {
            return Some(turn);
        }
        let pace = limit_of(row)?.pace();
        let until_us = inner.limiter.begins_until(now);
        let slot_us = inner
            .limiter
            .pools()
            .pop(row.id, now.as_microsecond(), until_us)?;
        Some(Turn {
            connection: row.id,
            pace,
            slot_us,
        })
    }

    /// Forgets slots that are too late to be used.
    pub fn expire(&mut self, now: Timestamp) {
        let now_us = now.as_microsecond();
        for turns in self.turns.values_mut() {
            turns.retain(|turn| turn.slot_us.saturating_add(turn.pace.late_us) >= now_us);
        }
    }

    /// Gives back what was not used.
    pub fn give_back(&mut self, inner: &Inner) {
        let mut pools = inner.limiter.pools();
        for (connection, mut turns) in self.turns.drain() {
            while let Some(turn) = turns.pop_back() {
                pools.give_back(connection, turn.slot_us);
            }
        }
    }

    /// How many of those that wait may begin now, and else how long until the next may: each of a limited channel needs a
    /// slot whose time has come, all but. One whose slots are gone begins as well, so that the gate puts it back.
    pub fn due(&self, inner: &Inner, waiting: &[Carried], now: Timestamp) -> Due {
        let until_us = inner.limiter.begins_until(now);
        let mut room: HashMap<(TenantId, Channel), usize> = HashMap::new();
        let mut next_us: Option<i64> = None;
        let mut ready = Vec::with_capacity(waiting.len());
        for carried in waiting {
            let key = (carried.row.tenant, carried.row.channel);
            let Some(ways) = self.groups.get(&key) else {
                ready.push(true);
                continue;
            };
            let turns = || ways.iter().filter_map(|id| self.turns.get(id)).flatten();
            let room = room.entry(key).or_insert_with(|| {
                if turns().next().is_none() {
                    return usize::MAX;
                }
                turns().filter(|turn| turn.slot_us <= until_us).count()
            });
            ready.push(*room > 0);
            if *room > 0 {
                *room -= 1;
            } else {
                let first = turns().map(|turn| turn.slot_us).filter(|at| *at > until_us).min();
                next_us = [next_us, first].into_iter().flatten().min();
            }
        }
        let ahead = until_us.saturating_sub(now.as_microsecond());
        let pause_us = next_us.map_or(0, |at| {
            at.saturating_sub(ahead).saturating_sub(now.as_microsecond())
        });
        Due {
            ready,
            pause: Duration::from_micros(u64::try_from(pause_us).unwrap_or(0)),
        }
    }

    /// Moves up to `want` slots of a connection from the pool; how many it holds then.
    fn fill(&mut self, inner: &Inner, way: Way, want: usize, now: Timestamp) -> usize {
        let now_us = now.as_microsecond();
        let until_us = now_us.saturating_add(inner.limiter.lead_us());
        let mut pools = inner.limiter.pools();
        let turns = self.turns.entry(way.connection).or_default();
        while turns.len() < want
            && let Some(slot_us) = pools.pop(way.connection, now_us, until_us)
        {
            turns.push_back(Turn {
                connection: way.connection,
                pace: way.pace,
                slot_us,
            });
        }
        turns.len()
    }
}

/// Who of those that wait may begin.
#[derive(Debug)]
pub(crate) struct Due {
    ready: Vec<bool>,
    /// Until the next may, where none may now.
    pub pause: Duration,
}

impl Due {
    pub fn count(&self) -> usize {
        self.ready.iter().filter(|ready| **ready).count()
    }

    /// Takes up to `most` of them, in their order.
    pub fn take(&self, waiting: &mut Vec<Carried>, most: usize) -> Vec<Carried> {
        let mut taken = Vec::with_capacity(most.min(waiting.len()));
        let mut rest = Vec::with_capacity(waiting.len());
        for (carried, ready) in waiting.drain(..).zip(&self.ready) {
            if *ready && taken.len() < most {
                taken.push(carried);
            } else {
                rest.push(carried);
            }
        }
        *waiting = rest;
        taken
    }
}

/// The limited connections of a channel in the order they are tried.
fn ways(rows: &[&RouteRow]) -> Vec<Way> {
    let mut rows = rows.to_vec();
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

/// A channel's connections as a batch finds them.
struct Lay {
    /// Those with a limit that their breakers let be called.
    ways: Vec<Way>,
    /// One without a limit may be called: nothing has to wait for slots.
    open: bool,
    /// When a breaker lets the first be called, where none may be now.
    shut_until: Option<Timestamp>,
}

fn lay(inner: &Inner, view: &TenantView, channel: Channel, now: Timestamp) -> Option<Lay> {
    let rows: Vec<&RouteRow> = view.routes.iter().filter(|row| row.channel == channel).collect();
    if rows.iter().all(|row| limit_of(row).is_none()) {
        return None;
    }
    let permit = |row: &RouteRow| inner.pulse.stand(row, now).breaker.permit(now);
    let callable: Vec<&RouteRow> = rows
        .iter()
        .copied()
        .filter(|row| !matches!(permit(row), Permit::Wait(_)))
        .collect();
    let shut_until = rows.iter().filter_map(|row| match permit(row) {
        Permit::Wait(until) => Some(until),
        Permit::Call | Permit::Probe => None,
    });
    Some(Lay {
        open: callable.iter().any(|row| limit_of(row).is_none()),
        shut_until: shut_until.min().filter(|_| callable.is_empty()),
        ways: ways(&callable),
    })
}

/// The deliveries of one tenant and channel, by their places in the batch.
struct Group {
    lay: Lay,
    members: Vec<usize>,
    lines: BTreeSet<&'static str>,
    keys: Vec<Key>,
}

/// Sorts a batch into those that may go and those that stay in the line. Costs a round trip only where a limited
/// connection needs more slots than this node holds.
pub(crate) async fn admit(
    inner: &Inner,
    bench: &Bench,
    reserved: &mut Reserved,
    ready: Vec<Carried>,
) -> Result<(Vec<Carried>, Vec<Carried>), EngineError> {
    let now = inner.now();
    let mut groups = grouped(inner, bench, &ready, now);
    if groups.is_empty() {
        return Ok((ready, Vec::new()));
    }
    let mut wishes = Vec::new();
    for group in groups.values() {
        let line = group.keys.iter().any(|key| inner.limiter.lines().is_held(*key));
        for way in &group.lay.ways {
            let held = reserved.fill(inner, *way, group.members.len(), now);
            let missing = group.members.len() - held;
            if missing > 0 {
                // A line goes on: slots for its next turn are taken along.
                let want = if line {
                    ALL
                } else {
                    u32::try_from(missing).unwrap_or(ALL)
                };
                wishes.push(way.wish(want));
            }
        }
    }
    inner.limiter.ask(inner, wishes).await?;
    let now = inner.now();
    let mut back = HashSet::new();
    for (key, group) in &mut groups {
        let mut held = 0;
        for way in &group.lay.ways {
            held += reserved.fill(inner, *way, group.members.len(), now);
        }
        if group.lay.open {
            for key in &group.keys {
                inner.limiter.lines().forget(*key);
            }
            continue;
        }
        let ids = group.lay.ways.iter().map(|way| way.connection).collect();
        reserved.groups.insert(*key, ids);
        let missing = group.members.len().saturating_sub(held);
        back.extend(group.members.split_off(group.members.len() - missing));
        for key in &group.keys {
            if missing > 0 || inner.limiter.lines().is_held(*key) {
                let waiting = Waiting {
                    ways: group.lay.ways.clone(),
                    not_before_us: group.lay.shut_until.map_or(0, Timestamp::as_microsecond),
                };
                inner.limiter.hold(*key, waiting, now);
            }
        }
    }
    let (mut going, mut staying) = (Vec::with_capacity(ready.len()), Vec::with_capacity(back.len()));
    for (place, carried) in ready.into_iter().enumerate() {
        if back.contains(&place) {
            staying.push(carried);
        } else {
            going.push(carried);
        }
    }
    Ok((going, staying))
}

fn grouped(
    inner: &Inner,
    bench: &Bench,
    ready: &[Carried],
    now: Timestamp,
) -> BTreeMap<(TenantId, Channel), Group> {
    let mut groups: BTreeMap<(TenantId, Channel), Option<Group>> = BTreeMap::new();
    for (place, carried) in ready.iter().enumerate() {
        let key = (carried.row.tenant, carried.row.channel);
        let group = groups.entry(key).or_insert_with(|| {
            let lay = lay(inner, bench.views.get(&key.0)?, key.1, now)?;
            Some(Group {
                lay,
                members: Vec::new(),
                lines: BTreeSet::new(),
                keys: Vec::new(),
            })
        });
        let Some(group) = group else { continue };
        group.members.push(place);
        if group.lines.insert(carried.job.kind.as_str()) {
            group.keys.push((key.0, carried.job.kind));
        }
    }
    groups
        .into_iter()
        .filter_map(|(key, group)| Some((key, group?)))
        .collect()
}

/// A delivery that the gate could not route because of a limit or a broken connection: its line waits. None where the
/// channel has a connection without a limit, so that there is no line to wait in.
pub(crate) fn held_at_gate(
    inner: &Inner,
    view: &TenantView,
    carried: &Carried,
    until: Timestamp,
    now: Timestamp,
) -> Option<()> {
    let lay = lay(inner, view, carried.row.channel, now)?;
    if lay.open {
        return None;
    }
    let waiting = Waiting {
        ways: lay.ways,
        not_before_us: until.as_microsecond(),
    };
    inner
        .limiter
        .hold((carried.row.tenant, carried.job.kind), waiting, now);
    Some(())
}
