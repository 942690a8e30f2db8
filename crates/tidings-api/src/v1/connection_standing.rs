//! How a connection stands, and the drill that breaks one on purpose.

use super::connections::RateLimitBody;
use crate::ApiState;
use crate::auth::Caller;
use crate::check::Checks;
use crate::extract::{Json, Path};
use crate::problem::Answer;
use crate::words::{ChannelWord, ProviderWord};
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_core::breaker::LONGEST_DRILL;
use tidings_core::{Channel, ConnectionId, ProviderKind};
use tidings_engine::{Drill, Standing};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// How long a drill lasts that names no time.
const USUAL_DRILL_S: u32 = 60;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(drill_connection))
}

/// Drill a connection
///
/// `break` opens its breaker on purpose for a while: messages go by other connections of the channel, or wait. It ends by
/// itself, through a probe and in steps like a real outage, or at once with `restore`. A breaker that is open by itself is
/// left alone (409). Written down in the audit log, and as the event ConnectionDrilled.
#[utoipa::path(post, path = "/v1/connections/{connection_id}/drill", tag = "connections", request_body = DrillBody,
    params(("connection_id" = Uuid, Path, description = "The connection")),
    responses((status = 200, description = "The connection as it stands now", body = ConnectionView), (status = 409, description = "Its breaker is open by itself, or there is no drill to end", body = crate::problem::Problem, content_type = "application/problem+json")),
    security(("api_key" = ["connections:write"])))]
async fn drill_connection(
    caller: Caller,
    State(state): State<ApiState>,
    Path(connection): Path<Uuid>,
    Json(body): Json<DrillBody>,
) -> Answer<Json<ConnectionView>> {
    let drill = body.checked()?;
    let standing = state
        .engine()
        .drill(caller.tenant, ConnectionId(connection), drill, &caller.actor())
        .await?;
    Ok(Json(standing.into()))
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrillAction {
    /// Break it.
    Break,
    /// End the drill.
    Restore,
}

/// A drill.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"action": "break", "for_seconds": 60}))]
pub struct DrillBody {
    /// What to do.
    pub action: DrillAction,
    /// For how long; 60 when left out. With `break` alone.
    #[schema(minimum = 1, maximum = 3600)]
    pub for_seconds: Option<u32>,
}

impl DrillBody {
    fn checked(&self) -> Answer<Drill> {
        let seconds = self.for_seconds.unwrap_or(USUAL_DRILL_S);
        let mut checks = Checks::default();
        checks.number("/for_seconds", i64::from(seconds), 1, LONGEST_DRILL.as_secs());
        checks.finish()?;
        Ok(match self.action {
            DrillAction::Break => Drill::Break(SignedDuration::from_secs(i64::from(seconds))),
            DrillAction::Restore => Drill::Restore,
        })
    }
}

/// A connection, without its secrets, and how it stands.
#[derive(Serialize, ToSchema)]
pub struct ConnectionView {
    /// Its id; part of its webhook's address, `/webhooks/{provider}/{id}`.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The provider.
    #[schema(value_type = ProviderWord)]
    pub provider: ProviderKind,
    /// The channel it carries.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// Sender identity, base URL, options.
    #[schema(value_type = Object)]
    pub settings: Value,
    /// Whether secrets are kept for it.
    pub has_credentials: bool,
    /// Lower is tried first.
    pub priority: i32,
    /// Share among connections of the same priority.
    pub weight: u32,
    /// Whether it is used.
    pub enabled: bool,
    /// Other than the provider's default.
    pub rate_limit: Option<RateLimitBody>,
    /// How long one call may take, in milliseconds; null for as long as the process allows.
    pub call_limit_ms: Option<u32>,
    /// `closed` (in use), `open` (broken, resting) or `half_open` (probing).
    pub breaker: String,
    /// Why the breaker is not closed: `failures_in_a_row`, `failure_rate`, `auth_refused`, `probe_failed`, `ramp_failed`
    /// or `drill`.
    pub breaker_cause: Option<String>,
    /// What the provider said then.
    pub breaker_detail: Option<String>,
    /// Since when the breaker stands as it does.
    pub breaker_since: Option<Timestamp>,
    /// When a probe is let through, while it is not closed.
    pub next_probe_at: Option<Timestamp>,
    /// Hundredths of its share that it gets now; less than 100 also for half a minute after it closed.
    pub share_percent: u8,
    /// 0 to 100, by the calls of the last five minutes: those that were answered, less up to half for slowness. Null while
    /// there are fewer than five.
    pub health: Option<u8>,
    /// Those calls.
    pub calls: u32,
    /// How many of them failed or had no answer.
    pub calls_failed: u32,
    /// How long they took on average, in milliseconds.
    pub calls_mean_ms: Option<u64>,
    /// The limits in force.
    pub limits: LimitsView,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// The limits in force of a connection.
#[derive(Serialize, ToSchema)]
pub struct LimitsView {
    /// Its own rate limit, or its provider's default; null for none.
    pub rate: Option<RateLimitBody>,
    /// How long one call may take, in milliseconds.
    pub call_ms: u64,
}

impl From<Standing> for ConnectionView {
    fn from(standing: Standing) -> Self {
        let connection = standing.connection;
        Self {
            id: connection.id.0,
            name: connection.name,
            provider: connection.provider,
            channel: connection.channel,
            settings: connection.config,
            has_credentials: connection.has_credentials,
            priority: connection.priority,
            weight: connection.weight,
            enabled: connection.enabled,
            rate_limit: connection.rate_limit.map(RateLimitBody::from),
            call_limit_ms: connection.call_limit_ms,
            breaker: connection.breaker.state().as_str().to_owned(),
            breaker_cause: connection.breaker.cause().map(|cause| cause.as_str().to_owned()),
            breaker_detail: connection.breaker.detail,
            breaker_since: connection.breaker.changed_at,
            next_probe_at: standing.next_probe_at,
            share_percent: standing.share,
            health: standing.health,
            calls: standing.lately.calls,
            calls_failed: standing.lately.failed,
            calls_mean_ms: standing.lately.mean_ms,
            limits: LimitsView {
                rate: standing.rate.map(RateLimitBody::from),
                call_ms: standing.call_ms,
            },
            created_at: connection.created_at,
            updated_at: connection.updated_at,
        }
    }
}
