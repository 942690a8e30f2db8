//! Seasons, and numbers that have been reached.

use super::due::{Expect, check, due};
use super::{campaign, first_run, row};
use Expect::{Due as Is, Malformed as Bad, Not};
use NotDueCode::{NoValue, NotReached, Unmapped};
use tidings_core::campaign::NotDueCode;

#[test]
fn a_season_comes_once_a_year_in_every_zone() {
    let definition = campaign("customers", r#"rule = "season", word = "spring""#, "");
    for zone in ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"] {
        for (run, occurrence) in [
            ("2027-03-01T14:00:00Z", "spring-2027"),
            ("2028-01-01T00:00:00Z", "spring-2028"),
            ("2027-12-31T23:00:00Z", "spring-2027"),
        ] {
            assert_eq!(
                due(&definition, &row(&[]), zone, &first_run(run)).occurrence,
                occurrence
            );
        }
    }
}

#[test]
fn a_number_that_was_reached() {
    let definition = campaign(
        "equipment",
        r#"rule = "reached", number = "machine_hours", at_least = 20"#,
        "",
    );
    let run = first_run("2026-11-25T14:00:00Z");
    for (hours, expect) in [
        ("19.99", Not(NotReached, None)),
        ("-5", Not(NotReached, None)),
        ("20", Is("20")),
        ("5000", Is("20")),
        ("-", Not(NoValue, None)),
        ("many", Bad("machine_hours")),
        ("NaN", Bad("machine_hours")),
        ("inf", Bad("machine_hours")),
    ] {
        check(
            &definition,
            &row(&[("machine_hours", hours)]),
            "UTC",
            &run,
            &expect,
        );
    }
}

#[test]
fn each_further_mark_since_the_last_service() {
    let definition = campaign(
        "equipment",
        r#"rule = "crossed", number = "machine_hours", since = "then", step = 100"#,
        r#"
        [[related]]
        name = "then"
        table = "work_orders"
        by = "equipment_id"
        take = "latest"
        column = "machine_hours"
        optional = true
        "#,
    );
    let run = first_run("2026-11-25T14:00:00Z");
    for (hours, then, expect) in [
        ("99.9", "-", Not(NotReached, None)),
        ("100", "-", Is("100")),
        ("150", "95", Is("100")),
        ("150", "100", Not(NotReached, None)),
        ("150", "120", Not(NotReached, None)),
        ("210", "120", Is("200")),
        ("450", "120", Is("400")),
        ("50", "450", Not(NotReached, None)),
        ("-150", "-500", Not(NotReached, None)),
        ("-", "50", Not(NoValue, None)),
        ("150", "!", Bad("then")),
        ("1e300", "-", Is("1e300")),
    ] {
        let row = row(&[("machine_hours", hours), ("then", then)]);
        check(&definition, &row, "UTC", &run, &expect);
    }
    check(
        &definition,
        &row(&[("machine_hours", "100")]),
        "UTC",
        &run,
        &Is("100"),
    );
}

#[test]
fn a_number_at_the_last_service_that_is_not_optional_must_be_mapped() {
    let definition = campaign(
        "equipment",
        r#"rule = "crossed", number = "machine_hours", since = "then", step = 100"#,
        r#"
        [[related]]
        name = "then"
        table = "work_orders"
        by = "equipment_id"
        take = "latest"
        column = "machine_hours"
        "#,
    );
    let run = first_run("2026-11-25T14:00:00Z");
    let hours = ("machine_hours", "150");
    check(&definition, &row(&[hours]), "UTC", &run, &Not(Unmapped, None));
    check(
        &definition,
        &row(&[hours, ("then", "-")]),
        "UTC",
        &run,
        &Is("100"),
    );
}
