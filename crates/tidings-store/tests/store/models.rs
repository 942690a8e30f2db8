//! The model a tenant drafts with.

use crate::world::world;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tidings_store::StoreError;
use tidings_store::models::{self, ModelInput};

fn input(key: Option<&str>) -> ModelInput {
    ModelInput {
        key: key.map(SecretString::from),
        settings: json!({"kind": "openai", "model": "small"}),
        enabled: true,
    }
}

#[tokio::test]
async fn the_key_is_sealed_and_no_other_tenant_sees_the_model() {
    let world = world().await;
    let mut tx = world.tx().await;
    models::put(&mut tx, &input(Some("sk-secret-4711")), world.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let plain: Vec<u8> = sqlx::query_scalar("SELECT key_sealed FROM models")
        .fetch_one(&world.owner())
        .await
        .unwrap();
    assert!(!plain.windows(6).any(|part| part == b"secret"));

    let mut tx = world.tx().await;
    let (model, key) = models::open(&mut tx).await.unwrap().unwrap();
    assert_eq!(key.unwrap().expose_secret(), "sk-secret-4711");
    assert_eq!(model.settings, json!({"kind": "openai", "model": "small"}));
    assert!(!format!("{:?}", input(Some("sk-secret-4711"))).contains("secret-4711"));
    drop(tx);

    let mut tx = world.store.tenant(world.other).tx().await.unwrap();
    assert!(models::get(&mut tx).await.unwrap().is_none());
    assert!(models::open(&mut tx).await.unwrap().is_none());
}

#[tokio::test]
async fn a_model_is_replaced_as_a_whole_and_may_have_no_key() {
    let world = world().await;
    let mut tx = world.tx().await;
    models::put(&mut tx, &input(Some("sk-1")), world.now)
        .await
        .unwrap();
    let without = ModelInput {
        enabled: false,
        ..input(None)
    };
    models::put(&mut tx, &without, world.now).await.unwrap();
    let (model, key) = models::open(&mut tx).await.unwrap().unwrap();
    assert!(key.is_none() && !model.enabled);
    assert_eq!(models::get(&mut tx).await.unwrap(), Some(model));
}

#[tokio::test]
async fn what_is_too_large_is_refused_by_name() {
    let world = world().await;
    let mut tx = world.tx().await;
    let long = ModelInput {
        settings: json!({"system_prompt_extra": "x".repeat(70_000)}),
        ..input(None)
    };
    for (input, field) in [(input(Some(&"k".repeat(5000))), "key"), (long, "settings")] {
        match models::put(&mut tx, &input, world.now).await {
            Err(StoreError::Invalid { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{other:?}"),
        }
    }
    assert!(models::get(&mut tx).await.unwrap().is_none());
}
