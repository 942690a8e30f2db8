//! Pairing, and what stands in the way of a session.

use crate::world::{World, json_of};
use tidings_core::ErrorCategory;
use tidings_providers::SendOutcome;
use tidings_providers::whatsapp_web::wire::SessionState;
use tidings_testkit::phone::{Chat, Phone};
use tidings_whatsapp_web::CompanionError;

#[tokio::test]
async fn a_phone_is_paired_by_the_code_and_the_pairing_outlasts_a_restart() {
    let phone = Phone::start(vec![Chat::of("436642222222", "Kim")]).await;
    let Some(world) = World::new(phone, SessionState::Pairing).await else {
        return;
    };
    // Nothing may be sent before, and only a person can mend that.
    let outcome = world
        .provider()
        .send(&crate::world::submission("r-0", "+436642222222", "Hello"))
        .await;
    assert!(
        matches!(&outcome, SendOutcome::Rejected(no) if no.category == ErrorCategory::AuthFailure && no.code == "not_paired"),
        "{outcome:?}"
    );
    let report = world.provider().check().await;
    assert!(
        !report.ok && report.findings[1].contains("tidings whatsapp-web pair"),
        "{report:?}"
    );

    let svg = world.get(&["qr"]).await;
    let image = String::from_utf8(svg.body.to_vec()).unwrap();
    assert_eq!(image, tidings_whatsapp_web::qr::svg("2@first,code,1").unwrap());
    assert_eq!(svg.header("content-type"), Some("image/svg+xml"));
    assert_eq!(svg.header("cache-control"), Some("no-store"));
    let picture = world.get(&["screenshot"]).await;
    assert_eq!((picture.status, &picture.body[1..4]), (200, &b"PNG"[..]));

    // An expired code is renewed by itself.
    world.phone.change(|shown| shown.expired = true);
    world.phone.until(|shown| !shown.expired).await;

    world.phone.change(|shown| shown.paired = true);
    world.reaches(SessionState::Ready).await;
    let state = json_of(&world.get(&["state"]).await);
    assert_eq!(
        (&state["account"], &state["next_send_s"]),
        (&serde_json::json!("+436641111111"), &serde_json::json!(0))
    );
    assert_eq!(world.get(&["qr"]).await.status, 404);
    assert!(world.provider().check().await.ok);
    let world = world.restart().await;
    assert!(world.provider().check().await.ok);
    world.end().await;
}

#[tokio::test]
async fn only_whoever_has_the_token_is_let_in_and_only_one_companion_has_the_folder() {
    let phone = Phone::paired(vec![]).await;
    let Some(world) = World::new(phone, SessionState::Ready).await else {
        return;
    };
    for bearer in ["", "Bearer ", "Bearer a-token-of-the-tesT", "a-token-of-the-test"] {
        assert_eq!(world.status_with(bearer).await, 401, "{bearer}");
    }
    assert!(matches!(world.second().await, Err(CompanionError::Taken { .. })));
    world.end().await;
}

#[tokio::test]
async fn a_session_that_another_window_took_is_told_as_blocked() {
    let phone = Phone::paired(vec![Chat::of("436642222222", "Kim")]).await;
    let Some(world) = World::new(phone, SessionState::Ready).await else {
        return;
    };
    world.phone.change(|shown| shown.other_window = true);
    world.reaches(SessionState::Blocked).await;
    let (status, no) = world.post("r-1", "+436642222222", "Hello").await;
    assert_eq!((status, no["code"].as_str()), (403, Some("blocked")));
    let report = world.provider().check().await;
    assert!(!report.ok && report.findings[0].contains("blocked"), "{report:?}");
    world.phone.change(|shown| shown.other_window = false);
    world.reaches(SessionState::Ready).await;
    // Nothing was sent, so nothing is known of the reference, and it may go.
    let (status, _) = world.post("r-1", "+436642222222", "Hello").await;
    assert_eq!(status, 200);
    // Mere news are closed by the companion itself.
    world.next_slot();
    world.phone.change(|shown| shown.news = true);
    let (status, _) = world.post("r-2", "+436642222222", "Again").await;
    assert_eq!(status, 200);
    world.end().await;
}
