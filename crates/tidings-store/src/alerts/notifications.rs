//! What each notifier was told of an alert, and what is still to be said.

use super::{Alert, Row};
use crate::Result;
use crate::columns::word;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::Serialize;
use sqlx::PgConnection;
use tidings_core::alert::{Notifier, Told};
use tidings_core::word_enum;
use tidings_core::{AlertId, TenantId};
use uuid::Uuid;

/// The longest error that is kept, in characters.
const ERROR_MAX: usize = 1_000;

word_enum! {
    /// Where telling stands.
    pub enum NotificationState {
        /// A word is due or on its way.
        Waiting = "waiting",
        /// Nothing more to say as things are.
        Settled = "settled",
        /// Given up; the error says why.
        Failed = "failed",
    }
}

/// One notifier and one alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotificationKey {
    /// Whose.
    pub tenant: TenantId,
    /// The alert.
    pub alert: AlertId,
    /// Who is told.
    pub notifier: Notifier,
}

/// What a notifier was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notification {
    /// The alert.
    #[serde(skip)]
    pub alert: AlertId,
    /// Who is told.
    pub notifier: Notifier,
    /// What it was told.
    pub told: Told,
    /// Where telling stands.
    pub state: NotificationState,
    /// Calls that were refused or had no answer since the last one that succeeded.
    pub tries: i32,
    /// What the last of them was refused for.
    pub last_error: Option<String>,
    /// Last change.
    pub updated_at: Timestamp,
}

/// A notification that this caller may work on.
#[derive(Clone, Debug)]
pub struct Held {
    /// The alert as it is now.
    pub alert: Alert,
    /// What was told.
    pub told: Told,
    /// A call had no answer.
    pub perhaps: bool,
    /// Since when the present word is to be told.
    pub due_at: Timestamp,
}

/// What a claim brought.
#[derive(Clone, Debug)]
pub enum Claim {
    /// It is ours.
    Held(Box<Held>),
    /// Another worker makes a call.
    Busy,
    /// There is no such notification any more.
    Gone,
}

/// How a turn ended.
#[derive(Clone, Debug)]
pub struct Turn {
    /// What was told by now.
    pub told: Told,
    /// Where telling stands.
    pub state: NotificationState,
    /// A call had no answer.
    pub perhaps: bool,
    /// What it was refused for; none clears the count of tries.
    pub error: Option<String>,
}

/// Notes that notifiers are to be told of alerts; returns what was not noted before.
///
/// # Errors
/// When the database refuses.
pub async fn add(
    conn: &mut PgConnection,
    keys: &[NotificationKey],
    now: Timestamp,
) -> Result<Vec<NotificationKey>> {
    let (tenants, alerts, notifiers) = columns(keys);
    let rows = sqlx::query!(
        "INSERT INTO alert_notifications (tenant_id, alert_id, notifier, told, state, created_at, updated_at, due_at)
         SELECT tenant_id, alert_id, notifier, 'nothing', 'waiting', $4, $4, $4
         FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS g (tenant_id, alert_id, notifier)
         ON CONFLICT (tenant_id, alert_id, notifier) DO NOTHING
         RETURNING tenant_id, alert_id, notifier",
        &tenants,
        &alerts,
        &notifiers as &[&str],
        now.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| key_of(row.tenant_id, row.alert_id, &row.notifier))
        .collect()
}

/// Takes up again what was given up before the tenant last changed its settings: beginnings of alerts that are open, and
/// ends where the beginning was told or may have been. At most `limit`; returns which.
///
/// # Errors
/// When the database refuses.
pub async fn revive(
    conn: &mut PgConnection,
    tenants: &[TenantId],
    limit: i64,
    now: Timestamp,
) -> Result<Vec<NotificationKey>> {
    let tenants: Vec<Uuid> = tenants.iter().map(|tenant| tenant.0).collect();
    let rows = sqlx::query!(
        "UPDATE alert_notifications n SET state = 'waiting', updated_at = $3, due_at = $3
         FROM (SELECT f.tenant_id, f.alert_id, f.notifier
               FROM alert_notifications f
               JOIN alert_settings s ON s.tenant_id = f.tenant_id AND s.updated_at > f.updated_at
               JOIN alerts a ON a.tenant_id = f.tenant_id AND a.id = f.alert_id
               WHERE f.tenant_id = ANY ($1) AND f.state = 'failed' AND (a.state = 'open' OR f.told = 'open' OR f.perhaps)
               LIMIT $2) g
         WHERE n.tenant_id = g.tenant_id AND n.alert_id = g.alert_id AND n.notifier = g.notifier AND n.state = 'failed'
         RETURNING n.tenant_id, n.alert_id, n.notifier",
        &tenants,
        limit,
        now.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| key_of(row.tenant_id, row.alert_id, &row.notifier))
        .collect()
}

fn key_of(tenant: Uuid, alert: Uuid, notifier: &str) -> Result<NotificationKey> {
    Ok(NotificationKey {
        tenant: TenantId(tenant),
        alert: AlertId(alert),
        notifier: word("alert_notifications.notifier", notifier)?,
    })
}

/// Wakes the notifications of alerts that are over, where something was told or may have been; returns which.
///
/// # Errors
/// When the database refuses.
pub async fn wake(
    conn: &mut PgConnection,
    alerts: &[(TenantId, AlertId)],
    now: Timestamp,
) -> Result<Vec<NotificationKey>> {
    let tenants: Vec<Uuid> = alerts.iter().map(|(tenant, _)| tenant.0).collect();
    let ids: Vec<Uuid> = alerts.iter().map(|(_, alert)| alert.0).collect();
    let rows = sqlx::query!(
        "UPDATE alert_notifications n SET state = 'waiting', updated_at = $3, due_at = $3
         FROM unnest($1::uuid[], $2::uuid[]) AS g (tenant_id, alert_id)
         WHERE n.tenant_id = g.tenant_id AND n.alert_id = g.alert_id AND (n.told = 'open' OR n.perhaps)
         RETURNING n.tenant_id, n.alert_id, n.notifier",
        &tenants,
        &ids,
        now.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| key_of(row.tenant_id, row.alert_id, &row.notifier))
        .collect()
}

/// Takes a notification for one call, until an instant at the latest. Call it in a transaction of its own: the alert is
/// locked first, so that it does not end between being read and being told. That a call may have been made is on record
/// from here on, whatever becomes of the caller.
///
/// # Errors
/// When the database refuses.
pub async fn claim(
    conn: &mut PgConnection,
    key: NotificationKey,
    now: Timestamp,
    until: Timestamp,
) -> Result<Claim> {
    let alert = sqlx::query_as!(
        Row,
        r#"SELECT tenant_id, id, rule, subject, severity, state, detail, dedup_key,
               opened_at AS "opened_at: jiff_sqlx::Timestamp", last_seen_at AS "last_seen_at: jiff_sqlx::Timestamp",
               resolved_at AS "resolved_at: jiff_sqlx::Timestamp",
               acknowledged_at AS "acknowledged_at: jiff_sqlx::Timestamp", acknowledged_by
           FROM alerts WHERE tenant_id = $1 AND id = $2 FOR SHARE"#,
        key.tenant.0,
        key.alert.0,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(alert) = alert else {
        return Ok(Claim::Gone);
    };
    let row = sqlx::query!(
        r#"SELECT told, perhaps, busy_until IS NOT NULL AND busy_until > $4 AS "busy!",
               due_at AS "due_at: jiff_sqlx::Timestamp"
           FROM alert_notifications WHERE tenant_id = $1 AND alert_id = $2 AND notifier = $3 FOR UPDATE"#,
        key.tenant.0,
        key.alert.0,
        key.notifier.as_str(),
        now.to_sqlx() as _,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(Claim::Gone) };
    if row.busy {
        return Ok(Claim::Busy);
    }
    sqlx::query!(
        "UPDATE alert_notifications SET busy_until = $4, perhaps = true
         WHERE tenant_id = $1 AND alert_id = $2 AND notifier = $3",
        key.tenant.0,
        key.alert.0,
        key.notifier.as_str(),
        until.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(Claim::Held(Box::new(Held {
        alert: alert.try_into()?,
        told: word("alert_notifications.told", &row.told)?,
        perhaps: row.perhaps,
        due_at: row.due_at.to_jiff(),
    })))
}

/// Writes how a turn ended, and lets the next one have it.
///
/// # Errors
/// When the database refuses.
pub async fn end(conn: &mut PgConnection, key: NotificationKey, turn: &Turn, now: Timestamp) -> Result<()> {
    let error: Option<String> = turn
        .error
        .as_ref()
        .map(|error| error.chars().take(ERROR_MAX).collect());
    sqlx::query!(
        "UPDATE alert_notifications SET told = $4, state = $5, perhaps = $6, busy_until = NULL, updated_at = $8,
             tries = CASE WHEN $7::text IS NULL THEN 0 ELSE tries + 1 END, last_error = $7
         WHERE tenant_id = $1 AND alert_id = $2 AND notifier = $3",
        key.tenant.0,
        key.alert.0,
        key.notifier.as_str(),
        turn.told.as_str(),
        turn.state.as_str(),
        turn.perhaps,
        error,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What was told of alerts of one tenant.
///
/// # Errors
/// When the database refuses.
pub async fn of(conn: &mut PgConnection, tenant: TenantId, alerts: &[AlertId]) -> Result<Vec<Notification>> {
    let ids: Vec<Uuid> = alerts.iter().map(|alert| alert.0).collect();
    let rows = sqlx::query!(
        r#"SELECT alert_id, notifier, told, state, tries, last_error, updated_at AS "updated_at: jiff_sqlx::Timestamp"
           FROM alert_notifications WHERE tenant_id = $1 AND alert_id = ANY ($2) ORDER BY alert_id, notifier"#,
        tenant.0,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Notification {
                alert: AlertId(row.alert_id),
                notifier: word("alert_notifications.notifier", &row.notifier)?,
                told: word("alert_notifications.told", &row.told)?,
                state: word("alert_notifications.state", &row.state)?,
                tries: row.tries,
                last_error: row.last_error,
                updated_at: row.updated_at.to_jiff(),
            })
        })
        .collect()
}

/// What a tenant's digest has to say as of an instant: alerts whose word is due since then, the oldest first.
///
/// # Errors
/// When the database refuses.
pub async fn for_digest(
    conn: &mut PgConnection,
    tenant: TenantId,
    as_of: Timestamp,
    limit: i64,
) -> Result<Vec<Alert>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT a.tenant_id, a.id, a.rule, a.subject, a.severity, a.state, a.detail, a.dedup_key,
               a.opened_at AS "opened_at: jiff_sqlx::Timestamp", a.last_seen_at AS "last_seen_at: jiff_sqlx::Timestamp",
               a.resolved_at AS "resolved_at: jiff_sqlx::Timestamp",
               a.acknowledged_at AS "acknowledged_at: jiff_sqlx::Timestamp", a.acknowledged_by
           FROM alert_notifications n JOIN alerts a ON a.tenant_id = n.tenant_id AND a.id = n.alert_id
           WHERE n.tenant_id = $1 AND n.notifier = 'digest' AND n.state = 'waiting' AND n.updated_at <= $2
           ORDER BY a.id LIMIT $3"#,
        tenant.0,
        as_of.to_sqlx() as _,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Alert::try_from).collect()
}

/// Notes that a digest told of these alerts, as they were then. One that changed since waits for the next digest.
///
/// # Errors
/// When the database refuses.
pub async fn digested(
    conn: &mut PgConnection,
    tenant: TenantId,
    alerts: &[Alert],
    as_of: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let ids: Vec<Uuid> = alerts.iter().map(|alert| alert.id.0).collect();
    let told: Vec<&str> = alerts
        .iter()
        .map(|alert| match alert.state {
            super::AlertState::Open => Told::Open.as_str(),
            super::AlertState::Resolved => Told::Over.as_str(),
        })
        .collect();
    sqlx::query!(
        "UPDATE alert_notifications n SET told = g.told, state = 'settled', updated_at = $5
         FROM unnest($2::uuid[], $3::text[]) AS g (alert_id, told)
         WHERE n.tenant_id = $1 AND n.alert_id = g.alert_id AND n.notifier = 'digest' AND n.state = 'waiting'
             AND n.updated_at <= $4",
        tenant.0,
        &ids,
        &told as &[&str],
        as_of.to_sqlx() as _,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn columns(keys: &[NotificationKey]) -> (Vec<Uuid>, Vec<Uuid>, Vec<&'static str>) {
    let tenants = keys.iter().map(|key| key.tenant.0).collect();
    let alerts = keys.iter().map(|key| key.alert.0).collect();
    let notifiers = keys.iter().map(|key| key.notifier.as_str()).collect();
    (tenants, alerts, notifiers)
}
