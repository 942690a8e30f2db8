//! Rules of the core: segments, keywords, numbers, time zones.

use super::case::{Case, Verdict};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use std::path::Path;
use tidings_core::address::PhoneNumber;
use tidings_core::zone::{self, LocalInstant};
use tidings_core::{decide, keyword as core_keyword, sms};

pub fn segmentation(_: &Path, case: Case<'_>) -> Verdict {
    let counted = sms::segment(case.text("text").unwrap_or_default());
    let Some(expected) = case.get("expected").map(Case::new) else {
        return Verdict::Failed("the case has no expected".to_owned());
    };
    let accepted: Vec<i64> = case
        .get("accept_segments")
        .and_then(serde_json::Value::as_array)
        .map(|list| list.iter().filter_map(serde_json::Value::as_i64).collect())
        .unwrap_or_default();
    let segments = counted.segments as i64;
    let right = accepted.contains(&segments)
        || (accepted.is_empty() && expected.number("segments") == Some(segments));
    let encoding = expected
        .text("encoding")
        .is_none_or(|e| e == counted.encoding.to_string() || segments == 0);
    let units = expected
        .number("units")
        .is_none_or(|units| units == counted.units as i64);
    Verdict::of(right && encoding && units, || format!("counted {counted:?}"))
}

/// The map is Twilio's; how many blanks stand for a wide one is ours, so blanks are compared as one.
pub fn smart_encoding(_: &Path, case: Case<'_>) -> Verdict {
    let given = sms::smart_encode(case.text("text").unwrap_or_default());
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let encoding = sms::segment(&given).encoding.to_string();
    let right = case
        .text("smart_text")
        .is_none_or(|wanted| words(wanted) == words(&given))
        && case
            .text("encoding_with_smart")
            .is_none_or(|wanted| wanted == encoding);
    Verdict::of(right, || format!("made {given:?}, {encoding}"))
}

pub fn keyword(_: &Path, case: Case<'_>) -> Verdict {
    let given = core_keyword::classify(case.text("text").unwrap_or_default()).to_string();
    let accepted = case.list("expect");
    Verdict::of(accepted.contains(&given.as_str()), || {
        format!("read as {given}, should be one of {accepted:?}")
    })
}

pub fn phone(_: &Path, case: Case<'_>) -> Verdict {
    let parsed = PhoneNumber::parse(
        case.text("input").unwrap_or_default(),
        case.text("default_region"),
    );
    let Some(expected) = case.get("expected").map(Case::new) else {
        return Verdict::Failed("the case has no expected".to_owned());
    };
    let valid = expected
        .get("valid")
        .and_then(serde_json::Value::as_bool)
        .unwrap_or(false);
    let given = parsed.as_ref().ok().map(PhoneNumber::as_str);
    if valid {
        Verdict::of(given == expected.text("e164"), || format!("read as {given:?}"))
    } else {
        Verdict::of(given.is_none(), || format!("accepted as {given:?}"))
    }
}

fn zone_of(case: Case<'_>) -> Result<TimeZone, Verdict> {
    let name = case.text("zone").unwrap_or_default();
    zone::find(name).ok_or_else(|| Verdict::Failed(format!("the zone {name} is not known")))
}

fn instants(case: Case<'_>, name: &str) -> Vec<Timestamp> {
    case.list(name)
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
}

fn reading(text: Option<&str>) -> Result<DateTime, Verdict> {
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| Verdict::Failed("the local time cannot be read".to_owned()))
}

/// Both ways of ending early are verdicts.
fn either(result: Result<Verdict, Verdict>) -> Verdict {
    result.unwrap_or_else(|verdict| verdict)
}

pub fn local_to_utc(_: &Path, case: Case<'_>) -> Verdict {
    either((|| {
        let given = zone::local_to_utc(&zone_of(case)?, reading(case.text("local"))?);
        let (kind, found) = match given {
            LocalInstant::Normal(at) => ("normal", vec![at]),
            LocalInstant::Gap { before, after, .. } => ("gap", vec![before, after]),
            LocalInstant::Overlap { first, second } => ("overlap", vec![first, second]),
        };
        let wanted = instants(case, "utc");
        Ok(Verdict::of(
            case.text("kind") == Some(kind) && wanted == found,
            || format!("{kind} {found:?}"),
        ))
    })())
}

pub fn quiet_hours(_: &Path, case: Case<'_>) -> Verdict {
    either((|| {
        let zone = zone_of(case)?;
        let Some(now) = instants(case, "utc").first().copied() else {
            return Err(Verdict::Failed("utc cannot be read".to_owned()));
        };
        let window = case.text("window").unwrap_or_default();
        let (quiet, next) = decide::hours::quiet_hours(window, &zone, now)
            .map_err(|error| Verdict::Failed(error.to_string()))?;
        let right = case.get("quiet").and_then(serde_json::Value::as_bool) == Some(quiet)
            && instants(case, "next_allowed_utc")
                .first()
                .is_none_or(|wanted| *wanted == next);
        Ok(Verdict::of(right, || {
            format!("quiet {quiet}, next allowed {next}")
        }))
    })())
}

/// A daily time runs once: `LocalInstant::once` is the instant the scheduler uses.
pub fn daily_schedule(_: &Path, case: Case<'_>) -> Verdict {
    either((|| {
        let zone = zone_of(case)?;
        let text = format!(
            "{}T{}",
            case.text("local_date").unwrap_or_default(),
            case.text("local_time").unwrap_or_default()
        );
        let at = zone::local_to_utc(&zone, reading(Some(&text))?).once();
        let once = case.number("must_run_exactly").is_none_or(|times| times == 1);
        Ok(Verdict::of(
            once && instants(case, "accept_utc").contains(&at),
            || format!("runs at {at}"),
        ))
    })())
}

/// Hours are exact; days and longer are calendar arithmetic in the zone. Both as documented for sequences.
pub fn calendar(_: &Path, case: Case<'_>) -> Verdict {
    either((|| {
        let zone = zone_of(case)?;
        let start = reading(case.text("start_local"))?;
        let op = case.text("op").unwrap_or_default();
        let at = shifted(op, &zone, start)
            .ok_or_else(|| Verdict::Skipped(format!("the operation {op:?} is not known")))?;
        Ok(Verdict::of(instants(case, "accept_utc").contains(&at), || {
            format!("{op} is {at}")
        }))
    })())
}

fn shifted(op: &str, zone: &TimeZone, start: DateTime) -> Option<Timestamp> {
    let op = op.to_ascii_lowercase();
    let words: Vec<&str> = op.split_whitespace().collect();
    let at = words
        .iter()
        .position(|word| word.trim_start_matches(['+', '-']).parse::<i64>().is_ok())?;
    let back = words.contains(&"before") || words.contains(&"earlier") || words[at].starts_with('-');
    let count: i64 = words[at].trim_start_matches(['+', '-']).parse().ok()?;
    let count = if back { -count } else { count };
    let local = |span: Span| Some(zone::local_to_utc(zone, start.checked_add(span).ok()?).once());
    match words.get(at + 1)?.trim_end_matches('s') {
        "h" | "hour" => zone::local_to_utc(zone, start)
            .once()
            .checked_add(SignedDuration::from_hours(count))
            .ok(),
        "min" | "minute" => zone::local_to_utc(zone, start)
            .once()
            .checked_add(SignedDuration::from_mins(count))
            .ok(),
        "d" | "day" => local(Span::new().try_days(count).ok()?),
        "week" => local(Span::new().try_weeks(count).ok()?),
        "month" => local(Span::new().try_months(count).ok()?),
        "year" => local(Span::new().try_years(count).ok()?),
        _ => None,
    }
}

pub fn zone_id(_: &Path, case: Case<'_>) -> Verdict {
    let known = zone::find(case.text("input").unwrap_or_default()).is_some();
    match case.get("valid") {
        Some(serde_json::Value::Bool(valid)) => Verdict::of(known == *valid, || format!("known: {known}")),
        // "reject_or_map": either is right.
        _ => Verdict::Passed,
    }
}

pub fn fresh_tzdb(_: &Path, case: Case<'_>) -> Verdict {
    either((|| {
        let zone = zone_of(case)?;
        let Some(at) = instants(case, "utc").first().copied() else {
            return Err(Verdict::Failed("utc cannot be read".to_owned()));
        };
        let minutes = i64::from(zone.to_offset(at).seconds() / 60);
        let local = zone.to_datetime(at).to_string();
        let right = case.number("offset_minutes").is_none_or(|m| m == minutes)
            && case.text("local").is_none_or(|wanted| wanted == local);
        let quiet = case.get("quiet_21_08").and_then(serde_json::Value::as_bool);
        let found = decide::hours::quiet_hours("21:00-08:00", &zone, at)
            .map(|(quiet, _)| quiet)
            .ok();
        Ok(Verdict::of(right && (quiet.is_none() || quiet == found), || {
            format!("{local}, {minutes} minutes")
        }))
    })())
}
