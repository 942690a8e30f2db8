//! The whole path: requests accepted (decided, rendered, stored, queued), dispatched over the sandbox with an attempt
//! recorded before and after, until every message is sent.

use super::MachineClock;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidings_core::decide::Policy;
use tidings_core::{Channel, Clock, Dice, ProviderKind, TenantId};
use tidings_engine::providers::egress::{Egress, EgressPolicy};
use tidings_engine::{AcceptRequest, Engine, EngineOptions, FailPoints, Limits};
use tidings_store::connections::{self, ConnectionSettings};
use tidings_store::tenants::{self, NewTenant, TenantSettings};
use tidings_store::{Keyring, Store, StoreOptions};
use tokio_util::sync::CancellationToken;

/// Messages of the measurement.
const MESSAGES: usize = 20_000;
/// Contacts they go to.
const CONTACTS: usize = 2_000;
/// Requests of one call.
const CALL: usize = 500;
/// Calls under way at once.
const CALLERS: usize = 4;
/// How long it may take.
const LIMIT: Duration = Duration::from_mins(2);

/// Measures the path on a fresh database.
pub async fn run(url: &str) -> Result<Value> {
    let (engine, tenant) = prepare(url).await?;
    // Contacts, keys and compiled templates exist in an installation that has run for a while.
    submit(&engine, tenant, 0, CONTACTS).await?;
    let stop = CancellationToken::new();
    let worker = {
        let (engine, stop) = (engine.clone(), stop.clone());
        #[expect(clippy::disallowed_methods, reason = "joined below")]
        tokio::spawn(async move { engine.run(stop).await })
    };
    wait_sent(&engine, CONTACTS).await?;
    let begun = Instant::now();
    submit(&engine, tenant, 1, MESSAGES).await?;
    let accepted = begun.elapsed().as_secs_f64();
    wait_sent(&engine, CONTACTS + MESSAGES).await?;
    let all = begun.elapsed().as_secs_f64();
    stop.cancel();
    worker.await?.context("the worker failed")?;
    engine.close().await;
    Ok(json!({
        "messages": MESSAGES,
        "accept_per_s": (MESSAGES as f64 / accepted).round(),
        "per_s": (MESSAGES as f64 / all).round(),
    }))
}

async fn prepare(url: &str) -> Result<(Engine, TenantId)> {
    let clock = MachineClock;
    let options = StoreOptions {
        max_connections_worker: 12,
        ..StoreOptions::new(url)
    };
    let store = Store::connect(options, Keyring::random()?, clock.now()).await?;
    store.migrate(clock.now()).await?;
    let mut dice = Dice::from_seed(7);
    let tenant = TenantId(dice.uuid(clock.now()));
    let policy = Policy {
        quiet_hours: Vec::new(),
        contact_quiet_hours: Vec::new(),
        ..Policy::default()
    };
    let new = NewTenant {
        id: tenant,
        slug: "bench".to_owned(),
        name: "Bench".to_owned(),
        policy,
        settings: TenantSettings::default(),
    };
    let mut conn = store.worker().acquire().await?;
    tenants::create(&mut conn, store.keyring(), new, clock.now()).await?;
    drop(conn);
    let mut tx = store.worker_tenant(tenant).tx().await?;
    let sandbox = ConnectionSettings {
        name: "sandbox".to_owned(),
        channel: Channel::Email,
        provider: ProviderKind::Sandbox,
        config: json!({}),
        credentials: None,
        priority: 0,
        weight: 1,
        enabled: true,
        call_limit_ms: None,
        rate_limit: None,
    };
    connections::create(&mut tx, &sandbox, &mut dice, clock.now()).await?;
    tx.commit().await?;
    let engine = Engine::new(EngineOptions {
        store,
        clock: Arc::new(clock),
        seed: 7,
        node_name: "bench".to_owned(),
        public_base_url: "http://127.0.0.1:1".parse()?,
        egress: Egress::new(EgressPolicy::default())?,
        limits: Limits::default(),
        schedule: tidings_core::retry::Schedule::default(),
        disabled_types: std::collections::BTreeSet::new(),
        environment: std::collections::BTreeMap::new(),
        redis: None,
        fail_points: FailPoints::default(),
    });
    Ok((engine, tenant))
}

async fn submit(engine: &Engine, tenant: TenantId, round: usize, messages: usize) -> Result<()> {
    let context = tidings_engine::render::sample::sample("welcome").context("welcome has no sample")?;
    let calls: Vec<usize> = (0..messages).step_by(CALL).collect();
    for group in calls.chunks(CALLERS) {
        let under_way = group.iter().map(|first| {
            let requests =
                (*first..(*first + CALL).min(messages)).map(|number| request(round, number, &context));
            let requests: Result<Vec<AcceptRequest>> = requests.collect();
            async move {
                for answer in engine.accept(tenant, requests?).await {
                    answer.map_err(|error| anyhow::anyhow!("{error}"))?;
                }
                anyhow::Ok(())
            }
        });
        futures::future::try_join_all(under_way).await?;
    }
    Ok(())
}

fn request(round: usize, number: usize, context: &Value) -> Result<AcceptRequest> {
    let contact = number % CONTACTS;
    let to = if round == 0 {
        json!({ "contact": { "external_id": format!("c{contact}"), "email": format!("c{contact}@example.com"), "name": "Kim" } })
    } else {
        json!({ "external_id": format!("c{contact}") })
    };
    let request = json!({
        "to": to, "message_type": "welcome", "urgency": "critical", "context": context,
        "source_reference": format!("{round}-{number}"),
    });
    serde_json::from_value(request).context("the request of the measurement is wrong")
}

async fn wait_sent(engine: &Engine, wanted: usize) -> Result<()> {
    let started = Instant::now();
    loop {
        let mut conn = engine.store().worker().acquire().await?;
        let sent: i64 = sqlx::query_scalar("SELECT count(*) FROM messages WHERE status = 'sent'")
            .fetch_one(&mut *conn)
            .await?;
        if usize::try_from(sent).unwrap_or(0) >= wanted {
            return Ok(());
        }
        ensure!(
            started.elapsed() < LIMIT,
            "{sent} of {wanted} messages were sent within {LIMIT:?}"
        );
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
