//! Calls that fail: retries, fallbacks, suppressions, breakers, dead letters.

use crate::world::{World, direct, welcome};
use serde_json::json;
use tidings_core::{AttemptOutcome, Channel, DeliveryState, ErrorCategory, MessageStatus};
use tidings_engine::AcceptRequest;

#[tokio::test]
async fn a_failing_provider_is_tried_again_and_succeeds() {
    let mut world = World::bare().await;
    let email = world
        .connect(Channel::Email, json!({"fault": "server_error"}), 0)
        .await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let accepted = world.accept(welcome(ann)).await.unwrap();
    world.run().await;
    let told = world.explain(accepted.message_id).await;
    assert_eq!(told.deliveries[0].state, DeliveryState::RetryWait);
    assert_eq!(
        told.deliveries[0].attempts[0].category,
        Some(ErrorCategory::Transient)
    );
    // The first wait is a minute, give or take a tenth.
    world.advance(50);
    world.run().await;
    assert_eq!(
        world.explain(accepted.message_id).await.deliveries[0]
            .attempts
            .len(),
        1
    );
    world.configure(email, Channel::Email, json!({}), true).await;
    world.advance(20);
    world.run().await;
    let told = world.explain(accepted.message_id).await;
    assert_eq!(told.status, MessageStatus::Sent);
    assert_eq!(told.deliveries[0].attempts.len(), 2);
    assert_eq!(
        world
            .database
            .texts("SELECT retry_count FROM communication_jobs")
            .await,
        ["1"]
    );
}

#[tokio::test]
async fn tries_end_and_the_dead_letter_names_the_cause() {
    let mut world = World::new().await;
    let ann = world.contact(Some("server-error@example.com"), None).await;
    let accepted = world.accept(welcome(ann)).await.unwrap();
    for _ in 0..6 {
        world.run().await;
        world.advance(20 * 60);
    }
    let told = world.explain(accepted.message_id).await;
    assert_eq!(told.status, MessageStatus::Failed);
    assert_eq!(told.deliveries[0].attempts.len(), 4, "one call and three retries");
    assert_eq!(world.jobs("send_email").await, ["failed"]);
    assert_eq!(
        world.database.texts("SELECT cause FROM dead_letters").await,
        ["503"]
    );
}

#[tokio::test]
async fn a_rate_limit_waits_and_costs_no_try() {
    let mut world = World::new().await;
    let ann = world.contact(Some("rate-limited@example.com"), None).await;
    let accepted = world.accept(welcome(ann)).await.unwrap();
    for _ in 0..8 {
        world.run().await;
        world.advance(3);
    }
    let told = world.explain(accepted.message_id).await;
    assert_eq!(told.status, MessageStatus::Queued);
    assert!(
        told.deliveries[0].attempts.len() > 4,
        "{}",
        told.deliveries[0].attempts.len()
    );
    assert_eq!(
        world
            .database
            .texts("SELECT retry_count FROM communication_jobs")
            .await,
        ["0"]
    );
}

#[tokio::test]
async fn a_bad_address_fails_at_once_and_is_suppressed() {
    let mut world = World::new().await;
    let ann = world.contact(Some("rejected@example.com"), None).await;
    let accepted = world.accept(welcome(ann)).await.unwrap();
    world.run().await;
    let told = world.explain(accepted.message_id).await;
    assert_eq!(
        (told.status, told.deliveries[0].attempts.len()),
        (MessageStatus::Failed, 1)
    );
    assert_eq!(
        world.database.texts("SELECT reason FROM suppressions").await,
        ["hard_bounce"]
    );
    let next = world.accept(welcome(ann)).await.unwrap();
    assert_eq!(next.status, MessageStatus::Suppressed);
}

#[tokio::test]
async fn an_opt_out_at_the_provider_is_a_stop_here() {
    let mut world = World::new().await;
    let ann = world.contact(None, Some("+12025550109")).await;
    let request = || AcceptRequest {
        channel: Some(Channel::Sms),
        ..welcome(ann)
    };
    world.accept(request()).await.unwrap();
    world.run().await;
    assert_eq!(
        world.database.texts("SELECT reason FROM suppressions").await,
        ["stop"]
    );
    assert_eq!(
        world.accept(request()).await.unwrap().status,
        MessageStatus::Suppressed
    );
}

#[tokio::test]
async fn an_sms_that_fails_for_good_becomes_an_email() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), Some("+12025550105")).await;
    let accepted = world
        .accept(AcceptRequest {
            channel: Some(Channel::Sms),
            ..direct(ann, "Your table is ready.")
        })
        .await
        .unwrap();
    world.run().await;
    let told = world.explain(accepted.message_id).await;
    assert_eq!(told.status, MessageStatus::Sent);
    let states: Vec<_> = told
        .deliveries
        .iter()
        .map(|one| (one.channel, one.state))
        .collect();
    assert_eq!(
        states,
        [
            (Channel::Sms, DeliveryState::Failed),
            (Channel::Email, DeliveryState::Accepted)
        ]
    );
    assert_eq!(world.jobs("send_sms").await, ["failed_fallback_email"]);
    assert_eq!(world.jobs("send_email").await, ["complete"]);
}

#[tokio::test]
async fn whatsapp_falls_back_to_sms_and_then_to_email() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), Some("+12025550105")).await;
    world
        .database
        .execute("UPDATE contacts SET last_whatsapp_inbound_at = '2026-06-16T14:00:00Z'")
        .await;
    let accepted = world
        .accept(AcceptRequest {
            channel: Some(Channel::Whatsapp),
            ..direct(ann, "Hello.")
        })
        .await
        .unwrap();
    world.run().await;
    let told = world.explain(accepted.message_id).await;
    let channels: Vec<_> = told.deliveries.iter().map(|one| one.channel).collect();
    // The number is bad on every channel of a phone: the suppression of the first keeps nobody from the second, whose
    // own address is the same number known to be bad.
    assert_eq!(channels, [Channel::Whatsapp, Channel::Sms, Channel::Email]);
    assert_eq!(told.status, MessageStatus::Sent);
}

#[tokio::test]
async fn another_connection_takes_over_at_once() {
    let mut world = World::bare().await;
    let broken = world
        .connect(Channel::Email, json!({"fault": "server_error"}), 0)
        .await;
    let spare = world.connect(Channel::Email, json!({}), 1).await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let accepted = world.accept(welcome(ann)).await.unwrap();
    world.run().await;
    let told = world.explain(accepted.message_id).await;
    assert_eq!(told.status, MessageStatus::Sent);
    let tried: Vec<_> = told.deliveries[0]
        .attempts
        .iter()
        .map(|one| (one.connection_id, one.outcome))
        .collect();
    assert_eq!(
        tried,
        [
            (broken, AttemptOutcome::Rejected),
            (spare, AttemptOutcome::Accepted)
        ]
    );
    assert_eq!(
        world
            .database
            .texts("SELECT retry_count FROM communication_jobs")
            .await,
        ["0"]
    );
}

#[tokio::test]
async fn a_refused_credential_opens_the_breaker_and_waits() {
    let mut world = World::bare().await;
    let email = world
        .connect(Channel::Email, json!({"fault": "auth_failure"}), 0)
        .await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let accepted = world.accept(welcome(ann)).await.unwrap();
    world.run().await;
    assert_eq!(
        world.database.texts("SELECT breaker FROM connections").await,
        ["open"]
    );
    // While it is open nothing is called.
    let second = world.accept(welcome(ann)).await.unwrap();
    world.advance(30);
    world.run().await;
    assert!(
        world.explain(second.message_id).await.deliveries[0]
            .attempts
            .is_empty()
    );
    world.configure(email, Channel::Email, json!({}), true).await;
    world.advance(15 * 60);
    for _ in 0..4 {
        world.run().await;
        world.advance(60);
    }
    assert_eq!(world.status(accepted.message_id).await, MessageStatus::Sent);
    assert_eq!(world.status(second.message_id).await, MessageStatus::Sent);
    assert_eq!(
        world.database.texts("SELECT breaker FROM connections").await,
        ["closed"]
    );
}

#[tokio::test]
async fn without_a_connection_a_delivery_waits_for_one() {
    let mut world = World::bare().await;
    let email = world.connect(Channel::Email, json!({}), 0).await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let accepted = world.accept(welcome(ann)).await.unwrap();
    world.configure(email, Channel::Email, json!({}), false).await;
    world.run().await;
    assert_eq!(world.status(accepted.message_id).await, MessageStatus::Queued);
    world.configure(email, Channel::Email, json!({}), true).await;
    world.advance(10 * 60);
    world.run().await;
    assert_eq!(world.status(accepted.message_id).await, MessageStatus::Sent);
}
