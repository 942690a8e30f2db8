//! Settings of a SendGrid connection.

use crate::config::ConfigError;
use crate::signature::sendgrid::PublicKey;
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeSet;
use tidings_core::{EmailAddress, ProviderKind};

/// Where the account's data lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Region {
    /// `https://api.sendgrid.com`.
    #[default]
    Global,
    /// `https://api.eu.sendgrid.com`, for accounts with EU data residency.
    Eu,
}

impl Region {
    /// The API's address.
    pub fn base_url(self) -> &'static str {
        match self {
            Self::Global => "https://api.sendgrid.com",
            Self::Eu => "https://api.eu.sendgrid.com",
        }
    }
}

/// Settings of a SendGrid connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendgridSettings {
    /// The sender; a verified identity at SendGrid.
    pub from_email: EmailAddress,
    /// The sender's display name.
    pub from_name: Option<String>,
    /// The account's region.
    #[serde(default)]
    pub region: Region,
    /// A stand-in; overrides the region's address.
    pub base_url: Option<String>,
    /// SendGrid checks the request and sends nothing.
    #[serde(default)]
    pub sandbox_mode: bool,
    /// The verification key of the signed event webhook and inbound parse, as the console shows it.
    pub webhook_public_key: Option<String>,
    /// The key before the last rotation.
    pub previous_webhook_public_key: Option<String>,
    /// Domains whose inbound mail belongs to this connection; without any, inbound mail is refused.
    #[serde(default)]
    pub inbound_domains: Vec<String>,
    /// At most ten, each another, shown in SendGrid's statistics. No personal data: SendGrid keeps them unencrypted.
    #[serde(default)]
    pub categories: Vec<String>,
    /// A pool of sending addresses, 2 to 64 characters.
    pub ip_pool_name: Option<String>,
}

/// Secrets of a SendGrid connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendgridCredentials {
    /// `SG...`, with the scope `mail.send`.
    pub api_key: SecretString,
}

impl SendgridSettings {
    /// Checks what the types cannot say, and reads the verification keys.
    pub fn check(&self) -> Result<Vec<PublicKey>, ConfigError> {
        let wrong = |field, problem: &str| Err(ConfigError::setting(ProviderKind::Sendgrid, field, problem));
        if self
            .from_name
            .as_deref()
            .is_some_and(|name| name.contains(['\r', '\n', '\0']))
        {
            return wrong("from_name", "must not hold a line break");
        }
        let different: BTreeSet<&String> = self.categories.iter().collect();
        if self.categories.len() > 10
            || self.categories.iter().any(|c| c.is_empty() || c.len() > 255)
            || different.len() < self.categories.len()
        {
            return wrong("categories", "at most 10, each another, of 1 to 255 characters");
        }
        let pool = self.ip_pool_name.as_deref();
        if pool.is_some_and(|name| !(2..=64).contains(&name.chars().count())) {
            return wrong("ip_pool_name", "must be 2 to 64 characters");
        }
        let mut keys = Vec::new();
        let fields = [
            ("webhook_public_key", &self.webhook_public_key),
            ("previous_webhook_public_key", &self.previous_webhook_public_key),
        ];
        for (field, text) in fields {
            let Some(text) = text else { continue };
            match PublicKey::parse(text) {
                Some(key) => keys.push(key),
                None => {
                    return wrong(
                        field,
                        "is not base64 of a P-256 key; copy it from Mail Settings, Event Webhook",
                    );
                }
            }
        }
        Ok(keys)
    }
}
