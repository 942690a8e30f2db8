//! Opening alerts, and enqueueing the jobs that tell of them, in the caller's transaction.

use super::notify;
use crate::error::EngineError;
use jiff::Timestamp;
use std::collections::HashMap;
use tidings_core::alert::{AlertKey, AlertRule, Notifier, auth_failure_detail, notifier_of};
use tidings_core::{AlertId, ConnectionId, Dice, ProviderKind, TenantId};
use tidings_queue::{NewJob, enqueue};
use tidings_store::Conn;
use tidings_store::alerts::notifications::{self, NotificationKey};
use tidings_store::alerts::settings::{self, AlertSettings};
use tidings_store::alerts::{self, Alert, NewAlert};

/// Raises alerts for connections whose credentials were refused just now.
pub(crate) async fn refused(
    conn: &mut Conn,
    refusals: &[(TenantId, ConnectionId, ProviderKind)],
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(), EngineError> {
    if refusals.is_empty() {
        return Ok(());
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
    open(conn, &new, now).await?;
    Ok(())
}

/// Opens alerts and sees to it that they are told of; returns those that were not open before.
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
    for alert in &raised {
        count(alert.rule);
    }
    Ok(raised)
}

/// Counts an alert that was opened.
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
