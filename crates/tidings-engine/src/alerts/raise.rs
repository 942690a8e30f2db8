//! Opening alerts, and enqueueing the jobs that tell of them, in the caller's transaction. Never in the transaction of what
//! an alert is about: that is on record first, and the round finds what could not be raised.

use super::notify;
use crate::engine::Inner;
use crate::error::EngineError;
use jiff::Timestamp;
use std::collections::HashMap;
use std::time::Duration;
use tidings_core::alert::{AlertKey, AlertRule, Notifier, auth_failure_detail, notifier_of};
use tidings_core::{AlertId, ConnectionId, Dice, ProviderKind, TenantId};
use tidings_queue::{NewJob, enqueue};
use tidings_store::Conn;
use tidings_store::alerts::notifications::{self, NotificationKey};
use tidings_store::alerts::settings::{self, AlertSettings};
use tidings_store::alerts::{self, Alert, NewAlert};

/// Raising an alert keeps a worker no longer than this; the round does it then.
const RAISE_LIMIT: Duration = Duration::from_secs(5);

/// Raises alerts for connections whose credentials were refused just now, in a transaction of its own. A failure is told
/// and nothing else: the refusals are on record, and the next round raises from there.
pub(crate) async fn raise_refused(
    inner: &Inner,
    refusals: &[(TenantId, ConnectionId, ProviderKind)],
    dice: &mut Dice,
    now: Timestamp,
) {
    if refusals.is_empty() {
        return;
    }
    let new: Vec<NewAlert> = refusals
        .iter()
        .map(|(tenant, connection, provider)| NewAlert {
            tenant: *tenant,
            id: AlertId(dice.uuid(now)),
            key: AlertKey::new(AlertRule::AuthFailure, connection.to_string()),
            detail: auth_failure_detail(*provider, *connection),
        })
        .collect();
    let raising = async {
        let mut tx = inner.tx().await?;
        let raised = open(&mut tx, &new, now).await?;
        tx.commit().await?;
        Ok::<_, EngineError>(raised)
    };
    match tokio::time::timeout(RAISE_LIMIT, raising).await {
        Ok(Ok(raised)) => raised.iter().for_each(|alert| count(alert.rule)),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a refused credential could not be raised as an alert; the next round does it");
        }
        Err(_) => {
            tracing::warn!(limit = ?RAISE_LIMIT, "raising a refused credential took too long; the next round does it");
        }
    }
}

/// Opens alerts and sees to it that they are told of; returns those that were not open before, to be counted once that is
/// committed.
pub(super) async fn open(
    conn: &mut Conn,
    new: &[NewAlert],
    now: Timestamp,
) -> Result<Vec<Alert>, EngineError> {
    let raised = alerts::raise(conn, new, now).await?;
    if raised.is_empty() {
        return Ok(raised);
    }
    let tenants: Vec<TenantId> = raised.iter().map(|alert| alert.tenant).collect();
    let configured = settings::load(conn, &tenants).await?;
    tell_of(conn, &raised, &configured, now).await?;
    Ok(raised)
}

/// Counts an alert whose opening was committed.
pub(super) fn count(rule: AlertRule) {
    metrics::counter!("tidings_alerts_raised_total", "rule" => rule.as_str()).increment(1);
}

/// Notes who is to hear of open alerts, and enqueues a job for each who has not.
pub(super) async fn tell_of(
    conn: &mut Conn,
    open: &[Alert],
    configured: &HashMap<TenantId, AlertSettings>,
    now: Timestamp,
) -> Result<(), EngineError> {
    let keys: Vec<NotificationKey> = open
        .iter()
        .filter_map(|alert| {
            let configured = configured.get(&alert.tenant)?.configured();
            Some(NotificationKey {
                tenant: alert.tenant,
                alert: alert.id,
                notifier: notifier_of(alert.severity, configured)?,
            })
        })
        .collect();
    let new = notifications::add(conn, &keys, now).await?;
    enqueue_for(conn, &new, now).await
}

/// Enqueues a job for each notifier that was told of an alert which is over.
pub(super) async fn tell_over(
    conn: &mut Conn,
    ended: &[(TenantId, AlertId)],
    now: Timestamp,
) -> Result<(), EngineError> {
    let woken = notifications::wake(conn, ended, now).await?;
    enqueue_for(conn, &woken, now).await
}

/// Enqueues a job for each notifier that was given up on before its tenant changed its settings.
pub(super) async fn tell_again(
    conn: &mut Conn,
    tenants: &[TenantId],
    limit: i64,
    now: Timestamp,
) -> Result<(), EngineError> {
    let revived = notifications::revive(conn, tenants, limit, now).await?;
    enqueue_for(conn, &revived, now).await
}

async fn enqueue_for(conn: &mut Conn, keys: &[NotificationKey], now: Timestamp) -> Result<(), EngineError> {
    // A digest gathers; its own schedule sends it.
    let jobs: Vec<NewJob> = keys
        .iter()
        .filter(|key| key.notifier != Notifier::Digest)
        .filter_map(|key| notify::job(*key))
        .collect();
    enqueue(conn, &jobs, now).await?;
    Ok(())
}
