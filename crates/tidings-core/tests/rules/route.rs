use super::noon;
use jiff::SignedDuration;
use proptest::prelude::*;
use tidings_core::breaker::Breaker;
use tidings_core::route::{ConnectionState, Route, route};
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
    }
}

fn chosen(connections: &[ConnectionState], seed: u64) -> (u128, bool, Vec<u128>) {
    match route(connections, noon(), &mut Dice::from_seed(seed)) {
        Route::Use {
            connection,
            probe,
            others,
        } => (
            connection.0.as_u128(),
            probe,
            others.iter().map(|other| other.0.as_u128()).collect(),
        ),
        other => panic!("no connection: {other:?}"),
    }
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
    connections[0].breaker = Breaker::open_until(later(30));
    connections[1].limited_until = Some(later(10));
    assert_eq!(chosen(&connections, 1), (3, false, vec![]));
    connections[2].enabled = false;
    assert_eq!(
        route(&connections, noon(), &mut Dice::from_seed(1)),
        Route::Wait { until: later(10) }
    );
    connections[1].enabled = false;
    assert_eq!(
        route(&connections, noon(), &mut Dice::from_seed(1)),
        Route::Wait { until: later(30) }
    );
    connections[0].enabled = false;
    assert_eq!(route(&connections, noon(), &mut Dice::from_seed(1)), Route::None);
    assert_eq!(route(&[], noon(), &mut Dice::from_seed(1)), Route::None);
}

#[test]
fn traffic_returns_by_a_single_probe() {
    let mut connections = [connection(1, 0, 1), connection(2, 1, 1)];
    connections[0].breaker = Breaker::open_until(noon());
    assert_eq!(chosen(&connections, 1), (1, true, vec![2]));
    connections[0].breaker = connections[0].breaker.probe(noon());
    assert_eq!(chosen(&connections, 1), (2, false, vec![]));
    // A probe is no take-over.
    connections[0].breaker = Breaker::open_until(noon());
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
        let route = |list: &[ConnectionState]| route(list, noon(), &mut Dice::from_seed(seed));
        prop_assert_eq!(route(&connections), route(&shuffled));
    }
}
