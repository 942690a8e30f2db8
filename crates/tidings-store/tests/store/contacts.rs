//! Contacts, addresses and preferences.

use crate::world::{World, address, code, world};
use jiff::SignedDuration;
use jiff::civil::time;
use tidings_core::decide::facts::Window;
use tidings_core::redact::Private;
use tidings_core::{Address, Category, Channel, ContactId, Dice};
use tidings_store::StoreError;
use tidings_store::consents::{self, NewConsent};
use tidings_store::contacts::{self, AddressKind, ContactInput, PreferencesChange, SourceWord, UPSERT_LIMIT};

fn rich(external_id: &str) -> ContactInput {
    let attributes = serde_json::json!({"machine": "X-200"})
        .as_object()
        .unwrap()
        .clone();
    ContactInput {
        external_id: Some(external_id.to_owned()),
        name: Some(Private::new("Ann Example".to_owned())),
        attributes: Some(Private::new(attributes)),
        zone: Some("Europe/Vienna".to_owned()),
        locale: Some("de-AT".to_owned()),
        country: Some("AT".to_owned()),
        preferred_channels: Some(vec![Channel::Sms, Channel::Email, Channel::Sms]),
        quiet_hours: Some(vec![Window {
            start: time(20, 0, 0, 0),
            end: time(7, 30, 0, 0),
        }]),
        addresses: vec![
            address(AddressKind::Email, "Ann@Example.com"),
            address(AddressKind::Email, "second@example.com"),
            address(AddressKind::Phone, "0664 1234567"),
        ],
    }
}

async fn primaries(world: &World, contact: ContactId) -> Vec<String> {
    let mut tx = world.tx().await;
    let contact = contacts::get(&mut tx, contact).await.unwrap();
    contact
        .addresses
        .iter()
        .filter(|a| a.is_primary)
        .map(|a| a.text.expose().clone())
        .collect()
}

#[tokio::test]
async fn a_contact_is_kept_and_read_back() {
    let mut world = world().await;
    let mut tx = world.tx().await;
    let done = contacts::upsert(&mut tx, rich("c-1"), Some("AT"), &mut world.dice, world.now)
        .await
        .unwrap();
    assert!(done.created);
    tx.commit().await.unwrap();

    let mut tx = world.tx().await;
    let contact = contacts::get_by_external_id(&mut tx, "c-1").await.unwrap();
    assert_eq!(contact.id, done.id);
    assert_eq!(contact.name.as_ref().unwrap().expose(), "Ann Example");
    assert_eq!(contact.attributes.expose()["machine"], "X-200");
    assert_eq!(
        contact.preferences.preferred_channels,
        [Channel::Sms, Channel::Email]
    );
    assert_eq!(contact.preferences.quiet_hours[0].end, time(7, 30, 0, 0));
    let texts: Vec<_> = contact
        .addresses
        .iter()
        .map(|a| a.text.expose().as_str())
        .collect();
    assert_eq!(texts, ["Ann@example.com", "second@example.com", "+436641234567"]);
    assert_eq!(
        contact.addresses.iter().map(|a| a.is_primary).collect::<Vec<_>>(),
        [true, false, true]
    );
    assert!(matches!(contact.addresses[2].address(), Some(Address::Phone(_))));
    assert!(
        !format!("{contact:?}").contains("Ann"),
        "debug shows personal data"
    );
    let json = serde_json::to_value(&contact).unwrap();
    assert_eq!(json["addresses"][0]["value"], "Ann@example.com");
}

#[tokio::test]
async fn the_same_external_id_is_the_same_contact_and_keeps_what_is_not_given() {
    let mut world = world().await;
    let mut tx = world.tx().await;
    let first = contacts::upsert(&mut tx, rich("c-1"), Some("AT"), &mut world.dice, world.now)
        .await
        .unwrap();
    let change = ContactInput {
        external_id: Some("c-1".to_owned()),
        zone: Some("UTC".to_owned()),
        addresses: vec![
            address(AddressKind::Email, "ANN@example.com"),
            address(AddressKind::Email, "third@example.com"),
        ],
        ..ContactInput::default()
    };
    let second = contacts::upsert(&mut tx, change, None, &mut world.dice, world.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!((second.id, second.created), (first.id, false));
    let mut tx = world.tx().await;
    let contact = contacts::get(&mut tx, first.id).await.unwrap();
    assert_eq!(
        (contact.zone.as_deref(), contact.locale.as_deref()),
        (Some("UTC"), Some("de-AT"))
    );
    assert_eq!(contact.name.unwrap().expose(), "Ann Example");
    assert_eq!(contact.addresses.len(), 4);
}

#[tokio::test]
async fn a_batch_answers_in_order() {
    let mut world = world().await;
    world.contact("c-3", "c3@example.com").await;
    let inputs: Vec<_> = (0..300)
        .map(|n| ContactInput {
            external_id: (n % 2 == 0 || n == 3).then(|| format!("c-{n}")),
            name: Some(Private::new(format!("Number {n}"))),
            addresses: vec![address(AddressKind::Email, &format!("c{n}@example.com"))],
            ..ContactInput::default()
        })
        .collect();
    let mut tx = world.tx().await;
    let done = contacts::upsert_batch(&mut tx, &inputs, None, &mut world.dice, world.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut tx = world.tx().await;
    for (n, upserted) in done.iter().enumerate() {
        assert_eq!(upserted.created, n != 3);
        if n % 50 == 0 {
            let contact = contacts::get(&mut tx, upserted.id).await.unwrap();
            assert_eq!(contact.name.unwrap().expose(), &format!("Number {n}"));
        }
    }
    let mut seen = 0;
    let mut before = None;
    loop {
        let page = contacts::list(&mut tx, before, 120).await.unwrap();
        seen += page.items.len();
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, 300);
    assert!(
        contacts::upsert_batch(&mut tx, &[], None, &mut world.dice, world.now)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn two_imports_of_the_same_contact_make_one() {
    let world = world().await;
    let import = async |seed: u64| {
        let mut dice = Dice::from_seed(seed);
        let mut tx = world.tx().await;
        let done = contacts::upsert(&mut tx, rich("c-1"), Some("AT"), &mut dice, world.now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        done
    };
    let (one, two) = tokio::join!(import(11), import(12));
    assert_eq!(one.id, two.id);
    assert!(one.created != two.created);
    let mut tx = world.tx().await;
    let contact = contacts::get(&mut tx, one.id).await.unwrap();
    assert_eq!(
        (contact.addresses.len(), contact.name.unwrap().expose().as_str()),
        (3, "Ann Example")
    );
    assert_eq!(world.count("SELECT count(*) FROM contact_keys").await, 1);
}

#[tokio::test]
async fn inputs_that_break_a_limit_are_refused_and_nothing_is_kept() {
    let mut world = world().await;
    let twice = vec![rich("c-1"), rich("c-1")];
    let too_many = vec![ContactInput::default(); UPSERT_LIMIT + 1];
    let country = vec![ContactInput {
        country: Some("Austria".to_owned()),
        ..ContactInput::default()
    }];
    let attributes = serde_json::json!({"x": "y".repeat(70_000)})
        .as_object()
        .unwrap()
        .clone();
    let large = vec![ContactInput {
        attributes: Some(Private::new(attributes)),
        ..ContactInput::default()
    }];
    let empty = vec![ContactInput {
        external_id: Some(String::new()),
        ..ContactInput::default()
    }];
    let addresses = (0..21)
        .map(|n| address(AddressKind::Email, &format!("a{n}@example.com")))
        .collect();
    let many = vec![ContactInput {
        addresses,
        ..ContactInput::default()
    }];
    for inputs in [twice, too_many, country, large, empty, many] {
        let mut tx = world.tx().await;
        let error = contacts::upsert_batch(&mut tx, &inputs, None, &mut world.dice, world.now)
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
    }
    assert_eq!(world.count("SELECT count(*) FROM contacts").await, 0);
}

#[tokio::test]
async fn a_malformed_address_is_kept_and_listed() {
    let mut world = world().await;
    let contact = world.contact("c-1", "not an address").await;
    let mut tx = world.tx().await;
    let listed = contacts::to_mend(&mut tx, None, 10).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    assert_eq!(
        (listed.items[0].contact, listed.items[0].why.as_str()),
        (contact, "malformed")
    );
    let read = contacts::get(&mut tx, contact).await.unwrap();
    assert!(!read.addresses[0].valid && read.addresses[0].address().is_none());
}

#[tokio::test]
async fn contacts_are_found_by_address_within_their_tenant() {
    let mut world = world().await;
    let one = world.contact("c-1", "shared@example.com").await;
    let two = world.contact("c-2", "Shared@Example.com").await;
    let address = Address::parse(Channel::Email, "SHARED@example.com", None).unwrap();
    let mut tx = world.tx().await;
    let mut found = contacts::find_by_address(&mut tx, &address).await.unwrap();
    found.sort();
    let mut expected = vec![one, two];
    expected.sort();
    assert_eq!(found, expected);
    let mut tx = world.store.tenant(world.other).tx().await.unwrap();
    assert!(
        contacts::find_by_address(&mut tx, &address)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn there_is_always_one_primary_address_of_a_kind() {
    let mut world = world().await;
    let contact = world.contact("c-1", "a@example.com").await;
    let (now, dice) = (world.now, &mut world.dice);
    let mut tx = world.store.tenant(world.tenant).tx().await.unwrap();
    let mut primary = address(AddressKind::Email, "b@example.com");
    primary.primary = true;
    contacts::add_address(&mut tx, contact, primary, None, dice, now)
        .await
        .unwrap();
    contacts::add_address(
        &mut tx,
        contact,
        address(AddressKind::Email, "c@example.com"),
        None,
        dice,
        now,
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(primaries(&world, contact).await, ["b@example.com"]);

    let mut tx = world.tx().await;
    let addresses = contacts::get(&mut tx, contact).await.unwrap().addresses;
    let id = |text: &str| addresses.iter().find(|a| a.text.expose() == text).unwrap().id;
    contacts::make_primary(&mut tx, contact, id("c@example.com"), now)
        .await
        .unwrap();
    contacts::remove_address(&mut tx, contact, id("c@example.com"), now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(primaries(&world, contact).await, ["a@example.com"]);
    let mut tx = world.tx().await;
    let gone = contacts::remove_address(&mut tx, contact, id("c@example.com"), now).await;
    assert!(matches!(gone, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn what_providers_say_of_an_address_is_noted() {
    let mut world = world().await;
    let contact = world.contact("c-1", "a@example.com").await;
    let mut tx = world.tx().await;
    let index = contacts::get(&mut tx, contact).await.unwrap().addresses[0].blind_index;
    let later = |hours| world.now.checked_add(SignedDuration::from_hours(hours)).unwrap();
    // One a day is kept.
    for (hours, expected) in [(0, 1), (0, 1), (1, 1), (24, 2), (100, 3)] {
        let at = later(hours);
        let known = contacts::note_soft_bounce(&mut tx, Channel::Email, index, at, at)
            .await
            .unwrap();
        assert_eq!((known.at.len(), known.at.last()), (expected, Some(&at)));
        assert_eq!(known.delivered_at, None);
    }
    for day in 6..30 {
        let at = later(24 * day);
        let known = contacts::note_soft_bounce(&mut tx, Channel::Email, index, at, at)
            .await
            .unwrap();
        assert_eq!(known.at.last(), Some(&at));
        assert!(known.at.len() <= 10, "the oldest are forgotten");
    }
    assert_eq!(
        contacts::mark_known_bad(&mut tx, world.tenant, index, "5.1.1", world.now)
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        contacts::mark_known_bad(&mut tx, world.tenant, index, "5.1.1", world.now)
            .await
            .unwrap(),
        0
    );
    let listed = contacts::to_mend(&mut tx, None, 10).await.unwrap();
    assert_eq!(listed.items[0].why, "5.1.1");
}

#[tokio::test]
async fn preferences_change_one_by_one() {
    let mut world = world().await;
    let contact = world.contact("c-1", "a@example.com").await;
    let mut tx = world.tx().await;
    let change = PreferencesChange {
        opted_out: Some(vec![Channel::Sms]),
        paused_until: Some(Some(world.now)),
        zone: Some(Some("UTC".to_owned())),
        ..PreferencesChange::default()
    };
    let read = contacts::update_preferences(&mut tx, contact, change, world.now)
        .await
        .unwrap();
    assert_eq!(
        (read.opted_out.as_slice(), read.paused_until),
        ([Channel::Sms].as_slice(), Some(world.now))
    );
    contacts::stop(&mut tx, contact, Channel::Whatsapp, world.now)
        .await
        .unwrap();
    contacts::stop(&mut tx, contact, Channel::Whatsapp, world.now)
        .await
        .unwrap();
    let change = PreferencesChange {
        paused_until: Some(None),
        ..PreferencesChange::default()
    };
    let read = contacts::update_preferences(&mut tx, contact, change, world.now)
        .await
        .unwrap();
    assert_eq!(
        (read.opted_out, read.stopped, read.paused_until),
        (vec![Channel::Sms], vec![Channel::Whatsapp], None)
    );
    contacts::start(&mut tx, contact, Channel::Whatsapp, world.now)
        .await
        .unwrap();
    contacts::note_whatsapp_inbound(&mut tx, contact, world.now)
        .await
        .unwrap();
    let earlier = world.now.checked_sub(SignedDuration::from_hours(5)).unwrap();
    contacts::note_whatsapp_inbound(&mut tx, contact, earlier)
        .await
        .unwrap();
    let read = contacts::get(&mut tx, contact).await.unwrap();
    assert_eq!(
        (read.preferences.stopped, read.last_whatsapp_inbound_at),
        (vec![], Some(world.now))
    );
    assert_eq!(read.zone.as_deref(), Some("UTC"));
}

#[tokio::test]
async fn an_opt_out_and_the_dispatch_gate_wait_for_each_other() {
    let mut world = world().await;
    let contact = world.contact("c-1", "a@example.com").await;
    let mut opting_out = world.tx().await;
    let change = PreferencesChange {
        opted_out: Some(vec![Channel::Email]),
        ..PreferencesChange::default()
    };
    contacts::update_preferences(&mut opting_out, contact, change, world.now)
        .await
        .unwrap();

    let gate = "SELECT opted_out FROM contacts WHERE tenant_id = $1 AND id = $2 FOR SHARE NOWAIT";
    let mut tx = world.store.worker().begin().await.unwrap();
    let blocked = sqlx::query(gate)
        .bind(world.tenant.0)
        .bind(contact.0)
        .execute(&mut *tx)
        .await;
    assert_eq!(
        code(&blocked.unwrap_err()),
        "55P03",
        "the gate did not wait for the opt-out"
    );
    opting_out.commit().await.unwrap();
    let mut tx = world.store.worker().begin().await.unwrap();
    let seen: Vec<String> = sqlx::query_scalar(gate)
        .bind(world.tenant.0)
        .bind(contact.0)
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(seen, ["email"]);
}

#[tokio::test]
async fn a_sources_word_closes_doors_and_never_overrules_what_a_person_said() {
    let mut world = world().await;
    let contact = world.contact("c-1", "c1@example.com").await;
    let said = |opted_out: &[Channel], consent| SourceWord {
        contact,
        opted_out: opted_out.to_vec(),
        marketing_consent: consent,
    };
    let person = |granted| NewConsent {
        contact,
        purpose: Category::Marketing,
        channel: None,
        granted,
        source: "preference page".to_owned(),
        wording: None,
    };
    // What is said, by whom, and what is in force afterwards.
    let steps: [(Option<bool>, Option<bool>, Option<bool>); 7] = [
        (Some(false), None, None),
        (Some(true), None, Some(true)),
        (Some(true), None, Some(true)),
        (Some(false), None, Some(false)),
        (Some(true), None, Some(true)),
        (None, Some(false), Some(false)),
        (Some(true), None, Some(false)),
    ];
    let mut now = world.now;
    for (place, (source, by_person, in_force)) in steps.into_iter().enumerate() {
        now += jiff::SignedDuration::from_mins(1);
        let mut tx = world.tx().await;
        contacts::take_over(&mut tx, &[said(&[Channel::Sms], source)], &mut world.dice, now)
            .await
            .unwrap();
        if let Some(granted) = by_person {
            consents::record(&mut tx, person(granted), &mut world.dice, now)
                .await
                .unwrap();
        }
        let known = consents::in_force(&mut tx, &[(world.tenant, contact)])
            .await
            .unwrap();
        let granted = known
            .get(&(world.tenant, contact))
            .and_then(|facts| facts.first())
            .map(|facts| facts.granted);
        assert_eq!(granted, in_force, "step {place}");
        tx.commit().await.unwrap();
    }
    let mut tx = world.tx().await;
    assert_eq!(
        consents::history(&mut tx, contact, None, 50)
            .await
            .unwrap()
            .items
            .len(),
        4
    );
    // An opt-out that the source no longer knows stays.
    contacts::take_over(&mut tx, &[said(&[], None)], &mut world.dice, now)
        .await
        .unwrap();
    let preferences = contacts::get(&mut tx, contact).await.unwrap().preferences;
    assert_eq!(preferences.opted_out, [Channel::Sms]);
}
