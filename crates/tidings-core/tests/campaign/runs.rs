//! Over any sequence of runs each occurrence is found in exactly one, the first after its moment: compared with plain
//! words, asked day by day and run by run, that share nothing with the rules but the calendar.

use super::total::zone;
use super::{campaign, row_of};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeSet;
use tidings_core::campaign::{Assessment, Cell, Definition, Moment, Row, RunWindow, assess};

/// What each run found: the occurrences, by run.
type Found = Vec<Option<String>>;

/// Runs one after the other; each knows what the one before covered. A moment never comes due before its time.
fn run_all(definition: &Definition, row: &Row, zone: &TimeZone, runs: &[Timestamp]) -> Found {
    let mut previous = None;
    runs.iter()
        .map(|as_of| {
            let window = RunWindow {
                as_of: *as_of,
                previous,
            };
            previous = Some(*as_of);
            match assess(definition, row, zone, &window) {
                Assessment::Due(due) => {
                    assert!(due.due_on.begins(zone) <= *as_of, "{due:?} before its moment");
                    Some(due.occurrence)
                }
                Assessment::NotDue(not) => {
                    // What is said to change later has not changed yet.
                    if let Some(Moment::Day(day)) = not.changes_at {
                        assert!(day > local_day(zone, *as_of), "{not:?} at {as_of}");
                    }
                    None
                }
                Assessment::Malformed(malformed) => panic!("{malformed:?}"),
            }
        })
        .collect()
}

fn local_day(zone: &TimeZone, at: Timestamp) -> Date {
    at.to_zoned(zone.clone()).date()
}

/// The plain words for a day: goes through the days from the first run to the last, and notes under the first run of
/// or after a day what `asked` says of it, unless that run comes after `until`.
fn day_by_day(
    zone: &TimeZone,
    runs: &[Timestamp],
    asked: impl Fn(Date) -> Option<String>,
    until: impl Fn(Date) -> Date,
) -> Found {
    let mut found: Found = vec![None; runs.len()];
    let mut day = local_day(zone, runs[0]);
    let last = local_day(zone, *runs.last().unwrap());
    while day <= last {
        let run = runs.iter().position(|run| local_day(zone, *run) >= day).unwrap();
        if let Some(occurrence) = asked(day)
            && local_day(zone, runs[run]) <= until(day)
        {
            found[run] = Some(occurrence);
        }
        day = day.tomorrow().unwrap();
    }
    found
}

fn forever(_: Date) -> Date {
    Date::MAX
}

fn steps(mut date: Date, days: u32) -> Date {
    for _ in 0..days {
        date = date.tomorrow().unwrap();
    }
    date
}

/// Month by month, then back to the last day there is.
fn months_on(date: Date, months: u32) -> Date {
    let (mut year, mut month) = (date.year(), date.month());
    for _ in 0..months {
        month += 1;
        if month == 13 {
            (year, month) = (year + 1, 1);
        }
    }
    (0..4)
        .find_map(|back| Date::new(year, month, date.day() - back).ok())
        .unwrap()
}

/// Whether a day has the same place in its year; 29 February counts as the 28th in common years.
fn same_day_of_year(date: Date, day: Date) -> bool {
    let place = |month, number| day.month() == month && day.day() == number;
    place(date.month(), date.day())
        || (date.month() == 2 && date.day() == 29 && place(2, 28) && !day.in_leap_year())
}

/// Runs with gaps of a minute to three days, beginning in 2024: the years of a leap day and of every change of clocks.
fn runs() -> impl Strategy<Value = Vec<Timestamp>> {
    let start = 1_704_000_000..1_900_000_000i64;
    (start, proptest::collection::vec(60..72 * 3600i64, 1..40)).prop_map(|(start, gaps)| {
        let mut at = Timestamp::from_second(start).unwrap();
        let mut runs = vec![at];
        for gap in gaps {
            at = at.checked_add(SignedDuration::from_secs(gap)).unwrap();
            runs.push(at);
        }
        runs
    })
}

/// A place within what the runs cover, and a little around it, in thousandths.
fn place_in(runs: &[Timestamp], thousandths: i64) -> Timestamp {
    let (first, last) = (runs[0].as_second(), runs.last().unwrap().as_second());
    let around = 4 * 86_400;
    let span = last - first + 2 * around;
    Timestamp::from_second(first - around + span / 1000 * thousandths).unwrap()
}

fn machine(sold: Date) -> Row {
    row_of(vec![
        ("date_sold", Cell::Date(sold)),
        ("warranty_end_date", Cell::Date(sold)),
    ])
}

fn back(day: Date, days: i64) -> Date {
    day.checked_sub(SignedDuration::from_hours(days * 24)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn after(runs in runs(), zone in zone(), at in 0..1000i64, years in 0..3u32, months in 0..14u32, days in 0..40u32) {
        let due = format!(r#"rule = "after", latest_of = ["date_sold"], years = {years}, months = {months}, days = {days}"#);
        let span = i64::from(years) * 365 + i64::from(months) * 30 + i64::from(days);
        let sold = back(local_day(&zone, place_in(&runs, at)), span);
        let due_day = steps(months_on(sold, years * 12 + months), days);
        let asked = |day: Date| (day == due_day).then(|| sold.to_string());
        prop_assert_eq!(
            run_all(&campaign("equipment", &due, ""), &machine(sold), &zone, &runs),
            day_by_day(&zone, &runs, asked, forever)
        );
    }

    #[test]
    fn before(runs in runs(), zone in zone(), at in 0..1000i64, days in 0..40u32) {
        let due = format!(r#"rule = "before", date = "warranty_end_date", days = {days}"#);
        let ends = steps(local_day(&zone, place_in(&runs, at)), days);
        let asked = |day: Date| (steps(day, days) == ends).then(|| ends.to_string());
        prop_assert_eq!(
            run_all(&campaign("equipment", &due, ""), &machine(ends), &zone, &runs),
            day_by_day(&zone, &runs, asked, |_| ends)
        );
    }

    #[test]
    fn anniversary(runs in runs(), zone in zone(), at in 0..1000i64, years in 0..6i16, lead in 0..40u32, leap in any::<bool>()) {
        let due = format!(r#"rule = "anniversary", date = "date_sold", days_before = {lead}"#);
        let near = steps(local_day(&zone, place_in(&runs, at)), lead);
        let sold = if leap {
            Date::constant(2020, 2, 29)
        } else {
            Date::new(near.year() - years, near.month(), near.day().min(28)).unwrap()
        };
        let asked = |day: Date| {
            let return_on = steps(day, lead);
            (return_on.year() > sold.year() && same_day_of_year(sold, return_on)).then(|| return_on.year().to_string())
        };
        prop_assert_eq!(
            run_all(&campaign("equipment", &due, ""), &machine(sold), &zone, &runs),
            day_by_day(&zone, &runs, asked, |day| steps(day, lead))
        );
    }

    #[test]
    fn series(runs in runs(), zone in zone(), at in 0..1000i64, every in 1..20u32, parts in 1..8u32, part in 0..8u32) {
        let due = format!(r#"rule = "series", date = "date_sold", every_days = {every}, parts = {parts}"#);
        let sold = back(local_day(&zone, place_in(&runs, at)), i64::from(every * part));
        let asked = |day: Date| {
            let part = (1..=parts).find(|part| steps(sold, every * part) == day);
            part.map(|part| part.to_string())
        };
        let found = run_all(&campaign("equipment", &due, ""), &machine(sold), &zone, &runs);
        prop_assert_eq!(&found, &day_by_day(&zone, &runs, asked, forever));
        // Where runs come more often than parts, none is left out between the first run and the last.
        let said: Vec<&String> = found.iter().flatten().collect();
        prop_assert_eq!(said.iter().collect::<BTreeSet<_>>().len(), said.len());
    }

    #[test]
    fn hours_after(runs in runs(), zone in zone(), at in 0..1000i64, from in 0..100u32, width in 1..100u32) {
        let to = from + width;
        let due = format!(r#"rule = "hours_after", instant = "picked_up_at", from_hours = {from}, to_hours = {to}"#);
        let picked_up = place_in(&runs, at).checked_sub(SignedDuration::from_hours(i64::from(from))).unwrap();
        let row = row_of(vec![("picked_up_at", Cell::Instant(picked_up))]);
        let old = |run: &Timestamp| run.as_second() - picked_up.as_second();
        let mut expected: Found = vec![None; runs.len()];
        if let Some(run) = runs.iter().position(|run| old(run) >= i64::from(from) * 3600)
            && (run > 0 || old(&runs[0]) < i64::from(to) * 3600)
        {
            expected[run] = Some(picked_up.to_string());
        }
        prop_assert_eq!(run_all(&campaign("work_orders", &due, ""), &row, &zone, &runs), expected);
    }

    #[test]
    fn hours_before(runs in runs(), zone in zone(), at in 0..1000i64, from in 0..100u32, width in 1..100u32, late in 0..100u32) {
        let (to, late) = (from + width, late.min(from));
        let due = format!(
            r#"rule = "hours_before", instant = "starts_at", from_hours = {from}, to_hours = {to}, late_from_hours = {late}"#
        );
        let starts = place_in(&runs, at).checked_add(SignedDuration::from_hours(i64::from(to))).unwrap();
        let row = row_of(vec![("starts_at", Cell::Instant(starts))]);
        let away = |run: &Timestamp| starts.as_second() - run.as_second();
        let mut expected: Found = vec![None; runs.len()];
        if let Some(run) = runs.iter().position(|run| away(run) <= i64::from(to) * 3600)
            && away(&runs[run]) > i64::from(late) * 3600
            && (run > 0 || away(&runs[0]) > i64::from(from) * 3600)
        {
            expected[run] = Some(starts.to_string());
        }
        prop_assert_eq!(run_all(&campaign("appointments", &due, ""), &row, &zone, &runs), expected);
    }

    #[test]
    fn season(runs in runs(), zone in zone()) {
        let definition = campaign("customers", r#"rule = "season", word = "spring""#, "");
        let found = run_all(&definition, &row_of(vec![]), &zone, &runs);
        for (run, found) in runs.iter().zip(found) {
            prop_assert_eq!(found, Some(format!("spring-{}", local_day(&TimeZone::UTC, *run).year())));
        }
    }

    #[test]
    fn reached(runs in runs(), zone in zone(), at_least in -50..50i32, hours in -100..100i32) {
        let due = format!(r#"rule = "reached", number = "machine_hours", at_least = {at_least}"#);
        let row = row_of(vec![("machine_hours", Cell::Number(f64::from(hours)))]);
        let found = run_all(&campaign("equipment", &due, ""), &row, &zone, &runs);
        let expected = (hours >= at_least).then(|| at_least.to_string());
        prop_assert!(found.iter().all(|one| *one == expected), "{:?}", found);
    }

    #[test]
    fn crossed(runs in runs(), zone in zone(), step in 1..60u32, hours in 0..700u32, then in 0..700u32) {
        let due = format!(r#"rule = "crossed", number = "machine_hours", since = "then", step = {step}"#);
        let related = "[[related]]\nname = \"then\"\ntable = \"work_orders\"\nby = \"equipment_id\"\ntake = \"latest\"\ncolumn = \"machine_hours\"";
        let row = row_of(vec![
            ("machine_hours", Cell::Number(f64::from(hours))),
            ("then", Cell::Number(f64::from(then))),
        ]);
        // Each hour since the service, in turn: is it a mark?
        let expected = (then + 1..=hours).filter(|hour| hour % step == 0).max().map(|mark| mark.to_string());
        let found = run_all(&campaign("equipment", &due, related), &row, &zone, &runs);
        prop_assert!(found.iter().all(|one| *one == expected), "{:?} and not {:?}", found, expected);
    }

    #[test]
    fn a_repeated_or_overlapping_run_finds_the_same_occurrences(
        runs in runs(), zone in zone(), at in 0..1000i64, overlap in 0..200_000i64, lookback in 0..5u32,
    ) {
        let due = format!(r#"rule = "after", latest_of = ["date_sold"], days = 7, lookback_days = {lookback}"#);
        let definition = campaign("equipment", &due, "");
        let sold = back(local_day(&zone, place_in(&runs, at)), 7);
        let alone: BTreeSet<String> = run_all(&definition, &machine(sold), &zone, &runs).into_iter().flatten().collect();
        let mut again = BTreeSet::new();
        for pair in runs.windows(2) {
            let window = RunWindow {
                as_of: pair[1],
                previous: Some(pair[0].checked_sub(SignedDuration::from_secs(overlap)).unwrap()),
            };
            for _ in 0..2 {
                if let Assessment::Due(due) = assess(&definition, &machine(sold), &zone, &window) {
                    again.insert(due.occurrence);
                }
            }
        }
        // References are made of occurrences: a row has one, however often it is found.
        prop_assert!(again.len() <= 1 && alone.len() <= 1);
        prop_assert!(alone.is_empty() || again == alone || local_day(&zone, runs[0]) >= steps(sold, 7));
    }
}
