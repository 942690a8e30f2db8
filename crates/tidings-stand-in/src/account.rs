//! Accounts at a vendor: which keys are right, and where and what is reported.

use crate::vendor::Vendor;
use crate::webhook::Step;
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;

/// The account of whoever was not set up.
pub const DEFAULT: &str = "default";
/// Accounts held.
const MOST_ACCOUNTS: usize = 1_000;
/// Steps of a script.
const MOST_STEPS: usize = 50;
/// Repetitions of a step.
const MOST_TIMES: u32 = 20;
/// The latest report, after the message was taken.
const LONGEST_MS: u64 = 86_400_000;

/// An account.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Account {
    /// Where reports and inbound messages go, as the vendor would call it: signed over where the vendor signs URLs.
    pub webhook_url: Option<String>,
    /// Where they really go, when the public address is not this machine's: scheme, host and port are taken from here.
    pub via: Option<String>,
    /// Keys.
    pub secrets: Secrets,
    /// What is reported of every message that is taken.
    pub script: Vec<Step>,
    /// Gathers reports for so long before they go together, where the vendor sends several in one request.
    pub batch_ms: u64,
    /// Turns the order of each batch around.
    pub reorder: bool,
    /// Waits between tries of a report that was not answered with 2xx; the vendor's own without it.
    pub retries_ms: Option<Vec<u64>>,
}

/// Keys of an account. Which of them a vendor has is said in `docs/stand-ins.md`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    /// The key of the API: SendGrid, Resend; WhatsApp's access token; PagerDuty's routing key; SMTP's password.
    pub api_key: Option<SecretString>,
    /// Twilio: authenticates calls, and signs.
    pub auth_token: Option<SecretString>,
    /// Twilio: the id of a shared key, which then signs instead.
    pub shared_key_id: Option<String>,
    /// Twilio: its secret.
    pub shared_key: Option<SecretString>,
    /// Amazon: the secret of the access key whose id is the account's name.
    pub secret_access_key: Option<SecretString>,
    /// SendGrid: a P-256 private key (PKCS#8, base64 or PEM); without it one is made. Amazon SNS: an RSA one.
    pub signing_key: Option<SecretString>,
    /// Amazon SNS: where its certificate is said to be.
    pub certificate_url: Option<String>,
    /// Amazon SNS: the topic.
    pub topic_arn: Option<String>,
    /// Resend and the sandbox: `whsec_...`.
    pub webhook_secret: Option<SecretString>,
    /// WhatsApp: signs.
    pub app_secret: Option<SecretString>,
}

impl Account {
    fn check(&self) -> Result<(), String> {
        if self.script.len() > MOST_STEPS {
            return Err(format!("a script has at most {MOST_STEPS} steps"));
        }
        for (at, step) in self.script.iter().enumerate() {
            if !(1..=MOST_TIMES).contains(&step.times) {
                return Err(format!("script step {at}: times must be 1 to {MOST_TIMES}"));
            }
            if step.after_ms > LONGEST_MS {
                return Err(format!("script step {at}: after_ms must be at most {LONGEST_MS}"));
            }
        }
        let waits = self.retries_ms.iter().flatten();
        if self.batch_ms > LONGEST_MS || waits.clone().any(|wait| *wait > LONGEST_MS) || waits.count() > 20 {
            return Err(format!(
                "batch_ms and retries_ms (at most 20) must be at most {LONGEST_MS}"
            ));
        }
        for (field, url) in [("webhook_url", &self.webhook_url), ("via", &self.via)] {
            if url.as_deref().is_some_and(|url| url::Url::parse(url).is_err()) {
                return Err(format!("{field} is not an absolute URL"));
            }
        }
        Ok(())
    }
}

/// Who calls, by what was set up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// This account.
    Known(String),
    /// Nobody of those that were set up.
    WrongKey,
}

/// The accounts that were set up.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    accounts: HashMap<(Vendor, String), Arc<Account>>,
}

impl Accounts {
    pub(crate) fn put(&mut self, vendor: Vendor, name: &str, account: Account) -> Result<(), String> {
        account.check()?;
        let key = (vendor, name.to_owned());
        if self.accounts.len() >= MOST_ACCOUNTS && !self.accounts.contains_key(&key) {
            return Err(format!("at most {MOST_ACCOUNTS} accounts"));
        }
        self.accounts.insert(key, Arc::new(account));
        Ok(())
    }

    pub(crate) fn get(&self, vendor: Vendor, name: &str) -> Option<Arc<Account>> {
        self.accounts.get(&(vendor, name.to_owned())).cloned()
    }

    /// The account with this API key. Where no account of the vendor has one, every key is the default account's.
    pub(crate) fn by_api_key(&self, vendor: Vendor, key: &str) -> Caller {
        use secrecy::ExposeSecret as _;
        let mut any = false;
        for ((of, name), account) in &self.accounts {
            let Some(right) = account.secrets.api_key.as_ref().filter(|_| *of == vendor) else {
                continue;
            };
            if right.expose_secret() == key {
                return Caller::Known(name.clone());
            }
            any = true;
        }
        if any {
            Caller::WrongKey
        } else {
            Caller::Known(DEFAULT.to_owned())
        }
    }
}
