use super::noon;
use proptest::prelude::*;
use rstest::rstest;
use tidings_core::MessageStatus::{
    Bounced, Cancelled, Clicked, Delivered, Failed, Pending, Queued, Sent, Suppressed,
};
use tidings_core::event::{DeliveryEvent, DeliveryEventKind as Kind};
use tidings_core::message::Provenance;
use tidings_core::status::{Standing, apply, roll_up};
use tidings_core::{MessageStatus, status};

fn event(kind: Kind, provenance: Provenance) -> DeliveryEvent {
    DeliveryEvent {
        kind,
        occurred_at: noon(),
        provenance,
        bounce_class: None,
    }
}

fn after(start: Standing, events: &[DeliveryEvent]) -> Standing {
    events.iter().fold(start, apply)
}

#[rstest]
#[case(Queued, &[Kind::Accepted], Sent)]
#[case(Queued, &[Kind::Deferred], Sent)]
#[case(Sent, &[Kind::Delivered, Kind::Accepted], Delivered)]
#[case(Sent, &[Kind::Clicked, Kind::Opened, Kind::Delivered], Clicked)]
#[case(Sent, &[Kind::MachineOpened], Delivered)]
#[case(Sent, &[Kind::Delivered, Kind::Bounced], Bounced)]
#[case(Sent, &[Kind::Bounced, Kind::Delivered], Bounced)]
#[case(Sent, &[Kind::Failed, Kind::Accepted], Failed)]
#[case(Sent, &[Kind::Unsubscribed, Kind::Resubscribed], Sent)]
#[case(Sent, &[Kind::Complained], Delivered)]
#[case(Cancelled, &[Kind::Delivered], Delivered)]
#[case(Suppressed, &[Kind::Accepted], Sent)]
fn reports_move_the_status(
    #[case] start: MessageStatus,
    #[case] kinds: &[Kind],
    #[case] wanted: MessageStatus,
) {
    let events: Vec<_> = kinds
        .iter()
        .map(|kind| event(*kind, Provenance::Webhook))
        .collect();
    let provenance = if start == Sent {
        Provenance::Response
    } else {
        Provenance::Inferred
    };
    assert_eq!(after(Standing::new(start, provenance), &events).status, wanted);
}

#[test]
fn a_guess_is_corrected_but_a_providers_no_is_not() {
    let arrived = event(Kind::Delivered, Provenance::Webhook);
    let accepted = event(Kind::Accepted, Provenance::Poll);
    let guessed = Standing::new(Failed, Provenance::Inferred);
    assert_eq!(
        apply(guessed, &arrived),
        Standing::new(Delivered, Provenance::Webhook)
    );
    assert_eq!(apply(guessed, &accepted), Standing::new(Sent, Provenance::Poll));
    let told = Standing::new(Failed, Provenance::Response);
    assert_eq!(apply(told, &arrived), told);
    assert_eq!(apply(told, &accepted), told);
    // And a guess never overturns what a provider said.
    let guess = event(Kind::Failed, Provenance::Inferred);
    let sent = Standing::new(Sent, Provenance::Response);
    assert_eq!(apply(sent, &guess), sent);
}

#[test]
fn one_delivery_that_arrived_is_enough() {
    let standing = |status| Standing::new(status, Provenance::Webhook);
    let rolled =
        |list: &[MessageStatus]| roll_up(list.iter().copied().map(standing)).map(|standing| standing.status);
    assert_eq!(rolled(&[]), None);
    assert_eq!(rolled(&[Failed, Delivered]), Some(Delivered));
    assert_eq!(rolled(&[Delivered, Bounced, Failed]), Some(Delivered));
    assert_eq!(rolled(&[Bounced, Queued]), Some(Queued));
    assert_eq!(rolled(&[Failed, Bounced]), Some(Bounced));
    assert_eq!(rolled(&[Pending]), Some(Pending));
}

fn some_event() -> impl Strategy<Value = DeliveryEvent> {
    (
        proptest::sample::select(Kind::ALL),
        proptest::sample::select(Provenance::ALL),
    )
        .prop_map(|(kind, provenance)| event(kind, provenance))
}

fn some_standing() -> impl Strategy<Value = Standing> {
    (
        proptest::sample::select(MessageStatus::ALL),
        proptest::sample::select(Provenance::ALL),
    )
        .prop_map(|(status, provenance)| Standing::new(status, provenance))
}

proptest! {
    #[test]
    fn any_order_and_any_repetition_end_the_same(
        start in some_standing(),
        (events, shuffled) in proptest::collection::vec(some_event(), 0..8)
            .prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle())),
        again in 0usize..8,
    ) {
        let end = after(start, &events);
        prop_assert_eq!(after(start, &shuffled), end);
        prop_assert_eq!(after(end, &shuffled), end);
        if let Some(event) = events.get(again) {
            prop_assert_eq!(apply(end, event), end);
        }
    }

    #[test]
    fn joining_is_a_lattice(a in some_standing(), b in some_standing(), c in some_standing()) {
        prop_assert_eq!(a.join(a), a);
        prop_assert_eq!(a.join(b), b.join(a));
        prop_assert_eq!(a.join(b).join(c), a.join(b.join(c)));
    }
}

#[test]
fn every_event_kind_is_placed() {
    let silent: Vec<_> = Kind::ALL
        .iter()
        .filter(|kind| status::proves(**kind).is_none())
        .collect();
    assert_eq!(silent, [&Kind::Unsubscribed, &Kind::Resubscribed]);
}
