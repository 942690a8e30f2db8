//! Slack, by incoming webhook. The answer's text decides, whatever the status: Slack's own client does the same.
//!
//! Source: <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/>.

use super::{Note, Notify};
use crate::config::ConfigError;
use crate::contract::{Rejection, SendOutcome};
use crate::egress::{Egress, EgressRequest, EgressUrl};
use crate::mask::mask;
use crate::outcome;
use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tidings_core::ErrorCategory;
use tidings_core::alert::NotifyEvent;

/// The webhook is gone or may not be used: an operator must make another.
const REFUSED: [&str; 11] = [
    "no_service",
    "no_service_id",
    "no_active_hooks",
    "invalid_token",
    "no_team",
    "team_disabled",
    "action_prohibited",
    "channel_not_found",
    "channel_is_archived",
    "posting_to_general_channel_denied",
    "user_not_found",
];
/// What we sent is wrong.
const INVALID: [&str; 3] = ["invalid_payload", "no_text", "too_many_attachments"];

/// One channel's webhook. Who knows its URL may write to the channel, so it is a secret.
#[derive(Clone)]
pub struct Slack {
    egress: Egress,
    url: EgressUrl,
}

impl std::fmt::Debug for Slack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slack")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Slack {
    /// A channel by its webhook's URL.
    ///
    /// # Errors
    /// When the address may not be called.
    pub fn new(egress: &Egress, webhook_url: &SecretString) -> Result<Self, ConfigError> {
        let url = egress
            .url(webhook_url.expose_secret())
            .map_err(|error| ConfigError::new("slack.webhook_url", error.to_string()))?;
        Ok(Self {
            egress: egress.clone(),
            url,
        })
    }
}

#[async_trait]
impl Notify for Slack {
    async fn tell(&self, note: &Note) -> SendOutcome {
        let body = json!({ "text": text(note) }).to_string();
        let request = EgressRequest::post(self.url.clone(), "application/json", body);
        match self.egress.call(request).await {
            Err(failure) => outcome::of_failure(&failure),
            Ok(answer) => read(answer.status, &answer.headers, &answer.body),
        }
    }
}

fn text(note: &Note) -> String {
    let state = match note.event {
        NotifyEvent::Trigger => note.severity.as_str(),
        NotifyEvent::Resolve => "over",
    };
    let escaped = note
        .headline()
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    format!("*{state}* {escaped}\nsince {}, {}", note.opened_at, note.source)
}

/// What an answer says. Bounded: a word that is not known is shown masked and cut.
pub(crate) fn read(status: u16, headers: &[(String, String)], body: &[u8]) -> SendOutcome {
    let said = String::from_utf8_lossy(body);
    let said = said.trim();
    let category = if REFUSED.contains(&said) {
        ErrorCategory::AuthFailure
    } else if INVALID.contains(&said) {
        ErrorCategory::InvalidInput
    } else {
        match status {
            200..300 if said == "ok" => {
                return SendOutcome::Accepted {
                    provider_message_id: None,
                };
            }
            200..300 => {
                return SendOutcome::Unknown {
                    detail: format!("Slack answered {status} without its ok"),
                };
            }
            429 => ErrorCategory::RateLimit,
            401 | 403 | 404 | 410 => ErrorCategory::AuthFailure,
            408 | 500.. => ErrorCategory::Transient,
            _ => ErrorCategory::InvalidInput,
        }
    };
    let known = REFUSED.contains(&said) || INVALID.contains(&said);
    SendOutcome::Rejected(Rejection {
        category,
        code: if known {
            said.to_owned()
        } else {
            status.to_string()
        },
        detail: if known || said.is_empty() {
            format!("Slack answered {status} {said}").trim_end().to_owned()
        } else {
            mask(&format!("Slack answered {status}: {said}"))
        },
        retry_after: outcome::retry_after(headers),
        effect: None,
    })
}
