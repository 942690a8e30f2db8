//! Limits of time, one within the other: a channel gives way when its time is over, a message is not sent when its is.

use crate::world::{World, direct};
use jiff::SignedDuration;
use serde_json::json;
use tidings_core::time_limit::TimeLimits;
use tidings_core::{Category, Channel, ContactId, DeliveryState, ErrorCategory, MessageStatus, Urgency};
use tidings_engine::{AcceptRequest, Drill, Explanation};

/// A text that may go at any hour and falls back to mail.
fn text(contact: ContactId) -> AcceptRequest {
    AcceptRequest {
        urgency: Some(Urgency::Critical),
        category: Some(Category::Transactional),
        channel: Some(Channel::Sms),
        ..direct(contact, "The gate has changed.")
    }
}

/// Texts by a connection that does this, mail, and two minutes for a text.
async fn two_minutes(sms: serde_json::Value) -> (World, tidings_core::ConnectionId, ContactId) {
    let mut world = World::bare().await;
    let connection = world.connect(Channel::Sms, sms, 0).await;
    world.connect(Channel::Email, json!({}), 0).await;
    world
        .policy(|policy| {
            policy.time_limits = TimeLimits {
                channel_seconds: [(Channel::Sms, 120)].into(),
                message_seconds: None,
            };
        })
        .await;
    let ann = world.contact(Some("ann@example.com"), Some("+12025550142")).await;
    (world, connection, ann)
}

fn states(told: &Explanation) -> Vec<(Channel, DeliveryState)> {
    told.deliveries
        .iter()
        .map(|delivery| (delivery.channel, delivery.state))
        .collect()
}

#[tokio::test]
async fn a_text_that_is_refused_becomes_a_mail_when_its_time_is_over() {
    let (world, _, ann) = two_minutes(json!({"fault": "server_error"})).await;
    let accepted = world.accept(text(ann)).await.unwrap();
    world.run().await;
    let told = world.explain(accepted.message_id).await;
    assert_eq!(states(&told), [(Channel::Sms, DeliveryState::RetryWait)]);
    // The next try would be within the time, the one after it five minutes later would not.
    world.advance(70);
    world.run().await;
    let told = world.explain(accepted.message_id).await;
    assert_eq!(
        states(&told),
        [
            (Channel::Sms, DeliveryState::Failed),
            (Channel::Email, DeliveryState::Accepted)
        ]
    );
    assert_eq!(told.status, MessageStatus::Sent);
    assert_eq!(told.deliveries[0].attempts.len(), 2);
    assert_eq!(
        told.deliveries[0].attempts[1].category,
        Some(ErrorCategory::Transient)
    );
}

#[tokio::test]
async fn a_text_that_waits_for_its_connection_becomes_a_mail_when_its_time_is_over() {
    let (world, sms, ann) = two_minutes(json!({})).await;
    let broken = Drill::Break(SignedDuration::from_mins(15));
    world
        .engine
        .drill(world.tenant, sms, broken, "operator")
        .await
        .unwrap();
    let accepted = world.accept(text(ann)).await.unwrap();
    world.run().await;
    assert_eq!(world.status(accepted.message_id).await, MessageStatus::Queued);
    world.advance(110);
    world.run().await;
    assert_eq!(world.status(accepted.message_id).await, MessageStatus::Queued);
    world.advance(11);
    world.run().await;
    let told = world.explain(accepted.message_id).await;
    assert_eq!(told.status, MessageStatus::Sent);
    assert_eq!(told.deliveries[0].attempts.len(), 0);
    assert_eq!(
        told.deliveries[0].last_error.as_deref(),
        Some("its time on sms is over")
    );
}

#[tokio::test]
async fn a_text_that_may_have_arrived_never_gives_way() {
    let (world, _, ann) = two_minutes(json!({"fault": "timeout_after_accept"})).await;
    let accepted = world.accept(text(ann)).await.unwrap();
    for _ in 0..5 {
        world.run().await;
        world.advance(60);
    }
    let told = world.explain(accepted.message_id).await;
    assert_eq!(told.deliveries.len(), 1, "{told:?}");
    assert_eq!(world.ledger().await.duplicates, 0);
}

#[tokio::test]
async fn the_last_channel_goes_on() {
    let (mut world, _, _) = two_minutes(json!({"fault": "server_error"})).await;
    let bob = world.contact(None, Some("+12025550143")).await;
    let accepted = world.accept(text(bob)).await.unwrap();
    for _ in 0..2 {
        world.run().await;
        world.advance(130);
    }
    let told = world.explain(accepted.message_id).await;
    assert_eq!(states(&told), [(Channel::Sms, DeliveryState::RetryWait)]);
}

#[tokio::test]
async fn a_message_becomes_too_old_where_it_says_nothing_of_it() {
    let mut world = World::new().await;
    world
        .policy(|policy| policy.time_limits.message_seconds = Some(3_600))
        .await;
    let ann = world.contact(Some("server-error@example.com"), None).await;
    let mut own = direct(ann, "By tomorrow.");
    own.expires_at = Some(
        world
            .now()
            .saturating_add(SignedDuration::from_hours(20))
            .unwrap(),
    );
    let (silent, own) = (
        world.accept(direct(ann, "By then.")).await.unwrap(),
        world.accept(own).await.unwrap(),
    );
    let after = |hours: i64| {
        let at = world
            .now()
            .saturating_add(SignedDuration::from_hours(hours))
            .unwrap();
        at.to_string()
    };
    let stored = "SELECT to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM messages ORDER BY id";
    assert_eq!(world.database.texts(stored).await, [after(1), after(20)]);
    world.run().await;
    for _ in 0..3 {
        world.advance(25 * 60);
        world.run().await;
    }
    let told = world.explain(silent.message_id).await;
    assert_eq!(told.status, MessageStatus::Suppressed, "{told:?}");
    assert_ne!(world.status(own.message_id).await, MessageStatus::Suppressed);
}
