//! Sending through SMTP.

use super::compose::compose;
use super::dialogue::{Ended, Server, close, transmit};
use super::dkim::Signer;
use super::pool::Pool;
use super::settings::{SmtpCredentials, SmtpSettings};
use super::verp::{self, Purpose};
use crate::config::{self, ConfigError, ConnectionConfig};
use crate::contract::{
    Capabilities, CheckReport, Lookup, MailAddress, Provider, Rejection, SendOutcome, Submission,
    WebhookParsed, WebhookRefusal, WebhookRequest,
};
use crate::egress::Egress;
use crate::email_headers;
use async_trait::async_trait;
use jiff::Timestamp;
use lettre::transport::smtp::authentication::Credentials;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use tidings_core::{ErrorCategory, ProviderKind};
use tokio::time::Instant;

/// An SMTP connection.
#[derive(Debug)]
pub struct SmtpProvider {
    settings: SmtpSettings,
    signers: Vec<Signer>,
    bounce_key: Option<SecretString>,
    timeout: Duration,
    pool: Pool,
}

impl SmtpProvider {
    /// Reads settings and credentials.
    pub fn new(config: &ConnectionConfig, egress: &Egress) -> Result<Self, ConfigError> {
        let settings: SmtpSettings = config::settings(config)?;
        let credentials: SmtpCredentials = config::credentials(config)?;
        settings.check(&credentials)?;
        let signers = settings.signers(&credentials)?;
        let login = match (&settings.username, &credentials.password) {
            (Some(user), Some(password)) => Some(Credentials::new(
                user.clone(),
                password.expose_secret().to_owned(),
            )),
            _ => None,
        };
        let server = Server::new(&settings, login, egress.policy())
            .map_err(|problem| ConfigError::setting(ProviderKind::Smtp, "host", problem))?;
        Ok(Self {
            pool: Pool::new(server, settings.max_connections.unwrap_or(4) as usize),
            timeout: Duration::from_secs(settings.timeout_s.unwrap_or(30)),
            bounce_key: credentials.bounce_key,
            signers,
            settings,
        })
    }

    async fn deliver(&self, message: &super::compose::Composed, deadline: Instant) -> SendOutcome {
        let Some(_permit) = self.pool.permit(deadline).await else {
            return SendOutcome::Rejected(Rejection {
                category: ErrorCategory::Transient,
                code: "busy".to_owned(),
                detail: "all connections to the server were busy".to_owned(),
                retry_after: None,
                effect: None,
            });
        };
        let mut pooled = match self.pool.take(deadline).await {
            Ok(pooled) => pooled,
            Err(rejection) => return SendOutcome::Rejected(rejection),
        };
        // A kept connection may have been closed by the server meanwhile; that shows at the first command, before
        // anything was handed over, and then a fresh one is opened, once.
        for _ in 0..2 {
            match transmit(&mut pooled.connection, message, deadline).await {
                Ended::Told(outcome) => {
                    self.pool.put_back(pooled).await;
                    return outcome;
                }
                Ended::Broken(outcome) => {
                    close(pooled.connection).await;
                    return outcome;
                }
                Ended::NotBegun(rejection) if !pooled.used => return SendOutcome::Rejected(rejection),
                Ended::NotBegun(_) => match self.pool.fresh(deadline).await {
                    Ok(fresh) => pooled = fresh,
                    Err(rejection) => return SendOutcome::Rejected(rejection),
                },
            }
        }
        SendOutcome::Rejected(Rejection {
            category: ErrorCategory::Transient,
            code: "not_sent".to_owned(),
            detail: "the server closes every connection at the first command".to_owned(),
            retry_after: None,
            effect: None,
        })
    }
}

#[async_trait]
impl Provider for SmtpProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Smtp
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            idempotent_send: false,
            lookup: false,
            echoes_reference: false,
            reports: false,
        }
    }

    async fn send(&self, submission: &Submission) -> SendOutcome {
        let email = match email_headers::content("SMTP", submission) {
            Ok(email) => email,
            Err(rejection) => return SendOutcome::Rejected(rejection),
        };
        let key = self.bounce_key.as_ref().map(|key| key.expose_secret().as_bytes());
        let deadline = Instant::now() + self.timeout.min(submission.time_limit);
        match compose(submission, email, &self.settings, &self.signers, key) {
            Ok(message) => self.deliver(&message, deadline).await,
            Err(rejection) => SendOutcome::Rejected(rejection),
        }
    }

    async fn lookup(&self, _reference: &str) -> Lookup {
        Lookup::Unavailable {
            detail: "SMTP cannot be asked; a bounce, or its absence, tells".to_owned(),
        }
    }

    fn mail_address(&self, address: &str) -> Option<MailAddress> {
        let key = self.bounce_key.as_ref()?.expose_secret().as_bytes();
        let (local, domain) = address.rsplit_once('@')?;
        let is = |wanted: &Option<String>| {
            wanted
                .as_deref()
                .is_some_and(|name| name.eq_ignore_ascii_case(domain))
        };
        if is(&self.settings.bounce_domain)
            && let Some(reference) = verp::verify(Purpose::Bounce, local, key)
        {
            return Some(MailAddress::Bounce { reference });
        }
        if !is(&self.settings.reply_domain) {
            return None;
        }
        match verp::verify(Purpose::Reply, local, key) {
            Some(reference) => Some(MailAddress::Reply { reference }),
            None => address
                .eq_ignore_ascii_case(self.settings.from_email.as_str())
                .then_some(MailAddress::Own),
        }
    }

    async fn check(&self) -> CheckReport {
        let deadline = Instant::now() + self.timeout;
        match self.pool.fresh(deadline).await {
            Ok(pooled) => {
                let protected = if pooled.connection.is_encrypted() {
                    "over TLS"
                } else {
                    "without TLS"
                };
                close(pooled.connection).await;
                let login = if self.settings.username.is_some() {
                    "and accepts the login"
                } else {
                    "without a login"
                };
                CheckReport {
                    ok: true,
                    findings: vec![format!("the server answers {protected} {login}")],
                }
            }
            Err(no) => CheckReport {
                ok: false,
                findings: vec![format!("{} ({}, {})", no.detail, no.code, no.category)],
            },
        }
    }

    async fn webhook(
        &self,
        _request: &WebhookRequest,
        _now: Timestamp,
    ) -> Result<WebhookParsed, WebhookRefusal> {
        Err(WebhookRefusal::Unsupported)
    }
}
