use super::noon;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tidings_core::breaker::{
    Breaker, BreakerState, CALLS_FOR_RATE, CallResult, Ended, FAILURES_TO_OPEN, Permit, RAMP_STEP, TripCause,
};
use tidings_core::traffic::Traffic;
use tidings_core::{Dice, ErrorCategory};

/// A breaker with what its node counted.
#[derive(Default)]
struct Node {
    breaker: Breaker,
    traffic: Traffic,
}

impl Node {
    /// A call that began and ended at once.
    fn call(&mut self, result: CallResult, now: Timestamp, dice: &mut Dice) {
        self.ended(
            Ended {
                result,
                began: now,
                probe: None,
            },
            now,
            dice,
        );
    }

    fn ended(&mut self, call: Ended, now: Timestamp, dice: &mut Dice) {
        self.traffic.count(call.result, SignedDuration::ZERO, now);
        let is = self.breaker.after(call, &self.traffic, now, dice);
        if is.state() != self.breaker.state() {
            self.traffic.begin_anew();
        }
        self.breaker = is;
    }

    /// Takes the probe that is due, and its answer.
    fn probed(&mut self, result: CallResult, now: Timestamp, dice: &mut Dice) {
        assert_eq!(self.breaker.permit(now), Permit::Probe);
        self.breaker = self.breaker.probe(now);
        let probe = probe_of(self.breaker);
        self.ended(
            Ended {
                result,
                began: now,
                probe,
            },
            now,
            dice,
        );
    }
}

fn probe_of(breaker: Breaker) -> Option<Timestamp> {
    match breaker {
        Breaker::HalfOpen { probe_until, .. } => Some(probe_until),
        Breaker::Closed { .. } | Breaker::Open { .. } => None,
    }
}

fn opened(now: Timestamp, dice: &mut Dice) -> Node {
    let mut node = Node::default();
    for _ in 0..FAILURES_TO_OPEN {
        node.call(CallResult::Failed, now, dice);
    }
    node
}

fn pause(breaker: Breaker, now: Timestamp) -> f64 {
    match breaker {
        Breaker::Open { retry_at, .. } => retry_at.duration_since(now).as_secs_f64(),
        other => panic!("not open: {other:?}"),
    }
}

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

#[test]
fn opens_after_a_run_of_failures_and_not_before() {
    let dice = &mut Dice::from_seed(1);
    let mut node = Node::default();
    for _ in 1..FAILURES_TO_OPEN {
        node.call(CallResult::Failed, noon(), dice);
        assert_eq!(node.breaker.permit(noon()), Permit::Call);
    }
    let mut spared = Node {
        breaker: node.breaker,
        traffic: node.traffic,
    };
    spared.call(CallResult::Answered, noon(), dice);
    spared.call(CallResult::Failed, noon(), dice);
    assert_eq!(spared.breaker, Breaker::default());
    node.call(CallResult::Failed, noon(), dice);
    assert_eq!(node.breaker.cause(), Some(TripCause::FailuresInARow));
    assert!((30.0..=36.0).contains(&pause(node.breaker, noon())));
}

#[test]
fn opens_when_more_than_half_of_the_last_calls_failed() {
    let dice = &mut Dice::from_seed(5);
    let mut node = Node::default();
    // Never five in a row; half of them fail, which is not more than half.
    for _ in 0..CALLS_FOR_RATE {
        node.call(CallResult::Answered, noon(), dice);
        node.call(CallResult::Failed, noon(), dice);
    }
    assert_eq!(node.breaker, Breaker::default());
    node.call(CallResult::Failed, noon(), dice);
    assert_eq!(node.breaker.cause(), Some(TripCause::FailureRate));
    // The same failures over a longer time are no reason.
    let mut slow = Node::default();
    for step in 0..20 {
        let at = noon() + seconds(4 * step);
        slow.call(CallResult::Failed, at, dice);
        slow.call(CallResult::Failed, at, dice);
        slow.call(CallResult::Answered, at, dice);
    }
    assert_eq!(slow.breaker, Breaker::default());
}

#[test]
fn one_probe_at_a_time_closes_or_opens_for_longer() {
    let dice = &mut Dice::from_seed(2);
    let mut node = opened(noon(), dice);
    let later = noon() + seconds(40);
    assert!(matches!(node.breaker.permit(noon()), Permit::Wait(_)));
    assert_eq!(node.breaker.permit(later), Permit::Probe);
    let half = node.breaker.probe(later);
    assert_eq!(half.state(), BreakerState::HalfOpen);
    assert!(matches!(half.permit(later), Permit::Wait(_)), "a second probe");
    assert_eq!(
        half.permit(later + SignedDuration::from_mins(1)),
        Permit::Probe,
        "the probe was lost"
    );
    // Only the probe's own answer moves it.
    let stray = |result| Ended {
        result,
        began: noon(),
        probe: None,
    };
    for result in [CallResult::Answered, CallResult::Failed, CallResult::AuthRefused] {
        assert_eq!(half.after(stray(result), &node.traffic, later, dice), half);
    }
    node.probed(CallResult::Failed, later, dice);
    assert_eq!(node.breaker.cause(), Some(TripCause::ProbeFailed));
    assert!((60.0..=72.0).contains(&pause(node.breaker, later)));
    let again = later + seconds(80);
    node.probed(CallResult::Answered, again, dice);
    assert_eq!(node.breaker.state(), BreakerState::Closed);
}

#[test]
fn the_share_comes_back_in_steps_and_a_failure_ends_it() {
    let dice = &mut Dice::from_seed(6);
    let mut node = opened(noon(), dice);
    let back = noon() + seconds(40);
    node.probed(CallResult::Answered, back, dice);
    let step = RAMP_STEP.as_secs();
    let shares: Vec<u8> = [0, step - 1, step, 2 * step, 3 * step, 300]
        .map(|after| node.breaker.share(back + seconds(after)))
        .to_vec();
    assert_eq!(shares, [10, 10, 25, 50, 100, 100]);
    // A failure of a call from before says nothing.
    let stray = Ended {
        result: CallResult::Failed,
        began: noon(),
        probe: None,
    };
    node.ended(stray, back, dice);
    assert_eq!(node.breaker.share(back), 10);
    let ramped = node.breaker;
    node.call(CallResult::Failed, back + seconds(5), dice);
    assert_eq!(node.breaker.cause(), Some(TripCause::RampFailed));
    assert!((60.0..=72.0).contains(&pause(node.breaker, back + seconds(5))));
    // Once it is over, one failure is one failure.
    let mut over = Node {
        breaker: ramped,
        traffic: Traffic::default(),
    };
    over.call(CallResult::Failed, back + seconds(3 * step), dice);
    assert_eq!(over.breaker.state(), BreakerState::Closed);
}

#[test]
fn a_refused_credential_opens_at_once() {
    let dice = &mut Dice::from_seed(3);
    let mut node = Node::default();
    node.call(CallResult::from(ErrorCategory::AuthFailure), noon(), dice);
    assert_eq!(node.breaker.cause(), Some(TripCause::AuthRefused));
    assert!((300.0..=360.0).contains(&pause(node.breaker, noon())));
}

#[test]
fn a_no_to_the_message_is_no_failure_of_the_connection() {
    for category in [
        ErrorCategory::Permanent,
        ErrorCategory::InvalidInput,
        ErrorCategory::RateLimit,
    ] {
        assert_eq!(CallResult::from(category), CallResult::Answered);
    }
    assert_eq!(CallResult::from(ErrorCategory::Transient), CallResult::Failed);
}

#[test]
fn late_answers_do_not_move_an_open_breaker() {
    let dice = &mut Dice::from_seed(4);
    let mut node = opened(noon(), dice);
    let open = node.breaker;
    node.call(CallResult::Answered, noon(), dice);
    node.call(CallResult::Failed, noon(), dice);
    assert_eq!(node.breaker, open);
}

#[test]
fn a_drill_ends_by_itself_through_a_probe() {
    let dice = &mut Dice::from_seed(7);
    let end = noon() + seconds(5);
    let mut node = Node {
        breaker: Breaker::drilled(end),
        traffic: Traffic::default(),
    };
    assert_eq!(node.breaker.cause(), Some(TripCause::Drill));
    assert_eq!(node.breaker.permit(noon()), Permit::Wait(end));
    node.probed(CallResult::Answered, end, dice);
    assert_eq!(node.breaker.share(end), 10);
    // On a connection that is broken indeed it becomes an opening like any first.
    let mut broken = Node {
        breaker: Breaker::drilled(end),
        traffic: Traffic::default(),
    };
    broken.probed(CallResult::Failed, end, dice);
    assert_eq!(broken.breaker.cause(), Some(TripCause::ProbeFailed));
    assert!((30.0..=36.0).contains(&pause(broken.breaker, end)));
}

/// Nodes that share a breaker by compare and set, each with a view of its own that may be old.
#[derive(Default)]
struct Cluster {
    shared: (u64, Breaker),
    nodes: [(u64, Node); 3],
    /// Probes under way, and calls, by their node.
    out: Vec<(usize, Timestamp, Option<Timestamp>)>,
}

impl Cluster {
    fn look(&mut self, node: usize) {
        let (version, breaker) = self.shared;
        let own = &mut self.nodes[node];
        (own.0, own.1.breaker) = (version, breaker);
    }

    fn set(&mut self, node: usize, is: Breaker) -> bool {
        let own = &mut self.nodes[node];
        if own.0 != self.shared.0 {
            self.look(node);
            return false;
        }
        self.shared = (self.shared.0 + 1, is);
        (own.0, own.1.breaker) = self.shared;
        true
    }

    fn call(&mut self, node: usize, now: Timestamp) {
        let breaker = self.nodes[node].1.breaker;
        match breaker.permit(now) {
            Permit::Wait(_) => {}
            Permit::Call => self.out.push((node, now, None)),
            Permit::Probe => {
                let half = breaker.probe(now);
                if self.set(node, half) {
                    self.out.push((node, now, probe_of(half)));
                }
            }
        }
    }

    fn answer(&mut self, pick: usize, result: CallResult, now: Timestamp, dice: &mut Dice) {
        if self.out.is_empty() {
            return;
        }
        let (node, began, probe) = self.out.swap_remove(pick % self.out.len());
        let own = &mut self.nodes[node].1;
        own.traffic.count(result, now.duration_since(began), now);
        let is = own
            .breaker
            .after(Ended { result, began, probe }, &own.traffic, now, dice);
        if is != own.breaker && self.set(node, is) {
            self.nodes[node].1.traffic.begin_anew();
        }
    }

    fn probes(&self, now: Timestamp) -> usize {
        self.out
            .iter()
            .filter(|(_, _, probe)| probe.is_some_and(|until| until > now))
            .count()
    }
}

proptest! {
    /// Whatever nodes do in whatever order: never two probes, never shut for good, the ramp never falls.
    #[test]
    fn shared_by_nodes_that_see_it_late(
        steps in proptest::collection::vec((0u8..8, 0usize..16, 0i64..25), 0..200), seed in any::<u64>(),
    ) {
        let dice = &mut Dice::from_seed(seed);
        let mut now = noon();
        let mut cluster = Cluster::default();
        for (what, pick, wait) in steps {
            let (was, share) = (cluster.shared, cluster.shared.1.share(now));
            now += seconds(wait);
            let node = pick % 3;
            match what {
                0 | 1 => cluster.call(node, now),
                2 => cluster.look(node),
                3 | 4 => cluster.answer(pick, CallResult::Answered, now, dice),
                5 => cluster.answer(pick, CallResult::AuthRefused, now, dice),
                _ => cluster.answer(pick, CallResult::Failed, now, dice),
            }
            prop_assert!(cluster.probes(now) <= 1, "two probes");
            if let Permit::Wait(until) = cluster.shared.1.permit(now) {
                prop_assert!(until.duration_since(now) <= SignedDuration::from_mins(6));
            }
            if was == cluster.shared {
                prop_assert!(cluster.shared.1.share(now) >= share, "the ramp fell");
            }
        }
        // Left alone it lets a call through, and with answers it is whole again within a minute.
        now += SignedDuration::from_mins(6);
        cluster.look(0);
        cluster.out.clear();
        cluster.call(0, now);
        prop_assert_eq!(cluster.out.len(), 1, "stuck");
        cluster.answer(0, CallResult::Answered, now, dice);
        prop_assert_eq!(cluster.shared.1.state(), BreakerState::Closed);
        prop_assert_eq!(cluster.shared.1.share(now + SignedDuration::from_mins(1)), 100);
        let json = serde_json::to_string(&cluster.shared.1).unwrap();
        prop_assert_eq!(serde_json::from_str::<Breaker>(&json).unwrap(), cluster.shared.1);
    }
}
