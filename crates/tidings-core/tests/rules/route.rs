use super::noon;
use jiff::SignedDuration;
use proptest::prelude::*;
use tidings_core::breaker::{Breaker, Ramp, TripCause};
use tidings_core::route::{ConnectionState, Route, RouteCode, Wish, route};
use tidings_core::{ConnectionId, Dice};
use uuid::Uuid;

fn connection(id: u128, priority: i32, weight: u32) -> ConnectionState {
    ConnectionState {
        id: ConnectionId(Uuid::from_u128(id)),
        enabled: true,
        priority,
        weight,
        breaker: Breaker::default(),
        limited_until: None,
        health: None,
    }
}

fn chosen(connections: &[ConnectionState], seed: u64) -> (u128, bool, Vec<u128>) {
    match route(connections, Wish::default(), noon(), &mut Dice::from_seed(seed)) {
        Route::Use {
            connection,
            probe,
            others,
            ..
        } => (
            connection.0.as_u128(),
            probe,
            others.iter().map(|other| other.0.as_u128()).collect(),
        ),
        other => panic!("no connection: {other:?}"),
    }
}

fn open_until(retry_at: jiff::Timestamp) -> Breaker {
    Breaker::Open {
        retry_at,
        trips: 1,
        cause: TripCause::FailuresInARow,
    }
}

/// Until when nothing can be called, and why not; none where there is nothing at all.
fn waits(connections: &[ConnectionState]) -> Option<(jiff::Timestamp, Vec<RouteCode>)> {
    match route(connections, Wish::default(), noon(), &mut Dice::from_seed(1)) {
        Route::Wait { until, passed_over } => Some((until, passed_over.iter().map(|one| one.code).collect())),
        Route::None => None,
        Route::Use { connection, .. } => panic!("used {connection}"),
    }
}

/// The connection, why it was taken, and which were passed over why.
fn explained(
    connections: &[ConnectionState],
    wish: Wish,
    seed: u64,
) -> (u128, RouteCode, Vec<(u128, RouteCode)>) {
    match route(connections, wish, noon(), &mut Dice::from_seed(seed)) {
        Route::Use {
            connection,
            why,
            passed_over,
            ..
        } => (
            connection.0.as_u128(),
            why,
            passed_over
                .iter()
                .map(|one| (one.connection.0.as_u128(), one.code))
                .collect(),
        ),
        other => panic!("no connection: {other:?}"),
    }
}

fn id(id: u128) -> ConnectionId {
    ConnectionId(Uuid::from_u128(id))
}

fn stay(with: u128, conversation: bool) -> Wish {
    Wish {
        stay: Some(id(with)),
        conversation,
        avoid: None,
    }
}

fn ramped(seconds_ago: i64) -> Breaker {
    Breaker::Closed {
        ramp: Some(Ramp {
            since: later(-seconds_ago),
            trips: 1,
        }),
    }
}

#[test]
fn every_choice_has_its_reason() {
    let mut list = [connection(1, 0, 1), connection(2, 1, 1), connection(3, 1, 1)];
    assert_eq!(
        explained(&list, Wish::default(), 1),
        (1, RouteCode::Preferred, vec![])
    );
    let avoid = Wish {
        avoid: Some(id(1)),
        ..Wish::default()
    };
    let (taken, why, passed) = explained(&list, avoid, 1);
    assert!(taken != 1 && why == RouteCode::Failover && passed == [(1, RouteCode::Avoided)]);
    assert_eq!(explained(&list[..1], avoid, 1).0, 1, "nothing else can");
    for (breaker, code) in [
        (open_until(later(9)), RouteCode::BreakerOpen),
        (Breaker::drilled(later(9)), RouteCode::Drill),
        (open_until(noon()).probe(noon()), RouteCode::Probing),
    ] {
        list[0].breaker = breaker;
        let (_, why, passed) = explained(&list, Wish::default(), 1);
        assert_eq!((why, passed), (RouteCode::TakeOver, vec![(1, code)]));
    }
    list[0].breaker = open_until(noon());
    assert_eq!(explained(&list, Wish::default(), 1).1, RouteCode::Probe);
    list[0].breaker = Breaker::default();
    list[0].limited_until = Some(later(1));
    assert_eq!(explained(&list, Wish::default(), 1).2, [(1, RouteCode::Limited)]);
    assert_eq!(explained(&list[1..], Wish::default(), 1).1, RouteCode::Weight);
}

#[test]
fn a_contact_stays_among_equals_and_goes_back_to_the_better_one() {
    let mut list = [connection(1, 0, 99), connection(2, 0, 1), connection(3, 5, 1)];
    for seed in 0..50 {
        assert_eq!(
            explained(&list, stay(2, false), seed),
            (2, RouteCode::Sticky, vec![])
        );
        assert_ne!(
            explained(&list, stay(3, false), seed).0,
            3,
            "priority comes first"
        );
        let (taken, why, passed) = explained(&list, stay(3, true), seed);
        assert_eq!((taken, why, passed.len()), (3, RouteCode::Conversation, 2));
    }
    list[1].health = Some(49);
    assert!((0..20).any(|seed| explained(&list, stay(2, false), seed).0 == 1));
    list[1].health = Some(50);
    list[1].breaker = open_until(later(9));
    assert_eq!(
        explained(&list, stay(2, true), 1),
        (1, RouteCode::TakeOver, vec![(2, RouteCode::BreakerOpen)])
    );
    // A probe carries one call that is its own, not whoever stays.
    list[1].breaker = open_until(noon());
    assert_ne!(explained(&list, stay(2, false), 1).1, RouteCode::Sticky);
    // One that just refused the message is not stayed with.
    list[1].breaker = Breaker::default();
    let refused = Wish {
        avoid: Some(id(2)),
        ..stay(2, true)
    };
    assert_eq!(explained(&list, refused, 1).1, RouteCode::Failover);
}

#[test]
fn health_weighs_and_a_ramp_takes_its_part() {
    let mut list = [connection(1, 0, 1), connection(2, 0, 1)];
    list[0].health = Some(25);
    let first = |list: &[ConnectionState]| {
        (0..4_000)
            .filter(|seed| explained(list, Wish::default(), *seed).0 == 1)
            .count()
    };
    let count = first(&list);
    assert!((650..950).contains(&count), "a fifth of 4000: {count}");
    list[0].health = Some(0);
    assert!(
        (1..150).contains(&first(&list)),
        "the least healthy is seen to recover"
    );
    // Across priorities too: the better one gets a tenth of what it would get.
    let mut list = [connection(1, 0, 1), connection(2, 1, 1)];
    for (ago, share) in [(0, 10), (10, 25), (20, 50), (30, 100)] {
        list[0].breaker = ramped(ago);
        let count = first(&list);
        let wanted = 40 * share;
        assert!(
            (wanted * 8 / 10..=wanted * 12 / 10).contains(&count),
            "{share}: {count}"
        );
    }
    list[0].breaker = ramped(0);
    let passed: Vec<_> = (0..50)
        .map(|seed| explained(&list, Wish::default(), seed))
        .collect();
    assert!(passed.contains(&(2, RouteCode::TakeOver, vec![(1, RouteCode::Ramping)])));
    assert_eq!(explained(&list[..1], Wish::default(), 3).0, 1, "nothing else can");
}

fn later(seconds: i64) -> jiff::Timestamp {
    noon() + SignedDuration::from_secs(seconds)
}

#[test]
fn priority_first_and_the_rest_take_over() {
    let connections = [connection(1, 20, 1), connection(2, 10, 1), connection(3, 30, 1)];
    assert_eq!(chosen(&connections, 1), (2, false, vec![1, 3]));
}

#[test]
fn weights_share_a_priority() {
    let connections = [connection(1, 0, 3), connection(2, 0, 1), connection(3, 0, 0)];
    let mut count = [0; 4];
    for seed in 0..4000 {
        let (first, _, others) = chosen(&connections, seed);
        count[usize::try_from(first).unwrap()] += 1;
        assert_eq!(others.len(), 2);
    }
    assert!((2800..3200).contains(&count[1]) && count[3] == 0, "{count:?}");
    assert_eq!(chosen(&[connection(3, 0, 0)], 1).0, 3);
}

#[test]
fn open_breakers_and_limits_are_passed_over_until_their_time() {
    let mut connections = [connection(1, 0, 1), connection(2, 1, 1), connection(3, 2, 1)];
    connections[0].breaker = open_until(later(30));
    connections[1].limited_until = Some(later(10));
    assert_eq!(chosen(&connections, 1), (3, false, vec![]));
    connections[2].enabled = false;
    assert_eq!(
        waits(&connections),
        Some((later(10), vec![RouteCode::BreakerOpen, RouteCode::Limited]))
    );
    connections[1].enabled = false;
    assert_eq!(
        waits(&connections),
        Some((later(30), vec![RouteCode::BreakerOpen]))
    );
    connections[0].enabled = false;
    assert_eq!((waits(&connections), waits(&[])), (None, None));
}

#[test]
fn traffic_returns_by_a_single_probe() {
    let mut connections = [connection(1, 0, 1), connection(2, 1, 1)];
    connections[0].breaker = open_until(noon());
    assert_eq!(chosen(&connections, 1), (1, true, vec![2]));
    connections[0].breaker = connections[0].breaker.probe(noon());
    assert_eq!(chosen(&connections, 1), (2, false, vec![]));
    // A probe is no take-over.
    connections[0].breaker = open_until(noon());
    connections[0].priority = 9;
    assert_eq!(chosen(&connections, 1), (2, false, vec![]));
}

proptest! {
    #[test]
    fn the_order_of_the_facts_does_not_matter(
        (connections, shuffled) in proptest::collection::vec((0i32..3, 0u32..3), 0..6).prop_flat_map(|list| {
            let connections: Vec<_> =
                (1u128..).zip(list).map(|(id, (priority, weight))| connection(id, priority, weight)).collect();
            (Just(connections.clone()), Just(connections).prop_shuffle())
        }),
        seed in any::<u64>(),
    ) {
        let route = |list: &[ConnectionState]| route(list, Wish::default(), noon(), &mut Dice::from_seed(seed));
        prop_assert_eq!(route(&connections), route(&shuffled));
    }
}
