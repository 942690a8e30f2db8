//! Feedback that a lost webhook would have brought, asked for: what became of messages (`unreported`), and the providers' own
//! lists of addresses they do not write to (`suppression_mirror`).
//!
//! When is a rule (`core/reconcile.rs`). A connection has one turn at a time, over all nodes: whoever takes it puts the next one
//! off, and everything it writes is fenced by that. Nothing on the messages' path writes for this.

use crate::engine::{Engine, Inner};
use crate::error::EngineError;
use crate::webhook::route;
use crate::{figures, suppression_mirror, unreported};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::reconcile::{UNABLE, pause};
use tidings_core::{Channel, ErrorCategory};
use tidings_providers::{Provider, Rejection, UNSUPPORTED, feedback};
use tidings_store::TenantKey;
use tidings_store::tracking::inbox::WebhookConnection;
use tidings_store::tracking::turns::{self, Feedback, Turn};
use tokio_util::sync::CancellationToken;

/// Between two rounds.
const ROUND: Duration = Duration::from_mins(1);
/// Connections of one page.
const PAGE: i64 = 100;
/// Questions whose answers are written in one commit.
pub(crate) const CHUNK: usize = 10;
/// A turn is another's after so long without a sign of life, or when a chunk of slow answers could take longer.
const SHORTEST_TURN: SignedDuration = SignedDuration::from_mins(5);

/// How fast providers are asked.
#[derive(Clone, Copy, Debug)]
pub struct ReconcilePace {
    /// Connections asked at once. Each is asked one question at a time.
    pub connections: usize,
    /// Between two questions to one: mostly they count against the limit of sending.
    pub between: Duration,
}

impl Default for ReconcilePace {
    fn default() -> Self {
        Self {
            connections: 8,
            between: Duration::from_secs(1),
        }
    }
}

/// What a round brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Questions about messages.
    pub asked: usize,
    /// Messages of which more is known now.
    pub found: usize,
    /// Addresses that are suppressed from now on because a provider lists them.
    pub mirrored: usize,
}

impl Reconciled {
    pub(crate) fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.found += other.found;
        self.mirrored += other.mirrored;
    }
}

impl Engine {
    /// Asks providers for feedback that never came, until `stop` is cancelled.
    pub async fn reconcile(&self, pace: ReconcilePace, stop: CancellationToken) {
        loop {
            if let Err(error) = round(&self.inner, pace, &stop).await {
                tracing::warn!(%error, "providers could not be asked for feedback; this is tried again");
            }
            if tokio::time::timeout(ROUND, stop.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// Asks once what is due at the engine's clock, without rests between questions: for tests.
    ///
    /// # Errors
    /// When the database fails. What goes wrong with one connection is logged and holds up no other.
    pub async fn reconcile_due(&self) -> Result<Reconciled, EngineError> {
        let pace = ReconcilePace {
            between: Duration::ZERO,
            ..ReconcilePace::default()
        };
        round(&self.inner, pace, &CancellationToken::new()).await
    }
}

/// A turn of every connection whose turn has come.
async fn round(
    inner: &Inner,
    pace: ReconcilePace,
    stop: &CancellationToken,
) -> Result<Reconciled, EngineError> {
    let mut done = Reconciled::default();
    for (what, providers) in [
        (Feedback::Reports, feedback::REPORTING),
        (Feedback::Suppressions, feedback::LISTING),
    ] {
        let mut after = None;
        while !stop.is_cancelled() {
            let mut conn = inner.conn().await?;
            let page = turns::due(&mut conn, what, &providers, after, PAGE, inner.now()).await?;
            drop(conn);
            let Some(last) = page.last() else { break };
            after = Some((last.target.tenant, last.target.connection));
            let turns: Vec<Reconciled> = stream::iter(page)
                .map(|found| turn(inner, pace, stop, what, found))
                .buffer_unordered(pace.connections.max(1))
                .collect()
                .await;
            for turn in turns {
                done.add(turn);
            }
        }
    }
    Ok(done)
}

async fn turn(
    inner: &Inner,
    pace: ReconcilePace,
    stop: &CancellationToken,
    what: Feedback,
    found: WebhookConnection,
) -> Reconciled {
    let (tenant, connection) = (found.target.tenant, found.target.connection);
    match take_turn(inner, pace, stop, what, found).await {
        Ok(done) => done,
        Err(error) => {
            tracing::warn!(%error, %tenant, %connection, %what, "a provider could not be asked for feedback");
            Reconciled::default()
        }
    }
}

async fn take_turn(
    inner: &Inner,
    pace: ReconcilePace,
    stop: &CancellationToken,
    what: Feedback,
    found: WebhookConnection,
) -> Result<Reconciled, EngineError> {
    let now = inner.now();
    let target = found.target;
    let turn = Turn {
        tenant: target.tenant,
        connection: target.connection,
        what,
        claim: inner.dice().uuid(now),
    };
    let mut conn = inner.conn().await?;
    if !turns::take(&mut conn, &turn, later(now, lease(inner, pace)), now).await? {
        return Ok(Reconciled::default());
    }
    let key = inner.store.keyring().tenant_key(&mut conn, target.tenant).await?;
    drop(conn);
    let (done, wait) = match inner.providers.of(&key, &route(found)) {
        Ok(provider) => {
            let desk = Desk {
                inner,
                pace,
                stop,
                turn,
                channel: target.channel,
                provider,
                key,
            };
            match what {
                Feedback::Reports => unreported::ask_about(&desk).await?,
                Feedback::Suppressions => suppression_mirror::read(&desk).await?,
            }
        }
        Err(problem) => {
            tracing::warn!(connection = %target.connection, %problem, "the connection cannot be used; it is not asked for feedback");
            let wait = pause(ErrorCategory::AuthFailure, None);
            (Reconciled::default(), Some(wait))
        }
    };
    if let Some(wait) = wait {
        let mut conn = inner.conn().await?;
        turns::put_off(&mut conn, &turn, later(inner.now(), wait)).await?;
    }
    Ok(done)
}

/// An instant so long after another.
fn later(now: Timestamp, wait: SignedDuration) -> Timestamp {
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// How long a turn is held without a sign of life: longer than a chunk can take.
fn lease(inner: &Inner, pace: ReconcilePace) -> SignedDuration {
    let questions = u32::try_from(CHUNK + 2).unwrap_or(u32::MAX);
    let slowest = (inner.limits.call + pace.between).saturating_mul(questions);
    SignedDuration::try_from(slowest).map_or(SHORTEST_TURN, |slowest| slowest.max(SHORTEST_TURN))
}

/// What a turn brought, and how long the connection is left alone then; none where the turn was lost to another node.
pub(crate) type Ended = (Reconciled, Option<SignedDuration>);

/// What a turn works with.
pub(crate) struct Desk<'d> {
    pub inner: &'d Inner,
    pub pace: ReconcilePace,
    pub stop: &'d CancellationToken,
    pub turn: Turn,
    pub channel: Channel,
    pub provider: Arc<dyn Provider>,
    pub key: TenantKey,
}

impl Desk<'_> {
    /// Until when the turn is held from now on.
    pub fn held_until(&self) -> Timestamp {
        later(self.inner.now(), lease(self.inner, self.pace))
    }

    /// Waits for the time of the next question; false when the process is to end.
    pub async fn rest(&self) -> bool {
        if self.pace.between.is_zero() {
            return !self.stop.is_cancelled();
        }
        tokio::time::timeout(self.pace.between, self.stop.cancelled())
            .await
            .is_err()
    }

    /// A question that was not answered: counted as any call is, and how long the connection is left alone for it.
    pub fn unanswered(&self, no: &Rejection) -> SignedDuration {
        let (connection, what) = (self.turn.connection, self.turn.what);
        if no.code == UNSUPPORTED {
            // The credential is good for sending: no error, and nobody is alarmed.
            tracing::info!(%connection, %what, detail = %no.detail, "a connection cannot be asked for feedback");
            return UNABLE;
        }
        figures::api_error(Some(self.provider.kind()), Some(no.category));
        tracing::warn!(%connection, %what, category = %no.category, code = %no.code, detail = %no.detail,
            "a provider gave no answer when it was asked for feedback");
        pause(no.category, no.retry_after)
    }
}

/// Whether it is about the connection, not about what was asked: more questions would fare no better.
pub(crate) fn is_about_the_connection(no: &Rejection) -> bool {
    no.code == UNSUPPORTED || matches!(no.category, ErrorCategory::AuthFailure | ErrorCategory::RateLimit)
}
