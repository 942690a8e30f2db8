//! The OpenAPI document: committed, current, complete.

use crate::support::TestApi;
use serde_json::Value;
use std::collections::BTreeSet;

fn path() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json")
}

#[test]
fn the_committed_document_is_current() {
    let now_is = tidings_api::openapi_json();
    // Read when the test is compiled; cargo compiles it again when the variable changes.
    if option_env!("TIDINGS_UPDATE").is_some() {
        std::fs::write(path(), &now_is).unwrap();
    }
    let committed = std::fs::read_to_string(path()).unwrap_or_default();
    assert!(
        committed == now_is,
        "docs/openapi.json is not current; run: TIDINGS_UPDATE=1 cargo nextest run -p tidings-api the_committed_document_is_current"
    );
}

/// Every operation as (path, method, operation).
pub fn operations() -> Vec<(String, String, Value)> {
    let document: Value = serde_json::from_str(&tidings_api::openapi_json()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if ["get", "put", "post", "patch", "delete"].contains(&method.as_str()) {
                all.push((path.clone(), method.clone(), operation.clone()));
            }
        }
    }
    all
}

#[test]
fn every_operation_is_described_and_has_one_scope() {
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations() {
        let name = format!("{method} {path}");
        assert!(
            operation["summary"].as_str().is_some_and(|text| !text.is_empty()),
            "{name} has no summary"
        );
        assert!(
            operation["tags"].as_array().is_some_and(|tags| tags.len() == 1),
            "{name} has no tag"
        );
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
            "{name}: its operationId comes twice"
        );
        let scopes = operation["security"][0]["api_key"]
            .as_array()
            .unwrap_or_else(|| panic!("{name} has no scope"));
        assert_eq!(scopes.len(), 1, "{name}");
        assert!(
            scopes[0]
                .as_str()
                .unwrap()
                .parse::<tidings_api::scope::Scope>()
                .is_ok(),
            "{name}: {scopes:?}"
        );
        let responses = operation["responses"].as_object().unwrap();
        assert!(
            responses.keys().any(|status| status.starts_with('2')),
            "{name} has no success"
        );
        assert!(
            responses.contains_key("401") && responses.contains_key("default"),
            "{name}"
        );
    }
    assert!(ids.len() > 30);
}

#[test]
fn every_reference_leads_somewhere() {
    let text = tidings_api::openapi_json();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "no schema {name}");
    }
    for (name, schema) in schemas {
        for property in schema["properties"].as_object().into_iter().flatten() {
            let described = property.1["description"].is_string()
                || property.1["$ref"].is_string()
                || property.1["oneOf"].is_array();
            assert!(described, "{name}.{} is not described", property.0);
        }
    }
}

#[tokio::test]
async fn the_document_is_served() {
    let api = TestApi::new().await;
    let reply = api.get("", "/openapi.json").await;
    assert_eq!(reply.body, tidings_api::openapi_json().as_bytes());
}
