//! Campaigns over the API: listed, run, reported row by row, explained, exported.

use crate::support::TestApi;
use jiff::civil::date;
use serde_json::{Value, json};
use tidings_engine::source::demo::Dealership;
use tidings_engine::source::{Mapping, SourceSettings};
use tidings_engine::store::sources::{self, SourceInput};
use tidings_testkit::TemporaryFile;

/// Connects a dealership to the first tenant.
async fn connected(api: &TestApi) -> TemporaryFile {
    let file = TemporaryFile::new("db");
    let made = Dealership::generate(3, 200, date(2026, 6, 16));
    made.load_sqlite(file.path()).await.unwrap();
    let settings: SourceSettings =
        serde_json::from_value(json!({"kind": "sqlite", "url": file.path().to_string_lossy()})).unwrap();
    let input = SourceInput {
        access: settings.to_json(),
        settings: json!({"kind": "sqlite"}),
        mapping: serde_json::to_value(Mapping::identity()).unwrap(),
        enabled: true,
    };
    let mut tx = api.store.worker_tenant(api.ann.id).tx().await.unwrap();
    sources::put(&mut tx, &input, api.now).await.unwrap();
    tx.commit().await.unwrap();
    api.engine.register().await.unwrap();
    file
}

#[tokio::test]
async fn a_run_is_asked_for_and_every_due_row_can_be_read() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    api.ready(key).await;
    let _file = connected(&api).await;
    let campaigns = api.get(key, "/v1/campaigns").await.expect(200);
    assert_eq!(campaigns.as_array().unwrap().len(), 15);
    assert!(
        campaigns
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["switch"]["state"] == "on")
    );

    let created = api
        .act(key, "/v1/campaigns/invoice_reminder/run")
        .await
        .expect(202);
    api.engine.run_campaigns_due(None).await.unwrap();
    let path = format!("/v1/campaign-runs/{}", created["run_id"].as_str().unwrap());
    let run = api.get(key, &path).await.expect(200);
    assert_eq!(
        (&run["state"], &run["balanced"]),
        (&json!("complete"), &json!(true)),
        "{run}"
    );
    let due = run["due"].as_u64().unwrap();
    assert!(due > 3, "{run}");

    // Page by page every due row comes once.
    let (mut keys, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api
            .get(key, &format!("{path}/rows?limit=2{cursor}"))
            .await
            .expect(200);
        for row in page["items"].as_array().unwrap() {
            keys.push(row["key"].as_str().unwrap().to_owned());
        }
        match &page["next_cursor"] {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => break,
        }
    }
    assert_eq!(keys.len() as u64, due);
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len() as u64, due);

    let csv = api.get(key, &format!("{path}/rows.csv")).await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    assert_eq!(String::from_utf8_lossy(&csv.body).lines().count() as u64, due + 1);
    let runs = api
        .get(key, "/v1/campaign-runs?campaign=invoice_reminder")
        .await
        .expect(200);
    assert_eq!(runs["items"][0]["run_id"], created["run_id"]);
    let table = api.get(key, "/v1/campaign-runs.csv").await;
    assert_eq!(String::from_utf8_lossy(&table.body).lines().count(), 2);

    let told = api
        .get(key, "/v1/campaigns/seven_day_checkin/explain/1")
        .await
        .expect(200);
    assert!(told["answer"].as_str().unwrap().contains("selected"), "{told}");
    assert!(!told["rows"][0]["steps"].as_array().unwrap().is_empty(), "{told}");
    // Another tenant has its own campaigns, and no source.
    api.get(&api.bob.key, &path).await.problem(404, "not_found");
    let none = api
        .get(&api.bob.key, "/v1/campaigns/seven_day_checkin/explain/1")
        .await;
    let problem = none.problem(409, "conflict");
    assert!(
        problem["detail"].as_str().unwrap().contains("has no source"),
        "{problem}"
    );
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let api = TestApi::new().await;
    let key = &api.ann.key;
    api.act(key, "/v1/campaigns/no_such/run")
        .await
        .problem(404, "not_found");
    api.act(key, "/v1/campaigns/No-Name/run")
        .await
        .problem(404, "not_found");
    let nobody = "/v1/campaign-runs/0197aaaa-0000-7000-8000-000000000000";
    api.get(key, nobody).await.problem(404, "not_found");
    api.get(key, &format!("{nobody}/rows?outcome=lost"))
        .await
        .wrong("#query/outcome", "value.invalid");
    api.get(key, "/v1/campaign-runs?cursor=xx")
        .await
        .wrong("#query/cursor", "value.invalid");
}
