//! Bad input over HTTP to the real process: what, where and what to do, and nothing half-written.

use crate::world::{Answer, SHOP, Serving, World, answer};
use serde_json::{Value, json};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn message() -> Value {
    json!({"to": {"contact": {"email": "new@example.com"}}, "message_type": "welcome", "urgency": "critical",
           "context": {"client_name": "Kim", "event_type": "wedding"}})
}

/// The message with one thing changed.
fn with(pointer: &str, value: Value) -> Value {
    let mut message = message();
    *message.pointer_mut(pointer).unwrap() = value;
    message
}

#[track_caller]
fn errors(answer: &Answer, status: u16, parts: &[&str]) {
    let json = answer.expect(status);
    let text = json.to_string();
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert!(
        parts.iter().all(|part| text.contains(part)),
        "not all of {parts:?} in {text}"
    );
}

#[tokio::test]
async fn wrong_requests_say_what_and_where_and_write_nothing() {
    let world = World::shop().await;
    let key = world.key(&[]);
    let serving = world.serve(&[]);
    let post = |body: Value| {
        let (serving, key) = (&serving, &key);
        async move { serving.post("/v1/messages", key, &body).await }
    };
    errors(
        &post(with("/message_type", json!("no_such"))).await,
        422,
        &["no_such", "publish"],
    );
    let missing = json!({"to": {"external_id": "4711"}, "message_type": "welcome"});
    errors(&post(missing).await, 422, &["client_name", "event_type"]);
    errors(
        &post(with(
            "/to/contact",
            json!({"email": "a@example.com", "zone": "Mars/Olympus"}),
        ))
        .await,
        422,
        &["/to/contact/zone", "IANA"],
    );
    errors(
        &post(with("/to/contact/email", json!("kim@@example"))).await,
        422,
        &["/to/contact/email"],
    );
    errors(
        &post(with("/to/contact", json!({"phone": "12"}))).await,
        422,
        &["/to/contact/phone"],
    );
    errors(
        &post(with("/to", json!({"external_id": "stranger"}))).await,
        404,
        &["no contact"],
    );
    errors(
        &post(with("/urgency", json!("soon"))).await,
        422,
        &["/urgency", "critical"],
    );
    assert_eq!(
        world.count("SELECT count(*) FROM contacts").await,
        1,
        "no contact of a refused request"
    );
    let mut unknown = message();
    unknown["colour"] = json!("red");
    errors(&post(unknown).await, 422, &["/colour", "field.unknown"]);
    let call = |body: String| {
        let (serving, key) = (&serving, &key);
        async move { serving.call("POST", "/v1/messages", key, Some(body)).await }
    };
    errors(
        &call("{\n \"to\": }".to_owned()).await,
        400,
        &["line 2", "column"],
    );
    let huge = format!("{{\"context\": \"{}\"}}", "x".repeat(33 << 20));
    errors(&call(huge).await, 413, &["body.too_large"]);
    for table in [
        "messages",
        "communication_jobs",
        "deliveries",
        "decisions",
        "idempotency_keys",
    ] {
        assert_eq!(
            world.count(&format!("SELECT count(*) FROM {table}")).await,
            0,
            "{table}"
        );
    }
    assert!(
        !serving.log().contains("kim@@"),
        "a refused address is not logged"
    );
}

#[tokio::test]
async fn foreign_and_unknown_ids_answer_the_same() {
    let world = World::new().await;
    world.apply(&format!(
        "{SHOP}\n{}",
        SHOP.replace("slug = \"shop\"", "slug = \"other\"")
    ));
    let other = world
        .run(&["key", "create", "--tenant", "other", "--json"])
        .ok()
        .json()["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    let key = world.key(&[]);
    let serving = world.serve(&[]);
    let made = serving.post("/v1/messages", &other, &message()).await.expect(201);
    let message_id = made["message_id"].as_str().unwrap();
    let contact_id = made["contact_id"].as_str().unwrap();
    let random = "0197b7b0-0000-7000-8000-000000000000";
    for (path, id) in [
        ("/v1/messages/ID", message_id),
        ("/v1/messages/ID/timeline", message_id),
        ("/v1/messages/ID/explain", message_id),
        ("/v1/contacts/ID", contact_id),
    ] {
        assert_eq!(
            serving.get(&path.replace("ID", id), &other).await.status,
            200,
            "{path}"
        );
        let foreign = serving.get(&path.replace("ID", id), &key).await;
        let unknown = serving.get(&path.replace("ID", random), &key).await;
        foreign.problem(404, "not_found");
        assert_eq!(foreign.body.replace(id, random), unknown.body, "{path}");
    }
    let to = |id: &str| json!({"to": {"contact_id": id}, "content": {"body": "x"}});
    let foreign = serving.post("/v1/messages", &key, &to(contact_id)).await;
    let unknown = serving.post("/v1/messages", &key, &to(random)).await;
    assert_eq!(foreign.body.replace(contact_id, random), unknown.body);
    foreign.problem(404, "not_found");
}

#[tokio::test]
async fn keys_that_are_missing_wrong_revoked_or_too_small() {
    let world = World::shop().await;
    let made = world.run(&["key", "create", "--json"]).ok().json();
    let revoked = made["secret"].as_str().unwrap();
    world.run(&["key", "revoke", made["id"].as_str().unwrap()]).ok();
    let reader = world.key(&["messages:read"]);
    let serving = world.serve(&[]);
    let tampered = format!("{}x", &reader[..reader.len() - 1]);
    let mut bodies = Vec::new();
    for key in ["", "nonsense", revoked, tampered.as_str()] {
        let answer = serving.post("/v1/messages", key, &message()).await;
        answer.problem(401, "auth.required");
        assert!(answer.headers.contains_key("www-authenticate"));
        bodies.push(answer.body);
    }
    assert!(
        bodies.windows(2).all(|pair| pair[0] == pair[1]),
        "one answer for all: {bodies:?}"
    );
    let refused = serving
        .post("/v1/messages", &reader, &message())
        .await
        .problem(403, "auth.scope");
    assert!(
        refused["detail"].as_str().unwrap().contains("messages:write"),
        "{refused}"
    );
    assert_eq!(serving.get("/v1/messages", &reader).await.status, 200);
    assert_eq!(world.count("SELECT count(*) FROM messages").await, 0);
}

/// Standard Webhooks: HMAC-SHA256 of `id.timestamp.body`.
fn signature(id: &str, timestamp: i64, body: &str) -> String {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let secret = base64.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
    let tag = aws_lc_rs::hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", base64.encode(tag))
}

async fn webhook(serving: &Serving, path: &str, timestamp: i64, signature: &str, body: &str) -> Answer {
    let request = serving.client.post(format!("http://{}{path}", serving.address()));
    let signed = request
        .header("webhook-id", "msg_1")
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", signature);
    answer(signed.body(body.to_owned())).await
}

#[tokio::test]
async fn webhooks_unsigned_forged_stale_and_replayed() {
    let world = World::shop().await;
    let key = world.key(&[]);
    let serving = world.serve(&[]);
    let sent = serving.post("/v1/messages", &key, &message()).await.expect(201);
    let path = format!("/v1/messages/{}", sent["message_id"].as_str().unwrap());
    serving
        .until(&path, &key, |answer| answer.expect(200)["status"] == "sent")
        .await;
    let reference = world
        .texts("SELECT reference FROM sandbox_messages")
        .await
        .remove(0);
    let provider_id = world
        .texts("SELECT provider_message_id FROM sandbox_messages")
        .await
        .remove(0);
    let connection = world
        .texts("SELECT id::text FROM connections WHERE name = 'mail'")
        .await
        .remove(0);
    let hook = format!("/webhooks/sandbox/{connection}");
    let body = json!({"events": [{"dedupe_key": "e1", "kind": "delivered", "occurred_at": null, "provider_message_id": provider_id,
        "reference": reference, "recipient": null, "bounce_class": null, "error": null, "suppress": null, "detail": null}]})
    .to_string();
    let now: i64 = world
        .count("SELECT extract(epoch FROM clock_timestamp())::bigint")
        .await;

    let unsigned = answer(
        serving
            .client
            .post(format!("http://{}{hook}", serving.address()))
            .body(body.clone()),
    )
    .await;
    unsigned.problem(401, "webhook.unsigned");
    webhook(&serving, &hook, now, "v1,AAAA", &body)
        .await
        .problem(403, "webhook.signature");
    let good = signature("msg_1", now, &body);
    let altered = body.replace("delivered", "opened");
    webhook(&serving, &hook, now, &good, &altered)
        .await
        .problem(403, "webhook.signature");
    let old = now - 3600;
    webhook(&serving, &hook, old, &signature("msg_1", old, &body), &body)
        .await
        .problem(403, "webhook.stale");
    let nobody = "/webhooks/sandbox/0197b7b0-0000-7000-8000-000000000000";
    webhook(&serving, nobody, now, &good, &body)
        .await
        .problem(404, "webhook.unknown");
    assert_eq!(
        world.count("SELECT count(*) FROM delivery_events").await,
        0,
        "nothing of a refused webhook is kept"
    );
    for _ in 0..3 {
        let taken = webhook(&serving, &hook, now, &good, &body).await;
        assert!(taken.status < 300, "{}", taken.body);
    }
    serving
        .until(&path, &key, |answer| answer.expect(200)["status"] == "delivered")
        .await;
    let waiting = "SELECT count(*) FROM communication_jobs WHERE status IN ('pending', 'processing')";
    crate::world::until(&world, waiting, 0).await;
    assert_eq!(
        world
            .count("SELECT count(*) FROM delivery_events WHERE kind = 'delivered'")
            .await,
        1,
        "a replay changes nothing"
    );
}

#[tokio::test]
async fn a_database_that_goes_away_and_comes_back() {
    let world = World::shop().await;
    let key = world.key(&[]);
    let serving = world.serve(&[]);
    serving.until("/readyz", "", |answer| answer.status == 200).await;
    let database = world.database();
    let name = database.name();
    let server = tidings_testkit::database().await;
    server
        .execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        .await;
    server
        .execute(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ))
        .await;

    let ready = serving.until("/readyz", "", |answer| answer.status == 503).await;
    ready.problem(503, "database.unreachable");
    assert!(ready.headers.contains_key("retry-after"));
    let refused = serving.post("/v1/messages", &key, &message()).await;
    refused.problem(503, "database.unreachable");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(serving.get("/healthz", "").await.status, 200, "the process lives");
    world.run(&["queue", "stats"]).exit(1).says(&["DATABASE_URL"]);

    server
        .execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
        .await;
    serving.until("/readyz", "", |answer| answer.status == 200).await;
    let sent = serving.post("/v1/messages", &key, &message()).await.expect(201);
    let path = format!("/v1/messages/{}", sent["message_id"].as_str().unwrap());
    serving
        .until(&path, &key, |answer| answer.expect(200)["status"] == "sent")
        .await;
}
