//! Messages: accepted, decided, repeated, listed, cancelled, told.

use crate::support::{Reply, TestApi, request};
use axum::http::{HeaderValue, Method};
use serde_json::{Value, json};

fn welcome(reference: &str) -> Value {
    json!({"to": {"external_id": "C-1017"}, "content": {"subject": "Hello", "body": "Good to have you."},
           "category": "transactional", "urgency": "high", "source_reference": reference})
}

async fn keyed(api: &TestApi, path: &str, key: &str, body: Value) -> Reply {
    let mut request = request(&api.ann.key, Method::POST, path, Some(body));
    request
        .headers_mut()
        .insert("idempotency-key", HeaderValue::from_str(key).unwrap());
    api.send(request).await
}

#[tokio::test]
async fn a_message_is_accepted_sent_and_told() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    let contact = api.ready(key).await;
    let accepted = api.post(key, "/v1/messages", welcome("a-1")).await.expect(201);
    assert_eq!(
        (&accepted["status"], &accepted["contact_id"]),
        (&json!("queued"), &json!(contact))
    );
    assert_eq!(accepted["verdict"]["verdict"], "send", "{accepted}");
    let path = format!("/v1/messages/{}", accepted["message_id"].as_str().unwrap());
    api.engine.run_due().await.unwrap();
    let sent = api.get(key, &path).await.expect(200);
    assert_eq!(sent["status"], "sent", "{sent}");
    let timeline = api.get(key, &format!("{path}/timeline")).await.expect(200);
    let kinds: Vec<&str> = timeline["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["kind"].as_str().unwrap())
        .collect();
    for kind in ["accepted", "decided", "attempt.intended", "attempt.accepted"] {
        assert!(kinds.contains(&kind), "no {kind} in {kinds:?}");
    }
    let why = api.get(key, &format!("{path}/explain")).await.expect(200);
    assert!(
        why["decisions"][0]["reasons"].as_array().unwrap().len() >= 12,
        "{why}"
    );
    assert!(
        !why.to_string().contains("ann@example.com"),
        "an explanation shows an address"
    );
    api.act(key, &format!("{path}/cancel"))
        .await
        .problem(409, "conflict");
}

#[tokio::test]
async fn the_same_key_gets_the_same_answer() {
    let api = TestApi::new().await;
    api.ready(&api.ann.key).await;
    let body =
        json!({"to": {"external_id": "C-1017"}, "content": {"body": "Hi"}, "category": "transactional"});
    let first = keyed(&api, "/v1/messages", "k-1", body.clone()).await;
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let first = first.expect(201);
    // Order of keys and blanks do not matter: it is the same request.
    let same =
        json!({"category": "transactional", "content": {"body": "Hi"}, "to": {"external_id": "C-1017"}});
    let again = keyed(&api, "/v1/messages", "k-1", same).await;
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let again = again.expect(200);
    assert_eq!(again["message_id"], first["message_id"]);
    let other =
        json!({"to": {"external_id": "C-1017"}, "content": {"body": "Other"}, "category": "transactional"});
    keyed(&api, "/v1/messages", "k-1", other)
        .await
        .wrong("#header/Idempotency-Key", "idempotency.key_reused");
    keyed(&api, "/v1/messages", "two words", body)
        .await
        .wrong("#header/Idempotency-Key", "value.invalid");
    assert_eq!(
        api.get(&api.ann.key, "/v1/messages").await.expect(200)["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn the_same_reference_is_the_same_message() {
    let api = TestApi::new().await;
    api.ready(&api.ann.key).await;
    let first = api
        .post(&api.ann.key, "/v1/messages", welcome("r-1"))
        .await
        .expect(201);
    let again = api
        .post(&api.ann.key, "/v1/messages", welcome("r-1"))
        .await
        .expect(200);
    assert_eq!(
        (&again["message_id"], &again["duplicate"]),
        (&first["message_id"], &json!(true))
    );
}

#[tokio::test]
async fn a_batch_answers_for_each_of_its_requests() {
    let api = TestApi::new().await;
    api.ready(&api.ann.key).await;
    let batch = json!({"messages": [
        welcome("b-1"), {"to": {"external_id": "nobody"}, "content": {"body": "Hi"}}, {"nonsense": 1}, 7, welcome("b-1")
    ]});
    let answer = api
        .post(&api.ann.key, "/v1/messages/batch", batch)
        .await
        .expect(207);
    let statuses: Vec<u64> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [201, 404, 422, 422, 200], "{answer}");
    assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(2), &json!(3)));
    assert_eq!(
        answer["results"][2]["problem"]["errors"][0]["code"],
        "field.unknown"
    );
    api.post(&api.ann.key, "/v1/messages/batch", json!({"messages": []}))
        .await
        .wrong("/messages", "value.length");
}

#[tokio::test]
async fn messages_are_filtered_and_paged() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    let contact = api.ready(key).await;
    for n in 0..5 {
        api.post(key, "/v1/messages", welcome(&format!("l-{n}")))
            .await
            .expect(201);
    }
    let first = api.get(key, "/v1/messages?limit=3").await.expect(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = api
        .get(key, &format!("/v1/messages?limit=3&cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(
        (
            first["items"].as_array().unwrap().len(),
            second["items"].as_array().unwrap().len()
        ),
        (3, 2)
    );
    assert!(second["next_cursor"].is_null());
    let count = |query: String| {
        let api = &api;
        async move {
            api.get(key, &format!("/v1/messages?{query}")).await.expect(200)["items"]
                .as_array()
                .unwrap()
                .len()
        }
    };
    assert_eq!(
        count(format!("contact={contact}&status=queued&channel=email")).await,
        5
    );
    assert_eq!(count("source_reference=l-3".to_owned()).await, 1);
    assert_eq!(count("status=sent".to_owned()).await, 0);
    assert_eq!(count("channel=sms".to_owned()).await, 0);
    assert_eq!(count("since=2100-01-01T00:00:00Z".to_owned()).await, 0);
}

#[tokio::test]
async fn a_message_is_cancelled_before_it_leaves() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    api.ready(key).await;
    let accepted = api.post(key, "/v1/messages", welcome("c-1")).await.expect(201);
    let path = format!("/v1/messages/{}", accepted["message_id"].as_str().unwrap());
    api.act(key, &format!("{path}/cancel")).await.expect(204);
    api.engine.run_due().await.unwrap();
    assert_eq!(api.get(key, &path).await.expect(200)["status"], "cancelled");
    assert_eq!(
        api.get(key, "/v1/sandbox/messages").await.expect(200)["items"],
        json!([])
    );
}

#[tokio::test]
async fn the_decision_can_be_asked_for_without_sending() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    api.ready(key).await;
    let mut body = welcome("p-1");
    body["category"] = json!("marketing");
    let told = api
        .post(key, "/v1/messages/preview-decision", body)
        .await
        .expect(200);
    assert_eq!(told["decision"]["verdict"]["verdict"], "suppress", "{told}");
    let reasons = told["decision"]["reasons"].as_array().unwrap();
    assert!(
        reasons
            .iter()
            .any(|reason| reason["rule"] == "consent" && reason["verdict"] == "refuse"),
        "{told}"
    );
    assert_eq!(api.get(key, "/v1/messages").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn a_message_waits_for_approval() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    api.ready(key).await;
    let path = format!("/v1/tenants/{}", api.ann.id);
    let mut policy = api.get(&api.operator, &path).await.expect(200)["policy"].clone();
    policy["approval_all"] = json!(true);
    api.patch(&api.operator, &path, json!({"policy": policy}))
        .await
        .expect(200);
    let mut messages = Vec::new();
    for reference in ["w-1", "w-2", "w-3"] {
        let request = json!({"to": {"external_id": "C-1017"}, "message_type": "welcome", "source_reference": reference,
            "urgency": "high", "context": {"client_name": "Ann", "event_type": "wedding"}});
        let accepted = api.post(key, "/v1/messages", request).await.expect(201);
        assert_eq!(
            (&accepted["status"], &accepted["verdict"]["verdict"]),
            (&json!("pending"), &json!("approve"))
        );
        messages.push(accepted["message_id"].as_str().unwrap().to_owned());
    }
    let waiting = api.get(key, "/v1/approvals").await.expect(200);
    let listed: Vec<_> = waiting["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["message_id"])
        .collect();
    messages.sort_unstable();
    assert_eq!(
        listed,
        [&json!(messages[0]), &json!(messages[1]), &json!(messages[2])]
    );
    let path = |message: usize, act: &str| format!("/v1/approvals/{}{act}", messages[message]);
    let shown = api.get(key, &path(0, "")).await.expect(200);
    let name = shown["context"]["client_name"].as_str().unwrap();
    assert!(
        shown["contents"][0]["text"].as_str().unwrap().contains(name),
        "{shown}"
    );

    // An edit that cannot be rendered changes nothing; one that can goes out.
    let hole = json!({"context": {"client_name": null}});
    api.post(key, &path(0, "/edit"), hole)
        .await
        .problem(409, "conflict");
    assert_eq!(api.get(key, &path(0, "")).await.expect(200), shown);
    let edit = json!({"context": {"client_name": "Annabel"}});
    assert_eq!(
        api.post(key, &path(0, "/edit"), edit).await.expect(200)["verdict"],
        "send"
    );

    assert_eq!(
        api.act(key, &path(1, "/approve")).await.expect(200)["verdict"],
        "send"
    );
    api.act(key, &path(1, "/approve")).await.problem(409, "conflict");
    api.act(key, &path(2, "/reject")).await.expect(204);
    let rejected = api
        .get(key, &format!("/v1/messages/{}", messages[2]))
        .await
        .expect(200);
    assert_eq!(rejected["status"], "cancelled");
    assert_eq!(
        api.get(key, "/v1/approvals").await.expect(200)["items"],
        json!([])
    );
}

#[tokio::test]
async fn wrong_requests_say_what_and_where_and_write_nothing() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    api.ready(key).await;
    let send = |body: Value| api.post(key, "/v1/messages", body);
    let to = json!({"external_id": "C-1017"});
    send(json!({"to": to, "message_type": "no_such_type"}))
        .await
        .wrong("/message_type", "template.unknown");
    send(json!({"to": to}))
        .await
        .wrong("/message_type", "field.required");
    let missing = send(json!({"to": to, "message_type": "welcome", "context": {}})).await;
    let names = missing.problem(422, "input.invalid");
    assert!(
        names["errors"]
            .as_array()
            .unwrap()
            .iter()
            .all(|error| error["code"] == "variable.missing"),
        "{names}"
    );
    assert!(names.to_string().contains("/context/client_name"), "{names}");
    send(json!({"to": {"external_id": "nobody"}, "content": {"body": "Hi"}}))
        .await
        .problem(404, "not_found");
    send(json!({"to": {"contact_id": uuid::Uuid::max()}, "content": {"body": "Hi"}}))
        .await
        .problem(404, "not_found");
    send(json!({"to": {"contact": {"email": "ann@@"}}, "content": {"body": "Hi"}}))
        .await
        .wrong("/to/contact/email", "address.invalid");
    send(json!({"to": {"contact": {"external_id": "N", "zone": "Mars/Olympus"}}, "content": {"body": "Hi"}}))
        .await
        .wrong("/to/contact/zone", "zone.unknown");
    send(json!({"to": {"contact": {"name": "N"}}, "content": {"body": "Hi"}}))
        .await
        .wrong("/to/contact", "field.choice");
    send(json!({"to": to, "content": {"body": "Hi"}, "expires_at": "2020-01-01T00:00:00Z"}))
        .await
        .wrong("/expires_at", "expires_at.past");
    send(json!({"to": to, "content": {"body": "Hi"}, "urgency": "soon"}))
        .await
        .wrong("/urgency", "value.invalid");
    send(json!({"to": to, "content": {"body": "Hi"}, "tenant_id": api.bob.id}))
        .await
        .wrong("/tenant_id", "field.unknown");
    let bulky = json!({"to": to, "message_type": "welcome", "context": {"x": "y".repeat(300 * 1024)}});
    assert_eq!(send(bulky).await.status, 422);
    assert_eq!(api.get(key, "/v1/messages").await.expect(200)["items"], json!([]));
    let contacts = api.get(key, "/v1/contacts").await.expect(200);
    assert_eq!(
        contacts["items"].as_array().unwrap().len(),
        1,
        "a contact was half-written"
    );
}

#[tokio::test]
async fn a_suspended_tenant_accepts_nothing() {
    let api = TestApi::new().await;
    api.ready(&api.ann.key).await;
    let path = format!("/v1/tenants/{}", api.ann.id);
    api.patch(&api.operator, &path, json!({"status": "suspended"}))
        .await
        .expect(200);
    api.post(&api.ann.key, "/v1/messages", welcome("s-1"))
        .await
        .problem(403, "tenant.not_active");
}

/// A file goes by a link or by an id, not by both or none.
#[tokio::test]
async fn a_file_is_named_in_one_way() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    api.ready(key).await;
    let with = |media: Value| {
        let mut body = welcome("m-1");
        body["content"]["media"] = media;
        body
    };
    for wrong in [
        json!({"kind": "image"}),
        json!({"kind": "image", "link": "https://files.example/a.png", "id": "12"}),
    ] {
        let answer = api.post(key, "/v1/messages", with(wrong)).await;
        answer.wrong("/content/media", "field.choice");
    }
    let plain = json!({"kind": "image", "link": "http://files.example/a.png"});
    let answer = api.post(key, "/v1/messages", with(plain)).await;
    assert_eq!(answer.status.as_u16(), 422, "{:?}", answer.body);
    let right = json!({"kind": "image", "link": "https://files.example/a.png"});
    api.post(key, "/v1/messages", with(right)).await.expect(201);
}

#[tokio::test]
async fn nobody_is_told_of_a_message_that_is_not_ours() {
    let api = TestApi::new().await;
    for path in ["read", "typing"] {
        let path = format!("/v1/inbound-messages/{}/{path}", uuid::Uuid::from_u128(7));
        api.act(&api.ann.key, &path).await.problem(404, "not_found");
    }
}
