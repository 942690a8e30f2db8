//! `connection`: how they stand, and the drill.

use crate::world::World;
use serde_json::json;

#[tokio::test]
async fn connections_are_listed_shown_tested_and_drilled() {
    let world = World::shop().await;
    let list = world.run(&["connection", "list", "--json"]).ok().json();
    assert_eq!(list.as_array().unwrap().len(), 2);
    let mail = list
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "mail")
        .unwrap();
    assert_eq!(
        (&mail["breaker"], &mail["share_percent"], &mail["health"]),
        (&json!("closed"), &json!(100), &json!(null))
    );
    assert_eq!(mail["limits"]["call_ms"], 20_000);
    let table = world.run(&["connection", "list"]).ok().out;
    assert!(table.contains("mail") && table.contains("closed"), "{table}");
    let tested = world.run(&["connection", "test", "mail", "--json"]).ok().json();
    assert_eq!(tested["ok"], true);

    let drilled = world
        .run(&["connection", "drill", "mail", "--for-seconds", "600", "--json"])
        .ok()
        .json();
    assert_eq!(
        (
            &drilled["breaker"],
            &drilled["breaker_cause"],
            &drilled["share_percent"]
        ),
        (&json!("open"), &json!("drill"), &json!(0))
    );
    let id = drilled["id"].as_str().unwrap();
    let shown = world.run(&["connection", "show", id]).ok().out;
    assert!(
        shown.contains("because drill") && shown.contains("a probe may go from"),
        "{shown}"
    );
    let restored = world
        .run(&["connection", "drill", "mail", "--restore", "--json"])
        .ok()
        .json();
    assert_eq!(restored["breaker"], "closed");
    assert_eq!(
        world
            .count("SELECT count(*) FROM event_log WHERE kind = 'ConnectionDrilled'")
            .await,
        2
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_connection_command_is_said() {
    let world = World::shop().await;
    world
        .run(&["connection", "show", "pigeon"])
        .exit(3)
        .says(&["pigeon", "connection list"]);
    world
        .run(&["connection", "drill", "mail", "--restore"])
        .exit(3)
        .says(&["not under a drill"]);
    world
        .run(&["connection", "drill", "mail", "--for-seconds", "3601"])
        .exit(2);
    world
        .run(&["connection", "drill", "mail", "--for-seconds", "0"])
        .exit(2);
    world
        .run(&["connection", "drill", "mail", "--for-seconds", "5", "--restore"])
        .exit(2);
}
