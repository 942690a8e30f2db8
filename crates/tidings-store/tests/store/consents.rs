//! The consent ledger.

use crate::world::{code, world};
use jiff::SignedDuration;
use tidings_core::{Category, Channel, ContactId};
use tidings_store::StoreError;
use tidings_store::consents::{self, NewConsent};

fn consent(contact: ContactId, channel: Option<Channel>, granted: bool) -> NewConsent {
    NewConsent {
        contact,
        purpose: Category::Marketing,
        channel,
        granted,
        source: "signup form".to_owned(),
        wording: Some("Yes, send me offers.".to_owned()),
    }
}

#[tokio::test]
async fn the_newest_entry_is_in_force_and_the_ledger_keeps_all() {
    let mut world = world().await;
    let contact = world.contact("c-1", "a@example.com").await;
    let silent = world.contact("c-2", "b@example.com").await;
    let mut tx = world.tx().await;
    let steps = [
        (None, true),
        (Some(Channel::Email), true),
        (Some(Channel::Email), false),
    ];
    for (hours, (channel, granted)) in steps.into_iter().enumerate() {
        let at = world
            .now
            .checked_add(SignedDuration::from_hours(hours as i64))
            .unwrap();
        consents::record(&mut tx, consent(contact, channel, granted), &mut world.dice, at)
            .await
            .unwrap();
    }
    let pairs = [(world.tenant, contact), (world.tenant, silent)];
    let in_force = consents::in_force(&mut tx, &pairs).await.unwrap();
    let of_contact = &in_force[&(world.tenant, contact)];
    assert_eq!(of_contact.len(), 2);
    assert!(of_contact.iter().any(|c| c.channel.is_none() && c.granted));
    assert!(
        of_contact
            .iter()
            .any(|c| c.channel == Some(Channel::Email) && !c.granted)
    );
    assert!(!in_force.contains_key(&(world.tenant, silent)));

    let page = consents::history(&mut tx, contact, None, 2).await.unwrap();
    assert_eq!((page.items.len(), page.items[0].granted), (2, false));
    let rest = consents::history(&mut tx, contact, page.next, 2).await.unwrap();
    assert_eq!((rest.items.len(), rest.next), (1, None));
    tx.commit().await.unwrap();

    let mut tx = world.tx().await;
    let refused = sqlx::query("UPDATE consents SET granted = true")
        .execute(&mut *tx)
        .await
        .unwrap_err();
    assert_eq!(code(&refused), "42501");
}

#[tokio::test]
async fn a_consent_of_nobody_is_refused() {
    let mut world = world().await;
    let nobody = ContactId(world.dice.uuid(world.now));
    let mut tx = world.tx().await;
    let error = consents::record(&mut tx, consent(nobody, None, true), &mut world.dice, world.now)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    let unnamed = NewConsent {
        source: String::new(),
        ..consent(nobody, None, true)
    };
    let error = consents::record(&mut tx, unnamed, &mut world.dice, world.now)
        .await
        .unwrap_err();
    assert!(
        matches!(error, StoreError::Invalid { field: "source", .. }),
        "{error}"
    );
}
