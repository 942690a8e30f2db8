//! The promise as properties: never more than the limit in any window, however nodes take turns.

use super::*;
use proptest::prelude::*;
use serde_json::json;

const START: i64 = 1_780_000_000_000_000;

fn limit(limit: u64, per_ms: u64) -> RateLimit {
    RateLimit::new(limit, per_ms).expect("a limit")
}

/// The most uses in any half-open window.
fn worst(uses: &mut [i64], window_us: i64) -> usize {
    uses.sort_unstable();
    let mut first = 0;
    let mut most = 0;
    for last in 0..uses.len() {
        while uses[last] - uses[first] >= window_us {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

/// What one node does next: how much time passes, how many slots it wants, how late it uses each (thousandths of what is allowed).
fn turns() -> impl Strategy<Value = Vec<(i64, u32, i64, usize)>> {
    prop::collection::vec((0i64..400_000, 1u32..60, 0i64..=1000, 0usize..3), 1..400)
}

fn limits() -> impl Strategy<Value = RateLimit> {
    prop_oneof![
        Just(limit(50, 1_000)),
        Just(limit(1, 1_000)),
        Just(limit(7, 3_000)),
        Just(limit(600, 60_000)),
        Just(limit(100, 3_600_000)),
        Just(limit(1_000, 86_400_000)),
        (1u64..500, 1_000u64..120_000).prop_map(|(n, ms)| limit(n, ms)),
    ]
}

proptest! {
    #[test]
    fn no_window_holds_more_than_the_limit(limit in limits(), turns in turns(), stretch in 1i64..200) {
        let pace = limit.pace();
        let mut bucket = Bucket::default();
        let mut now = START;
        let mut uses = Vec::new();
        for (passes, want, lateness, _) in turns {
            now += passes * stretch;
            let mut slots = bucket.take(pace, now, want).slots;
            while let Some(slot) = slots.pop(i64::MAX) {
                let left = slot.max(now).max(slot + pace.late_us * lateness / 1000).min(slot + pace.late_us);
                // Calls overtake each other on their way.
                uses.push(left + (left % 7) * TRANSIT.as_micros() as i64 / 6);
            }
        }
        prop_assert!(worst(&mut uses, limit.per().as_micros() as i64) <= limit.limit() as usize);
    }

    #[test]
    fn refusals_never_let_more_through(
        limit in limits(), turns in turns(), stretch in 1i64..2_000, refuse in prop::collection::vec(any::<bool>(), 400)
    ) {
        let pace = limit.pace();
        let mut bucket = Bucket::default();
        let mut now = START;
        let mut uses = Vec::new();
        for ((passes, want, _, _), refused) in turns.into_iter().zip(refuse) {
            now += passes * stretch;
            if refused {
                bucket.refused(pace, now, now + passes);
            }
            let mut slots = bucket.take(pace, now, want).slots;
            while let Some(slot) = slots.pop(i64::MAX) {
                uses.push(slot.max(now));
            }
        }
        prop_assert!(worst(&mut uses, limit.per().as_micros() as i64) <= limit.limit() as usize);
    }

    #[test]
    fn keepers_in_turn_let_no_more_through(
        limit in limits(), turns in turns(), stretch in 1i64..200, change in prop::collection::vec(0u8..20, 400)
    ) {
        let pace = limit.pace();
        // Nothing is carried over: what a keeper that is gone takes with it.
        let mut keepers = vec![Bucket::default()];
        let mut known = [(0, START); 3];
        let mut now = START;
        let mut uses = Vec::new();
        for ((passes, want, lateness, node), change) in turns.into_iter().zip(change) {
            now += passes * stretch;
            if change == 0 {
                keepers.push(Bucket::default().handed_over(pace, now));
            }
            // A node goes by what it knew for a second.
            if now - known[node].1 >= 1_000_000 {
                known[node] = (keepers.len() - 1, now);
            }
            let mut slots = keepers[known[node].0].take(pace, now, want).slots;
            while let Some(slot) = slots.pop(i64::MAX) {
                uses.push(slot.max(now).max(slot + pace.late_us * lateness / 1000).min(slot + pace.late_us));
            }
        }
        prop_assert!(worst(&mut uses, limit.per().as_micros() as i64) <= limit.limit() as usize);
    }

    #[test]
    fn a_limit_shrinks_and_grows_back_but_never_beyond(limit in limits(), steps in prop::collection::vec((0i64..100_000_000, any::<bool>()), 1..100)) {
        let pace = limit.pace();
        let mut bucket = Bucket::default();
        let mut now = START;
        for (passes, refused) in steps {
            let before = bucket.factor_at(pace, now);
            now += passes;
            prop_assert!(bucket.factor_at(pace, now) >= before);
            if refused {
                bucket.refused(pace, now, now);
            }
            let factor = bucket.factor_at(pace, now);
            prop_assert!((62..=1000).contains(&factor));
            let lease = bucket.take(pace, now, 10);
            prop_assert!(lease.slots.interval_us >= pace.interval_us);
        }
        prop_assert_eq!(bucket.factor_at(pace, now + 1000 * pace.grow_us), 1000);
    }

    #[test]
    fn garbage_is_not_believed(next in any::<i64>(), want in 1u32..100) {
        let pace = limit(50, 1_000).pace();
        let mut bucket = Bucket { next_us: next, ..Bucket::default() };
        let lease = bucket.take(pace, START, want);
        prop_assert!(lease.slots.count <= 30);
        prop_assert!(lease.more_us <= START + 62_000_000, "it would stand still until {}", lease.more_us);
    }
}

#[test]
fn a_backlog_uses_nearly_all_of_a_limit() {
    for (limit, least) in [
        // A tenth of a second on the way is much of so short a window.
        (limit(50, 1_000), 42),
        (limit(600, 60_000), 550),
        (limit(100, 3_600_000), 86),
    ] {
        let pace = limit.pace();
        let mut bucket = Bucket::default();
        let end = START + limit.per().as_micros() as i64;
        let mut now = START;
        let mut used = 0;
        while now < end {
            let lease = bucket.take(pace, now, 1_000);
            used += lease.slots.until(end - 1);
            now = lease.more_us.max(now + 1);
        }
        assert!(used >= least, "{limit}: {used}");
    }
}

#[test]
fn quiet_is_kept_and_one_cause_shrinks_once() {
    let pace = limit(50, 1_000).pace();
    let mut bucket = Bucket::default();
    for later in [0, 10, 500_000] {
        bucket.refused(pace, START + later, START + 7_000_000);
    }
    assert_eq!(bucket.factor_at(pace, START), 500);
    let lease = bucket.take(pace, START, 10);
    assert_eq!(lease.slots.count, 0);
    assert_eq!(lease.more_us, START + 7_000_000 - pace.ahead_us);
    let lease = bucket.take(pace, START + 7_000_000, 1);
    assert_eq!(lease.slots.first_us, START + 7_000_000);
}

#[test]
fn limits_are_read_and_said() {
    assert_eq!(RateLimit::new(0, 1_000), Err(LimitError::Limit(0)));
    assert_eq!(RateLimit::new(5, 0), Err(LimitError::Window(0)));
    assert_eq!(RateLimit::new(5, 86_400_001), Err(LimitError::Window(86_400_001)));
    assert_eq!(limit(5, 1_000).to_string(), "5/s");
    assert_eq!(limit(100, 3_600_000).to_string(), "100/h");
    assert_eq!(limit(3, 90_000).to_string(), "3 in 90 s");
    // A short window is an even pace.
    assert_eq!(limit(10, 100).pace(), limit(100, 1_000).pace());
    for provider in ProviderKind::ALL {
        assert_eq!(
            RateLimit::default_of(*provider).is_none(),
            *provider == ProviderKind::Sandbox
        );
    }
}

#[test]
fn a_default_holds_for_each_number() {
    let of = |own, config: serde_json::Value| RateLimit::of(ProviderKind::Twilio, own, &config);
    let one = Some(limit(1, 1_000));
    assert_eq!(of(None, json!({ "from": "+12025550100" })), one);
    assert_eq!(of(None, json!({ "messaging_service_sid": "MG1" })), one);
    let pool = json!({ "messaging_service_sid": "MG1", "numbers": ["+12025550100", "+12025550101"] });
    assert_eq!(of(None, pool.clone()), Some(limit(2, 1_000)));
    assert_eq!(of(Some(limit(7, 1_000)), pool), Some(limit(7, 1_000)));
    // Numbers that are only listened to.
    let heard = json!({ "from": "+12025550100", "numbers": ["+12025550100", "+12025550101"] });
    assert_eq!(of(None, heard), one);
    let many = json!({ "messaging_service_sid": "MG1", "numbers": vec!["+1"; 2_000_000] });
    assert_eq!(of(None, many), Some(limit(1_000_000, 1_000)));
    let odd = json!({ "messaging_service_sid": "MG1", "numbers": "all" });
    assert_eq!(of(None, odd), one);
}

#[test]
fn a_number_is_that_of_one_connection() {
    let number = |provider: ProviderKind, config: serde_json::Value| {
        provider
            .number(&config)
            .map(|(setting, number)| format!("{setting} {number}"))
    };
    let from = json!({ "from": "+12025550100" });
    let twilio = number(ProviderKind::Twilio, from.clone());
    assert_eq!(twilio.as_deref(), Some("from +12025550100"));
    let cloud = number(ProviderKind::WhatsappCloud, json!({ "phone_number_id": "1" }));
    assert_eq!(cloud.as_deref(), Some("phone_number_id 1"));
    // A messaging service has many, and mail has none.
    let pooled = json!({ "from": "+12025550100", "messaging_service_sid": "MG1" });
    assert_eq!(number(ProviderKind::Twilio, pooled), None);
    assert_eq!(number(ProviderKind::Sendgrid, from), None);
    assert_eq!(number(ProviderKind::Twilio, json!("odd")), None);
}

#[test]
fn slots_expire_and_are_counted() {
    let mut slots = Slots {
        first_us: 100,
        interval_us: 10,
        count: 5,
    };
    assert_eq!(
        (
            slots.until(99),
            slots.until(100),
            slots.until(125),
            slots.until(1_000)
        ),
        (0, 1, 3, 5)
    );
    assert_eq!(slots.expire(111), 2);
    assert_eq!(slots.pop(119), None);
    assert_eq!(slots.pop(120), Some(120));
    assert_eq!(slots.expire(1_000), 2);
    assert_eq!(slots.count, 0);
}

#[test]
fn a_backlog_ends_when_its_last_call_is_made() {
    let now = jiff::Timestamp::from_microsecond(START).expect("an instant");
    let after = |waiting, limits: &[RateLimit]| {
        Some(
            (ends_at(waiting, limits, now)? - now)
                .total(jiff::Unit::Second)
                .expect("seconds"),
        )
    };
    assert_eq!(after(5, &[]), None);
    assert_eq!(after(0, &[limit(1, 1_000)]), Some(0.0));
    // Not all of a limit is used: see the lateness, and the time on the way.
    assert_eq!(after(100, &[limit(1, 1_000)]), Some(118.0));
    assert_eq!(after(100, &[limit(100, 3_600_000)]), Some(4_140.1));
    let both = after(100, &[limit(1, 1_000), limit(1, 1_000)]).expect("an end");
    assert!((both - 59.0).abs() < 0.001, "{both}");
    assert_eq!(
        ends_at(u64::MAX, &[limit(1, 86_400_000)], now),
        Some(jiff::Timestamp::MAX)
    );
}
