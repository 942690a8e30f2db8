//! Hours over every zone, against an oracle that knows nothing but the wall clock.

use crate::decide::facts::Window;
use crate::decide::hours::{Hours, quiet_hours};
use crate::decide::policy::BusinessDay;
use crate::zone::{self, LocalInstant, local_to_utc};
use jiff::civil::{Time, date, time};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rstest::rstest;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// Steps minute by minute until the wall clock is allowed.
fn oracle(hours: &Hours, from: Timestamp, zone: &jiff::tz::TimeZone, minutes: u32) -> Option<Timestamp> {
    let mut at = from;
    for _ in 0..minutes {
        if hours.allow(zone.to_datetime(at)) {
            return Some(at);
        }
        at = at.checked_add(MINUTE).ok()?;
    }
    None
}

fn window() -> impl Strategy<Value = Window> {
    let quarter = || (0i8..24, 0i8..4).prop_map(|(hour, quarter)| time(hour, quarter * 15, 0, 0));
    (quarter(), quarter()).prop_map(|(start, end)| Window::new(start, end))
}

fn some_hours() -> impl Strategy<Value = Hours> {
    let days = proptest::sample::subsequence(BusinessDay::ALL.to_vec(), 1..=7);
    let business = proptest::option::of((window(), days.prop_map(|days| days.into_iter().collect())));
    (
        proptest::collection::vec(window(), 0..3),
        proptest::collection::vec(window(), 0..2),
        business,
    )
        .prop_map(|(quiet, open, business)| Hours {
            quiet,
            open,
            business,
        })
}

/// An instant within a day of a change of the zone's offset, or any instant of 2026 to 2028.
fn instant(zone: &jiff::tz::TimeZone, pick: usize, minutes: i64) -> Timestamp {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let changes: Vec<Timestamp> = zone
        .following(start)
        .take(6)
        .map(|change| change.timestamp())
        .collect();
    let base = changes.get(pick % 8).copied().unwrap_or(start);
    base + SignedDuration::from_mins(minutes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn next_allowed_is_what_stepping_finds(
        hours in some_hours(), zone in 0usize..10_000, pick in 0usize..8, minutes in -2000i64..2000,
    ) {
        let names = zone::names();
        let zone = zone::find(&names[zone % names.len()]).unwrap();
        let from = instant(&zone, pick, minutes);
        let got = hours.next_allowed(from, &zone);
        // Offsets of 2026 and later are whole minutes, so stepping meets every change.
        match oracle(&hours, from, &zone, 9 * 24 * 60) {
            Some(wanted) => prop_assert_eq!(got, Some(wanted)),
            None => prop_assert!(got.is_none_or(|at| at.duration_since(from) > SignedDuration::from_hours(9 * 24))),
        }
    }

    #[test]
    fn next_allowed_is_allowed_never_early_and_settled(
        hours in some_hours(), zone in 0usize..10_000, seconds in 0i64..4_000_000_000, nanos in 0i64..1_000_000_000,
    ) {
        let names = zone::names();
        let zone = zone::find(&names[zone % names.len()]).unwrap();
        let from = Timestamp::new(seconds, i32::try_from(nanos).unwrap()).unwrap();
        if let Some(at) = hours.next_allowed(from, &zone) {
            prop_assert!(at >= from);
            prop_assert!(hours.allow(zone.to_datetime(at)));
            prop_assert_eq!(hours.next_allowed(at, &zone), Some(at));
            if at > from {
                let just_before = at - SignedDuration::from_nanos(1);
                prop_assert!(!hours.allow(zone.to_datetime(just_before)));
            }
        }
    }

    #[test]
    fn a_reading_and_its_instants_agree(zone in 0usize..10_000, seconds in 0i64..4_000_000_000) {
        let names = zone::names();
        let zone = zone::find(&names[zone % names.len()]).unwrap();
        let at = Timestamp::from_second(seconds).unwrap();
        let local = zone.to_datetime(at);
        match local_to_utc(&zone, local) {
            LocalInstant::Normal(only) => prop_assert_eq!(only, at),
            LocalInstant::Overlap { first, second } => {
                prop_assert!(first < second && (at == first || at == second));
            }
            gap @ LocalInstant::Gap { .. } => prop_assert!(false, "an instant in a gap: {:?}", gap),
        }
    }
}

/// Every zone, at each of its changes of the clocks in two years: windows that start or end within the change.
#[test]
fn every_zone_at_every_change() {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let end: Timestamp = "2027-12-31T00:00:00Z".parse().unwrap();
    let mut changes = 0;
    for name in zone::names() {
        let zone = zone::find(&name).unwrap();
        for change in zone
            .following(start)
            .take(8)
            .take_while(|change| change.timestamp() < end)
        {
            changes += 1;
            let local = zone
                .to_datetime(change.timestamp())
                .time()
                .with()
                .second(0)
                .build()
                .unwrap();
            for shift in [-90i64, -30, 0, 30, 90] {
                let middle = local.wrapping_add(SignedDuration::from_mins(shift));
                let quiet = vec![Window::new(
                    middle.wrapping_sub(SignedDuration::from_hours(5)),
                    middle,
                )];
                let hours = Hours {
                    quiet,
                    ..Hours::default()
                };
                let from = change.timestamp() - SignedDuration::from_mins(200);
                assert_eq!(
                    hours.next_allowed(from, &zone),
                    oracle(&hours, from, &zone, 2000),
                    "{name} {shift}"
                );
            }
        }
    }
    assert!(changes > 200, "only {changes} changes found");
}

#[rstest]
// The window ends at a reading that does not exist: it ends at the jump, neither early nor a day late.
#[case(
    "America/New_York",
    "21:00-02:30",
    "2026-03-08T05:00:00Z",
    "2026-03-08T07:00:00Z"
)]
// It ends at a reading that exists twice: the first.
#[case(
    "America/New_York",
    "21:00-01:30",
    "2026-11-01T04:00:00Z",
    "2026-11-01T05:30:00Z"
)]
// Between the first and the second the clock shows quiet hours again.
#[case(
    "America/New_York",
    "21:00-01:30",
    "2026-11-01T06:10:00Z",
    "2026-11-01T06:30:00Z"
)]
// Midnight does not exist (Cairo), thirty-minute daylight saving (Lord Howe), 45-minute offset (Kathmandu).
#[case("Africa/Cairo", "21:00-00:30", "2026-04-23T21:00:00Z", "2026-04-23T22:00:00Z")]
#[case(
    "Australia/Lord_Howe",
    "21:00-02:15",
    "2026-10-03T12:00:00Z",
    "2026-10-03T15:30:00Z"
)]
#[case(
    "Asia/Kathmandu",
    "21:00-08:00",
    "2026-06-17T00:00:00Z",
    "2026-06-17T02:15:00Z"
)]
// Samoa had no 30 December 2011.
#[case("Pacific/Apia", "21:00-08:00", "2011-12-30T09:00:00Z", "2011-12-30T18:00:00Z")]
// Start inclusive, end exclusive; to the nanosecond.
#[case("UTC", "21:00-08:00", "2026-06-17T21:00:00Z", "2026-06-18T08:00:00Z")]
#[case(
    "UTC",
    "21:00-08:00",
    "2026-06-17T20:59:59.999999999Z",
    "2026-06-17T20:59:59.999999999Z"
)]
#[case(
    "UTC",
    "21:00-08:00",
    "2026-06-18T07:59:59.999999999Z",
    "2026-06-18T08:00:00Z"
)]
#[case("UTC", "13:00-24:00", "2026-06-17T13:00:00Z", "2026-06-18T00:00:00Z")]
#[case("UTC", "08:00-08:00", "2026-06-17T08:00:00Z", "2026-06-17T08:00:00Z")]
fn quiet_hours_end(#[case] name: &str, #[case] window: &str, #[case] now: &str, #[case] next: &str) {
    let now: Timestamp = now.parse().unwrap();
    let next: Timestamp = next.parse().unwrap();
    assert_eq!(
        quiet_hours(window, &zone::find(name).unwrap(), now).unwrap(),
        (next > now, next)
    );
}

#[test]
fn a_business_window_over_midnight_belongs_to_the_day_it_starts_on() {
    let hours = Hours {
        business: Some((
            Window::parse("20:00-02:00").unwrap(),
            [BusinessDay::Friday].into(),
        )),
        ..Hours::default()
    };
    let allowed = |day: i8, hour: i8| hours.allow(date(2026, 6, day).at(hour, 0, 0, 0));
    assert!(allowed(19, 21) && allowed(20, 1));
    assert!(!allowed(19, 1) && !allowed(20, 2) && !allowed(20, 21));
}

#[test]
fn windows_are_written_plainly() {
    assert_eq!(
        Window::parse(" 9:00 - 17:30 ").unwrap(),
        Window::new(time(9, 0, 0, 0), time(17, 30, 0, 0))
    );
    assert_eq!(Window::parse("20:00-24:00").unwrap().end, Time::midnight());
    for wrong in [
        "",
        "9-17",
        "25:00-01:00",
        "24:30-01:00",
        "-1:00-02:00",
        "+9:00-10:00",
        "09:00",
        "09:00-10:60",
        "009:00-10:00",
    ] {
        assert!(Window::parse(wrong).is_err(), "{wrong:?}");
    }
}
