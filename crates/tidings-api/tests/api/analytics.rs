//! Figures of deliveries over HTTP: by everything, of one tenant alone, as values for spreadsheets, and wrong questions.

use crate::support::TestApi;
use serde_json::json;

#[tokio::test]
async fn deliveries_are_told_by_everything_and_of_one_tenant() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    let connection = json!({"name": "=mail", "provider": "sandbox", "channel": "email"});
    api.post(key, "/v1/connections", connection).await.expect(201);
    let nothing = api.get(key, "/v1/analytics/deliveries").await.expect(200);
    assert_eq!(
        (&nothing["items"], &nothing["by"]),
        (&json!([]), &json!("provider"))
    );
    for (number, to) in [(1, "guest@example.com"), (2, "rejected@example.com")] {
        let message = json!({
            "to": {"contact": {"external_id": number.to_string(), "email": to}}, "category": "transactional", "urgency": "critical",
            "content": {"subject": "Hello", "body": "Your car is ready."},
        });
        api.post(key, "/v1/messages", message).await.expect(201);
    }
    api.engine.run_due().await.unwrap();
    api.clock.advance(jiff::SignedDuration::from_secs(120));
    for (by, keys) in [
        ("provider", vec!["sandbox"]),
        ("channel", vec!["email"]),
        ("type", vec!["direct"]),
        ("day", vec!["2026-06-16"]),
    ] {
        let told = api
            .get(
                key,
                &format!("/v1/analytics/deliveries?from=2026-06-16&to=2026-06-16&by={by}"),
            )
            .await
            .expect(200);
        let items = told["items"].as_array().unwrap();
        let found: Vec<&str> = items.iter().map(|line| line["key"].as_str().unwrap()).collect();
        assert_eq!(found, keys, "{told}");
        let line = &items[0];
        assert_eq!(
            (
                &line["deliveries"],
                &line["accepted"],
                &line["failed"],
                &line["failed_permanent"]
            ),
            (&json!(2), &json!(1), &json!(1), &json!(1)),
            "{told}"
        );
        assert_eq!(told["due_days"], 0);
        assert!(told["as_of"].is_string());
    }
    let csv = api.get(key, "/v1/analytics/deliveries.csv?by=connection").await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    let text = String::from_utf8(csv.body.to_vec()).unwrap();
    assert!(text.contains(",'=mail,2,1,"), "{text}");
    let others = api
        .get(&api.bob.key, "/v1/analytics/deliveries")
        .await
        .expect(200);
    assert_eq!(others["items"], json!([]));
}

#[tokio::test]
async fn wrong_questions_about_deliveries_are_refused() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    for path in [
        "/v1/analytics/deliveries?from=2026-02-01&to=2026-01-01",
        "/v1/analytics/deliveries.csv?from=2020-01-01&to=2026-01-01",
    ] {
        api.get(key, path).await.wrong("#query/to", "value.invalid");
    }
    for path in [
        "/v1/analytics/deliveries?from=yesterday",
        "/v1/analytics/deliveries?by=weather",
    ] {
        assert!(api.get(key, path).await.status.is_client_error(), "{path}");
    }
    let blind = api.key(&api.ann, &["messages:read"]).await;
    assert_eq!(
        api.get(&blind, "/v1/analytics/deliveries").await.status.as_u16(),
        403
    );
}
