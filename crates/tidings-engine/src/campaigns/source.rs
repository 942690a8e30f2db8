//! Opening a tenant's source.

use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{ErrorCategory, TenantId, zone};
use tidings_source::{Mapping, Source, SourceError, SourceSettings};
use tidings_store::TenantTx;
use tidings_store::sources;
use tidings_store::tenants::Tenant;

/// Why a source could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct SourceProblem {
    /// What kind of failure; decides whether it is tried again.
    pub category: ErrorCategory,
    /// What failed, where, and what to do. No credentials, no personal data.
    pub problem: String,
}

impl From<SourceError> for SourceProblem {
    fn from(error: SourceError) -> Self {
        let category = if error.is_transient() {
            ErrorCategory::Transient
        } else {
            ErrorCategory::Permanent
        };
        Self {
            category,
            problem: error.to_string(),
        }
    }
}

impl SourceProblem {
    pub(super) fn permanent(problem: impl Into<String>) -> Self {
        Self {
            category: ErrorCategory::Permanent,
            problem: problem.into(),
        }
    }
}

impl Engine {
    /// The tenant's source, opened for reading.
    ///
    /// # Errors
    /// When it has none, or what is stored of it cannot be read.
    pub async fn open_source(
        &self,
        tenant: TenantId,
    ) -> Result<Result<Arc<Source>, SourceProblem>, EngineError> {
        let mut tx = self.inner.store.tenant(tenant).tx().await?;
        let tenant = tidings_store::tenants::get(&mut tx, tenant).await?;
        let opened = open(&self.inner, &mut tx, &tenant).await?;
        tx.commit().await?;
        Ok(opened)
    }
}

/// Sources that were opened lately: runs of one tenant share its few connections, and none is made for each run.
pub(crate) type Opened = moka::sync::Cache<(TenantId, Timestamp, String), Arc<Source>>;

/// Sources kept open at once.
const KEPT: u64 = 500;
/// How long one that nobody asks stays open.
const IDLE: Duration = Duration::from_mins(1);

/// None opened yet.
pub(crate) fn opened() -> Opened {
    moka::sync::Cache::builder()
        .max_capacity(KEPT)
        .time_to_idle(IDLE)
        .build()
}

/// The source of the transaction's tenant, opened now or lately.
pub(super) async fn open(
    inner: &Inner,
    tx: &mut TenantTx,
    tenant: &Tenant,
) -> Result<Result<Arc<Source>, SourceProblem>, EngineError> {
    let Some(stored) = sources::get(tx).await? else {
        return Ok(Err(none(tenant)));
    };
    let key = (tenant.id, stored.updated_at, tenant.policy.zone.clone());
    if let Some(source) = inner.sources.get(&key) {
        return Ok(Ok(source));
    }
    let fresh = open_anew(tx, tenant).await?.map(Arc::new);
    if let Ok(source) = &fresh {
        inner.sources.insert(key, Arc::clone(source));
    }
    Ok(fresh)
}

async fn open_anew(tx: &mut TenantTx, tenant: &Tenant) -> Result<Result<Source, SourceProblem>, EngineError> {
    let Some((source, access)) = sources::open(tx).await? else {
        return Ok(Err(none(tenant)));
    };
    if !source.enabled {
        let problem = format!("the source of {} is switched off", tenant.slug);
        return Ok(Err(SourceProblem::permanent(problem)));
    }
    let settings = serde_json::from_str::<SourceSettings>(access.expose_secret());
    let mapping = serde_json::from_value::<Mapping>(source.mapping);
    let (settings, mapping) = match (settings, mapping) {
        (Ok(settings), Ok(mapping)) => (settings, mapping),
        // The parser's words may hold what was sealed.
        (Err(_), _) => {
            let problem = "what is stored of the source cannot be read; apply it again";
            return Ok(Err(SourceProblem::permanent(problem)));
        }
        (_, Err(error)) => {
            let problem = format!("the stored mapping cannot be read ({error}); apply it again");
            return Ok(Err(SourceProblem::permanent(problem)));
        }
    };
    let zone = zone::resolve(None, &tenant.policy.zone);
    Ok(Source::open(&settings, mapping, &zone).map_err(SourceProblem::from))
}

fn none(tenant: &Tenant) -> SourceProblem {
    SourceProblem::permanent(format!(
        "{} has no source; name one in its apply file under [tenants.source]",
        tenant.slug
    ))
}
