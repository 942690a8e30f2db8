//! A row that is due lies within the bounds, in whatever zone its contact lives.

use super::total::zone;
use super::{at, campaign, day, first_run, later_run, place, row_of};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tidings_core::campaign::{Assessment, Bound, Cell, Definition, Range, Row, RunWindow, assess, bounds};

fn holds(bound: &Bound, cell: &Cell) -> bool {
    match (bound.range, cell) {
        (Range::Dates { from, to }, Cell::Date(day)) => {
            from.is_none_or(|from| from <= *day) && to.is_none_or(|to| *day <= to)
        }
        (Range::Instants { from, to }, Cell::Instant(instant)) => {
            from.is_none_or(|from| from <= *instant) && to.is_none_or(|to| *instant <= to)
        }
        (Range::Numbers { from, to }, Cell::Number(number)) => {
            from.is_none_or(|from| from <= *number) && to.is_none_or(|to| *number <= to)
        }
        (_, Cell::Null | Cell::Unmapped | Cell::Malformed { .. }) => true,
        other => panic!("a bound that does not fit its column: {other:?}"),
    }
}

fn within(definition: &Definition, row: &Row, window: &RunWindow) -> bool {
    bounds(definition, window)
        .iter()
        .all(|bound| holds(bound, row.cell(&bound.column)))
}

/// A run in any year, with or without one before it.
fn window() -> impl Strategy<Value = RunWindow> {
    (
        -60_000_000_000..200_000_000_000i64,
        proptest::option::of(0..20_000_000i64),
    )
        .prop_map(|(second, gap)| {
            let as_of = Timestamp::from_second(second).unwrap();
            let previous = gap.map(|gap| as_of.checked_sub(SignedDuration::from_secs(gap)).unwrap());
            RunWindow { as_of, previous }
        })
}

fn day_of(at: Timestamp) -> Date {
    at.to_zoned(jiff::tz::TimeZone::UTC).date()
}

fn days_on(day: Date, days: i64) -> Date {
    day.checked_add(SignedDuration::from_hours(days * 24)).unwrap()
}

/// Rows that are not due are passed over; proptest gives up when nearly none is, so enough are.
macro_rules! due_rows_lie_within {
    ($definition:expr, $row:expr, $zone:expr, $window:expr) => {
        let (definition, row, window) = ($definition, $row, $window);
        prop_assume!(matches!(
            assess(&definition, &row, &$zone, &window),
            Assessment::Due(_)
        ));
        prop_assert!(
            within(&definition, &row, &window),
            "{:?} and {:?}",
            row,
            bounds(&definition, &window)
        );
    };
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 20_000, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn after(window in window(), zone in zone(), years in 0..5i64, months in 0..14i64, days in 0..50i64, lookback in 0..40i64, off in -5..45i64, second in 0..86_400i64, is_instant in any::<bool>()) {
        let column = if is_instant { "picked_up_at" } else { "date_sold" };
        let from = if is_instant { "work_orders" } else { "equipment" };
        let due = format!(r#"rule = "after", latest_of = ["{column}"], years = {years}, months = {months}, days = {days}, lookback_days = {lookback}"#);
        // Back by days first, then by months: the way there is not the way back, which is what the slack is for.
        let target = days_on(day_of(window.as_of), -days - off);
        let origin = target.checked_sub(jiff::Span::new().months(years * 12 + months)).unwrap();
        let cell = if is_instant {
            Cell::Instant(Timestamp::from_second(origin.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second() + second).unwrap())
        } else {
            Cell::Date(origin)
        };
        due_rows_lie_within!(campaign(from, &due, ""), row_of(vec![(column, cell)]), zone, window);
    }

    #[test]
    fn the_latest_of_two(window in window(), zone in zone(), lookback in 0..40i64, off in -3..43i64, older in 0..4000i64, own_is_latest in any::<bool>()) {
        let definition = campaign(
            "equipment",
            &format!(r#"rule = "after", latest_of = ["date_sold", "last"], days = 10, lookback_days = {lookback}"#),
            "[[related]]\nname = \"last\"\ntable = \"work_orders\"\nby = \"equipment_id\"\ntake = \"latest\"\ncolumn = \"picked_up_at\"",
        );
        let latest = days_on(day_of(window.as_of), -10 - off);
        let (own, other) = if own_is_latest { (latest, days_on(latest, -older)) } else { (days_on(latest, -older), latest) };
        let row = row_of(vec![("date_sold", Cell::Date(own)), ("last", Cell::Date(other))]);
        due_rows_lie_within!(definition, row, zone, window);
    }

    #[test]
    fn before(window in window(), zone in zone(), days in 0..60i64, lookback in 0..80i64, off in -3..80i64) {
        let due = format!(r#"rule = "before", date = "warranty_end_date", days = {days}, lookback_days = {lookback}"#);
        let row = row_of(vec![("warranty_end_date", Cell::Date(days_on(day_of(window.as_of), days - off)))]);
        due_rows_lie_within!(campaign("equipment", &due, ""), row, zone, window);
    }

    #[test]
    fn anniversary(window in window(), zone in zone(), lead in 0..60i64, lookback in 0..80i64, off in -3..60i64, years in 0..30i64) {
        let due = format!(r#"rule = "anniversary", date = "date_sold", days_before = {lead}, lookback_days = {lookback}"#);
        let return_on = days_on(day_of(window.as_of), lead - off);
        let sold = return_on.checked_sub(jiff::Span::new().years(years)).unwrap();
        due_rows_lie_within!(campaign("equipment", &due, ""), row_of(vec![("date_sold", Cell::Date(sold))]), zone, window);
    }

    #[test]
    fn hours(window in window(), zone in zone(), from in 0..100i64, width in 1..100i64, off in -3..20_000_000i64, is_after in any::<bool>()) {
        let (table, rule, column) = if is_after { ("work_orders", "hours_after", "picked_up_at") } else { ("appointments", "hours_before", "starts_at") };
        let to = from + width;
        let due = format!(r#"rule = "{rule}", instant = "{column}", from_hours = {from}, to_hours = {to}"#);
        let near = off % (width * 4000) - 3;
        let second = if is_after { -from * 3600 - near } else { to * 3600 - near };
        let instant = Timestamp::from_second(window.as_of.as_second() + second).unwrap();
        due_rows_lie_within!(campaign(table, &due, ""), row_of(vec![(column, Cell::Instant(instant))]), zone, window);
    }

    #[test]
    fn numbers(window in window(), zone in zone(), mark in -50.0..50.0f64, hours in -100.0..400.0f64, is_step in any::<bool>()) {
        let due = if is_step {
            format!(r#"rule = "crossed", number = "machine_hours", step = {:?}"#, mark.abs() + 0.001)
        } else {
            format!(r#"rule = "reached", number = "machine_hours", at_least = {mark:?}"#)
        };
        due_rows_lie_within!(campaign("equipment", &due, ""), row_of(vec![("machine_hours", Cell::Number(hours))]), zone, window);
    }

    #[test]
    fn a_step_that_is_just_reached(window in window(), zone in zone(), step in 0.001..1e6f64, ulps in -2..3i64) {
        let hours = f64::from_bits((step.to_bits() as i64 + ulps) as u64);
        let due = format!(r#"rule = "crossed", number = "machine_hours", step = {step:?}"#);
        due_rows_lie_within!(campaign("equipment", &due, ""), row_of(vec![("machine_hours", Cell::Number(hours))]), zone, window);
    }

    #[test]
    fn series(window in window(), zone in zone(), every in 1..30i64, parts in 1..10i64, off in 0..320i64) {
        let due = format!(r#"rule = "series", date = "date_sold", every_days = {every}, parts = {parts}"#);
        let off = off % (every * (parts + 1) + 2);
        let row = row_of(vec![("date_sold", Cell::Date(days_on(day_of(window.as_of), 1 - off)))]);
        due_rows_lie_within!(campaign("equipment", &due, ""), row, zone, window);
    }

    #[test]
    fn conditions(window in window(), zone in zone(), operator in 0..7usize, value in -3..4i64, days in 0..30i64, off in -3..33i64, second in 0..86_400i64) {
        let operators = ["equal", "at_least", "at_most", "more_than", "less_than", "older_than", "within"];
        let operator = operators[operator];
        let today = day_of(window.as_of);
        let aged = matches!(operator, "older_than" | "within");
        let found = if aged { -off } else { value + second % 2 };
        let date = days_on(today, found);
        let instant = Timestamp::from_second(date.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second() + second).unwrap();
        for (table, column, cell, literal) in [
            ("equipment", "date_sold", Cell::Date(date), format!("\"{}\"", days_on(today, value))),
            ("customers", "created_at", Cell::Instant(instant), format!("\"{}\"", days_on(today, value))),
            ("customers", "created_at", Cell::Instant(instant), format!("\"{}\"", days_on(today, value).to_zoned(zone.clone()).unwrap().timestamp())),
            ("equipment", "machine_hours", Cell::Number(found as f64), value.to_string()),
        ] {
            if aged && column == "machine_hours" {
                continue;
            }
            let operand = if aged { format!("days = {days}") } else { format!("value = {literal}") };
            let condition = format!(r#"conditions = [{{ column = "{column}", is = "{operator}", {operand} }}]"#);
            let definition = campaign(table, r#"rule = "season", word = "now""#, &condition);
            let row = row_of(vec![(column, cell)]);
            if matches!(assess(&definition, &row, &zone, &window), Assessment::Due(_)) {
                prop_assert!(within(&definition, &row, &window), "{:?} and {:?}", row, bounds(&definition, &window));
            }
        }
    }
}

/// Month ends, swept: no chance decides here whether a short month is met.
#[test]
fn the_ends_of_months() {
    let mut found = 0;
    // The evening in UTC, the next day in Kiritimati; the morning in UTC, the day before in Pago Pago.
    let places = [("Pacific/Kiritimati", 23), ("Pacific/Pago_Pago", 1)];
    for (zone, hour) in places.map(|(name, hour)| (place(name), hour)) {
        for months in 0..14i64 {
            let due = format!(r#"rule = "after", latest_of = ["date_sold"], months = {months}, days = 1"#);
            let definition = campaign("equipment", &due, "");
            for offset in 0..430 {
                let sold = days_on(day("2023-12-01"), offset);
                let row = row_of(vec![("date_sold", Cell::Date(sold))]);
                let target = sold.checked_add(jiff::Span::new().months(months)).unwrap();
                for near in 0..3 {
                    let as_of = days_on(target, near).at(hour, 0, 0, 0);
                    let as_of = as_of.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
                    let window = RunWindow {
                        as_of,
                        previous: None,
                    };
                    if matches!(assess(&definition, &row, &zone, &window), Assessment::Due(_)) {
                        found += 1;
                        assert!(within(&definition, &row, &window), "{sold} {months} {window:?}");
                    }
                }
            }
        }
    }
    assert_eq!(found, 2 * 14 * 430, "each is due on one of the days");
}

#[test]
fn they_are_narrow() {
    let dates = |due: &str| {
        let definition = campaign("equipment", due, "");
        bounds(
            &definition,
            &later_run("2026-11-24T14:00:00Z", "2026-11-25T14:00:00Z"),
        )
    };
    let range = |from: Option<&str>, to: Option<&str>| Range::Dates {
        from: from.map(day),
        to: to.map(day),
    };
    let found = dates(r#"rule = "after", latest_of = ["date_sold"], days = 7"#);
    assert_eq!(found[0].range, range(Some("2026-11-14"), Some("2026-11-22")));
    let found = dates(r#"rule = "before", date = "warranty_end_date", days = 30"#);
    assert_eq!(found[0].range, range(Some("2026-12-24"), Some("2026-12-26")));
    let found = dates(r#"rule = "anniversary", date = "date_sold", days_before = 14"#);
    assert_eq!(found[0].range, range(None, Some("2025-12-13")));
    let definition = campaign(
        "work_orders",
        r#"rule = "hours_after", instant = "picked_up_at", from_hours = 48, to_hours = 72"#,
        "",
    );
    assert_eq!(
        bounds(&definition, &first_run("2026-11-25T15:00:00Z"))[0].range,
        Range::Instants {
            from: Some(at("2026-11-22T15:00:00Z")),
            to: Some(at("2026-11-23T15:00:00Z")),
        }
    );
}

#[test]
fn related_values_and_the_customer_are_never_bound() {
    let definition = campaign(
        "customers",
        r#"rule = "after", latest_of = ["last"], months = 12"#,
        r#"
        conditions = [
            { column = "last", is = "present" },
            { column = "machines", is = "at_least", value = 1 },
            { column = "customer.created_at", is = "older_than", days = 10 },
        ]
        [[related]]
        name = "last"
        table = "work_orders"
        by = "customer_id"
        take = "latest"
        column = "picked_up_at"
        [[related]]
        name = "machines"
        table = "equipment"
        by = "customer_id"
        take = "count"
        "#,
    );
    assert_eq!(bounds(&definition, &first_run("2026-11-25T15:00:00Z")), []);
}
