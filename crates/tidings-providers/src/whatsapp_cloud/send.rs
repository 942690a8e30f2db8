//! Sending through the Cloud API.

use super::body;
use super::errors;
use super::settings::{BASE_URL, WhatsappCloudCredentials, WhatsappCloudSettings};
use super::webhook;
use crate::config::{self, ConfigError, ConnectionConfig};
use crate::contract::{
    Capabilities, CheckReport, Lookup, Provider, SendOutcome, Signal, Submission, WebhookParsed,
    WebhookRefusal, WebhookRequest,
};
use crate::egress::{Egress, EgressFailure, EgressRequest, EgressResponse, EgressUrl};
use crate::outcome;
use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::time::Duration;
use tidings_core::ProviderKind;

/// A WhatsApp Cloud API connection.
#[derive(Debug)]
pub struct WhatsappCloudProvider {
    settings: WhatsappCloudSettings,
    credentials: WhatsappCloudCredentials,
    authorization: SecretString,
    base: EgressUrl,
    egress: Egress,
}

impl WhatsappCloudProvider {
    /// Reads settings and credentials.
    pub fn new(config: &ConnectionConfig, egress: &Egress) -> Result<Self, ConfigError> {
        let settings: WhatsappCloudSettings = config::settings(config)?;
        let credentials: WhatsappCloudCredentials = config::credentials(config)?;
        settings.check()?;
        credentials.check()?;
        let base = config::base_url(
            ProviderKind::WhatsappCloud,
            settings.base_url.as_deref(),
            BASE_URL,
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

    /// Posts to the number's messages, where everything that is said to a user goes.
    async fn post(&self, request: &Value, limit: Duration) -> Result<EgressResponse, EgressFailure> {
        let path = [
            self.settings.api_version.as_str(),
            &self.settings.phone_number_id,
            "messages",
        ];
        let url = self.base.join(&path, &[]);
        self.call(EgressRequest::post(url, "application/json", request.to_string()).within(limit))
            .await
    }

    /// Asks for fields of an object; the answer, or what is wrong.
    async fn ask(&self, path: &[&str], fields: &str) -> Result<Value, String> {
        let version = [self.settings.api_version.as_str()];
        let url = self.base.join(&[&version, path].concat(), &[("fields", fields)]);
        let answer = self
            .call(EgressRequest::get(url))
            .await
            .map_err(|failure| failure.to_string())?;
        match errors::classify(answer.status, &answer.headers, &answer.body) {
            None => serde_json::from_slice(&answer.body)
                .map_err(|_| "Meta answered with something that is not JSON".to_owned()),
            Some(no) => Err(format!(
                "Meta answered {}: {} (code {}, {})",
                answer.status, no.detail, no.code, no.category
            )),
        }
    }

    /// What the number says of itself.
    async fn check_number(&self) -> Result<Vec<String>, String> {
        let fields = "quality_rating,name_status,code_verification_status,throughput";
        let number = self.ask(&[&self.settings.phone_number_id], fields).await?;
        let mut findings = vec!["the number answers; the token works".to_owned()];
        for field in ["quality_rating", "name_status", "code_verification_status"] {
            if let Some(word) = number.get(field).and_then(Value::as_str) {
                findings.push(format!("{field}: {}", crate::mask::mask(word)));
            }
        }
        Ok(findings)
    }

    /// Whether an app listens to the account.
    async fn check_account(&self, account: &str) -> Result<String, String> {
        let apps = self.ask(&[account, "subscribed_apps"], "id").await?;
        let count = apps.get("data").and_then(Value::as_array).map_or(0, Vec::len);
        Ok(if count == 0 {
            "no app is subscribed to the business account: no webhook will come; subscribe it".to_owned()
        } else {
            format!("{count} app(s) subscribed to the business account")
        })
    }
}

fn outcome_of(answer: &EgressResponse) -> SendOutcome {
    let no = errors::classify(answer.status, &answer.headers, &answer.body);
    outcome::of_answer("Meta", answer.status, no, body::message_id(&answer.body))
}

#[async_trait]
impl Provider for WhatsappCloudProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::WhatsappCloud
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            idempotent_send: false,
            lookup: false,
            echoes_reference: true,
            reports: false,
        }
    }

    async fn send(&self, submission: &Submission) -> SendOutcome {
        let request = match body::message(submission, &self.settings) {
            Ok(request) => request,
            Err(detail) => {
                return SendOutcome::Rejected(outcome::wrong_content(detail));
            }
        };
        match self.post(&request, submission.time_limit).await {
            Ok(answer) => outcome_of(&answer),
            Err(failure) => outcome::of_failure(&failure),
        }
    }

    async fn lookup(&self, _reference: &str) -> Lookup {
        Lookup::Unavailable {
            detail: "Meta cannot be asked by our reference; its status webhook tells".to_owned(),
        }
    }

    async fn check(&self) -> CheckReport {
        let mut findings = match self.check_number().await {
            Ok(findings) => findings,
            Err(problem) => {
                return CheckReport {
                    ok: false,
                    findings: vec![problem],
                };
            }
        };
        let mut ok = true;
        match &self.settings.business_account_id {
            Some(account) => match self.check_account(account).await {
                Ok(finding) => findings.push(finding),
                Err(problem) => {
                    ok = false;
                    findings.push(problem);
                }
            },
            None => findings
                .push("business_account_id is not set: reviews of templates are not followed".to_owned()),
        }
        if self.credentials.app_secret.is_none() || self.credentials.verify_token.is_none() {
            findings.push("app_secret or verify_token is not set: webhooks are refused".to_owned());
        }
        CheckReport { ok, findings }
    }

    async fn signal(&self, signal: &Signal) -> SendOutcome {
        match self.post(&body::signal(signal), Duration::MAX).await {
            Ok(answer) => match errors::classify(answer.status, &answer.headers, &answer.body) {
                Some(rejection) => SendOutcome::Rejected(rejection),
                None => SendOutcome::Accepted {
                    provider_message_id: None,
                },
            },
            Err(failure) => outcome::of_failure(&failure),
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
