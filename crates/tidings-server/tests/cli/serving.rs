//! `serve`: health, the way of a message over HTTP, draining, being killed, a port that is taken.

use crate::world::{SHOP, Serving, World, until};
use serde_json::{Value, json};
use std::time::Duration;

fn message(to: &str) -> Value {
    json!({"to": {"contact": {"email": to}}, "message_type": "welcome", "urgency": "critical",
           "context": {"client_name": "Kim", "event_type": "wedding"}})
}

async fn submit(serving: &Serving, key: &str, count: usize, to: &str) {
    let messages: Vec<Value> = (0..count)
        .map(|number| message(&to.replace('#', &number.to_string())))
        .collect();
    let answer = serving
        .post("/v1/messages/batch", key, &json!({ "messages": messages }))
        .await;
    assert_eq!(answer.expect(207)["accepted"], count);
}

#[tokio::test]
async fn health_figures_and_the_way_of_a_message() {
    let world = World::shop().await;
    let key = world.key(&[]);
    let serving = world.serve(&[]);
    assert_eq!(serving.get("/healthz", "").await.expect(200)["status"], "ok");
    serving.until("/readyz", "", |answer| answer.status == 200).await;
    let accepted = serving
        .post("/v1/messages", &key, &message("guest@example.com"))
        .await
        .expect(201);
    let path = format!("/v1/messages/{}", accepted["message_id"].as_str().unwrap());
    serving
        .until(&path, &key, |answer| answer.expect(200)["status"] == "sent")
        .await;
    serving
        .post("/v1/messages", &key, &message("rejected@example.com"))
        .await
        .expect(201);
    until(&world, "SELECT count(*) FROM dead_letters", 1).await;

    let timeline = serving.get(&format!("{path}/timeline"), &key).await.expect(200);
    assert!(timeline["entries"].as_array().unwrap().len() >= 2, "{timeline}");
    let told = serving.get(&format!("{path}/explain"), &key).await.expect(200);
    assert_eq!(told["status"], "sent");
    let captured = serving.get("/v1/sandbox/messages", &key).await.expect(200);
    assert_eq!(captured["items"].as_array().unwrap().len(), 1);
    assert_eq!(captured["items"][0]["to"], "guest@example.com");
    let figures = serving.get("/metrics", "").await;
    for name in [
        "crm_communications_total",
        "tidings_time_to_send_seconds_bucket",
        "crm_api_errors_total",
        "tidings_http_requests_total",
    ] {
        assert!(figures.body.contains(name), "no {name} in {}", figures.body);
    }
    assert!(!figures.body.contains("example.com"), "no addresses in figures");
    for page in ["/", "/docs", "/sandbox", "/openapi.json"] {
        assert_eq!(serving.get(page, "").await.status, 200, "{page}");
    }
    let log = serving.log();
    assert!(
        !log.contains("guest@example.com") && !log.contains(&key),
        "personal data or a key in the log: {log}"
    );
    assert!(
        log.lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok()),
        "every line is JSON: {log}"
    );
}

#[tokio::test]
async fn links_lead_to_the_address_that_is_served() {
    let world = World::shop().await;
    let key = world.key(&[]);
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    // The usual port is not this one's: what `--listen` says must win.
    let mut command = world.command(
        &[("POLL_INTERVAL_MS", "100")],
        &["serve", "--listen", &port.to_string()],
    );
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let marketing = json!({"to": {"external_id": "4711"}, "category": "marketing", "urgency": "critical", "channel": "email",
                           "content": {"subject": "Sale", "body": "All bikes."}});
    world
        .database()
        .execute("UPDATE tenants SET policy = policy || '{\"consent_required\": []}'")
        .await;
    let request = marketing.to_string();
    let file = world.write("one.ndjson", &request);
    world
        .run_with(
            &[("TIDINGS_LISTEN", &port.to_string())],
            &["send", "--file", file.to_str().unwrap()],
            "",
        )
        .ok();
    until(&world, "SELECT count(*) FROM sandbox_messages", 1).await;
    #[expect(clippy::disallowed_methods, reason = "calls go to the process under test")]
    let client = reqwest::Client::new();
    let get =
        |path: String| crate::world::answer(client.get(format!("http://{port}{path}")).bearer_auth(&key));
    let list = get("/v1/sandbox/messages".to_owned()).await.expect(200);
    let one = get(format!(
        "/v1/sandbox/messages/{}",
        list["items"][0]["id"].as_str().unwrap()
    ))
    .await
    .expect(200);
    let link = one["unsubscribe_url"]
        .as_str()
        .unwrap_or_else(|| panic!("{one}"))
        .to_owned();
    assert!(link.starts_with(&format!("http://{port}/u/")), "{link}");
    assert_eq!(crate::world::answer(client.get(&link)).await.status, 200);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn sigterm_finishes_what_was_begun_and_leaves_the_rest() {
    let world = World::shop().await;
    let key = world.key(&[]);
    let environment = [("MAX_CONCURRENT_JOBS", "4"), ("TIDINGS_DRAIN_SECONDS", "10")];
    let mut serving = world.serve(&environment);
    submit(&serving, &key, 60, "slow+#@example.com").await;
    until(&world, "SELECT least(count(*), 4) FROM sandbox_messages", 4).await;
    let (status, took) = serving.terminate();
    assert!(status.success(), "{status}: {}", serving.log());
    assert!(took < Duration::from_secs(16), "draining took {took:?}");
    assert_eq!(
        world
            .count("SELECT count(*) FROM deliveries WHERE state IN ('dispatching', 'unknown')")
            .await,
        0,
        "{}",
        serving.log()
    );
    assert_eq!(
        world.count("SELECT count(*) FROM job_leases").await,
        0,
        "nothing stays held"
    );
    let sent = world
        .count("SELECT count(*) FROM messages WHERE status = 'sent'")
        .await;
    assert!(sent < 60, "there was something left to leave");
    assert_eq!(world.count("SELECT count(*) FROM sandbox_messages").await, sent);

    world.apply(&SHOP.replace("slow_ms = 1500", "slow_ms = 1"));
    let _serving = world.serve(&[]);
    until(&world, "SELECT count(*) FROM messages WHERE status = 'sent'", 60).await;
    assert_eq!(
        world
            .count("SELECT count(*) FROM sandbox_messages WHERE NOT duplicate")
            .await,
        60
    );
    assert_eq!(
        world
            .count("SELECT count(*) FROM sandbox_messages WHERE duplicate")
            .await,
        0
    );
}

#[tokio::test]
async fn killed_in_the_middle_everything_is_sent_exactly_once() {
    let world = World::new().await;
    world.apply(&SHOP.replace("slow_ms = 1500", "slow_ms = 100"));
    let key = world.key(&[]);
    let environment = [("MAX_CONCURRENT_JOBS", "8"), ("TIDINGS_LEASE_SECONDS", "2")];
    let mut serving = world.serve(&environment);
    submit(&serving, &key, 120, "slow+#@example.com").await;
    for captured in [10, 40] {
        until(
            &world,
            &format!("SELECT least(count(*), {captured}) FROM sandbox_messages"),
            captured,
        )
        .await;
        serving.kill();
        serving = world.serve(&environment);
    }
    until(&world, "SELECT count(*) FROM messages WHERE status = 'sent'", 120).await;
    assert_eq!(
        world
            .count("SELECT count(DISTINCT message_id) FROM sandbox_messages")
            .await,
        120
    );
    assert_eq!(
        world.count("SELECT count(*) FROM sandbox_messages").await,
        120,
        "none twice"
    );
    assert_eq!(
        world
            .count("SELECT count(*) FROM communication_jobs WHERE status IN ('pending', 'processing')")
            .await,
        0
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_so() {
    let world = World::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    world
        .run(&["serve", "--listen", &address])
        .exit(1)
        .says(&[&address, "TIDINGS_LISTEN"]);
    world
        .run_with(&[("TIDINGS_LISTEN", &address)], &["serve"], "")
        .exit(1)
        .says(&[&address]);
}
