//! A request becomes a message, and the same request stays one.

use crate::world::{World, welcome};
use tidings_core::decide::Verdict;
use tidings_core::{AttemptOutcome, Channel, DeliveryState, MessageStatus};

#[tokio::test]
async fn a_request_is_decided_rendered_queued_sent_and_explained() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), Some("+12025550123")).await;
    let accepted = world.accept(welcome(ann)).await.unwrap();
    assert_eq!(accepted.status, MessageStatus::Queued);
    assert!(
        matches!(&accepted.verdict, Verdict::Send(plan) if plan.channels.first() == Some(&Channel::Email))
    );
    assert_eq!(world.jobs("send_email").await, ["pending"]);

    world.run().await;

    let told = world.explain(accepted.message_id).await;
    assert_eq!(told.status, MessageStatus::Sent);
    assert_eq!(told.decisions.len(), 1);
    assert!(
        told.decisions[0].reasons.as_array().unwrap().len() >= 12,
        "{:?}",
        told.decisions[0].reasons
    );
    assert_eq!(told.deliveries.len(), 1);
    assert_eq!(told.deliveries[0].state, DeliveryState::Accepted);
    assert_eq!(told.deliveries[0].attempts.len(), 1);
    assert_eq!(told.deliveries[0].attempts[0].outcome, AttemptOutcome::Accepted);
    assert_eq!(world.jobs("send_email").await, ["complete"]);
    assert_eq!(world.ledger().await.messages, 1);

    let mail = tidings_engine::sandbox_mail(world.engine.store(), world.tenant, None, 10)
        .await
        .unwrap();
    assert_eq!(mail[0].to.expose(), "ann@example.com");
    assert_eq!(mail[0].to_name.as_ref().unwrap().expose(), "Ann Example");
}
