//! The environment: wrong values name themselves, a database that is not there is said so, switches reach the rules.

use crate::world::{World, until};

#[tokio::test]
async fn a_wrong_value_stops_the_start_and_names_its_variable() {
    let world = World::new().await;
    for (name, value) in [
        ("POLL_INTERVAL_MS", "soon"),
        ("MAX_CONCURRENT_JOBS", "-1"),
        ("RETRY_DELAY_MINUTES", "5m"),
        ("MAX_RETRIES", "many"),
        ("TIDINGS_LISTEN", "8420"),
        ("TIDINGS_PUBLIC_URL", "tidings.example"),
        ("TIDINGS_LEASE_SECONDS", "x"),
        ("TIDINGS_ALLOW_LOOPBACK", "perhaps"),
        ("TIDINGS_SEED", "dice"),
        ("ENABLE_WELCOME", "maybe"),
        ("TIDINGS_FAIL_POINTS", "nowhere@1"),
        ("TIDINGS_PREVIOUS_MASTER_KEYS", "short"),
        ("RUST_LOG", "a=b=c"),
        ("DATABASE_URL", "mysql://localhost/x"),
    ] {
        let done = world.run_with(&[(name, value)], &["serve", "--listen", "127.0.0.1:0"], "");
        let named = done.exit(1);
        let wanted = if name == "RUST_LOG" { "log filter" } else { name };
        assert!(
            named.err.starts_with("error: ") && named.err.contains(wanted),
            "{name}: {}",
            named.err
        );
    }
}

#[tokio::test]
async fn a_broken_env_file_is_named_with_its_line() {
    let world = World::new().await;
    let file = world.write("broken.env", "POLL_INTERVAL_MS=250\n\nthis is no assignment\n");
    let path = file.to_str().unwrap();
    world
        .run_with(&[("ENV_FILE", path)], &["migrate"], "")
        .exit(1)
        .says(&["broken.env:3", "NAME=value"]);
    world
        .run_with(&[("ENV_FILE", "/nowhere/at.all")], &["migrate"], "")
        .exit(1)
        .says(&["ENV_FILE=/nowhere/at.all"]);
    std::fs::write(&file, "POLL_INTERVAL_MS=soon\n").unwrap();
    world
        .run_with(&[("ENV_FILE", path)], &["migrate"], "")
        .exit(1)
        .says(&["POLL_INTERVAL_MS=soon"]);
    world
        .run_with(&[("ENV_FILE", path), ("POLL_INTERVAL_MS", "9")], &["migrate"], "")
        .ok();
}

#[tokio::test]
async fn a_database_that_is_not_there_is_said_so_without_its_password() {
    let world = World::new().await;
    for command in [
        &["migrate"][..],
        &["serve"],
        &["queue", "stats"],
        &["apply", "x.toml"],
    ] {
        let nobody = [("DATABASE_URL", "postgres://ann:geheim@127.0.0.1:1/shop")];
        let done = world
            .run_with(&nobody, command, "")
            .exit(1)
            .says(&["127.0.0.1:1", "DATABASE_URL"]);
        assert!(!done.err.contains("geheim"), "{}", done.err);
    }
    let url = world
        .database()
        .url
        .replace(world.database().name(), "no_such_database");
    world
        .run_with(&[("DATABASE_URL", &url)], &["migrate"], "")
        .exit(1)
        .says(&["no_such_database"]);
}

#[tokio::test]
async fn a_type_that_is_switched_off_is_not_sent() {
    let world = World::shop().await;
    let _serving = world.serve(&[("ENABLE_WELCOME", "false")]);
    let context = r#"{"client_name": "Kim", "event_type": "wedding"}"#;
    let send = [
        "send",
        "--type",
        "welcome",
        "--contact",
        "4711",
        "--urgency",
        "critical",
        "--context",
        context,
        "--json",
    ];
    let off = world
        .run_with(&[("ENABLE_WELCOME", "false")], &send, "")
        .ok()
        .json();
    assert_eq!(off["status"], "suppressed");
    assert_eq!(off["because"], "enabled.type_off");
    // Accepted by a process that does not know of the switch, stopped by the one that sends.
    world.run(&send).ok();
    until(
        &world,
        "SELECT count(*) FROM messages WHERE status = 'suppressed'",
        2,
    )
    .await;
    assert_eq!(world.count("SELECT count(*) FROM sandbox_messages").await, 0);
}
