//! The rules at work: hours, caps, consent, batches, approval, cancellation, expiry.

use crate::world::{World, direct, welcome, word};
use jiff::SignedDuration;
use tidings_core::decide::Verdict;
use tidings_core::{Category, Channel, MessageStatus, Urgency, WaitsFor};
use tidings_engine::AcceptRequest;

#[tokio::test]
async fn what_comes_at_night_goes_in_the_morning() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    world.clock.set("2026-06-16T23:30:00Z".parse().unwrap());
    let accepted = world.accept(welcome(ann)).await.unwrap();
    world.run().await;
    assert_eq!(world.ledger().await.messages, 0);
    world.clock.set("2026-06-17T08:59:59Z".parse().unwrap());
    world.run().await;
    assert_eq!(world.ledger().await.messages, 0, "business hours begin at nine");
    world.clock.set("2026-06-17T09:00:00Z".parse().unwrap());
    world.run().await;
    assert_eq!(world.status(accepted.message_id).await, MessageStatus::Sent);
}

#[tokio::test]
async fn hours_are_looked_at_again_when_the_call_is_made() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let accepted = world.accept(welcome(ann)).await.unwrap();
    // The worker was down until the night.
    world.clock.set("2026-06-16T22:30:00Z".parse().unwrap());
    world.run().await;
    assert_eq!(world.status(accepted.message_id).await, MessageStatus::Queued);
    assert_eq!(world.ledger().await.messages, 0);
    world.clock.set("2026-06-17T10:00:00Z".parse().unwrap());
    world.run().await;
    assert_eq!(world.status(accepted.message_id).await, MessageStatus::Sent);
    let stages: Vec<_> = world
        .explain(accepted.message_id)
        .await
        .decisions
        .iter()
        .map(|one| one.stage)
        .collect();
    assert!(stages.len() >= 2, "the gate's delay is recorded: {stages:?}");
}

#[tokio::test]
async fn marketing_without_consent_is_suppressed_with_reasons() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let request = AcceptRequest {
        category: Some(Category::Marketing),
        ..welcome(ann)
    };
    let accepted = world.accept(request).await.unwrap();
    assert_eq!(accepted.status, MessageStatus::Suppressed);
    assert_eq!(accepted.because.as_deref(), Some("consent.missing"));
    world.run().await;
    let told = world.explain(accepted.message_id).await;
    assert_eq!(told.ended_because.as_deref(), Some("consent.missing"));
    assert!(told.deliveries.is_empty());
    assert!(!told.decisions[0].reasons.as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_cap_holds_whoever_asks_at_once() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    world.consent(ann, Category::Marketing).await;
    let other = world.another_engine(2).await;
    let answers = futures::future::join_all((0..8).map(|n| {
        let engine = if n % 2 == 0 { &world.engine } else { &other };
        let request = AcceptRequest {
            category: Some(Category::Marketing),
            ..welcome(ann)
        };
        engine.accept(world.tenant, vec![request])
    }))
    .await;
    assert!(answers.iter().flatten().all(Result::is_ok));
    let (one, two) = futures::join!(world.engine.run_due(), other.run_due());
    one.unwrap();
    two.unwrap();
    assert_eq!(world.ledger().await.messages, 1, "one marketing message a day");
    // A cap defers, it never strands: the next day the next one goes.
    world.advance(24 * 3600 + 60);
    let (one, two) = futures::join!(world.engine.run_due(), other.run_due());
    one.unwrap();
    two.unwrap();
    assert_eq!(world.ledger().await.messages, 2);
}

#[tokio::test]
async fn three_of_low_urgency_go_as_one() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    world.accept(welcome(ann)).await.unwrap();
    world.run().await;
    world.advance(60);
    let mut low = Vec::new();
    for n in 0..3 {
        let text = format!("Update number {n}.");
        let request = AcceptRequest {
            urgency: Some(Urgency::Low),
            ..direct(ann, &text)
        };
        let accepted = world.accept(request).await.unwrap();
        assert!(
            matches!(accepted.verdict, Verdict::Batch { .. }),
            "{:?}",
            accepted.verdict
        );
        low.push(accepted.message_id);
    }
    world.run().await;
    for message in &low {
        let told = world.explain(*message).await;
        assert_eq!(told.status, MessageStatus::Sent);
        assert_eq!(told.deliveries.len(), 1, "each shows the delivery it went with");
    }
    assert_eq!(
        world.ledger().await.messages,
        2,
        "the first message and one batch"
    );
    let mail = tidings_engine::sandbox_mail(world.engine.store(), world.tenant, None, 10)
        .await
        .unwrap();
    let together = mail
        .iter()
        .map(|mail| format!("{:?}", mail.content.expose()))
        .find(|text| text.contains("number 2"));
    assert!(together.is_some_and(|text| text.contains("number 0") && text.contains("number 1")));
}

#[tokio::test]
async fn a_batch_closes_when_its_window_ends() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    world.accept(welcome(ann)).await.unwrap();
    world.run().await;
    let request = AcceptRequest {
        urgency: Some(Urgency::Low),
        ..direct(ann, "Alone.")
    };
    let accepted = world.accept(request).await.unwrap();
    world.advance(299);
    world.run().await;
    assert_eq!(
        world.explain(accepted.message_id).await.waits_for,
        Some(WaitsFor::Batch)
    );
    world.advance(1);
    world.run().await;
    assert_eq!(world.status(accepted.message_id).await, MessageStatus::Sent);
}

#[tokio::test]
async fn what_needs_a_yes_waits_for_it() {
    let mut world = World::new().await;
    world
        .policy(|policy| assert!(policy.approval_types.insert(word("welcome"))))
        .await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let yes = world.accept(welcome(ann)).await.unwrap();
    let no = world.accept(welcome(ann)).await.unwrap();
    let late = world.accept(welcome(ann)).await.unwrap();
    assert!(matches!(yes.verdict, Verdict::Approve { .. }));
    world.run().await;
    assert_eq!(world.ledger().await.messages, 0);
    world.engine.approve(world.tenant, yes.message_id).await.unwrap();
    world.engine.refuse(world.tenant, no.message_id).await.unwrap();
    assert!(world.engine.approve(world.tenant, no.message_id).await.is_err());
    world.run().await;
    assert_eq!(world.status(yes.message_id).await, MessageStatus::Sent);
    assert_eq!(world.status(no.message_id).await, MessageStatus::Cancelled);
    world.advance(73 * 3600);
    world.run().await;
    let told = world.explain(late.message_id).await;
    assert_eq!(
        (told.status, told.ended_because.as_deref()),
        (MessageStatus::Cancelled, Some("approval.expired"))
    );
}

#[tokio::test]
async fn a_message_can_be_withdrawn_before_it_leaves() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let accepted = world.accept(welcome(ann)).await.unwrap();
    world
        .engine
        .cancel(world.tenant, accepted.message_id)
        .await
        .unwrap();
    world.run().await;
    assert_eq!(world.status(accepted.message_id).await, MessageStatus::Cancelled);
    assert_eq!(world.ledger().await.messages, 0);
    assert_eq!(world.jobs("send_email").await, ["cancelled"]);

    let sent = world.accept(welcome(ann)).await.unwrap();
    world.run().await;
    let error = world
        .engine
        .cancel(world.tenant, sent.message_id)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("sent"), "{error}");
}

#[tokio::test]
async fn what_expired_is_not_sent() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let expires_at = world.now() + SignedDuration::from_secs(60);
    let request = AcceptRequest {
        expires_at: Some(expires_at),
        ..welcome(ann)
    };
    let accepted = world.accept(request).await.unwrap();
    world.advance(61);
    world.run().await;
    let told = world.explain(accepted.message_id).await;
    assert_eq!(
        (told.status, told.ended_because.as_deref()),
        (MessageStatus::Suppressed, Some("timing.expired"))
    );
    assert_eq!(world.ledger().await.messages, 0);
}

#[tokio::test]
async fn an_opt_out_between_accept_and_dispatch_counts() {
    let mut world = World::new().await;
    let ann = world.contact(None, Some("+12025550123")).await;
    let accepted = world
        .accept(AcceptRequest {
            channel: Some(Channel::Sms),
            ..welcome(ann)
        })
        .await
        .unwrap();
    world.stop(ann, Channel::Sms).await;
    world.run().await;
    let told = world.explain(accepted.message_id).await;
    assert_eq!(
        (told.status, told.ended_because.as_deref()),
        (MessageStatus::Suppressed, Some("consent.stopped"))
    );
    assert_eq!(world.ledger().await.messages, 0);
}
