//! A request becomes a message, and the same request stays one.

use crate::world::{World, welcome};
use tidings_core::decide::Verdict;
use tidings_core::redact::Private;
use tidings_core::{AttemptOutcome, Channel, ContactId, DeliveryState, MessageStatus};
use tidings_engine::{AcceptError, AcceptRequest, IdempotencyKey, InlineContact, Recipient};

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

#[tokio::test]
async fn the_same_source_reference_is_one_message() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let request = || AcceptRequest {
        source_reference: Some("order-7".to_owned()),
        ..welcome(ann)
    };
    // Together in one call, at once from many callers and on two nodes, and again later.
    let other = world.another_engine(2).await;
    let together = world
        .engine
        .accept(world.tenant, vec![request(), request()])
        .await;
    let at_once = futures::future::join_all((0..20).map(|n| {
        let engine = if n % 2 == 0 { &world.engine } else { &other };
        engine.accept(world.tenant, vec![request()])
    }))
    .await;
    let first = together[0].as_ref().unwrap().message_id;
    for answer in together.iter().skip(1).chain(at_once.iter().flatten()) {
        let answer = answer.as_ref().unwrap();
        assert!(answer.duplicate);
        assert_eq!(answer.message_id, first);
    }
    world.run().await;
    let again = world.accept(request()).await.unwrap();
    assert_eq!((again.message_id, again.status), (first, MessageStatus::Sent));
    assert_eq!(world.ledger().await.messages, 1);
}

#[tokio::test]
async fn callers_at_once_with_one_reference_get_one_message() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let other = world.another_engine(2).await;
    let answers = futures::future::join_all((0..40).map(|n| {
        let engine = if n % 2 == 0 { &world.engine } else { &other };
        let request = AcceptRequest {
            source_reference: Some("order-8".to_owned()),
            ..welcome(ann)
        };
        engine.accept(world.tenant, vec![request])
    }))
    .await;
    let answers: Vec<_> = answers.into_iter().flatten().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1);
    assert!(
        answers
            .iter()
            .all(|answer| answer.message_id == answers[0].message_id)
    );
}

#[tokio::test]
async fn an_idempotency_key_gets_the_same_answer_for_the_same_body_only() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let key = |body: &str| IdempotencyKey {
        key: "k-1".to_owned(),
        body_hash: body.as_bytes().to_vec(),
    };
    let send = |body| {
        world
            .engine
            .accept_with_key(world.tenant, key(body), vec![welcome(ann)])
    };
    let first = send("body").await.pop().unwrap().unwrap();
    let again = send("body").await.pop().unwrap().unwrap();
    assert!(!first.duplicate && again.duplicate);
    assert_eq!((first.message_id, first.status), (again.message_id, again.status));
    assert_eq!(send("other").await.pop().unwrap(), Err(AcceptError::KeyReused));
    // A key is forgotten after a day.
    world.advance(25 * 3600);
    let later = send("other").await.pop().unwrap().unwrap();
    assert_ne!(later.message_id, first.message_id);
}

#[tokio::test]
async fn a_key_used_at_once_makes_one_message() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let other = world.another_engine(2).await;
    let answers = futures::future::join_all((0..20).map(|n| {
        let engine = if n % 2 == 0 { &world.engine } else { &other };
        let key = IdempotencyKey {
            key: "k-2".to_owned(),
            body_hash: b"body".to_vec(),
        };
        engine.accept_with_key(world.tenant, key, vec![welcome(ann)])
    }))
    .await;
    let mut messages = std::collections::BTreeSet::new();
    for answer in answers.into_iter().flatten() {
        match answer {
            Ok(accepted) => drop(messages.insert(accepted.message_id)),
            Err(error) => assert_eq!(error, AcceptError::InProgress),
        }
    }
    assert_eq!(messages.len(), 1);
    world.run().await;
    assert_eq!(world.ledger().await.messages, 1);
}

#[tokio::test]
async fn a_contact_given_inline_is_made_once() {
    let world = World::new().await;
    let inline = || {
        Recipient::Contact(InlineContact {
            external_id: Some("crm-5".to_owned()),
            name: Some(Private::new("Bob".to_owned())),
            email: Some(Private::new("Bob@Example.com".to_owned())),
            zone: Some("Europe/Vienna".to_owned()),
            ..InlineContact::default()
        })
    };
    let request = |to| AcceptRequest {
        to,
        ..welcome(ContactId(uuid::Uuid::nil()))
    };
    let first = world.accept(request(inline())).await.unwrap();
    let second = world.accept(request(inline())).await.unwrap();
    let third = world
        .accept(request(Recipient::ExternalId("crm-5".to_owned())))
        .await
        .unwrap();
    assert_eq!(
        (first.contact_id, first.contact_id),
        (second.contact_id, third.contact_id)
    );
    let by_address = InlineContact {
        email: Some(Private::new("bob@example.com".to_owned())),
        ..InlineContact::default()
    };
    let fourth = world
        .accept(request(Recipient::Contact(by_address)))
        .await
        .unwrap();
    assert_eq!(fourth.contact_id, first.contact_id);
}

#[tokio::test]
async fn many_given_inline_are_made_together() {
    let world = World::new().await;
    let by_email = |n: usize| {
        let email = Some(Private::new(format!("p{n}@example.com")));
        let to = Recipient::Contact(InlineContact {
            email,
            ..InlineContact::default()
        });
        AcceptRequest {
            to,
            ..welcome(ContactId(uuid::Uuid::nil()))
        }
    };
    let requests = (0..40).map(|n| by_email(n % 20)).collect();
    let first = world.engine.accept(world.tenant, requests).await;
    let again = world
        .engine
        .accept(world.tenant, (0..40).map(|n| by_email(n % 20)).collect())
        .await;
    let ids = |answers: &[Result<tidings_engine::Accepted, AcceptError>]| -> Vec<ContactId> {
        answers
            .iter()
            .map(|answer| answer.as_ref().unwrap().contact_id)
            .collect()
    };
    let (first, again) = (ids(&first), ids(&again));
    assert_eq!(first, again);
    assert_eq!(first[..20], first[20..]);
    assert_eq!(world.database.texts("SELECT id FROM contacts").await.len(), 20);
}

#[tokio::test]
async fn a_dry_run_decides_and_stores_nothing() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let dry = world
        .engine
        .dry_run(world.tenant, &welcome(ann), world.now())
        .await
        .unwrap();
    assert!(matches!(dry.decision.verdict, Verdict::Send(_)));
    assert_eq!(world.database.texts("SELECT id FROM messages").await.len(), 0);
}
