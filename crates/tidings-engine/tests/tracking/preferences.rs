//! The preference page: what is chosen holds, what is shown is masked, data go to nobody who cannot name an address.

use crate::hooks::{events, picture, suppressions};
use crate::world::{World, direct};
use jiff::civil::time;
use std::collections::BTreeSet;
use tidings_core::decide::Verdict;
use tidings_core::decide::facts::Window;
use tidings_core::{Category, Channel, ContactId, MessageStatus};
use tidings_engine::AcceptRequest;
use tidings_engine::links::Links;
use tidings_engine::preferences::{PreferenceAction, PreferenceChoices, PreferencePage, PreferenceVisit};
use tidings_engine::privacy::Proven;

async fn visiting() -> (World, ContactId, String) {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), Some("+12025550123")).await;
    world.consent(ann, Category::Marketing).await;
    let token = token(&world, ann).await;
    (world, ann, token)
}

async fn token(world: &World, contact: ContactId) -> String {
    let mut conn = world.engine.store().worker_conn().await.unwrap();
    let key = world.keyring.tenant_key(&mut conn, world.tenant).await.unwrap();
    let url = Links::new(world.engine.public_base_url(), &key)
        .unwrap()
        .preferences(contact);
    url.rsplit('/').next().unwrap().to_owned()
}

fn page(visit: Option<PreferenceVisit>) -> PreferencePage {
    match visit {
        Some(PreferenceVisit::Contact(page)) => *page,
        other => panic!("{other:?}"),
    }
}

fn on(page: &PreferencePage) -> (Vec<Channel>, Vec<Category>) {
    let channels = page
        .channels
        .iter()
        .filter(|choice| choice.on)
        .map(|choice| choice.channel)
        .collect();
    let topics = page
        .topics
        .iter()
        .filter(|choice| choice.on)
        .map(|choice| choice.topic)
        .collect();
    (channels, topics)
}

fn marketing(contact: ContactId, channel: Channel) -> AcceptRequest {
    let mut request = direct(contact, "Everything must go.");
    request.category = Some(Category::Marketing);
    request.channel = Some(channel);
    request
}

/// The channels a marketing message would go by.
async fn ways(world: &World, contact: ContactId, channel: Channel) -> Vec<Channel> {
    match world.accept(marketing(contact, channel)).await.unwrap().verdict {
        Verdict::Send(plan) => plan.channels,
        other => panic!("{other:?}"),
    }
}

fn choices(channels: &[Channel], topics: &[Category]) -> PreferenceChoices {
    PreferenceChoices {
        channels: channels.iter().copied().collect(),
        topics: topics.iter().copied().collect(),
        wordings: vec![(Category::Marketing, "Offers and news".to_owned())],
        ..PreferenceChoices::default()
    }
}

async fn save(world: &World, token: &str, choices: PreferenceChoices) -> PreferencePage {
    page(
        world
            .engine
            .change_preferences(token, &PreferenceAction::Save(choices))
            .await
            .unwrap(),
    )
}

#[tokio::test]
async fn the_page_shows_choices_and_no_address() {
    let (world, _, token) = visiting().await;
    let before = picture(&world).await;
    let page = page(world.engine.preference_page(&token).await.unwrap());
    assert_eq!(page.addresses, ["a***@example.com", "+1******0123"]);
    let shown: BTreeSet<Channel> = page.channels.iter().map(|choice| choice.channel).collect();
    assert_eq!(
        shown,
        BTreeSet::from([Channel::Email, Channel::Sms, Channel::Whatsapp])
    );
    assert_eq!(on(&page).1, [Category::Marketing, Category::Service]);
    assert_eq!(picture(&world).await, before);
}

#[tokio::test]
async fn what_is_saved_holds_and_can_be_taken_back() {
    let (world, ann, token) = visiting().await;
    let mut wanted = choices(&[Channel::Sms], &[Category::Marketing]);
    wanted.quiet_hours = Some(Window {
        start: time(20, 30, 0, 0),
        end: time(7, 0, 0, 0),
    });
    let page = save(&world, &token, wanted.clone()).await;
    assert_eq!(on(&page), (vec![Channel::Sms], vec![Category::Marketing]));
    assert_eq!(page.quiet_hours, wanted.quiet_hours);
    assert_eq!(ways(&world, ann, Channel::Email).await, [Channel::Sms]);
    // The same again is no change.
    let once = picture(&world).await;
    save(&world, &token, wanted).await;
    assert_eq!(picture(&world).await, once);
    assert_eq!(events(&world, "PreferencesChanged").await, 1);
    world.advance(4 * 24 * 3600);
    let all = [Channel::Email, Channel::Sms, Channel::Whatsapp];
    let page = save(
        &world,
        &token,
        choices(&all, &[Category::Marketing, Category::Service]),
    )
    .await;
    assert_eq!(on(&page).0.len(), 3);
    assert_eq!(page.quiet_hours, None);
    assert!(ways(&world, ann, Channel::Email).await.contains(&Channel::Email));
}

#[tokio::test]
async fn topics_are_entered_in_the_ledger_with_their_words() {
    let (world, ann, token) = visiting().await;
    let all = [Channel::Email, Channel::Sms, Channel::Whatsapp];
    save(&world, &token, choices(&all, &[Category::Service])).await;
    assert_eq!(
        world.accept(marketing(ann, Channel::Email)).await.unwrap().status,
        MessageStatus::Suppressed
    );
    world.advance(60);
    save(
        &world,
        &token,
        choices(&all, &[Category::Service, Category::Marketing]),
    )
    .await;
    let ledger = world
        .database
        .texts("SELECT concat(purpose, ' ', granted, ' ', source, ' ', wording) FROM consents ORDER BY id")
        .await;
    assert_eq!(
        ledger[1..],
        [
            "marketing f preference page Offers and news",
            "marketing t preference page Offers and news"
        ]
    );
    assert_eq!(
        world.accept(marketing(ann, Channel::Email)).await.unwrap().status,
        MessageStatus::Queued
    );
}

#[tokio::test]
async fn a_pause_holds_for_thirty_days_or_until_it_is_ended() {
    let (world, ann, token) = visiting().await;
    let paused = page(
        world
            .engine
            .change_preferences(&token, &PreferenceAction::Pause)
            .await
            .unwrap(),
    );
    assert_eq!(
        paused.paused_until.unwrap().as_second() - world.now().as_second(),
        30 * 24 * 3600
    );
    let waiting = world.accept(marketing(ann, Channel::Email)).await.unwrap();
    assert_ne!(waiting.status, MessageStatus::Suppressed, "a pause delays");
    world.run().await;
    assert_eq!(world.ledger().await.messages, 0);
    let resumed = page(
        world
            .engine
            .change_preferences(&token, &PreferenceAction::Resume)
            .await
            .unwrap(),
    );
    assert_eq!(resumed.paused_until, None);
}

#[tokio::test]
async fn everything_goes_off_and_one_thing_on_again() {
    let (world, ann, token) = visiting().await;
    let off = page(
        world
            .engine
            .change_preferences(&token, &PreferenceAction::UnsubscribeAll)
            .await
            .unwrap(),
    );
    assert_eq!(on(&off), (vec![], vec![]));
    assert_eq!(events(&world, "ContactUnsubscribed").await, 1);
    assert!(
        suppressions(&world)
            .await
            .iter()
            .all(|entry| entry.ends_with("unsubscribe"))
    );
    assert_eq!(
        world.accept(marketing(ann, Channel::Email)).await.unwrap().status,
        MessageStatus::Suppressed
    );
    world.advance(60);
    let page = save(&world, &token, choices(&[Channel::Email], &[Category::Marketing])).await;
    assert_eq!(on(&page), (vec![Channel::Email], vec![Category::Marketing]));
    assert_eq!(ways(&world, ann, Channel::Sms).await, [Channel::Email]);
}

#[tokio::test]
async fn a_stop_is_shown_and_not_undone_by_the_page() {
    let (world, ann, token) = visiting().await;
    let mut tx = world
        .engine
        .store()
        .worker_tenant(world.tenant)
        .tx()
        .await
        .unwrap();
    tidings_engine::store::contacts::stop(&mut tx, ann, Channel::Sms, world.now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let all = [Channel::Email, Channel::Sms, Channel::Whatsapp];
    let page = save(
        &world,
        &token,
        choices(&all, &[Category::Marketing, Category::Service]),
    )
    .await;
    let sms = page
        .channels
        .iter()
        .find(|choice| choice.channel == Channel::Sms)
        .unwrap();
    assert_eq!((sms.on, sms.stopped), (false, true));
}

#[tokio::test]
async fn data_go_to_who_names_an_address() {
    let (world, _, token) = visiting().await;
    for wrong in [
        "",
        "a***@example.com",
        "bob@example.com",
        "+12025550124",
        "ann@example.com.evil.example",
    ] {
        let answer = world.engine.export_own_data(&token, wrong).await.unwrap();
        assert!(matches!(answer, Proven::AddressDiffers), "{wrong}");
    }
    for right in [" Ann@Example.com ", "+1 202 555 0123"] {
        let Proven::Done(export) = world.engine.export_own_data(&token, right).await.unwrap() else {
            panic!("{right}")
        };
        let json = serde_json::to_string(&export).unwrap();
        assert!(json.contains("ann@example.com") && json.contains("Ann Example"));
    }
    let audited = world
        .database
        .texts("SELECT action FROM audit_log WHERE action = 'contact.export'")
        .await;
    assert_eq!(audited.len(), 2);
}

#[tokio::test]
async fn erasing_wants_an_address_and_is_final() {
    let (world, _, token) = visiting().await;
    let answer = world
        .engine
        .erase_own_data(&token, "bob@example.com")
        .await
        .unwrap();
    assert!(matches!(answer, Proven::AddressDiffers));
    let Proven::Done(certificate) = world
        .engine
        .erase_own_data(&token, "ann@example.com")
        .await
        .unwrap()
    else {
        panic!()
    };
    assert!(!certificate.stores.is_empty());
    assert!(matches!(
        world.engine.preference_page(&token).await.unwrap(),
        Some(PreferenceVisit::Erased(_))
    ));
    let answer = world
        .engine
        .change_preferences(&token, &PreferenceAction::Pause)
        .await
        .unwrap();
    assert!(matches!(answer, Some(PreferenceVisit::Erased(_))));
    assert!(matches!(
        world
            .engine
            .export_own_data(&token, "ann@example.com")
            .await
            .unwrap(),
        Proven::Unknown
    ));
    assert_eq!(events(&world, "ContactErased").await, 1);
}

#[tokio::test]
async fn a_link_of_another_tenant_or_none_opens_nothing() {
    let (world, _, _) = visiting().await;
    let (other, _, foreign) = visiting().await;
    for wrong in [foreign.as_str(), "", "x"] {
        assert!(world.engine.preference_page(wrong).await.unwrap().is_none());
        assert!(
            world
                .engine
                .change_preferences(wrong, &PreferenceAction::UnsubscribeAll)
                .await
                .unwrap()
                .is_none()
        );
        assert!(matches!(
            world
                .engine
                .export_own_data(wrong, "ann@example.com")
                .await
                .unwrap(),
            Proven::Unknown
        ));
        assert!(matches!(
            world
                .engine
                .erase_own_data(wrong, "ann@example.com")
                .await
                .unwrap(),
            Proven::Unknown
        ));
    }
    assert!(suppressions(&other).await.is_empty());
}
