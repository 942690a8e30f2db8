//! What must hold whatever becomes of alerts, and how they end: also after days, for tenants that are suspended, and past a
//! notifier that refuses.

use crate::alerting::{KEY, actions, pages};
use crate::world::{World, direct};
use serde_json::json;
use tidings_core::Channel;
use tidings_core::alert::{AlertRule, Told};
use tidings_engine::providers::stand_in::http::{Behaviour, HttpStandIn, Reply};
use tidings_engine::store::alerts::AlertState;
use tidings_engine::store::alerts::notifications::NotificationState;
use tidings_engine::store::tenants::{self, TenantChanges, TenantStatus};

const HOUR: i64 = 3_600;

impl World {
    /// A test alert that PagerDuty was told of.
    async fn told(&self, server: &HttpStandIn) {
        self.page_by(server, KEY).await;
        self.engine.test_alert(self.tenant, "ops").await.unwrap();
        self.run().await;
        assert_eq!(self.all_alerts().await[0].notifications[0].told, Told::Open);
    }

    /// What was told of the only alert.
    async fn word(&self) -> (AlertState, Told, NotificationState) {
        let all = self.all_alerts().await;
        assert_eq!(all.len(), 1);
        let notification = &all[0].notifications[0];
        (all[0].alert.state, notification.told, notification.state)
    }
}

#[tokio::test]
async fn an_alert_that_cannot_be_written_loses_no_outcome_and_is_raised_from_what_is_stored() {
    let mut world = World::bare().await;
    let email = world
        .connect(Channel::Email, json!({"fault": "auth_failure"}), 0)
        .await;
    world.connect(Channel::Sms, json!({}), 0).await;
    world
        .database
        .execute("ALTER TABLE alerts ADD CONSTRAINT broken CHECK (rule <> 'auth_failure')")
        .await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let bob = world.contact(None, Some("+14155550123")).await;
    world.accept(direct(ann, "News")).await.unwrap();
    world.accept(direct(bob, "News")).await.unwrap();
    world.run().await;
    world.taken(1).await;
    let outcomes = "SELECT outcome || coalesce(' ' || category, '') FROM attempts ORDER BY 1";
    assert_eq!(
        world.database.texts(outcomes).await,
        ["accepted", "rejected auth_failure"]
    );
    let states = "SELECT state FROM deliveries ORDER BY 1";
    assert_eq!(world.database.texts(states).await, ["accepted", "retry_wait"]);
    assert!(world.all_alerts().await.is_empty());

    world
        .database
        .execute("ALTER TABLE alerts DROP CONSTRAINT broken")
        .await;
    world.engine.watch_now().await.unwrap();
    let raised = world.all_alerts().await;
    let refused = raised.iter().find(|one| one.alert.rule == AlertRule::AuthFailure);
    assert_eq!(refused.unwrap().alert.subject, email.to_string());
}

#[tokio::test]
async fn the_end_of_an_alert_that_was_open_for_days_is_told_past_a_busy_notifier() {
    let busy = Behaviour::Answer(Reply::json(429, "{}").with("Retry-After", "30"));
    let server = HttpStandIn::script(vec![pages(202), busy, pages(202)]);
    let world = World::new().await;
    world.told(&server).await;
    world.advance(80 * HOUR);
    assert_eq!(world.engine.watch_now().await.unwrap().resolved, 1);
    world.run().await;
    assert_eq!(
        world.word().await,
        (AlertState::Resolved, Told::Open, NotificationState::Waiting)
    );
    world.advance(60);
    world.run().await;
    assert_eq!(
        world.word().await,
        (AlertState::Resolved, Told::Over, NotificationState::Settled)
    );
    let said: Vec<String> = actions(&server).into_iter().map(|(action, _)| action).collect();
    assert_eq!(said, ["trigger", "resolve", "resolve"]);
}

#[tokio::test]
async fn an_end_that_was_refused_is_told_once_the_settings_are_right() {
    let refused = Reply::json(
        400,
        r#"{"status":"invalid event","message":"Invalid routing key"}"#,
    );
    let server = HttpStandIn::script(vec![pages(202), Behaviour::Answer(refused), pages(202)]);
    let world = World::new().await;
    world.told(&server).await;
    world.advance(HOUR);
    world.engine.watch_now().await.unwrap();
    world.run().await;
    let failed = (AlertState::Resolved, Told::Open, NotificationState::Failed);
    assert_eq!(world.word().await, failed);
    // Nothing changed, so nothing is tried.
    world.advance(60);
    world.engine.watch_now().await.unwrap();
    world.run().await;
    assert_eq!((world.word().await, server.received().len()), (failed, 2));

    world.page_by(&server, "ffffffffffffffffffffffffffffffff").await;
    world.advance(60);
    world.engine.watch_now().await.unwrap();
    world.run().await;
    assert_eq!(
        world.word().await,
        (AlertState::Resolved, Told::Over, NotificationState::Settled)
    );
}

#[tokio::test]
async fn alerts_of_a_suspended_tenant_end_and_are_told_to_be_over() {
    let server = HttpStandIn::start(pages(202));
    let world = World::new().await;
    world.told(&server).await;
    let mut conn = world.engine.store().worker_conn().await.unwrap();
    let suspended = TenantChanges {
        status: Some(TenantStatus::Suspended),
        ..TenantChanges::default()
    };
    tenants::update(&mut conn, world.tenant, suspended, world.now())
        .await
        .unwrap();
    drop(conn);
    assert_eq!(world.engine.watch_now().await.unwrap().resolved, 1);
    world.run().await;
    assert_eq!(
        world.word().await,
        (AlertState::Resolved, Told::Over, NotificationState::Settled)
    );
    assert_eq!(world.engine.watch_now().await.unwrap().resolved, 0);
}
