//! `queue`: figures, and dead letters from list to purge.

use crate::world::{World, until};
use serde_json::json;

fn send(world: &World, to: &str) {
    let context = r#"{"client_name": "Kim", "event_type": "wedding"}"#;
    world
        .run(&[
            "send",
            "--type",
            "welcome",
            "--to",
            to,
            "--context",
            context,
            "--urgency",
            "critical",
        ])
        .ok();
}

#[tokio::test]
async fn figures_and_dead_letters_from_list_to_purge() {
    let world = World::shop().await;
    send(&world, "guest@example.com");
    let waiting = world.run(&["queue", "stats", "--json"]).ok().json();
    assert_eq!(
        (
            &waiting["total"]["queued"],
            &waiting["by_type"]["send_email"]["queued"]
        ),
        (&json!(1), &json!(1))
    );
    for number in 1..=3 {
        send(&world, &format!("rejected+{number}@example.com"));
    }
    let mut serving = world.serve(&[]);
    until(&world, "SELECT count(*) FROM dead_letters", 3).await;
    until(
        &world,
        "SELECT count(*) FROM communication_jobs WHERE status = 'complete'",
        1,
    )
    .await;
    assert!(serving.terminate().0.success());

    let text = world.run(&["queue", "stats"]).ok().out;
    assert!(text.contains("send_email") && text.contains("dead"), "{text}");
    assert_eq!(
        world.run(&["queue", "stats", "--json"]).ok().json()["total"]["dead"],
        3
    );
    let list = world.run(&["queue", "list", "--json"]).ok();
    let letters = list.json();
    assert_eq!(letters.as_array().unwrap().len(), 3);
    assert!(!list.out.contains('@'), "no addresses in lists: {}", list.out);
    let cause = letters[0]["cause"].as_str().unwrap();
    let groups = world.run(&["queue", "causes", "--json"]).ok().json();
    assert_eq!(
        (&groups[0]["jobs"], &groups[0]["cause"]),
        (&json!(3), &json!(cause))
    );
    assert!(world.run(&["queue", "causes"]).ok().out.contains(cause));
    assert!(
        world
            .run(&["queue", "list", "--cause", "another"])
            .ok()
            .out
            .contains("no dead letters")
    );

    let job = letters[0]["job_id"].to_string();
    let dry = world.run(&["queue", "replay", "--dry-run", "--json"]).ok().json();
    assert_eq!(dry["replayed"].as_array().unwrap().len(), 3);
    assert_eq!(
        world.count("SELECT count(*) FROM dead_letters").await,
        3,
        "a dry run changes nothing"
    );
    assert!(
        world
            .run(&["queue", "replay", &job])
            .ok()
            .out
            .contains("1 replayed")
    );
    assert_eq!(world.count("SELECT count(*) FROM dead_letters").await, 2);
    world
        .run(&["queue", "purge"])
        .exit(3)
        .says(&["2 dead letters", "--yes"]);
    assert_eq!(
        world.run(&["queue", "purge", "--yes", "--json"]).ok().json(),
        json!({"purged": 2})
    );
    assert!(world.run(&["queue", "list"]).ok().out.contains("no dead letters"));
}

#[tokio::test]
async fn a_fenced_database_says_so_until_it_is_unfenced() {
    let world = World::shop().await;
    let mut serving = world.serve(&[]);
    assert!(serving.terminate().0.success());
    // What a clone looks like: the stamp is of another server.
    world
        .database()
        .execute("UPDATE queue_guard SET system = '1'")
        .await;
    send(&world, "guest@example.com");
    let serving = world.serve(&[]);
    serving.get("/readyz", "").await.problem(503, "queue.fenced");
    assert!(world.run(&["queue", "stats"]).ok().out.contains("FENCED"));
    let doctor = world.run(&["doctor"]).exit(1);
    assert!(doctor.out.contains("queue unfence"), "{}", doctor.out);
    assert_eq!(world.count("SELECT count(*) FROM sandbox_messages").await, 0);
    assert_eq!(
        world.run(&["queue", "unfence", "--json"]).ok().json(),
        json!({"fenced": null})
    );
    until(&world, "SELECT count(*) FROM sandbox_messages", 1).await;
    serving.until("/readyz", "", |answer| answer.status == 200).await;
}

#[tokio::test]
async fn a_message_of_unknown_outcome_is_listed_and_settled_by_a_person() {
    let world = World::shop().await;
    send(&world, "timeout-after-accept@example.com");
    let mut serving = world.serve(&[]);
    until(&world, "SELECT count(*) FROM unknown_deliveries", 1).await;
    assert!(serving.terminate().0.success());

    let list = world.run(&["queue", "unknown", "--json"]).ok();
    assert!(!list.out.contains('@'), "no addresses in lists: {}", list.out);
    let listed = list.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&listed[0]["channel"], &listed[0]["held"]),
        (&json!("email"), &json!(false))
    );
    let message = listed[0]["message_id"].as_str().unwrap();
    let text = world.run(&["queue", "unknown"]).ok().out;
    assert!(
        text.contains(message) && text.contains("asked about again"),
        "{text}"
    );

    let wrong = world.run(&["queue", "decide", message, "perhaps"]);
    assert!(wrong.err.contains("arrived"), "{}", wrong.err);
    let done = world.run(&["queue", "decide", message, "arrived"]).ok().out;
    assert!(done.contains("counts as sent"), "{done}");
    assert!(
        world
            .run(&["queue", "unknown"])
            .ok()
            .out
            .contains("no unknown outcomes")
    );
    let again = world.run(&["queue", "decide", message, "resend"]);
    assert!(again.err.contains("not unknown"), "{}", again.err);
    assert!(world.run(&["explain", message]).ok().out.contains("sent"));
}
