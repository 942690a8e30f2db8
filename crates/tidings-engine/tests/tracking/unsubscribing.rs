//! One-click unsubscribe: once is enough, always works, and reaches no further than it says.

use crate::hooks::{events, picture, suppressions};
use crate::world::{World, direct, welcome};
use tidings_core::{Category, Channel, ContactId, Dice, MessageId, MessageStatus};
use tidings_engine::AcceptRequest;
use tidings_engine::links::{Links, Unsubscriber};
use tidings_engine::store::{TenantKey, erasure};
use tidings_engine::unsubscribe::UnsubscribedBy;

struct Mailed {
    world: World,
    ann: ContactId,
    message: MessageId,
    token: String,
}

async fn mailed() -> Mailed {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    world.consent(ann, Category::Marketing).await;
    let message = world.accept(marketing(ann)).await.unwrap().message_id;
    world.run().await;
    let token = token(&world, ann, message).await;
    Mailed {
        world,
        ann,
        message,
        token,
    }
}

fn marketing(contact: ContactId) -> AcceptRequest {
    let mut request = direct(contact, "Everything must go.");
    request.category = Some(Category::Marketing);
    request.channel = Some(Channel::Email);
    request
}

async fn key(world: &World) -> TenantKey {
    let mut conn = world.engine.store().worker_conn().await.unwrap();
    world.keyring.tenant_key(&mut conn, world.tenant).await.unwrap()
}

async fn token(world: &World, contact: ContactId, message: MessageId) -> String {
    let key = key(world).await;
    let address = tidings_core::Address::parse(Channel::Email, "ann@example.com", None).unwrap();
    let who = Unsubscriber {
        contact,
        message,
        channel: Channel::Email,
        address: *key.blind_index(&address).as_bytes(),
    };
    let url = Links::new(world.engine.public_base_url(), &key)
        .unwrap()
        .unsubscribe(&who);
    url.rsplit('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn looking_changes_nothing() {
    let mailed = mailed().await;
    let before = picture(&mailed.world).await;
    let page = mailed
        .world
        .engine
        .unsubscribe_page(&mailed.token)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (page.done, page.address.as_deref()),
        (false, Some("a***@example.com"))
    );
    assert_eq!(page.sender.name, "Acme Events");
    assert_eq!(picture(&mailed.world).await, before);
}

#[tokio::test]
async fn it_closes_marketing_and_nothing_that_is_owed() {
    let Mailed {
        world,
        ann,
        message,
        token,
    } = mailed().await;
    let page = world
        .engine
        .unsubscribe(&token, UnsubscribedBy::OneClick)
        .await
        .unwrap()
        .unwrap();
    assert!(page.done);
    assert_eq!(suppressions(&world).await, ["email unsubscribe"]);
    assert_eq!(events(&world, "ContactUnsubscribed").await, 1);
    let ledger = world
        .database
        .texts("SELECT concat(purpose, ' ', channel, ' ', granted) FROM consents ORDER BY id")
        .await;
    assert_eq!(ledger, ["marketing  t", "marketing email f"]);
    let told = world.explain(message).await;
    assert!(
        told.events
            .iter()
            .any(|event| event.kind.as_str() == "unsubscribed")
    );
    assert_eq!(
        told.status,
        MessageStatus::Sent,
        "about the address, not about this delivery"
    );
    assert_eq!(
        world.accept(marketing(ann)).await.unwrap().status,
        MessageStatus::Suppressed
    );
    let mut owed = welcome(ann);
    owed.category = Some(Category::Transactional);
    owed.channel = Some(Channel::Email);
    assert_eq!(world.accept(owed).await.unwrap().status, MessageStatus::Queued);
}

#[tokio::test]
async fn a_message_on_its_way_is_stopped_at_the_gate() {
    let Mailed {
        world, ann, token, ..
    } = mailed().await;
    world.advance(4 * 24 * 3600);
    let queued = world.accept(marketing(ann)).await.unwrap();
    assert_eq!(queued.status, MessageStatus::Queued, "{:?}", queued.verdict);
    world
        .engine
        .unsubscribe(&token, UnsubscribedBy::OneClick)
        .await
        .unwrap()
        .unwrap();
    let before = world.ledger().await.messages;
    world.run().await;
    assert_eq!(world.ledger().await.messages, before);
    assert_eq!(
        world.explain(queued.message_id).await.status,
        MessageStatus::Suppressed
    );
}

#[tokio::test]
async fn again_changes_nothing() {
    let Mailed { world, token, .. } = mailed().await;
    world
        .engine
        .unsubscribe(&token, UnsubscribedBy::OneClick)
        .await
        .unwrap()
        .unwrap();
    let once = picture(&world).await;
    for by in [UnsubscribedBy::OneClick, UnsubscribedBy::Page] {
        assert!(world.engine.unsubscribe(&token, by).await.unwrap().unwrap().done);
    }
    assert_eq!(picture(&world).await, once);
}

#[tokio::test]
async fn it_works_after_the_contact_was_erased() {
    let Mailed {
        world, ann, token, ..
    } = mailed().await;
    let mut tx = world
        .engine
        .store()
        .worker_tenant(world.tenant)
        .tx()
        .await
        .unwrap();
    erasure::erase(&mut tx, ann, "test", &mut Dice::from_seed(5), world.now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let page = world
        .engine
        .unsubscribe(&token, UnsubscribedBy::OneClick)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (page.done, page.address, page.preferences_url),
        (true, None, None)
    );
    assert!(
        suppressions(&world)
            .await
            .contains(&"email unsubscribe".to_owned())
    );
}

#[tokio::test]
async fn it_reaches_no_other_tenant_and_no_other_contact() {
    let Mailed { world, token, .. } = mailed().await;
    let mut other = World::new().await;
    let bob = other.contact(Some("ann@example.com"), None).await;
    let before = picture(&other).await;
    assert!(
        other
            .engine
            .unsubscribe(&token, UnsubscribedBy::OneClick)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(picture(&other).await, before);
    // A token of another purpose, and one that is none.
    let preferences = Links::new(world.engine.public_base_url(), &key(&world).await)
        .unwrap()
        .preferences(bob);
    for wrong in [preferences.rsplit('/').next().unwrap(), "", "x", &token[1..]] {
        assert!(
            world
                .engine
                .unsubscribe(wrong, UnsubscribedBy::OneClick)
                .await
                .unwrap()
                .is_none(),
            "{wrong}"
        );
    }
    assert!(suppressions(&world).await.is_empty());
}
