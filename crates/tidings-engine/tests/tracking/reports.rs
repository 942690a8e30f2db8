//! Reports about deliveries: verified, idempotent, in any order.

use crate::hooks::{SendGrid, Twilio, deliver, events, picture, reference, suppressions};
use crate::world::{World, direct, welcome};
use serde_json::{Value, json};
use tidings_core::{Channel, ConnectionId, ContactId, DeliveryState, MessageId, MessageStatus, Provenance};
use tidings_engine::WebhookError;
use tidings_engine::providers::WebhookRefusal;

struct Sent {
    world: World,
    grid: SendGrid,
    ann: ContactId,
    message: MessageId,
    reference: String,
}

/// A message that SendGrid took.
async fn sent() -> Sent {
    let mut world = World::bare().await;
    let grid = SendGrid::connect(&mut world).await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let message = world.accept(welcome(ann)).await.unwrap().message_id;
    world.run().await;
    let reference = reference(&world, message).await;
    Sent {
        world,
        grid,
        ann,
        message,
        reference,
    }
}

impl Sent {
    fn event(&self, name: &str, id: &str, more: Value) -> Value {
        let mut event = json!({
            "event": name, "sg_event_id": id, "email": "ann@example.com", "timestamp": 1_781_622_005,
            "sg_message_id": "mail-0.recvd-1", "tidings_reference": self.reference,
        });
        let fields = event.as_object_mut().unwrap();
        let Value::Object(more) = more else {
            panic!("{more}")
        };
        fields.extend(more);
        event
    }

    async fn report(&self, events: Value) {
        self.grid.send(&self.world, events).await.unwrap();
        self.world.run().await;
    }

    async fn status(&self) -> MessageStatus {
        self.world.explain(self.message).await.status
    }
}

#[tokio::test]
async fn a_delivery_is_reported() {
    let sent = sent().await;
    assert_eq!(sent.status().await, MessageStatus::Sent);
    sent.report(json!([sent.event("delivered", "e1", json!({}))]))
        .await;
    let told = sent.world.explain(sent.message).await;
    assert_eq!(
        (told.status, told.provenance),
        (MessageStatus::Delivered, Provenance::Webhook)
    );
    assert_eq!(told.deliveries[0].state, DeliveryState::Delivered);
    assert_eq!(sent.world.jobs("webhook.process").await, ["complete"]);
    assert_eq!(events(&sent.world, "MessageDelivered").await, 1);
}

#[tokio::test]
async fn what_is_not_signed_by_the_connection_changes_nothing() {
    let mut sent = sent().await;
    let other = SendGrid::connect_as(&mut sent.world, "another").await;
    let before = picture(&sent.world).await;
    let good = sent.grid.request(&json!([sent.event(
        "bounce",
        "e1",
        json!({"type": "bounce", "status": "5.1.1"})
    )]));
    let mut flipped = good.clone();
    let mut body = flipped.body.to_vec();
    body[10] ^= 1;
    flipped.body = body.into();
    let mut truncated = good.clone();
    truncated.body = truncated.body.slice(..20);
    let mut empty = good.clone();
    empty.body = Vec::new().into();
    let mut unsigned = good.clone();
    unsigned.headers.retain(|(name, _)| !name.contains("signature"));
    let foreign = other.request(&json!([sent.event("delivered", "e1", json!({}))]));
    for (name, request) in [
        ("flipped", &flipped),
        ("truncated", &truncated),
        ("empty", &empty),
        ("unsigned", &unsigned),
        ("foreign", &foreign),
    ] {
        let refused = deliver(&sent.world, "sendgrid", sent.grid.connection, request)
            .await
            .unwrap_err();
        let WebhookError::Refused(refusal) = refused else {
            panic!("{name}: {refused}")
        };
        let expected = if name == "unsigned" {
            WebhookRefusal::SignatureMissing
        } else {
            WebhookRefusal::SignatureInvalid
        };
        assert_eq!(refusal, expected, "{name}");
    }
    sent.world.run().await;
    assert_eq!(picture(&sent.world).await, before);
    assert!(sent.world.jobs("webhook.process").await.is_empty());
}

#[tokio::test]
async fn unknown_connections_and_foreign_providers_answer_alike() {
    let sent = sent().await;
    let known = sent.grid.connection.to_string();
    let unknown = ConnectionId(uuid::Uuid::from_u128(7)).to_string();
    for (provider, connection) in [
        ("twilio", known.as_str()),
        ("nonsense", &known),
        ("sendgrid", &unknown),
        ("sendgrid", "x"),
        ("smtp", &known),
    ] {
        let refused = sent
            .world
            .engine
            .webhook_receiver(provider, connection)
            .await
            .unwrap_err();
        assert!(
            matches!(refused, WebhookError::UnknownConnection),
            "{provider} {connection}: {refused}"
        );
    }
}

#[tokio::test]
async fn a_replay_changes_nothing_twice() {
    let sent = sent().await;
    let bounce = sent.event("bounce", "e1", json!({"type": "bounce", "status": "5.1.1"}));
    sent.report(json!([bounce, bounce])).await;
    let once = picture(&sent.world).await;
    // The same bytes, the same event in another webhook, and beside another.
    sent.report(json!([bounce, bounce])).await;
    sent.report(json!([bounce])).await;
    assert_eq!(picture(&sent.world).await, once);
    assert_eq!(suppressions(&sent.world).await, ["email hard_bounce"]);
    assert_eq!(
        sent.world.jobs("webhook.process").await.len(),
        2,
        "the same bytes are stored once"
    );
}

#[tokio::test]
async fn order_does_not_matter() {
    let kinds = [
        ("processed", "e1"),
        ("delivered", "e2"),
        ("open", "e3"),
        ("click", "e4"),
    ];
    let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1]];
    for order in orders {
        let sent = sent().await;
        for at in order {
            let (name, id) = kinds[at];
            sent.report(json!([sent.event(name, id, json!({}))])).await;
        }
        assert_eq!(sent.status().await, MessageStatus::Clicked, "{order:?}");
        assert_eq!(
            sent.world.explain(sent.message).await.deliveries[0].state,
            DeliveryState::Delivered
        );
    }
}

#[tokio::test]
async fn a_bounce_after_the_delivery_counts() {
    let sent = sent().await;
    sent.report(json!([sent.event("delivered", "e1", json!({}))]))
        .await;
    sent.report(json!([sent.event(
        "bounce",
        "e2",
        json!({"type": "bounce", "status": "5.1.1", "reason": "no such user"})
    )]))
    .await;
    assert_eq!(sent.status().await, MessageStatus::Bounced);
    assert_eq!(suppressions(&sent.world).await, ["email hard_bounce"]);
    // And a late delivery report does not take it back.
    sent.report(json!([sent.event("delivered", "e3", json!({}))]))
        .await;
    assert_eq!(sent.status().await, MessageStatus::Bounced);
    let next = sent.world.accept(direct(sent.ann, "again")).await.unwrap();
    assert_eq!(next.status, MessageStatus::Suppressed);
}

#[tokio::test]
async fn a_complaint_suppresses_and_a_block_does_not() {
    let sent = sent().await;
    sent.report(json!([sent.event(
        "bounce",
        "e1",
        json!({"type": "blocked", "status": "5.7.1"})
    )]))
    .await;
    assert!(suppressions(&sent.world).await.is_empty());
    sent.report(json!([sent.event("spamreport", "e2", json!({}))]))
        .await;
    assert_eq!(suppressions(&sent.world).await, ["email complaint"]);
}

/// When the event named `e<days ago>` happened.
fn days_ago(days: i64) -> i64 {
    1_781_622_000 - days * 86_400
}

impl Sent {
    async fn soft_bounce(&self, id: &str, days: i64) {
        let more = json!({"type": "expired", "status": "4.2.2", "timestamp": days_ago(days)});
        self.report(json!([self.event("bounce", id, more)])).await;
    }
}

#[tokio::test]
async fn soft_bounces_on_three_days_leave_an_address_alone_for_thirty() {
    let sent = sent().await;
    for (id, days) in [("e1", 2), ("e2", 2), ("e3", 1)] {
        sent.soft_bounce(id, days).await;
        assert!(suppressions(&sent.world).await.is_empty(), "{id}");
    }
    // The same report again is no other bounce; one of a third day is.
    sent.soft_bounce("e3", 1).await;
    assert!(suppressions(&sent.world).await.is_empty());
    sent.soft_bounce("e4", 0).await;
    assert_eq!(suppressions(&sent.world).await, ["email soft_bounce"]);
    assert_eq!(events(&sent.world, "AddressSuppressed").await, 1);
    let refused = sent.world.accept(welcome(sent.ann)).await.unwrap();
    assert_eq!(refused.status, MessageStatus::Suppressed);
    let why = format!("{:?}", sent.world.explain(refused.message_id).await.decisions);
    assert!(why.contains("left alone until 2026-07-16"), "{why}");
    // It ends by itself.
    sent.world.advance(30 * 86_400);
    let again = sent.world.accept(welcome(sent.ann)).await.unwrap();
    assert_ne!(again.status, MessageStatus::Suppressed);
}

#[tokio::test]
async fn a_delivery_between_makes_soft_bounces_count_anew_and_blocks_never_count() {
    let sent = sent().await;
    // Another message to the same address arrived yesterday.
    let other = sent.world.accept(welcome(sent.ann)).await.unwrap().message_id;
    sent.world.run().await;
    for statement in [
        format!("UPDATE deliveries SET state = 'delivered' WHERE message_id = '{other}'"),
        format!("UPDATE messages SET delivered_at = '2026-06-15T15:00:00Z' WHERE id = '{other}'"),
    ] {
        sent.world.database.execute(&statement).await;
    }
    for days in [3, 2, 0] {
        let more = json!({"type": "blocked", "status": "5.7.1", "timestamp": days_ago(days)});
        sent.report(json!([sent.event("bounce", &format!("b{days}"), more)]))
            .await;
        sent.soft_bounce(&format!("e{days}"), days).await;
    }
    assert!(suppressions(&sent.world).await.is_empty());
}

#[tokio::test]
async fn a_report_suppresses_no_stranger() {
    let mut sent = sent().await;
    sent.world.contact(Some("bob@example.com"), None).await;
    for (number, email) in ["bob@example.com", "nobody@example.com"].into_iter().enumerate() {
        let id = format!("e{number}");
        let event = sent.event(
            "bounce",
            &id,
            json!({"type": "bounce", "status": "5.1.1", "email": email}),
        );
        sent.report(json!([event])).await;
    }
    assert!(suppressions(&sent.world).await.is_empty());
}

#[tokio::test]
async fn a_report_before_the_outcome_is_recorded_settles_it() {
    let sent = sent().await;
    // The worker died between the call and its outcome: only the intent is known.
    sent.world.database.execute("DELETE FROM provider_messages").await;
    sent.world
        .database
        .execute("UPDATE deliveries SET state = 'dispatching', provider_message_id = NULL")
        .await;
    sent.world
        .database
        .execute("UPDATE attempts SET outcome = 'intended', finished_at = NULL")
        .await;
    sent.world
        .database
        .execute("UPDATE messages SET status = 'queued', status_provenance = 'inferred', sent_at = NULL")
        .await;
    sent.report(json!([sent.event("delivered", "e1", json!({}))]))
        .await;
    let told = sent.world.explain(sent.message).await;
    assert_eq!(told.status, MessageStatus::Delivered);
    assert_eq!(
        told.deliveries[0].attempts[0].outcome,
        tidings_core::AttemptOutcome::Accepted
    );
}

#[tokio::test]
async fn a_report_about_nothing_we_sent_waits_and_is_given_up() {
    let sent = sent().await;
    let before = sent.status().await;
    let mut event = sent.event("bounce", "e1", json!({"type": "bounce", "status": "5.1.1"}));
    event["sg_message_id"] = json!("mail-99.x");
    event["tidings_reference"] = json!("0197a2b0000070008000000000000001-1");
    sent.report(json!([event])).await;
    assert_eq!(sent.world.jobs("webhook.process").await, ["pending"]);
    for _ in 0..6 {
        sent.world.advance(3600);
        sent.world.run().await;
    }
    assert_eq!(sent.world.jobs("webhook.process").await, ["complete"]);
    let failures = sent
        .world
        .database
        .texts("SELECT failure FROM webhook_inbox WHERE processed_at IS NOT NULL")
        .await;
    assert!(failures[0].contains("never sent"), "{failures:?}");
    assert_eq!(
        (sent.status().await, suppressions(&sent.world).await.len()),
        (before, 0)
    );
}

#[tokio::test]
async fn one_connection_cannot_report_about_anothers_messages() {
    let mut sent = sent().await;
    let other = SendGrid::connect_as(&mut sent.world, "another").await;
    let event = sent.event("bounce", "e1", json!({"type": "bounce", "status": "5.1.1"}));
    other.send(&sent.world, json!([event])).await.unwrap();
    sent.world.run().await;
    assert_eq!(sent.status().await, MessageStatus::Sent);
    assert!(suppressions(&sent.world).await.is_empty());
}

#[tokio::test]
async fn twilio_statuses_find_their_message_by_reference_and_by_id() {
    let mut world = World::bare().await;
    let twilio = Twilio::connect(&mut world).await;
    let ann = world.contact(None, Some("+12025550123")).await;
    let mut request = direct(ann, "Your car is ready.");
    request.channel = Some(Channel::Sms);
    let message = world.accept(request).await.unwrap().message_id;
    world.run().await;
    let told = world.explain(message).await;
    assert_eq!(told.status, MessageStatus::Sent, "{told:?}");
    let sid = world
        .database
        .texts("SELECT provider_message_id FROM deliveries")
        .await
        .remove(0);
    let query = format!("?reference={}", reference(&world, message).await);
    let fields = [
        ("MessageSid", sid.as_str()),
        ("MessageStatus", "sent"),
        ("To", "+12025550123"),
    ];
    twilio.send(&world, &query, &fields).await.unwrap();
    let fields = [
        ("MessageSid", sid.as_str()),
        ("MessageStatus", "delivered"),
        ("To", "+12025550123"),
    ];
    twilio.send(&world, "", &fields).await.unwrap();
    world.run().await;
    assert_eq!(world.explain(message).await.status, MessageStatus::Delivered);
    // Twilio says afterwards that the number opted out there.
    let other = [
        ("MessageSid", sid.as_str()),
        ("MessageStatus", "failed"),
        ("ErrorCode", "21610"),
        ("To", "+12025550123"),
    ];
    twilio.send(&world, "", &other).await.unwrap();
    world.run().await;
    assert_eq!(suppressions(&world).await, ["sms stop"]);
}
