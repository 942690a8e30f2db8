//! Campaigns, their runs, and what became of every due row.

use crate::ApiState;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, bounds};
use crate::problem::{Answer, Problem};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_core::CampaignRunId;
use tidings_core::campaign::CampaignName;
use tidings_engine::store::campaigns::{self, Coverage, RowOutcome, RowTold};
use tidings_engine::{CampaignTold, coverage_csv, rows_csv};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The most rows of one CSV answer; the command line has no limit.
const CSV_ROWS: usize = 100_000;
/// Rows read at a time for it.
const CSV_PAGE: u32 = 500;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_campaigns))
        .routes(routes!(run_campaign))
        .routes(routes!(explain_campaign))
        .routes(routes!(list_runs))
        .routes(routes!(get_run))
        .routes(routes!(list_run_rows))
        .routes(routes!(export_run_rows))
        .routes(routes!(export_runs))
}

/// List campaigns
///
/// The built-in ones with the tenant's changes, and its own; whether each runs, and when next.
#[utoipa::path(get, path = "/v1/campaigns", tag = "campaigns",
    responses((status = 200, description = "The campaigns", body = Vec<CampaignView>)),
    security(("api_key" = ["campaigns:read"])))]
async fn list_campaigns(caller: Caller, State(state): State<ApiState>) -> Answer<Json<Vec<CampaignView>>> {
    let campaigns = state.engine().campaigns(caller.tenant).await?;
    Ok(Json(campaigns.into_iter().map(CampaignView::from).collect()))
}

/// Run a campaign now
///
/// Beside its schedule; the same rows are not proposed twice.
#[utoipa::path(post, path = "/v1/campaigns/{campaign}/run", tag = "campaigns",
    params(("campaign" = String, Path, description = "Its name")),
    responses((status = 202, description = "It will run", body = RunCreated)),
    security(("api_key" = ["campaigns:write"])))]
async fn run_campaign(
    caller: Caller,
    State(state): State<ApiState>,
    Path(campaign): Path<String>,
) -> Answer<(StatusCode, Json<RunCreated>)> {
    let id = state
        .engine()
        .run_campaign_now(caller.tenant, &named(&campaign)?)
        .await?;
    Ok((StatusCode::ACCEPTED, Json(RunCreated { run_id: id.0 })))
}

/// Explain why a contact got nothing
///
/// Looks at the contact's rows in the source as of now, and says which condition failed and when the answer would change.
#[utoipa::path(get, path = "/v1/campaigns/{campaign}/explain/{contact}", tag = "campaigns", params(("campaign" = String, Path, description = "Its name"), ("contact" = String, Path, description = "The contact's id, or the tenant's own id of it")),
    responses((status = 200, description = "The answer, with every row and condition", body = Object), (status = 409, description = "The source cannot be asked", body = Problem, content_type = "application/problem+json")),
    security(("api_key" = ["campaigns:read"])))]
async fn explain_campaign(
    caller: Caller,
    State(state): State<ApiState>,
    Path((campaign, contact)): Path<(String, String)>,
) -> Answer<Json<Value>> {
    let told = state
        .engine()
        .explain_campaign(caller.tenant, &contact, &named(&campaign)?)
        .await?;
    Ok(Json(serde_json::to_value(told).unwrap_or_default()))
}

/// List campaign runs
///
/// The latest moment first, with what became of the due rows of each.
#[utoipa::path(get, path = "/v1/campaign-runs", tag = "campaigns", params(RunQuery),
    responses((status = 200, description = "A page", body = Page<CoverageView>)),
    security(("api_key" = ["campaigns:read"])))]
async fn list_runs(
    caller: Caller,
    State(state): State<ApiState>,
    Query(query): Query<RunQuery>,
) -> Answer<Json<Page<CoverageView>>> {
    let (coverage, next) = runs(&caller, &state, &query).await?;
    Ok(Json(Page::of(coverage, next).map(CoverageView::from)))
}

/// Export campaign runs
///
/// The same page as comma-separated values.
#[utoipa::path(get, path = "/v1/campaign-runs.csv", tag = "campaigns", params(RunQuery),
    responses((status = 200, description = "A page", body = String, content_type = "text/csv")),
    security(("api_key" = ["campaigns:read"])))]
async fn export_runs(
    caller: Caller,
    State(state): State<ApiState>,
    Query(query): Query<RunQuery>,
) -> Answer<Response> {
    let (coverage, _) = runs(&caller, &state, &query).await?;
    Ok(csv(coverage_csv(&coverage)))
}

async fn runs(
    caller: &Caller,
    state: &ApiState,
    query: &RunQuery,
) -> Answer<(Vec<Coverage>, Option<String>)> {
    let bounds = bounds::<String>(query.limit, query.cursor.as_deref())?;
    let after = bounds.after.as_deref().map(run_position).transpose()?;
    let campaign = query.campaign.as_deref().map(named).transpose()?;
    let mut tx = state.tenant(caller).tx().await?;
    let page = campaigns::list_runs(&mut tx, campaign.as_ref(), after, bounds.limit).await?;
    let coverage = campaigns::coverage(&mut tx, page.items).await?;
    Ok((coverage, page.next.map(|(at, id)| format!("{at} {id}"))))
}

/// Read a campaign run
#[utoipa::path(get, path = "/v1/campaign-runs/{run_id}", tag = "campaigns",
    params(("run_id" = Uuid, Path, description = "The run")),
    responses((status = 200, description = "The run", body = CoverageView)),
    security(("api_key" = ["campaigns:read"])))]
async fn get_run(
    caller: Caller,
    State(state): State<ApiState>,
    Path(run): Path<Uuid>,
) -> Answer<Json<CoverageView>> {
    let mut tx = state.tenant(&caller).tx().await?;
    let run = campaigns::find_run(&mut tx, CampaignRunId(run)).await?;
    let mut coverage = campaigns::coverage(&mut tx, vec![run]).await?;
    Ok(Json(coverage.remove(0).into()))
}

/// List the due rows of a run
///
/// By key, with what became of each; nothing is left out.
#[utoipa::path(get, path = "/v1/campaign-runs/{run_id}/rows", tag = "campaigns", params(RowQuery, ("run_id" = Uuid, Path, description = "The run")),
    responses((status = 200, description = "A page", body = Page<RowView>)),
    security(("api_key" = ["campaigns:read"])))]
async fn list_run_rows(
    caller: Caller,
    State(state): State<ApiState>,
    Path(run): Path<Uuid>,
    Query(query): Query<RowQuery>,
) -> Answer<Json<Page<RowView>>> {
    let bounds = bounds::<String>(query.limit, query.cursor.as_deref())?;
    let after = bounds.after.as_deref().map(row_position).transpose()?;
    let outcomes = outcomes(query.outcome.as_deref())?;
    let mut tx = state.tenant(&caller).tx().await?;
    let run = campaigns::find_run(&mut tx, CampaignRunId(run)).await?.id;
    let page = campaigns::list_rows(&mut tx, run, &outcomes, after.as_ref(), bounds.limit).await?;
    let next = page.next.map(|(key, occurrence)| format!("{occurrence}\n{key}"));
    Ok(Json(Page::of(page.items, next).map(RowView::from)))
}

/// Export the due rows of a run
///
/// As comma-separated values; more than 100,000 are refused, never cut off.
#[utoipa::path(get, path = "/v1/campaign-runs/{run_id}/rows.csv", tag = "campaigns", params(OutcomeQuery, ("run_id" = Uuid, Path, description = "The run")),
    responses((status = 200, description = "The rows", body = String, content_type = "text/csv")),
    security(("api_key" = ["campaigns:read"])))]
async fn export_run_rows(
    caller: Caller,
    State(state): State<ApiState>,
    Path(run): Path<Uuid>,
    Query(query): Query<OutcomeQuery>,
) -> Answer<Response> {
    let outcomes = outcomes(query.outcome.as_deref())?;
    let mut tx = state.tenant(&caller).tx().await?;
    let run = campaigns::find_run(&mut tx, CampaignRunId(run)).await?.id;
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = campaigns::list_rows(&mut tx, run, &outcomes, after.as_ref(), CSV_PAGE).await?;
        rows.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(csv(rows_csv(&rows)));
        }
        if rows.len() >= CSV_ROWS {
            return Err(Problem::conflict(
                "conflict",
                format!(
                    "the run has more than {CSV_ROWS} such rows; ask for one outcome, read them by pages, or use tidings campaign report --csv"
                ),
            ));
        }
    }
}

fn csv(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], text).into_response()
}

fn named(text: &str) -> Answer<CampaignName> {
    CampaignName::parse(text).map_err(|_| Problem::not_found("campaign"))
}

fn outcomes(word: Option<&str>) -> Answer<Vec<RowOutcome>> {
    match word {
        None => Ok(Vec::new()),
        Some(word) => match word.parse() {
            Ok(outcome) => Ok(vec![outcome]),
            Err(_) => Err(Problem::invalid_field(
                "#query/outcome",
                "value.invalid",
                "proposed, held, suppressed, duplicate, malformed or unreachable".to_owned(),
            )),
        },
    }
}

fn bad_cursor() -> Problem {
    Problem::invalid_field(
        "#query/cursor",
        "value.invalid",
        "the next_cursor of an earlier page".to_owned(),
    )
}

fn run_position(text: &str) -> Answer<(Timestamp, CampaignRunId)> {
    let (at, id) = text.split_once(' ').ok_or_else(bad_cursor)?;
    let at = at.parse().map_err(|_| bad_cursor())?;
    Ok((at, CampaignRunId(id.parse().map_err(|_| bad_cursor())?)))
}

fn row_position(text: &str) -> Answer<(String, String)> {
    let (occurrence, key) = text.split_once('\n').ok_or_else(bad_cursor)?;
    Ok((key.to_owned(), occurrence.to_owned()))
}

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RunQuery {
    /// Only of this campaign.
    campaign: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
}

/// Which due rows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RowQuery {
    /// Only of this outcome: proposed, held, suppressed, duplicate, malformed or unreachable.
    outcome: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
}

/// Which due rows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OutcomeQuery {
    /// Only of this outcome: proposed, held, suppressed, duplicate, malformed or unreachable.
    outcome: Option<String>,
}

/// A campaign.
#[derive(Serialize, ToSchema)]
pub struct CampaignView {
    /// Its name.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What it is for.
    pub purpose: String,
    /// It is the tenant's own.
    pub own: bool,
    /// Whether it runs, and who says so: `{"state": "on"}`, `off_by_definition`, `off_by_environment` or `off_by_tenant`.
    #[schema(value_type = Object)]
    pub switch: Value,
    /// When it runs next.
    pub next_at: Option<Timestamp>,
    /// Its whole definition, as an apply file has it.
    #[schema(value_type = Object)]
    pub definition: Value,
}

impl From<CampaignTold> for CampaignView {
    fn from(told: CampaignTold) -> Self {
        Self {
            name: told.definition.name.to_string(),
            title: told.definition.title.clone(),
            purpose: told.definition.purpose.clone(),
            own: told.own,
            switch: serde_json::to_value(&told.switch).unwrap_or_default(),
            next_at: told.next_at,
            definition: serde_json::to_value(&told.definition).unwrap_or_default(),
        }
    }
}

/// A run that will take place.
#[derive(Serialize, ToSchema)]
pub struct RunCreated {
    /// The run.
    pub run_id: Uuid,
}

/// A run, and what became of its due rows.
#[derive(Serialize, ToSchema)]
pub struct CoverageView {
    /// The run.
    pub run_id: Uuid,
    /// The campaign.
    pub campaign: String,
    /// The moment it stands for.
    pub as_of: Timestamp,
    /// Moments after this one were covered; null on a first run.
    pub previous: Option<Timestamp>,
    /// `waiting`, `running`, `complete` or `failed`.
    pub state: String,
    /// Rows of the source that were looked at.
    pub scanned: u64,
    /// Rows that were due.
    pub due: u64,
    /// How many of them had which outcome: `proposed`, `held`, `suppressed`, `duplicate`, `malformed`, `unreachable`.
    #[schema(value_type = Object)]
    pub outcomes: Value,
    /// The same by reason.
    pub reasons: Vec<ReasonView>,
    /// Whether the outcomes add up to the due rows.
    pub balanced: bool,
    /// Tries that failed.
    pub tries: u32,
    /// When it is tried (again), while it waits.
    pub next_try_at: Option<Timestamp>,
    /// What last failed, and what to do.
    pub last_error: Option<String>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// Due rows of one outcome and reason.
#[derive(Serialize, ToSchema)]
pub struct ReasonView {
    /// The outcome.
    pub outcome: String,
    /// The reason's code.
    pub code: Option<String>,
    /// How many.
    pub rows: u64,
}

impl From<Coverage> for CoverageView {
    fn from(told: Coverage) -> Self {
        let run = told.run;
        let waits = run.state == campaigns::RunState::Waiting;
        Self {
            run_id: run.id.0,
            campaign: run.campaign.to_string(),
            as_of: run.as_of,
            previous: run.previous,
            state: run.state.to_string(),
            scanned: run.scanned,
            due: run.due,
            outcomes: serde_json::to_value(&told.outcomes).unwrap_or_default(),
            reasons: told
                .reasons
                .into_iter()
                .map(|counted| ReasonView {
                    outcome: counted.outcome.to_string(),
                    code: counted.code,
                    rows: counted.rows,
                })
                .collect(),
            balanced: told.balanced,
            tries: run.tries,
            next_try_at: waits.then_some(run.next_try_at),
            last_error: run.last_error,
            started_at: run.started_at,
            finished_at: run.finished_at,
        }
    }
}

/// A due row, and what became of it.
#[derive(Serialize, ToSchema)]
pub struct RowView {
    /// Its key in the source.
    pub key: String,
    /// Which occurrence.
    pub occurrence: String,
    /// What became of it.
    pub outcome: String,
    /// A stable code of why.
    pub code: Option<String>,
    /// A sentence.
    pub detail: Option<String>,
    /// The contact.
    pub contact_id: Option<Uuid>,
    /// The message.
    pub message_id: Option<Uuid>,
    /// When.
    pub at: Timestamp,
}

impl From<RowTold> for RowView {
    fn from(row: RowTold) -> Self {
        Self {
            key: row.key,
            occurrence: row.occurrence,
            outcome: row.outcome.to_string(),
            code: row.code,
            detail: row.detail,
            contact_id: row.contact_id.map(|id| id.0),
            message_id: row.message_id.map(|id| id.0),
            at: row.at,
        }
    }
}
