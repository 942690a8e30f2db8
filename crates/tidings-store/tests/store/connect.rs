//! Connecting, migrating and refusing.

use crate::world::{connect, run, world};
use jiff::Timestamp;
use tidings_store::{Keyring, MasterKey, Store, StoreError, StoreOptions};
use tidings_testkit::TestDatabase;

fn key(id: &str, digit: char) -> MasterKey {
    MasterKey::parse(id, &digit.to_string().repeat(64)).unwrap()
}

fn ring(keys: Vec<MasterKey>) -> Keyring {
    Keyring::new(keys).unwrap()
}

/// An empty database beside a test's own; the caller drops it.
async fn empty_beside(database: &TestDatabase) -> (String, String) {
    let name = format!("{}_e", database.name());
    run(
        &database.pool(),
        format!("CREATE DATABASE \"{name}\" TEMPLATE template0"),
    )
    .await
    .unwrap();
    (database.url.replace(database.name(), &name), name)
}

async fn drop_beside(database: &TestDatabase, name: &str) {
    run(&database.pool(), format!("DROP DATABASE \"{name}\" WITH (FORCE)"))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_empty_database_is_migrated_and_then_ready() {
    let database = tidings_testkit::database().await;
    let (url, name) = empty_beside(&database).await;
    let now = Timestamp::UNIX_EPOCH;
    let store = connect(&url, Keyring::random().unwrap(), now).await.unwrap();
    let before = store.schema_state().await.unwrap();
    assert_eq!(before.applied, 0);
    assert!(before.pending >= 3);
    let (first, second) = tokio::join!(store.migrate(now), store.migrate(now));
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(store.schema_state().await.unwrap().pending, 0);
    let role: String = sqlx::query_scalar("SELECT current_user::text")
        .fetch_one(store.api())
        .await
        .unwrap();
    assert_eq!(role, "tidings_app");
    store.close().await;
    drop_beside(&database, &name).await;
}

#[tokio::test]
async fn the_pools_keep_their_roles() {
    let world = world().await;
    for (pool, role) in [
        (world.store.api(), "tidings_app"),
        (world.store.worker(), "tidings_worker"),
    ] {
        let mut conn = pool.acquire().await.unwrap();
        sqlx::query("RESET ALL").execute(&mut *conn).await.unwrap();
        sqlx::query("RESET ROLE").execute(&mut *conn).await.unwrap();
        let current: String = sqlx::query_scalar("SELECT current_user::text")
            .fetch_one(&mut *conn)
            .await
            .unwrap();
        assert_eq!(current, role);
        let enqueue: String = sqlx::query_scalar("SELECT current_setting('tidings.enqueue')")
            .fetch_one(&mut *conn)
            .await
            .unwrap();
        assert_eq!(enqueue, "on");
    }
}

#[tokio::test]
async fn an_unreachable_database_is_named_without_its_password() {
    let now = Timestamp::UNIX_EPOCH;
    let url = "postgres://someone:hunter2@127.0.0.1:1/nothing";
    let error = connect(url, Keyring::random().unwrap(), now).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }) && error.is_transient());
    let text = error.to_string();
    assert!(
        text.contains("127.0.0.1:1/nothing") && text.contains("DATABASE_URL"),
        "{text}"
    );
    assert!(!text.contains("hunter2") && !format!("{:?}", StoreOptions::new(url)).contains("hunter2"));
}

#[tokio::test]
async fn a_malformed_url_is_refused_without_showing_it() {
    for url in [
        "mysql://root:hunter2@localhost/x",
        "hunter2",
        "postgres://u:hunter2@host:port/x",
    ] {
        let error = connect(url, Keyring::random().unwrap(), Timestamp::UNIX_EPOCH)
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Url { .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_wrong_or_missing_master_key_is_refused_and_changes_nothing() {
    let database = tidings_testkit::database().await;
    let now = Timestamp::UNIX_EPOCH;
    connect(&database.url, ring(vec![key("main", 'a')]), now)
        .await
        .unwrap();
    connect(&database.url, ring(vec![key("main", 'a')]), now)
        .await
        .unwrap();

    let wrong = connect(&database.url, ring(vec![key("main", 'b')]), now)
        .await
        .unwrap_err();
    assert!(
        matches!(&wrong, StoreError::WrongMasterKey { id } if id == "main"),
        "{wrong}"
    );
    assert!(wrong.to_string().contains("DB_ENCRYPTION_KEY"));

    let missing = connect(&database.url, ring(vec![key("second", 'b')]), now)
        .await
        .unwrap_err();
    assert!(
        matches!(&missing, StoreError::MissingMasterKey { id } if id == "main"),
        "{missing}"
    );

    let checks: i64 = sqlx::query_scalar("SELECT count(*) FROM master_key_check")
        .fetch_one(&database.pool())
        .await
        .unwrap();
    assert_eq!(checks, 1);
    connect(
        &database.url,
        ring(vec![key("second", 'b'), key("main", 'a')]),
        now,
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let world = world().await;
    let insert = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                  VALUES (99990101, 'from the future', true, '\\x00', 0)";
    run(&world.owner(), insert.to_owned()).await.unwrap();
    let error = connect(&world.database.url, Keyring::random().unwrap(), world.now)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::NewerSchema {
                database: 99_990_101,
                ..
            }
        ),
        "{error}"
    );
    let error = world.store.migrate(world.now).await.unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { .. }), "{error}");
}

#[tokio::test]
async fn a_user_without_rights_on_the_roles_is_told_what_to_run() {
    let database = tidings_testkit::database().await;
    let (url, name) = empty_beside(&database).await;
    let user = format!("u_{}", database.name());
    run(&database.pool(), format!("CREATE ROLE \"{user}\" NOLOGIN"))
        .await
        .unwrap();
    run(
        &database.pool(),
        format!("ALTER DATABASE \"{name}\" OWNER TO \"{user}\""),
    )
    .await
    .unwrap();
    let joint = if url.contains('?') { '&' } else { '?' };
    let weak = format!("{url}{joint}options=-c%20role%3D{user}");
    let store = connect(&weak, Keyring::random().unwrap(), Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    let error = store.migrate(Timestamp::UNIX_EPOCH).await.unwrap_err();
    store.close().await;
    drop_beside(&database, &name).await;
    run(&database.pool(), format!("DROP ROLE \"{user}\""))
        .await
        .unwrap();
    assert!(matches!(error, StoreError::Roles { .. }), "{error}");
    assert!(
        error.to_string().contains("GRANT tidings_app, tidings_worker TO"),
        "{error}"
    );
}

#[tokio::test]
async fn migrations_wait_for_each_other_across_databases() {
    // Roles belong to the cluster: two databases that are set up at once must not trip over them.
    let first = tidings_testkit::database().await;
    let second = tidings_testkit::database().await;
    let (one, one_name) = empty_beside(&first).await;
    let (two, two_name) = empty_beside(&second).await;
    let now = Timestamp::UNIX_EPOCH;
    let migrate = async |url: String| -> Result<(), StoreError> {
        let store = Store::connect(StoreOptions::new(url), Keyring::random()?, now).await?;
        store.migrate(now).await?;
        store.close().await;
        Ok(())
    };
    let (a, b) = tokio::join!(migrate(one), migrate(two));
    drop_beside(&first, &one_name).await;
    drop_beside(&second, &two_name).await;
    a.unwrap();
    b.unwrap();
}
