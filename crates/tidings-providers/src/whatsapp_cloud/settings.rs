//! Settings of a WhatsApp Cloud API connection.

use crate::config::ConfigError;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tidings_core::ProviderKind;

/// Where the Graph API answers.
pub const BASE_URL: &str = "https://graph.facebook.com";

/// Settings of a WhatsApp Cloud API connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhatsappCloudSettings {
    /// The id of the business number (digits; not the number itself).
    pub phone_number_id: String,
    /// The id of the WhatsApp business account; reviews of templates are only taken from it.
    pub business_account_id: Option<String>,
    /// Version of the Graph API; default `v26.0`.
    #[serde(default = "default_version")]
    pub api_version: String,
    /// Lets WhatsApp show a preview of the first link of a text.
    #[serde(default)]
    pub preview_url: bool,
    /// A stand-in; default `https://graph.facebook.com`.
    pub base_url: Option<String>,
}

/// Secrets of a WhatsApp Cloud API connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhatsappCloudCredentials {
    /// The system user's access token.
    pub token: SecretString,
    /// The app's secret; signs webhooks.
    pub app_secret: Option<SecretString>,
    /// The app's secret before the last rotation; still verifies webhooks.
    pub previous_app_secret: Option<SecretString>,
    /// The word that Meta must say when the webhook is set up.
    pub verify_token: Option<SecretString>,
}

fn default_version() -> String {
    "v26.0".to_owned()
}

impl WhatsappCloudSettings {
    /// Checks what the types cannot say.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong =
            |field, problem: &str| Err(ConfigError::setting(ProviderKind::WhatsappCloud, field, problem));
        if !is_id(&self.phone_number_id) {
            return wrong(
                "phone_number_id",
                "must be the number's id (digits only), from WhatsApp > API setup in Meta's app dashboard",
            );
        }
        if self.business_account_id.as_deref().is_some_and(|id| !is_id(id)) {
            return wrong("business_account_id", "must be digits only");
        }
        if !is_version(&self.api_version) {
            return wrong("api_version", "must look like v26.0");
        }
        Ok(())
    }
}

impl WhatsappCloudCredentials {
    /// Checks what the types cannot say.
    pub fn check(&self) -> Result<(), ConfigError> {
        let secrets = [
            ("token", Some(&self.token)),
            ("app_secret", self.app_secret.as_ref()),
            ("previous_app_secret", self.previous_app_secret.as_ref()),
            ("verify_token", self.verify_token.as_ref()),
        ];
        for (field, secret) in secrets {
            if secret.is_some_and(|secret| !is_secret(secret.expose_secret())) {
                let problem = "must not be empty, and holds neither blanks nor control characters";
                return Err(ConfigError::credential(
                    ProviderKind::WhatsappCloud,
                    field,
                    problem,
                ));
            }
        }
        Ok(())
    }
}

/// Whether a text is an id of the Graph API.
fn is_id(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_version(text: &str) -> bool {
    let number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    text.strip_prefix('v')
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(major, minor)| number(major) && number(minor))
}

fn is_secret(text: &str) -> bool {
    !text.is_empty() && text.len() <= 4_096 && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case(json!({"phone_number_id": "106540352242922"}), None)]
    #[case(json!({"phone_number_id": "106", "business_account_id": "102", "api_version": "v25.0"}), None)]
    #[case(json!({"phone_number_id": "+15550783881"}), Some("phone_number_id"))]
    #[case(json!({"phone_number_id": ""}), Some("phone_number_id"))]
    #[case(json!({"phone_number_id": "1", "business_account_id": "x"}), Some("business_account_id"))]
    #[case(json!({"phone_number_id": "1", "api_version": "26.0"}), Some("api_version"))]
    #[case(json!({"phone_number_id": "1", "api_version": "v26.0/../x"}), Some("api_version"))]
    fn settings_are_checked(#[case] settings: Value, #[case] field: Option<&str>) {
        let settings: WhatsappCloudSettings = serde_json::from_value(settings).unwrap();
        let place = settings.check().err().map(|error| error.place);
        assert_eq!(
            place,
            field.map(|field| format!("whatsapp_cloud settings.{field}"))
        );
    }

    #[rstest]
    #[case(json!({"token": "EAA"}), None)]
    #[case(json!({"token": "", "app_secret": "s"}), Some("token"))]
    #[case(json!({"token": "EAA", "verify_token": ""}), Some("verify_token"))]
    #[case(json!({"token": "EAA", "app_secret": "a b"}), Some("app_secret"))]
    #[case(json!({"token": "EAA", "previous_app_secret": "a\n"}), Some("previous_app_secret"))]
    fn credentials_are_checked(#[case] credentials: Value, #[case] field: Option<&str>) {
        let credentials: WhatsappCloudCredentials = serde_json::from_value(credentials).unwrap();
        let place = credentials.check().err().map(|error| error.place);
        assert_eq!(
            place,
            field.map(|field| format!("whatsapp_cloud credentials.{field}"))
        );
    }
}
