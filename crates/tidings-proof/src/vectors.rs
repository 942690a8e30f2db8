//! Verification vectors through the real verifiers and parsers: each failure by name, then the counts.

use crate::unsubscribe;
use anyhow::{Result, ensure};
use serde_json::json;
use std::path::Path;
use tidings_ai::{ModelAnswer, ModelKind};
use tidings_providers::Rejection;
use tidings_providers::classify::Verdict;
use tidings_providers::vectors::{Answer, Elsewhere, run_with};

/// Runs the folder; prints failures and skipped kinds, then `{"passed":..,"failed":..,"skipped":..}`. Returns
/// how many failed.
///
/// `database_url` leads to an empty database for the cases that need the HTTP face; without one they are skipped.
pub async fn run(dir: &Path, database_url: Option<&str>, talk: bool) -> Result<usize> {
    ensure!(dir.is_dir(), "{} is not a folder of vectors", dir.display());
    let verdicts = match database_url {
        Some(url) => unsubscribe::run(url, dir).await?,
        None => unsubscribe::Verdicts::new(),
    };
    let elsewhere = Elsewhere {
        unsubscribe: &|_, case| verdicts.get(&case.to_string()).cloned().flatten(),
        classify: &classify_model,
    };
    let report = run_with(dir, elsewhere);
    for name in &report.failed {
        println!("failed: {name}");
    }
    if talk {
        for name in &report.skipped {
            println!("skipped: {name}");
        }
    }
    println!(
        "{}",
        json!({ "passed": report.passed, "failed": report.failed.len(), "skipped": report.skipped.len() })
    );
    Ok(report.failed.len())
}

/// Classes an answer of a language model's endpoint, as the crate that talks to it does.
fn classify_model(name: &str, answer: &Answer) -> Option<Verdict> {
    let kind = match name {
        "openai" => ModelKind::Openai,
        "anthropic" => ModelKind::Anthropic,
        _ => return None,
    };
    let answer = ModelAnswer {
        status: answer.status,
        headers: answer.headers.clone(),
        body: answer.body.clone(),
        cut: false,
    };
    Some(match tidings_ai::classify(kind, &answer) {
        None => Verdict::Success,
        Some(failure) => Verdict::No(Rejection {
            category: failure.category,
            code: failure.code,
            detail: failure.detail,
            retry_after: failure.retry_after,
            effect: None,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_the_http_face_is_skipped_without_it() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tidings-providers/tests/vectors");
        let elsewhere = Elsewhere {
            unsubscribe: &|_, _| None,
            classify: &classify_model,
        };
        let report = run_with(&shipped, elsewhere);
        assert_eq!(report.failed, Vec::<String>::new());
        assert!(
            report
                .skipped
                .iter()
                .all(|case| case.starts_with("list_unsubscribe")),
            "{:?}",
            report.skipped
        );
        assert!(report.passed >= 120, "only {} passed", report.passed);
    }
}
