//! Soft bounces that add up.

use crate::at;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rstest::rstest;
use tidings_core::soft_bounce::{Consequence, DAYS, KEPT_DAYS, LEFT_ALONE, WINDOW, judge, kept};

const NOW: &str = "2026-06-17T12:00:00Z";

#[rstest]
#[case::none(&[], None, false)]
#[case::one(&["2026-06-17T11:00:00Z"], None, false)]
#[case::two_days(&["2026-06-16T11:00:00Z", "2026-06-17T11:00:00Z"], None, false)]
#[case::three_on_one_day(&["2026-06-17T09:00:00Z", "2026-06-17T10:00:00Z", "2026-06-17T11:00:00Z"], None, false)]
#[case::three_days(&["2026-06-10T11:00:00Z", "2026-06-16T11:00:00Z", "2026-06-17T11:00:00Z"], None, true)]
#[case::any_order(&["2026-06-17T11:00:00Z", "2026-06-10T11:00:00Z", "2026-06-16T11:00:00Z"], None, true)]
#[case::either_side_of_midnight(&["2026-06-15T23:59:59Z", "2026-06-16T00:00:00Z", "2026-06-17T00:00:00Z"], None, true)]
#[case::too_long_ago(&["2026-05-18T11:59:59Z", "2026-06-16T11:00:00Z", "2026-06-17T11:00:00Z"], None, false)]
#[case::just_within(&["2026-05-18T12:00:00Z", "2026-06-16T11:00:00Z", "2026-06-17T11:00:00Z"], None, true)]
#[case::delivered_between(&["2026-06-10T11:00:00Z", "2026-06-16T11:00:00Z", "2026-06-17T11:00:00Z"], Some("2026-06-12T00:00:00Z"), false)]
#[case::delivered_before(&["2026-06-10T11:00:00Z", "2026-06-16T11:00:00Z", "2026-06-17T11:00:00Z"], Some("2026-06-09T00:00:00Z"), true)]
#[case::delivered_after_all(&["2026-06-10T11:00:00Z", "2026-06-15T11:00:00Z", "2026-06-16T11:00:00Z"], Some("2026-06-17T00:00:00Z"), false)]
fn table(#[case] bounces: &[&str], #[case] delivered: Option<&str>, #[case] left_alone: bool) {
    let bounces: Vec<_> = bounces.iter().map(|text| at(text)).collect();
    let expect = if left_alone {
        Consequence::LeaveAlone {
            until: at(NOW) + LEFT_ALONE,
        }
    } else {
        Consequence::Keep
    };
    assert_eq!(judge(&bounces, delivered.map(at), at(NOW)), expect);
}

/// A busy address bounces many times a day, and its days add up all the same.
#[test]
fn bounces_of_a_busy_address_add_up() {
    let mut known = Vec::new();
    for day in ["2026-06-15", "2026-06-16", "2026-06-17"] {
        for hour in 0..24 {
            known.push(at(&format!("{day}T{hour:02}:30:00Z")));
            known = kept(known);
        }
    }
    assert_eq!(known.len(), 3);
    let now = at("2026-06-17T23:45:00Z");
    let until = now + LEFT_ALONE;
    assert_eq!(judge(&known, None, now), Consequence::LeaveAlone { until });
    let many = (0..40).map(|day| at("2026-01-01T00:00:00Z") + SignedDuration::from_hours(24 * day));
    assert_eq!(kept(many.collect()).len(), KEPT_DAYS);
}

fn instants() -> impl Strategy<Value = Vec<Timestamp>> {
    let hours = proptest::collection::vec(0i64..60 * 24, 0..12);
    hours.prop_map(|hours| {
        hours
            .into_iter()
            .map(|ago| at(NOW) - SignedDuration::from_hours(ago))
            .collect()
    })
}

proptest! {
    #[test]
    fn order_and_repetition_change_nothing(bounces in instants(), delivered in proptest::option::of(0i64..60 * 24)) {
        let delivered = delivered.map(|ago| at(NOW) - SignedDuration::from_hours(ago));
        let told = judge(&bounces, delivered, at(NOW));
        let mut other = bounces.clone();
        other.reverse();
        other.extend(bounces.iter().copied());
        prop_assert_eq!(judge(&other, delivered, at(NOW)), told);
    }

    #[test]
    fn an_address_is_left_alone_only_after_enough_bounces_and_never_after_a_delivery(bounces in instants(), ago in 0i64..60 * 24) {
        let delivered = at(NOW) - SignedDuration::from_hours(ago);
        let since = (at(NOW) - WINDOW).max(delivered);
        if let Consequence::LeaveAlone { until } = judge(&bounces, Some(delivered), at(NOW)) {
            prop_assert!(bounces.iter().filter(|at| **at >= since).count() >= DAYS);
            prop_assert_eq!(until, at(NOW) + LEFT_ALONE);
        }
        prop_assert_eq!(judge(&bounces, Some(at(NOW)), at(NOW)), Consequence::Keep);
    }

    #[test]
    fn one_more_bounce_never_makes_it_better(bounces in instants(), ago in 0i64..30 * 24) {
        let mut more = bounces.clone();
        more.push(at(NOW) - SignedDuration::from_hours(ago));
        if judge(&bounces, None, at(NOW)) != Consequence::Keep {
            prop_assert!(judge(&more, None, at(NOW)) != Consequence::Keep);
        }
    }
}
