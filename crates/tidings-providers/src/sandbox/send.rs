//! Taking a message.

use super::capture::{Capture, CaptureError, Captured};
use super::faults::Fault;
use super::remote::Remote;
use super::settings::{SandboxCredentials, SandboxSettings};
use super::webhook;
use crate::config::{self, ConfigError, ConnectionConfig};
use crate::contract::{
    Capabilities, CheckReport, Lookup, Provider, Rejection, SendOutcome, Submission, WebhookParsed,
    WebhookRefusal, WebhookRequest,
};
use crate::egress::Egress;
use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{ErrorCategory, ProviderKind};

/// The longest a fault may take.
const LONGEST_MS: u64 = 60_000;

/// A sandbox connection.
#[derive(Debug)]
pub struct SandboxProvider {
    target: Target,
    fault: Option<Fault>,
    fault_percent: u8,
    slow: Duration,
    retry_after: Duration,
    webhook_secret: Option<SecretString>,
}

#[derive(Debug)]
enum Target {
    Engine(Arc<dyn Capture>),
    StandIn(Remote),
}

impl SandboxProvider {
    /// Reads settings and credentials.
    pub fn new(
        config: &ConnectionConfig,
        egress: &Egress,
        capture: Arc<dyn Capture>,
    ) -> Result<Self, ConfigError> {
        let settings: SandboxSettings = config::settings(config)?;
        let secrets: SandboxCredentials = config::credentials(config)?;
        let kind = ProviderKind::Sandbox;
        if settings.slow_ms > LONGEST_MS {
            return Err(ConfigError::setting(kind, "slow_ms", "must be at most 60000"));
        }
        let fault_percent = settings.fault_percent.unwrap_or(100);
        if fault_percent > 100 {
            return Err(ConfigError::setting(kind, "fault_percent", "must be 0 to 100"));
        }
        let target = match settings.base_url.as_deref() {
            Some(url) => Target::StandIn(Remote::new(
                config::base_url(kind, Some(url), url, egress)?,
                egress.clone(),
            )),
            None => Target::Engine(capture),
        };
        Ok(Self {
            target,
            fault: settings.fault,
            fault_percent,
            slow: Duration::from_millis(settings.slow_ms),
            retry_after: Duration::from_secs(settings.retry_after_s.unwrap_or(1)),
            webhook_secret: secrets.webhook_secret,
        })
    }

    fn fault_for(&self, submission: &Submission) -> Option<Fault> {
        Fault::of_recipient(submission.to.expose()).or_else(|| {
            self.fault
                .filter(|_| Fault::strikes(&submission.reference, self.fault_percent))
        })
    }

    async fn accept(&self, captured: Captured, limit: Duration) -> SendOutcome {
        match &self.target {
            Target::StandIn(remote) => remote.accept(captured, limit).await,
            Target::Engine(capture) => match capture.accept(captured).await {
                Ok(accepted) => SendOutcome::Accepted {
                    provider_message_id: Some(accepted.provider_message_id),
                },
                Err(CaptureError::Unknown(detail)) => SendOutcome::Unknown { detail },
                Err(CaptureError::NotStored(detail)) => SendOutcome::Rejected(Rejection {
                    category: ErrorCategory::Transient,
                    code: "not_stored".to_owned(),
                    detail,
                    retry_after: None,
                    effect: None,
                }),
            },
        }
    }
}

#[async_trait]
impl Provider for SandboxProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Sandbox
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            idempotent_send: true,
            lookup: true,
            echoes_reference: true,
            reports: false,
        }
    }

    async fn send(&self, submission: &Submission) -> SendOutcome {
        let fault = self.fault_for(submission);
        if let Some(rejection) = fault.and_then(|f| f.rejection(self.retry_after)) {
            return SendOutcome::Rejected(rejection);
        }
        if fault == Some(Fault::TimeoutBeforeAccept) {
            tokio::time::sleep(self.slow).await;
            return SendOutcome::Unknown {
                detail: "sandbox: no answer in time".to_owned(),
            };
        }
        let limit = submission.time_limit;
        let outcome = self.accept(Captured::of(submission, fault), limit).await;
        match fault {
            Some(Fault::TimeoutAfterAccept) => {
                tokio::time::sleep(self.slow).await;
                SendOutcome::Unknown {
                    detail: "sandbox: no answer in time".to_owned(),
                }
            }
            Some(Fault::Slow) => {
                tokio::time::sleep(self.slow).await;
                outcome
            }
            _ => outcome,
        }
    }

    async fn lookup(&self, reference: &str) -> Lookup {
        match &self.target {
            Target::StandIn(remote) => remote.lookup(reference).await,
            Target::Engine(capture) => match capture.lookup(reference).await {
                Ok(Some(id)) => Lookup::Found {
                    provider_message_id: Some(id),
                },
                Ok(None) => Lookup::NotFound,
                Err(error) => Lookup::Unavailable {
                    detail: error.to_string(),
                },
            },
        }
    }

    async fn check(&self) -> CheckReport {
        match &self.target {
            Target::Engine(_) => CheckReport {
                ok: true,
                findings: vec!["the sandbox captures messages in the engine; nothing is sent".to_owned()],
            },
            Target::StandIn(remote) => remote.check().await,
        }
    }

    async fn webhook(
        &self,
        request: &WebhookRequest,
        now: Timestamp,
    ) -> Result<WebhookParsed, WebhookRefusal> {
        let secret = self
            .webhook_secret
            .as_ref()
            .ok_or_else(|| WebhookRefusal::NotConfigured("set webhook_secret".to_owned()))?;
        webhook::read(request, secret, now)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::config::Credentials;
    use crate::egress::EgressPolicy;
    use crate::samples;
    use crate::sandbox::MemoryCapture;
    use serde_json::json;
    use tidings_core::Channel;

    fn sandbox(settings: serde_json::Value) -> (SandboxProvider, Arc<MemoryCapture>) {
        let capture = Arc::new(MemoryCapture::new());
        let config = ConnectionConfig {
            kind: ProviderKind::Sandbox,
            channel: Channel::Email,
            settings,
            credentials: Credentials::none(),
        };
        let egress = Egress::new(EgressPolicy::default()).unwrap();
        (
            SandboxProvider::new(&config, &egress, capture.clone()).unwrap(),
            capture,
        )
    }

    #[tokio::test]
    async fn takes_a_reference_once_and_finds_it() {
        let (provider, capture) = sandbox(json!({}));
        let submission = samples::email("bob@example.com");
        let first = provider.send(&submission).await;
        assert_eq!(first, provider.send(&submission).await);
        assert!(matches!(
            first,
            SendOutcome::Accepted {
                provider_message_id: Some(_)
            }
        ));
        assert_eq!((capture.taken().len(), capture.duplicates()), (1, 1));
        assert!(matches!(
            provider.lookup(&submission.reference).await,
            Lookup::Found { .. }
        ));
        assert_eq!(provider.lookup("other").await, Lookup::NotFound);
    }

    #[tokio::test]
    async fn time_outs_differ_in_what_lookup_says() {
        let (provider, capture) = sandbox(json!({}));
        let taken = samples::email("timeout-after-accept@example.com");
        assert!(matches!(provider.send(&taken).await, SendOutcome::Unknown { .. }));
        assert!(matches!(
            provider.lookup(&taken.reference).await,
            Lookup::Found { .. }
        ));
        let (other, empty) = sandbox(json!({"fault": "timeout_before_accept"}));
        assert!(matches!(
            other.send(&samples::email("bob@example.com")).await,
            SendOutcome::Unknown { .. }
        ));
        assert_eq!((capture.taken().len(), empty.taken().len()), (1, 0));
    }

    #[tokio::test]
    async fn faults_come_by_setting_and_by_recipient() {
        let (provider, capture) = sandbox(json!({"fault": "rate_limited", "retry_after_s": 7}));
        let SendOutcome::Rejected(no) = provider.send(&samples::email("bob@example.com")).await else {
            panic!("not rejected")
        };
        assert_eq!(
            (no.category, no.retry_after),
            (ErrorCategory::RateLimit, Some(Duration::from_secs(7)))
        );
        let SendOutcome::Rejected(no) = provider.send(&samples::email("auth-failure@example.com")).await
        else {
            panic!("not rejected")
        };
        assert_eq!(no.category, ErrorCategory::AuthFailure);
        assert!(capture.taken().is_empty());
        let (plain, capture) = sandbox(json!({}));
        plain.send(&samples::email("bounce-later@example.com")).await;
        assert!(capture.taken()[0].follow_up.is_some());
    }
}
