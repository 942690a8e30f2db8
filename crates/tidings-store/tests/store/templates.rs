//! Templates.

use crate::world::world;
use tidings_core::{Channel, MessageType};
use tidings_store::StoreError;
use tidings_store::templates::{
    self, BodyFormat, TemplateContent, TemplateFilter, TemplateKey, TemplateState, locale_chain,
};

fn key(locale: &str) -> TemplateKey {
    let message_type = MessageType::parse("welcome").unwrap();
    TemplateKey {
        message_type,
        channel: Channel::Email,
        locale: locale.to_owned(),
    }
}

fn content(body: &str) -> TemplateContent {
    TemplateContent {
        subject: Some("Welcome, {{ contact.name }}".to_owned()),
        body: body.to_owned(),
        body_format: BodyFormat::Mjml,
        whatsapp: None,
        text_body: None,
    }
}

#[tokio::test]
async fn a_draft_becomes_published_and_the_old_version_archived() {
    let mut world = world().await;
    let (now, mut tx) = (world.now, world.tx().await);
    let draft = templates::save_draft(&mut tx, &key("en"), &content("one"), &mut world.dice, now)
        .await
        .unwrap();
    assert_eq!((draft.version, draft.state), (1, TemplateState::Draft));
    let same = templates::save_draft(&mut tx, &key("en"), &content("two"), &mut world.dice, now)
        .await
        .unwrap();
    assert_eq!(
        (same.id, same.version, same.content.body.as_str()),
        (draft.id, 1, "two")
    );
    let first = templates::publish(&mut tx, draft.id, now).await.unwrap();
    assert_eq!(
        (first.state, first.published_at),
        (TemplateState::Published, Some(now))
    );

    let second = templates::save_draft(&mut tx, &key("en"), &content("three"), &mut world.dice, now)
        .await
        .unwrap();
    assert_eq!(second.version, 2);
    templates::publish(&mut tx, second.id, now).await.unwrap();
    assert_eq!(
        templates::get(&mut tx, first.id).await.unwrap().state,
        TemplateState::Archived
    );
    assert_eq!(
        templates::all_published(&mut tx, world.tenant)
            .await
            .unwrap()
            .len(),
        1
    );

    templates::publish(&mut tx, first.id, now).await.unwrap();
    let locales = locale_chain(Some("en-GB"), None);
    let found = templates::published(&mut tx, &key("en").message_type, Channel::Email, &locales)
        .await
        .unwrap();
    assert_eq!(found.unwrap().id, first.id, "back to the first version");
    templates::archive(&mut tx, first.id, now).await.unwrap();
    assert!(
        templates::published(&mut tx, &key("en").message_type, Channel::Email, &locales)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn the_first_locale_of_the_chain_answers() {
    let mut world = world().await;
    let (now, mut tx) = (world.now, world.tx().await);
    for locale in ["en", "de", "fr"] {
        let draft = templates::save_draft(&mut tx, &key(locale), &content(locale), &mut world.dice, now)
            .await
            .unwrap();
        templates::publish(&mut tx, draft.id, now).await.unwrap();
    }
    for (locale, tenant, expected) in [
        ("de-AT", None, "de"),
        ("it", Some("fr-CH"), "fr"),
        ("it", None, "en"),
    ] {
        let chain = locale_chain(Some(locale), tenant);
        let found = templates::published(&mut tx, &key("en").message_type, Channel::Email, &chain)
            .await
            .unwrap();
        assert_eq!(found.unwrap().key.locale, expected);
    }
    let filter = TemplateFilter {
        locale: Some("de".to_owned()),
        state: Some(TemplateState::Published),
        ..TemplateFilter::default()
    };
    assert_eq!(
        templates::list(&mut tx, &filter, None, 10)
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    let page = templates::list(&mut tx, &TemplateFilter::default(), None, 2)
        .await
        .unwrap();
    assert!(page.next.is_some());
}

#[tokio::test]
async fn malformed_templates_are_refused() {
    let mut world = world().await;
    let (now, mut tx) = (world.now, world.tx().await);
    let empty = content("");
    let huge = content(&"x".repeat(1_048_577));
    for (key, content) in [
        (key("en"), empty),
        (key("en"), huge),
        (key("e"), content("x")),
        (key("en US"), content("x")),
    ] {
        let error = templates::save_draft(&mut tx, &key, &content, &mut world.dice, now)
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
    }
}
