//! Alerts over HTTP: listed by state and page, taken on once.

use crate::support::TestApi;

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
    let raised = api.engine.test_alert(api.ann.id).await.unwrap();
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
    let raised = api.engine.test_alert(api.ann.id).await.unwrap();
    let path = format!("/v1/alerts/{}/acknowledge", raised.alert.id);
    assert_eq!(api.act(&api.bob.key, &path).await.status.as_u16(), 404);
}
