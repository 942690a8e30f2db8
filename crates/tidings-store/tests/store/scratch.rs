//! A tenant copied into a scratch database: what rules look at is there and opens, and nothing else is.

use crate::world::{connect, world};
use jiff::SignedDuration;
use serde_json::json;
use tidings_core::{Channel, ConnectionId, ProviderKind};
use tidings_store::connections::{self, ConnectionSettings};
use tidings_store::{contacts, scratch};

#[tokio::test]
async fn one_tenant_is_copied_with_its_keys_and_its_connections_become_sandboxes() {
    let mut world = world().await;
    let contact = world.contact("c-1", "c1@example.com").await;
    let settings = ConnectionSettings {
        name: "mail".to_owned(),
        channel: Channel::Email,
        provider: ProviderKind::Sendgrid,
        config: json!({"from": "a@example.com"}),
        credentials: Some(secrecy::SecretString::from("{\"api_key\":\"x\"}")),
        priority: 0,
        weight: 1,
        enabled: true,
        call_limit_ms: None,
        rate_limit: None,
    };
    let mut tx = world.tx().await;
    let connection = connections::create(&mut tx, &settings, &mut world.dice, world.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let spare = tidings_testkit::database().await;
    let copy = connect(&spare.url, world.store.keyring().clone(), world.now)
        .await
        .unwrap();
    let from = world.now + SignedDuration::from_hours(1);
    let rows = scratch::copy_tenant(&world.store, &copy, world.tenant, from)
        .await
        .unwrap();
    assert!(rows >= 5, "{rows} rows");

    let mut tx = copy.worker_tenant(world.tenant).tx().await.unwrap();
    let found = contacts::get(&mut tx, contact).await.unwrap();
    assert_eq!(found.addresses[0].text.expose(), "c1@example.com");
    let limit = json!({"limit": 100, "per_ms": 60_000});
    scratch::sandbox_connections(&mut tx, world.tenant, &[(connection.id, Some(limit))])
        .await
        .unwrap();
    let made = connections::get(&mut tx, ConnectionId(connection.id.0))
        .await
        .unwrap();
    assert_eq!(
        (made.provider, made.has_credentials),
        (ProviderKind::Sandbox, false)
    );
    assert_eq!(made.rate_limit.map(|limit| limit.limit), Some(100));
    tx.commit().await.unwrap();

    // The other tenant stayed where it was, and the original keeps its provider.
    let mut conn = copy.worker_conn().await.unwrap();
    assert!(tidings_store::tenants::get(&mut conn, world.other).await.is_err());
    let mut tx = world.tx().await;
    assert_eq!(
        connections::get(&mut tx, connection.id).await.unwrap().provider,
        ProviderKind::Sendgrid
    );
}
