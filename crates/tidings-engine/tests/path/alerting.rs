//! Alerts on a real database: raised once, told by notifiers on real sockets, over once, never about themselves.

use crate::world::{World, welcome};
use secrecy::SecretString;
use serde_json::{Value, json};
use tidings_core::Channel;
use tidings_core::alert::{AlertRule, Notifier, Told};
use tidings_core::redact::Private;
use tidings_engine::alerts::AlertTold;
use tidings_engine::providers::stand_in::http::{Behaviour, HttpStandIn, Reply};
use tidings_engine::store::alerts::AlertState;
use tidings_engine::store::alerts::notifications::NotificationState;
use tidings_engine::store::alerts::settings::{
    self, AlertSecrets, AlertSettings, DigestChoice, PagerdutyChoice,
};

pub const KEY: &str = "0123456789abcdef0123456789abcdef";

pub fn pages(status: u16) -> Behaviour {
    Behaviour::Answer(Reply::json(
        status,
        r#"{"status":"success","message":"Event processed"}"#,
    ))
}

impl World {
    pub async fn page_by(&self, server: &HttpStandIn, key: &str) {
        let set = AlertSettings {
            pagerduty: Some(PagerdutyChoice {
                base_url: Some(server.url()),
            }),
            ..AlertSettings::default()
        };
        let secrets = AlertSecrets {
            pagerduty_routing_key: Some(SecretString::from(key)),
            ..AlertSecrets::default()
        };
        self.set_alerts(&set, &secrets).await;
    }

    async fn set_alerts(&self, set: &AlertSettings, secrets: &AlertSecrets) {
        let mut tx = self.engine.store().worker_tenant(self.tenant).tx().await.unwrap();
        settings::put(&mut tx, set, secrets, self.now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn all_alerts(&self) -> Vec<AlertTold> {
        self.engine
            .alerts(self.tenant, None, None, 50)
            .await
            .unwrap()
            .items
    }
}

pub fn actions(server: &HttpStandIn) -> Vec<(String, String)> {
    let word = |body: &Value, name: &str| body[name].as_str().unwrap().to_owned();
    server
        .received()
        .iter()
        .map(|got| serde_json::from_str::<Value>(&got.body).unwrap())
        .map(|body| (word(&body, "event_action"), word(&body, "dedup_key")))
        .collect()
}

#[tokio::test]
async fn a_refused_credential_is_one_page_at_once_and_over_once() {
    let server = HttpStandIn::start(pages(202));
    let mut world = World::bare().await;
    world.page_by(&server, KEY).await;
    let email = world
        .connect(Channel::Email, json!({"fault": "auth_failure"}), 0)
        .await;
    for name in ["ann", "ben", "cid"] {
        let one = world.contact(Some(&format!("{name}@example.com")), None).await;
        world.accept(welcome(one)).await.unwrap();
    }
    // No schedule has looked yet.
    world.run().await;
    let refused = world.all_alerts().await;
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (refused[0].alert.rule, refused[0].alert.subject.clone()),
        (AlertRule::AuthFailure, email.to_string())
    );
    assert_eq!(refused[0].notifications[0].told, Told::Open);
    let key = refused[0].alert.dedup_key.clone();
    assert_eq!(actions(&server), [("trigger".to_owned(), key.clone())]);

    // Another process looks: what is open stays one alert; the only connection of the channel makes a second one.
    let other = world.another_engine(7).await;
    other.watch_now().await.unwrap();
    world.engine.watch_now().await.unwrap();
    world.run().await;
    assert_eq!(world.all_alerts().await.len(), 2);
    assert_eq!(actions(&server).len(), 2);

    world.configure(email, Channel::Email, json!({}), true).await;
    world.advance(400);
    world.run().await;
    let mut resolved = 0;
    for _ in 0..8 {
        world.advance(60);
        resolved += world.engine.watch_now().await.unwrap().resolved;
        resolved += other.watch_now().await.unwrap().resolved;
        world.run().await;
    }
    assert_eq!(resolved, 2);
    let ends = actions(&server)
        .into_iter()
        .filter(|(action, _)| action == "resolve");
    assert_eq!(ends.filter(|(_, of)| *of == key).count(), 1);
    assert_eq!(actions(&server).len(), 4);
    assert!(
        world
            .all_alerts()
            .await
            .iter()
            .all(|one| one.alert.state == AlertState::Resolved)
    );
}

#[tokio::test]
async fn a_notifier_that_is_busy_or_broken_is_told_later() {
    let limited = Behaviour::Answer(Reply::json(429, "{}").with("Retry-After", "30"));
    let server = HttpStandIn::script(vec![limited, pages(503), Behaviour::Close, pages(202)]);
    let world = World::new().await;
    world.page_by(&server, KEY).await;
    world.engine.test_alert(world.tenant, "ops").await.unwrap();
    for calls in 1..=4 {
        world.run().await;
        assert_eq!(server.received().len(), calls);
        let told = world.all_alerts().await[0].notifications[0].clone();
        if calls < 4 {
            assert_eq!(
                (told.told, told.state),
                (Told::Nothing, NotificationState::Waiting)
            );
            assert!(told.last_error.is_some() && told.tries >= 1);
        } else {
            assert_eq!(
                (told.told, told.state, told.tries),
                (Told::Open, NotificationState::Settled, 0)
            );
        }
        world.advance(90);
    }
}

#[tokio::test]
async fn a_bad_key_is_seen_raises_nothing_and_is_tried_again_once_it_is_changed() {
    let refused = Reply::json(
        400,
        r#"{"status":"invalid event","message":"Invalid routing key"}"#,
    );
    let server = HttpStandIn::script(vec![Behaviour::Answer(refused), pages(202)]);
    let world = World::new().await;
    world.page_by(&server, KEY).await;
    world.engine.test_alert(world.tenant, "ops").await.unwrap();
    world.run().await;
    for _ in 0..3 {
        world.advance(30);
        world.engine.watch_now().await.unwrap();
        world.run().await;
    }
    let alerts = world.all_alerts().await;
    assert_eq!(alerts.len(), 1, "an alert about a notifier would feed itself");
    let told = &alerts[0].notifications[0];
    assert_eq!(
        (told.notifier, told.state),
        (Notifier::Pagerduty, NotificationState::Failed)
    );
    assert_eq!(told.last_error.as_deref(), Some("400: Invalid routing key"));
    assert_eq!(server.received().len(), 1);
    assert_eq!(world.jobs("alert.notify").await, ["failed"]);

    world.advance(1);
    world.page_by(&server, "ffffffffffffffffffffffffffffffff").await;
    world.advance(1);
    world.engine.watch_now().await.unwrap();
    world.run().await;
    assert_eq!(world.all_alerts().await[0].notifications[0].told, Told::Open);
}

#[tokio::test]
async fn one_node_looks_once_a_minute_and_the_digest_goes_once() {
    let world = World::new().await;
    let set = AlertSettings {
        digest: Some(DigestChoice { hour_utc: 16 }),
        ..AlertSettings::default()
    };
    let secrets = AlertSecrets {
        digest_to: Some(Private::new("ops@example.com".to_owned())),
        ..AlertSecrets::default()
    };
    world.set_alerts(&set, &secrets).await;
    let other = world.another_engine(7).await;
    world.run().await;
    for engine in [&world.engine, &other] {
        engine.sync_alert_schedules().await.unwrap();
    }
    world.engine.test_alert(world.tenant, "ops").await.unwrap();
    assert!(world.jobs("alert.notify").await.is_empty(), "a digest gathers");
    // Down for two hours: the digest of 16:00 is made up for, once.
    world.advance(2 * 3600 + 30);
    // Campaigns do not wait for figures: their moments are decided without.
    let runs = "SELECT verdict FROM schedule_occurrences WHERE name = 'alerts:round' AND verdict = 'run'";
    world.engine.decide_moments().await.unwrap();
    assert!(world.database.texts(runs).await.is_empty());
    for engine in [&world.engine, &other, &world.engine] {
        engine.decide_alert_moments().await.unwrap();
    }
    world.run().await;
    world.taken(1).await;
    assert_eq!(world.database.texts(runs).await, ["run"]);
    assert_eq!(world.jobs("alert.digest").await.len(), 1);
    let told = world.all_alerts().await;
    assert_eq!(told[0].notifications[0].state, NotificationState::Settled);
    world.advance(3600);
    world.engine.decide_alert_moments().await.unwrap();
    world.run().await;
    assert_eq!(world.ledger().await.messages, 1);
}

#[tokio::test]
async fn the_first_to_take_an_alert_on_stays_and_other_tenants_see_none() {
    let mut world = World::new().await;
    let raised = world.engine.test_alert(world.tenant, "ops").await.unwrap().alert;
    for by in ["ann", "ben"] {
        let told = world
            .engine
            .acknowledge_alert(world.tenant, raised.id, by)
            .await
            .unwrap();
        assert_eq!(told.alert.acknowledged_by.as_deref(), Some("ann"));
    }
    let other = world.make_tenant("other").await;
    assert!(
        world
            .engine
            .alerts(other, None, None, 10)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(
        world
            .engine
            .acknowledge_alert(other, raised.id, "eve")
            .await
            .is_err()
    );
}
