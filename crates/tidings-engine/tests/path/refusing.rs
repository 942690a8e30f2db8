//! Bad input: an answer that says what, where and what to do, and nothing half-written.

use crate::world::{World, context, welcome, word};
use jiff::SignedDuration;
use serde_json::json;
use tidings_core::redact::Private;
use tidings_core::{ContactId, TenantId};
use tidings_engine::providers::{MediaKind, MediaSource};
use tidings_engine::{AcceptError, AcceptRequest, DirectContent, DirectMedia, InlineContact, Recipient};

async fn refused(world: &World, request: AcceptRequest) -> AcceptError {
    let error = world.accept(request).await.unwrap_err();
    assert_eq!(world.database.texts("SELECT id FROM messages").await.len(), 0);
    assert_eq!(
        world
            .database
            .texts("SELECT id FROM communication_jobs")
            .await
            .len(),
        0
    );
    assert!(error.to_string().len() > 20, "{error}");
    error
}

#[tokio::test]
async fn bad_requests_are_refused_with_reasons() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;

    let unknown = AcceptRequest {
        message_type: Some(word("no_such_type")),
        ..welcome(ann)
    };
    assert_eq!(refused(&world, unknown).await.code(), "unknown_template");

    let missing = AcceptRequest {
        context: context(json!({})),
        ..welcome(ann)
    };
    match refused(&world, missing).await {
        AcceptError::MissingVariables { names, .. } => assert_eq!(names, ["client_name", "event_type"]),
        other => panic!("{other}"),
    }

    let nothing = AcceptRequest {
        message_type: None,
        ..welcome(ann)
    };
    assert_eq!(refused(&world, nothing).await, AcceptError::NothingToSend);

    let nobody = AcceptRequest {
        to: Recipient::ExternalId("nobody".to_owned()),
        ..welcome(ann)
    };
    assert_eq!(refused(&world, nobody).await.code(), "unknown_contact");

    let inline = |contact| AcceptRequest {
        to: Recipient::Contact(contact),
        ..welcome(ann)
    };
    let email = InlineContact {
        email: Some(Private::new("no at".to_owned())),
        ..InlineContact::default()
    };
    let error = refused(&world, inline(email)).await;
    assert_eq!(error.code(), "malformed_address");
    assert!(!error.to_string().contains("no at"), "personal data in {error}");
    let phone = InlineContact {
        phone: Some(Private::new("12".to_owned())),
        ..InlineContact::default()
    };
    assert_eq!(refused(&world, inline(phone)).await.code(), "malformed_address");
    let zone = InlineContact {
        external_id: Some("x".to_owned()),
        zone: Some("Mars/Olympus".to_owned()),
        ..InlineContact::default()
    };
    assert_eq!(refused(&world, inline(zone)).await.code(), "wrong_zone");
    assert_eq!(
        refused(&world, inline(InlineContact::default())).await.code(),
        "invalid"
    );

    let late = world.now() - SignedDuration::from_secs(1);
    let expired = AcceptRequest {
        expires_at: Some(late),
        ..welcome(ann)
    };
    assert_eq!(refused(&world, expired).await.code(), "expired");

    let large = AcceptRequest {
        context: context(json!({"client_name": "x".repeat(300_000)})),
        ..welcome(ann)
    };
    assert_eq!(refused(&world, large).await.code(), "too_large");
    let content = DirectContent {
        subject: None,
        body: Private::new("x".repeat(200_000)),
        media: None,
    };
    let large = AcceptRequest {
        content: Some(content),
        ..welcome(ann)
    };
    assert_eq!(refused(&world, large).await.code(), "too_large");
    for (kind, source, body) in [
        (
            MediaKind::Image,
            MediaSource::Link("http://files.example/a.png".to_owned()),
            "x".to_owned(),
        ),
        (MediaKind::Image, MediaSource::Id(String::new()), "x".to_owned()),
        (
            MediaKind::Video,
            MediaSource::Id("12".to_owned()),
            "x".repeat(1_025),
        ),
    ] {
        let media = DirectMedia {
            kind,
            source: Private::new(source),
            filename: None,
        };
        let content = DirectContent {
            subject: None,
            body: Private::new(body),
            media: Some(media),
        };
        let with_file = AcceptRequest {
            content: Some(content),
            ..welcome(ann)
        };
        assert_eq!(refused(&world, with_file).await.code(), "invalid");
    }

    let reference = AcceptRequest {
        source_reference: Some(String::new()),
        ..welcome(ann)
    };
    assert_eq!(refused(&world, reference).await.code(), "invalid");
}

#[tokio::test]
async fn another_tenants_contact_is_as_unknown_as_none() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let ours = world.tenant;
    world.tenant = world.make_tenant("other").await;
    let theirs = world.contact(Some("eve@example.com"), None).await;
    world.tenant = ours;
    assert_eq!(refused(&world, welcome(theirs)).await.code(), "unknown_contact");
    let stranger = TenantId(world.dice.uuid(world.now()));
    let answer = world
        .engine
        .accept(stranger, vec![welcome(ann)])
        .await
        .pop()
        .unwrap();
    assert_eq!(answer, Err(AcceptError::UnknownTenant));
}

#[tokio::test]
async fn one_bad_request_does_not_touch_its_neighbours() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let nobody = ContactId(world.dice.uuid(world.now()));
    let answers = world
        .engine
        .accept(world.tenant, vec![welcome(ann), welcome(nobody), welcome(ann)])
        .await;
    assert!(answers[0].is_ok() && answers[1].is_err() && answers[2].is_ok());
    assert_eq!(world.database.texts("SELECT id FROM messages").await.len(), 2);
}

#[test]
fn unknown_fields_are_refused() {
    let text = r#"{"to": {"external_id": "a"}, "message_type": "welcome", "urgencyy": "low"}"#;
    assert!(serde_json::from_str::<AcceptRequest>(text).is_err());
}
