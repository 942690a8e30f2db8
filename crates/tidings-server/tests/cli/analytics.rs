//! `tidings analytics`: what became of deliveries, and what is asked for wrongly.

use crate::world::{World, until};

#[tokio::test]
async fn what_became_of_deliveries_is_told_by_day_and_as_a_table() {
    let world = World::shop().await;
    assert!(world.run(&["analytics"]).ok().out.contains("no deliveries"));
    let mut serving = world.serve(&[]);
    let key = world.key(&[]);
    let message = serde_json::json!({
        "to": {"contact": {"email": "guest@example.com"}}, "urgency": "critical",
        "content": {"subject": "Hello", "body": "Your car is ready."}, "category": "transactional",
    });
    serving.post("/v1/messages", &key, &message).await.expect(201);
    until(&world, "SELECT count(*) FROM messages WHERE status = 'sent'", 1).await;
    // It counts by itself now and then; here nobody does meanwhile.
    serving.terminate();
    // What was looked at within the last minute is not looked at again.
    world
        .database()
        .execute("UPDATE delivery_day_progress SET marked_to = marked_to - interval '1 hour'")
        .await;
    let told = world.run(&["analytics", "--by", "day", "--json"]).ok().json();
    let line = &told["items"][0];
    assert_eq!(
        (&line["deliveries"], &line["accepted"], &told["due_days"]),
        (&1.into(), &1.into(), &0.into()),
        "{told}"
    );
    let csv = world.run(&["analytics", "--by", "connection", "--csv"]).ok();
    assert!(
        csv.out.starts_with("connection,name,deliveries,accepted,"),
        "{}",
        csv.out
    );
    assert!(csv.out.contains(",mail,1,1,"), "{}", csv.out);
    let table = world.run(&["analytics"]).ok();
    assert!(
        table.out.contains("sandbox") && !table.out.contains("example.com"),
        "{}",
        table.out
    );
}

#[tokio::test]
async fn wrong_questions_are_refused() {
    let world = World::shop().await;
    world
        .run(&["analytics", "--by", "weather"])
        .exit(3)
        .says(&["provider, connection, channel, type, day"]);
    world
        .run(&["analytics", "--from", "2026-02-01", "--to", "2026-01-01"])
        .exit(3)
        .says(&["--to", "before from"]);
    world
        .run(&["analytics", "--from", "2020-01-01", "--to", "2026-01-01"])
        .exit(3)
        .says(&["366 days"]);
    world
        .run(&["analytics", "--from", "yesterday"])
        .exit(2)
        .says(&["yesterday"]);
}
