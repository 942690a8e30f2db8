//! The queue: figures, and what nobody knows the outcome of.

use crate::ApiState;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, bounds, page};
use crate::problem::{Answer, Problem};
use crate::words::ChannelWord;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidings_core::{Channel, DeliveryId, DeliveryState, MessageId};
use tidings_engine::queue::{StatRow, stats};
use tidings_engine::store::StoreError;
use tidings_engine::store::messages::unknown::{self, UnknownDelivery};
use tidings_engine::{Backlog, PersonDecides};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(queue_stats))
        .routes(routes!(list_unknown))
        .routes(routes!(decide_unknown))
}

/// Queue figures
///
/// Of the tenant's jobs: what waits, what is at work, what ended how, by type and priority.
#[utoipa::path(get, path = "/v1/queue/stats", tag = "queue",
    responses((status = 200, description = "The figures", body = QueueStatsView)),
    security(("api_key" = ["queue:read"])))]
async fn queue_stats(caller: Caller, State(state): State<ApiState>) -> Answer<Json<QueueStatsView>> {
    figures(&caller, &state).await.map(Json)
}

/// The figures of the caller's tenant; shared with the path of earlier systems.
pub(crate) async fn figures(caller: &Caller, state: &ApiState) -> Answer<QueueStatsView> {
    let mut connection = state.store().worker().acquire().await.map_err(StoreError::from)?;
    let rows = stats(&mut connection, Some(caller.tenant), state.now()).await?;
    let backlogs = state.engine().backlogs(&rows).await?;
    Ok(QueueStatsView::of(rows, backlogs))
}

/// List unknown outcomes
///
/// Deliveries of which nobody can tell yet whether they arrived.
#[utoipa::path(get, path = "/v1/queue/unknown", tag = "queue", params(UnknownQuery),
    responses((status = 200, description = "A page", body = Page<UnknownView>)),
    security(("api_key" = ["queue:read"])))]
async fn list_unknown(
    caller: Caller,
    State(state): State<ApiState>,
    Query(query): Query<UnknownQuery>,
) -> Answer<Json<Page<UnknownView>>> {
    let bounds = bounds::<Uuid>(query.limit, query.cursor.as_deref())?;
    let mut tx = state.tenant(&caller).tx().await?;
    let after = bounds.after.map(DeliveryId);
    let rows = unknown::list(&mut tx, caller.tenant, after, i64::from(bounds.limit) + 1).await?;
    Ok(Json(
        page(rows, bounds.limit, |row| row.delivery.0).map(UnknownView::from),
    ))
}

/// Decide an unknown outcome
///
/// A person's word where no provider can tell.
#[utoipa::path(post, path = "/v1/queue/unknown/{message_id}/decide", tag = "queue", request_body = UnknownVerdict,
    params(("message_id" = Uuid, Path, description = "The message")),
    responses((status = 204, description = "Decided"), (status = 409, description = "Its outcome is not unknown", body = Problem, content_type = "application/problem+json")),
    security(("api_key" = ["queue:write"])))]
async fn decide_unknown(
    caller: Caller,
    State(state): State<ApiState>,
    Path(message): Path<Uuid>,
    Json(input): Json<UnknownVerdict>,
) -> Answer<StatusCode> {
    let decision = match input.decision {
        UnknownDecision::Arrived => PersonDecides::Arrived,
        UnknownDecision::Resend => PersonDecides::Resend,
        UnknownDecision::Drop => PersonDecides::Drop,
    };
    state
        .engine()
        .decide_unknown(caller.tenant, MessageId(message), decision)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Figures of the tenant's jobs.
#[derive(Serialize, ToSchema)]
pub struct QueueStatsView {
    /// Due, and not taken up yet.
    pub queued: i64,
    /// Not due yet.
    pub scheduled: i64,
    /// With a worker.
    pub processing: i64,
    /// Done.
    pub completed: i64,
    /// Given up, ever, replayed since or not.
    pub failed: i64,
    /// Withdrawn.
    pub cancelled: i64,
    /// Dead letters now.
    pub dead: i64,
    /// How long the oldest due job has waited, in milliseconds.
    pub oldest_age_ms: Option<i64>,
    /// The same by job type and priority.
    pub by_type: Vec<TypeFigures>,
    /// What waits for the rate limits of its channel's connections, and when the last of it will have gone.
    pub backlogs: Vec<BacklogView>,
}

/// Due jobs that wait for rate limits.
#[derive(Serialize, ToSchema)]
pub struct BacklogView {
    /// The job type.
    pub job_type: String,
    /// How many are due.
    pub waiting: u64,
    /// The limits they wait for, as `100/h`.
    pub limits: Vec<String>,
    /// When the last will have gone at these limits, were nothing to come in between.
    pub ends_at: Timestamp,
}

impl From<Backlog> for BacklogView {
    fn from(backlog: Backlog) -> Self {
        Self {
            job_type: backlog.job_type.to_string(),
            waiting: backlog.waiting,
            limits: backlog.limits,
            ends_at: backlog.ends_at,
        }
    }
}

/// Figures of one job type and priority.
#[derive(Serialize, ToSchema)]
pub struct TypeFigures {
    /// The job type.
    pub job_type: String,
    /// 0 (last) to 100 (first).
    pub priority: i16,
    /// Due, and not taken up yet.
    pub queued: i64,
    /// Not due yet.
    pub scheduled: i64,
    /// With a worker.
    pub processing: i64,
    /// Done.
    pub completed: i64,
    /// Turns that ended in another try.
    pub retried: i64,
    /// Given up, ever.
    pub failed: i64,
    /// Withdrawn.
    pub cancelled: i64,
    /// Dead letters now.
    pub dead: i64,
    /// How long the oldest due job has waited, in milliseconds.
    pub oldest_age_ms: Option<i64>,
}

impl QueueStatsView {
    fn of(rows: Vec<StatRow>, backlogs: Vec<Backlog>) -> Self {
        let sum = |figure: fn(&StatRow) -> i64| rows.iter().map(figure).sum();
        Self {
            queued: sum(|row| row.queued),
            scheduled: sum(|row| row.scheduled),
            processing: sum(|row| row.processing),
            completed: sum(|row| row.completed),
            failed: sum(|row| row.failed),
            cancelled: sum(|row| row.cancelled),
            dead: sum(|row| row.dead),
            oldest_age_ms: rows.iter().filter_map(|row| row.oldest_age_ms).max(),
            by_type: rows.into_iter().map(TypeFigures::from).collect(),
            backlogs: backlogs.into_iter().map(BacklogView::from).collect(),
        }
    }
}

impl From<StatRow> for TypeFigures {
    fn from(row: StatRow) -> Self {
        Self {
            job_type: row.kind,
            priority: row.priority,
            queued: row.queued,
            scheduled: row.scheduled,
            processing: row.processing,
            completed: row.completed,
            retried: row.retried,
            failed: row.failed,
            cancelled: row.cancelled,
            dead: row.dead,
            oldest_age_ms: row.oldest_age_ms,
        }
    }
}

/// A delivery whose outcome nobody knows.
#[derive(Serialize, ToSchema)]
pub struct UnknownView {
    /// The delivery.
    pub delivery_id: Uuid,
    /// Its message.
    pub message_id: Uuid,
    /// Its channel.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// Since when.
    pub since: Timestamp,
    /// It waits for a person; the policy does nothing by itself.
    pub held: bool,
    /// What is known of the call.
    pub detail: Option<String>,
    /// When the provider is asked next.
    pub resolve_after: Option<Timestamp>,
}

impl From<UnknownDelivery> for UnknownView {
    fn from(row: UnknownDelivery) -> Self {
        Self {
            delivery_id: row.delivery.0,
            message_id: row.message.0,
            channel: row.channel,
            since: row.since,
            held: row.state == DeliveryState::Held,
            detail: row.detail,
            resolve_after: row.resolve_after,
        }
    }
}

/// What a person decides about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownDecision {
    /// It did arrive: counts as sent.
    Arrived,
    /// It did not arrive, or twice is better than never: send again.
    Resend,
    /// Give it up.
    Drop,
}

/// What to do about it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"decision": "resend"}))]
pub struct UnknownVerdict {
    /// The decision.
    pub decision: UnknownDecision,
}

/// Which unknown outcomes to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UnknownQuery {
    /// Rows of a page, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}
