//! Settings of an SES connection.

use crate::config::ConfigError;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::collections::BTreeMap;
use tidings_core::{EmailAddress, ProviderKind};

/// The most topics of a connection.
const MOST_TOPICS: usize = 20;

/// Settings of an SES connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SesSettings {
    /// The sender, of an identity that is verified in the region.
    pub from_email: EmailAddress,
    /// The sender's display name.
    pub from_name: Option<String>,
    /// `eu-west-1`.
    pub region: String,
    /// The configuration set whose events are published to the topics; without it no report echoes our reference.
    pub configuration_set: Option<String>,
    /// SNS topics whose messages are this connection's: `arn:aws:sns:eu-west-1:123456789012:ses-events`. Without any,
    /// webhooks are refused.
    #[serde(default)]
    pub topic_arns: Vec<String>,
    /// The identity in another account that allows this one to send (`FromEmailAddressIdentityArn`).
    pub identity_arn: Option<String>,
    /// Further tags, at most ten; letters, digits, `-` and `_`. No personal data.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// A stand-in; overrides the region's address.
    pub base_url: Option<String>,
}

/// Secrets of an SES connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SesCredentials {
    /// `AKIA...`; of temporary credentials `ASIA...`.
    pub access_key_id: SecretString,
    /// The secret that belongs to it.
    pub secret_access_key: SecretString,
    /// Of temporary credentials.
    pub session_token: Option<SecretString>,
}

impl SesSettings {
    /// The region's address.
    pub fn regional_url(&self) -> String {
        let suffix = if self.region.starts_with("cn-") { ".cn" } else { "" };
        format!("https://email.{}.amazonaws.com{suffix}", self.region)
    }

    /// Checks what the types cannot say.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field, problem: &str| Err(ConfigError::setting(ProviderKind::Ses, field, problem));
        if self
            .from_name
            .as_deref()
            .is_some_and(|name| name.contains(['\r', '\n', '\0']))
        {
            return wrong("from_name", "must not hold a line break");
        }
        let region = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(3..=32).contains(&self.region.len()) || !self.region.bytes().all(region) {
            return wrong("region", "must be the code of a region, such as eu-west-1");
        }
        let name = |text: &str, most| {
            (1..=most).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if self
            .configuration_set
            .as_deref()
            .is_some_and(|set| !name(set, 64))
        {
            return wrong(
                "configuration_set",
                "must be 1 to 64 letters, digits, - and _, as it is called in the SES console",
            );
        }
        if self.topic_arns.len() > MOST_TOPICS || !self.topic_arns.iter().all(|arn| is_topic(arn)) {
            return wrong(
                "topic_arns",
                "at most 20, each arn:aws:sns:REGION:ACCOUNT:NAME, as the SNS console shows it",
            );
        }
        if self
            .identity_arn
            .as_deref()
            .is_some_and(|arn| !is_arn(arn, "ses"))
        {
            return wrong("identity_arn", "must be arn:aws:ses:REGION:ACCOUNT:identity/NAME");
        }
        let ours = |key: &str| key.starts_with("tidings_") || key.starts_with("ses_");
        let fine = self
            .tags
            .iter()
            .all(|(key, value)| name(key, 256) && name(value, 256) && !ours(key));
        if self.tags.len() > 10 || !fine {
            return wrong(
                "tags",
                "at most 10, names and values of 1 to 256 letters, digits, - and _; names that begin with tidings_ are taken",
            );
        }
        Ok(())
    }
}

/// `arn:PARTITION:SERVICE:REGION:ACCOUNT:REST`, without anything that no ARN holds.
fn is_arn(text: &str, service: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [arn, partition, of, region, account, rest] = parts[..] else {
        return false;
    };
    arn == "arn"
        && matches!(partition, "aws" | "aws-cn" | "aws-us-gov")
        && of == service
        && !region.is_empty()
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && !rest.is_empty()
        && text.len() <= 512
        && text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_topic(text: &str) -> bool {
    // A subscription's ARN has one part more; it is easily copied instead.
    is_arn(text, "sns") && text.matches(':').count() == 5
}

impl SesCredentials {
    /// Checks that the keys can be keys. The errors quote nothing.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field, problem| Err(ConfigError::credential(ProviderKind::Ses, field, problem));
        let visible = |secret: &SecretString| {
            let text = secret.expose_secret();
            !text.is_empty() && text.len() <= 4_096 && text.bytes().all(|b| b.is_ascii_graphic())
        };
        let id = self.access_key_id.expose_secret();
        if id.len() < 16 || id.len() > 128 || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return wrong("access_key_id", "must be an access key id (AKIA...)");
        }
        if !visible(&self.secret_access_key) {
            return wrong(
                "secret_access_key",
                "must be the secret that belongs to the access key id",
            );
        }
        match &self.session_token {
            Some(token) if !visible(token) => wrong(
                "session_token",
                "must be a session token; leave it out for keys without one",
            ),
            None if id.starts_with("ASIA") => wrong(
                "session_token",
                "is missing; an access key id that begins with ASIA is of temporary credentials",
            ),
            _ => Ok(()),
        }
    }
}
