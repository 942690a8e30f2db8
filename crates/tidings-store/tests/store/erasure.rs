//! Erasure and export.

use crate::world::{World, address, world};
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::redact::Private;
use tidings_core::{Category, Channel, ConnectionId, ContactId, MessageId};
use tidings_store::consents::{self, NewConsent};
use tidings_store::contacts::{self, AddressKind, ContactInput};
use tidings_store::erasure::{self, ErasureCertificate};
use tidings_store::events::{self, NewEvent};
use tidings_store::suppressions::{self, NewSuppression};
use tidings_store::tracking::inbound::{self, NewInbound};
use tidings_store::{Place, SealError, StoreError, audit, export};
use uuid::Uuid;

async fn full_contact(world: &mut World) -> ContactId {
    let mut tx = world.tx().await;
    let input = ContactInput {
        external_id: Some("c-1".to_owned()),
        name: Some(Private::new("Ann Example".to_owned())),
        zone: Some("Europe/Vienna".to_owned()),
        addresses: vec![
            address(AddressKind::Email, "ann@example.com"),
            address(AddressKind::Phone, "+436641234567"),
        ],
        ..ContactInput::default()
    };
    let id = contacts::upsert(&mut tx, input, None, &mut world.dice, world.now)
        .await
        .unwrap()
        .id;
    let consent = NewConsent {
        contact: id,
        purpose: Category::Marketing,
        channel: None,
        granted: true,
        source: "signup form".to_owned(),
        wording: None,
    };
    consents::record(&mut tx, consent, &mut world.dice, world.now)
        .await
        .unwrap();
    let event = NewEvent {
        tenant: world.tenant,
        kind: "ConsentGiven".to_owned(),
        contact: Some(id),
        message: None,
        subject: None,
        data: serde_json::json!({}),
    };
    events::append(&mut tx, &[event], &mut world.dice, world.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    id
}

/// A message with its request, a reply to it, one from before the contact was known, and what the sandbox took.
async fn correspondence(world: &mut World, contact: ContactId) -> MessageId {
    let message = MessageId(world.dice.uuid(world.now));
    let mut tx = world.store.worker_tenant(world.tenant).tx().await.unwrap();
    let index = contacts::get(&mut tx, contact).await.unwrap().addresses[0].blind_index;
    let keyring = tx.keyring();
    let keys = keyring
        .contact_keys(&mut tx, &[(world.tenant, contact)], world.now)
        .await
        .unwrap();
    let place = Place::new("message_contents", "request", world.tenant, message.0);
    let sealed = keys
        .get(world.tenant, contact)
        .unwrap()
        .seal(&place, br#"{"order":"4711"}"#)
        .unwrap();
    let insert = "INSERT INTO messages (tenant_id, id, contact_id, message_type, category, urgency, status, status_provenance, accepted_at)
                  VALUES ($1, $2, $3, 'welcome', 'service', 'normal', 'sent', 'response', now())";
    sqlx::query(insert)
        .bind(world.tenant.0)
        .bind(message.0)
        .bind(contact.0)
        .execute(&mut *tx)
        .await
        .unwrap();
    let insert =
        "INSERT INTO message_contents (tenant_id, message_id, part, sealed) VALUES ($1, $2, 'request', $3)";
    sqlx::query(insert)
        .bind(world.tenant.0)
        .bind(message.0)
        .bind(sealed)
        .execute(&mut *tx)
        .await
        .unwrap();
    for (n, known) in [Some(contact), None].into_iter().enumerate() {
        let inbound = NewInbound {
            id: world.dice.uuid(world.now),
            contact: known,
            connection: ConnectionId(Uuid::nil()),
            channel: Channel::Email,
            dedupe_key: n.to_string(),
            from_index: index,
            content: br#"{"text":"thank you"}"#.to_vec(),
            provider_message_id: None,
            in_reply_to: None,
            keyword: None,
            automatic: false,
            occurred_at: world.now,
        };
        assert!(inbound::insert(&mut tx, &inbound, world.now).await.unwrap());
    }
    let insert = "INSERT INTO sandbox_messages (tenant_id, id, connection_id, reference, message_id, provider_message_id, channel,
                                                recipient_index, sealed, duplicate, captured_at)
                  VALUES ($1, $2, $2, 'r', 'm', 'p', 'email', $3, '\\x00', false, now())";
    let id = world.dice.uuid(world.now);
    sqlx::query(insert)
        .bind(world.tenant.0)
        .bind(id)
        .bind(index.0.as_slice())
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    message
}

async fn erase(world: &mut World, contact: ContactId) -> ErasureCertificate {
    let mut tx = world.store.tenant(world.tenant).tx().await.unwrap();
    let certificate = erasure::erase(&mut tx, contact, "operator", &mut world.dice, world.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    erasure::forget(world.store.keyring(), &certificate).await;
    certificate
}

#[tokio::test]
async fn an_erased_contact_is_empty_and_what_was_sealed_stays_sealed() {
    let mut world = world().await;
    let contact = full_contact(&mut world).await;
    let mut conn = world.store.worker().acquire().await.unwrap();
    let pair = [(world.tenant, contact)];
    let keyring = world.store.keyring().clone();
    let place = Place::new("message_contents", "body", world.tenant, contact.0);
    // The second load is the one that may fill the cache.
    keyring.contact_keys(&mut conn, &pair, world.now).await.unwrap();
    let keys = keyring.contact_keys(&mut conn, &pair, world.now).await.unwrap();
    keys.get(world.tenant, contact)
        .unwrap()
        .seal(&place, b"Dear Ann")
        .unwrap();

    let certificate = erase(&mut world, contact).await;
    assert_eq!(
        certificate
            .stores
            .iter()
            .find(|s| s.store == "addresses")
            .unwrap()
            .rows,
        2
    );
    assert!(serde_json::to_string(&certificate).unwrap().contains("destroyed"));

    let keys = keyring.contact_keys(&mut conn, &pair, world.now).await.unwrap();
    assert_eq!(
        keys.get(world.tenant, contact).unwrap_err(),
        SealError::Erased(contact),
        "a new key was made"
    );
    assert_eq!(
        world
            .count("SELECT count(*) FROM contact_keys WHERE wrapped IS NOT NULL")
            .await,
        0
    );
    assert_eq!(world.count("SELECT count(*) FROM addresses").await, 0);
    let mut tx = world.tx().await;
    let left = contacts::get(&mut tx, contact).await.unwrap();
    assert_eq!(
        (left.name, left.external_id, left.zone, left.erased_at),
        (None, None, None, Some(world.now))
    );
    assert!(contacts::list(&mut tx, None, 10).await.unwrap().items.is_empty());
    assert_eq!(
        audit::verify(&mut tx, world.tenant, Some(&certificate.audit))
            .await
            .unwrap(),
        1
    );
    let changed = contacts::stop(&mut tx, contact, Channel::Email, world.now).await;
    assert!(matches!(changed, Err(StoreError::Erased(_))));
    let again = erasure::erase(&mut tx, contact, "operator", &mut world.dice, world.now).await;
    assert!(matches!(again, Err(StoreError::Erased(_))));
}

#[tokio::test]
async fn a_re_import_is_a_new_contact_that_is_held_back() {
    let mut world = world().await;
    let erased = full_contact(&mut world).await;
    erase(&mut world, erased).await;
    let back = full_contact(&mut world).await;
    assert_ne!(back, erased);
    let mut tx = world.tx().await;
    let addresses = contacts::get(&mut tx, back).await.unwrap().addresses;
    let wanted: Vec<_> = addresses.iter().map(|a| (world.tenant, a.blind_index)).collect();
    let in_force = suppressions::in_force(&mut tx, &wanted).await.unwrap();
    let mut channels: Vec<_> = in_force.iter().map(|s| s.channel).collect();
    channels.sort();
    assert_eq!(channels, Channel::ALL);
    assert!(in_force.iter().all(|s| s.reason == SuppressionReason::Erased));
}

#[tokio::test]
async fn an_audit_detail_goes_with_its_contact_and_the_chain_holds() {
    let mut world = world().await;
    let contact = full_contact(&mut world).await;
    let mut tx = world.tx().await;
    let keyring = tx.keyring();
    let deed = audit::AuditEntry {
        tenant: world.tenant,
        actor: "operator".to_owned(),
        action: "contact.update".to_owned(),
        object: format!("contact {contact}"),
        contact: Some(contact),
        detail: Some(serde_json::json!({"name": "Ann"})),
    };
    audit::append(&mut tx, &keyring, deed, world.now).await.unwrap();
    tx.commit().await.unwrap();
    erase(&mut world, contact).await;
    let mut tx = world.tx().await;
    assert_eq!(audit::verify(&mut tx, world.tenant, None).await.unwrap(), 2);
    let listed = audit::list(&mut tx, &keyring, world.tenant, None, 10)
        .await
        .unwrap();
    assert_eq!(listed.items[1].detail, None);
}

#[tokio::test]
async fn an_export_holds_everything_of_the_contact() {
    let mut world = world().await;
    let contact = full_contact(&mut world).await;
    world.contact("c-2", "someone@example.com").await;
    let mut tx = world.tx().await;
    let index = contacts::get(&mut tx, contact).await.unwrap().addresses[0].blind_index;
    let item = NewSuppression {
        tenant: world.tenant,
        channel: Channel::Email,
        blind_index: index,
        reason: SuppressionReason::Manual,
        source: "operator".to_owned(),
        detail: None,
    };
    suppressions::add(&mut tx, &[item], &mut world.dice, world.now)
        .await
        .unwrap();
    let made = export::contact(&mut tx, contact, world.now).await.unwrap();
    let json = serde_json::to_value(&made).unwrap();
    assert_eq!(json["contact"]["name"], "Ann Example");
    assert_eq!(json["contact"]["addresses"].as_array().unwrap().len(), 2);
    assert_eq!(json["consents"][0]["source"], "signup form");
    assert_eq!(json["suppressions"][0]["reason"], "manual");
    assert_eq!(json["events"][0]["kind"], "ConsentGiven");
    assert_eq!(json["truncated"], false);
    assert!(!json.to_string().contains("someone@"));
}

#[tokio::test]
async fn correspondence_is_exported_and_goes_with_the_contact() {
    let mut world = world().await;
    let contact = full_contact(&mut world).await;
    let message = correspondence(&mut world, contact).await;
    let mut tx = world.tx().await;
    let made = export::contact(&mut tx, contact, world.now).await.unwrap();
    assert_eq!((made.messages.len(), made.messages[0].id), (1, message));
    assert_eq!(made.messages[0].contents["request"]["order"], "4711");
    assert_eq!(made.received.len(), 1);
    assert_eq!(made.received[0].content.as_ref().unwrap()["text"], "thank you");
    drop(tx);

    let certificate = erase(&mut world, contact).await;
    let rows = |store| certificate.stores.iter().find(|s| s.store == store).unwrap().rows;
    let counts = [
        rows("message_contents"),
        rows("inbound_messages"),
        rows("sandbox_messages"),
    ];
    assert_eq!(counts, [1, 2, 1]);
    let mut tx = world.tx().await;
    let left = export::contact(&mut tx, contact, world.now).await.unwrap();
    assert!(left.messages[0].contents.is_empty() && left.received.is_empty());
}

#[tokio::test]
async fn an_address_shared_with_another_contact_is_not_suppressed() {
    let mut world = world().await;
    let erased = world.contact("c-1", "shared@example.com").await;
    let stays = world.contact("c-2", "shared@example.com").await;
    erase(&mut world, erased).await;
    assert_eq!(world.count("SELECT count(*) FROM suppressions").await, 0);
    let mut tx = world.tx().await;
    assert_eq!(contacts::get(&mut tx, stays).await.unwrap().addresses.len(), 1);
}
