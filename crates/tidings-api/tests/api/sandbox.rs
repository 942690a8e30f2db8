//! The sandbox mailbox, previews of templates, tests of connections.

use crate::support::TestApi;
use serde_json::json;

#[tokio::test]
async fn what_is_captured_can_be_read_and_answered() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    let contact = api.ready(key).await;
    let request = |channel: &str| {
        json!({"to": {"external_id": "C-1017"}, "content": {"subject": "Your drawings", "body": "They are ready."},
        "channel": channel, "category": "transactional", "urgency": "critical"})
    };
    for channel in ["email", "sms"] {
        api.post(key, "/v1/messages", request(channel)).await.expect(201);
        api.engine.run_due().await.unwrap();
    }
    // Both were captured at one instant of the test's clock, in no order.
    let first = api.get(key, "/v1/sandbox/messages?limit=1").await.expect(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = api
        .get(key, &format!("/v1/sandbox/messages?limit=1&cursor={cursor}"))
        .await
        .expect(200);
    let both = [&first["items"][0], &second["items"][0]];
    let id_of = |channel: &str| {
        both.iter().find(|one| one["channel"] == channel).unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mail = api
        .get(key, &format!("/v1/sandbox/messages/{}", id_of("email")))
        .await
        .expect(200);
    assert_eq!(
        (&mail["to"], &mail["subject"]),
        (&json!("ann@example.com"), &json!("Your drawings")),
        "{mail}"
    );
    assert!(mail["text"].as_str().unwrap().contains("They are ready."));

    let text = format!("/v1/sandbox/messages/{}/reply", id_of("sms"));
    api.post(key, &text, json!({"text": ""}))
        .await
        .wrong("/text", "value.length");
    api.post(key, &text, json!({"text": "Stop"})).await.expect(201);
    let stopped = api
        .get(key, &format!("/v1/contacts/{contact}/preferences"))
        .await
        .expect(200);
    assert_eq!(stopped["stopped"], json!(["sms"]));
    let after = api.post(key, "/v1/messages", request("sms")).await.expect(201);
    assert_ne!(after["verdict"]["channels"][0], "sms", "{after}");
}

#[tokio::test]
async fn a_template_is_previewed_with_real_and_sample_values() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    let preview = |body| api.post(key, "/v1/templates/preview", body);
    let sample = preview(json!({"message_type": "welcome", "channel": "email"}))
        .await
        .expect(200);
    assert!(sample["html"].as_str().unwrap().contains("<html"), "{sample}");
    assert_eq!(sample["missing"], json!([]));
    let real =
        preview(json!({"message_type": "welcome", "channel": "email", "context": {"client_name": "<Ann>"}}))
            .await
            .expect(200);
    if real["missing"] == json!([]) {
        assert!(real["html"].as_str().unwrap().contains("&lt;Ann&gt;"));
    }
    let none = preview(json!({"message_type": "welcome", "channel": "email", "context": {}}))
        .await
        .expect(200);
    assert!(
        none["missing"]
            .as_array()
            .unwrap()
            .contains(&json!("client_name"))
            && none["html"].is_null(),
        "{none}"
    );
    let draft = json!({"message_type": "note", "channel": "sms", "format": "text", "body": "Hello {{ name }} \u{2713}"});
    let short = preview(json!({"draft": draft, "context": {"name": "Ann"}}))
        .await
        .expect(200);
    assert_eq!(
        (&short["text"], &short["segments"]["count"]),
        (&json!("Hello Ann \u{2713}"), &json!(1)),
        "{short}"
    );
    preview(json!({})).await.wrong("", "field.choice");
    preview(json!({"message_type": "no_such_type"}))
        .await
        .wrong("/message_type", "template.unknown");
    let broken = json!({"message_type": "note", "channel": "sms", "format": "text", "body": "{{ name"});
    preview(json!({"draft": broken}))
        .await
        .wrong("/draft/body", "template.invalid");
    let built_in = api.get(key, "/v1/templates/built-in").await.expect(200);
    assert!(built_in["items"].as_array().unwrap().len() >= 14);
}

#[tokio::test]
async fn a_connection_is_checked_and_tested() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    let wrong =
        json!({"name": "x", "provider": "sandbox", "channel": "email", "settings": {"colour": "red"}});
    let reply = api.post(key, "/v1/connections", wrong).await;
    assert_eq!(
        reply.json()["errors"][0]["code"],
        "connection.invalid",
        "{:?}",
        reply.json()
    );
    let wrong = json!({"name": "x", "provider": "twilio", "channel": "email"});
    api.post(key, "/v1/connections", wrong)
        .await
        .wrong("/provider", "connection.invalid");
    let made = api
        .post(
            key,
            "/v1/connections",
            json!({"name": "x", "provider": "sandbox", "channel": "email"}),
        )
        .await
        .expect(201);
    let report = api
        .act(
            key,
            &format!("/v1/connections/{}/test", made["id"].as_str().unwrap()),
        )
        .await
        .expect(200);
    assert_eq!(report["ok"], true, "{report}");
}
