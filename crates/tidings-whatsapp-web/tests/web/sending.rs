//! A message on its way into the page, and everything that may stop it there.

use crate::world::{World, submission};
use serde_json::json;
use tidings_core::ErrorCategory;
use tidings_core::event::DeliveryEventKind;
use tidings_providers::whatsapp_web::wire::SessionState;
use tidings_providers::{Lookup, SendOutcome};
use tidings_testkit::phone::{Chat, Phone};

const KIM: &str = "436642222222@c.us";
const TO: &str = "+436642222222";

async fn ready() -> Option<World> {
    let mut kim = Chat::of("436642222222", "Kim");
    // Of a message that never went.
    "half a mess".clone_into(&mut kim.draft);
    World::new(Phone::paired(vec![kim]).await, SessionState::Ready).await
}

#[tokio::test]
async fn a_text_is_sent_once_as_it_was_written_and_its_ticks_are_reported() {
    let Some(mut world) = ready().await else { return };
    let text =
        "Hello Kim \u{1F44B}\u{1F3FD},\n\n*ready* at 5:30 :) \u{2013} \u{00AB}gr\u{FC}\u{DF}e\u{00BB}\nBye";
    let provider = world.provider();
    let outcome = provider.send(&submission("r-1", TO, text)).await;
    let SendOutcome::Accepted {
        provider_message_id: Some(id),
    } = &outcome
    else {
        panic!("{outcome:?}")
    };
    assert!(id.starts_with("3EB0"), "{id}");
    assert_eq!(world.phone.sent(KIM), [text]);
    // The same again, now, later, and after a restart, is the same message.
    assert_eq!(provider.send(&submission("r-1", TO, text)).await, outcome);
    world.next_slot();
    assert_eq!(provider.send(&submission("r-1", TO, "other")).await, outcome);
    let first = &world.hears().await.events[0];
    assert_eq!(
        (first.kind, first.reference.as_deref()),
        (DeliveryEventKind::Accepted, Some("r-1"))
    );
    for (tick, kind) in [
        ("delivered", DeliveryEventKind::Delivered),
        ("read", DeliveryEventKind::Opened),
    ] {
        world.phone.tick(KIM, tick);
        assert_eq!(world.hears().await.events[0].kind, kind);
    }
    let world = world.restart().await;
    assert_eq!(world.provider().send(&submission("r-1", TO, text)).await, outcome);
    assert_eq!(world.phone.sent(KIM).len(), 1);
    world.end().await;
}

#[tokio::test]
async fn two_messages_keep_their_distance_also_over_a_restart() {
    let Some(world) = ready().await else { return };
    assert_eq!(world.post("r-1", TO, "One").await.0, 200);
    let world = world.restart().await;
    let early = world.post_as_is("r-2", TO, "Two").await;
    let wait: i64 = early.header("retry-after").unwrap().parse().unwrap();
    assert!(early.status == 429 && (60..=90).contains(&wait), "{wait}");
    world.clock.advance(jiff::SignedDuration::from_secs(wait - 1));
    let (status, no) = world.post("r-2", TO, "Two").await;
    assert_eq!((status, no["code"].as_str()), (429, Some("too_soon")));
    world.clock.advance(jiff::SignedDuration::from_secs(1));
    assert_eq!(world.post("r-2", TO, "Two").await.0, 200);
    assert_eq!(world.phone.sent(KIM), ["One", "Two"]);
    world.end().await;
}

#[tokio::test]
async fn what_stops_a_message_before_the_click_is_a_certain_no_and_costs_no_turn() {
    let Some(world) = ready().await else { return };
    let (status, no) = world.post("r-1", "+436649999999", "Hello").await;
    assert_eq!((status, no["code"].as_str()), (422, Some("not_on_whatsapp")));
    let outcome = world
        .provider()
        .send(&submission("r-1", "+436649999999", "Hello"))
        .await;
    assert!(
        matches!(&outcome, SendOutcome::Rejected(no) if no.category == ErrorCategory::Permanent),
        "{outcome:?}"
    );
    let (status, no) = world.post("r-2", TO, "Hello\u{7}").await;
    assert_eq!((status, no["code"].as_str()), (422, Some("text")));

    // The page is not as it should be: each time nothing is sent, and the reference may go later.
    world.phone.change(|shown| shown.no_button = true);
    let (status, no) = world.post("r-3", TO, "Hello").await;
    assert_eq!((status, no["code"].as_str()), (503, Some("button")));
    world
        .phone
        .change(|shown| (shown.no_button, shown.changes_text) = (false, true));
    let (status, no) = world.post("r-3", TO, "Hello").await;
    assert_eq!((status, no["code"].as_str()), (503, Some("box")));
    world.phone.change(|shown| shown.changes_text = false);
    assert_eq!(world.phone.sent(KIM), [""; 0]);
    assert_eq!(world.post("r-3", TO, "Hello").await.0, 200);

    // Something lies over the button: the driver does not click through it.
    world.next_slot();
    world.phone.change(|shown| shown.covered = true);
    let (status, no) = world.post("r-4", TO, "Again").await;
    assert_eq!((status, no["code"].as_str()), (503, Some("covered")));
    world.phone.change(|shown| shown.covered = false);
    world.next_slot();
    assert_eq!(world.post("r-4", TO, "Again").await.0, 200);
    assert_eq!(world.phone.sent(KIM), ["Hello", "Again"]);
    world.end().await;
}

#[tokio::test]
async fn what_happens_after_the_click_is_unknown_until_it_is_seen_and_is_never_typed_again() {
    let Some(mut world) = ready().await else { return };
    // The page takes it and shows nothing.
    world.phone.change(|shown| shown.swallows = true);
    let outcome = world.provider().send(&submission("r-1", TO, "Hello")).await;
    assert!(matches!(outcome, SendOutcome::Unknown { .. }), "{outcome:?}");
    world.phone.change(|shown| shown.swallows = false);
    world.next_slot();
    for _ in 0..2 {
        let (status, report) = world.post("r-1", TO, "Hello").await;
        assert_eq!((status, report["standing"].as_str()), (202, Some("unknown")));
        let lookup = world.provider().lookup("r-1").await;
        assert!(matches!(lookup, Lookup::Unavailable { .. }), "{lookup:?}");
        world = world.restart().await;
    }
    assert_eq!(world.phone.sent(KIM), [""; 0]);

    // The page has no connection: it stands in the chat with a clock, and goes later.
    world.phone.change(|shown| shown.offline = true);
    let (status, report) = world.post("r-2", TO, "Later").await;
    assert_eq!((status, report["standing"].as_str()), (202, Some("pending")));
    world.phone.tick(KIM, "sent");
    let event = world.hears().await.events.remove(0);
    assert_eq!(
        (event.kind, event.reference.as_deref()),
        (DeliveryEventKind::Accepted, Some("r-2"))
    );
    assert!(matches!(
        world.provider().lookup("r-2").await,
        Lookup::Found { .. }
    ));
    assert_eq!(world.phone.sent(KIM), ["Later"]);
    world.end().await;
}

#[tokio::test]
async fn the_next_life_goes_on_following_the_last_message() {
    let Some(mut world) = ready().await else { return };
    world.phone.change(|shown| shown.offline = true);
    let (_, report) = world.post("r-1", TO, "Hello").await;
    assert_eq!(report["standing"], json!("pending"));
    for (tick, kind) in [
        ("sent", DeliveryEventKind::Accepted),
        ("delivered", DeliveryEventKind::Delivered),
        ("read", DeliveryEventKind::Opened),
    ] {
        world = world.restart().await;
        world.phone.tick(KIM, tick);
        let event = world.hears().await.events.remove(0);
        assert_eq!((event.kind, event.reference.as_deref()), (kind, Some("r-1")));
    }
    assert_eq!(world.last_message(), "", "it was read, so nothing of it is kept");

    // Nothing was seen of this one before the end of the life that clicked it; it shows up in the next.
    world
        .phone
        .change(|shown| (shown.offline, shown.swallows) = (false, true));
    world.next_slot();
    let (_, report) = world.post("r-2", TO, "Again").await;
    assert_eq!(report["standing"], json!("unknown"));
    assert!(world.last_message().contains("r-2"));
    world = world.restart().await;
    world
        .phone
        .change(|shown| shown.chats[0].add(true, "Again", "sent"));
    let event = world.hears().await.events.remove(0);
    assert_eq!(
        (event.kind, event.reference.as_deref()),
        (DeliveryEventKind::Accepted, Some("r-2"))
    );
    assert_eq!(world.phone.sent(KIM), ["Hello", "Again"]);
    world.end().await;
}

#[tokio::test]
async fn a_reference_that_was_asked_about_before_it_arrived_never_goes() {
    let Some(world) = ready().await else { return };
    assert_eq!(world.get(&["messages", "r-1"]).await.status, 404);
    assert_eq!(world.provider().lookup("r-1").await, Lookup::NotFound);
    let world = world.restart().await;
    let (status, no) = world.post("r-1", TO, "Hello").await;
    assert_eq!((status, no["code"].as_str()), (410, Some("withdrawn")));
    assert_eq!(world.withdraw("r-1").await["standing"], json!("withdrawn"));
    assert_eq!(world.phone.sent(KIM), [""; 0]);
    world.end().await;
}

#[tokio::test]
async fn a_page_that_hangs_is_given_up_and_the_next_browser_goes_on_where_it_was() {
    let Some(world) = ready().await else { return };
    world.phone.change(|shown| shown.hangs = true);
    let (status, report) = world.post("r-1", TO, "Hello").await;
    assert_eq!((status, report["standing"].as_str()), (202, Some("unknown")));
    world.phone.change(|shown| shown.hangs = false);
    world.next_slot();
    let (_, report) = world.post("r-1", TO, "Hello").await;
    assert_eq!(report["standing"], json!("unknown"));
    assert_eq!(world.post("r-2", TO, "Again").await.0, 200);
    // Whether the first one went nobody can say; it did not go twice.
    let sent = world.phone.sent(KIM);
    assert!(
        sent.ends_with(&["Again".to_owned()]) && sent.len() <= 2,
        "{sent:?}"
    );
    world.end().await;
}
