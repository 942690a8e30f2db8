//! Alerts: one while open, sealed settings, what was told, and what is forgotten.

use crate::world::{World, world};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use tidings_core::alert::{AlertKey, AlertRule, Notifier, Told};
use tidings_core::redact::Private;
use tidings_core::{AlertId, TenantId};
use tidings_store::StoreError;
use tidings_store::alerts::notifications::{self, Claim, NotificationKey, NotificationState, Turn};
use tidings_store::alerts::settings::{self, AlertSecrets, AlertSettings, DigestChoice, PagerdutyChoice};
use tidings_store::alerts::{self, AlertState, NewAlert};

fn new(world: &mut World, tenant: TenantId, subject: &str) -> NewAlert {
    NewAlert {
        tenant,
        id: AlertId(world.dice.uuid(world.now)),
        key: AlertKey::new(AlertRule::ApiErrors, subject),
        detail: "7.0 % of the calls failed".to_owned(),
    }
}

fn later(world: &World, seconds: i64) -> Timestamp {
    world.now + SignedDuration::from_secs(seconds)
}

#[tokio::test]
async fn raised_twice_is_one_alert_and_resolved_once() {
    let mut world = world().await;
    let (tenant, other) = (world.tenant, world.other);
    let (first, again) = (new(&mut world, tenant, "smtp"), new(&mut world, tenant, "smtp"));
    let others = new(&mut world, other, "smtp");
    let mut conn = world.store.worker_conn().await.unwrap();
    let raised = alerts::raise(&mut conn, &[first.clone(), others], world.now)
        .await
        .unwrap();
    assert_eq!(raised.len(), 2);
    assert!(
        alerts::raise(&mut conn, std::slice::from_ref(&again), later(&world, 40))
            .await
            .unwrap()
            .is_empty()
    );

    // It was seen to hold since it was read: the end must wait.
    let stale = raised.iter().find(|alert| alert.id == first.id).unwrap();
    assert!(
        alerts::resolve(&mut conn, &[stale], later(&world, 60))
            .await
            .unwrap()
            .is_empty()
    );
    let open = alerts::open(&mut conn, &[world.tenant]).await.unwrap();
    assert_eq!((open.len(), open[0].last_seen_at), (1, later(&world, 40)));
    for ended in [1, 0] {
        let over = alerts::resolve(&mut conn, &[&open[0]], later(&world, 400))
            .await
            .unwrap();
        assert_eq!(over.len(), ended);
    }
    // The next time is another alert.
    assert_eq!(
        alerts::raise(&mut conn, &[again], later(&world, 500))
            .await
            .unwrap()
            .len(),
        1
    );

    let mut tx = world.tx().await;
    let page = alerts::list(&mut tx, None, None, 10).await.unwrap();
    assert_eq!(page.items.len(), 2, "another tenant's is not seen");
    let over = alerts::list(&mut tx, Some(AlertState::Resolved), None, 10)
        .await
        .unwrap();
    assert_eq!(over.items[0].id, first.id);
    drop(tx);
    assert_eq!(
        alerts::forget(&mut conn, later(&world, 400), 10).await.unwrap(),
        0
    );
    assert_eq!(
        alerts::forget(&mut conn, later(&world, 401), 10).await.unwrap(),
        1
    );
}

#[tokio::test]
async fn one_worker_tells_at_a_time_and_a_call_is_on_record_before_it_is_made() {
    let mut world = world().await;
    let tenant = world.tenant;
    let alert = new(&mut world, tenant, "smtp");
    let key = NotificationKey {
        tenant: world.tenant,
        alert: alert.id,
        notifier: Notifier::Slack,
    };
    let mut conn = world.store.worker_conn().await.unwrap();
    assert!(matches!(
        notifications::claim(&mut conn, key, world.now, later(&world, 60))
            .await
            .unwrap(),
        Claim::Gone
    ));
    let raised = alerts::raise(&mut conn, &[alert], world.now).await.unwrap();
    assert_eq!(
        notifications::add(&mut conn, &[key], world.now).await.unwrap(),
        [key]
    );
    assert!(
        notifications::add(&mut conn, &[key], world.now)
            .await
            .unwrap()
            .is_empty()
    );
    let ended = [(world.tenant, raised[0].id)];
    assert!(
        notifications::wake(&mut conn, &ended, world.now)
            .await
            .unwrap()
            .is_empty(),
        "nothing was told"
    );

    let first = notifications::claim(&mut conn, key, world.now, later(&world, 60))
        .await
        .unwrap();
    assert!(matches!(&first, Claim::Held(held) if !held.perhaps && held.told == Told::Nothing));
    let second = notifications::claim(&mut conn, key, later(&world, 59), later(&world, 120))
        .await
        .unwrap();
    assert!(matches!(second, Claim::Busy));
    // The first one died in its call: the notifier may know.
    assert_eq!(
        notifications::wake(&mut conn, &ended, world.now).await.unwrap(),
        [key]
    );
    let third = notifications::claim(&mut conn, key, later(&world, 60), later(&world, 120))
        .await
        .unwrap();
    assert!(matches!(&third, Claim::Held(held) if held.perhaps));

    let turn = Turn {
        told: Told::Nothing,
        state: NotificationState::Failed,
        perhaps: false,
        error: Some("x".repeat(3_000)),
    };
    notifications::end(&mut conn, key, &turn, later(&world, 61))
        .await
        .unwrap();
    let told = notifications::of(&mut conn, world.tenant, &[key.alert])
        .await
        .unwrap();
    assert_eq!((told[0].state, told[0].tries), (NotificationState::Failed, 1));
    assert_eq!(told[0].last_error.as_ref().unwrap().len(), 1_000);
}

#[tokio::test]
async fn settings_are_sealed_checked_and_of_one_tenant() {
    let world = world().await;
    let set = AlertSettings {
        pagerduty: Some(PagerdutyChoice::default()),
        digest: Some(DigestChoice { hour_utc: 7 }),
        ..AlertSettings::default()
    };
    let secrets = AlertSecrets {
        pagerduty_routing_key: Some(SecretString::from("s3cret-9")),
        digest_to: Some(Private::new("ops@example.com".to_owned())),
        ..AlertSecrets::default()
    };
    let mut tx = world.tx().await;
    settings::put(&mut tx, &set, &secrets, world.now).await.unwrap();
    tx.commit().await.unwrap();
    let plain: Vec<u8> = sqlx::query_scalar("SELECT secrets_sealed FROM alert_settings")
        .fetch_one(&world.owner())
        .await
        .unwrap();
    assert!(!plain.windows(6).any(|part| part == b"s3cret") && !plain.windows(4).any(|part| part == b"ops@"));
    assert!(!format!("{secrets:?}").contains("s3cret") && !format!("{secrets:?}").contains("ops@"));

    let mut conn = world.store.worker_conn().await.unwrap();
    let key = world
        .store
        .keyring()
        .tenant_key(&mut conn, world.tenant)
        .await
        .unwrap();
    let (read, opened) = settings::open(&mut conn, &key, world.tenant)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read, set);
    assert_eq!(opened.pagerduty_routing_key.unwrap().expose_secret(), "s3cret-9");
    assert_eq!(
        settings::with_digest(&mut conn).await.unwrap(),
        [(world.tenant, 7)]
    );
    assert!(
        settings::open(&mut conn, &key, world.other)
            .await
            .unwrap()
            .is_none()
    );

    let mut tx = world.tx().await;
    for (change, named) in [
        (
            AlertSettings {
                slack: true,
                ..AlertSettings::default()
            },
            "slack.webhook_url",
        ),
        (
            AlertSettings {
                digest: Some(DigestChoice { hour_utc: 24 }),
                ..AlertSettings::default()
            },
            "digest.hour_utc",
        ),
    ] {
        match settings::put(&mut tx, &change, &AlertSecrets::default(), world.now).await {
            Err(StoreError::Invalid { field, .. }) => assert_eq!(field, named),
            other => panic!("{other:?}"),
        }
    }
}
