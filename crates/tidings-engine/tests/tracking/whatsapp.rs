//! WhatsApp: the service window and approved templates, reviews, marketing preferences, users without a number, read marks.

use crate::hooks::{Whatsapp, events, suppressions};
use crate::world::{World, welcome};
use serde_json::{Value, json};
use tidings_core::decide::Verdict;
use tidings_core::redact::Private;
use tidings_core::{Category, Channel, ContactId, MessageStatus, Urgency};
use tidings_engine::providers::{MediaKind, MediaSource};
use tidings_engine::store::erasure;
use tidings_engine::store::templates::{self, BodyFormat, TemplateContent, TemplateKey};
use tidings_engine::store::whatsapp::templates as reviews;
use tidings_engine::{AcceptRequest, DirectMedia, SignalError, SignalKind};

const ANN: &str = "+12025550123";
const USER: &str = "US.13491208655302741918";

async fn chatting() -> (World, Whatsapp, ContactId) {
    let mut world = World::bare().await;
    let whatsapp = Whatsapp::connect(&mut world).await;
    let ann = world.contact(None, Some(ANN)).await;
    (world, whatsapp, ann)
}

fn message(contact: ContactId) -> AcceptRequest {
    let mut request = welcome(contact);
    request.channel = Some(Channel::Whatsapp);
    request.category = Some(Category::Transactional);
    request
}

/// Publishes a WhatsApp template of the type `welcome`, bound to an approved one.
async fn publish(world: &mut World) {
    let now = world.now();
    let mut tx = world
        .engine
        .store()
        .worker_tenant(world.tenant)
        .tx()
        .await
        .unwrap();
    let key = TemplateKey {
        message_type: crate::world::word("welcome"),
        channel: Channel::Whatsapp,
        locale: "en".to_owned(),
    };
    let content = TemplateContent {
        subject: None,
        body: "Hello {{ client_name }}, free text.".to_owned(),
        body_format: BodyFormat::Text,
        text_body: None,
        whatsapp: Some(json!({
            "name": "welcome_v1", "language": "en_US", "body": ["{{ client_name }}", "{{ event_type }}"]
        })),
    };
    let draft = templates::save_draft(&mut tx, &key, &content, &mut world.dice, now)
        .await
        .unwrap();
    templates::publish(&mut tx, draft.id, now).await.unwrap();
    tx.commit().await.unwrap();
}

async fn review(world: &World, whatsapp: &Whatsapp, word: &str) {
    let value =
        json!({"event": word, "message_template_name": "welcome_v1", "message_template_language": "en_US"});
    whatsapp
        .change(world, "message_template_status_update", value)
        .await
        .unwrap();
    world.run().await;
}

fn ann_writes(id: &str) -> Value {
    json!({"id": id, "from": "12025550123"})
}

#[tokio::test]
async fn the_window_counts_from_the_messages_own_time() {
    let (world, whatsapp, ann) = chatting().await;
    assert_eq!(
        world.accept(message(ann)).await.unwrap().status,
        MessageStatus::Suppressed
    );
    // Written 23 hours ago, reported now.
    let mut late = ann_writes("wamid.1");
    late["timestamp"] = json!((world.now().as_second() - 23 * 3_600).to_string());
    late["type"] = json!("image");
    whatsapp
        .change(&world, "messages", json!({"messages": [late]}))
        .await
        .unwrap();
    world.run().await;
    let accepted = world.accept(message(ann)).await.unwrap();
    world.run().await;
    assert_eq!(world.status(accepted.message_id).await, MessageStatus::Sent);
    assert_eq!(whatsapp.asked()[0]["type"], "text");
    world.advance(2 * 3_600);
    assert_eq!(
        world.accept(message(ann)).await.unwrap().status,
        MessageStatus::Suppressed
    );
}

#[tokio::test]
async fn outside_the_window_the_approved_template_goes_and_inside_the_text() {
    let (mut world, whatsapp, ann) = chatting().await;
    publish(&mut world).await;
    world.accept(message(ann)).await.unwrap();
    world.run().await;
    let sent = &whatsapp.asked()[0];
    assert_eq!(sent["template"]["name"], "welcome_v1");
    let values = &sent["template"]["components"][0]["parameters"];
    assert_eq!(
        (&values[0]["text"], &values[1]["text"]),
        (&json!("Ann"), &json!("wedding"))
    );
    whatsapp.write(&world, ann_writes("wamid.1"), "hi").await.unwrap();
    world.run().await;
    world.advance(60);
    world.accept(message(ann)).await.unwrap();
    world.run().await;
    assert_eq!(whatsapp.asked()[1]["text"]["body"], "Hello Ann, free text.");
}

#[tokio::test]
async fn a_window_that_closes_in_the_queue_makes_it_the_template_or_nothing() {
    let (mut world, whatsapp, ann) = chatting().await;
    publish(&mut world).await;
    whatsapp.write(&world, ann_writes("wamid.1"), "hi").await.unwrap();
    world.run().await;
    let bound = world.accept(message(ann)).await.unwrap();
    let mut free = crate::world::direct(ann, "Only text.");
    free.channel = Some(Channel::Whatsapp);
    free.category = Some(Category::Transactional);
    let free = world.accept(free).await.unwrap();
    world.advance(24 * 3_600 + 60);
    world.run().await;
    world.advance(60);
    world.run().await;
    assert_eq!(world.status(bound.message_id).await, MessageStatus::Sent);
    assert_eq!(world.status(free.message_id).await, MessageStatus::Suppressed);
    let asked = whatsapp.asked();
    assert_eq!((asked.len(), &asked[0]["type"]), (1, &json!("template")));
}

#[tokio::test]
async fn a_template_that_meta_stops_is_not_used_until_it_is_approved() {
    let (mut world, whatsapp, ann) = chatting().await;
    publish(&mut world).await;
    let mut later = message(ann);
    later.send_at = Some(world.now() + jiff::SignedDuration::from_mins(10));
    let queued = world.accept(later).await.unwrap();
    review(&world, &whatsapp, "PAUSED").await;
    world.advance(10 * 60);
    world.run().await;
    // Queued before, asked again at the gate.
    assert_eq!(world.status(queued.message_id).await, MessageStatus::Suppressed);
    assert_eq!(
        world.accept(message(ann)).await.unwrap().status,
        MessageStatus::Suppressed
    );
    assert_eq!(events(&world, "WhatsappTemplateReviewed").await, 1);
    let mut tx = world
        .engine
        .store()
        .worker_tenant(world.tenant)
        .tx()
        .await
        .unwrap();
    let known = reviews::standings(&mut tx, &["welcome_v1".to_owned()])
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(known[0].standing, "paused");
    world.advance(60);
    review(&world, &whatsapp, "APPROVED").await;
    let accepted = world.accept(message(ann)).await.unwrap();
    world.run().await;
    assert_eq!(world.status(accepted.message_id).await, MessageStatus::Sent);
}

#[tokio::test]
async fn messages_to_one_contact_keep_their_distance() {
    let (mut world, whatsapp, ann) = chatting().await;
    publish(&mut world).await;
    let first = world.accept(message(ann)).await.unwrap();
    let second = world.accept(message(ann)).await.unwrap();
    world.run().await;
    assert_eq!(whatsapp.asked().len(), 1);
    world.advance(14);
    world.run().await;
    assert_eq!(whatsapp.asked().len(), 1);
    world.advance(2);
    world.run().await;
    assert_eq!(whatsapp.asked().len(), 2);
    for one in [first, second] {
        assert_eq!(world.status(one.message_id).await, MessageStatus::Sent);
    }
}

#[tokio::test]
async fn marketing_switched_off_in_whatsapp_stops_marketing_alone() {
    let (mut world, whatsapp, ann) = chatting().await;
    publish(&mut world).await;
    world.consent(ann, Category::Marketing).await;
    let choice = |value: &str, at: i64| json!({"user_preferences": [{"wa_id": "12025550123", "category": "marketing_messages", "value": value, "timestamp": at}]});
    let now = world.now().as_second();
    // In the wrong order, and late.
    world.advance(60);
    whatsapp
        .change(&world, "user_preferences", choice("stop", now + 30))
        .await
        .unwrap();
    whatsapp
        .change(&world, "user_preferences", choice("resume", now + 10))
        .await
        .unwrap();
    let mut marketing = message(ann);
    marketing.category = Some(Category::Marketing);
    assert_eq!(
        world.accept(marketing.clone()).await.unwrap().status,
        MessageStatus::Suppressed
    );
    assert_eq!(
        world.accept(message(ann)).await.unwrap().status,
        MessageStatus::Queued
    );
    assert!(suppressions(&world).await.is_empty());
    world.run().await;
    assert_eq!(world.jobs("webhook.process").await, ["complete", "complete"]);
}

#[tokio::test]
async fn a_user_without_a_number_is_found_by_what_was_seen_with_the_id() {
    let (mut world, whatsapp, ann) = chatting().await;
    publish(&mut world).await;
    // Nobody knows yet who says stop.
    whatsapp
        .write(&world, json!({"id": "wamid.1", "from_user_id": USER}), "STOP")
        .await
        .unwrap();
    world.run().await;
    let owner = "SELECT coalesce(contact_id::text, 'nobody') FROM inbound_messages ORDER BY id";
    assert_eq!(world.database.texts(owner).await, ["nobody"]);
    assert_eq!(suppressions(&world).await, ["whatsapp stop"]);
    assert_eq!(
        world.accept(message(ann)).await.unwrap().status,
        MessageStatus::Queued
    );
    // The number and the id together: it was Ann.
    world.advance(60);
    let both = json!({"id": "wamid.2", "from": "12025550123", "from_user_id": USER});
    whatsapp.write(&world, both, "hello").await.unwrap();
    world.run().await;
    assert_eq!(
        world.accept(message(ann)).await.unwrap().status,
        MessageStatus::Suppressed
    );
    // From now on the id alone is enough.
    world.advance(60);
    whatsapp
        .write(&world, json!({"id": "wamid.3", "from_user_id": USER}), "START")
        .await
        .unwrap();
    world.run().await;
    assert_eq!(
        world.accept(message(ann)).await.unwrap().status,
        MessageStatus::Queued
    );
    assert_eq!(world.database.texts(owner).await[2], ann.to_string());
}

#[tokio::test]
async fn an_answer_names_its_author_where_the_number_is_written_otherwise() {
    let (mut world, whatsapp, ann) = chatting().await;
    publish(&mut world).await;
    world.accept(message(ann)).await.unwrap();
    world.run().await;
    let answer = json!({"id": "wamid.1", "from": "5511912345678", "context": {"id": "wamid.OUT0"}});
    whatsapp.write(&world, answer, "thanks").await.unwrap();
    world.run().await;
    let owner = "SELECT contact_id::text FROM inbound_messages";
    assert_eq!(world.database.texts(owner).await, [ann.to_string()]);
    assert_eq!(events(&world, "MessageReceived").await, 1);
}

/// A file goes with the text as its caption, inside the window only.
#[tokio::test]
async fn a_file_goes_with_its_text() {
    let (world, whatsapp, ann) = chatting().await;
    let mut request = crate::world::direct(ann, "The plan.");
    request.channel = Some(Channel::Whatsapp);
    request.category = Some(Category::Transactional);
    let link = "https://files.example/plan.pdf";
    if let Some(content) = &mut request.content {
        content.media = Some(DirectMedia {
            kind: MediaKind::Document,
            source: Private::new(MediaSource::Link(link.to_owned())),
            filename: Some(Private::new("plan.pdf".to_owned())),
        });
    }
    assert_eq!(
        world.accept(request.clone()).await.unwrap().status,
        MessageStatus::Suppressed
    );
    whatsapp.write(&world, ann_writes("wamid.1"), "hi").await.unwrap();
    world.run().await;
    let accepted = world.accept(request).await.unwrap();
    world.run().await;
    let told = world.explain(accepted.message_id).await;
    assert_eq!(told.status, MessageStatus::Sent, "{told:#?}");
    let asked = whatsapp.asked();
    assert_eq!(asked[0]["type"], "document");
    assert_eq!(
        asked[0]["document"],
        json!({"link": link, "caption": "The plan.", "filename": "plan.pdf"})
    );
}

/// Who was erased is nobody, whatever old message is quoted; what stands beside it in the webhook is read.
#[tokio::test]
async fn an_erased_contact_that_quotes_a_message_holds_up_nobody() {
    let (mut world, whatsapp, ann) = chatting().await;
    publish(&mut world).await;
    world.accept(message(ann)).await.unwrap();
    world.run().await;
    let now = world.now();
    let mut tx = world
        .engine
        .store()
        .worker_tenant(world.tenant)
        .tx()
        .await
        .unwrap();
    let certificate = erasure::erase(&mut tx, ann, "test", &mut world.dice, now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    erasure::forget(&world.keyring, &certificate).await;
    let bob = world.contact(None, Some("+12025550199")).await;
    let at = world.now().as_second().to_string();
    let texts = [
        json!({"id": "wamid.1", "from": "12025550123", "context": {"id": "wamid.OUT0"}}),
        json!({"id": "wamid.2", "from_user_id": USER, "context": {"id": "wamid.OUT0"}}),
        json!({"id": "wamid.3", "from": "12025550199"}),
    ];
    let texts: Vec<Value> = texts
        .into_iter()
        .map(|mut text| {
            text["timestamp"] = json!(at);
            text["type"] = json!("text");
            text["text"] = json!({"body": "STOP"});
            text
        })
        .collect();
    whatsapp
        .change(&world, "messages", json!({"messages": texts}))
        .await
        .unwrap();
    world.run().await;
    assert_eq!(world.jobs("webhook.process").await, ["complete"]);
    let owners =
        "SELECT coalesce(contact_id::text, 'nobody') FROM inbound_messages ORDER BY provider_message_id";
    assert_eq!(
        world.database.texts(owners).await,
        ["nobody".to_owned(), "nobody".to_owned(), bob.to_string()]
    );
    let stopped = "SELECT id::text FROM contacts WHERE 'whatsapp' = ANY (stopped)";
    assert_eq!(world.database.texts(stopped).await, [bob.to_string()]);
}

/// START ends a stop under whatever the person said it, so that it does not come back when the id is seen with the number again.
#[tokio::test]
async fn start_lifts_what_was_stopped_under_another_name() {
    let (mut world, whatsapp, ann) = chatting().await;
    publish(&mut world).await;
    let by_id = |id: &str| json!({"id": id, "from_user_id": USER});
    whatsapp.write(&world, by_id("wamid.1"), "STOP").await.unwrap();
    let both = json!({"id": "wamid.2", "from": "12025550123", "from_user_id": USER});
    whatsapp.write(&world, both, "hello").await.unwrap();
    world.run().await;
    whatsapp
        .write(&world, ann_writes("wamid.3"), "START")
        .await
        .unwrap();
    world.run().await;
    assert!(suppressions(&world).await.is_empty());
    assert_eq!(
        world.accept(message(ann)).await.unwrap().status,
        MessageStatus::Queued
    );
    // And the other way round: stopped by the number, begun again by the id.
    whatsapp
        .write(&world, ann_writes("wamid.4"), "STOP")
        .await
        .unwrap();
    whatsapp.write(&world, by_id("wamid.5"), "START").await.unwrap();
    world.run().await;
    assert!(suppressions(&world).await.is_empty());
    assert_eq!(
        world.accept(message(ann)).await.unwrap().status,
        MessageStatus::Queued
    );
}

/// A stop and the news who the sender is may come at the same instant: neither misses the other.
#[tokio::test]
async fn a_stop_and_a_link_at_the_same_time_meet() {
    for round in 0..4 {
        let (mut world, whatsapp, ann) = chatting().await;
        publish(&mut world).await;
        let both = json!({"id": "wamid.1", "from": "12025550123", "from_user_id": USER});
        whatsapp.write(&world, both, "hello").await.unwrap();
        let stop = json!({"id": "wamid.2", "from_user_id": USER});
        let (said, ()) = tokio::join!(whatsapp.write(&world, stop, "STOP"), world.run());
        said.unwrap();
        world.run().await;
        assert_eq!(
            world.accept(message(ann)).await.unwrap().status,
            MessageStatus::Suppressed,
            "round {round}"
        );
    }
}

/// Low urgency gathers by WhatsApp as well. What closes it is the approved template of each message, where nothing else may go.
#[tokio::test]
async fn what_gathered_goes_by_its_templates_when_the_window_is_closed() {
    for count in [1, 2] {
        let (mut world, whatsapp, ann) = chatting().await;
        publish(&mut world).await;
        // Something within the last day, or nothing would gather.
        world.accept(message(ann)).await.unwrap();
        world.run().await;
        world.advance(60);
        let mut low = Vec::new();
        for _ in 0..count {
            let mut request = message(ann);
            request.urgency = Some(Urgency::Low);
            let accepted = world.accept(request).await.unwrap();
            assert!(
                matches!(accepted.verdict, Verdict::Batch { .. }),
                "{:?}",
                accepted.verdict
            );
            low.push(accepted.message_id);
        }
        world.advance(400);
        world.run().await;
        world.advance(60);
        world.run().await;
        for message in &low {
            assert_eq!(world.status(*message).await, MessageStatus::Sent, "of {count}");
        }
        let asked = whatsapp.asked();
        assert_eq!(asked.len(), 1 + count);
        assert!(asked.iter().all(|sent| sent["type"] == "template"), "{asked:?}");
    }
}

#[tokio::test]
async fn a_failure_reported_later_is_followed_once() {
    let (mut world, whatsapp, ann) = chatting().await;
    publish(&mut world).await;
    let mut marketing = message(ann);
    marketing.category = Some(Category::Marketing);
    world.consent(ann, Category::Marketing).await;
    let accepted = world.accept(marketing.clone()).await.unwrap();
    world.run().await;
    let status = json!({"statuses": [{"id": "wamid.OUT0", "status": "failed", "timestamp": "1781622001",
        "recipient_id": "12025550123", "errors": [{"code": 131_050, "title": "stopped"}]}]});
    for _ in 0..2 {
        whatsapp.change(&world, "messages", status.clone()).await.unwrap();
        world.run().await;
        world.advance(1);
    }
    assert_eq!(world.status(accepted.message_id).await, MessageStatus::Failed);
    assert_eq!(events(&world, "ConsentWithdrawn").await, 1);
    assert_eq!(
        world.accept(marketing).await.unwrap().status,
        MessageStatus::Suppressed
    );
}

#[tokio::test]
async fn a_read_mark_is_told_once_and_typing_each_time() {
    let (world, whatsapp, _) = chatting().await;
    whatsapp.write(&world, ann_writes("wamid.1"), "hi").await.unwrap();
    world.run().await;
    let id = world
        .database
        .texts("SELECT id::text FROM inbound_messages")
        .await
        .remove(0);
    let id = id.parse().unwrap();
    for kind in [SignalKind::Read, SignalKind::Read, SignalKind::Typing] {
        world.engine.signal(world.tenant, id, kind).await.unwrap();
    }
    let asked = whatsapp.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(
        (&asked[0]["status"], &asked[0]["message_id"]),
        (&json!("read"), &json!("wamid.1"))
    );
    assert_eq!(asked[1]["typing_indicator"]["type"], "text");
    let unknown = world
        .engine
        .signal(world.tenant, uuid::Uuid::nil(), SignalKind::Read)
        .await;
    assert!(matches!(unknown, Err(SignalError::UnknownMessage(_))));
}
