//! Settings of a Twilio connection.

use crate::config::ConfigError;
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;
use tidings_core::ProviderKind;

/// Where Twilio answers.
pub const BASE_URL: &str = "https://api.twilio.com";

/// Settings of a Twilio connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwilioSettings {
    /// `AC` and 32 hexadecimal digits.
    pub account_sid: String,
    /// The number, short code or alphanumeric sender to send from.
    pub from: Option<String>,
    /// `MG` and 32 hexadecimal digits; used instead of `from` when set.
    pub messaging_service_sid: Option<String>,
    /// Further numbers whose inbound messages belong to this connection (a messaging service's pool).
    #[serde(default)]
    pub numbers: Vec<String>,
    /// How long Twilio may queue a message, in seconds (1 to 36,000; Twilio's default is 36,000).
    pub validity_period_s: Option<u32>,
    /// Lets Twilio replace typographic characters so that a text stays in GSM-7.
    #[serde(default)]
    pub smart_encoded: bool,
    /// A stand-in, or a regional host; default `https://api.twilio.com`.
    pub base_url: Option<String>,
}

/// Secrets of a Twilio connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwilioCredentials {
    /// Signs webhooks, and authenticates calls unless an API key is set.
    pub auth_token: SecretString,
    /// The token before the last rotation; still verifies webhooks.
    pub previous_auth_token: Option<SecretString>,
    /// `SK...`; authenticates calls together with `api_key_secret`.
    pub api_key_sid: Option<String>,
    /// The API key's secret.
    pub api_key_secret: Option<SecretString>,
    /// Shared keys that sign webhooks: id and secret.
    #[serde(default)]
    pub shared_keys: BTreeMap<String, SecretString>,
}

impl TwilioSettings {
    /// Checks what the types cannot say.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field, problem: &str| Err(ConfigError::setting(ProviderKind::Twilio, field, problem));
        if !is_sid(&self.account_sid, &["AC"]) {
            return wrong(
                "account_sid",
                "must be AC and 32 hexadecimal digits, as in Twilio's console",
            );
        }
        match (&self.from, &self.messaging_service_sid) {
            (None, None) => wrong(
                "from",
                "set from or messaging_service_sid: a message needs a sender",
            ),
            (_, Some(sid)) if !is_sid(sid, &["MG"]) => {
                wrong("messaging_service_sid", "must be MG and 32 hexadecimal digits")
            }
            (Some(from), _) if from.contains(':') => wrong(
                "from",
                "a connection of Twilio carries SMS; for WhatsApp make a connection of whatsapp_cloud",
            ),
            (Some(from), _) if from.is_empty() || from.len() > 64 || from.chars().any(char::is_control) => {
                wrong(
                    "from",
                    "must be a number such as +15005550006, a short code or a sender name",
                )
            }
            _ if self.validity_period_s.is_some_and(|s| !(1..=36_000).contains(&s)) => {
                wrong("validity_period_s", "must be 1 to 36000")
            }
            _ => Ok(()),
        }
    }
}

impl TwilioCredentials {
    /// Checks what the types cannot say.
    pub fn check(&self) -> Result<(), ConfigError> {
        use secrecy::ExposeSecret;
        let wrong = |field, problem: &str| Err(ConfigError::credential(ProviderKind::Twilio, field, problem));
        if self.auth_token.expose_secret().is_empty() {
            return wrong("auth_token", "must not be empty");
        }
        if self.api_key_sid.is_some() != self.api_key_secret.is_some() {
            return wrong("api_key_secret", "api_key_sid and api_key_secret go together");
        }
        Ok(())
    }
}

/// Whether a text is a Twilio id with one of the prefixes.
pub fn is_sid(text: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| {
        text.strip_prefix(prefix)
            .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    })
}
