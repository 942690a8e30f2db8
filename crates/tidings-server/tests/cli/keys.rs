//! Master keys: rotated without losing anything, and a wrong one is refused before anything is touched.

use crate::world::{MASTER_KEY, World};
use serde_json::json;

const NEW: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const CONTEXT: &str = r#"{"client_name": "Kim", "event_type": "wedding"}"#;
const SEND: [&str; 7] = [
    "send",
    "--type",
    "welcome",
    "--contact",
    "4711",
    "--context",
    CONTEXT,
];

/// Everything that a start could change.
async fn state(world: &World) -> Vec<String> {
    let mut state = Vec::new();
    for table in [
        "tenants",
        "tenant_keys",
        "master_key_check",
        "api_keys",
        "messages",
        "communication_jobs",
        "queue_nodes",
    ] {
        state.extend(
            world
                .texts(&format!("SELECT '{table}' || t::text FROM {table} t ORDER BY 1"))
                .await,
        );
    }
    state
}

#[tokio::test]
async fn a_master_key_is_rotated_and_the_old_one_is_then_needless() {
    let world = World::shop().await;
    world.run(&SEND).ok();
    let both = [
        ("TIDINGS_MASTER_KEY", NEW),
        ("TIDINGS_PREVIOUS_MASTER_KEYS", MASTER_KEY),
    ];
    let alone = [("TIDINGS_MASTER_KEY", NEW)];
    world
        .run_with(&alone, &SEND, "")
        .exit(1)
        .says(&["master key", "nothing was changed"]);
    world.run_with(&both, &SEND, "").ok();
    let rotated = world
        .run_with(&both, &["keys", "rotate", "--json"], "")
        .ok()
        .json();
    assert_eq!(rotated, json!({"rewrapped": 1, "retired": 1}));
    let again = world.run_with(&both, &["keys", "rotate"], "").ok();
    assert!(again.out.contains("0 tenant keys re-wrapped"), "{}", again.out);
    world.run_with(&alone, &SEND, "").ok();
    world.run(&SEND).exit(1).says(&["master key"]);
}

#[tokio::test]
async fn a_wrong_master_key_is_refused_by_everything_and_changes_nothing() {
    let world = World::shop().await;
    world.key(&[]);
    let before = state(&world).await;
    let wrong = [("TIDINGS_MASTER_KEY", NEW)];
    for args in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["migrate"],
        &SEND,
        &["key", "create"],
        &["keys", "rotate"],
    ] {
        world
            .run_with(&wrong, args, "")
            .exit(1)
            .says(&["master key", "nothing was changed"]);
    }
    let doctor = world.run_with(&wrong, &["doctor"], "").exit(1);
    assert!(doctor.out.contains("master key"), "{}", doctor.out);
    assert_eq!(state(&world).await, before);
}

#[tokio::test]
async fn a_key_that_is_none_is_said_without_being_shown() {
    let world = World::new().await;
    for key in [
        "short",
        "zz1d0c3a8e7b46925f1d0c3a8e7b46925f1d0c3a8e7b46925f1d0c3a8e7b4692",
    ] {
        let done = world
            .run_with(&[("TIDINGS_MASTER_KEY", key)], &["migrate"], "")
            .exit(1)
            .says(&["TIDINGS_MASTER_KEY"]);
        assert!(!done.err.contains(key), "{}", done.err);
    }
    world
        .run_with(&[("TIDINGS_MASTER_KEY", "")], &["migrate"], "")
        .exit(1)
        .says(&["openssl rand -hex 32"]);
}
