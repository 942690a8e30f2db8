//! Questions about what was taken: what became of a message, and who is on a vendor's list.

use super::{TWILIO_ACCOUNT, now, provider, stand_in, submission};
use jiff::SignedDuration;
use rstest::rstest;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::event::DeliveryEventKind as Kind;
use tidings_core::{ErrorCategory, ProviderKind};
use tidings_providers::{ListQuestion, Provider, Report, SendOutcome, SuppressBecause};
use tidings_stand_in::{Account, Event, Fault, Rule, StandIn, Step, Vendor};

const LIMIT: Duration = Duration::from_secs(2);

/// The vendor, the name of the account that the connection of the tests is of, and the provider.
fn asked(stand_in: &StandIn, kind: ProviderKind) -> (Vendor, &'static str, Arc<dyn Provider>) {
    let (vendor, name) = match kind {
        ProviderKind::Twilio => (Vendor::Twilio, TWILIO_ACCOUNT),
        ProviderKind::Resend => (Vendor::Resend, "default"),
        ProviderKind::Ses => (Vendor::Ses, "AKIAIOSFODNN7EXAMPLE"),
        _ => (Vendor::Sendgrid, "default"),
    };
    (vendor, name, provider(stand_in, kind, &json!({}), LIMIT))
}

/// A message of an account whose script is this, and which reports nowhere; its id.
async fn taken(stand_in: &StandIn, kind: ProviderKind, script: Vec<Step>) -> (Arc<dyn Provider>, String) {
    let (vendor, name, provider) = asked(stand_in, kind);
    let account = Account {
        script,
        ..Account::default()
    };
    stand_in.account(vendor, name, account).unwrap();
    let SendOutcome::Accepted { provider_message_id } = provider.send(&submission(kind)).await else {
        panic!("{kind}")
    };
    (provider, provider_message_id.unwrap())
}

#[rstest]
#[case(ProviderKind::Twilio, Event::Delivered, Kind::Delivered, None)]
#[case(
    ProviderKind::Twilio,
    Event::BouncedHard,
    Kind::Failed,
    Some(SuppressBecause::HardBounce)
)]
#[case(ProviderKind::Resend, Event::Delivered, Kind::Delivered, None)]
#[case(ProviderKind::Resend, Event::BouncedHard, Kind::Bounced, None)]
#[case(
    ProviderKind::Resend,
    Event::Complained,
    Kind::Complained,
    Some(SuppressBecause::Complaint)
)]
#[tokio::test]
async fn what_was_never_reported_is_told_to_whoever_asks(
    #[case] kind: ProviderKind,
    #[case] event: Event,
    #[case] told: Kind,
    #[case] suppress: Option<SuppressBecause>,
) {
    let stand_in = stand_in().await;
    let (provider, id) = taken(&stand_in, kind, vec![Step::of(event)]).await;
    let Report::Known(events) = provider.report(&id).await else {
        panic!("{kind}")
    };
    assert_eq!((events[0].kind, events[0].suppress), (told, suppress));
    let (_, _, unscripted) = asked(&stand_in, kind);
    let unknown = if kind == ProviderKind::Twilio {
        format!("SM{:032x}", 7)
    } else {
        "4ef9a417-02e9-4d39-ad75-9611e0fcc33c".to_owned()
    };
    assert_eq!(unscripted.report(&unknown).await, Report::NotKnown);
}

#[rstest]
#[case(ProviderKind::Twilio)]
#[case(ProviderKind::Resend)]
#[tokio::test]
async fn what_has_not_happened_yet_is_nothing_new(#[case] kind: ProviderKind) {
    let stand_in = stand_in().await;
    let later = Step {
        after_ms: 60_000,
        ..Step::of(Event::Delivered)
    };
    let (provider, id) = taken(&stand_in, kind, vec![Step::of(Event::Accepted), later]).await;
    assert_eq!(provider.report(&id).await, Report::Nothing);
}

#[rstest]
#[case(ProviderKind::Twilio)]
#[case(ProviderKind::Resend)]
#[tokio::test]
async fn questions_break_by_rules_of_their_own(#[case] kind: ProviderKind) {
    let stand_in = stand_in().await;
    let (provider, id) = taken(&stand_in, kind, vec![Step::of(Event::Delivered)]).await;
    for (fault, category) in [
        (Fault::AuthFailure, ErrorCategory::AuthFailure),
        (
            Fault::RateLimited {
                retry_after_s: Some(9),
                bare: false,
            },
            ErrorCategory::RateLimit,
        ),
        (Fault::ServerError, ErrorCategory::Transient),
        (Fault::HtmlError, ErrorCategory::Transient),
        (Fault::ErrorInSuccess, ErrorCategory::Transient),
        (Fault::Nonsense, ErrorCategory::Transient),
        (Fault::Garbage, ErrorCategory::Transient),
        (Fault::HalfClose, ErrorCategory::Transient),
        (Fault::TruncatedChunk, ErrorCategory::Transient),
        (Fault::TimeoutAfterAccept, ErrorCategory::Transient),
    ] {
        stand_in.fault(Rule::always(fault.clone()).asked()).unwrap();
        // Messages are taken as ever.
        let sent = provider.send(&submission(kind)).await;
        assert!(
            matches!(sent, SendOutcome::Accepted { .. }),
            "{fault:?}: {sent:?}"
        );
        let Report::Unanswered(no) = provider.report(&id).await else {
            panic!("{fault:?}")
        };
        assert_eq!(no.category, category, "{fault:?}");
    }
    stand_in.faults(Vec::new()).unwrap();
    assert!(matches!(provider.report(&id).await, Report::Known(_)));
}

#[rstest]
#[case(
    ProviderKind::Sendgrid,
    "bounces",
    Event::BouncedHard,
    SuppressBecause::HardBounce
)]
#[case(
    ProviderKind::Sendgrid,
    "spam_reports",
    Event::Complained,
    SuppressBecause::Complaint
)]
#[case(
    ProviderKind::Sendgrid,
    "unsubscribes",
    Event::Unsubscribed,
    SuppressBecause::Unsubscribe
)]
#[case(ProviderKind::Ses, "account", Event::BouncedHard, SuppressBecause::HardBounce)]
#[case(ProviderKind::Ses, "account", Event::Complained, SuppressBecause::Complaint)]
#[tokio::test]
async fn whoever_bounced_or_complained_is_on_the_list_of_that_time(
    #[case] kind: ProviderKind,
    #[case] list: &str,
    #[case] event: Event,
    #[case] because: SuppressBecause,
) {
    let stand_in = stand_in().await;
    let (provider, _) = taken(&stand_in, kind, vec![Step::of(event)]).await;
    let mut question = ListQuestion {
        list,
        since: Some(now() - SignedDuration::from_hours(1)),
        until: now() + SignedDuration::from_secs(1),
        page: None,
    };
    let page = provider.suppressions(&question).await.unwrap();
    assert_eq!((page.entries.len(), page.skipped, page.next), (1, 0, None));
    let entry = &page.entries[0];
    assert_eq!(
        (entry.address.expose().as_str(), entry.because),
        ("bob@example.com", because)
    );
    assert_eq!(entry.since, now());
    question.since = Some(now() + SignedDuration::from_secs(1));
    assert!(provider.suppressions(&question).await.unwrap().entries.is_empty());
    if kind == ProviderKind::Sendgrid {
        let invalid = ListQuestion {
            list: "invalid_emails",
            since: None,
            ..question
        };
        assert!(provider.suppressions(&invalid).await.unwrap().entries.is_empty());
    }
    stand_in
        .fault(Rule::always(Fault::HtmlError).asked().times(1))
        .unwrap();
    let question = ListQuestion {
        list,
        since: None,
        until: now(),
        page: None,
    };
    assert_eq!(
        provider.suppressions(&question).await.unwrap_err().category,
        ErrorCategory::Transient
    );
    assert_eq!(provider.suppressions(&question).await.unwrap().entries.len(), 1);
}
