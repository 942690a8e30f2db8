//! Figures of deliveries: what became of them, by provider, connection, channel, message type or day.

use crate::ApiState;
use crate::auth::Caller;
use crate::extract::{Json, Query};
use crate::problem::{Answer, Problem};
use crate::words::DeliveriesByWord;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};
use tidings_core::analytics::DeliveriesBy;
use tidings_engine::store::analytics::{Counts, Line, Range};
use tidings_engine::{DeliveriesTold, EngineError, deliveries_csv};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(read_deliveries))
        .routes(routes!(export_deliveries))
}

/// Read figures of deliveries
///
/// What became of the deliveries that were made on some days, UTC. They are counted from the ledger, a day as a whole; what changed
/// since is counted a little later, and `due_days` says how many days of the range that concerns.
#[utoipa::path(get, path = "/v1/analytics/deliveries", tag = "analytics", params(DeliveriesQuery),
    responses((status = 200, description = "The figures", body = DeliveriesView)),
    security(("api_key" = ["analytics:read"])))]
async fn read_deliveries(
    caller: Caller,
    State(state): State<ApiState>,
    Query(query): Query<DeliveriesQuery>,
) -> Answer<Json<DeliveriesView>> {
    let (range, by, told) = deliveries(&caller, &state, &query).await?;
    Ok(Json(DeliveriesView {
        from: range.from.to_string(),
        to: range.to.to_string(),
        by,
        as_of: told.as_of,
        due_days: told.due_days,
        items: told.lines.into_iter().map(DeliveriesLine::from).collect(),
    }))
}

/// Export figures of deliveries
///
/// The same as comma-separated values.
#[utoipa::path(get, path = "/v1/analytics/deliveries.csv", tag = "analytics", params(DeliveriesQuery),
    responses((status = 200, description = "The figures", body = String, content_type = "text/csv")),
    security(("api_key" = ["analytics:read"])))]
async fn export_deliveries(
    caller: Caller,
    State(state): State<ApiState>,
    Query(query): Query<DeliveriesQuery>,
) -> Answer<Response> {
    let (_, by, told) = deliveries(&caller, &state, &query).await?;
    let csv = deliveries_csv(by, &told.lines);
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], csv).into_response())
}

async fn deliveries(
    caller: &Caller,
    state: &ApiState,
    query: &DeliveriesQuery,
) -> Answer<(Range, DeliveriesBy, DeliveriesTold)> {
    let today = state.now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let to = query.to.unwrap_or(today);
    let from = query.from.unwrap_or_else(|| to.saturating_sub(29.days()));
    let (range, by) = (Range { from, to }, query.by.unwrap_or(DeliveriesBy::Provider));
    match state.engine().deliveries_by(caller.tenant, range, by).await {
        Ok(told) => Ok((range, by, told)),
        Err(EngineError::Invalid { field, problem }) => Err(Problem::invalid_field(
            format!("#query/{field}"),
            "value.invalid",
            problem,
        )),
        Err(error) => Err(error.into()),
    }
}

/// Of which days, and told apart by what.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveriesQuery {
    /// The first day, UTC, as 2026-06-01; 29 days before the last when left out.
    #[param(value_type = Option<String>, format = "date")]
    from: Option<Date>,
    /// The last day, UTC; today when left out. At most 366 days in all.
    #[param(value_type = Option<String>, format = "date")]
    to: Option<Date>,
    /// By what they are told apart; by provider when left out.
    #[param(value_type = Option<DeliveriesByWord>)]
    by: Option<DeliveriesBy>,
}

/// What became of deliveries.
#[derive(Serialize, ToSchema)]
pub struct DeliveriesView {
    /// The first day, UTC.
    #[schema(format = "date")]
    pub from: String,
    /// The last day, UTC.
    #[schema(format = "date")]
    pub to: String,
    /// By what they are told apart.
    #[schema(value_type = DeliveriesByWord)]
    pub by: DeliveriesBy,
    /// What changed up to then is known; null: nothing was looked at yet.
    pub as_of: Option<Timestamp>,
    /// Days of the range that changed and are not counted anew yet: ask again a little later.
    pub due_days: i64,
    /// By key, at most 1,000: those with the most deliveries.
    pub items: Vec<DeliveriesLine>,
}

/// What became of the deliveries of one provider, connection, channel, message type or day. A delivery is one of delivered, bounced,
/// failed, unknown, waiting, dropped or stopped, or it was accepted and nothing was reported since.
#[derive(Serialize, ToSchema)]
pub struct DeliveriesLine {
    /// Which; `none`, and for connections the nil UUID, where none was tried.
    pub key: String,
    /// A connection's name.
    pub name: Option<String>,
    /// All of them.
    pub deliveries: i64,
    /// A provider took them, whatever it reported since.
    pub accepted: i64,
    /// They arrived.
    pub delivered: i64,
    /// They were returned.
    pub bounced: i64,
    /// Of those: the address is bad.
    pub bounced_hard: i64,
    /// Of those: it may work another day.
    pub bounced_soft: i64,
    /// Of those: reputation or content was refused.
    pub bounced_block: i64,
    /// Their recipients called them spam.
    pub complained: i64,
    /// Refused for good, or given up.
    pub failed: i64,
    /// Of those: tries ran out.
    pub failed_transient: i64,
    /// Of those: because of the recipient.
    pub failed_permanent: i64,
    /// Of those: because of a rate limit.
    pub failed_rate_limit: i64,
    /// Of those: because of credentials.
    pub failed_auth_failure: i64,
    /// Of those: because of the request.
    pub failed_invalid_input: i64,
    /// Nobody knows their outcome.
    pub unknown: i64,
    /// Not called yet, or to be called again.
    pub waiting: i64,
    /// Of unknown outcome, given up.
    pub dropped: i64,
    /// Called off before they left.
    pub stopped: i64,
    /// A person opened them.
    pub opened: i64,
    /// Only machines opened them.
    pub machine_opened: i64,
    /// A link was clicked.
    pub clicked: i64,
    /// They were answered.
    pub replied: i64,
    /// How long half of those that arrived took from being accepted to arriving, in milliseconds; at most a tenth too long.
    pub median_ms: Option<u64>,
    /// And 95 of a hundred.
    pub p95_ms: Option<u64>,
}

impl From<Line> for DeliveriesLine {
    fn from(line: Line) -> Self {
        let Counts {
            deliveries,
            accepted,
            delivered,
            bounced,
            bounced_hard,
            bounced_soft,
            bounced_block,
            complained,
            failed,
            failed_transient,
            failed_permanent,
            failed_rate_limit,
            failed_auth_failure,
            failed_invalid_input,
            unknown,
            waiting,
            dropped,
            stopped,
            opened,
            machine_opened,
            clicked,
            replied,
        } = line.counts;
        Self {
            key: line.key,
            name: line.name,
            deliveries,
            accepted,
            delivered,
            bounced,
            bounced_hard,
            bounced_soft,
            bounced_block,
            complained,
            failed,
            failed_transient,
            failed_permanent,
            failed_rate_limit,
            failed_auth_failure,
            failed_invalid_input,
            unknown,
            waiting,
            dropped,
            stopped,
            opened,
            machine_opened,
            clicked,
            replied,
            median_ms: line.median_ms,
            p95_ms: line.p95_ms,
        }
    }
}
