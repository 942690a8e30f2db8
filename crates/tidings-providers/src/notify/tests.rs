//! Notifiers against real sockets.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::{Note, Notify, PagerDuty, Slack, pagerduty, slack};
use crate::contract::SendOutcome;
use crate::egress::{Egress, EgressPolicy};
use crate::stand_in::http::{Behaviour, HttpStandIn, Reply};
use rstest::rstest;
use secrecy::SecretString;
use std::time::Duration;
use tidings_core::ErrorCategory;
use tidings_core::alert::{NotifyEvent, Severity};

const KEY: &str = "0123456789abcdef0123456789ABCDEF";

fn note(event: NotifyEvent) -> Note {
    Note {
        event,
        dedup_key: "tidings-1".to_owned(),
        tenant: "acme".to_owned(),
        rule: "delivery_rate".to_owned(),
        subject: "smtp".to_owned(),
        severity: Severity::High,
        detail: "71.0 % of <all> & sundry".to_owned(),
        opened_at: "2026-06-16T15:00:00Z".parse().unwrap(),
        source: "https://tidings.example".to_owned(),
    }
}

fn egress() -> Egress {
    Egress::new(EgressPolicy::for_stand_ins()).unwrap()
}

fn rejected(outcome: SendOutcome) -> (ErrorCategory, String, Option<Duration>) {
    match outcome {
        SendOutcome::Rejected(no) => (no.category, no.code, no.retry_after),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn pagerduty_is_told_by_the_same_key_twice() {
    let reply = Reply::json(
        202,
        r#"{"status":"success","message":"Event processed","dedup_key":"tidings-1"}"#,
    );
    let server = HttpStandIn::start(Behaviour::Answer(reply));
    let pager = PagerDuty::new(&egress(), SecretString::from(KEY), Some(&server.url())).unwrap();
    for event in [NotifyEvent::Trigger, NotifyEvent::Resolve] {
        assert!(matches!(
            pager.tell(&note(event)).await,
            SendOutcome::Accepted { .. }
        ));
    }
    let bodies: Vec<serde_json::Value> = server
        .received()
        .iter()
        .map(|got| {
            assert_eq!(got.line, "POST /v2/enqueue HTTP/1.1");
            serde_json::from_str(&got.body).unwrap()
        })
        .collect();
    assert_eq!(
        (
            bodies[0]["event_action"].as_str(),
            bodies[1]["event_action"].as_str()
        ),
        (Some("trigger"), Some("resolve"))
    );
    assert!(
        bodies
            .iter()
            .all(|body| body["dedup_key"] == "tidings-1" && body["routing_key"] == KEY)
    );
    assert_eq!(bodies[0]["payload"]["severity"], "error");
    assert!(!format!("{pager:?}").contains(KEY));
}

#[tokio::test]
async fn slack_is_told_in_words_that_cannot_be_markup() {
    let server = HttpStandIn::start(Behaviour::Answer(Reply::json(200, "ok")));
    let url = SecretString::from(format!("{}/services/T1/B2/s3cret", server.url()));
    let slack = Slack::new(&egress(), &url).unwrap();
    assert!(matches!(
        slack.tell(&note(NotifyEvent::Trigger)).await,
        SendOutcome::Accepted { .. }
    ));
    let got = server.received().remove(0);
    assert_eq!(got.line, "POST /services/T1/B2/s3cret HTTP/1.1");
    let body: serde_json::Value = serde_json::from_str(&got.body).unwrap();
    let text = body["text"].as_str().unwrap();
    assert!(
        text.starts_with("*high* acme: 71.0 % of &lt;all&gt; &amp; sundry"),
        "{text}"
    );
    assert!(!format!("{slack:?}").contains("s3cret"));
}

#[rstest]
#[case(200, "invalid_token", ErrorCategory::AuthFailure, "invalid_token")]
#[case(403, "action_prohibited", ErrorCategory::AuthFailure, "action_prohibited")]
#[case(404, "no_service", ErrorCategory::AuthFailure, "no_service")]
#[case(400, "invalid_payload", ErrorCategory::InvalidInput, "invalid_payload")]
#[case(200, "no_text", ErrorCategory::InvalidInput, "no_text")]
#[case(429, "", ErrorCategory::RateLimit, "429")]
#[case(500, "rollup_error", ErrorCategory::Transient, "500")]
#[case(503, "<html>", ErrorCategory::Transient, "503")]
#[case(418, "what", ErrorCategory::InvalidInput, "418")]
fn slacks_words_decide(
    #[case] status: u16,
    #[case] body: &str,
    #[case] category: ErrorCategory,
    #[case] code: &str,
) {
    let headers = [("retry-after".to_owned(), "30".to_owned())];
    let (found, said, wait) = rejected(slack::read(status, &headers, body.as_bytes()));
    assert_eq!(
        (found, said.as_str(), wait),
        (category, code, Some(Duration::from_secs(30)))
    );
}

#[test]
fn a_success_that_does_not_say_ok_is_unknown() {
    assert!(matches!(
        slack::read(200, &[], b"<html>"),
        SendOutcome::Unknown { .. }
    ));
}

#[rstest]
#[case(400, ErrorCategory::InvalidInput)]
#[case(403, ErrorCategory::AuthFailure)]
#[case(429, ErrorCategory::RateLimit)]
#[case(500, ErrorCategory::Transient)]
fn pagerdutys_status_decides(#[case] status: u16, #[case] category: ErrorCategory) {
    let body = br#"{"status":"invalid event","message":"Event object is invalid","errors":["'routing_key' is invalid"]}"#;
    let no = pagerduty::classify(status, &[], body).unwrap();
    assert_eq!(no.category, category);
    assert_eq!(no.detail, "Event object is invalid: 'routing_key' is invalid");
    assert_eq!(
        pagerduty::classify(status, &[], b"\xff").unwrap().detail,
        format!("PagerDuty answered {status}")
    );
}

#[tokio::test]
async fn silence_is_unknown_and_a_closed_port_is_not_sent() {
    let policy = EgressPolicy {
        total_timeout: Duration::from_millis(200),
        ..EgressPolicy::for_stand_ins()
    };
    let egress = Egress::new(policy).unwrap();
    let server = HttpStandIn::start(Behaviour::Silence);
    let pager = PagerDuty::new(&egress, SecretString::from(KEY), Some(&server.url())).unwrap();
    assert!(matches!(
        pager.tell(&note(NotifyEvent::Trigger)).await,
        SendOutcome::Unknown { .. }
    ));
    let nobody = format!("http://127.0.0.1:{}", crate::stand_in::closed_port());
    let pager = PagerDuty::new(&egress, SecretString::from(KEY), Some(&nobody)).unwrap();
    assert_eq!(
        rejected(pager.tell(&note(NotifyEvent::Trigger)).await).0,
        ErrorCategory::Transient
    );
}

#[test]
fn keys_and_addresses_are_checked_before_they_are_used() {
    for key in ["", "short", "0123456789abcdef0123456789abcde\n"] {
        let error = PagerDuty::new(&egress(), SecretString::from(key), None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("routing_key") && (key.is_empty() || !error.contains(key)),
            "{error}"
        );
    }
    let inside = SecretString::from("https://169.254.169.254/services/s3cret");
    let error = Slack::new(&egress(), &inside).unwrap_err().to_string();
    assert!(
        error.contains("webhook_url") && !error.contains("s3cret"),
        "{error}"
    );
}
