//! Connecting: two pools with two roles, and the handle of one tenant.

use crate::schema::{self, SchemaState};
use crate::seal::check_master_keys;
use crate::{Keyring, Result, StoreError};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres, Transaction,
};
use std::ops::{Deref, DerefMut};
use std::str::FromStr as _;
use std::time::Duration;
use tidings_core::TenantId;

/// The role of the API: sees one tenant a transaction.
pub const APP_ROLE: &str = "tidings_app";
/// The role of the workers: sees every tenant.
pub const WORKER_ROLE: &str = "tidings_worker";

/// How long a first connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// `DATABASE_URL`.
    pub url: SecretString,
    /// For migrations and LISTEN where `url` leads through a pooler; else `url` serves.
    pub direct_url: Option<SecretString>,
    /// Connections of the API's pool.
    pub max_connections_api: u32,
    /// Connections of the workers' pool.
    pub max_connections_worker: u32,
    /// How long a statement of the API may run, in milliseconds.
    pub statement_timeout_api_ms: u32,
    /// How long a statement of a worker may run, in milliseconds.
    pub statement_timeout_worker_ms: u32,
    /// How long a caller waits for a free connection, in milliseconds.
    pub acquire_timeout_ms: u32,
    /// Shown in `pg_stat_activity`.
    pub application_name: String,
}

impl StoreOptions {
    /// The defaults for a node.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: SecretString::from(url.into()),
            direct_url: None,
            max_connections_api: 8,
            max_connections_worker: 8,
            statement_timeout_api_ms: 10_000,
            statement_timeout_worker_ms: 30_000,
            acquire_timeout_ms: 5_000,
            application_name: "tidings".to_owned(),
        }
    }
}

/// The store of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    api: PgPool,
    worker: PgPool,
    direct: PgConnectOptions,
    keyring: Keyring,
}

impl Store {
    /// Connects, and refuses early and clearly: an unreachable server, missing rights, a database of a newer version, a wrong
    /// master key. A database that is not migrated yet is fine; call [`Store::migrate`] next.
    pub async fn connect(options: StoreOptions, keyring: Keyring, now: Timestamp) -> Result<Self> {
        let url = parse("DATABASE_URL", &options.url)?.application_name(&options.application_name);
        let direct = match &options.direct_url {
            Some(direct) => {
                parse("the direct database URL", direct)?.application_name(&options.application_name)
            }
            None => url.clone(),
        };
        let api = pool(
            &url,
            APP_ROLE,
            options.max_connections_api,
            options.statement_timeout_api_ms,
            &options,
        );
        let worker = pool(
            &url,
            WORKER_ROLE,
            options.max_connections_worker,
            options.statement_timeout_worker_ms,
            &options,
        );
        let store = Self {
            api,
            worker,
            direct,
            keyring,
        };
        let mut owner = store.direct_connection().await?;
        let state = SchemaState::read(&mut owner).await?;
        if state.applied > 0 {
            store.verify(now).await?;
        }
        owner.close().await?;
        Ok(store)
    }

    /// Brings the schema up to date, as the login user. Several nodes may do so at once: one works, the others wait.
    pub async fn migrate(&self, now: Timestamp) -> Result<SchemaState> {
        let mut owner = self.direct_connection().await?;
        let state = schema::migrate(&mut owner).await?;
        owner.close().await?;
        self.verify(now).await?;
        Ok(state)
    }

    /// How far the database is migrated.
    pub async fn schema_state(&self) -> Result<SchemaState> {
        let mut owner = self.direct_connection().await?;
        let state = SchemaState::read(&mut owner).await?;
        owner.close().await?;
        Ok(state)
    }

    /// The only handle with a tenant's tables on it, in the API's role.
    pub fn tenant(&self, tenant: TenantId) -> TenantStore {
        TenantStore {
            pool: self.api.clone(),
            tenant,
            keyring: self.keyring.clone(),
        }
    }

    /// The same in the workers' pool, for background work on one tenant.
    pub fn worker_tenant(&self, tenant: TenantId) -> TenantStore {
        TenantStore {
            pool: self.worker.clone(),
            tenant,
            keyring: self.keyring.clone(),
        }
    }

    /// The workers' pool: sees every tenant; for batches.
    pub fn worker(&self) -> &PgPool {
        &self.worker
    }

    /// The API's pool, for the few questions asked before the tenant is known (API keys, readiness).
    pub fn api(&self) -> &PgPool {
        &self.api
    }

    /// The keys.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// A connection of its own past any pooler, as the login user: LISTEN, migrations, maintenance.
    pub async fn direct_connection(&self) -> Result<PgConnection> {
        let unreachable = |reason: String| StoreError::Unreachable {
            place: place(&self.direct),
            reason,
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, self.direct.connect()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable(format!(
                "no answer within {} s",
                CONNECT_TIMEOUT.as_secs()
            ))),
        }
    }

    /// Options of such a connection, for a listener.
    pub fn direct_options(&self) -> &PgConnectOptions {
        &self.direct
    }

    /// Closes both pools after what is under way.
    pub async fn close(&self) {
        self.api.close().await;
        self.worker.close().await;
    }

    /// Both pools get the role they stand on, and the master keys fit. One connection each, so that a fault shows as what it
    /// is and not as a pool that times out.
    async fn verify(&self, now: Timestamp) -> Result<()> {
        for (pool, role) in [(&self.api, APP_ROLE), (&self.worker, WORKER_ROLE)] {
            let mut connection = self.connect_as(pool, role).await?;
            let current: String = sqlx::query_scalar("SELECT current_user::text")
                .fetch_one(&mut connection)
                .await?;
            if current != role {
                return Err(StoreError::Roles {
                    user: current,
                    reason: format!(
                        "the connection did not become \"{role}\" (a pooler that drops start-up options?)"
                    ),
                    sql: "nothing; let the pooler pass `options`, or set a URL that leads past it".to_owned(),
                });
            }
            if role == WORKER_ROLE {
                check_master_keys(&mut connection, &self.keyring, now).await?;
            }
            connection.close().await?;
        }
        Ok(())
    }

    async fn connect_as(&self, pool: &PgPool, role: &'static str) -> Result<PgConnection> {
        let options = pool.connect_options();
        let attempt = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
        match attempt {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(sqlx::Error::Database(error)))
                if matches!(error.code().as_deref(), Some("42501" | "22023" | "42704")) =>
            {
                let user = options.get_username().to_owned();
                let sql = format!(
                    "CREATE ROLE {APP_ROLE} NOLOGIN; CREATE ROLE {WORKER_ROLE} NOLOGIN; GRANT {APP_ROLE}, {WORKER_ROLE} TO \"{user}\";"
                );
                Err(StoreError::Roles {
                    user,
                    reason: format!("cannot become \"{role}\": {}", error.message()),
                    sql,
                })
            }
            Ok(Err(error)) => Err(StoreError::Unreachable {
                place: place(&options),
                reason: error.to_string(),
            }),
            Err(_) => Err(StoreError::Unreachable {
                place: place(&options),
                reason: format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
            }),
        }
    }
}

/// One tenant's tables.
#[derive(Clone, Debug)]
pub struct TenantStore {
    pool: PgPool,
    tenant: TenantId,
    keyring: Keyring,
}

impl TenantStore {
    /// Whose tables.
    pub fn id(&self) -> TenantId {
        self.tenant
    }

    /// Begins a transaction that sees this tenant and no other. Dropping it rolls back.
    pub async fn tx(&self) -> Result<TenantTx> {
        // One round trip. The tenant id is a UUID, so nothing can be smuggled into the statement; the setting ends with the
        // transaction, so it cannot leak to the connection's next user.
        let begin = format!(
            "BEGIN; SELECT set_config('app.tenant', '{}', true)",
            self.tenant.0
        );
        let tx = self.pool.begin_with(AssertSqlSafe(begin)).await?;
        Ok(TenantTx {
            tx,
            tenant: self.tenant,
            keyring: self.keyring.clone(),
        })
    }
}

/// A transaction on one tenant's tables.
#[derive(Debug)]
pub struct TenantTx {
    tx: Transaction<'static, Postgres>,
    tenant: TenantId,
    keyring: Keyring,
}

impl TenantTx {
    /// Whose tables.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The keys. Cheap to clone.
    pub fn keyring(&self) -> Keyring {
        self.keyring.clone()
    }

    /// Makes what was done durable.
    pub async fn commit(self) -> Result<()> {
        Ok(self.tx.commit().await?)
    }

    /// Undoes what was done.
    pub async fn rollback(self) -> Result<()> {
        Ok(self.tx.rollback().await?)
    }
}

impl Deref for TenantTx {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.tx
    }
}

impl DerefMut for TenantTx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

fn parse(which: &'static str, url: &SecretString) -> Result<PgConnectOptions> {
    let text = url.expose_secret();
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err(StoreError::Url {
            which,
            reason: "it does not begin with postgres://".to_owned(),
        });
    }
    PgConnectOptions::from_str(text).map_err(|_| StoreError::Url {
        which,
        reason: "it cannot be parsed".to_owned(),
    })
}

/// The role is part of the connection's start, not a statement after it: it costs no round trip, and RESET leads back to it.
fn pool(
    url: &PgConnectOptions,
    role: &str,
    connections: u32,
    timeout_ms: u32,
    options: &StoreOptions,
) -> PgPool {
    let connect = url.clone().options([
        ("role", role.to_owned()),
        ("statement_timeout", timeout_ms.to_string()),
        ("idle_in_transaction_session_timeout", "10s".to_owned()),
        // Statements name their tables in the order in which rows lead to each other. A table that was filled since its
        // statistics were made (or before there were any) tempts the planner into joining whatever has a tenant in
        // common, which is everything.
        ("join_collapse_limit", "1".to_owned()),
        // The queue's trigger for rows inserted by other programs skips sessions that say they are the engine.
        ("tidings.enqueue", "on".to_owned()),
    ]);
    let connect = if role == WORKER_ROLE {
        connect.options(tidings_queue::CONNECTION_OPTIONS)
    } else {
        connect
    };
    PgPoolOptions::new()
        .max_connections(connections)
        .min_connections(0)
        .acquire_timeout(Duration::from_millis(u64::from(options.acquire_timeout_ms)))
        .idle_timeout(Duration::from_mins(10))
        .max_lifetime(Duration::from_hours(1))
        .test_before_acquire(false)
        .connect_lazy_with(connect)
}

fn place(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    format!(
        "{host}/{}",
        options.get_database().unwrap_or(options.get_username())
    )
}
