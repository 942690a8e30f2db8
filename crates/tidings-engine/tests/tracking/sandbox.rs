//! What the sandbox reports in a provider's place.

use crate::hooks::suppressions;
use crate::world::{World, welcome};
use tidings_core::MessageStatus;

#[tokio::test]
async fn a_bounce_and_a_complaint_come_later() {
    for (address, status, reason) in [
        (
            "bounce-later@example.com",
            MessageStatus::Bounced,
            "email hard_bounce",
        ),
        (
            "complain-later@example.com",
            MessageStatus::Delivered,
            "email complaint",
        ),
    ] {
        let mut world = World::new().await;
        let contact = world.contact(Some(address), None).await;
        let message = world.accept(welcome(contact)).await.unwrap().message_id;
        world.run().await;
        world.advance(3600);
        world.run().await;
        assert_eq!(world.explain(message).await.status, status, "{address}");
        assert_eq!(suppressions(&world).await, [reason]);
    }
}
