use super::noon;
use jiff::SignedDuration;
use rstest::rstest;
use tidings_core::decide::Policy;
use tidings_core::decide::policy::OnUnknown;
use tidings_core::unknown::{Evidence, UnknownAction, repeatable_until, resolve};
use tidings_core::{Category, Channel};

#[rstest]
#[case(Channel::Email, 10)]
#[case(Channel::Sms, 5)]
#[case(Channel::Whatsapp, 2)]
#[case(Channel::WhatsappWeb, 2)]
fn waits_for_the_webhook_then_the_policy_decides(#[case] channel: Channel, #[case] minutes: i64) {
    let ready = noon() + SignedDuration::from_mins(minutes);
    let before = ready - SignedDuration::from_millis(1);
    let decide = |category, now| {
        resolve(
            channel,
            category,
            &Policy::default(),
            noon(),
            now,
            Evidence::Unavailable,
        )
    };
    for category in Category::ALL {
        assert_eq!(decide(*category, before), UnknownAction::WaitUntil(ready));
    }
    assert_eq!(decide(Category::Transactional, ready), UnknownAction::Resend);
    assert_eq!(decide(Category::Service, ready), UnknownAction::Hold);
    assert_eq!(decide(Category::Marketing, ready), UnknownAction::Hold);
}

#[rstest]
#[case(Evidence::Found, UnknownAction::Accept)]
#[case(Evidence::NotFound, UnknownAction::Resend)]
#[case(Evidence::Repeatable, UnknownAction::Resend)]
fn the_providers_word_decides_at_once(#[case] evidence: Evidence, #[case] wanted: UnknownAction) {
    for category in Category::ALL {
        assert_eq!(
            resolve(
                Channel::Email,
                *category,
                &Policy::default(),
                noon(),
                noon(),
                evidence
            ),
            wanted
        );
    }
}

#[rstest]
#[case(Some(SignedDuration::from_hours(24)), 23 * 60 + 45)]
#[case(Some(SignedDuration::from_hours(1)), 45)]
#[case(Some(SignedDuration::from_mins(5)), -10)]
#[case(Some(SignedDuration::from_hours(24 * 365)), 7 * 24 * 60 - 15)]
#[case(None, 7 * 24 * 60 - 15)]
fn a_reference_is_repeated_only_while_it_is_remembered(
    #[case] remembers_for: Option<SignedDuration>,
    #[case] minutes: i64,
) {
    let until = repeatable_until(noon(), remembers_for);
    assert_eq!(until, noon() + SignedDuration::from_mins(minutes));
}

#[test]
fn tenants_choose_and_silence_holds() {
    let late = noon() + SignedDuration::from_hours(1);
    let mut policy = Policy::default();
    let decide = |policy: &Policy| {
        resolve(
            Channel::Sms,
            Category::Marketing,
            policy,
            noon(),
            late,
            Evidence::Unavailable,
        )
    };
    policy.on_unknown = [(Category::Marketing, OnUnknown::Drop)].into();
    assert_eq!(decide(&policy), UnknownAction::Drop);
    policy.on_unknown.clear();
    assert_eq!(decide(&policy), UnknownAction::Hold);
}
