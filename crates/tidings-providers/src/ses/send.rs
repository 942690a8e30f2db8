//! Sending through SES.

use super::content;
use super::errors;
use super::settings::{SesCredentials, SesSettings};
use super::sns::{self, Certificates};
use super::suppressions;
use crate::config::{self, ConfigError, ConnectionConfig};
use crate::contract::{
    Capabilities, CheckReport, ListQuestion, Lookup, Provider, Rejection, SendOutcome, Submission,
    SuppressionPage, WebhookParsed, WebhookRefusal, WebhookRequest,
};
use crate::egress::{Egress, EgressFailure, EgressRequest, EgressResponse, EgressUrl};
use crate::email_headers;
use crate::feedback::{self, lent};
use crate::outcome;
use crate::signature::aws;
use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::time::Duration;
use tidings_core::ProviderKind;

/// The name under which SES is signed for.
const SERVICE: &str = "ses";
const JSON: &str = "application/json";

/// An SES connection.
#[derive(Debug)]
pub struct SesProvider {
    settings: SesSettings,
    credentials: SesCredentials,
    certificates: Certificates,
    base: EgressUrl,
    egress: Egress,
}

#[derive(Deserialize)]
struct Taken {
    #[serde(rename = "MessageId")]
    message_id: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Account {
    sending_enabled: bool,
    production_access_enabled: bool,
    enforcement_status: String,
    send_quota: Quota,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Quota {
    #[serde(rename = "Max24HourSend")]
    a_day: f64,
    #[serde(rename = "MaxSendRate")]
    a_second: f64,
    #[serde(rename = "SentLast24Hours")]
    used: f64,
}

impl SesProvider {
    /// Reads settings and credentials.
    pub fn new(config: &ConnectionConfig, egress: &Egress) -> Result<Self, ConfigError> {
        let settings: SesSettings = config::settings(config)?;
        let credentials: SesCredentials = config::credentials(config)?;
        settings.check()?;
        credentials.check()?;
        let base = config::base_url(
            ProviderKind::Ses,
            settings.base_url.as_deref(),
            &settings.regional_url(),
            egress,
        )?;
        Ok(Self {
            settings,
            credentials,
            certificates: Certificates::default(),
            base,
            egress: egress.clone(),
        })
    }

    async fn get(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<EgressResponse, EgressFailure> {
        let url = self.base.join(segments, query);
        let request = EgressRequest::get(url.clone()).response_limit(feedback::PAGE_LIMIT);
        self.call(request, "GET", &url, &[], b"").await
    }

    async fn post(&self, body: String, limit: Duration) -> Result<EgressResponse, EgressFailure> {
        let url = self.base.join(&["v2", "email", "outbound-emails"], &[]);
        let request = EgressRequest::post(url.clone(), JSON, body.clone()).within(limit);
        self.call(request, "POST", &url, &[("content-type", JSON)], body.as_bytes())
            .await
    }

    /// Signs and calls.
    async fn call(
        &self,
        mut request: EgressRequest,
        method: &str,
        url: &EgressUrl,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<EgressResponse, EgressFailure> {
        let now = self
            .egress
            .now()
            .ok_or_else(|| EgressFailure::NotSent("there is no clock to sign the request by".to_owned()))?;
        let mut signed: Vec<(&str, &str)> = headers.to_vec();
        if let Some(token) = &self.credentials.session_token {
            signed.push(("x-amz-security-token", token.expose_secret()));
            request = request.secret_header("x-amz-security-token", token.expose_secret())?;
        }
        let to_sign = aws::Request {
            method,
            url: url.as_url(),
            headers: &signed,
            body,
        };
        let key = aws::Key {
            access_key_id: self.credentials.access_key_id.expose_secret(),
            secret_access_key: self.credentials.secret_access_key.expose_secret(),
            region: &self.settings.region,
            service: SERVICE,
        };
        let request = request
            .secret_header("x-amz-date", &aws::amz_date(now))?
            .secret_header("authorization", &aws::authorization(&to_sign, &key, now))?;
        self.egress.call(request).await
    }
}

fn outcome_of(answer: &EgressResponse) -> SendOutcome {
    let no = errors::classify(answer.status, &answer.headers, &answer.body);
    let taken = serde_json::from_slice::<Taken>(&answer.body).ok();
    outcome::of_answer("SES", answer.status, no, taken.map(|taken| taken.message_id))
}

#[async_trait]
impl Provider for SesProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Ses
    }

    /// Tags come back only in the events of a configuration set.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            idempotent_send: false,
            lookup: false,
            echoes_reference: self.settings.configuration_set.is_some(),
            reports: false,
        }
    }

    async fn send(&self, submission: &Submission) -> SendOutcome {
        let email = match email_headers::email("SES", submission) {
            Ok(email) => email,
            Err(rejection) => return SendOutcome::Rejected(rejection),
        };
        let body = match content::request(submission, email, &self.settings) {
            Ok(body) => body.to_string(),
            Err(rejection) => return SendOutcome::Rejected(rejection),
        };
        match self.post(body, submission.time_limit).await {
            Ok(answer) => outcome_of(&answer),
            Err(failure) => outcome::of_failure(&failure),
        }
    }

    async fn lookup(&self, _reference: &str) -> Lookup {
        Lookup::Unavailable {
            detail: "SES cannot be asked by our reference; its events tell".to_owned(),
        }
    }

    fn suppression_lists(&self) -> &'static [&'static str] {
        &suppressions::LISTS
    }

    async fn suppressions(&self, question: &ListQuestion<'_>) -> Result<SuppressionPage, Rejection> {
        let query = suppressions::query(question);
        match self
            .get(&["v2", "email", "suppression", "addresses"], &lent(&query))
            .await
        {
            Ok(answer) => suppressions::read(&answer),
            Err(failure) => Err(feedback::failed(&failure)),
        }
    }

    async fn check(&self) -> CheckReport {
        match self.get(&["v2", "email", "account"], &[]).await {
            Ok(answer) => found(&answer),
            Err(failure) => CheckReport {
                ok: false,
                findings: vec![failure.to_string()],
            },
        }
    }

    async fn webhook(
        &self,
        request: &WebhookRequest,
        now: Timestamp,
    ) -> Result<WebhookParsed, WebhookRefusal> {
        sns::read(
            &request.body,
            &self.settings.topic_arns,
            &self.certificates,
            &self.egress,
            now,
        )
        .await
    }
}

/// What `GetAccount` says.
fn found(answer: &EgressResponse) -> CheckReport {
    if let Some(no) = errors::classify(answer.status, &answer.headers, &answer.body) {
        return CheckReport {
            ok: false,
            findings: vec![format!(
                "SES answered {}: {} ({})",
                answer.status, no.detail, no.code
            )],
        };
    }
    let Ok(account) = serde_json::from_slice::<Account>(&answer.body) else {
        return CheckReport {
            ok: false,
            findings: vec!["the account cannot be read; check base_url".to_owned()],
        };
    };
    let mut findings = vec!["the key works".to_owned()];
    if !account.sending_enabled {
        findings.push("sending is paused for this account and region".to_owned());
    }
    if !matches!(account.enforcement_status.as_str(), "" | "HEALTHY") {
        findings.push("the account is under review or shut down; see the SES console".to_owned());
    }
    if !account.production_access_enabled {
        findings.push(
            "the account is in the sandbox: only verified recipients, 200 mails a day; ask for production access"
                .to_owned(),
        );
    }
    let quota = account.send_quota;
    findings.push(format!(
        "{} of {} recipients in 24 hours used, at most {} a second",
        quota.used, quota.a_day, quota.a_second
    ));
    CheckReport {
        ok: account.sending_enabled && account.enforcement_status != "SHUTDOWN",
        findings,
    }
}
