//! Dead letters: jobs given up, until they are replayed or purged.

use crate::ApiState;
use crate::auth::Caller;
use crate::check::Checks;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Position, bounds, page};
use crate::problem::{Answer, Problem};
use crate::words::{ErrorCategoryWord, JobKindWord};
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tidings_core::job::JobKind;
use tidings_core::{ErrorCategory, JobId};
use tidings_engine::dead_letters::{Duplicates, Trial};
use tidings_engine::queue::dead::{self, Cursor, DeadLetter, Filter, Group};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The most jobs of one replay or purge.
const SELECTION_MAX: u32 = 1000;

/// The most bytes of a payload, as JSON.
const PAYLOAD_MAX: usize = 256 * 1024;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_dead_letters))
        .routes(routes!(group_dead_letters))
        .routes(routes!(replay_dead_letters))
        .routes(routes!(purge_dead_letters))
        .routes(routes!(get_dead_letter, edit_dead_letter))
}

/// List dead letters
///
/// Newest first.
#[utoipa::path(get, path = "/v1/queue/dead-letters", tag = "queue", params(DeadLetterQuery),
    responses((status = 200, description = "A page", body = Page<DeadLetterView>)),
    security(("api_key" = ["queue:read"])))]
async fn list_dead_letters(
    caller: Caller,
    State(state): State<ApiState>,
    Query(query): Query<DeadLetterQuery>,
) -> Answer<Json<Page<DeadLetterView>>> {
    let bounds = bounds::<Cursor>(query.limit, query.cursor.as_deref())?;
    let filter = Filter {
        tenant: Some(caller.tenant),
        kind: query.job_type,
        cause: query.cause,
        category: query.category,
        ..Filter::default()
    };
    let mut tx = state.tenant(&caller).tx().await?;
    let rows = dead::list(&mut tx, &filter, bounds.after, bounds.limit + 1).await?;
    Ok(Json(
        page(rows, bounds.limit, DeadLetter::cursor).map(DeadLetterView::from),
    ))
}

/// Group dead letters by cause
#[utoipa::path(get, path = "/v1/queue/dead-letters/groups", tag = "queue",
    responses((status = 200, description = "The groups, most first", body = Page<DeadLetterGroup>)),
    security(("api_key" = ["queue:read"])))]
async fn group_dead_letters(
    caller: Caller,
    State(state): State<ApiState>,
) -> Answer<Json<Page<DeadLetterGroup>>> {
    let mut tx = state.tenant(&caller).tx().await?;
    let groups = dead::groups(&mut tx, Some(caller.tenant)).await?;
    Ok(Json(Page::of(groups, None::<i64>).map(DeadLetterGroup::from)))
}

/// Read a dead letter with its job
#[utoipa::path(get, path = "/v1/queue/dead-letters/{job_id}", tag = "queue",
    params(("job_id" = i64, Path, description = "The job")),
    responses((status = 200, description = "The dead letter", body = DeadLetterDetail)),
    security(("api_key" = ["queue:read"])))]
async fn get_dead_letter(
    caller: Caller,
    State(state): State<ApiState>,
    Path(job): Path<i64>,
) -> Answer<Json<DeadLetterDetail>> {
    let mut tx = state.tenant(&caller).tx().await?;
    let letter = dead::show(&mut tx, caller.tenant, JobId(job)).await?;
    letter
        .map(|letter| Json(letter.into()))
        .ok_or_else(|| Problem::not_found("dead letter"))
}

/// Change a dead letter's payload
///
/// For a replay; the job stays dead until it is replayed.
#[utoipa::path(patch, path = "/v1/queue/dead-letters/{job_id}", tag = "queue", request_body = PayloadChange,
    params(("job_id" = i64, Path, description = "The job")),
    responses((status = 200, description = "The dead letter", body = DeadLetterDetail)),
    security(("api_key" = ["queue:write"])))]
async fn edit_dead_letter(
    caller: Caller,
    State(state): State<ApiState>,
    Path(job): Path<i64>,
    Json(input): Json<PayloadChange>,
) -> Answer<Json<DeadLetterDetail>> {
    let payload = input.checked()?;
    let mut tx = state.tenant(&caller).tx().await?;
    if !dead::edit(&mut tx, caller.tenant, JobId(job), &payload).await? {
        return Err(Problem::not_found("dead letter"));
    }
    let letter = dead::show(&mut tx, caller.tenant, JobId(job)).await?;
    state
        .audit(&mut tx, &caller, "dead_letter.edited", job.to_string())
        .await?;
    tx.commit().await?;
    letter
        .map(|letter| Json(letter.into()))
        .ok_or_else(|| Problem::not_found("dead letter"))
}

/// Replay dead letters
///
/// Puts the same jobs back into the line. Those whose message may already have reached its contact are left out and named,
/// unless `duplicates_confirmed` is set. With `dry_run` nothing is done.
#[utoipa::path(post, path = "/v1/queue/dead-letters/replay", tag = "queue", request_body = DeadLetterSelection,
    responses((status = 200, description = "What became of them", body = SelectionOutcome)),
    security(("api_key" = ["queue:write"])))]
async fn replay_dead_letters(
    caller: Caller,
    State(state): State<ApiState>,
    Json(selection): Json<DeadLetterSelection>,
) -> Answer<Json<SelectionOutcome>> {
    replay(&caller, &state, &selection).await.map(Json)
}

/// Replays what is selected; shared with the path of earlier systems.
pub(crate) async fn replay(
    caller: &Caller,
    state: &ApiState,
    selection: &DeadLetterSelection,
) -> Answer<SelectionOutcome> {
    let letters = select(caller, state, selection).await?;
    let duplicates = if selection.duplicates_confirmed {
        Duplicates::Include
    } else {
        Duplicates::LeaveOut
    };
    let trial = if selection.dry_run {
        Trial::Dry
    } else {
        Trial::Real
    };
    let outcome = state
        .engine()
        .replay_dead_letters(&letters, duplicates, trial)
        .await?;
    let done = if selection.dry_run {
        0
    } else {
        outcome.replayed.len()
    };
    if done > 0 {
        let mut tx = state.worker_tenant(caller).tx().await?;
        state
            .audit(&mut tx, caller, "dead_letters.replayed", format!("{done} jobs"))
            .await?;
        tx.commit().await?;
    }
    Ok(SelectionOutcome {
        matched: letters.len() as u64,
        done: done as u64,
        predicted_duplicates: outcome
            .predicted_duplicates
            .into_iter()
            .map(|job| job.0)
            .collect(),
    })
}

/// Purge dead letters
///
/// Deletes the jobs for good. With `dry_run` nothing is done.
#[utoipa::path(post, path = "/v1/queue/dead-letters/purge", tag = "queue", request_body = DeadLetterSelection,
    responses((status = 200, description = "What became of them", body = SelectionOutcome)),
    security(("api_key" = ["queue:write"])))]
async fn purge_dead_letters(
    caller: Caller,
    State(state): State<ApiState>,
    Json(selection): Json<DeadLetterSelection>,
) -> Answer<Json<SelectionOutcome>> {
    let letters = select(&caller, &state, &selection).await?;
    let jobs: Vec<JobId> = letters.iter().map(|letter| letter.job).collect();
    let mut done = 0;
    if !selection.dry_run && !jobs.is_empty() {
        let mut tx = state.worker_tenant(&caller).tx().await?;
        done = dead::purge(&mut tx, Some(caller.tenant), &jobs).await?;
        state
            .audit(&mut tx, &caller, "dead_letters.purged", format!("{done} jobs"))
            .await?;
        tx.commit().await?;
    }
    Ok(Json(SelectionOutcome {
        matched: letters.len() as u64,
        done,
        predicted_duplicates: Vec::new(),
    }))
}

/// The letters a selection means.
async fn select(
    caller: &Caller,
    state: &ApiState,
    selection: &DeadLetterSelection,
) -> Answer<Vec<DeadLetter>> {
    let limit = selection.checked()?;
    let mut tx = state.tenant(caller).tx().await?;
    let Some(ids) = &selection.job_ids else {
        return Ok(dead::list(&mut tx, &selection.filter(caller), None, limit).await?);
    };
    let mut letters = Vec::new();
    for id in ids {
        letters.extend(dead::show(&mut tx, caller.tenant, JobId(*id)).await?);
    }
    Ok(letters)
}

impl Position for Cursor {
    fn bytes(self) -> Vec<u8> {
        let at = self.died_at.as_microsecond();
        [at.to_be_bytes(), self.job.0.to_be_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (at, job) = bytes.split_first_chunk::<8>()?;
        let died_at = Timestamp::from_microsecond(i64::from_be_bytes(*at)).ok()?;
        Some(Self {
            died_at,
            job: JobId(i64::from_be_bytes(job.try_into().ok()?)),
        })
    }
}

/// A dead letter.
#[derive(Serialize, ToSchema)]
pub struct DeadLetterView {
    /// The job.
    pub job_id: i64,
    /// Its type.
    pub job_type: String,
    /// Its priority.
    pub priority: i16,
    /// Why it was given up.
    pub cause: String,
    /// The cause's class.
    #[schema(value_type = ErrorCategoryWord)]
    pub category: ErrorCategory,
    /// What the last refusal said.
    pub last_error: Option<String>,
    /// When.
    pub died_at: Timestamp,
}

/// A dead letter with its job.
#[derive(Serialize, ToSchema)]
pub struct DeadLetterDetail {
    /// The letter.
    pub letter: DeadLetterView,
    /// The job's payload, as it would be replayed.
    #[schema(value_type = Object)]
    pub payload: Value,
    /// Tries that were made.
    pub retry_count: i32,
    /// 1 once a worker died while it had this job with others, and 1 for each that died with nothing else at work.
    pub crash_count: i16,
    /// Your reference of what caused it.
    pub source_reference: Option<String>,
    /// When the job was made.
    pub created_at: Timestamp,
}

/// Dead letters of one cause.
#[derive(Serialize, ToSchema)]
pub struct DeadLetterGroup {
    /// The cause.
    pub cause: String,
    /// Its class.
    #[schema(value_type = ErrorCategoryWord)]
    pub category: ErrorCategory,
    /// The job type.
    pub job_type: String,
    /// How many.
    pub count: i64,
    /// The newest.
    pub latest: Timestamp,
}

impl From<DeadLetter> for DeadLetterView {
    fn from(letter: DeadLetter) -> Self {
        Self {
            job_id: letter.job.0,
            job_type: letter.kind,
            priority: letter.priority,
            cause: letter.cause,
            category: letter.category,
            last_error: letter.last_error,
            died_at: letter.died_at,
        }
    }
}

impl From<DeadLetter> for DeadLetterDetail {
    fn from(letter: DeadLetter) -> Self {
        Self {
            payload: serde_json::from_str(letter.payload.get()).unwrap_or_default(),
            retry_count: letter.retry_count,
            crash_count: letter.crash_count,
            source_reference: letter.source_reference.clone(),
            created_at: letter.created_at,
            letter: letter.into(),
        }
    }
}

impl From<Group> for DeadLetterGroup {
    fn from(group: Group) -> Self {
        Self {
            cause: group.cause,
            category: group.category,
            job_type: group.kind,
            count: group.jobs,
            latest: group.latest,
        }
    }
}

/// Which dead letters.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeadLetterQuery {
    /// Only this job type.
    #[param(value_type = Option<JobKindWord>)]
    pub job_type: Option<JobKind>,
    /// Only this class.
    #[param(value_type = Option<ErrorCategoryWord>)]
    pub category: Option<ErrorCategory>,
    /// Only this cause, as a group names it.
    pub cause: Option<String>,
    /// Rows of a page, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// Which dead letters to replay or purge: these ids, or all that match the filter; an empty object means none.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"category": "auth_failure", "limit": 500, "dry_run": true}))]
pub struct DeadLetterSelection {
    /// These jobs.
    #[schema(max_items = 1000)]
    pub job_ids: Option<Vec<i64>>,
    /// Every dead letter of the tenant, up to `limit`.
    #[serde(default)]
    pub all: bool,
    /// Only this job type.
    #[schema(value_type = Option<JobKindWord>)]
    pub job_type: Option<JobKind>,
    /// Only this class.
    #[schema(value_type = Option<ErrorCategoryWord>)]
    pub category: Option<ErrorCategory>,
    /// Only this cause, as a group names it.
    pub cause: Option<String>,
    /// At most so many, newest first; 1000 when left out.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Only says what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// For a replay: also those that could reach a contact a second time.
    #[serde(default)]
    pub duplicates_confirmed: bool,
}

impl DeadLetterSelection {
    /// How many at most; a selection must say what it means.
    fn checked(&self) -> Answer<u32> {
        let mut checks = Checks::default();
        let filtered = self.job_type.is_some() || self.category.is_some() || self.cause.is_some();
        match &self.job_ids {
            Some(_) if filtered || self.all => checks.add(
                "",
                "field.choice",
                "give job_ids, or a filter, or all: true; not both",
            ),
            Some(ids) => checks.count("/job_ids", ids.len(), 1, SELECTION_MAX as usize),
            None if !filtered && !self.all => {
                checks.add(
                    "",
                    "field.choice",
                    "say which: job_ids, a filter (job_type, category, cause), or all: true",
                );
            }
            None => {}
        }
        let limit = self.limit.unwrap_or(SELECTION_MAX);
        checks.number("/limit", i64::from(limit), 1, i64::from(SELECTION_MAX));
        checks.finish()?;
        Ok(limit)
    }

    fn filter(&self, caller: &Caller) -> Filter {
        Filter {
            tenant: Some(caller.tenant),
            kind: self.job_type,
            cause: self.cause.clone(),
            category: self.category,
            ..Filter::default()
        }
    }
}

/// What became of a selection.
#[derive(Serialize, ToSchema)]
pub struct SelectionOutcome {
    /// How many matched.
    pub matched: u64,
    /// How many were replayed or purged; 0 for a dry run.
    pub done: u64,
    /// Jobs whose message may already have reached the contact: a replay could send it a second time.
    pub predicted_duplicates: Vec<i64>,
}

/// A changed payload.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"payload": {"urgent": true}}))]
pub struct PayloadChange {
    /// Replaces the job's payload; 256 KiB at most.
    #[schema(value_type = Object)]
    pub payload: Map<String, Value>,
}

impl PayloadChange {
    fn checked(self) -> Answer<Box<RawValue>> {
        let mut checks = Checks::default();
        checks.object("/payload", &self.payload, PAYLOAD_MAX);
        checks.finish()?;
        RawValue::from_string(Value::Object(self.payload).to_string()).map_err(|_| Problem::internal())
    }
}
