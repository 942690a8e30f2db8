//! Which connection of a channel carries the next call, which take over if it fails, and why.

use crate::breaker::{Breaker, BreakerState, Permit, TripCause};
use crate::dice::Dice;
use crate::ids::ConnectionId;
use crate::word::word_enum;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A contact stays with a connection of at least this health.
pub const STICKY_HEALTH: u8 = 50;

/// How long after the contact's last message a conversation lasts.
pub const CONVERSATION: SignedDuration = SignedDuration::from_hours(24);

/// The most passed-over connections that are named.
const NAMED: usize = 8;

word_enum! {
    /// Why a connection was taken, or passed over. Stable: shown by the API and `explain`; `docs/reasons.md` lists them.
    pub enum RouteCode {
        /// The best by priority.
        Preferred = "route.preferred",
        /// Drawn by weight and health among equals.
        Weight = "route.weight",
        /// The contact stays with the connection that carried its last message.
        Sticky = "route.sticky",
        /// The contact wrote to this connection last: the answer comes from there.
        Conversation = "route.conversation",
        /// Another connection had just refused this message.
        Failover = "route.failover",
        /// A better one cannot take it now.
        TakeOver = "route.take_over",
        /// The single probe of a breaker.
        Probe = "route.probe",
        /// Its breaker is open.
        BreakerOpen = "route.breaker_open",
        /// Its breaker has a probe out.
        Probing = "route.probing",
        /// It is broken on purpose.
        Drill = "route.drill",
        /// It is at its rate limit, or its provider asked to wait.
        Limited = "route.limited",
        /// It has just refused this message.
        Avoided = "route.avoided",
        /// It is getting its share back in steps, and this call is not in it.
        Ramping = "route.ramping",
        /// No connection can take it now.
        NoneReady = "route.none_ready",
    }
}

/// What routing knows of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionState {
    /// Which one.
    pub id: ConnectionId,
    /// Switched on.
    pub enabled: bool,
    /// Lower goes first.
    pub priority: i32,
    /// Share among connections of the same priority; 0 only when no other of them can.
    pub weight: u32,
    /// Its breaker.
    pub breaker: Breaker,
    /// When its rate limit has room again, where it has none now.
    pub limited_until: Option<Timestamp>,
    /// Its health score, 0 to 100; none while too little is known, which counts as full health.
    pub health: Option<u8>,
}

/// What a message asks of its route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// It has just refused this message: only when no other can.
    pub avoid: Option<ConnectionId>,
    /// The connection that carried the contact's last message.
    pub stay: Option<ConnectionId>,
    /// The contact wrote to it after that: it is stayed with across priorities.
    pub conversation: bool,
}

impl Wish {
    /// From what is known: the connection that just refused, the one that carried the contact's last message, and the
    /// one the contact wrote to last.
    pub fn of(
        avoid: Option<ConnectionId>,
        last: Option<ConnectionId>,
        wrote_to: Option<(ConnectionId, Timestamp)>,
        now: Timestamp,
    ) -> Self {
        let since = now.saturating_sub(CONVERSATION).unwrap_or(Timestamp::MIN);
        let conversation = wrote_to.filter(|(_, at)| *at >= since).map(|(id, _)| id);
        Self {
            avoid,
            stay: conversation.or(last),
            conversation: conversation.is_some(),
        }
    }
}

/// A connection that was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// Which one.
    pub connection: ConnectionId,
    /// Why.
    pub code: RouteCode,
    /// Until when, where that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<Timestamp>,
}

/// Where the next call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// By this connection.
    Use {
        /// Which one.
        connection: ConnectionId,
        /// The call is its breaker's single probe: record [`Breaker::probe`] first, and route again if another did.
        probe: bool,
        /// Who takes over when it says no, in order.
        others: Vec<ConnectionId>,
        /// Why this one.
        why: RouteCode,
        /// Those of the same or a better priority that were not taken, and why.
        passed_over: Vec<PassedOver>,
    },
    /// No connection may be called before the instant.
    Wait {
        /// When to route again.
        until: Timestamp,
        /// What stands in the way of each.
        passed_over: Vec<PassedOver>,
    },
    /// There is no enabled connection.
    None,
}

/// A connection that may be called.
#[derive(Clone, Copy)]
struct Ready<'a> {
    state: &'a ConnectionState,
    probe: bool,
    /// Taken only when no other can, for this reason.
    last: Option<RouteCode>,
}

/// Chooses by priority, then at random by weight and health. A connection whose breaker is due for a probe gets its
/// probe at its place in the order, so traffic returns when the first recovers; probes never stand in as a take-over.
/// One that is getting its share back takes that part of the calls it would get, unless nothing else can. A contact
/// stays with its last connection among equals, and across priorities while it is in a conversation there.
pub fn route(connections: &[ConnectionState], wish: Wish, now: Timestamp, dice: &mut Dice) -> Route {
    let mut sorted: Vec<&ConnectionState> = connections.iter().filter(|one| one.enabled).collect();
    // Stable whatever order the facts come in, so the same dice give the same route.
    sorted.sort_by_key(|one| (one.priority, one.id));
    let mut passed: Vec<(i32, PassedOver)> = Vec::new();
    let mut ready: Vec<Ready<'_>> = Vec::with_capacity(sorted.len());
    for state in sorted {
        match readiness(state, now) {
            Ok(probe) => {
                let last = last_resort(state, wish, now, dice);
                if let Some(code) = last {
                    passed.push((state.priority, passed_over(state, code, None)));
                }
                ready.push(Ready { state, probe, last });
            }
            Err((code, until)) => passed.push((state.priority, passed_over(state, code, Some(until)))),
        }
    }
    let mut order = ordered(&ready, dice);
    let kept = keep(&mut order, wish);
    let Some(first) = order.first().copied() else {
        return waits(passed);
    };
    if kept == Some(RouteCode::Conversation) {
        let better = order
            .iter()
            .filter(|one| one.state.priority < first.state.priority);
        passed.extend(better.map(|one| {
            (
                one.state.priority,
                passed_over(one.state, RouteCode::Conversation, None),
            )
        }));
    }
    passed.retain(|(priority, one)| *priority <= first.state.priority && one.connection != first.state.id);
    Route::Use {
        connection: first.state.id,
        probe: first.probe,
        others: order
            .iter()
            .skip(1)
            .filter(|one| !one.probe)
            .map(|one| one.state.id)
            .collect(),
        why: why(first, kept, wish, &passed, &ready),
        passed_over: passed.into_iter().map(|(_, one)| one).take(NAMED).collect(),
    }
}

const fn passed_over(state: &ConnectionState, code: RouteCode, until: Option<Timestamp>) -> PassedOver {
    PassedOver {
        connection: state.id,
        code,
        until,
    }
}

fn waits(passed: Vec<(i32, PassedOver)>) -> Route {
    match passed.iter().filter_map(|(_, one)| one.until).min() {
        Some(until) => Route::Wait {
            until,
            passed_over: passed.into_iter().map(|(_, one)| one).take(NAMED).collect(),
        },
        None => Route::None,
    }
}

/// Whether it may be called (as a probe), by breaker and rate limit together; else what stands in the way, until when.
fn readiness(state: &ConnectionState, now: Timestamp) -> Result<bool, (RouteCode, Timestamp)> {
    let limited = state.limited_until.filter(|until| *until > now);
    match (state.breaker.permit(now), limited) {
        (Permit::Wait(until), limited) => {
            Err((shut(&state.breaker), limited.map_or(until, |at| at.max(until))))
        }
        (Permit::Call | Permit::Probe, Some(until)) => Err((RouteCode::Limited, until)),
        (Permit::Call, None) => Ok(false),
        (Permit::Probe, None) => Ok(true),
    }
}

fn shut(breaker: &Breaker) -> RouteCode {
    match (breaker.state(), breaker.cause()) {
        (BreakerState::HalfOpen, _) => RouteCode::Probing,
        (_, Some(TripCause::Drill)) => RouteCode::Drill,
        _ => RouteCode::BreakerOpen,
    }
}

/// Why it is taken only when no other can.
fn last_resort(state: &ConnectionState, wish: Wish, now: Timestamp, dice: &mut Dice) -> Option<RouteCode> {
    if wish.avoid == Some(state.id) {
        return Some(RouteCode::Avoided);
    }
    // A probe has no share: it is one call.
    let share = u64::from(state.breaker.share(now));
    let ramping = state.breaker.state() == BreakerState::Closed && share < 100;
    (ramping && dice.below(100) >= share).then_some(RouteCode::Ramping)
}

/// By priority, and within one by weighted chance; last resorts at the end, one that just refused at the very end.
fn ordered<'a>(ready: &[Ready<'a>], dice: &mut Dice) -> Vec<Ready<'a>> {
    let mut order = Vec::with_capacity(ready.len());
    for rank in [None, Some(RouteCode::Ramping), Some(RouteCode::Avoided)] {
        let same: Vec<Ready<'a>> = ready.iter().filter(|one| one.last == rank).copied().collect();
        for group in same.chunk_by(|one, other| one.state.priority == other.state.priority) {
            let mut group = group.to_vec();
            while !group.is_empty() {
                order.push(group.remove(draw(&group, dice)));
            }
        }
    }
    order
}

/// The place of one, drawn by weight and health; the first where all weigh nothing.
fn draw(group: &[Ready<'_>], dice: &mut Dice) -> usize {
    let total = group.iter().map(|one| chance(one.state)).sum();
    let mut throw = dice.below(total);
    for (place, one) in group.iter().enumerate() {
        let weight = chance(one.state);
        if throw < weight {
            return place;
        }
        throw -= weight;
    }
    0
}

/// Weight times health. The least healthy keeps a hundredth, so that it is seen to recover.
fn chance(state: &ConnectionState) -> u64 {
    u64::from(state.weight) * u64::from(state.health.unwrap_or(100).max(1))
}

/// Moves the connection that the contact stays with to the front, where it may be.
fn keep(order: &mut [Ready<'_>], wish: Wish) -> Option<RouteCode> {
    let best = order.first()?.state.priority;
    let equals = order.iter().filter(|one| one.state.priority == best).count();
    if equals < 2 && !wish.conversation {
        // There is nothing to stay with: the best is the only one.
        return None;
    }
    let place = order.iter().position(|one| {
        wish.stay == Some(one.state.id)
            && one.last.is_none()
            && !one.probe
            && one.state.health.is_none_or(|health| health >= STICKY_HEALTH)
            && (wish.conversation || one.state.priority == best)
    })?;
    order.get_mut(..=place)?.rotate_right(1);
    Some(if wish.conversation {
        RouteCode::Conversation
    } else {
        RouteCode::Sticky
    })
}

fn why(
    first: Ready<'_>,
    kept: Option<RouteCode>,
    wish: Wish,
    passed: &[(i32, PassedOver)],
    ready: &[Ready<'_>],
) -> RouteCode {
    let equals = ready
        .iter()
        .filter(|one| one.state.priority == first.state.priority);
    if first.probe {
        RouteCode::Probe
    } else if wish.avoid.is_some_and(|avoid| avoid != first.state.id) {
        RouteCode::Failover
    } else if let Some(code) = kept {
        code
    } else if !passed.is_empty() {
        RouteCode::TakeOver
    } else if equals.count() > 1 {
        RouteCode::Weight
    } else {
        RouteCode::Preferred
    }
}
