//! Each fault brings the outcome that it should, and the ledger knows what was taken.

use super::{provider, stand_in, submission};
use rstest::rstest;
use serde_json::json;
use std::time::Duration;
use tidings_core::{ErrorCategory, ProviderKind};
use tidings_providers::{SendOutcome, samples};
use tidings_stand_in::{Fault, Rule, Vendor};

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
    let sendgrid = provider(&stand_in, ProviderKind::Sendgrid, &json!({}), LIMIT);
    let message = submission(ProviderKind::Sendgrid);
    assert!(matches!(
        sendgrid.send(&message).await,
        SendOutcome::Accepted { .. }
    ));
    stand_in
        .refuse_for(Vendor::Sendgrid, Duration::from_millis(300))
        .await;
    // Also the connection that was kept is closed.
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
