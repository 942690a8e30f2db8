//! Opens and clicks over our own pixel and links, persons told from machines.

use crate::world::{World, welcome};
use tidings_core::event::DeliveryEventKind as Kind;
use tidings_core::{MessageId, MessageStatus, TenantId};
use tidings_engine::links::Links;
use uuid::Uuid;

const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15";

async fn sent() -> (World, MessageId) {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let message = world.accept(welcome(ann)).await.unwrap().message_id;
    world.run().await;
    (world, message)
}

async fn links(world: &World) -> Links {
    let mut conn = world.engine.store().worker_conn().await.unwrap();
    let key = world.keyring.tenant_key(&mut conn, world.tenant).await.unwrap();
    Links::new(world.engine.public_base_url(), &key).unwrap()
}

fn token(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

async fn kinds(world: &World, message: MessageId) -> Vec<Kind> {
    world
        .explain(message)
        .await
        .events
        .iter()
        .map(|event| event.kind)
        .collect()
}

#[tokio::test]
async fn a_persons_open_counts_and_a_machines_does_not() {
    let (world, message) = sent().await;
    let pixel = links(&world).await.open_pixel(message);
    // Sooner than anybody reads, whoever says to be.
    world.engine.opened(token(&pixel), PHONE).await.unwrap();
    assert_eq!(kinds(&world, message).await, [Kind::MachineOpened]);
    assert_eq!(world.explain(message).await.status, MessageStatus::Delivered);
    world.advance(600);
    world.engine.opened(token(&pixel), "Mozilla/5.0").await.unwrap();
    world.engine.opened(token(&pixel), "").await.unwrap();
    assert_eq!(world.explain(message).await.status, MessageStatus::Delivered);
    for _ in 0..3 {
        world.engine.opened(token(&pixel), PHONE).await.unwrap();
    }
    assert_eq!(world.explain(message).await.status, MessageStatus::Opened);
    assert_eq!(
        kinds(&world, message)
            .await
            .iter()
            .filter(|kind| **kind == Kind::Opened)
            .count(),
        1,
        "three at once are one"
    );
}

#[tokio::test]
async fn a_click_leads_on_and_counts() {
    let (world, message) = sent().await;
    world.advance(600);
    let url = links(&world)
        .await
        .click(message, "https://shop.example/offers?id=7");
    let target = world
        .engine
        .clicked(token(&url), "GoogleImageProxy bot")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(target.as_str(), "https://shop.example/offers?id=7");
    assert!(
        kinds(&world, message).await.is_empty(),
        "a scanner's click is none"
    );
    world.engine.clicked(token(&url), PHONE).await.unwrap().unwrap();
    assert_eq!(world.explain(message).await.status, MessageStatus::Clicked);
}

#[tokio::test]
async fn tokens_of_nobody_lead_nowhere() {
    let (world, message) = sent().await;
    world.advance(600);
    let pixel = links(&world).await.open_pixel(message);
    assert!(
        world
            .engine
            .clicked(token(&pixel), PHONE)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        world
            .engine
            .clicked("https://evil.example", PHONE)
            .await
            .unwrap()
            .is_none()
    );
    // A tenant there is not.
    let mut bytes = TenantId(Uuid::from_u128(1)).0.as_bytes().to_vec();
    bytes.extend_from_slice(&[0; 40]);
    let foreign = {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    };
    assert!(world.engine.clicked(&foreign, PHONE).await.unwrap().is_none());
    world.engine.opened(&foreign, PHONE).await.unwrap();
    assert!(kinds(&world, message).await.is_empty());
}

#[tokio::test]
async fn a_click_on_a_message_that_is_gone_still_leads_on() {
    let (world, message) = sent().await;
    world.database.execute("DELETE FROM delivery_events").await;
    world.database.execute("DELETE FROM messages").await;
    let url = links(&world).await.click(message, "https://shop.example/");
    assert_eq!(
        world
            .engine
            .clicked(token(&url), PHONE)
            .await
            .unwrap()
            .unwrap()
            .as_str(),
        "https://shop.example/"
    );
}
