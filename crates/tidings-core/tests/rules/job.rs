use super::noon;
use jiff::SignedDuration;
use rstest::rstest;
use tidings_core::job::{JobKind, rank, urgency_priority};
use tidings_core::{Channel, Urgency};

#[rstest]
#[case(JobKind::AiEngage, 100)]
#[case(JobKind::FollowupBumpup, 95)]
#[case(JobKind::AiSummary, 90)]
#[case(JobKind::SequenceStep, 70)]
#[case(JobKind::EmailSequence, 60)]
#[case(JobKind::WebhookReminder, 50)]
fn kinds_with_a_priority_of_their_own(#[case] kind: JobKind, #[case] priority: i16) {
    for urgency in Urgency::ALL {
        assert_eq!(kind.priority(*urgency), priority);
    }
}

#[test]
fn sends_go_by_urgency() {
    for kind in JobKind::ALL.iter().filter(|kind| kind.is_send()) {
        for (urgency, priority) in Urgency::ALL.iter().zip([100, 80, 60, 40]) {
            assert_eq!(kind.priority(*urgency), priority);
            assert_eq!(urgency_priority(*urgency), priority);
        }
    }
    assert_eq!(JobKind::ALL.iter().filter(|kind| kind.is_send()).count(), 4);
    assert!(
        Channel::ALL
            .iter()
            .all(|channel| JobKind::send_by(*channel).is_send())
    );
}

#[test]
fn rank_is_priority_first_and_waiting_makes_up_for_it() {
    let later = |minutes: i64| noon() + SignedDuration::from_mins(minutes);
    assert!(rank(100, noon()) < rank(60, noon()));
    assert!(rank(60, noon()) < rank(60, later(1)));
    // Sixty points of priority are worth five hours.
    assert!(rank(100, later(299)) < rank(40, noon()));
    assert!(rank(100, later(301)) > rank(40, noon()));
    assert_eq!(rank(1, noon()), noon().as_millisecond() - 300_000);
}
