//! A store with two tenants on a fresh database.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, PgPool};
use tidings_core::clock::Clock as _;
use tidings_core::decide::Policy;
use tidings_core::redact::Private;
use tidings_core::{ContactId, Dice, TenantId};
use tidings_store::contacts::{self, AddressInput, AddressKind, ContactInput};
use tidings_store::tenants::{self, NewTenant, TenantSettings};
use tidings_store::{Keyring, Store, StoreOptions, TenantTx};
use tidings_testkit::TestDatabase;

pub struct World {
    pub database: TestDatabase,
    pub store: Store,
    pub tenant: TenantId,
    pub other: TenantId,
    pub dice: Dice,
    pub now: Timestamp,
}

pub async fn world() -> World {
    let database = tidings_testkit::database().await;
    let now = tidings_testkit::fixed_clock().now();
    let store = connect(&database.url, Keyring::random().unwrap(), now)
        .await
        .unwrap();
    let mut dice = Dice::from_seed(1);
    let tenant = new_tenant(&store, "acme", &mut dice, now).await;
    let other = new_tenant(&store, "other", &mut dice, now).await;
    World {
        database,
        store,
        tenant,
        other,
        dice,
        now,
    }
}

pub async fn connect(url: &str, keyring: Keyring, now: Timestamp) -> tidings_store::Result<Store> {
    let options = StoreOptions {
        max_connections_api: 3,
        max_connections_worker: 3,
        ..StoreOptions::new(url)
    };
    Store::connect(options, keyring, now).await
}

pub async fn new_tenant(store: &Store, slug: &str, dice: &mut Dice, now: Timestamp) -> TenantId {
    let id = TenantId(dice.uuid(now));
    let tenant = NewTenant {
        id,
        slug: slug.to_owned(),
        name: slug.to_uppercase(),
        policy: Policy::default(),
        settings: TenantSettings::default(),
    };
    let mut conn = store.worker().acquire().await.unwrap();
    tenants::create(&mut conn, store.keyring(), tenant, now)
        .await
        .unwrap();
    id
}

impl World {
    pub async fn tx(&self) -> TenantTx {
        self.store.tenant(self.tenant).tx().await.unwrap()
    }

    /// A contact with one e-mail address, committed.
    pub async fn contact(&mut self, external_id: &str, email: &str) -> ContactId {
        let mut tx = self.tx().await;
        let input = ContactInput {
            external_id: Some(external_id.to_owned()),
            name: Some(Private::new(format!("Name of {external_id}"))),
            addresses: vec![address(AddressKind::Email, email)],
            ..ContactInput::default()
        };
        let done = contacts::upsert(&mut tx, input, None, &mut self.dice, self.now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        done.id
    }

    /// As the owner of the database, past row-level security.
    pub fn owner(&self) -> PgPool {
        self.database.pool()
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.owner()).await.unwrap()
    }
}

pub fn address(kind: AddressKind, text: &str) -> AddressInput {
    AddressInput {
        kind,
        text: Private::new(text.to_owned()),
        primary: false,
    }
}

/// Runs a statement that tests build; never with input from outside.
pub async fn run(pool: &PgPool, sql: String) -> Result<u64, sqlx::Error> {
    sqlx::query(AssertSqlSafe(sql))
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
}

/// The SQLSTATE of a refused statement.
pub fn code(error: &sqlx::Error) -> String {
    error
        .as_database_error()
        .and_then(|e| e.code().map(std::borrow::Cow::into_owned))
        .unwrap_or_default()
}
