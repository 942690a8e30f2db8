//! Runs verification vectors through the real verifiers, parsers and rules.
//!
//! A folder holds one JSON file a kind (`twilio_signatures.json`, ...) and a folder `inbound_payloads`. What has no
//! verifier in this version is reported as skipped, by name, never as passed. Fields are read tolerantly, so that
//! files with more fields, or without optional ones, run too.

mod case;
mod errors;
mod inbound;
mod inbound_mail;
mod inbound_whatsapp;
mod mail;
mod rules;
mod signatures;

use crate::classify;
use case::{Case, Verdict};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// The largest file read.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct VectorReport {
    /// Cases that came out as they should.
    pub passed: usize,
    /// Cases that did not: file, case and what was wrong.
    pub failed: Vec<String>,
    /// Cases that nothing here can run: file, case and why.
    pub skipped: Vec<String>,
}

/// Runs one section of a file: the folder of the vectors, and the case.
type Runner = fn(&Path, Case<'_>) -> Verdict;

/// Nothing for a case that came out as it should, else what was wrong.
pub type Outcome = Result<(), String>;

/// What this crate may not know and whoever runs vectors passes in: both answer nothing for what they do not know.
#[derive(Clone, Copy)]
pub struct Elsewhere<'r> {
    /// Runs a case of the file `list_unsubscribe.json`, which needs the HTTP server: the section (`one_click`,
    /// `headers`) and the case.
    pub unsubscribe: &'r dyn Fn(&str, &Value) -> Option<Outcome>,
    /// Classes an answer of an endpoint that is no provider of messages, such as a language model's: its name, and the
    /// answer.
    pub classify: &'r dyn Fn(&str, &Answer) -> Option<classify::Verdict>,
}

/// An answer over HTTP. The names of its headers are in lower case.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// Runs every vector below a folder that this crate alone can run.
pub fn run(dir: &Path) -> VectorReport {
    let elsewhere = Elsewhere {
        unsubscribe: &|_, _| None,
        classify: &|_, _| None,
    };
    run_with(dir, elsewhere)
}

/// Runs every vector below a folder.
pub fn run_with(dir: &Path, elsewhere: Elsewhere<'_>) -> VectorReport {
    let mut report = VectorReport::default();
    for path in files(dir, &mut report) {
        let name = path
            .strip_prefix(dir)
            .unwrap_or(&path)
            .with_extension("")
            .to_string_lossy()
            .replace('\\', "/");
        match read(&path) {
            Ok(file) => run_file(dir, &name, &file, elsewhere, &mut report),
            Err(problem) => report.failed.push(format!("{name}: {problem}")),
        }
    }
    report
}

fn files(dir: &Path, report: &mut VectorReport) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in [dir.to_owned(), dir.join("inbound_payloads")] {
        match fs::read_dir(&folder) {
            Ok(entries) => found.extend(entries.flatten().map(|entry| entry.path())),
            Err(error) if folder == dir => report.failed.push(format!("{}: {error}", dir.display())),
            Err(_) => {}
        }
    }
    found.retain(|path| path.extension().is_some_and(|e| e == "json"));
    found.sort();
    found
}

fn read(path: &Path) -> Result<Value, String> {
    let size = fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MOST_BYTES {
        return Err("larger than 64 MiB".to_owned());
    }
    serde_json::from_slice(&fs::read(path).map_err(|e| e.to_string())?).map_err(|e| format!("not JSON: {e}"))
}

/// The runner of a section, or why there is none.
fn runner(file: &str, section: &str) -> Result<Runner, &'static str> {
    Ok(match (file, section) {
        ("twilio_signatures", "cases") => signatures::twilio,
        ("sendgrid_ecdsa", "cases") => signatures::sendgrid,
        ("sns_signatures", "cases") => signatures::sns,
        ("standard_webhooks_svix", "cases") => signatures::standard,
        ("standard_webhooks_sign", "cases") => signatures::standard_sign,
        ("meta_sha256", "cases") => signatures::meta,
        ("meta_sha256", "handshake") => signatures::meta_handshake,
        ("slack_signing", "cases") => signatures::slack,
        ("hubspot_signatures", "cases") => signatures::hubspot,
        ("error_classification", "twilio_status_callbacks") => errors::twilio_callback,
        ("error_classification", "smtp") => errors::smtp,
        ("dsn_bounces", "cases") => mail::bounce,
        ("inbound_payloads/twilio", "cases") => inbound::twilio,
        ("inbound_payloads/sendgrid_events", "cases") => inbound::sendgrid_events,
        ("inbound_payloads/whatsapp_cloud", "cases") => inbound_whatsapp::cloud,
        ("inbound_payloads/sendgrid_inbound_parse", "cases") => inbound::sendgrid_inbound,
        ("inbound_payloads/ses_sns", "cases") => inbound_mail::ses,
        ("inbound_payloads/resend", "cases") => inbound_mail::resend,
        ("sms_segmentation", "cases") => rules::segmentation,
        ("sms_segmentation", "smart_encoding") => rules::smart_encoding,
        ("e164", "cases") => rules::phone,
        ("optout_keywords", "cases") => rules::keyword,
        ("timezones", "local_to_utc") => rules::local_to_utc,
        ("timezones", "quiet_hours") => rules::quiet_hours,
        ("timezones", "daily_schedule") => rules::daily_schedule,
        ("timezones", "calendar") => rules::calendar,
        ("timezones", "zone_ids") => rules::zone_id,
        ("timezones", "fresh_tzdb") => rules::fresh_tzdb,
        _ => return Err("this kind of vector is not known to this version"),
    })
}

fn run_file(dir: &Path, name: &str, file: &Value, elsewhere: Elsewhere<'_>, report: &mut VectorReport) {
    for (section, cases) in sections(file) {
        for (at, value) in cases.iter().enumerate() {
            let case = Case::new(value);
            let id = case
                .text("id")
                .map_or_else(|| format!("{section}[{at}]"), str::to_owned);
            let verdict = run_case(dir, (name, section), value, elsewhere);
            let described = case
                .text("description")
                .map(|d| format!(" ({d})"))
                .unwrap_or_default();
            match verdict {
                Verdict::Passed => report.passed += 1,
                Verdict::Failed(why) => report.failed.push(format!("{name} {id}{described}: {why}")),
                Verdict::Skipped(why) => report.skipped.push(format!("{name} {id}{described}: {why}")),
            }
        }
    }
}

fn run_case(dir: &Path, (file, section): (&str, &str), value: &Value, elsewhere: Elsewhere<'_>) -> Verdict {
    let case = Case::new(value);
    let guarded = |run: &dyn Fn() -> Verdict| {
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Verdict::Failed("panicked".to_owned()))
    };
    match (file, section) {
        ("list_unsubscribe", section) => match (elsewhere.unsubscribe)(section, value) {
            Some(Ok(())) => Verdict::Passed,
            Some(Err(why)) => Verdict::Failed(why),
            None => Verdict::Skipped("needs the HTTP server".to_owned()),
        },
        ("error_classification", "http") => guarded(&|| errors::http(case, elsewhere.classify)),
        _ => match runner(file, section) {
            Err(why) => Verdict::Skipped(why.to_owned()),
            Ok(run) => guarded(&|| run(dir, case)),
        },
    }
}

/// The lists of cases in a file: lists at the top, and lists called `cases` one level down.
fn sections(file: &Value) -> BTreeMap<&str, &Vec<Value>> {
    let mut sections = BTreeMap::new();
    for (name, value) in file.as_object().into_iter().flatten() {
        let nested = value.get("cases").and_then(Value::as_array);
        if let Some(cases) = value.as_array().or(nested)
            && cases.iter().any(Value::is_object)
        {
            sections.insert(name.as_str(), cases);
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_vectors_pass() {
        let report = run(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"));
        assert_eq!(report.failed, Vec::<String>::new());
        assert!(report.passed >= 120, "only {} passed", report.passed);
        // Language models and the HTTP server are known to other crates.
        let ours: Vec<_> = report
            .skipped
            .iter()
            .filter(|case| {
                !["openai", "anthropic", "HTTP server"]
                    .iter()
                    .any(|word| case.contains(word))
            })
            .collect();
        assert!(ours.is_empty(), "{ours:?}");
    }

    #[test]
    fn a_folder_that_is_not_there_fails() {
        assert_eq!(run(Path::new("/nonexistent")).failed.len(), 1);
    }
}
