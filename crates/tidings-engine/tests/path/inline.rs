//! Contacts given with requests stand or fall with them.

use crate::world::{World, context, welcome};
use serde_json::json;
use tidings_core::redact::Private;
use tidings_core::{ContactId, MessageStatus};
use tidings_engine::{AcceptError, AcceptRequest, IdempotencyKey, InlineContact, Recipient};

fn to(contact: InlineContact) -> AcceptRequest {
    let mut request = welcome(ContactId(uuid::Uuid::nil()));
    request.to = Recipient::Contact(contact);
    request
}

fn named(external_id: &str, email: &str) -> InlineContact {
    InlineContact {
        external_id: Some(external_id.to_owned()),
        email: Some(Private::new(email.to_owned())),
        ..InlineContact::default()
    }
}

/// A request whose template misses a variable: refused when it is rendered, long after its contact was looked for.
fn unrenderable(contact: InlineContact) -> AcceptRequest {
    let mut request = to(contact);
    request.context = context(json!({}));
    request
}

async fn rows(world: &World) -> Vec<String> {
    let count = "SELECT concat_ws(' ', (SELECT count(*) FROM contacts), (SELECT count(*) FROM addresses),
        (SELECT count(*) FROM contact_keys), (SELECT count(*) FROM messages))";
    world.database.texts(count).await
}

#[tokio::test]
async fn a_refused_request_leaves_no_contact() {
    let world = World::new().await;
    let error = world
        .accept(unrenderable(named("c-1", "ann@example.com")))
        .await
        .unwrap_err();
    assert!(matches!(error, AcceptError::MissingVariables { .. }), "{error:?}");
    assert_eq!(rows(&world).await, ["0 0 0 0"]);
}

#[tokio::test]
async fn the_others_of_the_call_keep_theirs() {
    let world = World::new().await;
    let answers = world
        .engine
        .accept(
            world.tenant,
            vec![
                to(named("c-1", "ann@example.com")),
                unrenderable(named("c-2", "bob@example.com")),
                // The same person as the first, whatever becomes of this one.
                unrenderable(named("c-1", "ann.other@example.com")),
                to(named("c-3", "cyd@example.com")),
            ],
        )
        .await;
    let fine: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(fine, [true, false, false, true]);
    assert_eq!(rows(&world).await, ["2 2 2 2"]);
    world.run().await;
    let first = answers[0].as_ref().unwrap();
    assert_eq!(world.status(first.message_id).await, MessageStatus::Sent);
    let held = world
        .database
        .texts("SELECT external_id FROM contacts ORDER BY 1")
        .await;
    assert_eq!(held, ["c-1", "c-3"]);
}

#[tokio::test]
async fn a_refused_request_changes_nothing_of_a_known_contact() {
    let world = World::new().await;
    world.accept(to(named("c-1", "ann@example.com"))).await.unwrap();
    let picture = "SELECT concat_ws(' ', c.*, a.*) FROM contacts c JOIN addresses a ON a.contact_id = c.id";
    let before = world.database.texts(picture).await;
    world.advance(60);
    let mut other = named("c-1", "ann.new@example.com");
    other.name = Some(Private::new("Ann".to_owned()));
    world.accept(unrenderable(other)).await.unwrap_err();
    assert_eq!(world.database.texts(picture).await, before);
}

#[tokio::test]
async fn what_the_store_would_refuse_is_refused_before_anything_is_written() {
    let world = World::new().await;
    let long = InlineContact {
        name: Some(Private::new("x".repeat(201))),
        ..named("c-1", "ann@example.com")
    };
    let country = InlineContact {
        country: Some("Austria".to_owned()),
        ..named("c-2", "bob@example.com")
    };
    let requests = vec![to(long), to(country), to(named("c-3", "cyd@example.com"))];
    let answers = world.engine.accept(world.tenant, requests).await;
    let told: Vec<String> = answers
        .iter()
        .map(|answer| match answer {
            Ok(_) => "fine".to_owned(),
            Err(AcceptError::Invalid { field, .. }) => field.clone(),
            Err(other) => panic!("{other}"),
        })
        .collect();
    assert_eq!(told, ["to.contact.name", "to.contact.country", "fine"]);
    assert_eq!(rows(&world).await, ["1 1 1 1"]);
}

#[tokio::test]
async fn a_duplicate_leaves_no_contact() {
    let world = World::new().await;
    let with_reference = |contact| AcceptRequest {
        source_reference: Some("order-1".to_owned()),
        ..to(contact)
    };
    let first = world
        .accept(with_reference(named("c-1", "ann@example.com")))
        .await
        .unwrap();
    let again = world
        .accept(with_reference(named("c-2", "bob@example.com")))
        .await
        .unwrap();
    assert!(again.duplicate);
    assert_eq!(
        (again.message_id, again.contact_id),
        (first.message_id, first.contact_id)
    );
    assert_eq!(rows(&world).await, ["1 1 1 1"]);
}

#[tokio::test]
async fn a_key_that_another_holds_leaves_no_contact() {
    let world = World::new().await;
    let key = || IdempotencyKey {
        key: "k".to_owned(),
        body_hash: vec![1; 32],
    };
    // Two processes, the same key at the same moment: one is told to ask again, and nothing of it stays.
    let other = world.another_engine(2).await;
    let one = world
        .engine
        .accept_with_key(world.tenant, key(), vec![to(named("c-1", "ann@example.com"))]);
    let two = other.accept_with_key(world.tenant, key(), vec![to(named("c-2", "bob@example.com"))]);
    let (one, two) = tokio::join!(one, two);
    let fine = [one, two].iter().filter(|answers| answers[0].is_ok()).count();
    assert!(fine >= 1);
    assert_eq!(rows(&world).await, ["1 1 1 1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_contacts_from_many_processes_are_made_once() {
    let world = World::new().await;
    let engines = [
        world.another_engine(2).await,
        world.another_engine(3).await,
        world.another_engine(4).await,
    ];
    let calls = (0..12).map(|call| {
        // Each call in another order, so that two could wait for each other.
        let order: Vec<usize> = (0..20).map(|n| (n * 7 + call * 3) % 20).collect();
        let requests = order
            .into_iter()
            .map(|n| to(named(&format!("c-{n}"), &format!("ann{n}@example.com"))))
            .collect();
        engines[call % engines.len()].accept(world.tenant, requests)
    });
    for answers in futures::future::join_all(calls).await {
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    assert_eq!(rows(&world).await, ["20 20 20 240"]);
}
