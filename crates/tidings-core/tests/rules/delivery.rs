use std::collections::BTreeSet;
use tidings_core::DeliveryState::{self, *};
use tidings_core::delivery::{DeliveryStep, is_settled, step};

fn reachable(from: DeliveryState, steps: &[DeliveryStep]) -> BTreeSet<DeliveryState> {
    let mut seen = BTreeSet::from([from]);
    let mut fresh = vec![from];
    while let Some(state) = fresh.pop() {
        fresh.extend(
            steps
                .iter()
                .filter_map(|taken| step(state, *taken))
                .filter(|next| seen.insert(*next)),
        );
    }
    seen
}

#[test]
fn every_state_is_reached_and_none_is_left_by_mistake() {
    let all: BTreeSet<_> = DeliveryState::ALL.iter().copied().collect();
    assert_eq!(reachable(Queued, DeliveryStep::ALL), all);
}

#[test]
fn a_call_that_may_have_arrived_is_not_repeated_silently() {
    assert_eq!(step(Dispatching, DeliveryStep::Requeue), None);
    assert_eq!(step(Dispatching, DeliveryStep::Dispatch), None);
    assert_eq!(step(Unknown, DeliveryStep::Dispatch), None);
    assert_eq!(step(Unknown, DeliveryStep::Retry), None);
    let without_requeue: Vec<_> = DeliveryStep::ALL
        .iter()
        .copied()
        .filter(|taken| *taken != DeliveryStep::Requeue)
        .collect();
    assert!(!reachable(Unknown, &without_requeue).contains(&Dispatching));
}

#[test]
fn settled_is_settled() {
    for state in DeliveryState::ALL
        .iter()
        .copied()
        .filter(|state| is_settled(*state))
    {
        assert!(
            !reachable(state, DeliveryStep::ALL).contains(&Dispatching),
            "{state} is sent again"
        );
    }
    assert_eq!(
        reachable(Failed, DeliveryStep::ALL),
        BTreeSet::from([Failed, Bounced])
    );
    for end in [Bounced, Stopped] {
        assert_eq!(reachable(end, DeliveryStep::ALL), BTreeSet::from([end]));
    }
}

#[test]
fn reports_may_repeat_and_come_in_any_order() {
    use DeliveryStep::{Accept, Bounce, Deliver, Fail};
    for first in [Accept, Deliver, Fail, Bounce] {
        for second in [Accept, Deliver, Fail, Bounce] {
            let run = |one, two| step(step(Dispatching, one).unwrap(), two);
            assert_eq!(run(first, second), run(second, first), "{first} {second}");
            assert!(run(first, second).is_some());
        }
    }
}
