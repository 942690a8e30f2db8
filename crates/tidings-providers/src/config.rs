//! From a connection's stored settings to a provider that can send.
//!
//! Settings are JSON objects, one shape per provider (see each folder's `settings.rs` and `docs/providers/`).
//! Unknown fields are refused, and every error names the field. Credentials come apart from settings, because
//! they are stored sealed; their values never appear in an error.

use crate::contract::Provider;
use crate::egress::{Egress, EgressUrl};
use crate::resend::ResendProvider;
use crate::sandbox::{Capture, SandboxProvider};
use crate::sendgrid::SendgridProvider;
use crate::ses::SesProvider;
use crate::smtp::SmtpProvider;
use crate::twilio::TwilioProvider;
use crate::whatsapp_cloud::WhatsappCloudProvider;
use crate::whatsapp_web::WhatsappWebProvider;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::sync::Arc;
use tidings_core::{Channel, ProviderKind};

/// A connection as it is stored.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// Which provider.
    pub kind: ProviderKind,
    /// The channel it carries.
    pub channel: Channel,
    /// What may be shown: host, sender, base URL.
    pub settings: Value,
    /// What may not.
    pub credentials: Credentials,
}

/// A connection's secrets: a JSON object as text, opened only while a provider is built.
#[derive(Clone, Debug, Default)]
pub struct Credentials(SecretString);

impl Credentials {
    /// Wraps the unsealed JSON text; empty text means none.
    pub fn new(json: SecretString) -> Self {
        Self(json)
    }

    /// No secrets (the sandbox, an open relay).
    pub fn none() -> Self {
        Self::default()
    }

    /// The JSON text, for sealing.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Why a connection cannot be built. Holds no secret and no personal data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    /// Where: `smtp settings.host`, `twilio credentials.auth_token`.
    pub place: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl ConfigError {
    /// About one field of the settings.
    pub fn setting(kind: ProviderKind, field: &str, problem: impl Into<String>) -> Self {
        Self {
            place: format!("{kind} settings.{field}"),
            problem: problem.into(),
        }
    }

    /// About one field of the credentials.
    pub fn credential(kind: ProviderKind, field: &str, problem: impl Into<String>) -> Self {
        Self {
            place: format!("{kind} credentials.{field}"),
            problem: problem.into(),
        }
    }

    /// About one field of a notifier.
    pub fn new(place: &str, problem: impl Into<String>) -> Self {
        Self {
            place: place.to_owned(),
            problem: problem.into(),
        }
    }

    /// About the egress client.
    pub fn egress(problem: impl Into<String>) -> Self {
        Self {
            place: "egress".to_owned(),
            problem: problem.into(),
        }
    }
}

/// Builds the provider of a connection.
///
/// `sandbox` is where the sandbox keeps what it captures; other providers do not use it. Nothing is contacted.
pub fn build(
    config: &ConnectionConfig,
    egress: &Egress,
    sandbox: Arc<dyn Capture>,
) -> Result<Arc<dyn Provider>, ConfigError> {
    let kind = config.kind;
    if !kind.carries(config.channel) {
        return Err(ConfigError {
            place: format!("{kind} connection"),
            problem: format!(
                "{kind} does not carry the channel {}; choose another provider",
                config.channel
            ),
        });
    }
    match kind {
        ProviderKind::Sandbox => Ok(Arc::new(SandboxProvider::new(config, egress, sandbox)?)),
        ProviderKind::Sendgrid => Ok(Arc::new(SendgridProvider::new(config, egress)?)),
        ProviderKind::Twilio => Ok(Arc::new(TwilioProvider::new(config, egress)?)),
        ProviderKind::Smtp => Ok(Arc::new(SmtpProvider::new(config, egress)?)),
        ProviderKind::Resend => Ok(Arc::new(ResendProvider::new(config, egress)?)),
        ProviderKind::WhatsappCloud => Ok(Arc::new(WhatsappCloudProvider::new(config, egress)?)),
        ProviderKind::Ses => Ok(Arc::new(SesProvider::new(config, egress)?)),
        ProviderKind::WhatsappWeb => Ok(Arc::new(WhatsappWebProvider::new(config, egress)?)),
    }
}

/// Reads a provider's settings.
pub(crate) fn settings<T: DeserializeOwned>(config: &ConnectionConfig) -> Result<T, ConfigError> {
    let object = match &config.settings {
        Value::Null => Map::new(),
        Value::Object(object) => object.clone(),
        _ => {
            return Err(ConfigError {
                place: format!("{} settings", config.kind),
                problem: "must be an object of named values".to_owned(),
            });
        }
    };
    read(&object).map_err(|(field, problem)| ConfigError {
        place: match field {
            Some(field) => format!("{} settings.{field}", config.kind),
            None => format!("{} settings", config.kind),
        },
        problem,
    })
}

/// Reads a provider's credentials; the error never quotes a value.
pub(crate) fn credentials<T: DeserializeOwned>(config: &ConnectionConfig) -> Result<T, ConfigError> {
    let place = format!("{} credentials", config.kind);
    let text = config.credentials.expose();
    let object = if text.trim().is_empty() {
        Map::new()
    } else {
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(object)) => object,
            _ => {
                return Err(ConfigError {
                    place,
                    problem: "must be a JSON object of named values".to_owned(),
                });
            }
        }
    };
    read(&object).map_err(|(field, problem)| match field {
        Some(field) => ConfigError {
            place: format!("{place}.{field}"),
            problem: "has the wrong type or form; see the provider's page".to_owned(),
        },
        // "missing field" and "unknown field" name the field and quote no value.
        None => ConfigError { place, problem },
    })
}

/// Parses an object; on failure finds the field to blame: the one without which the error is another.
fn read<T: DeserializeOwned>(object: &Map<String, Value>) -> Result<T, (Option<String>, String)> {
    let error = match serde_json::from_value::<T>(Value::Object(object.clone())) {
        Ok(read) => return Ok(read),
        Err(error) => error.to_string(),
    };
    if error.starts_with("missing field") || error.starts_with("unknown field") {
        return Err((None, error));
    }
    for field in object.keys().take(64) {
        let mut without = object.clone();
        without.remove(field);
        let other = serde_json::from_value::<T>(Value::Object(without))
            .err()
            .map(|e| e.to_string());
        if other.as_deref() != Some(error.as_str()) {
            return Err((Some(field.clone()), error));
        }
    }
    Err((None, error))
}

/// Reads a base URL: the given one, else the provider's own.
pub(crate) fn base_url(
    kind: ProviderKind,
    given: Option<&str>,
    default: &str,
    egress: &Egress,
) -> Result<EgressUrl, ConfigError> {
    egress
        .url(given.unwrap_or(default))
        .map_err(|error| ConfigError::setting(kind, "base_url", error.to_string()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::egress::EgressPolicy;
    use crate::sandbox::MemoryCapture;
    use serde_json::json;

    fn try_build(
        kind: ProviderKind,
        settings: Value,
        credentials: &str,
    ) -> Result<Arc<dyn Provider>, ConfigError> {
        let channel = match kind {
            ProviderKind::Twilio => Channel::Sms,
            ProviderKind::WhatsappCloud => Channel::Whatsapp,
            ProviderKind::WhatsappWeb => Channel::WhatsappWeb,
            _ => Channel::Email,
        };
        let credentials = Credentials::new(SecretString::from(credentials.to_owned()));
        let egress = Egress::new(EgressPolicy::default()).unwrap();
        build(
            &ConnectionConfig {
                kind,
                channel,
                settings,
                credentials,
            },
            &egress,
            Arc::new(MemoryCapture::new()),
        )
    }

    #[test]
    fn errors_name_the_field() {
        let unknown = try_build(ProviderKind::Sandbox, json!({"colour": 1}), "").unwrap_err();
        assert!(
            unknown
                .to_string()
                .starts_with("sandbox settings: unknown field `colour`"),
            "{unknown}"
        );
        let typed = try_build(
            ProviderKind::Sandbox,
            json!({"slow_ms": "x", "base_url": null}),
            "",
        )
        .unwrap_err();
        assert_eq!(typed.place, "sandbox settings.slow_ms");
        let url = try_build(ProviderKind::Sandbox, json!({"base_url": "https://10.0.0.1"}), "").unwrap_err();
        assert_eq!(url.place, "sandbox settings.base_url");
        let shape = try_build(ProviderKind::Sandbox, json!([1]), "").unwrap_err();
        assert_eq!(
            shape.to_string(),
            "sandbox settings: must be an object of named values"
        );
    }

    #[test]
    fn errors_about_credentials_quote_nothing() {
        for credentials in [r#"{"webhook_secret": 4711}"#, r#"["s3cret"]"#, "s3cret"] {
            let error = try_build(ProviderKind::Sandbox, json!({}), credentials)
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("sandbox credentials"), "{error}");
            assert!(!error.contains("4711") && !error.contains("s3cret"), "{error}");
        }
    }
}
