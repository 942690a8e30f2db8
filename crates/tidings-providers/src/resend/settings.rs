//! Settings of a Resend connection.

use crate::config::ConfigError;
use crate::signature::standard;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::collections::BTreeMap;
use tidings_core::{EmailAddress, ProviderKind};

/// Where the API is.
pub const BASE_URL: &str = "https://api.resend.com";

/// Settings of a Resend connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResendSettings {
    /// The sender, of a domain that is verified at Resend.
    pub from_email: EmailAddress,
    /// The sender's display name.
    pub from_name: Option<String>,
    /// A stand-in.
    pub base_url: Option<String>,
    /// Further tags, at most twenty; letters, digits, `-` and `_`. No personal data.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Domains whose received mail belongs to this connection; without any, received mail is left alone.
    #[serde(default)]
    pub inbound_domains: Vec<String>,
}

/// Secrets of a Resend connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResendCredentials {
    /// `re_...`; sending access is enough.
    pub api_key: SecretString,
    /// `whsec_...` of the webhook; without it webhooks are refused.
    pub webhook_secret: Option<SecretString>,
    /// The secret before the last rotation; still verifies.
    pub previous_webhook_secret: Option<SecretString>,
}

impl ResendSettings {
    /// Checks what the types cannot say.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field, problem: &str| Err(ConfigError::setting(ProviderKind::Resend, field, problem));
        if self
            .from_name
            .as_deref()
            .is_some_and(|name| name.contains(['\r', '\n', '\0']))
        {
            return wrong("from_name", "must not hold a line break");
        }
        let plain = |text: &String| {
            (1..=256).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let ours = |name: &String| name.starts_with("tidings_");
        if self.tags.len() > 20 || !self.tags.iter().all(|(k, v)| plain(k) && plain(v) && !ours(k)) {
            return wrong(
                "tags",
                "at most 20, names and values of 1 to 256 letters, digits, - and _; names that begin with tidings_ are taken",
            );
        }
        Ok(())
    }
}

impl ResendCredentials {
    /// Checks that the secrets can be secrets. The errors quote nothing.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field, problem| Err(ConfigError::credential(ProviderKind::Resend, field, problem));
        let key = self.api_key.expose_secret();
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return wrong("api_key", "must be a Resend API key (re_...)");
        }
        let secrets = [
            ("webhook_secret", &self.webhook_secret),
            ("previous_webhook_secret", &self.previous_webhook_secret),
        ];
        for (field, secret) in secrets {
            if let Some(secret) = secret
                && !standard::is_secret(secret.expose_secret())
            {
                return wrong(
                    field,
                    "must be whsec_ and base64, as the webhook's page at Resend shows it",
                );
            }
        }
        Ok(())
    }
}
