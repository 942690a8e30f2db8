//! A router over a fresh database, with two tenants and their keys.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::sync::Arc;
use tidings_api::scope::Scope;
use tidings_api::{ApiSettings, ApiState, router};
use tidings_core::clock::FixedClock;
use tidings_core::decide::Policy;
use tidings_core::{Clock, Dice, TenantId};
use tidings_engine::providers::egress::{Egress, EgressPolicy};
use tidings_engine::store::api_keys::{self, NewApiKey};
use tidings_engine::store::tenants::{self, NewTenant, TenantSettings};
use tidings_engine::store::{Keyring, Store, StoreOptions};
use tidings_engine::{Engine, EngineOptions, FailPoints, Limits};
use tidings_testkit::TestDatabase;
use tower::ServiceExt;

/// Everything a test needs.
pub struct TestApi {
    /// The router.
    pub router: Router,
    /// The engine beneath, for running what is due.
    pub engine: Engine,
    /// The store beneath, for what the API cannot do.
    pub store: Store,
    /// The present instant of its clock.
    pub now: Timestamp,
    /// A tenant with a key that has every scope.
    pub ann: Tenant,
    /// Another one.
    pub bob: Tenant,
    /// An operator's key.
    pub operator: String,
    /// Its clock.
    pub clock: Arc<FixedClock>,
    /// The database beneath, for what nobody else may see. Dropped with the test.
    pub database: TestDatabase,
}

/// A tenant and its key.
pub struct Tenant {
    /// The tenant.
    pub id: TenantId,
    /// A key with every scope of a tenant.
    pub key: String,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// Checks the status and gives the body.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        if self.body.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// Checks that it is a problem of this status and code.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let json = self.json();
        assert_eq!(json["code"], code, "{json}");
        assert_eq!(json["status"], status);
        assert_eq!(json["type"], format!("urn:tidings:problem:{code}"));
        assert!(json["title"].is_string() && json["detail"].is_string());
        json
    }

    /// Checks that it is a 422 about this field with this code.
    #[track_caller]
    pub fn wrong(&self, pointer: &str, code: &str) {
        let json = self.problem(422, "input.invalid");
        let errors = json["errors"].as_array().unwrap();
        let found = errors
            .iter()
            .any(|error| error["pointer"] == pointer && error["code"] == code);
        assert!(found, "no {code} at {pointer} in {json}");
    }
}

/// Every scope a tenant's key may have.
pub fn tenant_scopes() -> Vec<String> {
    let own = Scope::ALL.iter().filter(|scope| **scope != Scope::TenantsAdmin);
    own.map(|scope| scope.as_str().to_owned()).collect()
}

impl TestApi {
    /// A router over a fresh database.
    pub async fn new() -> Self {
        let database = tidings_testkit::database().await;
        let clock = tidings_testkit::fixed_clock();
        let now = clock.now();
        let options = StoreOptions::new(database.url.clone());
        let store = Store::connect(options, Keyring::random().unwrap(), now)
            .await
            .unwrap();
        store.migrate(now).await.unwrap();
        let mut dice = Dice::from_seed(7);
        let ann = tenant(&store, "ann", &mut dice, now).await;
        let bob = tenant(&store, "bob", &mut dice, now).await;
        let operator = operator(&store, &mut dice, now).await;
        let settings = ApiSettings {
            metrics: Arc::new(|| "tidings_up 1\n".to_owned()),
        };
        let engine = engine(store.clone(), clock.clone());
        let state = ApiState::new(engine.clone(), settings);
        Self {
            router: router(state, "test"),
            engine,
            store,
            now,
            ann,
            bob,
            operator,
            clock,
            database,
        }
    }

    /// A key of the tenant with these scopes.
    pub async fn key(&self, tenant: &Tenant, scopes: &[&str]) -> String {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        key(
            &self.store,
            tenant.id,
            scopes,
            &mut Dice::from_seed(rand_seed()),
            self.now,
        )
        .await
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 64 << 20).await.unwrap();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// Sends a request with a key and perhaps a JSON body.
    pub async fn call(&self, key: &str, method: Method, path: &str, body: Option<Value>) -> Reply {
        self.send(request(key, method, path, body)).await
    }

    /// A sandbox connection and a contact of the tenant, ready to be written to; the contact's id.
    pub async fn ready(&self, key: &str) -> String {
        for channel in ["email", "sms"] {
            let body = serde_json::json!({"name": format!("sandbox {channel}"), "provider": "sandbox", "channel": channel});
            self.post(key, "/v1/connections", body).await.expect(201);
        }
        let body = serde_json::json!({
            "external_id": "C-1017", "name": "Ann Weaver", "zone": "America/Chicago", "country": "US",
            "addresses": [{"channel": "email", "value": "ann@example.com"}, {"channel": "sms", "value": "+14155552671"}]
        });
        let made = self.post(key, "/v1/contacts", body).await.expect(201);
        made["id"].as_str().unwrap().to_owned()
    }

    /// POST without a body.
    pub async fn act(&self, key: &str, path: &str) -> Reply {
        self.call(key, Method::POST, path, None).await
    }

    /// GET.
    pub async fn get(&self, key: &str, path: &str) -> Reply {
        self.call(key, Method::GET, path, None).await
    }

    /// POST.
    pub async fn post(&self, key: &str, path: &str, body: Value) -> Reply {
        self.call(key, Method::POST, path, Some(body)).await
    }

    /// PATCH.
    pub async fn patch(&self, key: &str, path: &str, body: Value) -> Reply {
        self.call(key, Method::PATCH, path, Some(body)).await
    }

    /// DELETE.
    pub async fn delete(&self, key: &str, path: &str) -> Reply {
        self.call(key, Method::DELETE, path, None).await
    }
}

/// A request with a key and perhaps a JSON body.
pub fn request(key: &str, method: Method, path: &str, body: Option<Value>) -> Request<Body> {
    let builder = Request::builder()
        .method(method)
        .uri(path)
        .header("x-request-id", "test");
    let builder = if key.is_empty() {
        builder
    } else {
        builder.header("authorization", format!("Bearer {key}"))
    };
    match body {
        Some(body) => builder
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap(),
        None => builder.body(Body::empty()).unwrap(),
    }
}

fn engine(store: Store, clock: Arc<dyn Clock>) -> Engine {
    Engine::new(EngineOptions {
        store,
        clock,
        seed: 11,
        node_name: "test".to_owned(),
        public_base_url: "https://tidings.example".parse().unwrap(),
        egress: Egress::new(EgressPolicy::for_stand_ins()).unwrap(),
        limits: Limits::default(),
        schedule: tidings_core::retry::Schedule::default(),
        disabled_types: std::collections::BTreeSet::new(),
        environment: std::collections::BTreeMap::new(),
        fail_points: FailPoints::default(),
    })
}

fn rand_seed() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

async fn tenant(store: &Store, slug: &str, dice: &mut Dice, now: Timestamp) -> Tenant {
    let id = TenantId(dice.uuid(now));
    let policy = Policy {
        zone: "America/Chicago".to_owned(),
        default_region: Some("US".to_owned()),
        ..Policy::default()
    };
    let settings = TenantSettings {
        postal_address: Some("1 Main St, Springfield".to_owned()),
        ..TenantSettings::default()
    };
    let new = NewTenant {
        id,
        slug: slug.to_owned(),
        name: format!("Tenant {slug}"),
        policy,
        settings,
    };
    let mut connection = store.worker().acquire().await.unwrap();
    tenants::create(&mut connection, store.keyring(), new, now)
        .await
        .unwrap();
    drop(connection);
    let key = key(store, id, tenant_scopes(), dice, now).await;
    Tenant { id, key }
}

async fn key(
    store: &Store,
    tenant: TenantId,
    scopes: Vec<String>,
    dice: &mut Dice,
    now: Timestamp,
) -> String {
    let mut tx = store.tenant(tenant).tx().await.unwrap();
    let new = NewApiKey {
        name: "test".to_owned(),
        scopes,
        expires_at: None,
    };
    let (_, secret) = api_keys::create(&mut tx, new, dice, now).await.unwrap();
    tx.commit().await.unwrap();
    secret.expose_secret().to_owned()
}

async fn operator(store: &Store, dice: &mut Dice, now: Timestamp) -> String {
    let mut connection = store.worker().acquire().await.unwrap();
    let new = NewApiKey {
        name: "operator".to_owned(),
        scopes: vec!["tenants:admin".to_owned()],
        expires_at: None,
    };
    let (_, secret) = api_keys::create_for_operator(&mut connection, new, dice, now)
        .await
        .unwrap();
    secret.expose_secret().to_owned()
}
