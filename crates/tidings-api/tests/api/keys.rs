//! API keys and tenants.

use crate::support::{TestApi, request};
use axum::http::{HeaderValue, Method};
use serde_json::json;

#[tokio::test]
async fn a_key_is_made_used_and_revoked() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    let made = api
        .post(
            key,
            "/v1/api-keys",
            json!({"name": "shop", "scopes": ["contacts:*"]}),
        )
        .await
        .expect(201);
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("tdg_"));
    api.get(secret, "/v1/contacts").await.expect(200);
    api.get(secret, "/v1/messages").await.problem(403, "auth.scope");
    let listed = api.get(key, "/v1/api-keys").await;
    assert!(!String::from_utf8_lossy(&listed.body).contains(secret));
    let path = format!("/v1/api-keys/{}", made["key"]["id"].as_str().unwrap());
    api.delete(key, &path).await.expect(204);
    let refused = api.get(secret, "/v1/contacts").await;
    refused.problem(401, "auth.required");
    assert!(
        refused.headers["www-authenticate"]
            .to_str()
            .unwrap()
            .starts_with("Bearer")
    );
}

#[tokio::test]
async fn a_key_gives_no_more_than_it_has() {
    let api = TestApi::new().await;
    let small = api.key(&api.ann, &["keys:admin", "messages:read"]).await;
    for scope in ["messages:write", "messages:*", "tenants:admin"] {
        api.post(&small, "/v1/api-keys", json!({"name": "x", "scopes": [scope]}))
            .await
            .problem(403, "auth.grant");
    }
    api.post(&small, "/v1/api-keys", json!({"name": "x", "scopes": ["all"]}))
        .await
        .wrong("/scopes/0", "scope.unknown");
    api.post(
        &small,
        "/v1/api-keys",
        json!({"name": "x", "scopes": ["messages:read"]}),
    )
    .await
    .expect(201);
}

#[tokio::test]
async fn unknown_revoked_and_malformed_keys_answer_alike() {
    let api = TestApi::new().await;
    let mut bodies = Vec::new();
    for key in [
        "",
        "tdg_00000000_1111",
        "nonsense",
        &api.ann.key[..api.ann.key.len() - 1],
    ] {
        let reply = api.get(key, "/v1/contacts").await;
        reply.problem(401, "auth.required");
        bodies.push(reply.body);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn an_operator_names_its_tenant_and_a_tenant_cannot_name_another() {
    let api = TestApi::new().await;
    api.get(&api.operator, "/v1/contacts")
        .await
        .problem(403, "auth.tenant_missing");
    let named = |key: &str, tenant: String| {
        let mut request = request(key, Method::GET, "/v1/contacts", None);
        request
            .headers_mut()
            .insert("tidings-tenant", HeaderValue::from_str(&tenant).unwrap());
        request
    };
    api.send(named(&api.operator, api.ann.id.to_string()))
        .await
        .expect(200);
    api.send(named(&api.operator, uuid::Uuid::max().to_string()))
        .await
        .problem(404, "not_found");
    api.send(named(&api.operator, "ann".to_owned()))
        .await
        .wrong("#header/Tidings-Tenant", "value.invalid");
    api.send(named(&api.ann.key, api.ann.id.to_string()))
        .await
        .expect(200);
    let foreign = api.send(named(&api.ann.key, api.bob.id.to_string())).await;
    let random = api.send(named(&api.ann.key, uuid::Uuid::max().to_string())).await;
    foreign.problem(403, "auth.tenant");
    assert_eq!(foreign.body, random.body);
}

#[tokio::test]
async fn tenants_are_for_operators() {
    let api = TestApi::new().await;
    let operator = &api.operator;
    api.get(&api.ann.key, "/v1/tenants")
        .await
        .problem(403, "auth.scope");
    let body = json!({"slug": "weaver", "name": "Weaver", "policy": {"zone": "Europe/Berlin"}});
    let made = api.post(operator, "/v1/tenants", body.clone()).await.expect(201);
    assert_eq!(made["policy"]["zone"], "Europe/Berlin");
    api.post(operator, "/v1/tenants", body)
        .await
        .problem(409, "conflict");
    let path = format!("/v1/tenants/{}", made["id"].as_str().unwrap());
    let changed = api
        .patch(operator, &path, json!({"status": "suspended"}))
        .await
        .expect(200);
    assert_eq!(changed["status"], "suspended");
    assert_eq!(changed["name"], "Weaver");
    let first = api.get(operator, "/v1/tenants?limit=2").await.expect(200);
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = api
        .get(operator, &format!("/v1/tenants?limit=2&cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(second["items"][0]["slug"], "weaver");
    let bad = json!({"slug": "Bad Slug", "name": "", "policy": {"zone": "Mars/Olympus"}});
    let wrong = api.post(operator, "/v1/tenants", bad).await;
    wrong.wrong("/slug", "value.invalid");
    wrong.wrong("/name", "value.length");
    wrong.wrong("/policy/zone", "zone.unknown");
}
