//! Rate limits: what has no slot waits in the line, in its order, and costs nobody anything.

use crate::world::{World, direct};
use jiff::SignedDuration;
use tidings_core::{MessageStatus, Urgency};

/// One window of the limit, in steps in which two nodes take turns.
const WINDOW_MS: i64 = 10_000;
const STEP_MS: i64 = 250;

async fn limited(per_window: u32) -> World {
    let world = World::new().await;
    let rate = format!(
        r#"UPDATE connections SET rate_limit = '{{"limit": {per_window}, "per_ms": {WINDOW_MS}}}' WHERE channel = 'email'"#
    );
    world.database.execute(&rate).await;
    world
}

async fn backlog(world: &mut World, messages: u32) {
    for number in 0..messages {
        let contact = world.contact(Some(&format!("c{number}@example.com")), None).await;
        world.accept(direct(contact, "News")).await.unwrap();
    }
}

#[tokio::test]
async fn two_nodes_keep_a_limit_and_the_order_without_costing_a_try() {
    let mut world = limited(20).await;
    backlog(&mut world, 30).await;
    let other = world.another_engine(7).await;
    let mut taken = vec![0];
    for _ in 0..(WINDOW_MS / STEP_MS) {
        world.run().await;
        other.run_due().await.unwrap();
        taken.push(world.ledger().await.messages);
        world.clock.advance(SignedDuration::from_millis(STEP_MS));
    }
    let sent = *taken.last().unwrap();
    assert!((18..=20).contains(&sent), "{taken:?}");
    let order = world
        .database
        .texts("SELECT (status = 'complete')::text FROM communication_jobs WHERE job_type = 'send_email' ORDER BY id")
        .await;
    let done = order.iter().take_while(|one| *one == "true").count();
    assert_eq!(done as i64, sent, "the first came first: {order:?}");
    let tries = world
        .database
        .texts("SELECT DISTINCT retry_count::text FROM communication_jobs")
        .await;
    assert_eq!(tries, ["0"]);
    // And it goes on to the end.
    for _ in 0..(2 * WINDOW_MS / STEP_MS) {
        world.run().await;
        world.clock.advance(SignedDuration::from_millis(STEP_MS));
    }
    assert_eq!(world.ledger().await.messages, 30);
}

#[tokio::test]
async fn an_urgent_message_has_the_next_slot_and_other_channels_go_on() {
    let mut world = limited(10).await;
    backlog(&mut world, 20).await;
    world.run().await;
    let before = world.ledger().await.messages;
    assert!(before <= 2, "{before}");
    let ann = world.contact(Some("ann@example.com"), None).await;
    let mut urgent = direct(ann, "Now");
    urgent.urgency = Some(Urgency::Critical);
    let urgent = world.accept(urgent).await.unwrap();
    let bob = world.contact(None, Some("+14155550123")).await;
    let mut text = direct(bob, "Now");
    text.urgency = Some(Urgency::Critical);
    let text = world.accept(text).await.unwrap();
    world.run().await;
    assert_eq!(world.explain(text.message_id).await.status, MessageStatus::Sent);
    for _ in 0..6 {
        world.clock.advance(SignedDuration::from_millis(STEP_MS));
        world.run().await;
    }
    assert_eq!(world.explain(urgent.message_id).await.status, MessageStatus::Sent);
    assert!(world.ledger().await.messages < 20);
}
