//! Sending through the companion.

use super::errors;
use super::settings::{WhatsappWebCredentials, WhatsappWebSettings};
use super::webhook;
use super::wire::{LONGEST_TEXT, MessageReport, SendRequest, SessionState, Standing, StateReport};
use crate::config::{self, ConfigError, ConnectionConfig};
use crate::contract::{
    Capabilities, CheckReport, Content, Lookup, Provider, SendOutcome, Submission, WebhookParsed,
    WebhookRefusal, WebhookRequest,
};
use crate::egress::{Egress, EgressFailure, EgressRequest, EgressResponse, EgressUrl};
use crate::mask::mask;
use crate::outcome;
use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use tidings_core::ProviderKind;
use tidings_core::redact::Private;

/// The companion keeps references for thirty days; calls are repeated for much less.
const REMEMBERED: Duration = Duration::from_hours(14 * 24);

/// A WhatsApp Web connection.
#[derive(Debug)]
pub struct WhatsappWebProvider {
    settings: WhatsappWebSettings,
    credentials: WhatsappWebCredentials,
    authorization: SecretString,
    base: EgressUrl,
    egress: Egress,
}

impl WhatsappWebProvider {
    /// Reads settings and credentials.
    pub fn new(config: &ConnectionConfig, egress: &Egress) -> Result<Self, ConfigError> {
        let settings: WhatsappWebSettings = config::settings(config)?;
        let credentials: WhatsappWebCredentials = config::credentials(config)?;
        credentials.check()?;
        let base = config::base_url(
            ProviderKind::WhatsappWeb,
            Some(&settings.base_url),
            &settings.base_url,
            egress,
        )?;
        let bearer = format!("Bearer {}", credentials.token.expose_secret());
        Ok(Self {
            authorization: SecretString::from(bearer),
            settings,
            credentials,
            base,
            egress: egress.clone(),
        })
    }

    async fn call(&self, request: EgressRequest) -> Result<EgressResponse, EgressFailure> {
        self.egress
            .call(request.secret_header("authorization", self.authorization.expose_secret())?)
            .await
    }

    async fn state(&self) -> Result<StateReport, String> {
        let url = self.base.join(&["state"], &[]);
        let answer = self
            .call(EgressRequest::get(url))
            .await
            .map_err(|failure| failure.to_string())?;
        match errors::classify(answer.status, &answer.headers, &answer.body) {
            None => serde_json::from_slice(&answer.body).map_err(|_| {
                format!(
                    "what answers at base_url is no companion (status {})",
                    answer.status
                )
            }),
            Some(no) => Err(format!(
                "the companion answered {}: {} ({})",
                answer.status, no.detail, no.category
            )),
        }
    }

    /// What is wrong about the companion's account, if anything.
    fn wrong_account(&self, state: &StateReport) -> Option<String> {
        let wanted = self.settings.number.as_ref()?;
        match &state.account {
            Some(account) if account.expose() == wanted.as_str() => None,
            Some(_) => Some("the companion is paired with another number than settings.number".to_owned()),
            None => Some("the companion cannot tell which number it is paired with".to_owned()),
        }
    }
}

/// The text of a message; what else there is this channel does not carry.
fn text_of(submission: &Submission) -> Result<&str, String> {
    let Content::Text { body } = submission.content.expose() else {
        let name = submission.content.expose().name();
        return Err(format!("WhatsApp Web carries texts; this is {name}"));
    };
    let length = body.chars().count();
    if body.trim().is_empty() || length > LONGEST_TEXT {
        return Err(format!(
            "a text has 1 to {LONGEST_TEXT} characters, this one {length}"
        ));
    }
    Ok(body)
}

fn outcome_of(answer: &EgressResponse) -> SendOutcome {
    if let Some(rejection) = errors::classify(answer.status, &answer.headers, &answer.body) {
        return SendOutcome::Rejected(rejection);
    }
    let unknown = |detail: String| SendOutcome::Unknown { detail };
    match serde_json::from_slice::<MessageReport>(&answer.body) {
        Ok(report) if answer.status == 200 && report.standing.has_left() => SendOutcome::Accepted {
            provider_message_id: report.id,
        },
        Ok(report) => unknown(mask(&format!(
            "the companion says {}{}",
            report.standing,
            report
                .detail
                .map(|detail| format!(": {detail}"))
                .unwrap_or_default()
        ))),
        Err(_) => unknown(format!(
            "the companion answered {} without a report",
            answer.status
        )),
    }
}

fn found(report: MessageReport) -> Lookup {
    match report.standing {
        Standing::Sent | Standing::Delivered | Standing::Read => Lookup::Found {
            provider_message_id: report.id,
        },
        Standing::Withdrawn => Lookup::NotFound,
        Standing::Sending | Standing::Pending | Standing::Unknown => Lookup::Unavailable {
            detail: format!("the companion says {}", report.standing),
        },
    }
}

#[async_trait]
impl Provider for WhatsappWebProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::WhatsappWeb
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            idempotent_send: true,
            lookup: true,
            echoes_reference: true,
            reports: false,
        }
    }

    fn remembers_for(&self) -> Option<Duration> {
        Some(REMEMBERED)
    }

    async fn send(&self, submission: &Submission) -> SendOutcome {
        let text = match text_of(submission) {
            Ok(text) => text,
            Err(detail) => return SendOutcome::Rejected(outcome::wrong_content(detail)),
        };
        let request = SendRequest {
            reference: submission.reference.clone(),
            to: Private::new(submission.to.expose().as_str().to_owned()),
            text: Private::new(text.to_owned()),
        };
        let Ok(body) = serde_json::to_vec(&request) else {
            return outcome::of_failure(&EgressFailure::NotSent("it is no JSON".to_owned()));
        };
        // A browser takes longer than an API; what is not done by then is asked about.
        let url = self.base.join(&["messages"], &[]);
        let request = EgressRequest::post(url, "application/json", body).within(submission.time_limit);
        match self.call(request).await {
            Ok(answer) => outcome_of(&answer),
            Err(failure) => outcome::of_failure(&failure),
        }
    }

    /// Withdraws the reference where nothing is known of it, so that "not found" stays true.
    async fn lookup(&self, reference: &str) -> Lookup {
        let url = self.base.join(&["messages", reference], &[]);
        let unavailable = |detail: String| Lookup::Unavailable { detail };
        match self.call(EgressRequest::delete(url)).await {
            Ok(answer) if answer.status == 200 => {
                match serde_json::from_slice::<MessageReport>(&answer.body) {
                    Ok(report) if report.reference == reference => found(report),
                    _ => unavailable("the companion answered 200 without a report".to_owned()),
                }
            }
            Ok(answer) => unavailable(format!("the companion answered {}", answer.status)),
            Err(failure) => unavailable(failure.to_string()),
        }
    }

    async fn check(&self) -> CheckReport {
        let state = match self.state().await {
            Ok(state) => state,
            Err(problem) => {
                return CheckReport {
                    ok: false,
                    findings: vec![problem],
                };
            }
        };
        let mut ok = state.state == SessionState::Ready;
        let mut findings = vec![format!("the companion answers; its session is {}", state.state)];
        if state.state == SessionState::Pairing {
            findings.push("scan the code that `tidings whatsapp-web pair` shows".to_owned());
        }
        findings.extend(state.detail.as_deref().map(mask));
        if ok && let Some(problem) = self.wrong_account(&state) {
            ok = false;
            findings.push(problem);
        }
        if state.next_send_s > 0 {
            findings.push(format!("it may write again in {} s", state.next_send_s));
        }
        if !state.webhook {
            findings.push("the companion has no webhook: replies and STOP do not arrive".to_owned());
        } else if state.outbox > 0 {
            findings.push(format!(
                "{} reports wait to be posted to the webhook",
                state.outbox
            ));
        }
        if self.credentials.webhook_secret.is_none() {
            findings.push("webhook_secret is not set: its webhooks are refused".to_owned());
        }
        CheckReport { ok, findings }
    }

    async fn webhook(
        &self,
        request: &WebhookRequest,
        now: Timestamp,
    ) -> Result<WebhookParsed, WebhookRefusal> {
        webhook::read(request, &self.settings, &self.credentials, now)
    }
}
