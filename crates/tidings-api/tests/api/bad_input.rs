//! Bad input: each kind has an answer that says what, where and what to do, and nothing is half-written.

use crate::document::operations;
use crate::support::{TestApi, request};
use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

#[tokio::test]
async fn what_cannot_be_read_says_where() {
    let api = TestApi::new().await;
    let send = |body: &'static str, media: &'static str| {
        let key = format!("Bearer {}", api.ann.key);
        let request = Request::post("/v1/contacts")
            .header("authorization", key)
            .header("content-type", media);
        api.send(request.body(Body::from(body)).unwrap())
    };
    send("", "application/json").await.problem(400, "body.empty");
    let syntax = send("{\n \"name\": }", "application/json").await;
    assert!(
        syntax.problem(400, "json.syntax")["detail"]
            .as_str()
            .unwrap()
            .contains("line 2, column 10")
    );
    send("{}", "text/plain").await.problem(415, "body.media_type");
    send("{\"name\": 5}", "application/json")
        .await
        .wrong("/name", "type.wrong");
    send("{\"nmae\": \"Ann\"}", "application/json")
        .await
        .wrong("/nmae", "field.unknown");
    send("{\"name\": \"a\", \"name\": \"b\"}", "application/json")
        .await
        .wrong("/name", "field.duplicate");
    send("[]", "application/json").await.wrong("", "type.wrong");
    assert_eq!(
        api.get(&api.ann.key, "/v1/contacts").await.expect(200)["items"],
        json!([])
    );
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() {
    let api = TestApi::new().await;
    let body = json!({
        "name": "two\nlines", "zone": "Mars/Olympus", "locale": "english", "country": "usa",
        "addresses": [{"channel": "email", "value": "ann@@example.com"}, {"channel": "sms", "value": "12"}]
    });
    let reply = api.post(&api.ann.key, "/v1/contacts", body).await;
    reply.wrong("/name", "value.invalid");
    reply.wrong("/zone", "zone.unknown");
    reply.wrong("/locale", "locale.invalid");
    reply.wrong("/country", "country.invalid");
    reply.wrong("/addresses/0/value", "address.invalid");
    reply.wrong("/addresses/1/value", "address.invalid");
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(!text.contains("ann@@"), "an address is repeated: {text}");
}

#[tokio::test]
async fn queries_paths_and_methods() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    api.get(key, "/v1/contacts?limit=0")
        .await
        .wrong("#query/limit", "value.invalid");
    api.get(key, "/v1/contacts?limit=x")
        .await
        .wrong("#query/limit", "value.invalid");
    api.get(key, "/v1/contacts?cursor=x!")
        .await
        .wrong("#query/cursor", "value.invalid");
    api.get(key, "/v1/contacts?tenant_id=1")
        .await
        .wrong("#query/tenant_id", "field.unknown");
    api.get(key, "/v1/messages?status=lost")
        .await
        .wrong("#query/status", "value.invalid");
    api.get(key, "/v1/contacts/nonsense")
        .await
        .problem(400, "path.invalid");
    api.get(key, "/v1/nowhere").await.problem(404, "route.unknown");
    let reply = api.call(key, Method::PUT, "/v1/contacts", Some(json!({}))).await;
    reply.problem(405, "method.not_allowed");
    assert!(
        reply.headers["allow"].to_str().unwrap().contains("POST"),
        "{:?}",
        reply.headers
    );
}

#[tokio::test]
async fn an_oversized_body_is_refused() {
    let api = TestApi::new().await;
    let body = json!({"name": "x".repeat(2 << 20)});
    api.post(&api.ann.key, "/v1/contacts", body)
        .await
        .problem(413, "body.too_large");
}

#[tokio::test]
async fn a_database_that_is_away_is_said_so() {
    let api = TestApi::new().await;
    api.store.close().await;
    let reply = api.get(&api.ann.key, "/v1/contacts").await;
    reply.problem(503, "database.unreachable");
    assert!(reply.headers.contains_key("retry-after"));
}

/// Columns a caller may never set: in no input of any operation, and refused as unknown wherever they are tried.
#[tokio::test]
async fn read_only_fields_are_refused_by_every_operation() {
    let api = TestApi::new().await;
    for (path, method, operation) in operations() {
        let Some(example) = crate::authorisation::example(&operation) else {
            continue;
        };
        let path = crate::authorisation::fill(&path, crate::authorisation::nobody);
        let key = if path.starts_with("/v1/tenants") {
            &api.operator
        } else {
            &api.ann.key
        };
        for field in [
            "tenant_id",
            "tenant",
            "id",
            "role",
            "created_at",
            "updated_at",
            "created_by",
            "erased_at",
            "version",
        ] {
            let mut body = example.clone();
            let object = body.as_object_mut().unwrap();
            if object.contains_key(field) {
                continue;
            }
            object.insert(
                field.to_owned(),
                Value::from("00000000-0000-0000-0000-000000000000"),
            );
            let reply = api
                .send(request(
                    key,
                    method.to_uppercase().parse().unwrap(),
                    &path,
                    Some(body),
                ))
                .await;
            reply.wrong(&format!("/{field}"), "field.unknown");
        }
    }
}
