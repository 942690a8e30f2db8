//! Connections.

use crate::world::world;
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use tidings_core::breaker::{Breaker, Ramp, TripCause};
use tidings_core::traffic::Tally;
use tidings_core::{Channel, ConnectionId, NodeId, ProviderKind};
use tidings_store::StoreError;
use tidings_store::connections::{self, ConnectionSettings, RateLimit};
use tidings_store::health::{self, Seen};
use tidings_store::messages::routes;

const SECRET: &str = r#"{"api_key":"SG.CANARY"}"#;

pub fn settings(name: &str) -> ConnectionSettings {
    ConnectionSettings {
        name: name.to_owned(),
        channel: Channel::Email,
        provider: ProviderKind::Sendgrid,
        config: serde_json::json!({"from": "hello@example.com"}),
        credentials: Some(SecretString::from(SECRET.to_owned())),
        priority: 1,
        weight: 10,
        enabled: true,
        call_limit_ms: None,
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
            call_limit_ms: Some(99),
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
    let open = Breaker::Open {
        retry_at: world.now + SignedDuration::from_secs(30),
        trips: 2,
        cause: TripCause::AuthRefused,
    };
    let mut conn = world.store.worker().acquire().await.unwrap();
    let (tenant, now) = (world.tenant, world.now);
    for moved in [true, false] {
        let done = routes::set_breaker(
            &mut conn,
            tenant,
            made.id,
            0,
            open,
            Some("auth_failure: 401"),
            now,
        )
        .await
        .unwrap();
        assert_eq!(done, moved);
    }
    let read = |position, detail: Option<&str>, version| connections::Breaker {
        position,
        detail: detail.map(str::to_owned),
        changed_at: Some(now),
        version,
    };
    let mut tx = world.tx().await;
    let kept = connections::get(&mut tx, made.id).await.unwrap().breaker;
    assert_eq!(kept, read(open, Some("auth_failure: 401"), 1));
    tx.commit().await.unwrap();
    // The probe keeps what was said, closing forgets it, and every position is read back as it was written.
    let half = open.probe(now);
    let back = Breaker::Closed {
        ramp: Some(Ramp { since: now, trips: 2 }),
    };
    for (version, is, detail) in [
        (1, half, Some("auth_failure: 401")),
        (2, back, None),
        (3, Breaker::default(), None),
    ] {
        assert!(
            routes::set_breaker(&mut conn, tenant, made.id, version, is, None, now)
                .await
                .unwrap()
        );
        let mut tx = world.tx().await;
        let kept = connections::get(&mut tx, made.id).await.unwrap().breaker;
        assert_eq!(kept, read(is, detail, version + 1));
        let row = &routes::load(&mut tx, &[tenant]).await.unwrap()[0];
        assert_eq!((row.breaker, row.breaker_version), (is, version + 1));
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn what_nodes_saw_is_added_up_and_forgotten() {
    let mut world = world().await;
    let mut tx = world.tx().await;
    let made = connections::create(&mut tx, &settings("main"), &mut world.dice, world.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut conn = world.store.worker().acquire().await.unwrap();
    let (tenant, now) = (world.tenant, world.now);
    let seen = |connection, calls, failed| Seen {
        tenant,
        connection,
        tally: Tally {
            calls,
            failed,
            latency_ms: 100,
        },
    };
    let gone = ConnectionId(world.dice.uuid(now));
    let nodes = [NodeId(world.dice.uuid(now)), NodeId(world.dice.uuid(now))];
    health::write(&mut conn, nodes[0], &[seen(made.id, 1, 1)], now)
        .await
        .unwrap();
    for (node, calls) in [(nodes[0], 20), (nodes[1], 30)] {
        let both = [seen(made.id, calls, 5), seen(gone, 9, 9)];
        health::write(&mut conn, node, &both, now).await.unwrap();
    }
    let merged = health::merged(&mut conn, &[tenant], now).await.unwrap();
    let tally = Tally {
        calls: 50,
        failed: 10,
        latency_ms: 200,
    };
    assert_eq!(merged, [(made.id, tally)].into());
    let standings = health::standings(&mut conn, now, 10).await.unwrap();
    assert_eq!(
        (
            standings[0].connection,
            standings[0].tally,
            standings[0].state.as_str()
        ),
        (made.id, tally, "closed")
    );
    let later = now + SignedDuration::from_secs(301);
    assert!(
        health::merged(&mut conn, &[tenant], later)
            .await
            .unwrap()
            .is_empty()
    );
    health::write(&mut conn, nodes[0], &[], later).await.unwrap();
    assert!(
        health::merged(&mut conn, &[tenant], now)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_limit_out_of_bounds_is_refused() {
    let mut world = world().await;
    let mut tx = world.tx().await;
    for (limit, per_ms) in [(0, 1_000), (5, 0), (5, 604_800_000)] {
        let settings = ConnectionSettings {
            rate_limit: Some(RateLimit { limit, per_ms }),
            ..settings("odd")
        };
        let refused = connections::create(&mut tx, &settings, &mut world.dice, world.now).await;
        assert!(
            matches!(
                &refused,
                Err(StoreError::Invalid {
                    field: "rate_limit",
                    ..
                })
            ),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_number_has_one_connection_that_is_on() {
    let mut world = world().await;
    let number = |name: &str, number: &str| ConnectionSettings {
        channel: Channel::Sms,
        provider: ProviderKind::Twilio,
        config: serde_json::json!({ "account_sid": "AC1", "from": number }),
        ..settings(name)
    };
    let mut tx = world.tx().await;
    let first = number("first", "+12025550100");
    let made = connections::create(&mut tx, &first, &mut world.dice, world.now)
        .await
        .unwrap();
    // It may be changed, and another number is another connection's.
    connections::update(&mut tx, made.id, &first, world.now)
        .await
        .unwrap();
    let other = connections::create(
        &mut tx,
        &number("other", "+12025550101"),
        &mut world.dice,
        world.now,
    )
    .await
    .unwrap();
    let same = number("second", "+12025550100");
    let refused = connections::create(&mut tx, &same, &mut world.dice, world.now)
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, StoreError::Conflict { what } if what.contains("\"first\"")),
        "{refused:?}"
    );
    let moved = connections::update(&mut tx, other.id, &number("other", "+12025550100"), world.now)
        .await
        .unwrap_err();
    assert!(matches!(moved, StoreError::Conflict { .. }), "{moved:?}");
    // One that is off, or sends by a messaging service, does not have the number.
    let off = ConnectionSettings {
        enabled: false,
        ..same.clone()
    };
    connections::create(&mut tx, &off, &mut world.dice, world.now)
        .await
        .unwrap();
    let mut pooled = number("pooled", "+12025550100");
    pooled.config["messaging_service_sid"] = serde_json::json!("MG1");
    connections::create(&mut tx, &pooled, &mut world.dice, world.now)
        .await
        .unwrap();
}
