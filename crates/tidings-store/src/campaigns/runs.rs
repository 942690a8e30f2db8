//! Runs: created once a moment, claimed by one node at a time, gone through page by page. Every write is fenced by the
//! claim's number: no row means that the lease was lost.

use super::rows::{self, NewRow};
use crate::{Result, StoreError};
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::PgConnection;
use tidings_core::campaign::CampaignName;
use tidings_core::{CampaignRunId, ErrorCategory, NodeId, TenantId};

/// A run to be.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// Whose.
    pub tenant: TenantId,
    /// Its id.
    pub id: CampaignRunId,
    /// Of which campaign.
    pub campaign: CampaignName,
    /// The moment it stands for.
    pub as_of: Timestamp,
    /// Asked for by a person, beside the schedule.
    pub by_hand: bool,
}

/// A run in this node's hands.
#[derive(Clone, Debug)]
pub struct ClaimedRun {
    /// Whose.
    pub tenant: TenantId,
    /// Its id.
    pub id: CampaignRunId,
    /// Of which campaign.
    pub campaign: CampaignName,
    /// The moment it stands for.
    pub as_of: Timestamp,
    /// Moments after this one are covered; none on a first run.
    pub previous: Option<Timestamp>,
    /// The definition it was begun with; none when it begins now.
    pub definition: Option<Value>,
    /// Where to go on.
    pub after_key: Option<String>,
    /// When its first try began.
    pub started_at: Timestamp,
    /// Tries that failed so far.
    pub tries: u32,
    /// The fence.
    pub claim: i64,
}

/// Creates runs; one whose moment exists already is left alone. Returns how many are new.
///
/// # Errors
/// When the database refuses.
pub async fn create(conn: &mut PgConnection, runs: &[NewRun], now: Timestamp) -> Result<u64> {
    let tenants: Vec<_> = runs.iter().map(|run| run.tenant.0).collect();
    let ids: Vec<_> = runs.iter().map(|run| run.id.0).collect();
    let campaigns: Vec<String> = runs.iter().map(|run| run.campaign.to_string()).collect();
    let moments: Vec<_> = runs.iter().map(|run| run.as_of.to_sqlx()).collect();
    let by_hand: Vec<bool> = runs.iter().map(|run| run.by_hand).collect();
    let done = sqlx::query!(
        "INSERT INTO campaign_runs (tenant_id, id, campaign, as_of, by_hand, state, next_try_at, created_at)
         SELECT tenant_id, id, campaign, as_of, by_hand, 'waiting', $6, $6
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::bool[])
              AS given (tenant_id, id, campaign, as_of, by_hand)
         ON CONFLICT (tenant_id, campaign, as_of) DO NOTHING",
        &tenants,
        &ids,
        &campaigns,
        &moments as _,
        &by_hand,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Runs of a tenant under way at once, over all nodes: as many as there are connections to its database, so that one reads while
/// another writes down, and no more pages than that are in memory. Nodes that claim at the same instant may begin a few more.
pub const RUNS_OF_TENANT: i64 = 2;

/// Claims the run that has waited longest (of several the first by name, so that a simulation repeats), of a tenant that has none under way if there is one; at most one run of a
/// campaign at a time, in the order of their moments, and at most [`RUNS_OF_TENANT`] of a tenant. `only`: runs of one tenant.
/// Nothing while the queue is fenced.
///
/// # Errors
/// When the database refuses.
pub async fn claim(
    conn: &mut PgConnection,
    node: NodeId,
    only: Option<TenantId>,
    now: Timestamp,
    lease: SignedDuration,
) -> Result<Option<ClaimedRun>> {
    let until = now.saturating_add(lease).unwrap_or(Timestamp::MAX);
    let row = sqlx::query!(
        r#"
        WITH open AS (
            SELECT r.tenant_id, r.id,
                (SELECT count(*) FROM campaign_runs o
                 WHERE o.tenant_id = r.tenant_id AND o.state = 'running' AND o.lease_until >= $2) AS under_way
            FROM campaign_runs r
            WHERE r.state IN ('waiting', 'running') AND r.next_try_at <= $2
                AND (r.state = 'waiting' OR r.lease_until < $2)
                AND ($4::uuid IS NULL OR r.tenant_id = $4)
                AND NOT EXISTS (
                    SELECT FROM campaign_runs e
                    WHERE e.tenant_id = r.tenant_id AND e.campaign = r.campaign AND e.as_of < r.as_of
                        AND e.state IN ('waiting', 'running'))
                AND queue_open()
        ), next AS (
            SELECT r.tenant_id, r.id FROM campaign_runs r JOIN open ON open.tenant_id = r.tenant_id AND open.id = r.id
            WHERE open.under_way < $5
            ORDER BY open.under_way, r.next_try_at, r.as_of, r.campaign, r.id LIMIT 1
            FOR UPDATE OF r SKIP LOCKED
        )
        UPDATE campaign_runs r
        SET state = 'running', node_id = $1, lease_until = $3, claim = r.claim + 1,
            started_at = coalesce(r.started_at, $2),
            previous = CASE WHEN r.started_at IS NOT NULL THEN r.previous ELSE (
                SELECT max(e.as_of) FROM campaign_runs e
                WHERE e.tenant_id = r.tenant_id AND e.campaign = r.campaign AND e.as_of < r.as_of
                    AND e.state = 'complete' AND NOT e.by_hand) END
        FROM next WHERE r.tenant_id = next.tenant_id AND r.id = next.id
            AND r.state IN ('waiting', 'running') AND (r.state = 'waiting' OR r.lease_until < $2)
        RETURNING r.tenant_id, r.id, r.campaign, r.as_of AS "as_of: jiff_sqlx::Timestamp",
            r.previous AS "previous: jiff_sqlx::Timestamp", r.definition, r.after_key,
            r.started_at AS "started_at!: jiff_sqlx::Timestamp", r.tries, r.claim
        "#,
        node.0,
        now.to_sqlx() as _,
        until.to_sqlx() as _,
        only.map(|tenant| tenant.0),
        RUNS_OF_TENANT,
    )
    .fetch_optional(conn)
    .await
    .map_err(StoreError::from);
    let row = match row {
        Ok(row) => row,
        // Another node began a run of the campaign at this very moment.
        Err(error) if error.violates("campaign_runs_one_at_a_time") => return Ok(None),
        Err(error) => return Err(error),
    };
    row.map(|row| {
        let campaign = CampaignName::parse(&row.campaign)
            .map_err(|error| StoreError::invalid("campaign_runs.campaign", error.to_string()))?;
        Ok(ClaimedRun {
            tenant: TenantId(row.tenant_id),
            id: CampaignRunId(row.id),
            campaign,
            as_of: row.as_of.to_jiff(),
            previous: row.previous.map(jiff_sqlx::Timestamp::to_jiff),
            definition: row.definition,
            after_key: row.after_key,
            started_at: row.started_at.to_jiff(),
            tries: row.tries.unsigned_abs(),
            claim: row.claim,
        })
    })
    .transpose()
}

/// Pins the definition and what the run covers, once, when it begins. False when the lease was lost.
///
/// # Errors
/// When the database refuses.
pub async fn renew(
    conn: &mut PgConnection,
    run: &ClaimedRun,
    definition: &Value,
    previous: Option<Timestamp>,
    until: Timestamp,
) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE campaign_runs SET definition = $4, previous = $5, lease_until = $6
         WHERE tenant_id = $1 AND id = $2 AND claim = $3 AND state = 'running'",
        run.tenant.0,
        run.id.0,
        run.claim,
        definition,
        previous.map(ToSqlx::to_sqlx) as _,
        until.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Renews the lease between two pages. False when it was lost.
///
/// # Errors
/// When the database refuses.
pub async fn heartbeat(conn: &mut PgConnection, run: &ClaimedRun, until: Timestamp) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE campaign_runs SET lease_until = $4
         WHERE tenant_id = $1 AND id = $2 AND claim = $3 AND state = 'running'",
        run.tenant.0,
        run.id.0,
        run.claim,
        until.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A page that was worked on.
#[derive(Clone, Debug)]
pub struct PageDone {
    /// Rows looked at.
    pub scanned: u32,
    /// Key of the last one; none when the page was empty.
    pub last_key: Option<String>,
    /// The due ones, and what became of them.
    pub rows: Vec<NewRow>,
    /// How many of them there were, counted before anything was done about them.
    pub due: u32,
    /// Until when the lease is renewed.
    pub lease_until: Timestamp,
}

/// Writes a page's rows and where to go on, in the caller's transaction. False when the lease was lost: roll back.
///
/// # Errors
/// When the database refuses.
pub async fn page_done(
    conn: &mut PgConnection,
    run: &ClaimedRun,
    page: &PageDone,
    now: Timestamp,
) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE campaign_runs SET after_key = coalesce($4, after_key), scanned = scanned + $5, due = due + $6, lease_until = $7,
                last_error = NULL, error_category = NULL
         WHERE tenant_id = $1 AND id = $2 AND claim = $3 AND state = 'running'",
        run.tenant.0,
        run.id.0,
        run.claim,
        page.last_key,
        i64::from(page.scanned),
        i64::from(page.due),
        page.lease_until.to_sqlx() as _,
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() != 1 {
        return Ok(false);
    }
    rows::insert(conn, run.tenant, run.id, &page.rows, now).await?;
    Ok(true)
}

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Every row was looked at.
    Complete,
    /// Given up.
    Failed {
        /// What kind of failure.
        category: ErrorCategory,
        /// What failed and what to do; no personal data.
        error: String,
    },
}

/// Ends a run. False when the lease was lost.
///
/// # Errors
/// When the database refuses.
pub async fn finish(conn: &mut PgConnection, run: &ClaimedRun, fate: &Fate, now: Timestamp) -> Result<bool> {
    let (state, error, category) = match fate {
        Fate::Complete => ("complete", None, None),
        Fate::Failed { category, error } => ("failed", Some(shortened(error)), Some(category.as_str())),
    };
    let done = sqlx::query!(
        "UPDATE campaign_runs SET state = $4, last_error = $5, error_category = $6, finished_at = $7, node_id = NULL, lease_until = NULL
         WHERE tenant_id = $1 AND id = $2 AND claim = $3 AND state = 'running'",
        run.tenant.0,
        run.id.0,
        run.claim,
        state,
        error,
        category,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Puts a run back until its next try. A try that failed counts; one that was only interrupted does not. False when the
/// lease was lost.
///
/// # Errors
/// When the database refuses.
pub async fn retry(
    conn: &mut PgConnection,
    run: &ClaimedRun,
    at: Timestamp,
    failed: Option<(ErrorCategory, &str)>,
) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE campaign_runs SET state = 'waiting', next_try_at = $4, tries = tries + $5,
                last_error = coalesce($6, last_error), error_category = coalesce($7, error_category),
                node_id = NULL, lease_until = NULL
         WHERE tenant_id = $1 AND id = $2 AND claim = $3 AND state = 'running'",
        run.tenant.0,
        run.id.0,
        run.claim,
        at.to_sqlx() as _,
        i32::from(failed.is_some()),
        failed.map(|(_, error)| shortened(error)),
        failed.map(|(category, _)| category.as_str()),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets runs before an instant with what became of their rows, at most `limit` of them; the last complete run of a campaign
/// stays, because the next one begins where it ended. Returns how many.
///
/// # Errors
/// When the database refuses.
pub async fn forget(conn: &mut PgConnection, before: Timestamp, limit: i64) -> Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM campaign_runs WHERE ctid = ANY (ARRAY (
             SELECT r.ctid FROM campaign_runs r
             WHERE r.as_of < $1 AND r.state IN ('complete', 'failed') AND EXISTS (
                 SELECT FROM campaign_runs n
                 WHERE n.tenant_id = r.tenant_id AND n.campaign = r.campaign AND n.as_of > r.as_of
                     AND n.state = 'complete' AND NOT n.by_hand)
             ORDER BY r.as_of LIMIT $2))",
        before.to_sqlx() as _,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

fn shortened(text: &str) -> String {
    text.chars().take(2000).collect()
}
