//! `migrate`, `key`, `doctor`, and what is no command.

use crate::world::{SHOP, World};

#[tokio::test]
async fn migrate_brings_an_empty_database_up_and_then_has_nothing_to_do() {
    let world = World::new().await;
    let database = world.database();
    for schema in ["public"] {
        database.execute(&format!("DROP SCHEMA {schema} CASCADE")).await;
        database.execute(&format!("CREATE SCHEMA {schema}")).await;
    }
    world
        .run(&["key", "list"])
        .exit(1)
        .says(&["migrations", "tidings migrate"]);
    world
        .run(&["serve", "--no-migrate", "--listen", "127.0.0.1:0"])
        .exit(1)
        .says(&["tidings migrate"]);
    let first = world.run(&["migrate", "--json"]).ok().json();
    assert_eq!(first["applied"], first["schema"]);
    assert_eq!(world.run(&["migrate", "--json"]).ok().json()["applied"], 0);
    assert!(world.run(&["migrate"]).ok().out.contains("up to date"));
}

#[tokio::test]
async fn keys_are_made_shown_once_listed_and_revoked() {
    let world = World::new().await;
    world
        .run(&["key", "create"])
        .exit(3)
        .says(&["no tenant yet", "tidings apply"]);
    world.apply(SHOP);
    let text = world.run(&["key", "create", "--name", "till"]).ok();
    let secret = text.out.trim();
    assert!(
        secret.starts_with("tdg_") && !text.err.contains(secret),
        "{text:?}"
    );
    assert!(text.err.contains("messages:write") && !text.err.contains("tenants:admin"));
    let made = world
        .run(&[
            "--json",
            "key",
            "create",
            "--tenant",
            "shop",
            "--scopes",
            "messages:read,queue:read",
        ])
        .ok()
        .json();
    assert_eq!(made["scopes"], serde_json::json!(["messages:read", "queue:read"]));
    let list = world.run(&["key", "list", "--json"]).ok();
    assert_eq!(list.json().as_array().unwrap().len(), 2);
    assert!(!list.out.contains(made["secret"].as_str().unwrap()));

    let id = made["id"].as_str().unwrap();
    let revoked = world.run(&["key", "revoke", id, "--json"]).ok().json();
    assert_eq!(revoked, serde_json::json!({ "id": id, "revoked": true }));
    assert!(world.run(&["key", "list"]).ok().out.contains("revoked"));
    world
        .run(&["key", "revoke", "0197b7b0-0000-7000-8000-000000000000"])
        .exit(3)
        .says(&["no API key"]);
    world
        .run(&["key", "create", "--scopes", "everything"])
        .exit(3)
        .says(&["everything", "messages:write"]);
    world
        .run(&["key", "list", "--tenant", "nobody"])
        .exit(3)
        .says(&["no tenant \"nobody\""]);
    let operator = world.run(&["key", "create", "--operator", "--json"]).ok().json();
    assert!(operator["tenant_id"].is_null() && operator["scopes"].to_string().contains("tenants:admin"));
}

#[tokio::test]
async fn doctor_says_what_is_good_and_what_to_do() {
    let world = World::new().await;
    let empty = world.run(&["doctor"]).ok();
    assert!(
        empty.out.contains("none yet") && empty.out.contains("TIDINGS_PUBLIC_URL is unset"),
        "{}",
        empty.out
    );
    world.apply(SHOP);
    let public = [("TIDINGS_PUBLIC_URL", "https://tidings.example")];
    let checks = world.run_with(&public, &["doctor", "--json"], "").ok().json();
    let checks = checks.as_array().unwrap();
    assert!(
        checks.iter().all(|check| check["finding"] == "good"),
        "{checks:?}"
    );

    world
        .database()
        .execute("DELETE FROM _sqlx_migrations WHERE version = 3")
        .await;
    let behind = world.run(&["doctor"]).exit(1);
    assert!(
        behind.out.contains("bad") && behind.out.contains("tidings migrate"),
        "{}",
        behind.out
    );
    let nobody = [("DATABASE_URL", "postgres://postgres@127.0.0.1:1/none")];
    let unreachable = world.run_with(&nobody, &["doctor", "--json"], "").exit(1).json();
    let bad: Vec<_> = unreachable
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["finding"] == "bad")
        .collect();
    assert_eq!(bad.len(), 1);
    assert!(
        bad[0]["detail"].as_str().unwrap().contains("127.0.0.1:1"),
        "{bad:?}"
    );
}

#[tokio::test]
async fn what_is_no_command_is_said_with_exit_code_2() {
    let world = World::private();
    for args in [
        &["sned"][..],
        &["send", "--urgent"],
        &["explain", "17"],
        &["serve", "--role", "queen"],
        &[],
    ] {
        let done = world.run(args).exit(2);
        assert!(
            done.err.contains("--help") || done.err.contains("Usage"),
            "{}",
            done.err
        );
    }
    assert!(!world.data_dir().exists(), "a wrong command touches nothing");
    assert!(world.run(&["--version"]).ok().out.starts_with("tidings "));
}
