//! `send` and `explain`: one message, and a file of them with wrong lines in between.

use crate::world::{World, until};
use serde_json::{Value, json};

const CONTEXT: &str = r#"{"client_name": "Kim", "event_type": "wedding"}"#;

#[tokio::test]
async fn one_message_is_accepted_sent_by_a_serving_process_and_explained() {
    let world = World::shop().await;
    let send = |more: &[&str]| {
        let one = [
            "send",
            "--type",
            "welcome",
            "--to",
            "guest@example.com",
            "--context",
            CONTEXT,
            "--urgency",
            "critical",
        ];
        world.run(&[&one[..], more].concat())
    };
    let text = send(&[]).ok();
    assert!(text.out.contains("queued"), "{}", text.out);
    let accepted = send(&["--source-reference", "order-1", "--json"]).ok().json();
    assert_eq!(accepted["duplicate"], false);
    let again = send(&["--source-reference", "order-1", "--json"]).ok().json();
    assert_eq!(
        (&again["duplicate"], &again["message_id"]),
        (&json!(true), &accepted["message_id"])
    );
    let by_contact = world.run(&[
        "send",
        "--type",
        "welcome",
        "--contact",
        "4711",
        "--context",
        CONTEXT,
        "--channel",
        "sms",
        "--urgency",
        "critical",
    ]);
    by_contact.ok();

    let _serving = world.serve(&[]);
    until(&world, "SELECT count(*) FROM messages WHERE status = 'sent'", 3).await;
    let id = accepted["message_id"].as_str().unwrap();
    let text = world.run(&["explain", "--tenant", "shop", id]).ok().out;
    for part in [
        "welcome",
        "sent",
        "duplicate",
        "consent",
        "timing",
        "delivery by email",
        "attempt 1",
        "accepted",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let told = world.run(&["explain", id, "--json"]).ok().json();
    assert_eq!(
        (&told["status"], &told["message_id"]),
        (&json!("sent"), &json!(id))
    );
    assert_eq!(
        told["decisions"][0]["reasons"]
            .as_array()
            .map(|reasons| reasons.len() >= 12),
        Some(true),
        "{told}"
    );
}

#[tokio::test]
async fn a_wrong_message_is_refused_with_what_is_wrong() {
    let world = World::shop().await;
    let send = |args: &[&str]| world.run(&[&["send"], args].concat());
    let to = ["--to", "kim@example.com"];
    send(&[&to[..], &["--type", "nothing_of_ours"]].concat())
        .exit(3)
        .says(&["nothing_of_ours", "publish"]);
    send(&[&to[..], &["--type", "welcome"]].concat())
        .exit(3)
        .says(&["client_name", "event_type"]);
    send(&["--type", "welcome", "--to", "kim@@example", "--context", CONTEXT])
        .exit(3)
        .says(&["to.contact.email"]);
    send(&["--type", "welcome", "--to", "12", "--context", CONTEXT])
        .exit(3)
        .says(&["to.contact.phone"]);
    send(&["--type", "welcome", "--contact", "nobody", "--context", CONTEXT])
        .exit(3)
        .says(&["nobody"]);
    send(
        &[
            &to[..],
            &["--type", "welcome", "--context", "{", "--urgency", "low"],
        ]
        .concat(),
    )
    .exit(2)
    .says(&["--context"]);
    send(&[&to[..], &["--type", "welcome", "--urgency", "soon"]].concat())
        .exit(3)
        .says(&["soon", "critical"]);
    send(&["--type", "welcome"]).exit(2).says(&["--to"]);
    send(&[&to[..], &["--contact", "4711"]].concat()).exit(2);
    world
        .run(&["explain", "0197b7b0-0000-7000-8000-000000000000"])
        .exit(3)
        .says(&["0197b7b0-0000-7000-8000-000000000000"]);
    assert_eq!(world.count("SELECT count(*) FROM messages").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM communication_jobs").await, 0);
    assert_eq!(
        world.count("SELECT count(*) FROM contacts").await,
        1,
        "a refused request makes no contact"
    );
}

#[tokio::test]
async fn a_file_is_sent_but_for_its_wrong_lines_and_may_be_sent_again() {
    let world = World::shop().await;
    let line = |number: u32| {
        json!({"to": {"contact": {"email": format!("guest{number}@example.com")}}, "message_type": "welcome",
               "context": {"client_name": "G", "event_type": "party"}, "source_reference": format!("row-{number}")})
        .to_string()
    };
    let lines = [
        line(1),
        "{\"to\": ".to_owned(),
        String::new(),
        line(2).replace("welcome", "no_such"),
        line(3),
        line(4).replace("context", "contxt"),
    ];
    let file = world.write("requests.ndjson", &lines.join("\n"));
    let send = |more: &[&str]| world.run(&[&["send", "--file", file.to_str().unwrap()], more].concat());

    let first = send(&["--json"])
        .exit(3)
        .says(&["3 lines were refused", "EOF", "no_such", "contxt"]);
    assert_eq!(
        first.json(),
        json!({"accepted": 2, "duplicates": 0, "refused": 3})
    );
    let refused: Vec<u64> = first
        .err
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["line"].as_u64())
        .collect();
    assert_eq!(refused.len(), 3);
    assert!(
        [2, 4, 6].iter().all(|number| refused.contains(number)),
        "{refused:?}"
    );
    assert_eq!(world.count("SELECT count(*) FROM messages").await, 2);

    let second = send(&[]).exit(3).says(&["line 2", "line 4", "line 6"]);
    assert!(
        second.out.contains("0 accepted, 2 sent before, 3 refused"),
        "{}",
        second.out
    );
    let from_input = world
        .run_with(
            &[],
            &["send", "--file", "-"],
            &format!("{}\n{}\n", line(3), line(5)),
        )
        .ok();
    assert!(
        from_input.out.contains("1 accepted, 1 sent before, 0 refused"),
        "{}",
        from_input.out
    );
    world
        .run(&["send", "--file", "nowhere.ndjson"])
        .exit(1)
        .says(&["nowhere.ndjson"]);
}
