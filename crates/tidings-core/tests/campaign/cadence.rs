//! The moments of a cadence, what the environment changes of it, and what a run makes up for.

use super::at;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tidings_core::campaign::cadence::{Plan, Skipped, next, plan, previous};
use tidings_core::campaign::{Cadence, MissedRun, RunWindow};

fn daily(hour_utc: u8) -> Cadence {
    Cadence::Day {
        hour_utc,
        hour_env: Some("HOUR".to_owned()),
    }
}

fn every(days: u32, hour_utc: u8) -> Cadence {
    Cadence::Days {
        days,
        hour_utc,
        days_env: Some("DAYS".to_owned()),
        hour_env: Some("HOUR".to_owned()),
    }
}

fn interval(interval_ms: i64) -> Cadence {
    Cadence::Interval {
        interval_ms,
        interval_env: Some("INTERVAL".to_owned()),
    }
}

fn yearly(month: i8, day: i8, hour_utc: u8) -> Cadence {
    Cadence::Year {
        month,
        day,
        hour_utc,
        hour_env: None,
    }
}

#[test]
fn moments_before_and_after() {
    for (cadence, now, before, after) in [
        (
            daily(14),
            "2026-11-25T14:00:00Z",
            "2026-11-25T14:00:00Z",
            "2026-11-26T14:00:00Z",
        ),
        (
            daily(14),
            "2026-11-25T13:59:59.999999999Z",
            "2026-11-24T14:00:00Z",
            "2026-11-25T14:00:00Z",
        ),
        (
            daily(0),
            "1969-12-31T23:59:59Z",
            "1969-12-31T00:00:00Z",
            "1970-01-01T00:00:00Z",
        ),
        // Weeks begin on Thursdays.
        (
            every(7, 14),
            "2026-11-25T15:00:00Z",
            "2026-11-19T14:00:00Z",
            "2026-11-26T14:00:00Z",
        ),
        (
            every(30, 14),
            "1970-01-31T14:00:00Z",
            "1970-01-31T14:00:00Z",
            "1970-03-02T14:00:00Z",
        ),
        (
            interval(3_600_000),
            "2026-11-25T14:30:00Z",
            "2026-11-25T14:00:00Z",
            "2026-11-25T15:00:00Z",
        ),
        (
            interval(60_000),
            "1969-12-31T23:59:59.5Z",
            "1969-12-31T23:59:00Z",
            "1970-01-01T00:00:00Z",
        ),
        (
            yearly(3, 1, 14),
            "2026-11-25T14:00:00Z",
            "2026-03-01T14:00:00Z",
            "2027-03-01T14:00:00Z",
        ),
        (
            yearly(3, 1, 14),
            "2027-03-01T14:00:00Z",
            "2027-03-01T14:00:00Z",
            "2028-03-01T14:00:00Z",
        ),
        (
            yearly(2, 31, 0),
            "2027-12-01T00:00:00Z",
            "2027-02-28T00:00:00Z",
            "2028-02-29T00:00:00Z",
        ),
    ] {
        assert_eq!(previous(&cadence, at(now)), Some(at(before)), "{cadence:?} {now}");
        assert_eq!(next(&cadence, at(now)), Some(at(after)), "{cadence:?} {now}");
    }
}

#[test]
fn values_out_of_range_have_no_moments() {
    let now = at("2026-11-25T14:00:00Z");
    for cadence in [
        daily(24),
        every(0, 14),
        every(u32::MAX, 14),
        interval(0),
        interval(-60_000),
        interval(i64::MIN),
        yearly(0, 1, 1),
        yearly(13, 1, 1),
        yearly(1, 0, 1),
        yearly(1, 1, 200),
    ] {
        assert_eq!(
            (previous(&cadence, now), next(&cadence, now)),
            (None, None),
            "{cadence:?}"
        );
    }
}

#[test]
fn the_environment_changes_hours_days_and_intervals() {
    let set = |name: &'static str, value: &'static str| {
        move |asked: &str| (asked == name).then(|| value.to_owned())
    };
    assert_eq!(daily(14).with_overrides(set("HOUR", " 9 ")), Ok(daily(9)));
    assert_eq!(daily(14).with_overrides(set("HOUR", "")), Ok(daily(14)));
    assert_eq!(daily(14).with_overrides(set("OTHER", "nine")), Ok(daily(14)));
    assert_eq!(every(7, 14).with_overrides(set("DAYS", "30")), Ok(every(30, 14)));
    assert_eq!(every(7, 14).with_overrides(set("HOUR", "0")), Ok(every(7, 0)));
    assert_eq!(
        interval(3_600_000).with_overrides(set("INTERVAL", "60000")),
        Ok(interval(60_000))
    );
    assert_eq!(
        yearly(3, 1, 14).with_overrides(set("HOUR", "9")),
        Ok(yearly(3, 1, 14))
    );
    for (cadence, name, value, message) in [
        (
            daily(14),
            "HOUR",
            "25",
            "HOUR is \"25\"; set it to a whole number from 0 to 23, or leave it out",
        ),
        (
            daily(14),
            "HOUR",
            "-1",
            "HOUR is \"-1\"; set it to a whole number from 0 to 23, or leave it out",
        ),
        (
            every(7, 14),
            "DAYS",
            "weekly",
            "DAYS is \"weekly\"; set it to a whole number from 1 to 366, or leave it out",
        ),
        (
            interval(60_000),
            "INTERVAL",
            "1000",
            "INTERVAL is \"1000\"; set it to a whole number from 60000 to 86400000, or leave it out",
        ),
    ] {
        assert_eq!(
            cadence.with_overrides(set(name, value)).unwrap_err().to_string(),
            message
        );
    }
}

fn planned(covered: Option<&str>, now: &str) -> Plan {
    plan(&daily(14), MissedRun::default(), covered.map(at), at(now))
}

fn run(previous: Option<&str>, as_of: &str, skipped: Option<Skipped>) -> Plan {
    let window = RunWindow {
        as_of: at(as_of),
        previous: previous.map(at),
    };
    Plan::Run { window, skipped }
}

#[test]
fn runs_are_planned_by_what_was_covered() {
    let today = "2026-11-25T14:00:00Z";
    let skipped = |after: &str, up_to: &str| Skipped {
        after: at(after),
        up_to: at(up_to),
    };
    for (covered, now, expect) in [
        (None, "2026-11-25T14:05:00Z", run(None, today, None)),
        (
            Some("2026-11-24T14:00:00Z"),
            "2026-11-25T14:05:00Z",
            run(Some("2026-11-24T14:00:00Z"), today, None),
        ),
        (Some(today), "2026-11-25T20:00:00Z", Plan::Nothing),
        // Down for two days: one run for all of them.
        (
            Some("2026-11-23T14:00:00Z"),
            "2026-11-25T20:00:00Z",
            run(Some("2026-11-23T14:00:00Z"), today, None),
        ),
        // Down for ten: the last three moments are made up for, and what they cover.
        (
            Some("2026-11-15T14:00:00Z"),
            "2026-11-25T20:00:00Z",
            run(
                Some("2026-11-22T14:00:00Z"),
                today,
                Some(skipped("2026-11-15T14:00:00Z", "2026-11-22T14:00:00Z")),
            ),
        ),
    ] {
        assert_eq!(planned(covered, now), expect, "{covered:?} {now}");
    }
    let spring = yearly(3, 1, 14);
    let late = |covered: Option<&str>, now| plan(&spring, MissedRun::default(), covered.map(at), at(now));
    assert_eq!(
        late(Some("2026-03-01T14:00:00Z"), "2027-03-03T00:00:00Z"),
        run(Some("2026-03-01T14:00:00Z"), "2027-03-01T14:00:00Z", None)
    );
    assert_eq!(
        late(Some("2026-03-01T14:00:00Z"), "2027-03-05T00:00:00Z"),
        Plan::Skip(skipped("2026-03-01T14:00:00Z", "2027-03-01T14:00:00Z"))
    );
    assert_eq!(late(None, "2027-06-01T00:00:00Z"), Plan::Nothing);
    // A week between runs is no miss, however few hours are made up for.
    let weekly = plan(
        &every(7, 14),
        MissedRun::default(),
        Some(at("2026-11-19T14:00:00Z")),
        at("2026-11-26T14:01:00Z"),
    );
    assert_eq!(
        weekly,
        run(Some("2026-11-19T14:00:00Z"), "2026-11-26T14:00:00Z", None)
    );
}

fn cadence() -> impl Strategy<Value = Cadence> {
    prop_oneof![
        (0..24u8).prop_map(daily),
        (1..=366u32, 0..24u8).prop_map(|(days, hour)| every(days, hour)),
        (60_000..=86_400_000i64).prop_map(interval),
        (1..=12i8, 1..=31i8, 0..24u8).prop_map(|(month, day, hour)| yearly(month, day, hour)),
    ]
}

fn instant() -> impl Strategy<Value = Timestamp> {
    let (least, most) = (Timestamp::MIN.as_nanosecond(), Timestamp::MAX.as_nanosecond());
    prop_oneof![
        8 => 0..4_000_000_000_000_000_000i128,
        1 => least..=most,
        1 => Just(least),
        1 => Just(most),
    ]
    .prop_map(|nanosecond| Timestamp::from_nanosecond(nanosecond).unwrap())
}

proptest! {
    #[test]
    fn moments_stand_in_order_and_lead_to_each_other(cadence in cadence(), now in instant(), more in 0..1_000_000_000_000i64) {
        let (before, after) = (previous(&cadence, now), next(&cadence, now));
        if let Some(before) = before {
            prop_assert!(before <= now);
            prop_assert_eq!(previous(&cadence, before), Some(before));
            prop_assert_eq!(next(&cadence, before), after);
        }
        if let Some(after) = after {
            prop_assert!(after > now);
            prop_assert_eq!(previous(&cadence, after), Some(after));
            let just_before = after.checked_sub(SignedDuration::from_nanos(1)).unwrap();
            prop_assert_eq!(previous(&cadence, just_before), before);
            prop_assert_eq!(next(&cadence, just_before), Some(after));
        }
        // Only at the ends of the calendar there is none.
        let wide = SignedDuration::from_hours(24 * 367);
        prop_assert_eq!(before.is_none() && now.checked_sub(wide).is_ok(), false);
        prop_assert_eq!(after.is_none() && now.checked_add(wide).is_ok(), false);
        if let Ok(later) = now.checked_add(SignedDuration::from_micros(more)) {
            prop_assert!(previous(&cadence, now) <= previous(&cadence, later));
            prop_assert!(after.is_none() || next(&cadence, later).is_none() || after <= next(&cadence, later));
        }
    }

    #[test]
    fn what_is_planned_covers_all_that_is_not_skipped(
        cadence in cadence(),
        skip_after_hours in 0..2000u32,
        now in 1_000_000_000..4_000_000_000i64,
        gap in 0..100_000_000i64,
    ) {
        let now = Timestamp::from_second(now).unwrap();
        let covered = now.checked_sub(SignedDuration::from_secs(gap)).unwrap();
        let missed_run = MissedRun { skip_after_hours };
        let oldest = now.checked_sub(SignedDuration::from_hours(i64::from(skip_after_hours))).unwrap();
        match plan(&cadence, missed_run, Some(covered), now) {
            Plan::Nothing => prop_assert!(previous(&cadence, now).unwrap() <= covered),
            Plan::Skip(skipped) => {
                prop_assert_eq!(skipped.after, covered);
                prop_assert_eq!(Some(skipped.up_to), previous(&cadence, now));
                prop_assert!(skipped.up_to < oldest);
            }
            Plan::Run { window, skipped } => {
                prop_assert_eq!(Some(window.as_of), previous(&cadence, now));
                prop_assert!(window.as_of >= oldest);
                let start = window.previous.unwrap();
                prop_assert!(covered <= start && start < window.as_of);
                match skipped {
                    None => prop_assert_eq!(start, covered),
                    Some(skipped) => {
                        prop_assert_eq!((skipped.after, skipped.up_to), (covered, start));
                        // What is skipped belongs to moments too old to be made up for.
                        prop_assert!(start < oldest);
                        prop_assert!(next(&cadence, start).unwrap() >= oldest);
                    }
                }
            }
        }
    }
}
