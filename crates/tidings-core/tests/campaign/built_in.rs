//! The fifteen campaigns: what they say, that each finds its rows, and how a tenant changes them.

use super::{at, customer, first_run, place, row};
use serde_json::Value;
use std::collections::BTreeSet;
use tidings_core::campaign::{
    Assessment, Cadence, Definition, DefinitionOverrides, Row, assess, bounds, built_in, built_in_named,
    context,
};
use tidings_core::{Category, Channel, Urgency};

fn named(name: &str) -> &'static Definition {
    built_in_named(name).unwrap()
}

#[test]
fn there_are_fifteen_with_names_of_their_own() {
    let names: BTreeSet<&str> = built_in().iter().map(|one| one.name.as_str()).collect();
    assert_eq!((built_in().len(), names.len()), (15, 15));
    assert_eq!(built_in_named("nothing"), None);
}

#[test]
fn they_survive_being_written_and_read() {
    for definition in built_in() {
        let written = toml::to_string(definition).unwrap();
        assert_eq!(
            &toml::from_str::<Definition>(&written).unwrap(),
            definition,
            "{written}"
        );
        let json = serde_json::to_value(definition).unwrap();
        assert_eq!(&serde_json::from_value::<Definition>(json).unwrap(), definition);
    }
}

#[test]
fn categories_urgencies_and_hours_are_those_of_the_documentation() {
    use Category::{Marketing, Service, Transactional};
    let hour = |definition: &Definition| match &definition.schedule {
        Cadence::Day { hour_utc, hour_env }
        | Cadence::Year {
            hour_utc, hour_env, ..
        } => {
            format!("{hour_utc} {}", hour_env.as_deref().unwrap_or("-"))
        }
        Cadence::Days {
            days,
            hour_utc,
            days_env,
            ..
        } => {
            format!("{hour_utc} {} {days}", days_env.as_deref().unwrap_or("-"))
        }
        Cadence::Interval {
            interval_ms,
            interval_env,
        } => {
            format!("{interval_ms} {}", interval_env.as_deref().unwrap_or("-"))
        }
    };
    let expected = [
        (
            "seven_day_checkin",
            Service,
            Urgency::Normal,
            "14 SEVEN_DAY_CHECKIN_HOUR_UTC",
        ),
        (
            "post_service_survey",
            Service,
            Urgency::Normal,
            "15 POST_SERVICE_SURVEY_HOUR_UTC",
        ),
        (
            "annual_tuneup",
            Service,
            Urgency::Normal,
            "14 ANNUAL_TUNEUP_HOUR_UTC",
        ),
        (
            "anniversary_offer",
            Marketing,
            Urgency::Normal,
            "14 ANNIVERSARY_OFFER_HOUR_UTC",
        ),
        (
            "service_reminder",
            Service,
            Urgency::Normal,
            "14 SERVICE_REMINDER_HOUR_UTC",
        ),
        (
            "appointment_confirmation",
            Transactional,
            Urgency::High,
            "3600000 APPOINTMENT_CONFIRMATION_INTERVAL_MS",
        ),
        (
            "invoice_reminder",
            Transactional,
            Urgency::Normal,
            "13 INVOICE_REMINDER_HOUR_UTC",
        ),
        (
            "seasonal_reminder_spring",
            Marketing,
            Urgency::Normal,
            "14 SEASONAL_REMINDER_HOUR_UTC",
        ),
        (
            "seasonal_reminder_fall",
            Marketing,
            Urgency::Normal,
            "14 SEASONAL_REMINDER_HOUR_UTC",
        ),
        (
            "winback_missed_you",
            Marketing,
            Urgency::Normal,
            "14 WINBACK_INTERVAL_DAYS 7",
        ),
        (
            "warranty_expiration",
            Service,
            Urgency::Normal,
            "14 WARRANTY_EXPIRATION_HOUR_UTC",
        ),
        (
            "trade_in_alert",
            Marketing,
            Urgency::Normal,
            "14 TRADE_IN_INTERVAL_DAYS 30",
        ),
        (
            "first_service_alert",
            Service,
            Urgency::Normal,
            "14 FIRST_SERVICE_ALERT_HOUR_UTC",
        ),
        (
            "usage_service_alert",
            Service,
            Urgency::Normal,
            "14 USAGE_SERVICE_ALERT_HOUR_UTC",
        ),
        ("educational_content", Marketing, Urgency::Low, "14 - 7"),
    ];
    for (definition, (name, category, urgency, runs)) in built_in().iter().zip(expected) {
        let found = (
            definition.name.as_str(),
            definition.category,
            definition.urgency,
            hour(definition),
        );
        assert_eq!(found, (name, category, urgency, runs.to_owned()));
        let message_type = if name.starts_with("seasonal") {
            "seasonal_reminder"
        } else {
            name
        };
        assert_eq!(definition.message_type.as_str(), message_type);
    }
    assert_eq!(named("appointment_confirmation").channel, Some(Channel::Sms));
    assert_eq!(named("invoice_reminder").channel, Some(Channel::Email));
    assert_eq!(
        named("seasonal_reminder_fall").flag.as_deref(),
        Some("ENABLE_SEASONAL_REMINDERS")
    );
    assert_eq!(
        named("winback_missed_you").setting.as_deref(),
        Some("winback_enabled")
    );
}

/// A row that is due, and one like it that is not.
struct Sample {
    campaign: &'static str,
    run: &'static str,
    due: &'static [(&'static str, &'static str)],
    occurrence: &'static str,
    not: &'static [(&'static str, &'static str)],
    context: &'static str,
}

const MACHINE: (&str, &str) = ("equipment_make", "Toro");

const SAMPLES: &[Sample] = &[
    Sample {
        campaign: "seven_day_checkin",
        run: "2026-11-25T14:00:00Z",
        due: &[("date_sold", "2026-11-18"), MACHINE],
        occurrence: "2026-11-18",
        not: &[("date_sold", "2026-11-17"), MACHINE],
        context: r#"{"customer_name":"Kim","equipment":"Toro","date_sold":"2026-11-18"}"#,
    },
    Sample {
        campaign: "post_service_survey",
        run: "2026-11-25T15:00:00Z",
        due: &[
            ("picked_up_at", "2026-11-23T10:00:00Z"),
            ("work_order_number", "W-9"),
            MACHINE,
        ],
        occurrence: "2026-11-23T10:00:00Z",
        not: &[("picked_up_at", "2026-11-22T10:00:00Z")],
        context: r#"{"customer_name":"Kim","equipment":"Toro","work_order_number":"W-9","picked_up_on":"2026-11-23T10:00:00Z"}"#,
    },
    Sample {
        campaign: "annual_tuneup",
        run: "2026-11-25T14:00:00Z",
        due: &[("date_sold", "2023-12-09"), MACHINE],
        occurrence: "2026",
        not: &[("date_sold", "2026-12-09"), MACHINE],
        context: r#"{"customer_name":"Kim","equipment":"Toro","years":3,"anniversary_on":"2026-12-09"}"#,
    },
    Sample {
        campaign: "anniversary_offer",
        run: "2026-11-25T14:00:00Z",
        due: &[("date_sold", "2023-12-02"), MACHINE],
        occurrence: "2026",
        not: &[("date_sold", "2023-12-09"), MACHINE],
        context: r#"{"customer_name":"Kim","equipment":"Toro","years":3,"anniversary_on":"2026-12-02"}"#,
    },
    Sample {
        campaign: "service_reminder",
        run: "2026-11-25T14:00:00Z",
        due: &[
            ("date_sold", "2020-01-01"),
            ("last_customer_service_at", "2024-06-01T10:00:00Z"),
        ],
        occurrence: "2024-06-01",
        not: &[
            ("date_sold", "2020-01-01"),
            ("last_service_at", "2025-06-01T10:00:00Z"),
        ],
        context: r#"{"customer_name":"Kim","last_service_on":"2024-06-01T10:00:00Z"}"#,
    },
    Sample {
        campaign: "appointment_confirmation",
        run: "2026-11-25T10:00:00Z",
        due: &[
            ("appointment_id", "55"),
            ("starts_at", "2026-11-26T10:30:00Z"),
            ("status", "booked"),
            MACHINE,
        ],
        occurrence: "2026-11-26T10:30:00Z",
        not: &[("starts_at", "2026-11-26T10:30:00Z"), ("status", "Cancelled")],
        context: r#"{"customer_name":"Kim","equipment":"Toro","appointment_id":55,"starts_at":"2026-11-26T10:30:00Z"}"#,
    },
    Sample {
        campaign: "invoice_reminder",
        run: "2026-11-25T13:00:00Z",
        due: &[
            ("due_date", "2026-10-01"),
            ("amount_due", "120.5"),
            ("invoice_number", "R-1"),
            ("currency", "EUR"),
            ("paid_at", "-"),
        ],
        occurrence: "2026-10-01",
        not: &[
            ("due_date", "2026-10-01"),
            ("amount_due", "0"),
            ("invoice_number", "R-1"),
        ],
        context: r#"{"customer_name":"Kim","invoice_number":"R-1","amount_due":120.5,"due_on":"2026-10-01","currency":"EUR","days_past_due":55}"#,
    },
    Sample {
        campaign: "seasonal_reminder_spring",
        run: "2027-03-01T14:00:00Z",
        due: &[("machines", "2")],
        occurrence: "spring-2027",
        not: &[("machines", "0")],
        context: r#"{"customer_name":"Kim","season":"spring"}"#,
    },
    Sample {
        campaign: "seasonal_reminder_fall",
        run: "2027-10-01T14:00:00Z",
        due: &[("machines", "1")],
        occurrence: "fall-2027",
        not: &[("machines", "0")],
        context: r#"{"customer_name":"Kim","season":"fall"}"#,
    },
    Sample {
        campaign: "winback_missed_you",
        run: "2026-11-26T14:00:00Z",
        due: &[
            ("last_work_order_at", "2025-10-01T10:00:00Z"),
            ("last_pick_up_at", "2025-10-03T10:00:00Z"),
            ("last_machine_sold_on", "2022-05-05"),
        ],
        occurrence: "2025-10-03",
        not: &[
            ("last_work_order_at", "2025-10-01T10:00:00Z"),
            ("last_machine_sold_on", "2026-05-05"),
        ],
        context: r#"{"customer_name":"Kim","last_visit_on":"2025-10-03"}"#,
    },
    Sample {
        campaign: "warranty_expiration",
        run: "2026-11-25T14:00:00Z",
        due: &[("warranty_end_date", "2026-12-25"), MACHINE],
        occurrence: "2026-12-25",
        not: &[("warranty_end_date", "2026-12-24"), MACHINE],
        context: r#"{"customer_name":"Kim","equipment":"Toro","warranty_end_on":"2026-12-25","days_left":30}"#,
    },
    Sample {
        campaign: "trade_in_alert",
        run: "2026-11-25T14:00:00Z",
        due: &[("date_sold", "2016-04-01"), ("repairs", "4"), MACHINE],
        occurrence: "2016-04-01",
        not: &[("date_sold", "2016-04-01"), ("repairs", "2"), MACHINE],
        context: r#"{"customer_name":"Kim","equipment":"Toro","years_owned":10,"repairs":4}"#,
    },
    Sample {
        campaign: "first_service_alert",
        run: "2026-11-25T14:00:00Z",
        due: &[("machine_hours", "21.5"), MACHINE],
        occurrence: "20",
        not: &[("machine_hours", "19"), MACHINE],
        context: r#"{"customer_name":"Kim","equipment":"Toro","machine_hours":21.5}"#,
    },
    Sample {
        campaign: "usage_service_alert",
        run: "2026-11-25T14:00:00Z",
        due: &[
            ("machine_hours", "310"),
            ("hours_at_last_service", "250"),
            MACHINE,
        ],
        occurrence: "300",
        not: &[
            ("machine_hours", "310"),
            ("hours_at_last_service", "301"),
            MACHINE,
        ],
        context: r#"{"customer_name":"Kim","equipment":"Toro","machine_hours":310,"mark_hours":300}"#,
    },
    Sample {
        campaign: "educational_content",
        run: "2026-11-26T14:00:00Z",
        due: &[("date_sold", "2026-11-12"), MACHINE],
        occurrence: "2",
        not: &[("date_sold", "2026-11-20"), MACHINE],
        context: r#"{"customer_name":"Kim","equipment":"Toro","part":2}"#,
    },
];

fn of(cells: &[(&str, &str)]) -> Row {
    Row {
        customer: Some(customer(&[("first_name", "Kim"), ("last_name", "Lee")])),
        ..row(cells)
    }
}

#[test]
fn each_finds_its_row_leaves_the_other_and_knows_what_to_say() {
    assert_eq!(SAMPLES.len(), built_in().len());
    for (sample, definition) in SAMPLES.iter().zip(built_in()) {
        let name = sample.campaign;
        assert_eq!(definition.name.as_str(), name);
        let (window, zone) = (first_run(sample.run), place("UTC"));
        let row = of(sample.due);
        let Assessment::Due(due) = assess(definition, &row, &zone, &window) else {
            panic!("{name}: {:?}", assess(definition, &row, &zone, &window));
        };
        assert_eq!(due.occurrence, sample.occurrence, "{name}");
        let context = context(definition, &row, &due).map(Value::Object);
        assert_eq!(
            context,
            Ok(serde_json::from_str(sample.context).unwrap()),
            "{name}"
        );
        let not = assess(definition, &of(sample.not), &zone, &window);
        assert!(matches!(not, Assessment::NotDue(_)), "{name}: {not:?}");
    }
}

#[test]
fn all_but_the_seasons_let_the_source_leave_rows_out() {
    for definition in built_in() {
        let narrow = !bounds(definition, &first_run("2026-11-25T14:00:00Z")).is_empty();
        let by_relation = [
            "seasonal_reminder_spring",
            "seasonal_reminder_fall",
            "winback_missed_you",
        ];
        assert_eq!(
            narrow,
            !by_relation.contains(&definition.name.as_str()),
            "{}",
            definition.name
        );
    }
}

#[test]
fn a_tenant_changes_some_fields_and_keeps_the_rest() {
    let definition = named("invoice_reminder");
    let none: DefinitionOverrides = toml::from_str("").unwrap();
    assert_eq!(&definition.with(none), definition);

    let overrides: DefinitionOverrides = toml::from_str(
        r#"
        enabled = false
        approval = true
        content = "ai"
        urgency = "high"
        expires_after_hours = 24
        schedule = { every = "day", hour_utc = 9 }
        due = { rule = "after", latest_of = ["due_date"], days = 45 }
        extra_conditions = [{ column = "customer.country", is = "equal", value = "AT" }]
        [context]
        phone = { value = "+43 1 23" }
        currency = { value = "EUR" }
        "#,
    )
    .unwrap();
    let changed = definition.with(overrides);
    assert_eq!(changed.validate(), Ok(()));
    assert!(!changed.enabled && changed.approval);
    assert_eq!(changed.urgency, Urgency::High);
    assert_eq!(changed.channel, Some(Channel::Email));
    assert_eq!(changed.conditions.len(), definition.conditions.len() + 1);
    assert_eq!(changed.context.len(), definition.context.len() + 1);
    assert_ne!(changed.context["currency"], definition.context["currency"]);
    assert_eq!(
        (changed.name, changed.related),
        (definition.name.clone(), definition.related.clone())
    );

    let replaced = definition.with(toml::from_str("conditions = []").unwrap());
    assert_eq!(replaced.conditions, []);
    assert!(toml::from_str::<DefinitionOverrides>("hour = 9").is_err());
}

#[test]
fn a_card_of_the_calendar_shows_when_each_runs_next() {
    use tidings_core::campaign::cadence::next;
    let now = at("2026-11-25T14:30:00Z");
    let runs = |name: &str| next(&named(name).schedule, now).unwrap();
    assert_eq!(runs("seven_day_checkin"), at("2026-11-26T14:00:00Z"));
    assert_eq!(runs("appointment_confirmation"), at("2026-11-25T15:00:00Z"));
    assert_eq!(runs("seasonal_reminder_spring"), at("2027-03-01T14:00:00Z"));
    assert_eq!(runs("seasonal_reminder_fall"), at("2027-10-01T14:00:00Z"));
    assert_eq!(runs("winback_missed_you"), at("2026-11-26T14:00:00Z"));
}

/// The documentation stands in the same repository, so it is held to what is there.
const PAGE: &str = include_str!("../../../../docs/campaigns.md");

#[test]
fn the_documented_campaign_is_a_good_one_and_so_are_the_documented_changes() {
    let blocks: Vec<&str> = PAGE
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    let [whole, changes] = blocks.as_slice() else {
        panic!("{} blocks of TOML", blocks.len());
    };
    let definition: Definition = toml::from_str(whole).unwrap();
    assert_eq!(definition.validate(), Ok(()));
    assert_eq!(
        named("invoice_reminder")
            .with(toml::from_str(changes).unwrap())
            .validate(),
        Ok(())
    );
}

#[test]
fn the_documented_table_lists_every_campaign_as_it_is() {
    for definition in built_in() {
        let row = format!("| `{}` | `{}` | ", definition.name, definition.from);
        let line = PAGE
            .lines()
            .find(|line| line.starts_with(&row))
            .unwrap_or_else(|| panic!("no row {row}"));
        assert!(line.contains(&format!("| {} | ", definition.category)), "{line}");
        let variable = match &definition.schedule {
            Cadence::Day { hour_env, .. } | Cadence::Year { hour_env, .. } => hour_env,
            Cadence::Days { days_env, .. } => days_env,
            Cadence::Interval { interval_env, .. } => interval_env,
        };
        let documented = variable
            .as_ref()
            .is_none_or(|variable| line.contains(&format!("`{variable}`")));
        assert!(documented, "{line}");
    }
}

#[test]
fn the_documented_tables_list_every_column() {
    use tidings_core::campaign::{LogicalTable, table};
    for which in LogicalTable::ALL {
        let line = PAGE
            .lines()
            .find(|line| line.starts_with(&format!("| `{which}` | **")));
        for column in table(*which).columns {
            let shown = if column.required {
                format!("**`{}`**", column.name)
            } else {
                format!(" `{}`", column.name)
            };
            assert!(
                line.is_some_and(|line| line.contains(&shown)),
                "{which}.{}",
                column.name
            );
        }
    }
}
