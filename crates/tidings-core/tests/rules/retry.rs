use super::noon;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rstest::rstest;
use std::time::Duration;
use tidings_core::job::JobKind;
use tidings_core::retry::{Failure, NextTry, Schedule, next_try};
use tidings_core::{Dice, ErrorCategory};

fn failure(category: ErrorCategory, retries: u32) -> Failure {
    Failure {
        category,
        retries,
        max_retries: 5,
        retry_after: None,
        first_due_at: noon(),
    }
}

fn wait(failure: &Failure, kind: JobKind, now: Timestamp, seed: u64) -> Option<(f64, bool)> {
    match next_try(
        failure,
        kind,
        &Schedule::default(),
        now,
        &mut Dice::from_seed(seed),
    ) {
        NextTry::At { at, counts } => Some((at.duration_since(now).as_secs_f64(), counts)),
        NextTry::GiveUp => None,
    }
}

#[rstest]
#[case(JobKind::SendEmail, &[60.0, 300.0, 900.0, 900.0])]
#[case(JobKind::NotifyCustomer, &[60.0, 300.0, 900.0, 900.0])]
#[case(JobKind::AiEngage, &[5.0, 20.0, 60.0, 180.0, 600.0])]
#[case(JobKind::WebhookProcess, &[5.0, 20.0, 60.0, 180.0, 600.0])]
fn waits_follow_the_tables_within_a_tenth(#[case] kind: JobKind, #[case] table: &[f64]) {
    for (retries, wanted) in (0u32..).zip(table) {
        for seed in 0..200 {
            let (got, counts) =
                wait(&failure(ErrorCategory::Transient, retries), kind, noon(), seed).unwrap();
            assert!(
                counts && (wanted * 0.9..=wanted * 1.1).contains(&got),
                "{kind} {retries}: {got}"
            );
        }
    }
}

#[test]
fn tries_run_out() {
    assert_eq!(
        wait(&failure(ErrorCategory::Transient, 5), JobKind::SendSms, noon(), 1),
        None
    );
    let none = Failure {
        max_retries: 0,
        ..failure(ErrorCategory::Transient, 0)
    };
    assert_eq!(wait(&none, JobKind::SendSms, noon(), 1), None);
    assert_eq!(Schedule::default().max_retries(JobKind::SendSms), 3);
}

#[test]
fn a_no_for_good_is_not_tried_again() {
    for category in [ErrorCategory::Permanent, ErrorCategory::InvalidInput] {
        assert_eq!(wait(&failure(category, 0), JobKind::SendEmail, noon(), 1), None);
    }
}

#[test]
fn limits_and_credentials_wait_without_cost() {
    let asked = Failure {
        retry_after: Some(Duration::from_secs(17)),
        ..failure(ErrorCategory::RateLimit, 5)
    };
    for seed in 0..100 {
        let (got, counts) = wait(
            &failure(ErrorCategory::RateLimit, 5),
            JobKind::SendEmail,
            noon(),
            seed,
        )
        .unwrap();
        assert!(!counts && (60.0..=66.0).contains(&got));
        let (got, counts) = wait(&asked, JobKind::SendEmail, noon(), seed).unwrap();
        assert!(!counts && (17.0..=18.7).contains(&got));
        let (got, counts) = wait(
            &failure(ErrorCategory::AuthFailure, 5),
            JobKind::SendEmail,
            noon(),
            seed,
        )
        .unwrap();
        assert!(!counts && (300.0..=330.0).contains(&got));
    }
}

#[test]
fn free_waits_end_as_well() {
    let late = noon() + SignedDuration::from_hours(73);
    for category in [ErrorCategory::RateLimit, ErrorCategory::AuthFailure] {
        assert_eq!(wait(&failure(category, 0), JobKind::SendEmail, late, 1), None);
    }
    assert!(wait(&failure(ErrorCategory::Transient, 0), JobKind::SendEmail, late, 1).is_some());
}

proptest! {
    #[test]
    fn never_before_the_provider_asked_and_never_beyond_a_bound(
        category in proptest::sample::select(ErrorCategory::ALL), retries in 0u32..10, asked in 0u64..1_000_000_000,
        seed in any::<u64>(),
    ) {
        let failure = Failure {
            category, retries, max_retries: 9, retry_after: Some(Duration::from_secs(asked)), first_due_at: noon(),
        };
        if let Some((got, _)) = wait(&failure, JobKind::SendEmail, noon(), seed) {
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let floor = asked.min(86_400) as f64;
            prop_assert!(got >= floor - 0.001 && got <= 86_400.0 * 1.1 + 0.001);
        }
    }
}
