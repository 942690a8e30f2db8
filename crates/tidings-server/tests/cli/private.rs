//! The private PostgreSQL: one owner, guests who join it, adopted after a kill, gone with the process.

use crate::world::{SHOP, World};

#[tokio::test]
async fn one_owner_guests_join_and_a_killed_owner_is_replaced() {
    let world = World::private();
    let migrated = world.run(&["migrate", "--json"]).ok();
    assert!(
        migrated.json()["applied"]
            .as_u64()
            .is_some_and(|applied| applied > 0)
    );
    let mut serving = world.serve(&[]);

    let pid = serving.pid().to_string();
    world
        .run(&["serve", "--listen", "127.0.0.1:0"])
        .exit(1)
        .says(&["in use", &format!("pid {pid}")]);
    world.apply(SHOP);
    let key = world.key(&[]);
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
    let sent = world.run(&send).ok().json();
    let path = format!("/v1/messages/{}", sent["message_id"].as_str().unwrap());
    serving
        .until(&path, &key, |answer| answer.expect(200)["status"] == "sent")
        .await;
    let doctor = world.run(&["doctor"]).ok();
    assert!(
        doctor.out.contains("a private server") && doctor.out.contains("not fenced"),
        "{}",
        doctor.out
    );
    assert_eq!(
        serving.get("/readyz", "").await.status,
        200,
        "guests leave the server running"
    );

    serving.kill();
    let second = world.run(&send).ok().json();
    let mut serving = world.serve(&[]);
    let path = format!("/v1/messages/{}", second["message_id"].as_str().unwrap());
    serving
        .until(&path, &key, |answer| answer.expect(200)["status"] == "sent")
        .await;
    assert!(serving.terminate().0.success(), "{}", serving.log());
    let key_file = world.data_dir().join("master.key");
    assert!(key_file.is_file());
    std::fs::write(
        &key_file,
        "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
    )
    .unwrap();
    world
        .run(&["queue", "stats"])
        .exit(1)
        .says(&["master key", "nothing was changed"]);
}
