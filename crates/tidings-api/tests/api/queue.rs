//! Queue figures, dead letters, unknown outcomes, and the paths of earlier systems.

use crate::support::TestApi;
use serde_json::json;

/// Makes a dead letter: a connection that refuses for good. The job's id.
pub async fn make_dead_letter(api: &TestApi, key: &str) -> i64 {
    let body =
        json!({"external_id": "dead", "addresses": [{"channel": "email", "value": "dead@example.com"}]});
    api.post(key, "/v1/contacts", body).await.expect(201);
    let connections = api.get(key, "/v1/connections").await.expect(200);
    for connection in connections["items"].as_array().unwrap() {
        let path = format!("/v1/connections/{}", connection["id"].as_str().unwrap());
        api.patch(key, &path, json!({"settings": {"fault": "invalid_input"}}))
            .await
            .expect(200);
    }
    let request = json!({"to": {"external_id": "dead"}, "content": {"subject": "x", "body": "Hello"}, "channel": "email",
        "category": "transactional", "urgency": "critical"});
    api.post(key, "/v1/messages", request).await.expect(201);
    api.engine.run_due().await.unwrap();
    let letters = api.get(key, "/v1/queue/dead-letters").await.expect(200);
    letters["items"][0]["job_id"]
        .as_i64()
        .unwrap_or_else(|| panic!("no dead letter: {letters}"))
}

#[tokio::test]
async fn dead_letters_are_listed_edited_replayed_and_purged() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    api.ready(key).await;
    let job = make_dead_letter(&api, key).await;
    let path = format!("/v1/queue/dead-letters/{job}");
    let letter = api.get(key, &path).await.expect(200);
    assert_eq!(letter["letter"]["job_type"], "send_email", "{letter}");
    let groups = api.get(key, "/v1/queue/dead-letters/groups").await.expect(200);
    assert_eq!(
        (&groups["items"][0]["count"], &groups["items"][0]["cause"]),
        (&json!(1), &letter["letter"]["cause"])
    );
    let stats = api.get(key, "/v1/queue/stats").await.expect(200);
    assert_eq!(stats["dead"], 1, "{stats}");
    assert_eq!(api.get(key, "/queue/stats").await.expect(200), stats);

    let edited = api
        .patch(key, &path, json!({"payload": letter["payload"]}))
        .await
        .expect(200);
    assert_eq!(edited["payload"], letter["payload"]);
    let replay = "/v1/queue/dead-letters/replay";
    api.post(key, replay, json!({})).await.wrong("", "field.choice");
    let dry = api
        .post(key, replay, json!({"all": true, "dry_run": true}))
        .await
        .expect(200);
    assert_eq!(
        (&dry["matched"], &dry["done"], &dry["predicted_duplicates"]),
        (&json!(1), &json!(0), &json!([])),
        "{dry}"
    );
    let done = api.post(key, replay, json!({"job_ids": [job]})).await.expect(200);
    assert_eq!(done["done"], 1);
    api.get(key, &path).await.problem(404, "not_found");
    api.engine.run_due().await.unwrap();
    let again = api.get(key, "/v1/queue/dead-letters").await.expect(200);
    assert_eq!(again["items"][0]["job_id"], job, "{again}");
    let purged = api
        .post(
            key,
            "/v1/queue/dead-letters/purge",
            json!({"category": again["items"][0]["category"]}),
        )
        .await
        .expect(200);
    assert_eq!(purged["done"], 1);
    assert_eq!(
        api.get(key, "/v1/queue/dead-letters").await.expect(200)["items"],
        json!([])
    );
}

#[tokio::test]
async fn the_earlier_replay_path_works_without_a_body() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    api.ready(key).await;
    make_dead_letter(&api, key).await;
    assert_eq!(api.act(key, "/admin/dlq/replay").await.expect(200)["done"], 1);
    assert_eq!(
        api.post(key, "/admin/dlq/replay", json!({"limit": 5}))
            .await
            .expect(200)["matched"],
        0
    );
    api.post(key, "/admin/dlq/replay", json!({"limit": 0}))
        .await
        .wrong("/limit", "value.invalid");
}

#[tokio::test]
async fn an_unknown_outcome_is_listed_and_decided() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    api.ready(key).await;
    let connections = api.get(key, "/v1/connections").await.expect(200);
    for connection in connections["items"].as_array().unwrap() {
        let path = format!("/v1/connections/{}", connection["id"].as_str().unwrap());
        api.patch(key, &path, json!({"settings": {"fault": "timeout_after_accept"}}))
            .await
            .expect(200);
    }
    let request = json!({"to": {"external_id": "C-1017"}, "content": {"subject": "x", "body": "Hello"}, "category": "service", "urgency": "critical"});
    let accepted = api.post(key, "/v1/messages", request).await.expect(201);
    let message = accepted["message_id"].as_str().unwrap();
    api.engine.run_due().await.unwrap();
    let unknown = api.get(key, "/v1/queue/unknown").await.expect(200);
    assert_eq!(unknown["items"][0]["message_id"], message, "{unknown}");
    let letters = api.get(key, "/v1/queue/dead-letters").await.expect(200);
    assert!(
        letters["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|letter| letter["cause"] == "unknown_outcome"),
        "{letters}"
    );
    let path = format!("/v1/queue/unknown/{message}/decide");
    api.post(key, &path, json!({"decision": "perhaps"}))
        .await
        .wrong("/decision", "value.invalid");
    api.post(key, &path, json!({"decision": "arrived"}))
        .await
        .expect(204);
    assert_eq!(
        api.get(key, &format!("/v1/messages/{message}")).await.expect(200)["status"],
        "sent"
    );
    api.post(key, &path, json!({"decision": "drop"}))
        .await
        .problem(409, "conflict");
    assert_eq!(
        api.get(key, "/v1/queue/unknown").await.expect(200)["items"],
        json!([])
    );
}

#[tokio::test]
async fn preferences_by_the_earlier_path() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    let contact = api.ready(key).await;
    let body = json!({"client_id": "C-1017", "timezone": "America/Denver", "quiet_hours_start": "21:30", "quiet_hours_end": "07:00", "opt_out_sms": true});
    let now_is = api.post(key, "/api/crm/preferences", body).await.expect(200);
    assert_eq!(
        (&now_is["opted_out"], &now_is["quiet_hours"][0]["start"]),
        (&json!(["sms"]), &json!("21:30:00"))
    );
    assert_eq!(
        api.get(key, &format!("/v1/contacts/{contact}")).await.expect(200)["zone"],
        "America/Denver"
    );
    let back = api
        .post(
            key,
            "/api/crm/preferences",
            json!({"client_id": "C-1017", "opt_out_sms": false}),
        )
        .await
        .expect(200);
    assert_eq!(back["opted_out"], json!([]));
    api.post(key, "/api/crm/preferences", json!({"client_id": "nobody"}))
        .await
        .problem(404, "not_found");
    api.post(
        key,
        "/api/crm/preferences",
        json!({"client_id": "C-1017", "timezone": "Mars"}),
    )
    .await
    .wrong("/zone", "zone.unknown");
}

#[tokio::test]
async fn an_inbound_message_makes_its_contact_and_obeys_stop() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    let body = json!({"channel": "sms", "from": "(415) 555-2671", "text": "Hello there", "name": "Ann", "external_message_id": "in-1"});
    let taken = api.post(key, "/inbound-message", body.clone()).await.expect(201);
    assert_eq!(
        (&taken["contact_created"], &taken["keyword"]),
        (&json!(true), &json!("none"))
    );
    let again = api.post(key, "/inbound-message", body).await.expect(201);
    assert_eq!(
        (&again["contact_created"], &again["contact_id"]),
        (&json!(false), &taken["contact_id"])
    );
    api.post(
        key,
        "/inbound-message",
        json!({"channel": "sms", "from": "+14155552671", "text": "STOP"}),
    )
    .await
    .expect(201);
    let contact = api
        .get(
            key,
            &format!("/v1/contacts/{}", taken["contact_id"].as_str().unwrap()),
        )
        .await
        .expect(200);
    assert_eq!(contact["preferences"]["stopped"], json!(["sms"]));
    api.post(
        key,
        "/inbound-message",
        json!({"channel": "sms", "from": "12", "text": "x"}),
    )
    .await
    .wrong("/from", "address.invalid");
}
