//! API keys.

use crate::world::{code, world};
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use tidings_store::api_keys::{self, NewApiKey};

fn key(name: &str) -> NewApiKey {
    NewApiKey {
        name: name.to_owned(),
        scopes: vec!["messages:write".to_owned()],
        expires_at: None,
    }
}

#[tokio::test]
async fn a_key_is_shown_once_verified_and_withdrawn() {
    let mut world = world().await;
    let api = world.store.api().clone();
    let mut tx = world.tx().await;
    let (made, secret) = api_keys::create(&mut tx, key("ci"), &mut world.dice, world.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let text = secret.expose_secret();
    assert!(text.starts_with(&format!("tdg_{}_", made.prefix)));
    assert!(!format!("{made:?} {secret:?}").contains(text));

    let found = api_keys::verify(&api, text, world.now).await.unwrap().unwrap();
    assert_eq!(
        (found.id, found.tenant, found.last_used_at),
        (made.id, Some(world.tenant), None)
    );
    let soon = world.now.checked_add(SignedDuration::from_mins(4)).unwrap();
    let later = world.now.checked_add(SignedDuration::from_mins(6)).unwrap();
    for (at, recorded) in [(soon, world.now), (later, world.now), (later, later)] {
        let found = api_keys::verify(&api, text, at).await.unwrap().unwrap();
        assert_eq!(
            found.last_used_at,
            Some(recorded),
            "written at most every five minutes"
        );
    }

    let mut tx = world.tx().await;
    assert_eq!(api_keys::list(&mut tx).await.unwrap().len(), 1);
    api_keys::revoke(&mut tx, made.id, world.now).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(api_keys::verify(&api, text, world.now).await.unwrap(), None);
}

#[tokio::test]
async fn wrong_keys_get_the_same_answer() {
    let mut world = world().await;
    let api = world.store.api().clone();
    let mut tx = world.tx().await;
    let (made, secret) = api_keys::create(&mut tx, key("ci"), &mut world.dice, world.now)
        .await
        .unwrap();
    let ended = NewApiKey {
        expires_at: Some(world.now),
        ..key("ended")
    };
    let (_, ended) = api_keys::create(&mut tx, ended, &mut world.dice, world.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let right = secret.expose_secret();
    let flipped = if right.ends_with('0') { '1' } else { '0' };
    let wrong = [
        String::new(),
        "tdg_".to_owned(),
        right[..right.len() - 1].to_owned(),
        format!("{}{flipped}", &right[..right.len() - 1]),
        format!("tdg_{}_{}", "0".repeat(12), "0".repeat(64)),
        format!("tdg_{}_{}", made.prefix, "z".repeat(64)),
        format!("tdg_'; SELECT 1_{}", "0".repeat(64)),
        ended.expose_secret().to_owned(),
    ];
    for text in wrong {
        assert_eq!(api_keys::verify(&api, &text, world.now).await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_operators_key_belongs_to_no_tenant() {
    let mut world = world().await;
    let mut conn = world.store.worker().acquire().await.unwrap();
    let (made, secret) = api_keys::create_for_operator(&mut conn, key("root"), &mut world.dice, world.now)
        .await
        .unwrap();
    let found = api_keys::verify(world.store.api(), secret.expose_secret(), world.now)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.id, found.tenant), (made.id, None));
    let mut tx = world.tx().await;
    assert!(api_keys::list(&mut tx).await.unwrap().is_empty());
    assert_eq!(api_keys::list_of_operator(&mut conn).await.unwrap().len(), 1);
    api_keys::revoke_of_operator(&mut conn, made.id, world.now)
        .await
        .unwrap();
    assert_eq!(
        api_keys::verify(world.store.api(), secret.expose_secret(), world.now)
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn the_api_role_cannot_widen_a_key() {
    let mut world = world().await;
    let mut tx = world.tx().await;
    api_keys::create(&mut tx, key("ci"), &mut world.dice, world.now)
        .await
        .unwrap();
    let refused = sqlx::query("UPDATE api_keys SET scopes = '{admin}'")
        .execute(&mut *tx)
        .await
        .unwrap_err();
    assert_eq!(code(&refused), "42501");
}
