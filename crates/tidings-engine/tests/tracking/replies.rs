//! What contacts write back: keywords are obeyed before the provider has its answer, replies find what they answer.

use crate::hooks::{Sandbox, Twilio, events, picture, suppressions};
use crate::world::{World, direct};
use tidings_core::{Category, Channel, ContactId, MessageId, MessageStatus};

const ANN: &str = "+12025550123";

struct Texting {
    world: World,
    twilio: Twilio,
    ann: ContactId,
    message: MessageId,
}

/// A text that Twilio took.
async fn texting() -> Texting {
    let mut world = World::bare().await;
    let twilio = Twilio::connect(&mut world).await;
    let ann = world.contact(None, Some(ANN)).await;
    let message = world.accept(text(ann)).await.unwrap().message_id;
    world.run().await;
    Texting {
        world,
        twilio,
        ann,
        message,
    }
}

fn text(contact: ContactId) -> tidings_engine::AcceptRequest {
    let mut request = direct(contact, "Your car is ready.");
    request.channel = Some(Channel::Sms);
    request.category = Some(Category::Transactional);
    request
}

#[tokio::test]
async fn stop_holds_before_the_answer() {
    let Texting {
        world, twilio, ann, ..
    } = texting().await;
    let queued = world.accept(text(ann)).await.unwrap();
    assert_eq!(queued.status, MessageStatus::Queued);
    let answer = twilio.text(&world, 1, ANN, " Stop. ").await.unwrap();
    assert_eq!(answer.content_type, Some("text/xml"));
    // No job has run yet.
    assert_eq!(suppressions(&world).await, ["sms stop"]);
    assert_eq!(events(&world, "ContactStopped").await, 1);
    // What was queued is stopped at the gate when its turn under the number's limit comes; what comes is not accepted for
    // this channel.
    world.advance(2);
    world.run().await;
    assert_eq!(
        world.explain(queued.message_id).await.status,
        MessageStatus::Suppressed
    );
    assert_eq!(
        world.accept(text(ann)).await.unwrap().status,
        MessageStatus::Suppressed
    );
    // Nothing of ours answers a STOP.
    assert_eq!(
        world
            .database
            .texts("SELECT id FROM messages WHERE message_type LIKE 'sms_%'")
            .await
            .len(),
        0
    );
}

#[tokio::test]
async fn start_lifts_it() {
    let Texting {
        world, twilio, ann, ..
    } = texting().await;
    twilio.text(&world, 1, ANN, "STOP").await.unwrap();
    twilio.text(&world, 2, ANN, "start").await.unwrap();
    assert!(suppressions(&world).await.is_empty());
    world.run().await;
    assert_eq!(
        world.accept(text(ann)).await.unwrap().status,
        MessageStatus::Queued
    );
    // Twilio confirms keywords by itself.
    assert_eq!(
        world
            .database
            .texts("SELECT id FROM messages WHERE message_type = 'sms_opt_in'")
            .await
            .len(),
        0
    );
}

#[tokio::test]
async fn a_yes_that_undoes_no_stop_subscribes_nobody() {
    let Texting { world, twilio, .. } = texting().await;
    world
        .database
        .execute(
            "INSERT INTO suppressions (tenant_id, id, channel, blind_index, reason, source, created_at)
             SELECT tenant_id, gen_random_uuid(), 'sms', blind_index, 'unsubscribe', 'test', now() FROM addresses",
        )
        .await;
    twilio.text(&world, 1, ANN, "Yes").await.unwrap();
    assert_eq!(suppressions(&world).await, ["sms unsubscribe"]);
    assert_eq!(events(&world, "ContactStarted").await, 0);
    twilio.text(&world, 2, ANN, "START").await.unwrap();
    assert!(suppressions(&world).await.is_empty());
}

#[tokio::test]
async fn a_strangers_stop_is_kept_and_a_forged_one_is_not() {
    let Texting { world, twilio, .. } = texting().await;
    let before = picture(&world).await;
    let mut forged = twilio.request(
        "",
        &[
            ("MessageSid", &format!("SM{:032x}", 9)),
            ("From", ANN),
            ("To", "+15005550006"),
            ("Body", "STOP"),
        ],
    );
    forged.body = String::from_utf8(forged.body.to_vec())
        .unwrap()
        .replace("0123", "0124")
        .into_bytes()
        .into();
    crate::hooks::deliver(&world, "twilio", twilio.connection, &forged)
        .await
        .unwrap_err();
    assert_eq!(picture(&world).await, before);
    // A number that no contact has: whoever is imported with it later is not written to.
    twilio.text(&world, 1, "+12025550199", "STOP").await.unwrap();
    assert_eq!(suppressions(&world).await, ["sms stop"]);
}

#[tokio::test]
async fn words_that_sound_like_an_opt_out_are_for_a_person() {
    let Texting { world, twilio, .. } = texting().await;
    twilio
        .text(&world, 1, ANN, "please take me off your list")
        .await
        .unwrap();
    world.run().await;
    assert_eq!(events(&world, "OptOutReviewNeeded").await, 1);
    assert!(suppressions(&world).await.is_empty());
}

#[tokio::test]
async fn a_reply_is_joined_to_what_it_answers() {
    let Texting {
        world,
        twilio,
        message,
        ..
    } = texting().await;
    twilio
        .text(&world, 1, ANN, "Great, I will come at five")
        .await
        .unwrap();
    world.run().await;
    let joined = world
        .database
        .texts("SELECT in_reply_to::text FROM inbound_messages")
        .await;
    assert_eq!(joined, [message.to_string()]);
    // An answer proves the arrival.
    assert_eq!(world.explain(message).await.status, MessageStatus::Delivered);
    assert_eq!(events(&world, "MessageReceived").await, 1);
    // What it says is sealed.
    let plain = world
        .database
        .texts("SELECT id FROM inbound_messages WHERE position('five'::bytea in sealed) > 0")
        .await;
    assert!(plain.is_empty());
    let before = picture(&world).await;
    twilio
        .text(&world, 1, ANN, "Great, I will come at five")
        .await
        .unwrap();
    world.run().await;
    assert_eq!(picture(&world).await, before);
}

#[tokio::test]
async fn the_sandbox_answers_help_and_start_once() {
    let mut world = World::bare().await;
    let sandbox = Sandbox::connect(&mut world, Channel::Sms).await;
    world.contact(None, Some(ANN)).await;
    for id in ["m1", "m1"] {
        sandbox.text(&world, id, Channel::Sms, ANN, "HELP").await.unwrap();
        world.run().await;
    }
    sandbox
        .text(&world, "m2", Channel::Sms, ANN, "stop")
        .await
        .unwrap();
    world.run().await;
    sandbox
        .text(&world, "m3", Channel::Sms, ANN, "start")
        .await
        .unwrap();
    world.run().await;
    let answers = world
        .database
        .texts("SELECT message_type FROM messages WHERE sent_at IS NOT NULL ORDER BY 1")
        .await;
    assert_eq!(answers, ["sms_help", "sms_opt_in"]);
}
