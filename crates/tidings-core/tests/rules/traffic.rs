use super::noon;
use jiff::SignedDuration;
use proptest::prelude::*;
use tidings_core::breaker::CallResult;
use tidings_core::traffic::{FEWEST_CALLS, Tally, Traffic};

fn tally(calls: u32, failed: u32, mean_ms: u64) -> Tally {
    Tally {
        calls,
        failed,
        latency_ms: mean_ms * u64::from(calls),
    }
}

#[test]
fn health_is_answers_less_slowness() {
    for (calls, failed, mean_ms, health) in [
        (4, 0, 10, None),
        (5, 0, 10, Some(100)),
        (10, 0, 1_000, Some(100)),
        (10, 5, 200, Some(50)),
        (10, 10, 200, Some(0)),
        (10, 0, 5_500, Some(75)),
        (10, 0, 10_000, Some(50)),
        (10, 0, 60_000, Some(50)),
        (10, 5, 10_000, Some(25)),
        (3, 3, 1, None),
    ] {
        assert_eq!(
            tally(calls, failed, mean_ms).health(),
            health,
            "{calls} {failed} {mean_ms}"
        );
    }
}

#[test]
fn what_is_over_is_forgotten() {
    let mut traffic = Traffic::default();
    for _ in 0..7 {
        traffic.count(CallResult::Failed, SignedDuration::from_millis(20), noon());
    }
    assert_eq!(
        (traffic.lately(noon()).failed, traffic.failures_in_a_row()),
        (7, 7)
    );
    let soon = noon() + SignedDuration::from_secs(9);
    assert_eq!(traffic.lately(soon).calls, 7);
    let later = noon() + SignedDuration::from_secs(11);
    assert_eq!(traffic.lately(later), Tally::default());
    assert_eq!(traffic.for_health(later), tally(7, 7, 20));
    assert_eq!(
        traffic.for_health(noon() + SignedDuration::from_secs(301)),
        Tally::default()
    );
    traffic.count(CallResult::Answered, SignedDuration::ZERO, later);
    assert_eq!(traffic.failures_in_a_row(), 0);
}

#[test]
fn an_opening_counts_once_and_health_remembers() {
    let mut traffic = Traffic::default();
    for _ in 0..FEWEST_CALLS {
        traffic.count(CallResult::AuthRefused, SignedDuration::ZERO, noon());
    }
    traffic.begin_anew();
    assert_eq!(
        (traffic.failures_in_a_row(), traffic.lately(noon()).calls),
        (0, 0)
    );
    assert_eq!(traffic.for_health(noon()).health(), Some(0));
}

proptest! {
    #[test]
    fn a_score_is_a_percentage_and_failures_never_raise_it(
        calls in 1u32..5_000, failed in 0u32..5_000, mean_ms in 0u64..100_000,
    ) {
        let failed = failed.min(calls);
        let health = tally(calls, failed, mean_ms).health();
        prop_assert!(health.is_none_or(|score| score <= 100));
        if failed < calls {
            prop_assert!(tally(calls, failed + 1, mean_ms).health() <= health);
        }
        prop_assert!(tally(calls, failed, mean_ms + 500).health() <= health);
    }
}
