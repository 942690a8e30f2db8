//! Contacts, their parts, suppressions.

use crate::support::TestApi;
use serde_json::json;

#[tokio::test]
async fn a_contact_is_made_found_changed_and_erased() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    let body = json!({
        "external_id": "C-1", "name": "Ann Weaver", "zone": "America/Chicago", "locale": "en", "country": "US",
        "addresses": [{"channel": "email", "value": "ann@Example.com"}, {"channel": "sms", "value": "(415) 555-2671"}],
        "preferred_channels": ["sms"], "attributes": {"plan": "gold"}
    });
    let made = api.post(key, "/v1/contacts", body.clone()).await.expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(made["addresses"][1]["value"], "+14155552671", "{made}");
    let again = api.post(key, "/v1/contacts", body).await.expect(200);
    assert_eq!(again["id"], made["id"]);
    assert_eq!(again["addresses"].as_array().unwrap().len(), 2);

    let path = format!("/v1/contacts/{id}");
    let changed = api
        .patch(key, &path, json!({"name": null, "zone": "America/Denver"}))
        .await
        .expect(200);
    assert!(changed["name"].is_null());
    assert_eq!(changed["zone"], "America/Denver");
    assert_eq!(changed["attributes"]["plan"], "gold");

    for lookup in [
        json!({"email": "ann@example.com"}),
        json!({"phone": "+14155552671"}),
        json!({"external_id": "C-1"}),
    ] {
        let found = api.post(key, "/v1/contacts/lookup", lookup).await.expect(200);
        assert_eq!(found["items"][0]["id"], made["id"]);
    }
    let none = api
        .post(key, "/v1/contacts/lookup", json!({"email": "nobody@example.com"}))
        .await
        .expect(200);
    assert_eq!(none["items"], json!([]));

    let export = api.get(key, &format!("{path}/export")).await.expect(200);
    assert!(export.to_string().contains("+14155552671"));
    let certificate = api
        .call(key, axum::http::Method::POST, &format!("{path}/erase"), None)
        .await
        .expect(200);
    assert_eq!(certificate["contact_id"], made["id"]);
    let erased = api.get(key, &path).await.expect(200);
    assert!(
        erased["erased_at"].is_string() && erased["addresses"].as_array().unwrap().is_empty(),
        "{erased}"
    );
    api.patch(key, &path, json!({"name": "Back"}))
        .await
        .problem(409, "contact.erased");
}

#[tokio::test]
async fn lists_are_paged_to_the_end_without_gaps() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    for n in 0..7 {
        api.post(key, "/v1/contacts", json!({"external_id": format!("C-{n}")}))
            .await
            .expect(201);
    }
    let mut seen = Vec::new();
    let mut path = "/v1/contacts?limit=3".to_owned();
    loop {
        let page = api.get(key, &path).await.expect(200);
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["external_id"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/contacts?limit=3&cursor={cursor}");
    }
    seen.sort();
    assert_eq!(seen, (0..7).map(|n| format!("C-{n}")).collect::<Vec<_>>());
    let other = api.get(&api.bob.key, "/v1/contacts").await.expect(200);
    assert_eq!(other["items"], json!([]));
}

#[tokio::test]
async fn addresses_preferences_and_consents() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    let made = api
        .post(
            key,
            "/v1/contacts",
            json!({"addresses": [{"channel": "email", "value": "a@example.com"}]}),
        )
        .await
        .expect(201);
    let path = format!("/v1/contacts/{}", made["id"].as_str().unwrap());
    let two = api
        .post(
            key,
            &format!("{path}/addresses"),
            json!({"channel": "email", "value": "b@example.com"}),
        )
        .await
        .expect(201);
    let second = two["addresses"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["value"] == "b@example.com")
        .unwrap()
        .clone();
    assert_eq!(second["primary"], false);
    let address = format!("{path}/addresses/{}", second["id"].as_str().unwrap());
    let turned = api
        .call(key, axum::http::Method::POST, &format!("{address}/primary"), None)
        .await
        .expect(200);
    assert_eq!(turned["addresses"][0]["value"], "b@example.com");
    let one = api.delete(key, &address).await.expect(200);
    assert_eq!(one["addresses"].as_array().unwrap().len(), 1);
    assert_eq!(one["addresses"][0]["primary"], true);
    api.delete(key, &address).await.problem(404, "not_found");

    let wanted = json!({"opted_out": ["email"], "quiet_hours": [{"start": "22:00", "end": "07:30"}], "paused_until": "2027-01-01T00:00:00Z"});
    let now_is = api
        .patch(key, &format!("{path}/preferences"), wanted)
        .await
        .expect(200);
    assert_eq!(now_is["opted_out"], json!(["email"]));
    assert_eq!(now_is["quiet_hours"][0]["end"], "07:30:00");
    let ended = api
        .patch(key, &format!("{path}/preferences"), json!({"paused_until": null}))
        .await
        .expect(200);
    assert!(ended["paused_until"].is_null());
    assert_eq!(ended["opted_out"], json!(["email"]));
    assert_eq!(
        api.get(key, &format!("{path}/preferences")).await.expect(200),
        ended
    );

    let yes = json!({"purpose": "marketing", "channel": "email", "granted": true, "source": "form", "wording": "Yes please."});
    let recorded = api.post(key, &format!("{path}/consents"), yes).await.expect(201);
    assert_eq!(recorded["granted"], true);
    api.post(
        key,
        &format!("{path}/consents"),
        json!({"purpose": "marketing", "granted": false, "source": "phone"}),
    )
    .await
    .expect(201);
    let all = api.get(key, &format!("{path}/consents")).await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn suppressions_are_added_once_found_and_lifted() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    api.post(
        key,
        "/v1/contacts",
        json!({"addresses": [{"channel": "email", "value": "a@example.com"}]}),
    )
    .await
    .expect(201);
    let body = json!({"channel": "email", "value": "A@example.com", "detail": "asked in person"});
    let added = api.post(key, "/v1/suppressions", body.clone()).await.expect(201);
    assert_eq!(added["reason"], "manual");
    assert_eq!(added["contact_ids"].as_array().unwrap().len(), 1);
    let same = api.post(key, "/v1/suppressions", body).await.expect(200);
    assert_eq!(same["id"], added["id"]);
    let found = api
        .post(
            key,
            "/v1/suppressions/lookup",
            json!({"channel": "email", "value": "a@example.com"}),
        )
        .await
        .expect(200);
    assert_eq!(found["items"][0]["id"], added["id"]);
    let path = format!("/v1/suppressions/{}/lift", added["id"].as_str().unwrap());
    api.call(key, axum::http::Method::POST, &path, None)
        .await
        .expect(204);
    api.call(key, axum::http::Method::POST, &path, None)
        .await
        .problem(404, "not_found");
    assert_eq!(
        api.get(key, "/v1/suppressions").await.expect(200)["items"],
        json!([])
    );
    let lifted = api
        .get(key, "/v1/suppressions?with_lifted=true")
        .await
        .expect(200);
    assert!(
        lifted["items"][0]["lifted_by"]
            .as_str()
            .unwrap()
            .starts_with("api-key:")
    );
}
