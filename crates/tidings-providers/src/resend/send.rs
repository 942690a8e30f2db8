//! Sending through Resend.

use super::errors;
use super::received;
use super::report;
use super::settings::{BASE_URL, ResendCredentials, ResendSettings};
use super::webhook;
use crate::config::{self, ConfigError, ConnectionConfig};
use crate::contract::{
    Capabilities, CheckReport, EmailContent, Lookup, Provider, Report, SendOutcome, Submission,
    WebhookParsed, WebhookRefusal, WebhookRequest,
};
use crate::egress::{Egress, EgressFailure, EgressRequest, EgressResponse, EgressUrl};
use crate::email_headers;
use crate::feedback;
use crate::outcome;
use crate::tag;
use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tidings_core::ProviderKind;

/// How long Resend remembers an idempotency key.
const KEY_KEPT: Duration = Duration::from_hours(24);

/// The most bytes read of the list of domains.
const DOMAINS_LIMIT: usize = 256 * 1024;

/// A Resend connection.
#[derive(Debug)]
pub struct ResendProvider {
    settings: ResendSettings,
    credentials: ResendCredentials,
    authorization: SecretString,
    base: EgressUrl,
    egress: Egress,
}

#[derive(Deserialize)]
struct Taken {
    id: String,
}

#[derive(Deserialize)]
struct Domains {
    data: Vec<Domain>,
}

#[derive(Deserialize)]
struct Domain {
    name: String,
    status: String,
}

impl ResendProvider {
    /// Reads settings and credentials.
    pub fn new(config: &ConnectionConfig, egress: &Egress) -> Result<Self, ConfigError> {
        let settings: ResendSettings = config::settings(config)?;
        let credentials: ResendCredentials = config::credentials(config)?;
        settings.check()?;
        credentials.check()?;
        let base = config::base_url(
            ProviderKind::Resend,
            settings.base_url.as_deref(),
            BASE_URL,
            egress,
        )?;
        let authorization = SecretString::from(format!("Bearer {}", credentials.api_key.expose_secret()));
        Ok(Self {
            settings,
            credentials,
            authorization,
            base,
            egress: egress.clone(),
        })
    }

    async fn call(&self, request: EgressRequest) -> Result<EgressResponse, EgressFailure> {
        self.egress
            .call(request.secret_header("authorization", self.authorization.expose_secret())?)
            .await
    }

    async fn post(&self, submission: &Submission, body: String) -> Result<EgressResponse, EgressFailure> {
        let url = self.base.join(&["emails"], &[]);
        let request = EgressRequest::post(url, "application/json", body)
            .within(submission.time_limit)
            .secret_header("idempotency-key", &submission.reference)?;
        self.call(request).await
    }

    /// The same for the same submission, to the byte: Resend compares what is repeated under a key.
    fn body(&self, submission: &Submission, email: &EmailContent) -> Value {
        let settings = &self.settings;
        let name = submission.to_name.as_ref().map(|name| name.expose().as_str());
        let mut body = Map::new();
        let mut put = |field: &str, value: Value| body.insert(field.to_owned(), value);
        put(
            "from",
            json!(email_headers::mailbox(
                settings.from_name.as_deref(),
                settings.from_email.as_str()
            )),
        );
        put(
            "to",
            json!([email_headers::mailbox(name, submission.to.expose().as_str())]),
        );
        put("subject", json!(email.subject));
        put("text", json!(email.text));
        if let Some(html) = &email.html {
            put("html", json!(html));
        }
        if let Some(reply_to) = &email.reply_to {
            put("reply_to", json!(reply_to));
        }
        put("headers", email_headers::object(email));
        if !email.attachments.is_empty() {
            put("attachments", attachments(email));
        }
        let tags = tag::of(submission, &settings.tags).into_iter();
        let tags = tags.map(|(name, value)| json!({ "name": name, "value": value }));
        put("tags", Value::Array(tags.collect()));
        Value::Object(body)
    }
}

fn attachments(email: &EmailContent) -> Value {
    let files = email.attachments.iter().map(|file| {
        let mut value = json!({
            "content": file.content_base64,
            "filename": file.filename,
            "content_type": file.content_type,
        });
        if let (Some(id), Value::Object(fields)) = (&file.content_id, &mut value) {
            fields.insert("content_id".to_owned(), json!(id));
        }
        value
    });
    Value::Array(files.collect())
}

fn outcome_of(answer: &EgressResponse) -> SendOutcome {
    // A no about the key says that another call under it arrived or is arriving, which is not that nothing was sent.
    if errors::is_about_the_key(answer.status, &answer.body) {
        return SendOutcome::Unknown {
            detail: "Resend knows the reference from an earlier call".to_owned(),
        };
    }
    // Where the id cannot be read, repeating the call under the same key brings it.
    let no = errors::classify(answer.status, &answer.headers, &answer.body);
    let taken = serde_json::from_slice::<Taken>(&answer.body).ok();
    outcome::of_answer("Resend", answer.status, no, taken.map(|taken| taken.id))
}

#[async_trait]
impl Provider for ResendProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Resend
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            idempotent_send: true,
            lookup: false,
            echoes_reference: true,
            reports: true,
        }
    }

    fn remembers_for(&self) -> Option<Duration> {
        Some(KEY_KEPT)
    }

    async fn send(&self, submission: &Submission) -> SendOutcome {
        let email = match email_headers::email("Resend", submission) {
            Ok(email) => email,
            Err(rejection) => return SendOutcome::Rejected(rejection),
        };
        let body = self.body(submission, email).to_string();
        match self.post(submission, body).await {
            Ok(answer) => outcome_of(&answer),
            Err(failure) => outcome::of_failure(&failure),
        }
    }

    async fn lookup(&self, _reference: &str) -> Lookup {
        Lookup::Unavailable {
            detail: "Resend cannot be asked by our reference; the call is repeated under it".to_owned(),
        }
    }

    async fn report(&self, provider_message_id: &str) -> Report {
        let url = self.base.join(&["emails", provider_message_id], &[]);
        let request = EgressRequest::get(url).response_limit(report::LIMIT);
        match self.call(request).await {
            Ok(answer) => report::read(provider_message_id, &answer),
            Err(failure) => Report::Unanswered(feedback::failed(&failure)),
        }
    }

    async fn check(&self) -> CheckReport {
        let url = self.base.join(&["domains"], &[]);
        match self
            .call(EgressRequest::get(url).response_limit(DOMAINS_LIMIT))
            .await
        {
            Ok(answer) => self.found(&answer),
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
        let fetch = async |id: &str| received::fetch(id, &self.base, |request| self.call(request)).await;
        webhook::read(request, &self.settings, &self.credentials, now, fetch).await
    }
}

impl ResendProvider {
    /// What the list of domains says. A key that may only send cannot see it, which is no fault.
    fn found(&self, answer: &EgressResponse) -> CheckReport {
        let (ok, finding) = match errors::classify(answer.status, &answer.headers, &answer.body) {
            Some(no) if no.code == "401 restricted_api_key" => (
                true,
                "the key may send and nothing else; whether the domain is verified cannot be seen with it"
                    .to_owned(),
            ),
            Some(no) => (false, format!("Resend answered {}: {}", answer.status, no.detail)),
            None => match serde_json::from_slice::<Domains>(&answer.body) {
                Err(_) => (
                    false,
                    "the list of domains cannot be read; check base_url".to_owned(),
                ),
                Ok(domains) => self.domain_among(&domains.data),
            },
        };
        CheckReport {
            ok,
            findings: vec![finding],
        }
    }

    fn domain_among(&self, domains: &[Domain]) -> (bool, String) {
        let from = self.settings.from_email.as_str();
        let ours = from.rsplit_once('@').map_or("", |(_, domain)| domain);
        match domains
            .iter()
            .find(|domain| domain.name.eq_ignore_ascii_case(ours))
        {
            Some(domain) if domain.status == "verified" => {
                (true, format!("the key works and the domain {ours} is verified"))
            }
            Some(_) => (
                false,
                format!("the domain {ours} is not verified at Resend yet; set its DNS records"),
            ),
            None => (
                false,
                format!("the domain {ours} is not among those of this Resend account; add it there"),
            ),
        }
    }
}
