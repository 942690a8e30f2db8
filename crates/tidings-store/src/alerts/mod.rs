//! Alerts: raised once while they are open, resolved once, and kept for a while.

pub mod figures;
pub mod notifications;
pub mod settings;

use crate::columns::{rows_for, word};
use crate::{Page, Result, StoreError, TenantTx};
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use serde::Serialize;
use sqlx::PgConnection;
use tidings_core::alert::{AlertKey, AlertRule, Severity};
use tidings_core::word_enum;
use tidings_core::{AlertId, TenantId};
use uuid::Uuid;

/// The most open alerts of one tenant that are looked at.
const OPEN_MAX: i64 = 1_000;
/// An open alert that holds is written at most this often: many calls may fail at once.
const TOUCH_EVERY: SignedDuration = SignedDuration::from_secs(30);
/// The longest detail, in characters.
const DETAIL_MAX: usize = 1_000;

word_enum! {
    /// Whether an alert holds.
    pub enum AlertState {
        /// It does.
        Open = "open",
        /// It is over.
        Resolved = "resolved",
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// Whose.
    #[serde(skip)]
    pub tenant: TenantId,
    /// Its id.
    pub id: AlertId,
    /// The rule.
    pub rule: AlertRule,
    /// The connection, provider, channel or campaign; `tenant` for the whole.
    pub subject: String,
    /// How loudly.
    pub severity: Severity,
    /// Whether it holds.
    pub state: AlertState,
    /// A sentence with the figures.
    pub detail: String,
    /// What notifiers know it by.
    pub dedup_key: String,
    /// Since when.
    pub opened_at: Timestamp,
    /// When it was last seen to hold.
    pub last_seen_at: Timestamp,
    /// Since when it is over.
    pub resolved_at: Option<Timestamp>,
    /// When somebody took it on.
    pub acknowledged_at: Option<Timestamp>,
    /// Who.
    pub acknowledged_by: Option<String>,
}

/// An alert to be raised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAlert {
    /// Whose.
    pub tenant: TenantId,
    /// Its id.
    pub id: AlertId,
    /// What it is about.
    pub key: AlertKey,
    /// A sentence with the figures, without personal data.
    pub detail: String,
}

pub(crate) struct Row {
    pub tenant_id: Uuid,
    pub id: Uuid,
    pub rule: String,
    pub subject: String,
    pub severity: String,
    pub state: String,
    pub detail: String,
    pub dedup_key: String,
    pub opened_at: jiff_sqlx::Timestamp,
    pub last_seen_at: jiff_sqlx::Timestamp,
    pub resolved_at: Option<jiff_sqlx::Timestamp>,
    pub acknowledged_at: Option<jiff_sqlx::Timestamp>,
    pub acknowledged_by: Option<String>,
}

impl TryFrom<Row> for Alert {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            tenant: TenantId(row.tenant_id),
            id: AlertId(row.id),
            rule: word("alerts.rule", &row.rule)?,
            subject: row.subject,
            severity: word("alerts.severity", &row.severity)?,
            state: word("alerts.state", &row.state)?,
            detail: row.detail,
            dedup_key: row.dedup_key,
            opened_at: row.opened_at.to_jiff(),
            last_seen_at: row.last_seen_at.to_jiff(),
            resolved_at: row.resolved_at.map(jiff_sqlx::Timestamp::to_jiff),
            acknowledged_at: row.acknowledged_at.map(jiff_sqlx::Timestamp::to_jiff),
            acknowledged_by: row.acknowledged_by,
        })
    }
}

impl Alert {
    /// What it is about.
    pub fn key(&self) -> AlertKey {
        AlertKey::new(self.rule, self.subject.clone())
    }
}

/// Opens alerts; returns those that were not open before. Of a key that is open, the moment it was last seen is moved on.
///
/// # Errors
/// When the database refuses.
pub async fn raise(conn: &mut PgConnection, alerts: &[NewAlert], now: Timestamp) -> Result<Vec<Alert>> {
    if alerts.is_empty() {
        return Ok(Vec::new());
    }
    // In one order everywhere, so that two who raise the same wait for each other instead of deadlocking.
    let mut sorted: Vec<&NewAlert> = alerts.iter().collect();
    sorted.sort_by(|a, b| (a.tenant, &a.key).cmp(&(b.tenant, &b.key)));
    sorted.dedup_by(|a, b| (a.tenant, &a.key) == (b.tenant, &b.key));
    let tenants: Vec<Uuid> = sorted.iter().map(|one| one.tenant.0).collect();
    let ids: Vec<Uuid> = sorted.iter().map(|one| one.id.0).collect();
    let rules: Vec<String> = sorted.iter().map(|one| one.key.rule.to_string()).collect();
    let subjects: Vec<String> = sorted.iter().map(|one| one.key.subject.clone()).collect();
    let severities: Vec<String> = sorted
        .iter()
        .map(|one| one.key.rule.severity().to_string())
        .collect();
    let details: Vec<String> = sorted.iter().map(|one| cut(&one.detail)).collect();
    let keys: Vec<String> = sorted.iter().map(|one| format!("tidings-{}", one.id)).collect();
    let touched = now.saturating_sub(TOUCH_EVERY).unwrap_or(now);
    sqlx::query!(
        "UPDATE alerts a SET last_seen_at = $4
         FROM unnest($1::uuid[], $2::text[], $3::text[]) AS g (tenant_id, rule, subject)
         WHERE a.tenant_id = g.tenant_id AND a.rule = g.rule AND a.subject = g.subject AND a.state = 'open'
             AND a.last_seen_at < $5",
        &tenants,
        &rules,
        &subjects,
        now.to_sqlx() as _,
        touched.to_sqlx() as _,
    )
    .execute(&mut *conn)
    .await?;
    let rows = sqlx::query_as!(
        Row,
        r#"INSERT INTO alerts (tenant_id, id, rule, subject, severity, state, detail, dedup_key, opened_at, last_seen_at)
           SELECT tenant_id, id, rule, subject, severity, 'open', detail, dedup_key, $8, $8
           FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
               AS g (tenant_id, id, rule, subject, severity, detail, dedup_key)
           ON CONFLICT (tenant_id, rule, subject) WHERE state = 'open' DO NOTHING
           RETURNING tenant_id, id, rule, subject, severity, state, detail, dedup_key,
               opened_at AS "opened_at: jiff_sqlx::Timestamp", last_seen_at AS "last_seen_at: jiff_sqlx::Timestamp",
               resolved_at AS "resolved_at: jiff_sqlx::Timestamp",
               acknowledged_at AS "acknowledged_at: jiff_sqlx::Timestamp", acknowledged_by"#,
        &tenants,
        &ids,
        &rules,
        &subjects,
        &severities,
        &details,
        &keys,
        now.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Alert::try_from).collect()
}

/// Moves on when open alerts were last seen to hold, with the figures of now.
///
/// # Errors
/// When the database refuses.
pub async fn seen(conn: &mut PgConnection, alerts: &[(&Alert, String)], now: Timestamp) -> Result<()> {
    let tenants: Vec<Uuid> = alerts.iter().map(|(one, _)| one.tenant.0).collect();
    let ids: Vec<Uuid> = alerts.iter().map(|(one, _)| one.id.0).collect();
    let details: Vec<String> = alerts.iter().map(|(_, detail)| cut(detail)).collect();
    sqlx::query!(
        "UPDATE alerts a SET last_seen_at = greatest(a.last_seen_at, $4), detail = g.detail
         FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS g (tenant_id, id, detail)
         WHERE a.tenant_id = g.tenant_id AND a.id = g.id AND a.state = 'open'",
        &tenants,
        &ids,
        &details,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends open alerts; returns those that this call ended. One that was seen to hold since it was read stays open.
///
/// # Errors
/// When the database refuses.
pub async fn resolve(
    conn: &mut PgConnection,
    alerts: &[&Alert],
    now: Timestamp,
) -> Result<Vec<(TenantId, AlertId)>> {
    let tenants: Vec<Uuid> = alerts.iter().map(|one| one.tenant.0).collect();
    let ids: Vec<Uuid> = alerts.iter().map(|one| one.id.0).collect();
    let read: Vec<jiff_sqlx::Timestamp> = alerts.iter().map(|one| one.last_seen_at.to_sqlx()).collect();
    let rows = sqlx::query!(
        "UPDATE alerts a SET state = 'resolved', resolved_at = $4
         FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS g (tenant_id, id, read_at)
         WHERE a.tenant_id = g.tenant_id AND a.id = g.id AND a.state = 'open' AND a.last_seen_at <= g.read_at
         RETURNING a.tenant_id, a.id",
        &tenants,
        &ids,
        &read,
        now.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    let ended = rows
        .into_iter()
        .map(|row| (TenantId(row.tenant_id), AlertId(row.id)));
    Ok(ended.collect())
}

/// The open alerts of tenants.
///
/// # Errors
/// When the database refuses.
pub async fn open(conn: &mut PgConnection, tenants: &[TenantId]) -> Result<Vec<Alert>> {
    let tenants: Vec<Uuid> = tenants.iter().map(|tenant| tenant.0).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT a.tenant_id, a.id, a.rule, a.subject, a.severity, a.state, a.detail, a.dedup_key,
               a.opened_at AS "opened_at: jiff_sqlx::Timestamp", a.last_seen_at AS "last_seen_at: jiff_sqlx::Timestamp",
               a.resolved_at AS "resolved_at: jiff_sqlx::Timestamp",
               a.acknowledged_at AS "acknowledged_at: jiff_sqlx::Timestamp", a.acknowledged_by
           FROM unnest($1::uuid[]) AS t (id)
           CROSS JOIN LATERAL (
               SELECT * FROM alerts WHERE tenant_id = t.id AND state = 'open' ORDER BY rule, subject LIMIT $2) a"#,
        &tenants,
        OPEN_MAX,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Alert::try_from).collect()
}

/// Open alerts of tenants that are not active: nobody looks at their figures. At most so many.
///
/// # Errors
/// When the database refuses.
pub async fn open_of_inactive(conn: &mut PgConnection, limit: i64) -> Result<Vec<Alert>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT a.tenant_id, a.id, a.rule, a.subject, a.severity, a.state, a.detail, a.dedup_key,
               a.opened_at AS "opened_at: jiff_sqlx::Timestamp", a.last_seen_at AS "last_seen_at: jiff_sqlx::Timestamp",
               a.resolved_at AS "resolved_at: jiff_sqlx::Timestamp",
               a.acknowledged_at AS "acknowledged_at: jiff_sqlx::Timestamp", a.acknowledged_by
           FROM alerts a JOIN tenants t ON t.id = a.tenant_id
           WHERE a.state = 'open' AND t.status <> 'active' ORDER BY a.tenant_id, a.id LIMIT $1"#,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Alert::try_from).collect()
}

/// How many alerts are open, by severity, over all tenants.
///
/// # Errors
/// When the database refuses.
pub async fn count_open(conn: &mut PgConnection) -> Result<Vec<(Severity, i64)>> {
    let rows = sqlx::query!(
        r#"SELECT severity, count(*) AS "n!" FROM alerts WHERE state = 'open' GROUP BY severity"#
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((word("alerts.severity", &row.severity)?, row.n)))
        .collect()
}

/// The tenant's alerts, newest first: open, over, or both.
///
/// # Errors
/// When the database refuses.
pub async fn list(
    tx: &mut TenantTx,
    state: Option<AlertState>,
    before: Option<AlertId>,
    limit: u32,
) -> Result<Page<Alert, AlertId>> {
    let tenant = tx.tenant();
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT tenant_id, id, rule, subject, severity, state, detail, dedup_key,
               opened_at AS "opened_at: jiff_sqlx::Timestamp", last_seen_at AS "last_seen_at: jiff_sqlx::Timestamp",
               resolved_at AS "resolved_at: jiff_sqlx::Timestamp",
               acknowledged_at AS "acknowledged_at: jiff_sqlx::Timestamp", acknowledged_by
           FROM alerts WHERE tenant_id = $1 AND ($2::text IS NULL OR state = $2) AND ($3::uuid IS NULL OR id < $3)
           ORDER BY id DESC LIMIT $4"#,
        tenant.0,
        state.map(AlertState::as_str),
        before.map(|id| id.0),
        rows_for(limit),
    )
    .fetch_all(&mut **tx)
    .await?;
    let alerts = rows
        .into_iter()
        .map(Alert::try_from)
        .collect::<Result<Vec<_>>>()?;
    Ok(Page::from_rows(alerts, limit, |alert| alert.id))
}

/// Notes that somebody took an alert on; the first one stays. Returns the alert as it is then.
///
/// # Errors
/// [`StoreError::NotFound`] when the tenant has no such alert.
pub async fn acknowledge(tx: &mut TenantTx, id: AlertId, by: &str, now: Timestamp) -> Result<Alert> {
    let tenant = tx.tenant();
    let by: String = by.chars().take(200).collect();
    let row = sqlx::query_as!(
        Row,
        r#"UPDATE alerts SET acknowledged_at = coalesce(acknowledged_at, $4), acknowledged_by = coalesce(acknowledged_by, $3)
           WHERE tenant_id = $1 AND id = $2
           RETURNING tenant_id, id, rule, subject, severity, state, detail, dedup_key,
               opened_at AS "opened_at: jiff_sqlx::Timestamp", last_seen_at AS "last_seen_at: jiff_sqlx::Timestamp",
               resolved_at AS "resolved_at: jiff_sqlx::Timestamp",
               acknowledged_at AS "acknowledged_at: jiff_sqlx::Timestamp", acknowledged_by"#,
        tenant.0,
        id.0,
        by,
        now.to_sqlx() as _,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.ok_or_else(|| StoreError::not_found("alert", id))?.try_into()
}

/// Forgets alerts that have been over since before an instant, at most `limit`. Returns how many.
///
/// # Errors
/// When the database refuses.
pub async fn forget(conn: &mut PgConnection, before: Timestamp, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM alerts WHERE (tenant_id, id) IN (
             SELECT tenant_id, id FROM alerts WHERE state = 'resolved' AND resolved_at < $1 LIMIT $2)",
        before.to_sqlx() as _,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

fn cut(text: &str) -> String {
    text.chars().take(DETAIL_MAX).collect()
}
