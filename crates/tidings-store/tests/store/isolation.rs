//! Row-level security as the second wall: what a mistake in a query could and could not do.

use crate::world::{code, world};
use tidings_store::contacts::{self};
use tidings_store::{StoreError, tenants};

#[tokio::test]
async fn without_a_tenant_nothing_is_seen() {
    let mut world = world().await;
    world.contact("c-1", "ann@example.com").await;
    for table in [
        "tenants",
        "contacts",
        "contact_keys",
        "addresses",
        "tenant_keys",
        "api_keys",
        "communication_jobs",
    ] {
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let seen: i64 = sqlx::query_scalar(sql)
            .fetch_one(world.store.api())
            .await
            .unwrap();
        assert_eq!(seen, 0, "{table}");
    }
}

#[tokio::test]
async fn a_tenant_sees_and_touches_only_its_own() {
    let mut world = world().await;
    let contact = world.contact("c-1", "ann@example.com").await;
    let mut tx = world.store.tenant(world.other).tx().await.unwrap();
    assert!(matches!(
        contacts::get(&mut tx, contact).await,
        Err(StoreError::NotFound { .. })
    ));
    assert!(matches!(
        tenants::get(&mut tx, world.tenant).await,
        Err(StoreError::NotFound { .. })
    ));
    let changed = sqlx::query("UPDATE contacts SET zone = 'UTC'")
        .execute(&mut *tx)
        .await
        .unwrap();
    assert_eq!(changed.rows_affected(), 0);
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM addresses")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(seen, 0);
    let keys: i64 = sqlx::query_scalar("SELECT count(*) FROM tenant_keys")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(keys, 1);
}

#[tokio::test]
async fn a_row_cannot_be_put_into_or_moved_to_another_tenant() {
    let mut world = world().await;
    world.contact("c-1", "ann@example.com").await;
    let insert = "INSERT INTO contacts (tenant_id, id, created_at, updated_at) VALUES ($1, $2, now(), now())";
    let mut tx = world.tx().await;
    let refused = sqlx::query(insert)
        .bind(world.other.0)
        .bind(world.dice.uuid(world.now))
        .execute(&mut *tx)
        .await;
    assert_eq!(code(&refused.unwrap_err()), "42501");
    let mut tx = world.tx().await;
    let refused = sqlx::query("UPDATE suppressions SET tenant_id = $1")
        .bind(world.other.0)
        .execute(&mut *tx)
        .await;
    assert!(refused.is_ok(), "no row, nothing moved");
    let refused = sqlx::query("UPDATE addresses SET tenant_id = $1")
        .bind(world.other.0)
        .execute(&mut *tx)
        .await;
    assert_eq!(code(&refused.unwrap_err()), "42501");
}

#[tokio::test]
async fn a_reference_to_another_tenants_row_is_refused() {
    let mut world = world().await;
    let contact = world.contact("c-1", "ann@example.com").await;
    let insert = "INSERT INTO consents (tenant_id, id, contact_id, purpose, granted, source, at)
                  VALUES ($1, $2, $3, 'marketing', true, 'test', now())";
    let mut tx = world.store.tenant(world.other).tx().await.unwrap();
    let refused = sqlx::query(insert)
        .bind(world.other.0)
        .bind(world.dice.uuid(world.now))
        .bind(contact.0)
        .execute(&mut *tx)
        .await;
    assert_eq!(code(&refused.unwrap_err()), "23503");
}

#[tokio::test]
async fn the_tenant_of_a_transaction_does_not_leak_to_the_next() {
    let mut world = world().await;
    world.contact("c-1", "ann@example.com").await;
    let mut conn = world.store.api().acquire().await.unwrap();
    for end in ["COMMIT", "ROLLBACK"] {
        sqlx::query("BEGIN").execute(&mut *conn).await.unwrap();
        sqlx::query("SELECT set_config('app.tenant', $1, true)")
            .bind(world.tenant.to_string())
            .execute(&mut *conn)
            .await
            .unwrap();
        let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM contacts")
            .fetch_one(&mut *conn)
            .await
            .unwrap();
        assert_eq!(seen, 1);
        sqlx::query(end).execute(&mut *conn).await.unwrap();
        let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM contacts")
            .fetch_one(&mut *conn)
            .await
            .unwrap();
        assert_eq!(seen, 0);
    }
}

#[tokio::test]
async fn the_owner_is_not_exempt() {
    let mut world = world().await;
    world.contact("c-1", "ann@example.com").await;
    // A superuser always is exempt; an ordinary owner must not be. Rolled back, so the role never exists for others.
    let mut tx = world.owner().begin().await.unwrap();
    let owner = format!("o_{}", world.database.name());
    for sql in [
        format!("CREATE ROLE \"{owner}\" NOLOGIN"),
        format!("GRANT CREATE, USAGE ON SCHEMA public TO \"{owner}\""),
        format!("ALTER TABLE contacts OWNER TO \"{owner}\""),
        format!("SET LOCAL ROLE \"{owner}\""),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&mut *tx)
            .await
            .unwrap();
    }
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM contacts")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(seen, 0);
    tx.rollback().await.unwrap();
}
