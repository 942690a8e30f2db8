//! A small installation: one tenant, sandbox connections, contacts made by hand.

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tidings_core::clock::FixedClock;
use tidings_core::decide::Policy;
use tidings_core::redact::Private;
use tidings_core::retry::Schedule;
use tidings_core::{
    Category, Channel, Clock, ConnectionId, ContactId, Dice, MessageId, MessageStatus, MessageType,
    ProviderKind, TenantId,
};
use tidings_engine::providers::egress::{Egress, EgressPolicy};
use tidings_engine::store::connections::{self, ConnectionSettings};
use tidings_engine::store::contacts::{self, AddressInput, AddressKind, ContactInput};
use tidings_engine::store::messages::sandbox::{self, SandboxCount};
use tidings_engine::store::tenants::{self, NewTenant, TenantChanges, TenantSettings};
use tidings_engine::store::{Keyring, Store, StoreOptions, consents};
use tidings_engine::{
    AcceptError, AcceptRequest, Accepted, Engine, EngineOptions, Explanation, FailPoints, Limits, Recipient,
};
use tidings_testkit::TestDatabase;

/// A Tuesday afternoon: business hours in UTC.
pub const NOW: &str = "2026-06-16T15:00:00Z";

pub struct World {
    pub database: TestDatabase,
    pub keyring: Keyring,
    pub clock: Arc<FixedClock>,
    pub engine: Engine,
    pub tenant: TenantId,
    pub dice: Dice,
}

impl World {
    /// Sandbox connections for e-mail, SMS and WhatsApp, the product's default policy.
    pub async fn new() -> Self {
        let world = Self::bare().await;
        let mut world = world;
        for channel in [Channel::Email, Channel::Sms, Channel::Whatsapp] {
            world.connect(channel, json!({}), 0).await;
        }
        world
    }

    /// No connections.
    pub async fn bare() -> Self {
        let database = tidings_testkit::database().await;
        let keyring = Keyring::random().unwrap();
        let clock = Arc::new(FixedClock::new(NOW.parse().unwrap()));
        let engine = engine(&database, &keyring, &clock, 1, Limits::default()).await;
        let dice = Dice::from_seed(99);
        let mut world = Self {
            database,
            keyring,
            clock,
            engine,
            tenant: TenantId(uuid::Uuid::nil()),
            dice,
        };
        world.tenant = world.make_tenant("acme").await;
        world
    }

    pub async fn make_tenant(&mut self, slug: &str) -> TenantId {
        let settings = TenantSettings {
            postal_address: Some("1 Main St, Springfield".to_owned()),
            ..TenantSettings::default()
        };
        let new = NewTenant {
            id: TenantId(self.dice.uuid(self.clock.now())),
            slug: slug.to_owned(),
            name: "Acme Events".to_owned(),
            policy: Policy::default(),
            settings,
        };
        let mut conn = self.engine.store().worker_conn().await.unwrap();
        tenants::create(&mut conn, &self.keyring, new, self.clock.now())
            .await
            .unwrap()
            .id
    }

    /// Another process on the same database.
    pub async fn another_engine(&self, seed: u64) -> Engine {
        engine(
            &self.database,
            &self.keyring,
            &self.clock,
            seed,
            Limits::default(),
        )
        .await
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn advance(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    pub async fn connect(&mut self, channel: Channel, config: Value, priority: i32) -> ConnectionId {
        let settings = ConnectionSettings {
            name: format!("sandbox {channel} {priority}"),
            channel,
            provider: ProviderKind::Sandbox,
            config,
            credentials: None::<SecretString>,
            priority,
            weight: 1,
            enabled: true,
            call_limit_ms: None,
            rate_limit: None,
        };
        let mut tx = self.engine.store().worker_tenant(self.tenant).tx().await.unwrap();
        let made = connections::create(&mut tx, &settings, &mut self.dice, self.clock.now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        made.id
    }

    /// Changes a connection's settings, or switches it off.
    pub async fn configure(&self, id: ConnectionId, channel: Channel, config: Value, enabled: bool) {
        let mut tx = self.engine.store().worker_tenant(self.tenant).tx().await.unwrap();
        let now = connections::get(&mut tx, id).await.unwrap();
        let settings = ConnectionSettings {
            name: now.name,
            channel,
            provider: ProviderKind::Sandbox,
            config,
            credentials: None::<SecretString>,
            priority: now.priority,
            weight: now.weight,
            enabled,
            call_limit_ms: None,
            rate_limit: None,
        };
        connections::update(&mut tx, id, &settings, self.clock.now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// The contact stops a channel; acknowledged when this returns.
    pub async fn stop(&self, contact: ContactId, channel: Channel) {
        let mut tx = self.engine.store().worker_tenant(self.tenant).tx().await.unwrap();
        contacts::stop(&mut tx, contact, channel, self.clock.now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn status(&self, message: MessageId) -> MessageStatus {
        self.explain(message).await.status
    }

    pub async fn policy(&mut self, change: impl FnOnce(&mut Policy)) {
        let mut policy = Policy::default();
        change(&mut policy);
        let mut conn = self.engine.store().worker_conn().await.unwrap();
        let changes = TenantChanges {
            policy: Some(policy),
            ..TenantChanges::default()
        };
        tenants::update(&mut conn, self.tenant, changes, self.clock.now())
            .await
            .unwrap();
    }

    pub async fn contact(&mut self, email: Option<&str>, phone: Option<&str>) -> ContactId {
        let address = |kind, text: &str| AddressInput {
            kind,
            text: Private::new(text.to_owned()),
            primary: true,
        };
        let mut addresses = Vec::new();
        addresses.extend(email.map(|text| address(AddressKind::Email, text)));
        addresses.extend(phone.map(|text| address(AddressKind::Phone, text)));
        let input = ContactInput {
            name: Some(Private::new("Ann Example".to_owned())),
            zone: Some("UTC".to_owned()),
            addresses,
            ..ContactInput::default()
        };
        let mut tx = self.engine.store().worker_tenant(self.tenant).tx().await.unwrap();
        let made = contacts::upsert(&mut tx, input, None, &mut self.dice, self.clock.now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        made.id
    }

    pub async fn consent(&mut self, contact: ContactId, purpose: Category) {
        let mut tx = self.engine.store().worker_tenant(self.tenant).tx().await.unwrap();
        let new = consents::NewConsent {
            contact,
            purpose,
            channel: None,
            granted: true,
            source: "test".to_owned(),
            wording: None,
        };
        consents::record(&mut tx, new, &mut self.dice, self.clock.now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn accept(&self, request: AcceptRequest) -> Result<Accepted, AcceptError> {
        self.engine
            .accept(self.tenant, vec![request])
            .await
            .pop()
            .unwrap()
    }

    pub async fn run(&self) {
        self.engine.run_due().await.unwrap();
    }

    pub async fn explain(&self, message: MessageId) -> Explanation {
        self.engine.explain(self.tenant, message).await.unwrap()
    }

    pub async fn ledger(&self) -> SandboxCount {
        let mut conn = self.engine.store().worker_conn().await.unwrap();
        sandbox::count(&mut conn, self.tenant).await.unwrap()
    }

    /// Waits until the sandbox has taken so many messages.
    pub async fn taken(&self, messages: i64) {
        for _ in 0..100_000 {
            if self.ledger().await.messages >= messages {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("the sandbox never took {messages} messages");
    }

    /// How many attempts of a message have begun.
    pub async fn attempts(&self, message: MessageId) -> usize {
        let query = format!(
            "SELECT a.id FROM deliveries d JOIN attempts a ON a.delivery_id = d.id WHERE d.message_id = '{message}'"
        );
        self.database.texts(&query).await.len()
    }

    /// A worker claims everything and is never heard of again.
    pub async fn claim_and_die(&self, seed: u64) {
        use tidings_core::job::JobKind;
        use tidings_engine::queue::{ClaimLimits, Claimer};
        let node = tidings_core::NodeId(Dice::from_seed(seed).uuid(self.now()));
        let mut conn = self.engine.store().worker_conn().await.unwrap();
        tidings_engine::queue::register(&mut conn, node, "dying", "0", self.now())
            .await
            .unwrap();
        let mut claimer = Claimer::new(node, JobKind::ALL, ClaimLimits::default());
        assert!(
            claimer
                .claim(&mut conn, 100, self.now(), 30_000)
                .await
                .unwrap()
                .lease
                .is_some()
        );
    }

    /// The status of jobs by their type, oldest first.
    pub async fn jobs(&self, kind: &str) -> Vec<String> {
        self.database
            .texts(&format!(
                "SELECT status FROM communication_jobs WHERE job_type = '{kind}' ORDER BY id"
            ))
            .await
    }
}

pub async fn engine(
    database: &TestDatabase,
    keyring: &Keyring,
    clock: &Arc<FixedClock>,
    seed: u64,
    limits: Limits,
) -> Engine {
    let store = Store::connect(
        StoreOptions {
            // A machine that is busy with other tests is no reason for a call without an answer.
            acquire_timeout_ms: 60_000,
            ..StoreOptions::new(database.url.clone())
        },
        keyring.clone(),
        clock.now(),
    )
    .await
    .unwrap();
    Engine::new(EngineOptions {
        store,
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        seed,
        node_name: format!("test-{seed}"),
        public_base_url: "https://tidings.example".parse().unwrap(),
        egress: Egress::new(EgressPolicy::for_stand_ins()).unwrap(),
        limits,
        schedule: Schedule::default(),
        disabled_types: std::collections::BTreeSet::new(),
        environment: std::collections::BTreeMap::new(),
        redis: None,
        fail_points: FailPoints::default(),
    })
}

pub fn word(text: &str) -> MessageType {
    MessageType::parse(text).unwrap()
}

/// A welcome message with everything its template needs.
pub fn welcome(contact: ContactId) -> AcceptRequest {
    let mut request = AcceptRequest::new(Recipient::ContactId(contact), word("welcome"));
    request.context = context(json!({"client_name": "Ann", "event_type": "wedding"}));
    request
}

/// A direct text.
pub fn direct(contact: ContactId, body: &str) -> AcceptRequest {
    let mut request = AcceptRequest::new(Recipient::ContactId(contact), word("direct"));
    request.content = Some(tidings_engine::DirectContent {
        subject: Some(Private::new("News".to_owned())),
        body: Private::new(body.to_owned()),
        media: None,
    });
    request
}

pub fn context(value: Value) -> Private<Map<String, Value>> {
    match value {
        Value::Object(map) => Private::new(map),
        other => panic!("{other} is not an object"),
    }
}
