//! What handlers work with: the engine, the document, the figures.

use crate::auth::{Caller, Identity, Operator};
use crate::problem::{Answer, Problem};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::sync::{Arc, OnceLock};
use tidings_core::{Dice, TenantId};
use tidings_engine::Engine;
use tidings_engine::queue::guard;
use tidings_engine::store::api_keys;
use tidings_engine::store::audit::{self, AuditEntry};
use tidings_engine::store::connections::ConnectionSettings;
use tidings_engine::store::tenants::{self, Tenant, TenantStatus};
use tidings_engine::store::{Store, StoreError, TenantStore, TenantTx};

/// Renders the process's figures as Prometheus text.
pub type MetricsRenderer = Arc<dyn Fn() -> String + Send + Sync>;

/// What the API shows that the engine does not know.
#[derive(Clone)]
pub struct ApiSettings {
    /// Renders `/metrics`.
    pub metrics: MetricsRenderer,
}

impl fmt::Debug for ApiSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiSettings").finish_non_exhaustive()
    }
}

/// What handlers work with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    settings: ApiSettings,
    document: OnceLock<String>,
}

/// Whether the node can work.
#[derive(Clone, Debug)]
pub(crate) struct Readiness {
    pub pending_migrations: usize,
    pub fenced: Option<String>,
}

impl ApiState {
    /// State over an engine.
    pub fn new(engine: Engine, settings: ApiSettings) -> Self {
        Self(Arc::new(Inner {
            engine,
            settings,
            document: OnceLock::new(),
        }))
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The store beneath the engine.
    pub fn store(&self) -> &Store {
        self.0.engine.store()
    }

    /// The present instant by the engine's clock.
    pub fn now(&self) -> Timestamp {
        self.0.engine.now()
    }

    /// Dice for one request.
    pub fn dice(&self) -> Dice {
        self.0.engine.dice()
    }

    /// The caller's tables.
    pub fn tenant(&self, caller: &Caller) -> TenantStore {
        self.store().tenant(caller.tenant)
    }

    /// The caller's tables in the workers' role: for what spans the queue's own tables.
    pub(crate) fn worker_tenant(&self, caller: &Caller) -> TenantStore {
        self.store().worker_tenant(caller.tenant)
    }

    /// Whether a connection's settings are of its provider's form.
    pub(crate) fn check_connection(&self, settings: &ConnectionSettings) -> Answer<()> {
        self.engine().check_settings(settings).map_err(|error| {
            // "smtp settings.host": the place after the provider's name is the field.
            let field = error
                .place
                .split_whitespace()
                .nth(1)
                .unwrap_or("provider")
                .replace('.', "/");
            let pointer = if field == "connection" {
                "/provider".to_owned()
            } else {
                format!("/{field}")
            };
            Problem::invalid_field(pointer, "connection.invalid", error.problem)
        })
    }

    /// The region national phone forms are read in, by the caller's tenant.
    pub(crate) async fn default_region(&self, caller: &Caller) -> Answer<Option<String>> {
        let mut tx = self.tenant(caller).tx().await?;
        Ok(tenants::get(&mut tx, caller.tenant).await?.policy.default_region)
    }

    /// Whose key it is; none for a key that is unknown, revoked or expired.
    pub(crate) async fn identity_of(&self, token: &SecretString) -> Answer<Option<Identity>> {
        let key = api_keys::verify(self.store().api(), token.expose_secret(), self.now()).await?;
        Ok(key.map(|key| Identity {
            key: key.id,
            tenant: key.tenant,
            scopes: key.scopes.into(),
        }))
    }

    /// The tenant, when an operator may act for it.
    pub(crate) async fn known_tenant(&self, tenant: TenantId) -> Answer<Tenant> {
        let mut tx = self.store().tenant(tenant).tx().await?;
        let tenant = tenants::get(&mut tx, tenant).await?;
        if tenant.status == TenantStatus::Closed {
            return Err(Problem::forbidden("tenant.closed", "the tenant is closed"));
        }
        Ok(tenant)
    }

    /// Writes down who did what, in the transaction that does it.
    pub(crate) async fn audit(
        &self,
        tx: &mut TenantTx,
        caller: &Caller,
        action: &str,
        object: String,
    ) -> Answer<()> {
        let entry = AuditEntry {
            tenant: caller.tenant,
            actor: caller.actor(),
            action: action.to_owned(),
            object,
            contact: None,
            detail: None,
        };
        let keyring = tx.keyring();
        audit::append(tx, &keyring, entry, self.now()).await?;
        Ok(())
    }

    /// Writes down what an operator did, in the operators' own chain.
    pub(crate) async fn audit_operator(
        &self,
        operator: &Operator,
        action: &str,
        tenant: TenantId,
    ) -> Answer<()> {
        let entry = AuditEntry {
            tenant: audit::OPERATOR,
            actor: operator.actor(),
            action: action.to_owned(),
            object: tenant.to_string(),
            contact: None,
            detail: None,
        };
        let mut tx = self.store().worker().begin().await.map_err(StoreError::from)?;
        audit::append(&mut tx, self.store().keyring(), entry, self.now()).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(())
    }

    /// Whether the database answers, is migrated, and sending is not fenced.
    pub(crate) async fn readiness(&self) -> Answer<Readiness> {
        let state = self.store().schema_state().await?;
        if state.pending > 0 {
            return Ok(Readiness {
                pending_migrations: state.pending,
                fenced: None,
            });
        }
        let mut connection = self.store().worker().acquire().await.map_err(StoreError::from)?;
        let fence = guard::check(&mut connection, "readyz", self.now()).await?;
        Ok(Readiness {
            pending_migrations: 0,
            fenced: fence.map(|fence| fence.reason),
        })
    }

    /// The figures as Prometheus text.
    pub(crate) fn metrics(&self) -> String {
        (self.0.settings.metrics)()
    }

    /// The OpenAPI document as JSON.
    pub(crate) fn document(&self) -> String {
        self.0.document.get().cloned().unwrap_or_default()
    }

    /// Keeps the document the router was made from.
    pub(crate) fn keep_document(&self, json: String) {
        self.0.document.get_or_init(|| json);
    }
}
