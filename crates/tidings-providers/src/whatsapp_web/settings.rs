//! Settings of a WhatsApp Web connection.

use crate::config::ConfigError;
use crate::signature::standard;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tidings_core::{PhoneNumber, ProviderKind};

/// Settings of a WhatsApp Web connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhatsappWebSettings {
    /// Where the companion listens, such as `http://127.0.0.1:8427`.
    pub base_url: String,
    /// The account's number. With it, the companion of another account is refused.
    pub number: Option<PhoneNumber>,
}

/// Secrets of a WhatsApp Web connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhatsappWebCredentials {
    /// What the companion's token file holds.
    pub token: SecretString,
    /// Signs the companion's webhooks (`whsec_...`); without it they are refused.
    pub webhook_secret: Option<SecretString>,
    /// The one before the last rotation; still verifies.
    pub previous_webhook_secret: Option<SecretString>,
}

impl WhatsappWebCredentials {
    /// Checks what the types cannot say.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong =
            |field, problem: &str| Err(ConfigError::credential(ProviderKind::WhatsappWeb, field, problem));
        let token = self.token.expose_secret();
        if !(16..=512).contains(&token.len()) || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return wrong(
                "token",
                "must be 16 to 512 visible characters, the same as in the companion's token file",
            );
        }
        let secrets = [
            ("webhook_secret", &self.webhook_secret),
            ("previous_webhook_secret", &self.previous_webhook_secret),
        ];
        for (field, secret) in secrets {
            if secret
                .as_ref()
                .is_some_and(|secret| !standard::is_secret(secret.expose_secret()))
            {
                return wrong(field, "must be whsec_ and base64 of at least one byte");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case(json!({"token": "0123456789abcdef"}), None)]
    #[case(json!({"token": "0123456789abcdef", "webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}), None)]
    #[case(json!({"token": "short"}), Some("token"))]
    #[case(json!({"token": "0123456789 abcdef"}), Some("token"))]
    #[case(json!({"token": "0123456789abcdef", "webhook_secret": "whsec_"}), Some("webhook_secret"))]
    #[case(json!({"token": "0123456789abcdef", "previous_webhook_secret": "!"}), Some("previous_webhook_secret"))]
    fn credentials_are_checked(#[case] credentials: Value, #[case] field: Option<&str>) {
        let credentials: WhatsappWebCredentials = serde_json::from_value(credentials).unwrap();
        let place = credentials.check().err().map(|error| error.place);
        assert_eq!(
            place,
            field.map(|field| format!("whatsapp_web credentials.{field}"))
        );
    }
}
