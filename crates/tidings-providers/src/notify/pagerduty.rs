//! PagerDuty, Events API v2. The same dedup key makes repeated calls one incident, so a call may be made again safely.
//!
//! Source: <https://developer.pagerduty.com/docs/events-api-v2/overview/>.

use super::{Note, Notify};
use crate::config::ConfigError;
use crate::contract::{Rejection, SendOutcome};
use crate::egress::{Egress, EgressRequest, EgressUrl};
use crate::mask::mask;
use crate::outcome;
use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tidings_core::ErrorCategory;
use tidings_core::alert::{NotifyEvent, Severity};

/// PagerDuty's own address.
const BASE_URL: &str = "https://events.pagerduty.com";
/// Length of an integration key.
const KEY_LENGTH: usize = 32;
/// The longest summary, in characters.
const SUMMARY_MAX: usize = 1_024;

/// One integration of one service.
#[derive(Clone)]
pub struct PagerDuty {
    egress: Egress,
    url: EgressUrl,
    routing_key: SecretString,
}

impl std::fmt::Debug for PagerDuty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PagerDuty")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    message: Option<String>,
    errors: Vec<String>,
}

impl PagerDuty {
    /// An integration by its key; `base_url` in place of PagerDuty's own.
    ///
    /// # Errors
    /// When the key is none, or the address may not be called.
    pub fn new(
        egress: &Egress,
        routing_key: SecretString,
        base_url: Option<&str>,
    ) -> Result<Self, ConfigError> {
        let key = routing_key.expose_secret();
        if key.len() != KEY_LENGTH || !key.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(ConfigError::new(
                "pagerduty.routing_key",
                "an integration key has 32 letters and digits; see the service's integration of type Events API v2",
            ));
        }
        let base = egress
            .url(base_url.unwrap_or(BASE_URL))
            .map_err(|error| ConfigError::new("pagerduty.base_url", error.to_string()))?;
        Ok(Self {
            egress: egress.clone(),
            url: base.join(&["v2", "enqueue"], &[]),
            routing_key,
        })
    }

    fn body(&self, note: &Note) -> Value {
        let key = self.routing_key.expose_secret();
        match note.event {
            NotifyEvent::Resolve => json!({
                "routing_key": key, "event_action": "resolve", "dedup_key": note.dedup_key,
            }),
            NotifyEvent::Trigger => json!({
                "routing_key": key, "event_action": "trigger", "dedup_key": note.dedup_key, "client": "Tidings",
                "payload": {
                    "summary": note.headline().chars().take(SUMMARY_MAX).collect::<String>(),
                    "source": note.source,
                    "severity": severity(note.severity),
                    "timestamp": note.opened_at.to_string(),
                    "component": note.subject,
                    "group": note.tenant,
                    "class": note.rule,
                },
            }),
        }
    }
}

#[async_trait]
impl Notify for PagerDuty {
    async fn tell(&self, note: &Note) -> SendOutcome {
        let request = EgressRequest::post(self.url.clone(), "application/json", self.body(note).to_string());
        match self.egress.call(request).await {
            Err(failure) => outcome::of_failure(&failure),
            Ok(answer) => match classify(answer.status, &answer.headers, &answer.body) {
                Some(rejection) => SendOutcome::Rejected(rejection),
                None => SendOutcome::Accepted {
                    provider_message_id: None,
                },
            },
        }
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "info",
    }
}

/// Classes an answer; nothing for a success (202).
pub(crate) fn classify(status: u16, headers: &[(String, String)], body: &[u8]) -> Option<Rejection> {
    let category = match status {
        200..300 => return None,
        401 | 403 => ErrorCategory::AuthFailure,
        429 => ErrorCategory::RateLimit,
        408 | 500.. => ErrorCategory::Transient,
        _ => ErrorCategory::InvalidInput,
    };
    let said: Answer = serde_json::from_slice(body).unwrap_or_default();
    let words: Vec<String> = said.message.into_iter().chain(said.errors).collect();
    Some(Rejection {
        category,
        code: status.to_string(),
        detail: if words.is_empty() {
            format!("PagerDuty answered {status}")
        } else {
            mask(&words.join(": "))
        },
        retry_after: outcome::retry_after(headers),
        effect: None,
    })
}
