//! Claims of a worker: what is due, and what has its turn in lines that wait for a rate limit.

use crate::engine::Inner;
use crate::error::EngineError;
use crate::process::KINDS;
use std::collections::HashMap;
use tidings_core::TenantId;
use tidings_core::job::JobKind;
use tidings_queue::{ClaimLimits, Claimed, Claimer};

/// A claimer within the node's bounds.
pub(crate) fn claimer(inner: &Inner) -> Claimer {
    let limits = ClaimLimits {
        tenant_in_flight: inner.limits.tenant_in_flight,
        ..ClaimLimits::default()
    };
    Claimer::new(inner.node, KINDS, limits)
}

/// Claims what is due and waits in no line.
pub(crate) async fn claim(inner: &Inner, claimer: &mut Claimer) -> Result<Claimed, EngineError> {
    let mut conn = inner.conn().await?;
    claimer.hold_back(inner.limiter.held());
    let claimed = claimer
        .claim(&mut conn, inner.limits.claim_batch, inner.now(), inner.lease_ms())
        .await?;
    inner.fail.pass("claim_after_commit");
    Ok(claimed)
}

/// What was claimed from lines.
#[derive(Debug, Default)]
pub(crate) struct FromLines {
    pub claimed: Claimed,
    /// Lines that jobs came from; told to the limiter when the batch has ended.
    pub keys: Vec<(TenantId, JobKind)>,
}

/// Claims from the lines whose turn it is: as many jobs as their rate limits have room for, a batch at most.
pub(crate) async fn claim_lines(inner: &Inner, claimer: &mut Claimer) -> Result<FromLines, EngineError> {
    let now = inner.now();
    if inner.limiter.next_turn().is_none_or(|at| at > now) {
        return Ok(FromLines::default());
    }
    let lines = inner.limiter.due_lines(inner, inner.limits.claim_batch).await?;
    if lines.is_empty() {
        return Ok(FromLines::default());
    }
    let mut conn = inner.conn().await?;
    let claimed = claimer
        .claim_lines(&mut conn, &lines, inner.now(), inner.lease_ms())
        .await?;
    let mut got = HashMap::new();
    for job in &claimed.jobs {
        *got.entry((job.tenant, job.kind)).or_default() += 1;
    }
    inner.limiter.claimed(&lines, &got, inner.now());
    Ok(FromLines {
        claimed,
        keys: got.into_keys().collect(),
    })
}
