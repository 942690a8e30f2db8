//! Rows of other programs: they become messages, and the row itself ends as its message does.

use crate::world::World;
use tidings_core::MessageStatus;

const DUE: &str = "'2026-06-16T15:00:00Z'";

async fn insert(world: &World, kind: &str, payload: &str) {
    let (tenant, due) = (world.tenant, DUE);
    let statement = format!(
        "INSERT INTO communication_jobs (tenant_id, job_type, payload, process_after, created_at) \
         VALUES ('{tenant}', '{kind}', '{payload}', {due}, {due})"
    );
    assert_eq!(world.database.execute(&statement).await, 1);
}

#[tokio::test]
async fn a_row_of_another_program_is_sent_and_completed() {
    let world = World::new().await;
    insert(
        &world,
        "send_sms",
        r#"{"to": "+12025550123", "body": "Your car is ready."}"#,
    )
    .await;
    insert(
        &world,
        "send_email",
        r#"{"to": "ann@example.com", "subject": "Hello", "body": "Your car is ready."}"#,
    )
    .await;
    insert(
        &world,
        "notify_customer",
        r#"{"customer_id": 42, "to": "bob@example.com", "message_type": "welcome",
            "context": {"client_name": "Bob", "event_type": "party"}, "urgent": true, "their_field": 1}"#,
    )
    .await;
    world.run().await;
    assert_eq!(world.ledger().await.messages, 3);
    for kind in ["send_sms", "send_email", "notify_customer"] {
        assert_eq!(world.jobs(kind).await, ["complete"], "{kind}");
    }
    assert_eq!(
        world
            .database
            .texts("SELECT id FROM communication_jobs")
            .await
            .len(),
        3,
        "the rows carry the messages"
    );
}

#[tokio::test]
async fn an_sms_row_that_fails_for_good_falls_back() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), Some("+12025550105")).await;
    insert(
        &world,
        "send_sms",
        &format!(r#"{{"contact_id": "{ann}", "body": "Your car is ready."}}"#),
    )
    .await;
    world.run().await;
    assert_eq!(world.jobs("send_sms").await, ["failed_fallback_email"]);
    assert_eq!(world.jobs("send_email").await, ["complete"]);
}

#[tokio::test]
async fn rows_that_cannot_be_messages_die_with_a_reason() {
    let world = World::new().await;
    insert(&world, "send_sms", r#"{"to": "12", "body": "x"}"#).await;
    insert(&world, "send_email", r#"{"to": "ann@example.com"}"#).await;
    insert(
        &world,
        "notify_customer",
        r#"{"customer_id": "nobody", "body": "x"}"#,
    )
    .await;
    world.run().await;
    let mut causes = world.database.texts("SELECT cause FROM dead_letters").await;
    causes.sort();
    assert_eq!(causes, ["malformed_address", "payload", "unknown_contact"]);
    let errors = world
        .database
        .texts("SELECT last_error FROM communication_jobs")
        .await;
    assert!(
        errors.iter().all(|error| !error.contains("ann@example.com")),
        "personal data in {errors:?}"
    );
}

#[tokio::test]
async fn a_row_waits_for_the_morning_and_is_withdrawn_by_a_rule() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    world.clock.set("2026-06-16T23:30:00Z".parse().unwrap());
    insert(
        &world,
        "send_email",
        &format!(r#"{{"contact_id": "{ann}", "body": "Good morning."}}"#),
    )
    .await;
    let eve = world.contact(Some("eve@example.com"), None).await;
    insert(
        &world,
        "send_email",
        &format!(r#"{{"contact_id": "{eve}", "body": "Buy!", "category": "marketing"}}"#),
    )
    .await;
    world.run().await;
    assert_eq!(world.jobs("send_email").await, ["pending", "cancelled"]);
    world.clock.set("2026-06-17T09:00:00Z".parse().unwrap());
    world.run().await;
    assert_eq!(world.jobs("send_email").await, ["complete", "cancelled"]);
    let statuses = world
        .database
        .texts("SELECT status FROM messages ORDER BY id")
        .await;
    assert!(
        statuses.contains(&MessageStatus::Sent.to_string()),
        "{statuses:?}"
    );
    assert_eq!(world.ledger().await.messages, 1);
}
