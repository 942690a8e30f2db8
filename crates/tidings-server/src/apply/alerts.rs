//! Who is told of a tenant's alerts, and from where on a figure is bad.

use super::Applier;
use super::diff::{Entry, json_differences};
use super::file::AlertSection;
use crate::failure::Failure;
use anyhow::{Context, Result};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::to_value;
use tidings_core::redact::Private;
use tidings_engine::alerts::check_notifiers;
use tidings_providers::egress::{Egress, EgressPolicy};
use tidings_store::TenantTx;
use tidings_store::alerts::settings::{self, AlertSecrets, AlertSettings, DigestChoice, PagerdutyChoice};

impl Applier<'_> {
    /// Brings the settings of alerts to what the file says. Nobody is told anything.
    pub(super) async fn alerts(
        &mut self,
        tx: &mut TenantTx,
        slug: &str,
        section: &AlertSection,
    ) -> Result<Entry> {
        let what = format!("alerts {slug}");
        let (wanted, secrets) = self.wanted(section).with_context(|| what.clone())?;
        let (tenant, keyring) = (tx.tenant(), tx.keyring());
        let key = keyring.tenant_key(tx, tenant).await?;
        let entry = match settings::open(tx, &key, tenant).await? {
            None => Entry::created(what.clone()),
            Some((known, stored)) => {
                let mut differences = json_differences(&to_value(&known)?, &to_value(&wanted)?);
                differences.extend(secret_differences(&stored, &secrets));
                Entry::existing(what.clone(), differences)
            }
        };
        if entry.is_change() {
            settings::put(tx, &wanted, &secrets, self.now)
                .await
                .with_context(|| what)?;
        }
        Ok(entry)
    }

    fn wanted(&self, section: &AlertSection) -> Result<(AlertSettings, AlertSecrets)> {
        let mut wanted = AlertSettings {
            thresholds: section.thresholds,
            ..AlertSettings::default()
        };
        let mut secrets = AlertSecrets::default();
        if let Some(pagerduty) = &section.pagerduty {
            secrets.pagerduty_routing_key =
                Some(self.secret("pagerduty.routing_key", &pagerduty.routing_key)?);
            wanted.pagerduty = Some(PagerdutyChoice {
                base_url: pagerduty.base_url.clone(),
            });
        }
        if let Some(slack) = &section.slack {
            secrets.slack_webhook_url = Some(self.secret("slack.webhook_url", &slack.webhook_url)?);
            wanted.slack = true;
        }
        if let Some(digest) = &section.digest {
            let to = self.secret("digest.to", &digest.to)?;
            secrets.digest_to = Some(Private::new(to.expose_secret().to_owned()));
            wanted.digest = Some(DigestChoice {
                hour_utc: digest.hour_utc,
            });
        }
        // Local addresses are the node's to allow or refuse, when it tells.
        let egress =
            Egress::new(EgressPolicy::for_stand_ins()).context("the HTTP client could not be built")?;
        check_notifiers(&egress, &wanted, &secrets).map_err(Failure::refused)?;
        Ok((wanted, secrets))
    }
}

/// That a secret differs, never what it is.
fn secret_differences(stored: &AlertSecrets, wanted: &AlertSecrets) -> Vec<String> {
    let text =
        |secret: &Option<SecretString>| secret.as_ref().map(|secret| secret.expose_secret().to_owned());
    let address = |secrets: &AlertSecrets| secrets.digest_to.as_ref().map(|to| to.expose().clone());
    let pairs = [
        (
            "pagerduty.routing_key",
            text(&stored.pagerduty_routing_key),
            text(&wanted.pagerduty_routing_key),
        ),
        (
            "slack.webhook_url",
            text(&stored.slack_webhook_url),
            text(&wanted.slack_webhook_url),
        ),
        ("digest.to", address(stored), address(wanted)),
    ];
    pairs
        .into_iter()
        .filter(|(_, from, to)| from.is_some() && to.is_some() && from != to)
        .map(|(name, ..)| format!("{name}: changed"))
        .collect()
}
