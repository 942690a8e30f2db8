//! Connections: accounts at providers.

use super::connection_standing::ConnectionView;
use crate::ApiState;
use crate::auth::Caller;
use crate::check::Checks;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, bounds};
use crate::problem::Answer;
use crate::words::{ChannelWord, ProviderWord};
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_core::time_limit::LONGEST_CALL_MS;
use tidings_core::{Channel, ConnectionId, ProviderKind};
use tidings_engine::store::connections::{self, Connection, ConnectionSettings, RateLimit};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The most bytes of a connection's settings or credentials, as JSON.
const SETTINGS_MAX: usize = 32 * 1024;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_connections, make_connection))
        .routes(routes!(get_connection, change_connection, remove_connection))
        .routes(routes!(test_connection))
}

/// List connections
///
/// With how each stands: its breaker, since when and why, its health, and its limits.
#[utoipa::path(get, path = "/v1/connections", tag = "connections", params(ConnectionQuery),
    responses((status = 200, description = "A page", body = Page<ConnectionView>)),
    security(("api_key" = ["connections:read"])))]
async fn list_connections(
    caller: Caller,
    State(state): State<ApiState>,
    Query(query): Query<ConnectionQuery>,
) -> Answer<Json<Page<ConnectionView>>> {
    let bounds = bounds::<Uuid>(query.limit, query.cursor.as_deref())?;
    let after = bounds.after.map(ConnectionId);
    let rows = state
        .engine()
        .standings(caller.tenant, after, bounds.limit)
        .await?;
    Ok(Json(
        Page::of(rows.items, rows.next.map(|id| id.0)).map(ConnectionView::from),
    ))
}

/// Make a connection
///
/// Settings and credentials are checked against the provider's form; nothing is contacted. Test it next.
#[utoipa::path(post, path = "/v1/connections", tag = "connections", request_body = NewConnection,
    responses((status = 201, description = "Made", body = ConnectionView), (status = 409, description = "The name is taken", body = crate::problem::Problem, content_type = "application/problem+json")),
    security(("api_key" = ["connections:write"])))]
async fn make_connection(
    caller: Caller,
    State(state): State<ApiState>,
    Json(input): Json<NewConnection>,
) -> Answer<(StatusCode, Json<ConnectionView>)> {
    let settings = input.checked()?;
    state.check_connection(&settings)?;
    let mut tx = state.tenant(&caller).tx().await?;
    let made = connections::create(&mut tx, &settings, &mut state.dice(), state.now()).await?;
    state
        .audit(&mut tx, &caller, "connection.made", made.id.to_string())
        .await?;
    tx.commit().await?;
    let standing = state.engine().standing(caller.tenant, made.id).await?;
    Ok((StatusCode::CREATED, Json(standing.into())))
}

/// Read a connection
///
/// Never its credentials.
#[utoipa::path(get, path = "/v1/connections/{connection_id}", tag = "connections",
    params(("connection_id" = Uuid, Path, description = "The connection")),
    responses((status = 200, description = "The connection", body = ConnectionView)),
    security(("api_key" = ["connections:read"])))]
async fn get_connection(
    caller: Caller,
    State(state): State<ApiState>,
    Path(connection): Path<Uuid>,
) -> Answer<Json<ConnectionView>> {
    let standing = state
        .engine()
        .standing(caller.tenant, ConnectionId(connection))
        .await?;
    Ok(Json(standing.into()))
}

/// Change a connection
#[utoipa::path(patch, path = "/v1/connections/{connection_id}", tag = "connections", request_body = ConnectionChange,
    params(("connection_id" = Uuid, Path, description = "The connection")),
    responses((status = 200, description = "The connection", body = ConnectionView)),
    security(("api_key" = ["connections:write"])))]
async fn change_connection(
    caller: Caller,
    State(state): State<ApiState>,
    Path(connection): Path<Uuid>,
    Json(change): Json<ConnectionChange>,
) -> Answer<Json<ConnectionView>> {
    change.check()?;
    let mut tx = state.tenant(&caller).tx().await?;
    let now_is = connections::get(&mut tx, ConnectionId(connection)).await?;
    let settings = change.over(now_is);
    state.check_connection(&settings)?;
    let changed = connections::update(&mut tx, ConnectionId(connection), &settings, state.now()).await?;
    state
        .audit(&mut tx, &caller, "connection.changed", changed.id.to_string())
        .await?;
    tx.commit().await?;
    let standing = state.engine().standing(caller.tenant, changed.id).await?;
    Ok(Json(standing.into()))
}

/// Remove a connection
///
/// Only one that never carried a message; switch others off with `enabled`.
#[utoipa::path(delete, path = "/v1/connections/{connection_id}", tag = "connections",
    params(("connection_id" = Uuid, Path, description = "The connection")),
    responses((status = 204, description = "Removed")),
    security(("api_key" = ["connections:write"])))]
async fn remove_connection(
    caller: Caller,
    State(state): State<ApiState>,
    Path(connection): Path<Uuid>,
) -> Answer<StatusCode> {
    let mut tx = state.tenant(&caller).tx().await?;
    connections::remove(&mut tx, ConnectionId(connection)).await?;
    state
        .audit(&mut tx, &caller, "connection.removed", connection.to_string())
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Test a connection
///
/// Checks credentials and endpoint at the provider; sends nothing.
#[utoipa::path(post, path = "/v1/connections/{connection_id}/test", tag = "connections",
    params(("connection_id" = Uuid, Path, description = "The connection")),
    responses((status = 200, description = "What was found", body = ConnectionTest)),
    security(("api_key" = ["connections:write"])))]
async fn test_connection(
    caller: Caller,
    State(state): State<ApiState>,
    Path(connection): Path<Uuid>,
) -> Answer<Json<ConnectionTest>> {
    let report = state
        .engine()
        .check_connection(caller.tenant, ConnectionId(connection))
        .await?;
    Ok(Json(ConnectionTest {
        ok: report.ok,
        findings: report.findings,
    }))
}

/// A connection to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "main mail", "provider": "smtp", "channel": "email",
    "settings": {"host": "mail.example.com", "port": 587, "from": "hello@example.com"},
    "credentials": {"username": "hello", "password": "..."}
}))]
pub struct NewConnection {
    /// Its name; unique within the tenant.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// The provider.
    #[schema(value_type = ProviderWord)]
    pub provider: ProviderKind,
    /// The channel it carries.
    #[schema(value_type = ChannelWord)]
    pub channel: Channel,
    /// Sender identity, base URL, options; the fields stand with the provider's documentation. Nothing secret.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub settings: Map<String, Value>,
    /// Secrets. They are sealed, and never answered.
    #[schema(value_type = Option<Object>, write_only)]
    pub credentials: Option<Map<String, Value>>,
    /// Lower is tried first.
    #[serde(default)]
    #[schema(minimum = -1000, maximum = 1000)]
    pub priority: i32,
    /// Share among connections of the same priority.
    #[serde(default = "one")]
    #[schema(minimum = 0, maximum = 1000)]
    pub weight: u32,
    /// Off keeps it but sends nothing over it.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Other than the provider's default.
    pub rate_limit: Option<RateLimitBody>,
    /// How long one call may take, in milliseconds; 20 s by default.
    #[schema(minimum = 100, maximum = 20_000)]
    pub call_limit_ms: Option<u32>,
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

impl NewConnection {
    fn checked(self) -> Answer<ConnectionSettings> {
        let mut checks = Checks::default();
        check_form(
            &mut checks,
            Some(&self.name),
            Some(&self.settings),
            self.credentials.as_ref(),
        );
        checks.number("/priority", i64::from(self.priority), -1000, 1000);
        checks.number("/weight", i64::from(self.weight), 0, 1000);
        check_rate(&mut checks, self.rate_limit);
        check_call(&mut checks, self.call_limit_ms);
        checks.finish()?;
        Ok(ConnectionSettings {
            name: self.name,
            channel: self.channel,
            provider: self.provider,
            config: Value::Object(self.settings),
            credentials: self.credentials.map(sealed),
            priority: self.priority,
            weight: self.weight,
            enabled: self.enabled,
            rate_limit: self.rate_limit.map(RateLimit::from),
            call_limit_ms: self.call_limit_ms,
        })
    }
}

fn sealed(credentials: Map<String, Value>) -> SecretString {
    SecretString::from(Value::Object(credentials).to_string())
}

fn check_form(
    checks: &mut Checks,
    name: Option<&str>,
    settings: Option<&Map<String, Value>>,
    credentials: Option<&Map<String, Value>>,
) {
    checks.optional_text("/name", name, 1, 100);
    for (pointer, object) in [("/settings", settings), ("/credentials", credentials)] {
        if let Some(object) = object {
            checks.object(pointer, object, SETTINGS_MAX);
        }
    }
}

fn check_rate(checks: &mut Checks, rate: Option<RateLimitBody>) {
    if let Some(rate) = rate {
        checks.number("/rate_limit/limit", i64::from(rate.limit), 1, 1_000_000);
        checks.number(
            "/rate_limit/per_ms",
            i64::try_from(rate.per_ms).unwrap_or(i64::MAX),
            1,
            86_400_000,
        );
    }
}

fn check_call(checks: &mut Checks, limit: Option<u32>) {
    if let Some(limit) = limit {
        let (least, most) = (connections::SHORTEST_CALL_MS, LONGEST_CALL_MS);
        checks.number(
            "/call_limit_ms",
            i64::from(limit),
            i64::from(least),
            i64::from(most),
        );
    }
}

impl From<RateLimitBody> for RateLimit {
    fn from(body: RateLimitBody) -> Self {
        Self {
            limit: body.limit,
            per_ms: body.per_ms,
        }
    }
}

impl From<RateLimit> for RateLimitBody {
    fn from(rate: RateLimit) -> Self {
        Self {
            limit: rate.limit,
            per_ms: rate.per_ms,
        }
    }
}

/// At most `limit` messages in any `per_ms` milliseconds.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"limit": 100, "per_ms": 60000}))]
pub struct RateLimitBody {
    /// How many.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub limit: u32,
    /// In how many milliseconds.
    #[schema(minimum = 1, maximum = 86_400_000)]
    pub per_ms: u64,
}

/// What to change about a connection. What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"enabled": false}))]
pub struct ConnectionChange {
    /// Its name.
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// Replaces the settings as a whole.
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Map<String, Value>>,
    /// Replaces the secrets as a whole.
    #[schema(value_type = Option<Object>, write_only)]
    pub credentials: Option<Map<String, Value>>,
    /// Lower is tried first.
    #[schema(minimum = -1000, maximum = 1000)]
    pub priority: Option<i32>,
    /// Share among connections of the same priority.
    #[schema(minimum = 0, maximum = 1000)]
    pub weight: Option<u32>,
    /// Off keeps it but sends nothing over it.
    pub enabled: Option<bool>,
    /// Other than the provider's default; null for the default.
    #[serde(default, deserialize_with = "super::contacts::present")]
    #[schema(value_type = Option<RateLimitBody>)]
    pub rate_limit: Option<Option<RateLimitBody>>,
    /// How long one call may take, in milliseconds; null for as long as the process allows.
    #[serde(default, deserialize_with = "super::contacts::present")]
    #[schema(value_type = Option<u32>, minimum = 100, maximum = 600_000)]
    pub call_limit_ms: Option<Option<u32>>,
}

impl ConnectionChange {
    fn check(&self) -> Answer<()> {
        let mut checks = Checks::default();
        check_form(
            &mut checks,
            self.name.as_deref(),
            self.settings.as_ref(),
            self.credentials.as_ref(),
        );
        checks.number("/priority", i64::from(self.priority.unwrap_or(0)), -1000, 1000);
        checks.number("/weight", i64::from(self.weight.unwrap_or(1)), 0, 1000);
        check_rate(&mut checks, self.rate_limit.flatten());
        check_call(&mut checks, self.call_limit_ms.flatten());
        checks.finish()
    }

    /// The change laid over what is kept. Credentials that are not given stay as they are.
    fn over(self, kept: Connection) -> ConnectionSettings {
        ConnectionSettings {
            name: self.name.unwrap_or(kept.name),
            channel: kept.channel,
            provider: kept.provider,
            config: self.settings.map_or(kept.config, Value::Object),
            credentials: self.credentials.map(sealed),
            priority: self.priority.unwrap_or(kept.priority),
            weight: self.weight.unwrap_or(kept.weight),
            enabled: self.enabled.unwrap_or(kept.enabled),
            rate_limit: self
                .rate_limit
                .map_or(kept.rate_limit, |rate| rate.map(RateLimit::from)),
            call_limit_ms: self.call_limit_ms.unwrap_or(kept.call_limit_ms),
        }
    }
}

/// What a test of a connection found.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"ok": true, "findings": ["connected to mail.example.com:587", "STARTTLS: TLS 1.3", "login accepted"]}))]
pub struct ConnectionTest {
    /// The credentials and endpoint work.
    pub ok: bool,
    /// What was tried and found.
    pub findings: Vec<String>,
}

/// Which connections to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConnectionQuery {
    /// Rows of a page, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}
