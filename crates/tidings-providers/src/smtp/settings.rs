//! Settings of an SMTP connection.

use super::dkim::Signer;
use crate::config::ConfigError;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use tidings_core::{EmailAddress, ProviderKind};

/// How the connection is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// Plain at first, TLS before anything is said (port 587). A server that does not offer it is refused.
    #[default]
    Starttls,
    /// TLS from the start (port 465).
    Tls,
    /// None: only to this machine (port 25).
    None,
}

/// A DKIM key's place in DNS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DkimSettings {
    /// The signing domain, aligned with the sender's.
    pub domain: String,
    /// The selector; its private key is `dkim_private_keys.<selector>` in the credentials.
    pub selector: String,
}

/// Settings of an SMTP connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpSettings {
    /// Host name or address of the server.
    pub host: String,
    /// Port; by default 587, 465 or 25, as `tls` says.
    pub port: Option<u16>,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: TlsMode,
    /// Authenticates, together with the credential `password`.
    pub username: Option<String>,
    /// The sender.
    pub from_email: EmailAddress,
    /// The sender's display name.
    pub from_name: Option<String>,
    /// What `EHLO` says; by default the sender's domain.
    pub hello_name: Option<String>,
    /// Where bounces go; each message gets its own address there (VERP), proved by the credential `bounce_key`.
    pub bounce_domain: Option<String>,
    /// Where answers go, when Tidings takes mail for it: each message without a reply address of its own gets one there,
    /// proved by the credential `bounce_key`.
    pub reply_domain: Option<String>,
    /// Up to two signatures (RSA and Ed25519 side by side).
    #[serde(default)]
    pub dkim: Vec<DkimSettings>,
    /// Connections held at most (1 to 50, default 4).
    pub max_connections: Option<u32>,
    /// Seconds for one message, connecting included (1 to 600, default 30).
    pub timeout_s: Option<u64>,
}

/// Secrets of an SMTP connection.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmtpCredentials {
    /// The password that goes with `username`.
    pub password: Option<SecretString>,
    /// Private keys by selector, in PEM form.
    pub dkim_private_keys: BTreeMap<String, SecretString>,
    /// Proves bounce addresses; at least 16 characters.
    pub bounce_key: Option<SecretString>,
}

impl SmtpSettings {
    /// The port, given or usual.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            TlsMode::Starttls => 587,
            TlsMode::Tls => 465,
            TlsMode::None => 25,
        })
    }

    /// Checks what the types cannot say.
    pub fn check(&self, credentials: &SmtpCredentials) -> Result<(), ConfigError> {
        let kind = ProviderKind::Smtp;
        let wrong = |field, problem: &str| Err(ConfigError::setting(kind, field, problem));
        if !is_host(&self.host) {
            return wrong("host", "must be a host name or an address, without a port");
        }
        if self.tls == TlsMode::None && !is_this_machine(&self.host) {
            return wrong(
                "tls",
                "\"none\" is only for a server on this machine; use \"starttls\" or \"tls\"",
            );
        }
        if self.username.is_some() != credentials.password.is_some() {
            return wrong("username", "goes together with the credential password");
        }
        if self.username.as_deref().is_some_and(has_control)
            || self.from_name.as_deref().is_some_and(has_control)
        {
            return wrong(
                "username",
                "username and from_name must not hold control characters",
            );
        }
        for (field, name) in [
            ("hello_name", &self.hello_name),
            ("bounce_domain", &self.bounce_domain),
            ("reply_domain", &self.reply_domain),
        ] {
            if name.as_deref().is_some_and(|name| !is_host(name)) {
                return wrong(field, "must be a host name");
            }
        }
        if self.max_connections.is_some_and(|n| !(1..=50).contains(&n)) {
            return wrong("max_connections", "must be 1 to 50");
        }
        if self.timeout_s.is_some_and(|s| !(1..=600).contains(&s)) {
            return wrong("timeout_s", "must be 1 to 600");
        }
        let key = credentials
            .bounce_key
            .as_ref()
            .map(|key| key.expose_secret().len());
        let needs_key = self.bounce_domain.is_some() || self.reply_domain.is_some();
        if needs_key && key.is_none_or(|length| length < 16) {
            return Err(ConfigError::credential(
                kind,
                "bounce_key",
                "bounce_domain and reply_domain need one of 16 characters or more",
            ));
        }
        Ok(())
    }

    /// The signers, in order.
    pub fn signers(&self, credentials: &SmtpCredentials) -> Result<Vec<Signer>, ConfigError> {
        if self.dkim.len() > 2 {
            return Err(ConfigError::setting(
                ProviderKind::Smtp,
                "dkim",
                "at most two signatures",
            ));
        }
        self.dkim
            .iter()
            .map(|dkim| match credentials.dkim_private_keys.get(&dkim.selector) {
                Some(key) => Signer::new(&dkim.domain, &dkim.selector, key.expose_secret()),
                None => Err(ConfigError::credential(
                    ProviderKind::Smtp,
                    "dkim_private_keys",
                    format!(
                        "has no key for the selector {}",
                        crate::mask::mask(&dkim.selector)
                    ),
                )),
            })
            .collect()
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn is_host(text: &str) -> bool {
    let name = text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
    name || text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}
