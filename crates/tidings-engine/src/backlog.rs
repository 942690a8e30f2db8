//! When what waits for rate limits will have gone.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::limits::limit_of;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tidings_core::TenantId;
use tidings_core::breaker::Permit;
use tidings_core::job::JobKind;
use tidings_core::limit::ends_at;
use tidings_queue::StatRow;
use tidings_store::messages::routes;

/// Backlogs of one answer.
const MOST: usize = 1_000;

/// Jobs of a tenant that wait for the rate limits of a channel's connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backlog {
    /// Whose.
    pub tenant_id: TenantId,
    /// What they do.
    pub job_type: JobKind,
    /// How many are due.
    pub waiting: u64,
    /// The limits that hold them, as connections have them: `100/h`.
    pub limits: Vec<String>,
    /// When the last of them will have gone at these limits, were nothing to come in between. A limit that a provider's refusals have shrunk
    /// counts in full.
    pub ends_at: Timestamp,
}

impl Engine {
    /// Of figures of the queue: the backlogs of channels that have none but limited connections, at most 1,000. A connection whose
    /// breaker lets nothing through does not count; where none is left there is no end to tell.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn backlogs(&self, rows: &[StatRow]) -> Result<Vec<Backlog>, EngineError> {
        let mut waiting: BTreeMap<(TenantId, JobKind), u64> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.queued > 0) {
            if let Ok(kind) = row.kind.parse() {
                *waiting.entry((row.tenant, kind)).or_default() += row.queued.unsigned_abs();
            }
        }
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.now();
        let tenants: BTreeSet<TenantId> = waiting.keys().map(|(tenant, _)| *tenant).collect();
        let tenants: Vec<TenantId> = tenants.into_iter().collect();
        let mut conn = self.inner.conn().await?;
        let connections = routes::load(&mut conn, &tenants).await?;
        drop(conn);
        let backlog = |((tenant_id, job_type), waiting)| {
            let usable = connections.iter().filter(|row| {
                row.tenant == tenant_id
                    && JobKind::send_by(row.channel) == job_type
                    && !matches!(row.breaker.permit(now), Permit::Wait(_))
            });
            let limits: Vec<_> = usable.map(limit_of).collect::<Option<_>>()?;
            Some(Backlog {
                tenant_id,
                job_type,
                waiting,
                ends_at: ends_at(waiting, &limits, now)?,
                limits: limits.iter().map(ToString::to_string).collect(),
            })
        };
        Ok(waiting.into_iter().filter_map(backlog).take(MOST).collect())
    }
}
