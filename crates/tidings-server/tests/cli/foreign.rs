//! Rows that other programs insert with plain SQL: sent, and the row itself tells the truth.

use crate::world::{World, until};

async fn tenant(world: &World) -> String {
    world.texts("SELECT id::text FROM tenants").await.remove(0)
}

async fn row(world: &World, reference: &str) -> String {
    let query = "SELECT status || '|' || coalesce(error_category, '') || '|' || coalesce(last_error, '') FROM communication_jobs";
    world
        .texts(&format!("{query} WHERE source_reference = '{reference}'"))
        .await
        .remove(0)
}

fn insert(tenant: &str, kind: &str, payload: &str, reference: &str) -> String {
    format!(
        "INSERT INTO communication_jobs (tenant_id, job_type, payload, source_reference) \
         VALUES ('{tenant}', '{kind}', '{payload}', '{reference}') ON CONFLICT DO NOTHING"
    )
}

#[tokio::test]
async fn a_role_that_may_only_insert_gets_its_rows_sent_once() {
    let world = World::shop().await;
    let (database, tenant) = (world.database(), tenant(&world).await);
    let role = format!("outsider_{}", database.name());
    database.execute(&format!("CREATE ROLE {role} NOLOGIN")).await;
    database
        .execute(&format!("GRANT INSERT ON communication_jobs TO {role}"))
        .await;
    let rows = [
        (
            "send_email",
            r#"{"to": "ann@example.com", "subject": "Your bike is ready", "body": "Pick it up.", "urgent": true}"#,
            "bike",
        ),
        (
            "notify_customer",
            r#"{"customer_id": "4711", "subject": "Ready", "body": "Pick it up.", "urgent": true}"#,
            "customer",
        ),
        (
            "notify_customer",
            r#"{"customer_id": 4711, "body": "Ready.", "urgent": true, "theirs": [1]}"#,
            "number",
        ),
        (
            "send_sms",
            r#"{"to": "+14155550160", "body": "Ready.", "urgent": true}"#,
            "sms",
        ),
    ];
    let serving = world.serve(&[("POLL_INTERVAL_MS", "60000")]);
    serving.until("/readyz", "", |answer| answer.status == 200).await;
    for _ in 0..2 {
        for (kind, payload, reference) in rows {
            database
                .execute_as(&role, &insert(&tenant, kind, payload, reference))
                .await;
        }
    }
    until(
        &world,
        "SELECT count(*) FROM communication_jobs WHERE status = 'complete'",
        4,
    )
    .await;
    assert_eq!(world.count("SELECT count(*) FROM communication_jobs").await, 4);
    assert_eq!(
        world
            .count("SELECT count(*) FROM sandbox_messages WHERE NOT duplicate")
            .await,
        4
    );
    assert_eq!(
        world
            .count("SELECT count(*) FROM communication_jobs WHERE finished_at IS NULL OR priority <> 100")
            .await,
        0
    );
    database.execute(&format!("DROP OWNED BY {role}")).await;
    database.execute(&format!("DROP ROLE {role}")).await;
}

#[tokio::test]
async fn rows_end_as_their_message_does() {
    let world = World::shop().await;
    let (database, tenant) = (world.database(), tenant(&world).await);
    let contact = r#"{"customer_id": "4711", "body": "Ready.", "urgent": true}"#;
    let wrong_number = r#"{"customer_id": "gil", "body": "Ready.", "urgent": true}"#;
    world.apply(&format!(
        "{}\n[[tenants.contacts]]\nexternal_id = \"gil\"\nemail = \"gil@example.com\"\nphone = \"+14155550105\"\n",
        crate::world::SHOP
    ));
    let later = "INSERT INTO communication_jobs (tenant_id, job_type, payload, source_reference, process_after) \
                 VALUES ('{tenant}', 'send_email', '{payload}', 'later', now() + interval '1 day')";
    for (kind, payload, reference) in [
        ("send_email", contact, "good"),
        ("send_sms", wrong_number, "fallback"),
        (
            "send_email",
            r#"{"to": "rejected@example.com", "body": "x", "urgent": true}"#,
            "rejected",
        ),
        ("send_email", r#"{"to": "ann@example.com"}"#, "no body"),
        ("send_email", r#"{"body": "x"}"#, "nobody"),
        ("send_email", r#"{"to": "ann@@example", "body": "x"}"#, "address"),
        ("send_email", r#"["to", "ann@example.com"]"#, "list"),
        (
            "send_email",
            r#"{"to": "ann@example.com", "message_type": "welcome"}"#,
            "variables",
        ),
        (
            "send_email",
            r#"{"to": "ann@example.com", "body": "x", "urgency": "soon"}"#,
            "urgency",
        ),
        (
            "notify_customer",
            r#"{"customer_id": "stranger", "body": "x"}"#,
            "stranger",
        ),
        ("their_own_job", "{}", "theirs"),
    ] {
        assert_eq!(
            database.execute(&insert(&tenant, kind, payload, reference)).await,
            1
        );
    }
    database
        .execute(&later.replace("{tenant}", &tenant).replace("{payload}", contact))
        .await;
    let unknown = insert(
        "0197b7b0-0000-7000-8000-000000000000",
        "send_email",
        contact,
        "no tenant",
    );
    database.execute(&unknown).await;
    let _serving = world.serve(&[]);
    until(
        &world,
        "SELECT count(*) FROM communication_jobs WHERE status = 'pending'",
        2,
    )
    .await;
    until(
        &world,
        "SELECT count(*) FROM communication_jobs WHERE status = 'complete'",
        2,
    )
    .await;

    assert!(row(&world, "good").await.starts_with("complete|"));
    assert!(
        row(&world, "fallback")
            .await
            .starts_with("failed_fallback_email|"),
        "{}",
        row(&world, "fallback").await
    );
    assert!(
        row(&world, "rejected").await.starts_with("failed|permanent|"),
        "{}",
        row(&world, "rejected").await
    );
    for (reference, part) in [
        ("no body", "neither message_type nor body"),
        ("nobody", "no to, customer_id or contact_id"),
        ("address", "address"),
        ("list", "payload"),
        ("variables", "client_name, event_type"),
        ("urgency", "payload"),
        ("stranger", "no contact"),
        ("no tenant", "tenant"),
    ] {
        let row = row(&world, reference).await;
        assert!(
            row.starts_with("failed|invalid_input|") && row.contains(part),
            "{reference}: {row}"
        );
        assert!(!row.contains("ann@"), "an address in last_error: {row}");
    }
    assert_eq!(
        row(&world, "theirs").await,
        "pending||",
        "a job of another program is not ours to touch"
    );
    assert_eq!(row(&world, "later").await, "pending||");
    assert_eq!(world.count("SELECT count(*) FROM sandbox_messages").await, 2);
    let stats = world.run(&["queue", "stats"]).ok().out;
    assert!(
        stats.contains("their_own_job"),
        "unknown types are listed: {stats}"
    );
}

#[tokio::test]
async fn a_row_is_withdrawn_while_it_waits() {
    let world = World::shop().await;
    let tenant = tenant(&world).await;
    let payload = r#"{"to": "ann@example.com", "body": "x", "urgent": true}"#;
    world
        .database()
        .execute(&insert(&tenant, "send_email", payload, "no"))
        .await;
    world
        .database()
        .execute(&insert(&tenant, "send_email", payload, "yes"))
        .await;
    world
        .database()
        .execute("UPDATE communication_jobs SET status = 'cancelled' WHERE source_reference = 'no'")
        .await;
    let _serving = world.serve(&[]);
    until(
        &world,
        "SELECT count(*) FROM communication_jobs WHERE status = 'complete'",
        1,
    )
    .await;
    assert_eq!(row(&world, "no").await, "cancelled||");
    assert_eq!(world.count("SELECT count(*) FROM sandbox_messages").await, 1);
}
