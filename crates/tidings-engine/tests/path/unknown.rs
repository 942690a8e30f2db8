//! Outcomes nobody knows: named, asked about, resolved by evidence or policy. Never sent twice silently.

use crate::world::{World, welcome};
use serde_json::json;
use tidings_core::decide::policy::OnUnknown;
use tidings_core::{
    AttemptOutcome, Category, Channel, ConnectionId, DeliveryState, MessageId, MessageStatus,
};
use tidings_engine::store::messages::unknown;
use tidings_engine::{AcceptRequest, PersonDecides};

async fn states(world: &World, message: MessageId) -> (MessageStatus, DeliveryState, usize) {
    let told = world.explain(message).await;
    (
        told.status,
        told.deliveries[0].state,
        told.deliveries[0].attempts.len(),
    )
}

#[tokio::test]
async fn a_call_without_an_answer_is_looked_up() {
    let mut world = World::new().await;
    let ann = world
        .contact(Some("timeout-after-accept@example.com"), None)
        .await;
    let accepted = world.accept(welcome(ann)).await.unwrap();
    world.run().await;
    assert_eq!(
        states(&world, accepted.message_id).await,
        (MessageStatus::Queued, DeliveryState::Unknown, 1)
    );
    let mut tx = world.engine.store().tenant(world.tenant).tx().await.unwrap();
    assert_eq!(
        unknown::list(&mut tx, world.tenant, None, 10)
            .await
            .unwrap()
            .len(),
        1,
        "it is shown"
    );
    tx.commit().await.unwrap();
    world.advance(15);
    world.run().await;
    assert_eq!(
        states(&world, accepted.message_id).await,
        (MessageStatus::Sent, DeliveryState::Accepted, 1)
    );
    let count = world.ledger().await;
    assert_eq!((count.messages, count.duplicates), (1, 0));
    assert_eq!(world.jobs("send_email").await, ["complete"]);
    assert_eq!(
        world
            .database
            .texts("SELECT delivery_id FROM unknown_deliveries")
            .await
            .len(),
        0
    );
}

#[tokio::test]
async fn what_certainly_did_not_arrive_is_sent_again() {
    let mut world = World::bare().await;
    let email = world
        .connect(Channel::Email, json!({"fault": "timeout_before_accept"}), 0)
        .await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let accepted = world.accept(welcome(ann)).await.unwrap();
    world.run().await;
    world.configure(email, Channel::Email, json!({}), true).await;
    world.advance(15);
    world.run().await;
    assert_eq!(
        states(&world, accepted.message_id).await,
        (MessageStatus::Sent, DeliveryState::Accepted, 2)
    );
    let attempts = &world.explain(accepted.message_id).await.deliveries[0].attempts;
    assert_eq!(
        attempts[0].outcome,
        AttemptOutcome::Rejected,
        "the lookup proved it"
    );
    assert_eq!(world.ledger().await.messages, 1);
}

/// A message whose provider took it without answering and cannot be asked any more.
async fn silent(world: &mut World, category: Category) -> (MessageId, ConnectionId) {
    let email = world
        .connect(Channel::Email, json!({"fault": "timeout_after_accept"}), 0)
        .await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let accepted = world
        .accept(AcceptRequest {
            category: Some(category),
            ..welcome(ann)
        })
        .await
        .unwrap();
    world.run().await;
    world.configure(email, Channel::Email, json!({}), false).await;
    (accepted.message_id, email)
}

#[tokio::test]
async fn service_is_held_for_a_person() {
    let mut world = World::bare().await;
    let (message, email) = silent(&mut world, Category::Service).await;
    for _ in 0..12 {
        world.advance(60);
        world.run().await;
    }
    assert_eq!(
        states(&world, message).await,
        (MessageStatus::Queued, DeliveryState::Held, 1)
    );
    assert_eq!(
        world.database.texts("SELECT cause FROM dead_letters").await,
        ["unknown_outcome"]
    );
    world.configure(email, Channel::Email, json!({}), true).await;
    world
        .engine
        .decide_unknown(world.tenant, message, PersonDecides::Resend)
        .await
        .unwrap();
    world.run().await;
    assert_eq!(
        states(&world, message).await,
        (MessageStatus::Sent, DeliveryState::Accepted, 2)
    );
    let count = world.ledger().await;
    assert_eq!(
        (count.messages, count.duplicates),
        (1, 1),
        "sent again under the same reference, and counted"
    );
    assert!(
        world
            .engine
            .decide_unknown(world.tenant, message, PersonDecides::Drop)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_person_may_say_that_it_arrived_or_leave_it() {
    for (decision, status) in [
        (PersonDecides::Arrived, MessageStatus::Sent),
        (PersonDecides::Drop, MessageStatus::Failed),
    ] {
        let mut world = World::bare().await;
        let (message, _) = silent(&mut world, Category::Service).await;
        world
            .engine
            .decide_unknown(world.tenant, message, decision)
            .await
            .unwrap();
        world.advance(3600);
        world.run().await;
        assert_eq!(world.status(message).await, status);
        assert_eq!(world.ledger().await.messages, 1);
    }
}

#[tokio::test]
async fn a_repetition_is_refused_until_the_provider_is_there_again_and_taken_once() {
    let mut world = World::bare().await;
    let (message, email) = silent(&mut world, Category::Transactional).await;
    // Nothing listens there: neither questions nor repetitions get through.
    let nobody = json!({"base_url": "http://127.0.0.1:9"});
    world.configure(email, Channel::Email, nobody, true).await;
    for _ in 0..3 {
        world.advance(60);
        world.run().await;
    }
    let (status, state, attempts) = states(&world, message).await;
    assert_eq!(
        status,
        MessageStatus::Queued,
        "a no to a repetition is no word about the call before"
    );
    assert!(
        attempts > 1 && state != DeliveryState::Failed,
        "{state:?} after {attempts}"
    );
    world.configure(email, Channel::Email, json!({}), true).await;
    world.advance(600);
    world.run().await;
    let (status, state, _) = states(&world, message).await;
    assert_eq!((status, state), (MessageStatus::Sent, DeliveryState::Accepted));
    assert_eq!(
        world.ledger().await.messages,
        1,
        "the same reference: the provider took it once"
    );
}

#[tokio::test]
async fn what_may_have_arrived_over_a_connection_that_is_off_is_held() {
    let mut world = World::bare().await;
    let (message, _) = silent(&mut world, Category::Transactional).await;
    world.connect(Channel::Email, json!({}), 1).await;
    for _ in 0..12 {
        world.advance(60);
        world.run().await;
    }
    assert_eq!(
        states(&world, message).await,
        (MessageStatus::Queued, DeliveryState::Held, 1)
    );
    assert_eq!(world.ledger().await.messages, 1);
}

#[tokio::test]
async fn a_policy_may_give_up() {
    let mut world = World::bare().await;
    world
        .policy(|policy| {
            *policy
                .on_unknown
                .entry(Category::Service)
                .or_insert(OnUnknown::Drop) = OnUnknown::Drop;
        })
        .await;
    let (message, _) = silent(&mut world, Category::Service).await;
    for _ in 0..12 {
        world.advance(60);
        world.run().await;
    }
    assert_eq!(
        states(&world, message).await,
        (MessageStatus::Failed, DeliveryState::Dropped, 1)
    );
}

#[tokio::test]
async fn a_worker_that_dies_after_the_provider_took_it_sends_nothing_twice() {
    let mut world = World::bare().await;
    world
        .connect(Channel::Email, json!({"fault": "slow", "slow_ms": 60_000}), 0)
        .await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let accepted = world.accept(welcome(ann)).await.unwrap();
    let dying = world.another_engine(2).await;
    tokio::select! {
        biased;
        () = world.taken(1) => {}
        _ = dying.run_due() => panic!("the slow provider answered"),
    }
    assert_eq!(
        states(&world, accepted.message_id).await,
        (MessageStatus::Queued, DeliveryState::Dispatching, 1)
    );
    world.run().await;
    assert_eq!(
        states(&world, accepted.message_id).await.1,
        DeliveryState::Dispatching,
        "the lease still holds"
    );
    world.advance(31);
    world.run().await;
    assert_eq!(
        states(&world, accepted.message_id).await.1,
        DeliveryState::Unknown,
        "what may have been sent is named"
    );
    world.advance(15);
    world.run().await;
    assert_eq!(
        states(&world, accepted.message_id).await,
        (MessageStatus::Sent, DeliveryState::Accepted, 1)
    );
    let count = world.ledger().await;
    assert_eq!((count.messages, count.duplicates), (1, 0));
}

#[tokio::test]
async fn a_worker_that_dies_before_the_gate_loses_nothing() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let accepted = world.accept(welcome(ann)).await.unwrap();
    world.claim_and_die(7).await;
    world.run().await;
    assert_eq!(world.ledger().await.messages, 0, "another worker holds it");
    world.advance(31);
    world.run().await;
    assert_eq!(
        states(&world, accepted.message_id).await,
        (MessageStatus::Sent, DeliveryState::Accepted, 1)
    );
}
