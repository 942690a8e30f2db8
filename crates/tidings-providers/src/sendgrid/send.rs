//! Sending through SendGrid.

use super::errors;
use super::settings::{SendgridCredentials, SendgridSettings};
use super::suppressions;
use super::webhook;
use crate::config::{self, ConfigError, ConnectionConfig};
use crate::contract::{
    Capabilities, CheckReport, EmailContent, ListQuestion, Lookup, Provider, Rejection, SendOutcome,
    Submission, SuppressionPage, WebhookParsed, WebhookRefusal, WebhookRequest,
};
use crate::egress::{Egress, EgressFailure, EgressRequest, EgressResponse, EgressUrl};
use crate::email_headers;
use crate::feedback::{self, lent};
use crate::outcome;
use crate::signature::sendgrid::PublicKey;
use async_trait::async_trait;
use jiff::Timestamp;
use lettre::message::Mailbox;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tidings_core::ProviderKind;

/// The custom argument that carries our reference.
pub const REFERENCE: &str = "tidings_reference";
/// The custom argument that carries the message's id.
pub const MESSAGE_ID: &str = "tidings_message_id";

/// A SendGrid connection.
#[derive(Debug)]
pub struct SendgridProvider {
    settings: SendgridSettings,
    webhook_keys: Vec<PublicKey>,
    authorization: SecretString,
    base: EgressUrl,
    egress: Egress,
}

impl SendgridProvider {
    /// Reads settings and credentials.
    pub fn new(config: &ConnectionConfig, egress: &Egress) -> Result<Self, ConfigError> {
        let settings: SendgridSettings = config::settings(config)?;
        let credentials: SendgridCredentials = config::credentials(config)?;
        let webhook_keys = settings.check()?;
        let kind = ProviderKind::Sendgrid;
        let key = credentials.api_key.expose_secret();
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ConfigError::credential(
                kind,
                "api_key",
                "must be a SendGrid API key (SG...)",
            ));
        }
        let base = config::base_url(
            kind,
            settings.base_url.as_deref(),
            settings.region.base_url(),
            egress,
        )?;
        let authorization = SecretString::from(format!("Bearer {key}"));
        Ok(Self {
            settings,
            webhook_keys,
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

    fn body(&self, submission: &Submission, email: &EmailContent) -> Result<Value, Rejection> {
        let settings = &self.settings;
        let mut body = json!({
            "personalizations": [{
                "to": [mailbox(submission.to.expose().as_str(), submission.to_name.as_ref().map(|n| n.expose().as_str()))],
                "custom_args": { REFERENCE: submission.reference, MESSAGE_ID: submission.message_id },
            }],
            "from": mailbox(settings.from_email.as_str(), settings.from_name.as_deref()),
            "subject": email.subject,
            "content": parts(email),
            "headers": email_headers::object(email),
            // Opens and clicks are tracked by our own links, where the tenant wants it.
            "tracking_settings": {
                "click_tracking": { "enable": false, "enable_text": false },
                "open_tracking": { "enable": false },
                "subscription_tracking": { "enable": false },
            },
        });
        if let Value::Object(fields) = &mut body {
            if let Some(reply_to) = &email.reply_to {
                fields.insert("reply_to".to_owned(), answers_to(reply_to)?);
            }
            if !email.attachments.is_empty() {
                fields.insert("attachments".to_owned(), attachments(email));
            }
            if !settings.categories.is_empty() {
                fields.insert("categories".to_owned(), json!(settings.categories));
            }
            if let Some(pool) = &settings.ip_pool_name {
                fields.insert("ip_pool_name".to_owned(), json!(pool));
            }
            if settings.sandbox_mode {
                fields.insert(
                    "mail_settings".to_owned(),
                    json!({ "sandbox_mode": { "enable": true } }),
                );
            }
        }
        Ok(body)
    }

    fn outcome_of(&self, answer: &EgressResponse) -> SendOutcome {
        if let Some(rejection) = errors::classify(answer.status, &answer.headers, &answer.body) {
            return SendOutcome::Rejected(rejection);
        }
        let id = answer
            .header("x-message-id")
            .filter(|id| !id.is_empty() && id.len() <= 200)
            .map(str::to_owned);
        match answer.status {
            202 => SendOutcome::Accepted {
                provider_message_id: id,
            },
            200 if self.settings.sandbox_mode => SendOutcome::Accepted {
                provider_message_id: id,
            },
            other => SendOutcome::Unknown {
                detail: format!("SendGrid answered {other} instead of 202"),
            },
        }
    }
}

fn mailbox(email: &str, name: Option<&str>) -> Value {
    match name {
        Some(name) => json!({ "email": email, "name": name }),
        None => json!({ "email": email }),
    }
}

/// SendGrid takes address and name apart; an address with a name in it is none to it.
fn answers_to(text: &str) -> Result<Value, Rejection> {
    let parsed: Mailbox = text
        .parse()
        .map_err(|_| email_headers::wrong("the reply-to is not an address".to_owned()))?;
    Ok(mailbox(parsed.email.as_ref(), parsed.name.as_deref()))
}

/// SendGrid refuses a part without a character, and with it the mail.
fn parts(email: &EmailContent) -> Value {
    let mut parts = Vec::new();
    if !email.text.is_empty() || email.html.is_none() {
        parts.push(json!({ "type": "text/plain", "value": email.text }));
    }
    if let Some(html) = &email.html {
        parts.push(json!({ "type": "text/html", "value": html }));
    }
    Value::Array(parts)
}

fn attachments(email: &EmailContent) -> Value {
    let files = email.attachments.iter().map(|file| {
        let mut value = json!({
            "content": file.content_base64,
            "type": file.content_type,
            "filename": file.filename,
            "disposition": if file.content_id.is_some() { "inline" } else { "attachment" },
        });
        if let (Some(id), Value::Object(fields)) = (&file.content_id, &mut value) {
            fields.insert("content_id".to_owned(), json!(id));
        }
        value
    });
    Value::Array(files.collect())
}

#[async_trait]
impl Provider for SendgridProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Sendgrid
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
        let email = match email_headers::email("SendGrid", submission) {
            Ok(email) => email,
            Err(rejection) => return SendOutcome::Rejected(rejection),
        };
        let body = match self.body(submission, email) {
            Ok(body) => body.to_string(),
            Err(rejection) => return SendOutcome::Rejected(rejection),
        };
        let url = self.base.join(&["v3", "mail", "send"], &[]);
        let request = EgressRequest::post(url, "application/json", body).within(submission.time_limit);
        match self.call(request).await {
            Ok(answer) => self.outcome_of(&answer),
            Err(failure) => outcome::of_failure(&failure),
        }
    }

    async fn lookup(&self, _reference: &str) -> Lookup {
        Lookup::Unavailable {
            detail: "SendGrid cannot be asked by our reference; its events tell".to_owned(),
        }
    }

    fn suppression_lists(&self) -> &'static [&'static str] {
        &suppressions::LISTS
    }

    async fn suppressions(&self, question: &ListQuestion<'_>) -> Result<SuppressionPage, Rejection> {
        let query = suppressions::query(question);
        let url = self
            .base
            .join(&["v3", "suppression", question.list], &lent(&query));
        let request = EgressRequest::get(url).response_limit(feedback::PAGE_LIMIT);
        match self.call(request).await {
            Ok(answer) => suppressions::read(question, &answer),
            Err(failure) => Err(feedback::failed(&failure)),
        }
    }

    async fn check(&self) -> CheckReport {
        let url = self.base.join(&["v3", "scopes"], &[]);
        match self.call(EgressRequest::get(url)).await {
            Ok(answer) if answer.status == 200 => {
                let may_send = String::from_utf8_lossy(&answer.body).contains("\"mail.send\"");
                let finding = if may_send {
                    "the key may send mail"
                } else {
                    "the key lacks the scope mail.send"
                };
                CheckReport {
                    ok: may_send,
                    findings: vec![finding.to_owned()],
                }
            }
            Ok(answer) => {
                let detail =
                    errors::classify(answer.status, &answer.headers, &answer.body).map(|no| no.detail);
                let finding = format!(
                    "SendGrid answered {}: {}",
                    answer.status,
                    detail.unwrap_or_default()
                );
                CheckReport {
                    ok: false,
                    findings: vec![finding],
                }
            }
            Err(failure) => CheckReport {
                ok: false,
                findings: vec![failure.to_string()],
            },
        }
    }

    async fn webhook(
        &self,
        request: &WebhookRequest,
        _now: Timestamp,
    ) -> Result<WebhookParsed, WebhookRefusal> {
        webhook::read(request, &self.settings, &self.webhook_keys)
    }
}
