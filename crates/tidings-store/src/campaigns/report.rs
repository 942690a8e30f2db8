//! Coverage: how many rows of a run were due, and what became of each. The sums must match; [`Coverage::balanced`] says so.

use super::{RowOutcome, RunState};
use crate::columns::{Page, rows_for, word};
use crate::{Result, StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::Serialize;
use std::collections::BTreeMap;
use tidings_core::campaign::CampaignName;
use tidings_core::{CampaignRunId, ErrorCategory};
use uuid::Uuid;

/// A run as reports tell it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunStory {
    /// Its id.
    pub id: CampaignRunId,
    /// Of which campaign.
    pub campaign: CampaignName,
    /// The moment it stands for.
    pub as_of: Timestamp,
    /// Moments after this one were covered; none on a first run.
    pub previous: Option<Timestamp>,
    /// Where it stands.
    pub state: RunState,
    /// Rows of the source that were looked at.
    pub scanned: u64,
    /// Rows that were due, counted when they were found.
    pub due: u64,
    /// Tries that failed.
    pub tries: u32,
    /// When it is tried (again), while it waits.
    pub next_try_at: Timestamp,
    /// What last failed, and what to do.
    pub last_error: Option<String>,
    /// What kind of failure.
    pub error_category: Option<ErrorCategory>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// Rows of one outcome and reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// What became of them.
    pub outcome: RowOutcome,
    /// Why.
    pub code: Option<String>,
    /// How many.
    pub rows: u64,
}

/// What became of a run's due rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coverage {
    /// The run.
    #[serde(flatten)]
    pub run: RunStory,
    /// By outcome; every outcome is there.
    pub outcomes: BTreeMap<RowOutcome, u64>,
    /// By outcome and reason.
    pub reasons: Vec<Counted>,
    /// Whether the outcomes add up to the rows that were due.
    pub balanced: bool,
}

struct RunRow {
    id: Uuid,
    campaign: String,
    as_of: jiff_sqlx::Timestamp,
    previous: Option<jiff_sqlx::Timestamp>,
    state: String,
    scanned: i64,
    due: i64,
    tries: i32,
    next_try_at: jiff_sqlx::Timestamp,
    last_error: Option<String>,
    error_category: Option<String>,
    started_at: Option<jiff_sqlx::Timestamp>,
    finished_at: Option<jiff_sqlx::Timestamp>,
}

impl TryFrom<RunRow> for RunStory {
    type Error = StoreError;
    fn try_from(row: RunRow) -> Result<Self> {
        let campaign = CampaignName::parse(&row.campaign)
            .map_err(|error| StoreError::invalid("campaign_runs.campaign", error.to_string()))?;
        let error_category = row
            .error_category
            .as_deref()
            .map(|text| word("campaign_runs.error_category", text))
            .transpose()?;
        Ok(Self {
            id: CampaignRunId(row.id),
            campaign,
            as_of: row.as_of.to_jiff(),
            previous: row.previous.map(jiff_sqlx::Timestamp::to_jiff),
            state: word("campaign_runs.state", &row.state)?,
            scanned: row.scanned.unsigned_abs(),
            due: row.due.unsigned_abs(),
            tries: row.tries.unsigned_abs(),
            next_try_at: row.next_try_at.to_jiff(),
            last_error: row.last_error,
            error_category,
            started_at: row.started_at.map(jiff_sqlx::Timestamp::to_jiff),
            finished_at: row.finished_at.map(jiff_sqlx::Timestamp::to_jiff),
        })
    }
}

/// One run.
///
/// # Errors
/// When there is no such run.
pub async fn find_run(tx: &mut TenantTx, id: CampaignRunId) -> Result<RunStory> {
    sqlx::query_as!(
        RunRow,
        r#"SELECT id, campaign, as_of AS "as_of: _", previous AS "previous: _", state, scanned, due, tries,
               next_try_at AS "next_try_at: _", last_error, error_category, started_at AS "started_at: _",
               finished_at AS "finished_at: _"
           FROM campaign_runs WHERE tenant_id = $1 AND id = $2"#,
        tx.tenant().0,
        id.0
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or_else(|| StoreError::not_found("campaign run", id))?
    .try_into()
}

/// Runs, the latest moment first; all, or of one campaign.
///
/// # Errors
/// When the database refuses.
pub async fn list_runs(
    tx: &mut TenantTx,
    campaign: Option<&CampaignName>,
    after: Option<(Timestamp, CampaignRunId)>,
    limit: u32,
) -> Result<Page<RunStory, (Timestamp, CampaignRunId)>> {
    let rows = sqlx::query_as!(
        RunRow,
        r#"SELECT id, campaign, as_of AS "as_of: _", previous AS "previous: _", state, scanned, due, tries,
               next_try_at AS "next_try_at: _", last_error, error_category, started_at AS "started_at: _",
               finished_at AS "finished_at: _"
           FROM campaign_runs
           WHERE tenant_id = $1 AND ($2::text IS NULL OR campaign = $2)
               AND ($3::timestamptz IS NULL OR as_of < $3 OR (as_of = $3 AND id > $4))
           ORDER BY as_of DESC, id LIMIT $5"#,
        tx.tenant().0,
        campaign.map(CampaignName::as_str),
        after.map(|(at, _)| at.to_sqlx()) as _,
        after.map_or(Uuid::nil(), |(_, id)| id.0),
        rows_for(limit),
    )
    .fetch_all(&mut **tx)
    .await?;
    let runs = rows
        .into_iter()
        .map(RunStory::try_from)
        .collect::<Result<Vec<_>>>()?;
    Ok(Page::from_rows(runs, limit, |run| (run.as_of, run.id)))
}

/// What became of the due rows of runs, in the order of the ids; runs that are not there are left out.
///
/// # Errors
/// When the database refuses.
pub async fn coverage(tx: &mut TenantTx, runs: Vec<RunStory>) -> Result<Vec<Coverage>> {
    let ids: Vec<Uuid> = runs.iter().map(|run| run.id.0).collect();
    let counted = sqlx::query!(
        r#"SELECT run_id, outcome, code, count(*) AS "rows!" FROM campaign_rows
           WHERE tenant_id = $1 AND run_id = ANY ($2) GROUP BY run_id, outcome, code ORDER BY run_id, outcome, code"#,
        tx.tenant().0,
        &ids
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut by_run: BTreeMap<Uuid, Vec<Counted>> = BTreeMap::new();
    for row in counted {
        by_run.entry(row.run_id).or_default().push(Counted {
            outcome: word("campaign_rows.outcome", &row.outcome)?,
            code: row.code,
            rows: row.rows.unsigned_abs(),
        });
    }
    Ok(runs
        .into_iter()
        .map(|run| Coverage::of(by_run.remove(&run.id.0).unwrap_or_default(), run))
        .collect())
}

impl Coverage {
    /// Adds up.
    fn of(reasons: Vec<Counted>, run: RunStory) -> Self {
        let mut outcomes: BTreeMap<RowOutcome, u64> =
            RowOutcome::ALL.iter().map(|outcome| (*outcome, 0)).collect();
        for counted in &reasons {
            *outcomes.entry(counted.outcome).or_default() += counted.rows;
        }
        let balanced = outcomes.values().sum::<u64>() == run.due;
        Self {
            run,
            outcomes,
            reasons,
            balanced,
        }
    }
}
