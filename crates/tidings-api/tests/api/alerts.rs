//! Alerts over HTTP: listed by state and page, taken on once.

use crate::support::TestApi;
use axum::http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn alerts_are_listed_and_taken_on() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    assert_eq!(
        api.get(key, "/v1/alerts").await.expect(200)["items"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    let raised = api.engine.test_alert(api.ann.id, "ops").await.unwrap();
    let id = raised.alert.id.to_string();

    let listed = api.get(key, "/v1/alerts?state=open&limit=1").await.expect(200);
    let one = &listed["items"][0];
    assert_eq!(
        (one["id"].as_str(), one["rule"].as_str(), one["severity"].as_str()),
        (Some(id.as_str()), Some("test"), Some("critical"))
    );
    assert!(
        one["acknowledged_at"].is_null() && listed["next_cursor"].is_null(),
        "{listed}"
    );
    let over = api.get(key, "/v1/alerts?state=resolved").await.expect(200);
    assert_eq!(over["items"].as_array().unwrap().len(), 0);

    let taken = api
        .act(key, &format!("/v1/alerts/{id}/acknowledge"))
        .await
        .expect(200);
    assert!(
        taken["acknowledged_by"].as_str().unwrap().starts_with("api-key:"),
        "{taken}"
    );
    assert_eq!(taken["state"], "open");
}

#[tokio::test]
async fn wrong_questions_are_refused() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    api.get(key, "/v1/alerts?limit=0")
        .await
        .wrong("#query/limit", "value.invalid");
    api.get(key, "/v1/alerts?cursor=nonsense")
        .await
        .wrong("#query/cursor", "value.invalid");
    assert!(
        api.get(key, "/v1/alerts?state=loud")
            .await
            .status
            .is_client_error()
    );
    let raised = api.engine.test_alert(api.ann.id, "ops").await.unwrap();
    let path = format!("/v1/alerts/{}/acknowledge", raised.alert.id);
    assert_eq!(api.act(&api.bob.key, &path).await.status.as_u16(), 404);
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

impl TestApi {
    async fn set_alerts(&self, key: &str, body: Value) -> crate::support::Reply {
        self.call(key, Method::PUT, "/v1/alerts/settings", Some(body))
            .await
    }
}

#[tokio::test]
async fn settings_are_set_kept_replaced_and_written_down_without_their_secrets() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    let unset = api.get(key, "/v1/alerts/settings").await.expect(200);
    assert_eq!(
        (&unset["pagerduty"], &unset["slack"], &unset["digest"]),
        (&Value::Null, &json!(false), &Value::Null)
    );
    assert_eq!(unset["thresholds"]["delivery_rate_min_percent"], 90);

    let body = json!({
        "pagerduty": {"routing_key": KEY}, "slack": {"webhook_url": "https://hooks.slack.com/services/T0/B0/s3cret"},
        "digest": {"to": "ops@example.com", "hour_utc": 7}, "thresholds": {"retries_max_percent": 30},
    });
    let set = api.set_alerts(key, body).await.expect(200);
    assert_eq!(set["digest"], json!({"to": "ops@example.com", "hour_utc": 7}));
    assert_eq!(set["thresholds"]["retries_max_percent"], 30);
    assert!(
        !set.to_string().contains(KEY) && !set.to_string().contains("s3cret"),
        "{set}"
    );
    assert_eq!(api.get(key, "/v1/alerts/settings").await.expect(200), set);

    // Secrets that are left out stay; what is left out as a whole goes, and a later wish must bring its secret again.
    let kept = json!({"pagerduty": {}, "digest": {"hour_utc": 9}});
    let set = api.set_alerts(key, kept).await.expect(200);
    assert_eq!(
        (
            &set["digest"]["to"],
            &set["slack"],
            &set["thresholds"]["retries_max_percent"]
        ),
        (&json!("ops@example.com"), &json!(false), &json!(20))
    );
    api.set_alerts(key, json!({"slack": {}}))
        .await
        .wrong("/slack/webhook_url", "value.invalid");
    let tried = api.act(key, "/v1/alerts/test").await.expect(201);
    assert_eq!(
        (&tried["rule"], &tried["notifications"][0]["notifier"]),
        (&json!("test"), &json!("pagerduty"))
    );
    let written = "SELECT action FROM audit_log WHERE action LIKE 'alerts.%' ORDER BY seq";
    assert_eq!(
        api.database.texts(written).await,
        ["alerts.set", "alerts.set", "alerts.tested"]
    );
    // Another tenant has its own.
    let others = api.get(&api.bob.key, "/v1/alerts/settings").await.expect(200);
    assert_eq!(others, unset);
}

#[tokio::test]
async fn wrong_settings_name_their_field_and_change_nothing() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    for (body, pointer) in [
        (json!({"thresholds": {"hold_s": 1}}), "/thresholds/hold_s"),
        (
            json!({"thresholds": {"sample_min": 100_000}}),
            "/thresholds/sample_min",
        ),
        (json!({"pagerduty": {}}), "/pagerduty/routing_key"),
        (
            json!({"pagerduty": {"routing_key": "s3cret"}}),
            "/pagerduty/routing_key",
        ),
        (
            json!({"pagerduty": {"routing_key": KEY, "base_url": "https://10.0.0.1"}}),
            "/pagerduty/base_url",
        ),
        (
            json!({"slack": {"webhook_url": "https://10.0.0.1/s3cret"}}),
            "/slack/webhook_url",
        ),
        (
            json!({"digest": {"hour_utc": 24, "to": "ops@example.com"}}),
            "/digest/hour_utc",
        ),
        (json!({"digest": {"hour_utc": 7, "to": "s3cret"}}), "/digest/to"),
    ] {
        let refused = api.set_alerts(key, body).await;
        assert!(!refused.json().to_string().contains("s3cret"), "{pointer}");
        refused.wrong(pointer, "value.invalid");
    }
    assert_eq!(
        api.database.texts("SELECT count(*) FROM alert_settings").await,
        ["0"]
    );
    assert_eq!(api.database.texts("SELECT count(*) FROM audit_log").await, ["0"]);
}

#[tokio::test]
async fn tests_have_an_end() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    for _ in 0..5 {
        api.act(key, "/v1/alerts/test").await.expect(201);
        api.clock.advance(jiff::SignedDuration::from_secs(1));
    }
    api.act(key, "/v1/alerts/test").await.problem(409, "conflict");
}
