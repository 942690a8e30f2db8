//! Every input has an answer: any cell, any zone, any window, any number in a definition, valid or not.

use super::{place, row_of, text};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use proptest::prelude::*;
use tidings_core::campaign::{
    Assessment, Cell, Condition, ContextSource, Definition, DueRule, Literal, Operator, RunWindow,
    StepOutcome, assess, assess_all, bounds, context, needs, source_reference,
};

/// The names that are mapped in generated rows.
const NAMES: [&str; 4] = ["date_sold", "machine_hours", "equipment_make", "other"];

pub fn date() -> impl Strategy<Value = Date> {
    let any = (-9999..=9999i16, 1..=12i8, 1..=31i8)
        .prop_map(|(year, month, day)| Date::new(year, month, day).unwrap_or(Date::constant(2024, 2, 29)));
    prop_oneof![8 => any, 1 => Just(Date::MIN), 1 => Just(Date::MAX)]
}

pub fn instant() -> impl Strategy<Value = Timestamp> {
    let (least, most) = (Timestamp::MIN.as_nanosecond(), Timestamp::MAX.as_nanosecond());
    let any = (least..=most).prop_map(|at| Timestamp::from_nanosecond(at).unwrap());
    prop_oneof![8 => any, 1 => Just(Timestamp::MIN), 1 => Just(Timestamp::MAX)]
}

fn cell() -> impl Strategy<Value = Cell> {
    prop_oneof![
        4 => date().prop_map(Cell::Date),
        4 => instant().prop_map(Cell::Instant),
        3 => any::<f64>().prop_map(Cell::Number),
        3 => (-500..5000i32).prop_map(|hours| Cell::Number(f64::from(hours))),
        1 => Just(Cell::Unmapped),
        1 => Just(Cell::Null),
        1 => any::<bool>().prop_map(Cell::Flag),
        1 => ".{0,8}".prop_map(|written| text(&written)),
        1 => Just(Cell::Malformed { problem: "is not a date".to_owned() }),
    ]
}

/// As far from UTC as bounds reckon with, and further than any zone is.
const FIXED: [i32; 4] = [-24 * 3600, 24 * 3600, -12 * 3600, 14 * 3600];

pub fn zone() -> impl Strategy<Value = TimeZone> {
    let names = tidings_core::zone::names();
    prop_oneof![
        proptest::sample::select(names).prop_map(|name| place(&name)),
        proptest::sample::select(&FIXED[..]).prop_map(|at| Offset::from_seconds(at).unwrap().to_time_zone()),
    ]
}

fn window() -> impl Strategy<Value = RunWindow> {
    (instant(), proptest::option::of(instant())).prop_map(|(as_of, previous)| RunWindow { as_of, previous })
}

fn name() -> impl Strategy<Value = String> {
    proptest::sample::select(&NAMES[..]).prop_map(str::to_owned)
}

fn due() -> impl Strategy<Value = DueRule> {
    let lookback = || prop_oneof![Just(0u32), any::<u32>()];
    prop_oneof![
        (
            proptest::collection::vec(name(), 0..4),
            any::<[u16; 3]>(),
            lookback()
        )
            .prop_map(
                |(latest_of, [years, months, days], lookback_days)| DueRule::After {
                    latest_of,
                    years,
                    months,
                    days,
                    lookback_days
                }
            ),
        (name(), any::<u16>(), lookback()).prop_map(|(date, days, lookback_days)| DueRule::Before {
            date,
            days,
            lookback_days
        }),
        (name(), any::<u16>(), lookback()).prop_map(|(date, days_before, lookback_days)| {
            DueRule::Anniversary {
                date,
                days_before,
                lookback_days,
            }
        }),
        (name(), any::<[u32; 2]>()).prop_map(|(instant, [from_hours, to_hours])| DueRule::HoursAfter {
            instant,
            from_hours,
            to_hours
        }),
        (name(), any::<[u32; 3]>()).prop_map(|(instant, [from_hours, to_hours, late_from_hours])| {
            DueRule::HoursBefore {
                instant,
                from_hours,
                to_hours,
                late_from_hours,
            }
        }),
        ".{0,6}".prop_map(|word| DueRule::Season { word }),
        (name(), any::<f64>()).prop_map(|(number, at_least)| DueRule::Reached { number, at_least }),
        (name(), proptest::option::of(name()), any::<f64>())
            .prop_map(|(number, since, step)| DueRule::Crossed { number, since, step }),
        (name(), any::<[u16; 2]>()).prop_map(|(date, [every_days, parts])| DueRule::Series {
            date,
            every_days,
            parts
        }),
    ]
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<bool>().prop_map(Literal::Flag),
        any::<f64>().prop_map(Literal::Number),
        date().prop_map(|date| Literal::Text(date.to_string())),
        instant().prop_map(|instant| Literal::Text(instant.to_string())),
        ".{0,8}".prop_map(Literal::Text),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let operator = proptest::sample::select(Operator::ALL);
    let operands = (
        proptest::option::of(literal()),
        proptest::collection::vec(literal(), 0..3),
        proptest::option::of(any::<u32>()),
    );
    (name(), operator, operands, any::<bool>()).prop_map(|(column, is, (value, values, days), optional)| {
        Condition {
            column,
            is,
            value,
            values,
            days,
            optional,
        }
    })
}

fn definition() -> impl Strategy<Value = Definition> {
    (due(), proptest::collection::vec(condition(), 0..3)).prop_map(|(due, conditions)| {
        let mut definition = super::campaign("equipment", r#"rule = "season", word = "now""#, "");
        definition.due = due;
        definition.conditions = conditions;
        for name in NAMES
            .iter()
            .chain(&["customer_name", "equipment_label", "due_on", "years", "mark"])
        {
            definition
                .context
                .insert((*name).to_owned(), ContextSource::Name((*name).to_owned()));
        }
        definition
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn whatever_there_is_has_an_answer(
        definition in definition(),
        cells in proptest::collection::vec(cell(), 4),
        zone in zone(),
        window in window(),
    ) {
        let row = row_of(NAMES.into_iter().zip(cells).collect());
        let answer = assess(&definition, &row, &zone, &window);
        let steps = assess_all(&definition, &row, &zone, &window);
        prop_assert_eq!(steps.len(), 1 + definition.conditions.len());
        let first_no = steps.iter().find(|step| !matches!(step.outcome, StepOutcome::Met | StepOutcome::Skipped));
        match &answer {
            Assessment::Due(due) => {
                prop_assert!(first_no.is_none());
                prop_assert!(due.due_on.begins(&zone) <= window.as_of);
                let reference = source_reference(&definition.name, &row.key, &due.occurrence);
                prop_assert!(reference.chars().count() <= 500);
                let variables = context(&definition, &row, due).unwrap();
                prop_assert!(variables.contains_key("customer_name") && variables.contains_key("due_on"));
                due.expires_at(&definition, &zone, window.as_of);
            }
            Assessment::NotDue(not) => {
                let step = first_no.unwrap();
                prop_assert_eq!(&step.condition, &not.condition);
                prop_assert_eq!(step.outcome, StepOutcome::NotMet(not.code));
                if let Some(changes) = not.changes_at {
                    prop_assert!(changes.ends(&zone) >= window.as_of, "{:?}", not);
                }
            }
            Assessment::Malformed(malformed) => {
                let step = first_no.unwrap();
                prop_assert_eq!(step.outcome, StepOutcome::Malformed);
                prop_assert!(step.detail.starts_with(&malformed.column));
            }
        }
        bounds(&definition, &window);
        needs(&definition);
        let _ = definition.validate();
    }
}
