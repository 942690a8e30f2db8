//! Routing among connections with rate limits, as every real provider has one: slots never decide who carries a message.

use crate::world::{World, direct};
use jiff::SignedDuration;
use serde_json::json;
use tidings_core::route::RouteCode;
use tidings_core::{Channel, ConnectionId, ContactId, MessageId, MessageStatus, Urgency};
use tidings_engine::{AcceptRequest, Drill};

/// Two e-mail connections with the same limit, the first before the second.
async fn pair(first: serde_json::Value, per_minute: u32) -> (World, ConnectionId, ConnectionId, ContactId) {
    let mut world = World::bare().await;
    let main = world.connect(Channel::Email, first, 0).await;
    let spare = world.connect(Channel::Email, json!({}), 1).await;
    limit(&world, per_minute).await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    (world, main, spare, ann)
}

async fn limit(world: &World, per_minute: u32) {
    let rate = format!(r#"UPDATE connections SET rate_limit = '{{"limit": {per_minute}, "per_ms": 60000}}'"#);
    world.database.execute(&rate).await;
}

async fn accept(world: &World, contact: ContactId) -> MessageId {
    let request = AcceptRequest {
        urgency: Some(Urgency::Critical),
        category: Some(tidings_core::Category::Transactional),
        channel: Some(Channel::Email),
        ..direct(contact, "The gate has changed.")
    };
    world.accept(request).await.unwrap().message_id
}

/// Breaks a connection for longer than a test takes.
async fn shut(world: &World, connection: ConnectionId) {
    let drill = Drill::Break(SignedDuration::from_mins(30));
    world
        .engine
        .drill(world.tenant, connection, drill, "test")
        .await
        .unwrap();
}

/// By which connections a message was tried.
async fn ways(world: &World, message: MessageId) -> Vec<ConnectionId> {
    let told = world.explain(message).await;
    told.deliveries[0]
        .attempts
        .iter()
        .map(|one| one.connection_id)
        .collect()
}

#[tokio::test]
async fn a_refusal_fails_over_to_a_limited_connection() {
    let (world, main, spare, ann) = pair(json!({"fault": "server_error"}), 600).await;
    let message = accept(&world, ann).await;
    world.run().await;
    assert_eq!(ways(&world, message).await, [main, spare]);
    assert_eq!(world.status(message).await, MessageStatus::Sent);
}

#[tokio::test]
async fn a_broken_connection_keeps_no_slots_from_the_other() {
    let (world, main, spare, ann) = pair(json!({}), 600).await;
    shut(&world, main).await;
    let message = accept(&world, ann).await;
    world.run().await;
    assert_eq!(ways(&world, message).await, [spare]);
    let told = world.explain(message).await;
    assert_eq!(
        told.deliveries[0].attempts[0].route.why,
        Some(RouteCode::TakeOver)
    );
}

#[tokio::test]
async fn a_full_connection_hands_over_and_the_rest_waits_for_a_reason() {
    let (world, main, spare, ann) = pair(json!({}), 1).await;
    let mut messages = Vec::new();
    for _ in 0..3 {
        messages.push(accept(&world, ann).await);
    }
    world.run().await;
    assert_eq!(ways(&world, messages[0]).await, [main]);
    assert_eq!(ways(&world, messages[1]).await, [spare]);
    assert!(ways(&world, messages[2]).await.is_empty());
    let why = world
        .database
        .texts("SELECT last_error FROM communication_jobs WHERE status = 'pending'")
        .await;
    assert!(why.len() == 1 && why[0].contains("rate limit"), "{why:?}");
    for _ in 0..80 {
        world.advance(1);
        world.run().await;
    }
    assert_eq!(world.status(messages[2]).await, MessageStatus::Sent);
    assert_eq!(world.ledger().await.duplicates, 0);
}

#[tokio::test]
async fn what_waits_for_its_own_connection_holds_up_nobody_else() {
    let (world, main, spare, ann) = pair(json!({"fault": "timeout_after_accept"}), 600).await;
    let lost = accept(&world, ann).await;
    world.run().await;
    // What became of it is not known, and its connection is shut while it is to be repeated there.
    world
        .database
        .execute("UPDATE deliveries SET state = 'queued', resolve_after = NULL WHERE state = 'unknown'")
        .await;
    shut(&world, main).await;
    world.advance(20);
    let other = accept(&world, ann).await;
    world.run().await;
    assert_eq!(ways(&world, other).await, [spare]);
    assert_eq!(ways(&world, lost).await, [main], "never by another connection");
}

#[tokio::test]
async fn what_may_have_arrived_is_not_sent_another_way_when_its_connection_is_switched_off() {
    let (world, main, _, ann) = pair(json!({"fault": "timeout_after_accept"}), 600).await;
    let lost = accept(&world, ann).await;
    world.run().await;
    world.configure(main, Channel::Email, json!({}), false).await;
    for _ in 0..40 {
        world.advance(60);
        world.run().await;
    }
    assert_eq!(ways(&world, lost).await, [main]);
    let held = world
        .database
        .texts("SELECT held::text FROM unknown_deliveries")
        .await;
    assert_eq!(held, ["true"], "a person decides");
    // Who takes the risk of another way.
    world
        .engine
        .decide_unknown(world.tenant, lost, tidings_engine::PersonDecides::Resend)
        .await
        .unwrap();
    world.run().await;
    assert_eq!(world.status(lost).await, MessageStatus::Sent);
    assert_eq!(ways(&world, lost).await.len(), 2);
}

#[tokio::test]
async fn a_backlog_tells_when_it_ends_unless_something_carries_it_without_a_limit() {
    let (mut world, main, _, ann) = pair(json!({}), 60).await;
    for _ in 0..10 {
        accept(&world, ann).await;
    }
    let backlogs = async |world: &World| {
        let mut conn = world.engine.store().worker().acquire().await.unwrap();
        let rows = tidings_queue::stats(&mut conn, Some(world.tenant), world.engine.now()).await;
        drop(conn);
        world.engine.backlogs(&rows.unwrap()).await.unwrap()
    };
    let told = backlogs(&world).await;
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].waiting, &told[0].limits),
        (10, &vec!["60/min".to_owned(); 2])
    );
    let seconds = told[0].ends_at.duration_since(world.engine.now()).as_secs_f64();
    assert!(
        (seconds - 5.4).abs() < 0.01,
        "ten at two a second, less what a limit is kept by: {seconds}"
    );

    shut(&world, main).await;
    let told = backlogs(&world).await;
    assert_eq!(told[0].limits, ["60/min"]);

    world.connect(Channel::Email, json!({}), 2).await;
    assert_eq!(backlogs(&world).await, [], "the third has no limit");
}
