//! Opening a tenant's source.

use crate::engine::Engine;
use crate::error::EngineError;
use secrecy::ExposeSecret as _;
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
    pub async fn open_source(&self, tenant: TenantId) -> Result<Result<Source, SourceProblem>, EngineError> {
        let mut tx = self.inner.store.tenant(tenant).tx().await?;
        let tenant = tidings_store::tenants::get(&mut tx, tenant).await?;
        let opened = open(&mut tx, &tenant).await?;
        tx.commit().await?;
        Ok(opened)
    }
}

/// Opens the source of the transaction's tenant.
pub(super) async fn open(
    tx: &mut TenantTx,
    tenant: &Tenant,
) -> Result<Result<Source, SourceProblem>, EngineError> {
    let Some((source, access)) = sources::open(tx).await? else {
        let problem = format!(
            "{} has no source; name one in its apply file under [tenants.source]",
            tenant.slug
        );
        return Ok(Err(SourceProblem::permanent(problem)));
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
