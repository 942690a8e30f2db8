//! Alerts: what is wrong, since when, and who was told.

use crate::ApiState;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, bounds};
use crate::problem::{Answer, Problem};
use crate::words::{
    AlertRuleWord, AlertStateWord, NotificationStateWord, NotifierWord, SeverityWord, ToldWord,
};
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tidings_core::AlertId;
use tidings_core::alert::{AlertRule, Notifier, Severity, Told};
use tidings_engine::alerts::AlertTold;
use tidings_engine::store::alerts::AlertState;
use tidings_engine::store::alerts::notifications::{Notification, NotificationState};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_alerts))
        .routes(routes!(acknowledge_alert))
}

/// List alerts
///
/// The newest first: open ones, those that are over, or both.
#[utoipa::path(get, path = "/v1/alerts", tag = "alerts", params(AlertQuery),
    responses((status = 200, description = "A page", body = Page<AlertView>)),
    security(("api_key" = ["alerts:read"])))]
async fn list_alerts(
    caller: Caller,
    State(state): State<ApiState>,
    Query(query): Query<AlertQuery>,
) -> Answer<Json<Page<AlertView>>> {
    let bounds = bounds::<Uuid>(query.limit, query.cursor.as_deref())?;
    let before = bounds.after.map(AlertId);
    let page = state
        .engine()
        .alerts(caller.tenant, query.state, before, bounds.limit)
        .await?;
    let page = Page::of(page.items, page.next.map(|alert| alert.0));
    Ok(Json(page.map(AlertView::from)))
}

/// Take an alert on
///
/// Says that somebody looks after it; the first one stays. It is over when the figures are well, not before.
#[utoipa::path(post, path = "/v1/alerts/{alert_id}/acknowledge", tag = "alerts",
    params(("alert_id" = Uuid, Path, description = "The alert")),
    responses((status = 200, description = "The alert as it is now", body = AlertView), (status = 404, description = "There is no such alert", body = Problem, content_type = "application/problem+json")),
    security(("api_key" = ["alerts:write"])))]
async fn acknowledge_alert(
    caller: Caller,
    State(state): State<ApiState>,
    Path(alert): Path<Uuid>,
) -> Answer<Json<AlertView>> {
    let by = caller.actor();
    let told = state
        .engine()
        .acknowledge_alert(caller.tenant, AlertId(alert), &by)
        .await?;
    Ok(Json(AlertView::from(told)))
}

/// Which alerts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertQuery {
    /// Only open ones, or only those that are over; both when left out.
    #[param(value_type = Option<AlertStateWord>)]
    state: Option<AlertState>,
    /// At most so many.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
}

/// An alert.
#[derive(Serialize, ToSchema)]
pub struct AlertView {
    /// Its id.
    pub id: Uuid,
    /// The rule.
    #[schema(value_type = AlertRuleWord)]
    pub rule: AlertRule,
    /// The connection, provider, channel or campaign; `tenant` for the whole.
    pub subject: String,
    /// How loudly.
    #[schema(value_type = SeverityWord)]
    pub severity: Severity,
    /// Whether it holds.
    #[schema(value_type = AlertStateWord)]
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
    /// What each notifier was told.
    pub notifications: Vec<NotificationView>,
}

/// What a notifier was told.
#[derive(Serialize, ToSchema)]
pub struct NotificationView {
    /// Who.
    #[schema(value_type = NotifierWord)]
    pub notifier: Notifier,
    /// What it was told.
    #[schema(value_type = ToldWord)]
    pub told: Told,
    /// Where telling stands.
    #[schema(value_type = NotificationStateWord)]
    pub state: NotificationState,
    /// Calls that failed since the last one that succeeded.
    pub tries: i32,
    /// Why the last of them failed.
    pub last_error: Option<String>,
    /// Last change.
    pub updated_at: Timestamp,
}

impl From<AlertTold> for AlertView {
    fn from(told: AlertTold) -> Self {
        let alert = told.alert;
        Self {
            id: alert.id.0,
            rule: alert.rule,
            subject: alert.subject,
            severity: alert.severity,
            state: alert.state,
            detail: alert.detail,
            dedup_key: alert.dedup_key,
            opened_at: alert.opened_at,
            last_seen_at: alert.last_seen_at,
            resolved_at: alert.resolved_at,
            acknowledged_at: alert.acknowledged_at,
            acknowledged_by: alert.acknowledged_by,
            notifications: told
                .notifications
                .into_iter()
                .map(NotificationView::from)
                .collect(),
        }
    }
}

impl From<Notification> for NotificationView {
    fn from(one: Notification) -> Self {
        Self {
            notifier: one.notifier,
            told: one.told,
            state: one.state,
            tries: one.tries,
            last_error: one.last_error,
            updated_at: one.updated_at,
        }
    }
}
