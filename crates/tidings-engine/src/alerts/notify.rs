//! The job that tells a notifier. It says what there is to say now; no alert is ever raised about it, so a notifier that
//! does not work is seen in the list of alerts, in the dead letters and on `/metrics`, and never feeds itself.

use crate::engine::Inner;
use crate::error::EngineError;
use crate::process::finished;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidings_core::alert::{Notifier, NotifyEvent, Told, next_word};
use tidings_core::job::JobKind;
use tidings_core::retry::{Failure, NextTry, next_try};
use tidings_core::{AlertId, ErrorCategory, Urgency};
use tidings_providers::egress::Egress;
use tidings_providers::notify::{Note, Notify, PagerDuty, Slack};
use tidings_providers::{ConfigError, Rejection, SendOutcome};
use tidings_queue::{ClaimedJob, FinishReport, LeaseId, NewJob, Outcome, finish};
use tidings_store::alerts::AlertState;
use tidings_store::alerts::notifications::{self, Claim, Held, NotificationKey, NotificationState, Turn};
use tidings_store::alerts::settings;
use tidings_store::tenants;

/// Tries after the first; the waits between them grow to ten minutes, so this is most of a day.
const RETRIES: i32 = 100;
/// A call that has not ended by then counts as lost, and another may be made.
const CALL_LEASE: SignedDuration = SignedDuration::from_secs(60);
/// How soon to look again while another worker makes a call.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

#[derive(Serialize, Deserialize)]
struct Payload {
    alert: AlertId,
    notifier: Notifier,
}

/// The job for a notification.
pub(super) fn job(key: NotificationKey) -> Option<NewJob> {
    let payload = Payload {
        alert: key.alert,
        notifier: key.notifier,
    };
    let payload = serde_json::value::to_raw_value(&payload).ok()?;
    let kind = JobKind::AlertNotify;
    let mut job = NewJob::new(key.tenant, kind, kind.priority(Urgency::High), payload);
    job.max_retries = RETRIES;
    Some(job)
}

/// Works on the job.
pub(super) async fn tell(
    inner: &Inner,
    lease: LeaseId,
    job: &ClaimedJob,
    reports: &mut Vec<FinishReport>,
) -> Result<(), EngineError> {
    let Ok(payload) = serde_json::from_str::<Payload>(job.payload.get()) else {
        let outcome = Outcome::Dead {
            cause: "payload".to_owned(),
            category: ErrorCategory::InvalidInput,
            error: "the payload names no alert and notifier; it is not one of the engine's own".to_owned(),
        };
        return end(inner, lease, job, None, outcome, reports).await;
    };
    let key = NotificationKey {
        tenant: job.tenant,
        alert: payload.alert,
        notifier: payload.notifier,
    };
    let now = inner.now();
    let until = now.saturating_add(CALL_LEASE).unwrap_or(Timestamp::MAX);
    let mut tx = inner.tx().await?;
    let claim = notifications::claim(&mut tx, key, now, until).await?;
    tx.commit().await?;
    let held = match claim {
        Claim::Gone => return end(inner, lease, job, None, Outcome::Done, reports).await,
        Claim::Busy => {
            let outcome = Outcome::Retry {
                at: now.saturating_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX),
                category: ErrorCategory::Transient,
                error: "another worker tells the same notifier just now".to_owned(),
                counts: false,
            };
            return end(inner, lease, job, None, outcome, reports).await;
        }
        Claim::Held(held) => held,
    };
    let Some(event) = next_word(held.alert.state == AlertState::Open, held.told, held.perhaps) else {
        let turn = Turn {
            told: held.told,
            state: NotificationState::Settled,
            perhaps: held.perhaps,
            error: None,
        };
        return end(inner, lease, job, Some((key, turn)), Outcome::Done, reports).await;
    };
    let said = call(inner, key, &held, event).await?;
    let (turn, outcome) = judge(inner, job, key.notifier, &held, event, said);
    end(inner, lease, job, Some((key, turn)), outcome, reports).await
}

/// Makes the call; no transaction is open meanwhile.
async fn call(
    inner: &Inner,
    key: NotificationKey,
    held: &Held,
    event: NotifyEvent,
) -> Result<SendOutcome, EngineError> {
    let mut conn = inner.conn().await?;
    let tenant_key = inner.store.keyring().tenant_key(&mut conn, key.tenant).await?;
    let opened = settings::open(&mut conn, &tenant_key, key.tenant).await?;
    let tenant = tenants::get(&mut conn, key.tenant).await?;
    drop(conn);
    let built = opened
        .ok_or_else(missing)
        .and_then(|(settings, secrets)| build(inner.providers.egress(), key.notifier, &settings, secrets));
    let notifier = match built {
        Ok(notifier) => notifier,
        Err(error) => return Ok(SendOutcome::Rejected(unusable(&error))),
    };
    let note = Note {
        event,
        dedup_key: held.alert.dedup_key.clone(),
        tenant: tenant.slug,
        rule: held.alert.rule.to_string(),
        subject: held.alert.subject.clone(),
        severity: held.alert.severity,
        detail: held.alert.detail.clone(),
        opened_at: held.alert.opened_at,
        source: inner.base.host_str().unwrap_or("tidings").to_owned(),
    };
    let told = tokio::time::timeout(inner.limits.call, notifier.tell(&note)).await;
    Ok(told.unwrap_or_else(|_| SendOutcome::Unknown {
        detail: "no answer in time".to_owned(),
    }))
}

/// A notifier by a tenant's settings; nobody is called.
pub(super) fn build(
    egress: &Egress,
    notifier: Notifier,
    settings: &settings::AlertSettings,
    secrets: settings::AlertSecrets,
) -> Result<Arc<dyn Notify>, ConfigError> {
    match (notifier, &settings.pagerduty) {
        (Notifier::Pagerduty, Some(choice)) => {
            let key = secrets.pagerduty_routing_key.ok_or_else(missing)?;
            Ok(Arc::new(PagerDuty::new(egress, key, choice.base_url.as_deref())?))
        }
        (Notifier::Slack, _) if settings.slack => {
            let url = secrets.slack_webhook_url.ok_or_else(missing)?;
            Ok(Arc::new(Slack::new(egress, &url)?))
        }
        _ => Err(missing()),
    }
}

fn missing() -> ConfigError {
    ConfigError::new(
        "alerts",
        "the notifier is not configured any more; see [tenants.alerts]",
    )
}

fn unusable(error: &ConfigError) -> Rejection {
    Rejection {
        category: ErrorCategory::AuthFailure,
        code: "configuration".to_owned(),
        detail: error.to_string(),
        retry_after: None,
        effect: None,
    }
}

/// What follows from the notifier's answer.
fn judge(
    inner: &Inner,
    job: &ClaimedJob,
    notifier: Notifier,
    held: &Held,
    event: NotifyEvent,
    said: SendOutcome,
) -> (Turn, Outcome) {
    let count = |outcome: &'static str| {
        let notifier = notifier.as_str();
        metrics::counter!("tidings_alert_notifications_total", "notifier" => notifier, "outcome" => outcome)
            .increment(1);
    };
    let (rejection, perhaps) = match said {
        SendOutcome::Accepted { .. } => {
            count("told");
            let turn = Turn {
                told: match event {
                    NotifyEvent::Trigger => Told::Open,
                    NotifyEvent::Resolve => Told::Over,
                },
                state: NotificationState::Settled,
                perhaps: false,
                error: None,
            };
            return (turn, Outcome::Done);
        }
        SendOutcome::Unknown { detail } => {
            count("unknown");
            let rejection = Rejection {
                category: ErrorCategory::Transient,
                code: "no_answer".to_owned(),
                detail,
                retry_after: None,
                effect: None,
            };
            (rejection, true)
        }
        SendOutcome::Rejected(rejection) => (rejection, held.perhaps),
    };
    let now = inner.now();
    let error = format!("{}: {}", rejection.code, rejection.detail);
    let failure = Failure {
        category: rejection.category,
        retries: u32::try_from(job.retry_count).unwrap_or(0),
        max_retries: u32::try_from(job.max_retries).unwrap_or(0),
        retry_after: rejection.retry_after,
        first_due_at: held.due_at,
    };
    // A credential that is refused is not right a minute later: an operator must see it. The next change of the settings
    // tries again.
    let next = if rejection.category == ErrorCategory::AuthFailure {
        NextTry::GiveUp
    } else {
        next_try(
            &failure,
            JobKind::AlertNotify,
            &inner.schedule,
            now,
            &mut inner.dice(),
        )
    };
    let mut turn = Turn {
        told: held.told,
        state: NotificationState::Waiting,
        perhaps,
        error: Some(error.clone()),
    };
    match next {
        NextTry::At { at, counts } => {
            count("refused");
            let outcome = Outcome::Retry {
                at,
                category: rejection.category,
                error,
                counts,
            };
            (turn, outcome)
        }
        NextTry::GiveUp => {
            count("failed");
            tracing::error!(alert = %held.alert.id, %notifier, error, "a notifier could not be told of an alert");
            turn.state = NotificationState::Failed;
            let outcome = Outcome::Dead {
                cause: format!("{notifier}: {}", rejection.code),
                category: rejection.category,
                error,
            };
            (turn, outcome)
        }
    }
}

/// Writes the turn and the job's end together.
async fn end(
    inner: &Inner,
    lease: LeaseId,
    job: &ClaimedJob,
    turn: Option<(NotificationKey, Turn)>,
    outcome: Outcome,
    reports: &mut Vec<FinishReport>,
) -> Result<(), EngineError> {
    let now = inner.now();
    let mut tx = inner.tx().await?;
    let report = finish(&mut tx, inner.node, &[finished(job, lease, outcome)], now).await?;
    if let Some((key, turn)) = turn {
        // What was said was said, also when the lease was lost meanwhile.
        notifications::end(&mut tx, key, &turn, now).await?;
    }
    tx.commit().await?;
    reports.push(report);
    Ok(())
}
