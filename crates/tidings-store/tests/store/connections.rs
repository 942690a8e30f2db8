//! Connections.

use crate::world::world;
use secrecy::{ExposeSecret as _, SecretString};
use tidings_core::{Channel, ConnectionId, ProviderKind};
use tidings_store::StoreError;
use tidings_store::connections::{self, Breaker, BreakerState, ConnectionSettings, RateLimit};

const SECRET: &str = r#"{"api_key":"SG.CANARY"}"#;

fn settings(name: &str) -> ConnectionSettings {
    ConnectionSettings {
        name: name.to_owned(),
        channel: Channel::Email,
        provider: ProviderKind::Sendgrid,
        config: serde_json::json!({"from": "hello@example.com"}),
        credentials: Some(SecretString::from(SECRET.to_owned())),
        priority: 1,
        weight: 10,
        enabled: true,
        rate_limit: Some(RateLimit {
            limit: 100,
            per_ms: 60_000,
        }),
    }
}

#[tokio::test]
async fn credentials_are_kept_and_only_opened_for_sending() {
    let mut world = world().await;
    let mut tx = world.tx().await;
    let made = connections::create(&mut tx, &settings("main"), &mut world.dice, world.now)
        .await
        .unwrap();
    assert!(made.has_credentials);
    tx.commit().await.unwrap();
    assert!(!serde_json::to_string(&made).unwrap().contains("CANARY"));
    assert!(!format!("{made:?} {:?}", settings("main")).contains("CANARY"));

    let mut conn = world.store.worker().acquire().await.unwrap();
    let tenants = [world.tenant, world.other];
    let loaded = connections::load_with_credentials(&mut conn, world.store.keyring(), &tenants)
        .await
        .unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].1.as_ref().unwrap().expose_secret(), SECRET);
    assert_eq!(
        connections::tenant_of(&mut conn, made.id).await.unwrap(),
        world.tenant
    );

    let mut tx = world.tx().await;
    let change = ConnectionSettings {
        credentials: None,
        priority: 7,
        rate_limit: None,
        ..settings("renamed")
    };
    let changed = connections::update(&mut tx, made.id, &change, world.now)
        .await
        .unwrap();
    assert_eq!(
        (changed.priority, changed.rate_limit, changed.has_credentials),
        (7, None, true)
    );
    let tenant = [world.tenant];
    let loaded = connections::load_with_credentials(&mut tx, world.store.keyring(), &tenant)
        .await
        .unwrap();
    assert_eq!(loaded[0].1.as_ref().unwrap().expose_secret(), SECRET);
    assert_eq!(
        connections::get_by_name(&mut tx, "renamed").await.unwrap().id,
        made.id
    );
    connections::remove(&mut tx, made.id).await.unwrap();
    assert!(matches!(
        connections::get(&mut tx, made.id).await,
        Err(StoreError::NotFound { .. })
    ));
}

#[tokio::test]
async fn a_taken_name_or_a_wrong_setting_is_refused() {
    let mut world = world().await;
    let (now, mut tx) = (world.now, world.tx().await);
    connections::create(&mut tx, &settings("main"), &mut world.dice, now)
        .await
        .unwrap();
    let taken = connections::create(&mut tx, &settings("main"), &mut world.dice, now)
        .await
        .unwrap_err();
    assert!(matches!(taken, StoreError::Conflict { .. }), "{taken}");
    let wrong = [
        ConnectionSettings {
            channel: Channel::Sms,
            ..settings("x")
        },
        ConnectionSettings {
            config: serde_json::json!([]),
            ..settings("x")
        },
        ConnectionSettings {
            weight: 1001,
            ..settings("x")
        },
        ConnectionSettings {
            rate_limit: Some(RateLimit { limit: 0, per_ms: 1 }),
            ..settings("x")
        },
        ConnectionSettings {
            name: String::new(),
            ..settings("x")
        },
    ];
    for settings in wrong {
        let error = connections::create(&mut tx, &settings, &mut world.dice, now)
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
    }
    let second = connections::create(&mut tx, &settings("second"), &mut world.dice, now)
        .await
        .unwrap();
    let unknown = connections::update(&mut tx, ConnectionId(world.dice.uuid(now)), &settings("z"), now).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })));
    assert_eq!(connections::list(&mut tx, None, 1).await.unwrap().items.len(), 1);
    let taken = connections::update(&mut tx, second.id, &settings("main"), now)
        .await
        .unwrap_err();
    assert!(matches!(taken, StoreError::Conflict { .. }), "{taken}");
}

#[tokio::test]
async fn two_nodes_that_see_one_failure_move_the_breaker_once() {
    let mut world = world().await;
    let mut tx = world.tx().await;
    let made = connections::create(&mut tx, &settings("main"), &mut world.dice, world.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let open = Breaker {
        state: BreakerState::Open,
        cause: Some("auth_failure 401".to_owned()),
        failures: 5,
        changed_at: Some(world.now),
        retry_at: Some(world.now),
        probe_until: None,
    };
    let mut conn = world.store.worker().acquire().await.unwrap();
    for moved in [true, false] {
        let done = connections::move_breaker(&mut conn, world.tenant, made.id, BreakerState::Closed, &open)
            .await
            .unwrap();
        assert_eq!(done, moved);
    }
    let mut tx = world.tx().await;
    assert_eq!(connections::get(&mut tx, made.id).await.unwrap().breaker, open);
}
