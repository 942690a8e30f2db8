//! Sending through Twilio.

use super::errors;
use super::report;
use super::settings::{BASE_URL, TwilioCredentials, TwilioSettings, is_sid};
use super::webhook;
use crate::config::{self, ConfigError, ConnectionConfig};
use crate::contract::{
    Capabilities, CheckReport, Content, Lookup, Provider, Report, SendOutcome, Submission, WebhookParsed,
    WebhookRefusal, WebhookRequest,
};
use crate::egress::{Egress, EgressFailure, EgressRequest, EgressResponse, EgressUrl};
use crate::feedback;
use crate::outcome;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tidings_core::ProviderKind;
use url::{Url, form_urlencoded};

/// A Twilio connection.
#[derive(Debug)]
pub struct TwilioProvider {
    settings: TwilioSettings,
    credentials: TwilioCredentials,
    authorization: SecretString,
    base: EgressUrl,
    egress: Egress,
}

#[derive(Deserialize)]
struct Created {
    sid: String,
}

impl TwilioProvider {
    /// Reads settings and credentials.
    pub fn new(config: &ConnectionConfig, egress: &Egress) -> Result<Self, ConfigError> {
        let settings: TwilioSettings = config::settings(config)?;
        let credentials: TwilioCredentials = config::credentials(config)?;
        settings.check()?;
        credentials.check()?;
        let base = config::base_url(
            ProviderKind::Twilio,
            settings.base_url.as_deref(),
            BASE_URL,
            egress,
        )?;
        let (user, password) = match (&credentials.api_key_sid, &credentials.api_key_secret) {
            (Some(sid), Some(secret)) => (sid.as_str(), secret.expose_secret()),
            _ => (
                settings.account_sid.as_str(),
                credentials.auth_token.expose_secret(),
            ),
        };
        let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Ok(Self {
            authorization: SecretString::from(basic),
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

    fn form(&self, submission: &Submission, body: &str) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("To", submission.to.expose().as_str());
        match (&self.settings.messaging_service_sid, &self.settings.from) {
            (Some(sid), _) => form.append_pair("MessagingServiceSid", sid),
            (None, Some(from)) => form.append_pair("From", from),
            (None, None) => &mut form,
        };
        form.append_pair("Body", body);
        if let Some(callback) = submission.status_callback.as_deref() {
            form.append_pair("StatusCallback", &with_reference(callback, &submission.reference));
        }
        if let Some(seconds) = self.settings.validity_period_s {
            form.append_pair("ValidityPeriod", &seconds.to_string());
        }
        if self.settings.smart_encoded {
            form.append_pair("SmartEncoded", "true");
        }
        form.finish()
    }
}

/// The status callback's URL with our reference in its query, so that a report finds its attempt even when we
/// never learned Twilio's id.
fn with_reference(callback: &str, reference: &str) -> String {
    match Url::parse(callback) {
        Ok(mut url) => {
            url.query_pairs_mut().append_pair(webhook::REFERENCE, reference);
            url.to_string()
        }
        Err(_) => callback.to_owned(),
    }
}

fn outcome_of(answer: &EgressResponse) -> SendOutcome {
    let no = errors::classify(answer.status, &answer.headers, &answer.body);
    let created = serde_json::from_slice::<Created>(&answer.body).ok();
    let sid = created
        .map(|created| created.sid)
        .filter(|sid| is_sid(sid, &["SM", "MM"]));
    outcome::of_answer("Twilio", answer.status, no, sid)
}

#[async_trait]
impl Provider for TwilioProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Twilio
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            idempotent_send: false,
            lookup: false,
            echoes_reference: true,
            reports: true,
        }
    }

    async fn send(&self, submission: &Submission) -> SendOutcome {
        let Content::Text { body } = submission.content.expose() else {
            let what = submission.content.expose().name();
            return SendOutcome::Rejected(outcome::wrong_content(format!(
                "a Twilio connection carries text messages; this one is {what}"
            )));
        };
        let path = [
            "2010-04-01",
            "Accounts",
            &self.settings.account_sid,
            "Messages.json",
        ];
        let form = self.form(submission, body);
        let request = EgressRequest::post(
            self.base.join(&path, &[]),
            "application/x-www-form-urlencoded",
            form,
        )
        .within(submission.time_limit);
        match self.call(request).await {
            Ok(answer) => outcome_of(&answer),
            Err(failure) => outcome::of_failure(&failure),
        }
    }

    async fn lookup(&self, _reference: &str) -> Lookup {
        Lookup::Unavailable {
            detail: "Twilio cannot be asked by our reference; its status callback tells".to_owned(),
        }
    }

    async fn report(&self, provider_message_id: &str) -> Report {
        let Some(file) = report::file_of(provider_message_id) else {
            return Report::NotKnown;
        };
        let account = &self.settings.account_sid;
        let url = self
            .base
            .join(&["2010-04-01", "Accounts", account, "Messages", &file], &[]);
        match self.call(EgressRequest::get(url)).await {
            Ok(answer) => report::read(provider_message_id, &answer),
            Err(failure) => Report::Unanswered(feedback::failed(&failure)),
        }
    }

    async fn check(&self) -> CheckReport {
        let account = format!("{}.json", self.settings.account_sid);
        let url = self.base.join(&["2010-04-01", "Accounts", &account], &[]);
        let finding = match self.call(EgressRequest::get(url)).await {
            Ok(answer) if answer.status == 200 => {
                return CheckReport {
                    ok: true,
                    findings: vec!["the account answers; credentials work".to_owned()],
                };
            }
            Ok(answer) => match errors::classify(answer.status, &answer.headers, &answer.body) {
                Some(no) => format!(
                    "Twilio answered {}: {} ({})",
                    answer.status, no.detail, no.category
                ),
                None => format!("Twilio answered {}", answer.status),
            },
            Err(failure) => failure.to_string(),
        };
        CheckReport {
            ok: false,
            findings: vec![finding],
        }
    }

    async fn webhook(
        &self,
        request: &WebhookRequest,
        _now: Timestamp,
    ) -> Result<WebhookParsed, WebhookRefusal> {
        webhook::read(request, &self.settings, &self.credentials)
    }
}
