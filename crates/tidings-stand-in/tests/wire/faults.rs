//! Each fault brings the outcome that it should, and the ledger knows what was taken.

use super::{provider, stand_in, submission};
use rstest::rstest;
use serde_json::json;
use std::time::Duration;
use tidings_core::{ErrorCategory, ProviderKind};
use tidings_providers::{SendOutcome, samples};
use tidings_stand_in::{Fault, Rule, Vendor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Short, so that what never comes is not waited for.
const LIMIT: Duration = Duration::from_millis(600);

/// What a fault must become.
#[derive(Debug)]
enum Expect {
    Rejected(ErrorCategory),
    Unknown,
    /// A success that cannot be read: never a no.
    NeverNo,
}

fn every_fault() -> Vec<(Fault, Expect)> {
    use ErrorCategory::{AuthFailure, InvalidInput, Permanent, RateLimit, Transient};
    use Expect::{NeverNo, Rejected, Unknown};
    let location = "http://169.254.169.254/".to_owned();
    let limited = |bare| Fault::RateLimited {
        retry_after_s: Some(7),
        bare,
    };
    vec![
        (limited(false), Rejected(RateLimit)),
        (limited(true), Rejected(RateLimit)),
        (
            Fault::RateLimited {
                retry_after_s: None,
                bare: true,
            },
            Rejected(RateLimit),
        ),
        (Fault::ServerError, Rejected(Transient)),
        (Fault::HtmlError, Rejected(Transient)),
        (Fault::AuthFailure, Rejected(AuthFailure)),
        (Fault::InvalidInput, Rejected(InvalidInput)),
        (Fault::NoRecipient, Rejected(Permanent)),
        (Fault::OptedOut, Rejected(Permanent)),
        (Fault::Redirect { location }, Rejected(AuthFailure)),
        (Fault::ErrorInSuccess, Unknown),
        (Fault::TimeoutBeforeAccept, Unknown),
        (Fault::TimeoutAfterAccept, Unknown),
        (Fault::HalfClose, Unknown),
        (Fault::Reset, Unknown),
        (Fault::Garbage, Unknown),
        (Fault::Nonsense, NeverNo),
        (Fault::TruncatedChunk, NeverNo),
        (Fault::Drip, NeverNo),
        (Fault::Huge, NeverNo),
    ]
}

#[rstest]
#[case(ProviderKind::Sandbox)]
#[case(ProviderKind::Sendgrid)]
#[case(ProviderKind::Twilio)]
#[tokio::test]
async fn every_fault_has_its_class(#[case] kind: ProviderKind) {
    let stand_in = stand_in().await;
    let provider = provider(&stand_in, kind, &json!({}), LIMIT);
    for (nth, (fault, expect)) in every_fault().into_iter().enumerate() {
        let before = stand_in.ledger().summary().accepted;
        let accepts = u64::from(fault.accepts());
        stand_in.fault(Rule::always(fault.clone())).unwrap();
        let mut submission = submission(kind);
        submission.reference = format!("d{nth}");
        let outcome = provider.send(&submission).await;
        let right = match expect {
            Expect::Rejected(category) => {
                matches!(&outcome, SendOutcome::Rejected(no) if no.category == category)
            }
            Expect::Unknown => matches!(outcome, SendOutcome::Unknown { .. }),
            Expect::NeverNo => !matches!(outcome, SendOutcome::Rejected(_)),
        };
        assert!(right, "{kind}, {fault:?}: {outcome:?}, expected {expect:?}");
        if let (
            SendOutcome::Rejected(no),
            Fault::RateLimited {
                retry_after_s: Some(7),
                ..
            },
        ) = (&outcome, &fault)
        {
            assert_eq!(no.retry_after, Some(Duration::from_secs(7)), "{kind}");
        }
        assert_eq!(
            stand_in.ledger().summary().accepted - before,
            accepts,
            "{kind}, {fault:?}"
        );
        assert_eq!(stand_in.rules()[0].struck, 1, "{kind}, {fault:?}");
    }
}

#[tokio::test]
async fn a_mail_server_breaks_as_it_is_told() {
    let stand_in = stand_in().await;
    for (fault, category) in [
        (
            Fault::RateLimited {
                retry_after_s: None,
                bare: false,
            },
            Some(ErrorCategory::RateLimit),
        ),
        (Fault::ServerError, Some(ErrorCategory::Transient)),
        (Fault::HtmlError, Some(ErrorCategory::Transient)),
        (Fault::NoRecipient, Some(ErrorCategory::Permanent)),
        (Fault::TimeoutAfterAccept, None),
        (Fault::HalfClose, None),
        (Fault::Reset, None),
    ] {
        let provider = provider(&stand_in, ProviderKind::Smtp, &json!({}), LIMIT);
        let before = stand_in.ledger().summary().accepted;
        let accepts = u64::from(fault.accepts());
        stand_in.fault(Rule::always(fault.clone())).unwrap();
        let outcome = provider.send(&samples::email("bob@example.com")).await;
        let right = match category {
            Some(category) => matches!(&outcome, SendOutcome::Rejected(no) if no.category == category),
            None => matches!(outcome, SendOutcome::Unknown { .. }),
        };
        assert!(right, "{fault:?}: {outcome:?}");
        assert_eq!(
            stand_in.ledger().summary().accepted - before,
            accepts,
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_may_lie_about_what_was_taken() {
    let stand_in = stand_in().await;
    let provider = provider(&stand_in, ProviderKind::Sendgrid, &json!({}), LIMIT);
    let rule = Rule {
        accept: Some(true),
        ..Rule::always(Fault::HtmlError)
    };
    stand_in.fault(rule).unwrap();
    let outcome = provider.send(&submission(ProviderKind::Sendgrid)).await;
    assert!(matches!(&outcome, SendOutcome::Rejected(no) if no.category == ErrorCategory::Transient));
    assert_eq!(stand_in.ledger().summary().accepted, 1);
}

#[tokio::test]
async fn nobody_listens_for_a_while() {
    let stand_in = stand_in().await;
    let message = submission(ProviderKind::Sendgrid);
    let mut kept = TcpStream::connect(stand_in.address()).await.unwrap();
    let call = format!("GET /_health HTTP/1.1\r\nHost: {}\r\n\r\n", stand_in.address());
    kept.write_all(call.as_bytes()).await.unwrap();
    let mut answer = [0; 1_024];
    assert!(kept.read(&mut answer).await.unwrap() > 0);
    stand_in
        .refuse_for(Vendor::Sendgrid, Duration::from_millis(300))
        .await;
    // Also the connection that was kept is closed: what is read is the end.
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), kept.read_to_end(&mut rest)).await;
    assert_eq!((ended.unwrap().unwrap(), rest.len()), (0, 0));
    let fresh = provider(&stand_in, ProviderKind::Sendgrid, &json!({}), LIMIT);
    let outcome = fresh.send(&message).await;
    assert!(
        matches!(&outcome, SendOutcome::Rejected(no) if no.code == "not_sent"),
        "{outcome:?}"
    );
    let back = async {
        while !matches!(fresh.send(&message).await, SendOutcome::Accepted { .. }) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), back).await.unwrap();
}

#[tokio::test]
async fn magic_recipients_need_no_rule_and_can_be_turned_off() {
    let stand_in = stand_in().await;
    let sendgrid = provider(&stand_in, ProviderKind::Sendgrid, &json!({}), LIMIT);
    let twilio = provider(&stand_in, ProviderKind::Twilio, &json!({}), LIMIT);
    let by_mail = sendgrid.send(&samples::email("half-close+1@example.com")).await;
    let by_text = twilio.send(&samples::text("+14155550112")).await;
    assert!(matches!(by_mail, SendOutcome::Unknown { .. }) && matches!(by_text, SendOutcome::Unknown { .. }));
    assert_eq!(stand_in.ledger().summary().accepted, 2);
    // Twilio's own.
    let own = twilio.send(&samples::text("+15005550009")).await;
    assert!(
        matches!(&own, SendOutcome::Rejected(no) if no.code == "21614"),
        "{own:?}"
    );
    let mut plain = super::options();
    plain.magic = false;
    let plain = tidings_stand_in::StandIn::start(plain).await.unwrap();
    let sendgrid = provider(&plain, ProviderKind::Sendgrid, &json!({}), LIMIT);
    let outcome = sendgrid.send(&samples::email("half-close@example.com")).await;
    assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_late_answer_is_not_a_late_message() {
    let stand_in = stand_in().await;
    let sendgrid = provider(&stand_in, ProviderKind::Sendgrid, &json!({}), LIMIT);
    let late = Fault::Latency {
        min_ms: 600_000,
        max_ms: 600_000,
    };
    stand_in.fault(Rule::always(late)).unwrap();
    let outcome = sendgrid.send(&submission(ProviderKind::Sendgrid)).await;
    assert!(matches!(outcome, SendOutcome::Unknown { .. }), "{outcome:?}");
    // Whoever gave up waiting finds it in the ledger.
    assert_eq!(stand_in.ledger().summary().accepted, 1);
}

/// A client of the mail server that has sent these lines, and reads nothing further.
async fn mail_client(stand_in: &tidings_stand_in::StandIn, lines: &str) -> TcpStream {
    let mut stream = TcpStream::connect(stand_in.smtp_addr()).await.unwrap();
    stream.write_all(lines.as_bytes()).await.unwrap();
    let mut greeting = [0; 8];
    stream.read_exact(&mut greeting).await.unwrap();
    stream
}

#[tokio::test]
async fn no_mail_client_holds_up_the_end() {
    let envelope = "EHLO client.test\r\nMAIL FROM:<shop@brand.test>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n";
    let whole = format!("{envelope}Subject: a\r\n\r\nb\r\n.\r\n");
    for (lines, fault) in [
        ("EHLO client.test\r\n", None),
        ("EHLO client.test\r\nAUTH LOGIN\r\n", None),
        (envelope, None),
        (&whole, Some(Fault::TimeoutAfterAccept)),
        (&whole, Some(Fault::Drip)),
        (&whole, Some(Fault::Huge)),
    ] {
        let stand_in = stand_in().await;
        let taken = u64::from(fault.is_some());
        stand_in
            .faults(fault.clone().map(Rule::always).into_iter().collect())
            .unwrap();
        let client = mail_client(&stand_in, lines).await;
        stand_in.wait_for(taken).await;
        let stopped = tokio::time::timeout(Duration::from_secs(20), stand_in.stop()).await;
        assert!(stopped.is_ok(), "{lines:?} {fault:?}");
        drop(client);
    }
}
