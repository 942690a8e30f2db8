//! Who may do what, generated from the OpenAPI document: every operation, with no key, with a key without its scope, with
//! ids of another tenant, with ids of nobody. An operation without a case fails the test.

use crate::document::operations;
use crate::support::{Reply, TestApi, request, tenant_scopes};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The example body of an operation, by its schema; none when it takes no body.
pub fn example(operation: &Value) -> Option<Value> {
    let media = operation
        .get("requestBody")?
        .get("content")?
        .get("application/json")?;
    if let Some(example) = media.get("example") {
        return Some(example.clone());
    }
    let document: Value = serde_json::from_str(&tidings_api::openapi_json()).unwrap();
    let name = media["schema"]["$ref"]
        .as_str()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    let schema = &document["components"]["schemas"][&name];
    Some(
        schema
            .get("example")
            .unwrap_or_else(|| panic!("the schema {name} has no example"))
            .clone(),
    )
}

/// Fills the parameters of a path.
pub fn fill(path: &str, value: impl Fn(&str) -> String) -> String {
    let parts =
        path.split('/').map(
            |part| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(name) => value(name),
                None => part.to_owned(),
            },
        );
    parts.collect::<Vec<_>>().join("/")
}

async fn send(api: &TestApi, key: &str, method: &str, path: &str, operation: &Value) -> Reply {
    api.send(request(
        key,
        method.to_uppercase().parse().unwrap(),
        path,
        example(operation),
    ))
    .await
}

/// Live ids of a tenant, one of each kind that stands in a path.
async fn live_ids(api: &TestApi, key: &str) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let body = json!({"external_id": "B-1", "addresses": [{"channel": "email", "value": "bob@example.com"}]});
    let contact = api.post(key, "/v1/contacts", body).await.expect(201);
    let suppression = api
        .post(
            key,
            "/v1/suppressions",
            json!({"channel": "email", "value": "s@example.com"}),
        )
        .await
        .expect(201);
    let draft = json!({"message_type": "welcome", "channel": "sms", "format": "text", "body": "Hello"});
    let template = api.post(key, "/v1/templates", draft).await.expect(201);
    let body = json!({"name": "bob", "provider": "sandbox", "channel": "email"});
    let connection = api.post(key, "/v1/connections", body).await.expect(201);
    api.post(
        key,
        "/v1/connections",
        json!({"name": "texts", "provider": "sandbox", "channel": "sms"}),
    )
    .await
    .expect(201);
    let request = json!({"to": {"external_id": "B-1"}, "content": {"subject": "Canary", "body": "Hello"}, "category": "transactional", "urgency": "critical"});
    let message = api.post(key, "/v1/messages", request).await.expect(201);
    api.engine.run_due().await.unwrap();
    let captured = api.get(key, "/v1/sandbox/messages").await.expect(200);
    let job = dead_letter(api, key).await;
    own_campaign(api, "bobs_own").await;
    let run = api.act(key, "/v1/campaigns/bobs_own/run").await.expect(202);
    let alert = api.engine.test_alert(api.bob.id, "ops").await.unwrap();
    let made = api
        .post(
            key,
            "/v1/api-keys",
            json!({"name": "b", "scopes": ["messages:read"]}),
        )
        .await
        .expect(201);
    let inbound = received(api, &text(&connection["id"])).await;
    BTreeMap::from([
        ("inbound_message_id".to_owned(), inbound),
        ("contact_id".to_owned(), text(&contact["id"])),
        ("address_id".to_owned(), text(&contact["addresses"][0]["id"])),
        ("suppression_id".to_owned(), text(&suppression["id"])),
        ("template_id".to_owned(), text(&template["id"])),
        ("connection_id".to_owned(), text(&connection["id"])),
        ("message_id".to_owned(), text(&message["message_id"])),
        ("captured_id".to_owned(), text(&captured["items"][0]["id"])),
        ("job_id".to_owned(), job),
        ("key_id".to_owned(), text(&made["key"]["id"])),
        ("campaign".to_owned(), "bobs_own".to_owned()),
        ("contact".to_owned(), "B-1".to_owned()),
        ("run_id".to_owned(), text(&run["run_id"])),
        ("alert_id".to_owned(), alert.alert.id.to_string()),
    ])
}

/// A message from a contact of the second tenant.
async fn received(api: &TestApi, connection: &str) -> String {
    use tidings_engine::store::BlindIndex;
    use tidings_engine::store::tracking::inbound::{self, NewInbound};
    let id = Uuid::from_u128(0x0197_c0de);
    let message = NewInbound {
        id,
        contact: None,
        connection: connection.parse().unwrap(),
        channel: tidings_core::Channel::Email,
        dedupe_key: "m-1".to_owned(),
        from_index: BlindIndex([7; 32]),
        content: b"{}".to_vec(),
        provider_message_id: Some("m-1".to_owned()),
        in_reply_to: None,
        keyword: None,
        automatic: false,
        occurred_at: api.now,
    };
    let mut tx = api.store.worker_tenant(api.bob.id).tx().await.unwrap();
    inbound::insert(&mut tx, &message, api.now).await.unwrap();
    tx.commit().await.unwrap();
    id.to_string()
}

/// A value of a path parameter that names nothing.
pub fn nobody(parameter: &str) -> String {
    if parameter == "job_id" {
        i64::MAX.to_string()
    } else {
        Uuid::max().to_string()
    }
}

/// A campaign of the second tenant's own.
async fn own_campaign(api: &TestApi, name: &str) {
    use tidings_core::campaign::{CampaignName, built_in};
    use tidings_engine::store::campaigns::{self, StoredCampaign};
    let name = CampaignName::parse(name).unwrap();
    let mut definition = serde_json::to_value(&built_in()[0]).unwrap();
    definition["name"] = json!(name);
    let own = StoredCampaign {
        name,
        own: true,
        definition,
    };
    let mut tx = api.store.worker_tenant(api.bob.id).tx().await.unwrap();
    campaigns::put(&mut tx, &[own], &[], api.now).await.unwrap();
    tx.commit().await.unwrap();
}

/// A dead letter of the tenant: a message without a working connection.
async fn dead_letter(api: &TestApi, key: &str) -> String {
    crate::queue::make_dead_letter(api, key).await.to_string()
}

#[tokio::test]
async fn no_operation_answers_without_a_key_or_without_its_scope() {
    let api = TestApi::new().await;
    for (path, method, operation) in operations() {
        let name = format!("{method} {path}");
        let scope = operation["security"][0]["api_key"][0]
            .as_str()
            .unwrap()
            .to_owned();
        let path = fill(&path, nobody);
        let reply = send(&api, "", &method, &path, &operation).await;
        assert_eq!(reply.status, 401, "{name}");
        reply.problem(401, "auth.required");
        let rest: Vec<String> = tenant_scopes()
            .into_iter()
            .filter(|word| *word != scope)
            .collect();
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        let key = api.key(&api.ann, &rest).await;
        let reply = send(&api, &key, &method, &path, &operation).await;
        assert_eq!(reply.status, 403, "{name}: {:?}", reply.body);
        reply.problem(403, "auth.scope");
    }
}

#[tokio::test]
async fn ids_of_another_tenant_answer_like_ids_of_nobody() {
    let api = TestApi::new().await;
    let foreign = live_ids(&api, &api.bob.key).await;
    for (path, method, operation) in operations() {
        if !path.contains('{') || path.starts_with("/v1/tenants") {
            continue;
        }
        let name = format!("{method} {path}");
        let known = |parameter: &str| {
            foreign
                .get(parameter)
                .unwrap_or_else(|| panic!("{name}: no case for {parameter}"))
                .clone()
        };
        let random = send(&api, &api.ann.key, &method, &fill(&path, nobody), &operation).await;
        let theirs = send(&api, &api.ann.key, &method, &fill(&path, known), &operation).await;
        assert_eq!(random.status, 404, "{name}: {:?}", random.body);
        assert_eq!(theirs.status, 404, "{name}: {:?}", theirs.body);
        assert_eq!(
            random.body, theirs.body,
            "{name} tells foreign ids from unknown ones"
        );
        assert_eq!(
            random.headers, theirs.headers,
            "{name} tells foreign ids from unknown ones by a header"
        );
    }
    // Nothing of the other tenant's was changed on the way.
    let contact = api
        .get(&api.bob.key, &format!("/v1/contacts/{}", foreign["contact_id"]))
        .await
        .expect(200);
    assert_eq!(contact["addresses"].as_array().unwrap().len(), 1);
    assert!(contact["erased_at"].is_null() && contact["name"].is_null());
}

#[tokio::test]
async fn lists_never_show_another_tenants_rows() {
    let api = TestApi::new().await;
    let foreign = live_ids(&api, &api.bob.key).await;
    for (path, method, operation) in operations() {
        if method != "get" || path.contains('{') || path.starts_with("/v1/tenants") {
            continue;
        }
        let reply = send(&api, &api.ann.key, &method, &path, &operation).await;
        assert_eq!(reply.status, 200, "{path}");
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        for id in foreign.values() {
            assert!(!text.contains(id.as_str()), "{path} shows {id}");
        }
    }
}
