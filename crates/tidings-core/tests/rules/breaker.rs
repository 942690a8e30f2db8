use super::noon;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tidings_core::breaker::{Breaker, BreakerState, CallResult, FAILURES_TO_OPEN, Permit};
use tidings_core::{Dice, ErrorCategory};

fn opened(now: Timestamp, dice: &mut Dice) -> Breaker {
    (0..FAILURES_TO_OPEN).fold(Breaker::default(), |breaker, _| {
        breaker.after(CallResult::Failed, now, dice)
    })
}

fn pause(breaker: Breaker, now: Timestamp) -> f64 {
    match breaker {
        Breaker::Open { retry_at, .. } => retry_at.duration_since(now).as_secs_f64(),
        other => panic!("not open: {other:?}"),
    }
}

#[test]
fn opens_after_a_run_of_failures_and_not_before() {
    let dice = &mut Dice::from_seed(1);
    let mut breaker = Breaker::default();
    for _ in 1..FAILURES_TO_OPEN {
        breaker = breaker.after(CallResult::Failed, noon(), dice);
        assert_eq!(breaker.permit(noon()), Permit::Call);
    }
    let spared = breaker.after(CallResult::Answered, noon(), dice);
    assert_eq!(spared, Breaker::default());
    let open = breaker.after(CallResult::Failed, noon(), dice);
    assert_eq!(open.state(), BreakerState::Open);
    assert!((30.0..=36.0).contains(&pause(open, noon())));
}

#[test]
fn one_probe_at_a_time_closes_or_opens_for_longer() {
    let dice = &mut Dice::from_seed(2);
    let open = opened(noon(), dice);
    let later = noon() + SignedDuration::from_secs(40);
    assert!(matches!(open.permit(noon()), Permit::Wait(_)));
    assert_eq!(open.permit(later), Permit::Probe);
    let half = open.probe(later);
    assert_eq!(half.state(), BreakerState::HalfOpen);
    assert!(matches!(half.permit(later), Permit::Wait(_)), "a second probe");
    assert_eq!(
        half.permit(later + SignedDuration::from_mins(1)),
        Permit::Probe,
        "the probe was lost"
    );
    assert_eq!(half.after(CallResult::Answered, later, dice), Breaker::default());
    let again = half.after(CallResult::Failed, later, dice);
    assert!((60.0..=72.0).contains(&pause(again, later)));
}

#[test]
fn a_refused_credential_opens_at_once() {
    let dice = &mut Dice::from_seed(3);
    let open = Breaker::default().after(CallResult::from(ErrorCategory::AuthFailure), noon(), dice);
    assert!((300.0..=360.0).contains(&pause(open, noon())));
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
    let open = opened(noon(), dice);
    assert_eq!(open.after(CallResult::Answered, noon(), dice), open);
    assert_eq!(open.after(CallResult::Failed, noon(), dice), open);
    let drill = Breaker::open_until(noon() + SignedDuration::from_secs(5));
    assert!(matches!(drill.permit(noon()), Permit::Wait(_)));
    assert_eq!(drill.permit(noon() + SignedDuration::from_secs(5)), Permit::Probe);
}

proptest! {
    /// Whatever happens, a breaker lets a call through again within six minutes.
    #[test]
    fn never_shut_for_good(results in proptest::collection::vec(0u8..4, 0..60), seed in any::<u64>()) {
        let dice = &mut Dice::from_seed(seed);
        let mut now = noon();
        let mut breaker = Breaker::default();
        for result in results {
            now += SignedDuration::from_secs(20);
            if breaker.permit(now) == Permit::Probe {
                breaker = breaker.probe(now);
            }
            breaker = match result {
                0 => breaker.after(CallResult::Answered, now, dice),
                1 => breaker.after(CallResult::AuthRefused, now, dice),
                _ => breaker.after(CallResult::Failed, now, dice),
            };
            if let Permit::Wait(until) = breaker.permit(now) {
                prop_assert!(until.duration_since(now) <= SignedDuration::from_mins(6));
            }
        }
        let json = serde_json::to_string(&breaker).unwrap();
        prop_assert_eq!(serde_json::from_str::<Breaker>(&json).unwrap(), breaker);
    }
}
