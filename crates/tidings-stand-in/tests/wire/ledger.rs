//! The ledger's file: what was answered is there after any end.

use super::{options, provider};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidings_core::ProviderKind;
use tidings_providers::{Lookup, SendOutcome, samples};
use tidings_stand_in::{Query, StandIn, StartError, Vendor};

const LIMIT: Duration = Duration::from_secs(5);

/// A file's place that goes with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.jsonl", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    async fn start(&self) -> Result<StandIn, StartError> {
        let mut options = options();
        options.ledger = Some(self.0.clone());
        StandIn::start(options).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_stand_in_begins_where_the_last_one_ended() {
    let place = Place::new("restart");
    let first = place.start().await.unwrap();
    let mut sandbox = provider(&first, ProviderKind::Sandbox, &json!({}), LIMIT);
    let submission = samples::email("bob@example.com");
    let outcome = sandbox.send(&submission).await;
    // Not stopped in order: what was answered is on the disk already.
    std::mem::forget(first);
    let second = place.start().await.unwrap();
    assert_eq!(second.ledger().summary().accepted, 1);
    sandbox = provider(&second, ProviderKind::Sandbox, &json!({}), LIMIT);
    assert!(matches!(
        sandbox.lookup(&submission.reference).await,
        Lookup::Found { .. }
    ));
    assert_eq!(sandbox.send(&submission).await, outcome);
    let summary = second.ledger().summary();
    assert_eq!(
        (summary.accepted, summary.replayed, summary.duplicates),
        (1, 1, 0)
    );
    assert_eq!(second.ledger().entries(&Query::default())[1].seq, 2);
}

#[tokio::test]
async fn a_torn_line_was_never_answered_and_a_damaged_one_is_named() {
    let place = Place::new("torn");
    let first = place.start().await.unwrap();
    provider(&first, ProviderKind::Sendgrid, &json!({}), LIMIT)
        .send(&samples::email("bob@example.com"))
        .await;
    first.stop().await;
    let whole = std::fs::read_to_string(&place.0).unwrap();
    std::fs::write(&place.0, format!("{whole}{{\"seq\": 2, \"vend")).unwrap();
    let second = place.start().await.unwrap();
    assert_eq!(second.ledger().summary().accepted, 1);
    second.stop().await;
    assert_eq!(std::fs::read_to_string(&place.0).unwrap(), whole);
    std::fs::write(&place.0, format!("{{\"seq\": 2}}\n{whole}")).unwrap();
    let error = place.start().await.unwrap_err().to_string();
    assert!(error.contains("damaged in line 1"), "{error}");
}

#[tokio::test]
async fn many_callers_at_once_are_all_counted() {
    let place = Place::new("many");
    let stand_in = place.start().await.unwrap();
    let sendgrid = provider(&stand_in, ProviderKind::Sendgrid, &json!({}), LIMIT);
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..100 {
        let sendgrid = sendgrid.clone();
        let mut submission = samples::email("bob@example.com");
        submission.reference = format!("d{}", number % 90);
        calls.spawn(async move { matches!(sendgrid.send(&submission).await, SendOutcome::Accepted { .. }) });
    }
    assert!(calls.join_all().await.into_iter().all(|accepted| accepted));
    stand_in.stop().await;
    let again = place.start().await.unwrap();
    let summary = again.ledger().summary();
    assert_eq!((summary.accepted, summary.duplicates), (100, 10));
    assert_eq!(again.ledger().count(Vendor::Sendgrid, "d3"), 2);
    again.ledger().clear().await.unwrap();
    assert_eq!(std::fs::metadata(&place.0).unwrap().len(), 0);
}
