//! Tenants.

use crate::world::{new_tenant, world};
use tidings_core::decide::Policy;
use tidings_core::{MessageType, TenantId};
use tidings_store::tenants::{self, NewTenant, TenantChanges, TenantSettings, TenantStatus, TrackingChoice};
use tidings_store::{StoreError, columns::PAGE_LIMIT};

#[tokio::test]
async fn a_tenant_is_created_found_and_changed() {
    let mut world = world().await;
    let mut conn = world.store.worker().acquire().await.unwrap();
    let tenant = tenants::get_by_slug(&mut conn, "acme").await.unwrap();
    assert_eq!((tenant.id, tenant.status), (world.tenant, TenantStatus::Active));

    let welcome = MessageType::parse("welcome").unwrap();
    let mut settings = TenantSettings {
        postal_address: Some("1 Main Street".to_owned()),
        ..TenantSettings::default()
    };
    settings.tracking.by_type.insert(
        welcome.clone(),
        TrackingChoice {
            opens: false,
            clicks: true,
        },
    );
    let changes = TenantChanges {
        name: Some("Acme Ltd".to_owned()),
        status: Some(TenantStatus::Suspended),
        policy: Some(Policy {
            zone: "Europe/Vienna".to_owned(),
            ..Policy::default()
        }),
        settings: Some(settings.clone()),
    };
    let mut tx = world.tx().await;
    let changed = tenants::update(&mut tx, world.tenant, changes, world.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(changed.policy.zone, "Europe/Vienna");
    assert_eq!(
        (&changed.settings, changed.status),
        (&settings, TenantStatus::Suspended)
    );
    assert!(!changed.settings.tracking.of(&welcome).opens);
    assert!(
        changed
            .settings
            .tracking
            .of(&MessageType::parse("other").unwrap())
            .opens
    );

    new_tenant(&world.store, "bravo", &mut world.dice, world.now).await;
    let first = tenants::list(&mut conn, None, 2).await.unwrap();
    assert_eq!(
        first.items.iter().map(|t| t.slug.as_str()).collect::<Vec<_>>(),
        ["acme", "bravo"]
    );
    let rest = tenants::list(&mut conn, first.next.as_deref(), PAGE_LIMIT + 9)
        .await
        .unwrap();
    assert_eq!(rest.items.len(), 1);
    assert_eq!(rest.next, None);
}

#[tokio::test]
async fn a_taken_or_malformed_slug_is_refused_and_nothing_is_left() {
    let mut world = world().await;
    let mut conn = world.store.worker().acquire().await.unwrap();
    let mut with_slug = |slug: &str| NewTenant {
        id: TenantId(world.dice.uuid(world.now)),
        slug: slug.to_owned(),
        name: "Name".to_owned(),
        policy: Policy::default(),
        settings: TenantSettings::default(),
    };
    let taken = tenants::create(&mut conn, world.store.keyring(), with_slug("acme"), world.now)
        .await
        .unwrap_err();
    assert!(matches!(taken, StoreError::Conflict { .. }), "{taken}");
    for slug in ["", "-a", "Acme", "a b", &"a".repeat(64)] {
        let error = tenants::create(&mut conn, world.store.keyring(), with_slug(slug), world.now)
            .await
            .unwrap_err();
        assert!(
            matches!(error, StoreError::Invalid { field: "slug", .. }),
            "{error}"
        );
    }
    assert_eq!(world.count("SELECT count(*) FROM tenants").await, 2);
    assert_eq!(world.count("SELECT count(*) FROM tenant_keys").await, 2);
}

#[tokio::test]
async fn an_unknown_tenant_is_said_to_be_unknown() {
    let mut world = world().await;
    let nobody = TenantId(world.dice.uuid(world.now));
    let mut conn = world.store.worker().acquire().await.unwrap();
    assert!(matches!(
        tenants::get(&mut conn, nobody).await,
        Err(StoreError::NotFound { .. })
    ));
    let key = world.store.keyring().tenant_key(&mut conn, nobody).await;
    assert!(matches!(key, Err(StoreError::NotFound { .. })));
}
