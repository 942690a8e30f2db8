//! What a tenant wants of alerts: thresholds, who is told, and a test of it.

use super::alerts::AlertView;
use crate::ApiState;
use crate::auth::Caller;
use crate::check::Checks;
use crate::extract::Json;
use crate::problem::{Answer, Problem};
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tidings_core::alert::Thresholds;
use tidings_core::redact::Private;
use tidings_engine::alerts::AlertSetup;
use tidings_engine::store::alerts::settings::{AlertSecrets, AlertSettings, DigestChoice, PagerdutyChoice};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The operations of this file.
pub(crate) fn router() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(get_alert_settings, set_alert_settings))
        .routes(routes!(test_alerts))
}

/// Read the settings of alerts
///
/// Thresholds and who is told. Keys and webhook URLs never come out.
#[utoipa::path(get, path = "/v1/alerts/settings", tag = "alerts",
    responses((status = 200, description = "The settings; the product's defaults where nothing was set", body = AlertSettingsView)),
    security(("api_key" = ["alerts:read"])))]
async fn get_alert_settings(
    caller: Caller,
    State(state): State<ApiState>,
) -> Answer<Json<AlertSettingsView>> {
    let setup = state.engine().alert_setup(caller.tenant).await?;
    Ok(Json(setup.into()))
}

/// Set what is wanted of alerts
///
/// Replaces all of it: a notifier that is left out is told no more. A key, webhook URL or address that is left out of a notifier stays as
/// it was. Nobody is told anything by this; send a test next.
#[utoipa::path(put, path = "/v1/alerts/settings", tag = "alerts", request_body = AlertSettingsBody,
    responses((status = 200, description = "As they are now", body = AlertSettingsView)),
    security(("api_key" = ["alerts:write"])))]
async fn set_alert_settings(
    caller: Caller,
    State(state): State<ApiState>,
    Json(body): Json<AlertSettingsBody>,
) -> Answer<Json<AlertSettingsView>> {
    let (settings, secrets) = body.checked()?;
    let setup = state
        .engine()
        .set_alert_setup(caller.tenant, settings, secrets, &caller.actor())
        .await?;
    Ok(Json(setup.into()))
}

/// Send a test alert
///
/// Raises an alert that means nothing and tells the loudest notifier of it, then that it is over. What came of that is in the list of alerts.
#[utoipa::path(post, path = "/v1/alerts/test", tag = "alerts",
    responses((status = 201, description = "Raised; a worker tells of it now", body = AlertView), (status = 409, description = "Too many tests are open", body = Problem, content_type = "application/problem+json")),
    security(("api_key" = ["alerts:write"])))]
async fn test_alerts(caller: Caller, State(state): State<ApiState>) -> Answer<(StatusCode, Json<AlertView>)> {
    let told = state.engine().test_alert(caller.tenant, &caller.actor()).await?;
    Ok((StatusCode::CREATED, Json(told.into())))
}

/// What is wanted of alerts.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"slack": {"webhook_url": "https://hooks.slack.com/services/T0/B0/x"}, "digest": {"to": "ops@example.com", "hour_utc": 7}, "thresholds": {"delivery_rate_min_percent": 95}}))]
pub struct AlertSettingsBody {
    /// PagerDuty is told of critical alerts.
    pub pagerduty: Option<PagerdutyBody>,
    /// A Slack channel is told of those of high and medium severity.
    pub slack: Option<SlackBody>,
    /// A daily mail tells of the others.
    pub digest: Option<DigestBody>,
    /// From where on a figure is bad; what is left out is the product's default.
    #[serde(default)]
    #[schema(value_type = Option<ThresholdsView>)]
    pub thresholds: Thresholds,
}

/// How PagerDuty is reached.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PagerdutyBody {
    /// The integration key of a service, type Events API v2; left out, it stays as it is.
    #[schema(value_type = Option<String>, min_length = 32, max_length = 32, write_only)]
    pub routing_key: Option<SecretString>,
    /// Instead of PagerDuty's own address.
    #[schema(max_length = 500)]
    pub base_url: Option<String>,
}

/// How Slack is reached.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackBody {
    /// The URL of an incoming webhook; left out, it stays as it is.
    #[schema(value_type = Option<String>, max_length = 2048, write_only)]
    pub webhook_url: Option<SecretString>,
}

/// Who gets the digest, and when.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DigestBody {
    /// An e-mail address; left out, it stays as it is.
    #[schema(value_type = Option<String>, max_length = 254)]
    pub to: Option<Private<String>>,
    /// The hour of the day, UTC.
    #[schema(minimum = 0, maximum = 23)]
    pub hour_utc: u8,
}

impl AlertSettingsBody {
    fn checked(self) -> Answer<(AlertSettings, AlertSecrets)> {
        let mut checks = Checks::default();
        let base_url = self.pagerduty.as_ref().and_then(|one| one.base_url.as_deref());
        checks.optional_text("/pagerduty/base_url", base_url, 1, 500);
        checks.finish()?;
        let (routing_key, pagerduty) = match self.pagerduty {
            Some(one) => (
                one.routing_key,
                Some(PagerdutyChoice {
                    base_url: one.base_url,
                }),
            ),
            None => (None, None),
        };
        let hour_utc = self.digest.as_ref().map(|one| one.hour_utc);
        let settings = AlertSettings {
            thresholds: self.thresholds,
            pagerduty,
            slack: self.slack.is_some(),
            digest: hour_utc.map(|hour_utc| DigestChoice { hour_utc }),
        };
        let secrets = AlertSecrets {
            pagerduty_routing_key: routing_key,
            slack_webhook_url: self.slack.and_then(|one| one.webhook_url),
            digest_to: self.digest.and_then(|one| one.to),
        };
        Ok((settings, secrets))
    }
}

/// The settings of alerts.
#[derive(Serialize, ToSchema)]
pub struct AlertSettingsView {
    /// PagerDuty is told; null where it is not. Its key is kept and never shown.
    pub pagerduty: Option<PagerdutyView>,
    /// A Slack channel is told. Its webhook is kept and never shown.
    pub slack: bool,
    /// The daily digest; null where there is none.
    pub digest: Option<DigestView>,
    /// From where on a figure is bad.
    pub thresholds: ThresholdsView,
}

/// How PagerDuty is reached.
#[derive(Serialize, ToSchema)]
pub struct PagerdutyView {
    /// Instead of PagerDuty's own address.
    pub base_url: Option<String>,
}

/// The daily digest.
#[derive(Serialize, ToSchema)]
pub struct DigestView {
    /// Who gets it.
    pub to: Option<String>,
    /// The hour of the day, UTC.
    pub hour_utc: u8,
}

/// From where on a figure is bad.
#[derive(Serialize, ToSchema)]
pub struct ThresholdsView {
    /// Fewer deliveries than this share reach their address, in percent.
    #[schema(minimum = 1, maximum = 99, default = 90)]
    pub delivery_rate_min_percent: u32,
    /// More calls than this share fail, in percent.
    #[schema(minimum = 1, maximum = 99, default = 5)]
    pub api_errors_max_percent: u32,
    /// More calls than this share are repetitions, in percent.
    #[schema(minimum = 1, maximum = 99, default = 20)]
    pub retries_max_percent: u32,
    /// Less mail than this share is opened, in percent.
    #[schema(minimum = 1, maximum = 99, default = 40)]
    pub open_rate_min_percent: u32,
    /// A rate of fewer calls or deliveries than this says nothing.
    #[schema(minimum = 5, maximum = 2000, default = 20)]
    pub sample_min: u32,
    /// An open rate of less mail than this says nothing.
    #[schema(minimum = 5, maximum = 500, default = 50)]
    pub open_sample_min: u32,
    /// More jobs than this are given up within an hour.
    #[schema(minimum = 0, maximum = 1_000_000, default = 10)]
    pub dead_letters_max: u32,
    /// More unknown outcomes than this wait for a person.
    #[schema(minimum = 0, maximum = 1_000_000, default = 0)]
    pub unknown_max: u32,
    /// Due work waits longer than this, in seconds.
    #[schema(minimum = 60, maximum = 86_400, default = 900)]
    pub queue_age_max_s: u32,
    /// A campaign's run failed so many times in a row.
    #[schema(minimum = 1, maximum = 100, default = 3)]
    pub source_tries: u32,
    /// What was bad must have been good for so long until the alert is over, in seconds.
    #[schema(minimum = 60, maximum = 86_400, default = 300)]
    pub hold_s: u32,
}

impl From<AlertSetup> for AlertSettingsView {
    fn from(setup: AlertSetup) -> Self {
        let settings = setup.settings;
        let to = setup.digest_to.map(|to| to.expose().clone());
        Self {
            pagerduty: settings.pagerduty.map(|one| PagerdutyView {
                base_url: one.base_url,
            }),
            slack: settings.slack,
            digest: settings.digest.map(|one| DigestView {
                to,
                hour_utc: one.hour_utc,
            }),
            thresholds: settings.thresholds.into(),
        }
    }
}

impl From<Thresholds> for ThresholdsView {
    fn from(one: Thresholds) -> Self {
        Self {
            delivery_rate_min_percent: one.delivery_rate_min_percent,
            api_errors_max_percent: one.api_errors_max_percent,
            retries_max_percent: one.retries_max_percent,
            open_rate_min_percent: one.open_rate_min_percent,
            sample_min: one.sample_min,
            open_sample_min: one.open_sample_min,
            dead_letters_max: one.dead_letters_max,
            unknown_max: one.unknown_max,
            queue_age_max_s: one.queue_age_max_s,
            source_tries: one.source_tries,
            hold_s: one.hold_s,
        }
    }
}
