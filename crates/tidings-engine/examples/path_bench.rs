//! Rates of the whole path on a fresh database: accept (decide, render, seal, store, queue), then deliver (claim, gate,
//! intent, sandbox, outcome), then both at once.
//!
//! `cargo run --release --example path_bench -- [messages] [email|sms]`; the server is found as in the tests.
#![expect(clippy::unwrap_used, reason = "a measurement ends at the first fault")]
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use serde_json::{Map, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidings_core::decide::Policy;
use tidings_core::redact::Private;
use tidings_core::retry::Schedule;
use tidings_core::{Channel, Clock, ContactId, Dice, MessageType, ProviderKind, TenantId, Timestamp};
use tidings_engine::providers::egress::{Egress, EgressPolicy};
use tidings_engine::store::connections::{self, ConnectionSettings};
use tidings_engine::store::contacts::{self, AddressInput, AddressKind, ContactInput};
use tidings_engine::store::messages::sandbox;
use tidings_engine::store::tenants::{self, NewTenant, TenantSettings};
use tidings_engine::store::{Keyring, Store, StoreOptions};
use tidings_engine::{AcceptRequest, Engine, EngineOptions, FailPoints, Limits, Recipient};
use tidings_testkit::TestDatabase;
use tokio_util::sync::CancellationToken;

/// Requests of one call, and callers at once.
const REQUESTS: usize = 64;
const CALLERS: usize = 16;
const CONTACTS: usize = 2_000;

#[derive(Debug)]
struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the clock of a measurement")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

struct Bench {
    database: TestDatabase,
    engine: Engine,
    tenant: TenantId,
    contacts: Vec<ContactId>,
    channel: Channel,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let messages: usize = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20_000);
    let channel: Channel = arguments
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(Channel::Email);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let database = tidings_testkit::database().await;
        let bench = Bench::new(database, channel).await;
        bench.warm_up().await;

        let started = Instant::now();
        bench.accept(messages).await;
        let accept = rate(messages, started);
        let started = Instant::now();
        bench.deliver(&AtomicBool::new(true)).await;
        let deliver = rate(messages, started);

        let started = Instant::now();
        let accepted = AtomicBool::new(false);
        let accepting = async {
            bench.accept(messages).await;
            accepted.store(true, Ordering::Relaxed);
        };
        futures::join!(accepting, bench.deliver(&accepted));
        let path = rate(messages, started);

        let mut conn = bench.engine.store().worker_conn().await.unwrap();
        let count = sandbox::count(&mut conn, bench.tenant).await.unwrap();
        assert_eq!(count.duplicates, 0);
        println!(
            "{}",
            json!({"channel": channel, "messages": messages, "accept_per_s": accept, "deliver_per_s": deliver,
                   "path_per_s": path, "ledger": count.messages})
        );
    });
}

fn rate(messages: usize, started: Instant) -> u64 {
    (messages as f64 / started.elapsed().as_secs_f64()) as u64
}

impl Bench {
    async fn new(database: TestDatabase, channel: Channel) -> Self {
        let keyring = Keyring::random().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let now = clock.now();
        let store = Store::connect(StoreOptions::new(database.url.clone()), keyring.clone(), now)
            .await
            .unwrap();
        let engine = Engine::new(EngineOptions {
            store: store.clone(),
            clock,
            seed: u64::try_from(now.as_nanosecond() & 0xffff_ffff).unwrap_or(7),
            node_name: "bench".to_owned(),
            public_base_url: "https://tidings.example".parse().unwrap(),
            egress: Egress::new(EgressPolicy::for_stand_ins()).unwrap(),
            limits: Limits {
                accept_batch: 512,
                claim_batch: 512,
                calls: 1024,
                tenant_in_flight: 8192,
                ..Limits::default()
            },
            schedule: Schedule::default(),
            fail_points: FailPoints::default(),
        });
        let mut dice = Dice::from_seed(5);
        let tenant = TenantId(dice.uuid(now));
        // No hour is closed, so that the rate does not depend on the time of day.
        let whole_day = tidings_core::decide::facts::Window {
            start: jiff::civil::Time::midnight(),
            end: jiff::civil::Time::midnight(),
        };
        let policy = Policy {
            quiet_hours: Vec::new(),
            channel_quiet_hours: std::collections::BTreeMap::new(),
            contact_quiet_hours: Vec::new(),
            business_hours: whole_day,
            ..Policy::default()
        };
        let new = NewTenant {
            id: tenant,
            slug: "bench".to_owned(),
            name: "Bench".to_owned(),
            policy,
            settings: TenantSettings::default(),
        };
        let mut conn = store.worker_conn().await.unwrap();
        tenants::create(&mut conn, &keyring, new, now).await.unwrap();
        drop(conn);
        let contacts = populate(&store, tenant, channel, &mut dice, now).await;
        Self {
            database,
            engine,
            tenant,
            contacts,
            channel,
        }
    }

    async fn warm_up(&self) {
        self.accept(2 * REQUESTS * CALLERS).await;
        self.deliver(&AtomicBool::new(true)).await;
    }

    async fn accept(&self, messages: usize) {
        let calls = messages.div_ceil(REQUESTS);
        let next = std::sync::atomic::AtomicUsize::new(0);
        let caller = || async {
            loop {
                let call = next.fetch_add(1, Ordering::Relaxed);
                if call >= calls {
                    return;
                }
                let count = REQUESTS.min(messages - call * REQUESTS);
                let requests = (0..count).map(|n| self.request(call * REQUESTS + n)).collect();
                let answers = self.engine.accept(self.tenant, requests).await;
                for answer in answers {
                    answer.unwrap();
                }
            }
        };
        futures::future::join_all((0..CALLERS).map(|_| caller())).await;
    }

    fn request(&self, n: usize) -> AcceptRequest {
        let contact = self.contacts[n % self.contacts.len()];
        let mut request = AcceptRequest::new(
            Recipient::ContactId(contact),
            MessageType::parse("welcome").unwrap(),
        );
        let context = json!({"client_name": "Ann", "event_type": "wedding", "plan_id": n.to_string()});
        request.context = Private::new(context.as_object().cloned().unwrap_or_else(Map::new));
        request.channel = Some(self.channel);
        request
    }

    /// Works until nothing is left to do, once everything was accepted.
    async fn deliver(&self, accepted: &AtomicBool) {
        let stop = CancellationToken::new();
        let watch = async {
            while !accepted.load(Ordering::Relaxed) || !self.is_done().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            stop.cancel();
        };
        let (worked, ()) = futures::join!(self.engine.run(stop.clone()), watch);
        worked.unwrap();
    }

    async fn is_done(&self) -> bool {
        let left = "SELECT 1 FROM job_ready UNION ALL SELECT 1 FROM job_leases LIMIT 1";
        self.database.texts(left).await.is_empty()
    }
}

async fn populate(
    store: &Store,
    tenant: TenantId,
    channel: Channel,
    dice: &mut Dice,
    now: Timestamp,
) -> Vec<ContactId> {
    let mut tx = store.worker_tenant(tenant).tx().await.unwrap();
    let settings = ConnectionSettings {
        name: "sandbox".to_owned(),
        channel,
        provider: ProviderKind::Sandbox,
        config: json!({}),
        credentials: None,
        priority: 0,
        weight: 1,
        enabled: true,
        rate_limit: None,
    };
    connections::create(&mut tx, &settings, dice, now).await.unwrap();
    let mut contacts = Vec::with_capacity(CONTACTS);
    for part in 0..CONTACTS.div_ceil(500) {
        let inputs: Vec<ContactInput> = (0..500).map(|n| contact(part * 500 + n)).collect();
        let made = contacts::upsert_batch(&mut tx, &inputs, None, dice, now)
            .await
            .unwrap();
        contacts.extend(made.into_iter().map(|one| one.id));
    }
    tx.commit().await.unwrap();
    contacts
}

fn contact(n: usize) -> ContactInput {
    let address = |kind, text: String| AddressInput {
        kind,
        text: Private::new(text),
        primary: true,
    };
    ContactInput {
        name: Some(Private::new(format!("Contact {n}"))),
        zone: Some("UTC".to_owned()),
        addresses: vec![
            address(AddressKind::Email, format!("contact{n}@example.com")),
            address(AddressKind::Phone, format!("+1202{:07}", 555_2000 + n)),
        ],
        ..ContactInput::default()
    }
}
