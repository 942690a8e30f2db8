//! Alerts: from where on, for how long, told to whom.

use super::{at, noon};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rstest::rstest;
use std::collections::{BTreeMap, BTreeSet};
use tidings_core::alert::{
    AlertKey, AlertRule, CALLS_MOST, Configured, ConnectionHealth, Figures, LAPSE, MAILS_MOST, Notifier,
    NotifyEvent, OpenFigures, ProviderFigures, RunHealth, Severity, Step, Thresholds, Told, Verdict, WHOLE,
    assess, next_word, notifier_of, step,
};
use tidings_core::breaker::BreakerState;
use tidings_core::{Channel, ConnectionId, ProviderKind};

const PROVIDER: ProviderKind = ProviderKind::Sendgrid;

fn provider(calls: u64, errors: u64, repeated: u64, reached: u64, lost: u64) -> Figures {
    Figures {
        providers: vec![ProviderFigures {
            provider: PROVIDER,
            calls,
            errors,
            repeated,
            reached,
            lost,
        }],
        ..Figures::default()
    }
}

fn connection(
    number: u128,
    breaker: BreakerState,
    refused: Option<&str>,
    taken: Option<&str>,
) -> ConnectionHealth {
    ConnectionHealth {
        id: ConnectionId(uuid::Uuid::from_u128(number)),
        channel: Channel::Email,
        provider: PROVIDER,
        breaker,
        refused_at: refused.map(at),
        taken_at: taken.map(at),
    }
}

fn verdict(figures: &Figures, key: &AlertKey, open: bool) -> Option<Verdict> {
    let open: BTreeSet<AlertKey> = open.then(|| key.clone()).into_iter().collect();
    let found = assess(figures, &Thresholds::default(), &open);
    found
        .into_iter()
        .find(|finding| finding.key == *key)
        .map(|finding| finding.verdict)
}

/// `b`ad, `g`ood, `u`nclear.
fn letter(verdict: Option<Verdict>) -> char {
    match verdict {
        Some(Verdict::Bad(detail)) => {
            assert!(!detail.is_empty() && detail.len() < 300);
            'b'
        }
        Some(Verdict::Good) => 'g',
        Some(Verdict::Unclear) => 'u',
        None => '-',
    }
}

#[rstest]
// One of two is no alert, and exactly the threshold is not below it.
#[case(AlertRule::DeliveryRate, (0, 0, 0, 1, 1), 'u', 'u')]
#[case(AlertRule::DeliveryRate, (0, 0, 0, 10, 9), 'u', 'u')]
#[case(AlertRule::DeliveryRate, (0, 0, 0, 18, 2), 'g', 'b')]
#[case(AlertRule::DeliveryRate, (0, 0, 0, 17, 3), 'b', 'b')]
#[case(AlertRule::DeliveryRate, (0, 0, 0, 92, 8), 'g', 'g')]
#[case(AlertRule::DeliveryRate, (0, 0, 0, 91, 9), 'g', 'b')]
#[case(AlertRule::ApiErrors, (19, 19, 0, 0, 0), 'u', 'u')]
#[case(AlertRule::ApiErrors, (100, 5, 0, 0, 0), 'g', 'b')]
#[case(AlertRule::ApiErrors, (100, 6, 0, 0, 0), 'b', 'b')]
#[case(AlertRule::ApiErrors, (100, 4, 0, 0, 0), 'g', 'g')]
#[case(AlertRule::Retries, (100, 0, 20, 0, 0), 'g', 'b')]
#[case(AlertRule::Retries, (100, 0, 21, 0, 0), 'b', 'b')]
#[case(AlertRule::Retries, (100, 0, 16, 0, 0), 'g', 'g')]
fn rates_have_samples_and_a_way_back(
    #[case] rule: AlertRule,
    #[case] (calls, errors, repeated, reached, lost): (u64, u64, u64, u64, u64),
    #[case] closed: char,
    #[case] open: char,
) {
    let figures = provider(calls, errors, repeated, reached, lost);
    let key = AlertKey::new(rule, PROVIDER.as_str());
    assert_eq!(
        (
            letter(verdict(&figures, &key, false)),
            letter(verdict(&figures, &key, true))
        ),
        (closed, open)
    );
}

#[rstest]
#[case(49, 0, 'u')]
#[case(50, 19, 'b')]
#[case(50, 20, 'g')]
fn open_rates_need_more_mail(#[case] mails: u64, #[case] opened: u64, #[case] expected: char) {
    let key = AlertKey::new(AlertRule::OpenRate, PROVIDER.as_str());
    let figures = Figures {
        opens: Some(vec![OpenFigures {
            provider: PROVIDER,
            mails,
            opened,
        }]),
        ..Figures::default()
    };
    assert_eq!(letter(verdict(&figures, &key, false)), expected);
    // A round that did not look says nothing; one that looked and found no mail cannot tell.
    assert_eq!(letter(verdict(&Figures::default(), &key, true)), '-');
    let looked = Figures {
        opens: Some(Vec::new()),
        ..Figures::default()
    };
    assert_eq!(letter(verdict(&looked, &key, true)), 'u');
}

#[rstest]
#[case(None, None, 'u')]
#[case(Some("2026-06-17T11:00:00Z"), None, 'b')]
#[case(Some("2026-06-17T11:00:00Z"), Some("2026-06-17T10:59:00Z"), 'b')]
#[case(Some("2026-06-17T11:00:00Z"), Some("2026-06-17T11:00:01Z"), 'g')]
#[case(None, Some("2026-06-17T11:00:00Z"), 'g')]
fn a_refused_credential_is_bad_until_a_call_is_taken(
    #[case] refused: Option<&str>,
    #[case] taken: Option<&str>,
    #[case] expected: char,
) {
    let one = connection(7, BreakerState::Open, refused, taken);
    let key = AlertKey::new(AlertRule::AuthFailure, one.id.to_string());
    let figures = Figures {
        connections: vec![one],
        ..Figures::default()
    };
    assert_eq!(letter(verdict(&figures, &key, true)), expected);
    // The connection is switched off or gone: nothing is refused any more.
    assert_eq!(letter(verdict(&Figures::default(), &key, true)), 'g');
}

#[rstest]
#[case(&[BreakerState::Open], 'b')]
#[case(&[BreakerState::Open, BreakerState::Open], 'b')]
#[case(&[BreakerState::Open, BreakerState::Closed], 'g')]
#[case(&[BreakerState::Open, BreakerState::HalfOpen], 'u')]
#[case(&[], 'g')]
fn a_channel_is_down_when_every_connection_is(#[case] breakers: &[BreakerState], #[case] expected: char) {
    let figures = Figures {
        connections: breakers
            .iter()
            .zip(1..)
            .map(|(breaker, number)| connection(number, *breaker, None, None))
            .collect(),
        ..Figures::default()
    };
    let key = AlertKey::new(AlertRule::ChannelDown, "email");
    assert_eq!(letter(verdict(&figures, &key, true)), expected);
}

#[test]
fn backlogs_and_sources() {
    let figures = |dead, held, age: i64, tries| Figures {
        new_dead_letters: dead,
        held_unknown: held,
        queue_age: Some(SignedDuration::from_secs(age)),
        failing_runs: vec![RunHealth {
            campaign: "annual_tuneup".to_owned(),
            tries,
            given_up: false,
        }],
        ..Figures::default()
    };
    let all = |figures: &Figures, open: bool| -> String {
        [
            AlertKey::new(AlertRule::DeadLetters, WHOLE),
            AlertKey::new(AlertRule::UnknownOutcomes, WHOLE),
            AlertKey::new(AlertRule::QueueAge, WHOLE),
            AlertKey::new(AlertRule::SourceUnreachable, "annual_tuneup"),
        ]
        .iter()
        .map(|key| letter(verdict(figures, key, open)))
        .collect()
    };
    assert_eq!(all(&figures(10, 0, 900, 2), false), "ggg-");
    assert_eq!(all(&figures(11, 1, 901, 3), false), "bbbb");
    assert_eq!(all(&figures(6, 0, 451, 0), true), "bgbg");
    assert_eq!(all(&figures(5, 0, 450, 0), true), "gggg");
    let mut given_up = figures(0, 0, 0, 1);
    given_up.failing_runs[0].given_up = true;
    assert_eq!(all(&given_up, false), "gggb");
}

#[rstest]
#[case(|t: &mut Thresholds| t.delivery_rate_min_percent = 100, "delivery_rate_min_percent")]
#[case(|t: &mut Thresholds| t.api_errors_max_percent = 0, "api_errors_max_percent")]
#[case(|t: &mut Thresholds| t.sample_min = 1, "sample_min")]
#[case(|t: &mut Thresholds| t.hold_s = 1, "hold_s")]
#[case(|t: &mut Thresholds| t.queue_age_max_s = 90_000, "queue_age_max_s")]
fn thresholds_have_bounds(#[case] change: fn(&mut Thresholds), #[case] field: &str) {
    assert_eq!(Thresholds::default().check(), Ok(()));
    let mut thresholds = Thresholds::default();
    change(&mut thresholds);
    assert_eq!(thresholds.check().unwrap_err().field, field);
}

#[test]
fn no_sample_is_wanted_that_is_never_looked_at() {
    // As it may be stored from before there was a bound.
    let limits = Thresholds {
        sample_min: 100_000,
        open_sample_min: 100_000,
        ..Thresholds::default()
    };
    let most = u64::from(CALLS_MOST);
    let figures = Figures {
        opens: Some(vec![OpenFigures {
            provider: PROVIDER,
            mails: u64::from(MAILS_MOST),
            opened: 0,
        }]),
        ..provider(most, most, 0, 0, most)
    };
    let found = assess(&figures, &limits, &BTreeSet::new());
    for rule in [AlertRule::ApiErrors, AlertRule::DeliveryRate, AlertRule::OpenRate] {
        let key = AlertKey::new(rule, PROVIDER.as_str());
        let verdict = found.iter().find(|finding| finding.key == key);
        assert!(
            matches!(verdict.map(|one| &one.verdict), Some(Verdict::Bad(_))),
            "{rule}"
        );
    }
    assert!(limits.check().is_err());
}

#[test]
fn thresholds_are_read_with_their_defaults_and_nothing_unknown() {
    let read: Thresholds = serde_json::from_str(r#"{"retries_max_percent": 30}"#).unwrap();
    assert_eq!((read.retries_max_percent, read.api_errors_max_percent), (30, 5));
    assert!(serde_json::from_str::<Thresholds>(r#"{"retry_percent": 30}"#).is_err());
}

#[rstest]
#[case(Severity::Critical, (true, true, true), Some(Notifier::Pagerduty))]
#[case(Severity::Critical, (false, true, true), Some(Notifier::Slack))]
#[case(Severity::Critical, (false, false, true), Some(Notifier::Digest))]
#[case(Severity::High, (true, true, true), Some(Notifier::Slack))]
#[case(Severity::Medium, (true, false, true), Some(Notifier::Digest))]
#[case(Severity::Low, (true, true, true), Some(Notifier::Digest))]
#[case(Severity::Low, (true, true, false), None)]
fn the_loudest_fitting_notifier_hears_of_it(
    #[case] severity: Severity,
    #[case] (pagerduty, slack, digest): (bool, bool, bool),
    #[case] expected: Option<Notifier>,
) {
    let configured = Configured {
        pagerduty,
        slack,
        digest,
    };
    assert_eq!(notifier_of(severity, configured), expected);
}

#[rstest]
#[case(true, Told::Nothing, false, Some(NotifyEvent::Trigger))]
#[case(true, Told::Nothing, true, Some(NotifyEvent::Trigger))]
#[case(true, Told::Open, false, None)]
#[case(false, Told::Open, false, Some(NotifyEvent::Resolve))]
#[case(false, Told::Nothing, false, None)]
#[case(false, Told::Nothing, true, Some(NotifyEvent::Resolve))]
#[case(false, Told::Over, true, None)]
fn what_is_said_follows_from_what_is_known(
    #[case] is_open: bool,
    #[case] told: Told,
    #[case] perhaps: bool,
    #[case] expected: Option<NotifyEvent>,
) {
    assert_eq!(next_word(is_open, told, perhaps), expected);
}

#[test]
fn a_rate_without_traffic_lapses_and_a_refused_credential_does_not() {
    let hold = SignedDuration::from_mins(5);
    let seen = Some(noon());
    let day = noon() + SignedDuration::from_hours(24);
    let soon = noon() + LAPSE - SignedDuration::from_secs(1);
    let unclear = Verdict::Unclear;
    assert_eq!(
        step(AlertRule::DeliveryRate, seen, &unclear, hold, soon),
        Step::Nothing
    );
    assert_eq!(
        step(AlertRule::DeliveryRate, seen, &unclear, hold, day),
        Step::Resolve
    );
    assert_eq!(
        step(AlertRule::AuthFailure, seen, &unclear, hold, day),
        Step::Nothing
    );
}

/// Lives through verdicts a minute apart; returns (raised, resolved) and whether one is open at the end.
fn live(verdicts: &[u8], hold: SignedDuration) -> (Vec<Timestamp>, Vec<Timestamp>, Option<Timestamp>) {
    let (mut raised, mut resolved) = (Vec::new(), Vec::new());
    let mut seen = None;
    for (verdict, minute) in verdicts.iter().zip(0..) {
        let now = noon() + SignedDuration::from_mins(minute);
        let verdict = match verdict {
            0 => Verdict::Good,
            1 => Verdict::Unclear,
            _ => Verdict::Bad("bad".to_owned()),
        };
        match step(AlertRule::ApiErrors, seen, &verdict, hold, now) {
            Step::Nothing => {}
            Step::Raise => {
                assert!(seen.is_none(), "raised while open");
                raised.push(now);
                seen = Some(now);
            }
            Step::Seen => seen = Some(now),
            Step::Resolve => {
                assert!(now.duration_since(seen.take().unwrap()) >= hold);
                resolved.push(now);
            }
        }
    }
    (raised, resolved, seen)
}

proptest! {
    #[test]
    fn every_alert_is_raised_once_and_resolved_once(verdicts in prop::collection::vec(0_u8..3, 0..400), hold_m in 1_i64..30) {
        let (raised, resolved, open) = live(&verdicts, SignedDuration::from_mins(hold_m));
        prop_assert_eq!(raised.len(), resolved.len() + usize::from(open.is_some()));
        for (up, down) in raised.iter().zip(&resolved) {
            prop_assert!(up < down);
        }
        for (down, up) in resolved.iter().zip(raised.iter().skip(1)) {
            prop_assert!(down < up);
        }
    }

    #[test]
    fn flapping_within_the_hold_is_one_alert(flips in prop::collection::vec(1_usize..5, 1..80)) {
        // Bad once, then good for one to four minutes, again and again: a hold of five minutes sees one alert.
        let verdicts: Vec<u8> = flips.iter().flat_map(|good| std::iter::once(2).chain(vec![0; *good])).collect();
        let (raised, resolved, _) = live(&verdicts, SignedDuration::from_mins(5));
        prop_assert_eq!((raised.len(), resolved.len()), (1, 0));
    }

    #[test]
    fn each_key_is_judged_once_and_open_is_never_laxer(
        calls in 0_u64..500, errors in 0_u64..500, repeated in 0_u64..500, reached in 0_u64..500, lost in 0_u64..500,
    ) {
        let figures = provider(calls, errors.min(calls), repeated.min(calls), reached, lost);
        let closed = assess(&figures, &Thresholds::default(), &BTreeSet::new());
        let all: BTreeSet<AlertKey> = closed.iter().map(|finding| finding.key.clone()).collect();
        prop_assert_eq!(all.len(), closed.len());
        let open: BTreeMap<AlertKey, Verdict> = assess(&figures, &Thresholds::default(), &all)
            .into_iter().map(|finding| (finding.key, finding.verdict)).collect();
        for finding in closed {
            if matches!(finding.verdict, Verdict::Bad(_)) {
                prop_assert!(matches!(open[&finding.key], Verdict::Bad(_)), "{:?} raises and is well at once", finding.key);
            }
        }
    }
}
