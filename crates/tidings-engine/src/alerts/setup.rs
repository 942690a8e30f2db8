//! What a tenant wants of alerts: from where on a figure is bad, and who is told. Secrets go in and never come out.

use super::notify;
use crate::engine::Engine;
use crate::error::EngineError;
use serde_json::json;
use tidings_core::alert::Notifier;
use tidings_core::redact::Private;
use tidings_core::{Address, Channel, TenantId};
use tidings_providers::ConfigError;
use tidings_providers::egress::Egress;
use tidings_store::alerts::settings::{self, AlertSecrets, AlertSettings};
use tidings_store::audit::{self, AuditEntry};
use tidings_store::{StoreError, TenantTx};

/// The settings of a tenant as they may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSetup {
    /// Nothing secret.
    pub settings: AlertSettings,
    /// Who gets the digest.
    pub digest_to: Option<Private<String>>,
}

impl Engine {
    /// What a tenant set; the defaults where it set nothing.
    ///
    /// # Errors
    /// When the database refuses, or the secrets cannot be opened.
    pub async fn alert_setup(&self, tenant: TenantId) -> Result<AlertSetup, EngineError> {
        let mut tx = self.store().tenant(tenant).tx().await?;
        let (settings, secrets) = stored(&mut tx).await?;
        Ok(AlertSetup {
            settings,
            digest_to: secrets.digest_to,
        })
    }

    /// Sets all of it. A secret that is not given stays as it is where its notifier is still wanted. Written down in the
    /// audit log under the actor. Nobody is told anything.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] names what is out of bounds, missing, or no notifier's form.
    pub async fn set_alert_setup(
        &self,
        tenant: TenantId,
        settings: AlertSettings,
        mut secrets: AlertSecrets,
        actor: &str,
    ) -> Result<AlertSetup, EngineError> {
        let now = self.now();
        let mut tx = self.store().tenant(tenant).tx().await?;
        let (_, known) = stored(&mut tx).await?;
        let configured = settings.configured();
        keep(
            &mut secrets.pagerduty_routing_key,
            known.pagerduty_routing_key,
            configured.pagerduty,
        );
        keep(
            &mut secrets.slack_webhook_url,
            known.slack_webhook_url,
            configured.slack,
        );
        keep(&mut secrets.digest_to, known.digest_to, configured.digest);
        check_notifiers(self.inner.providers.egress(), &settings, &secrets).map_err(|error| {
            EngineError::Invalid {
                field: error.place,
                problem: error.problem,
            }
        })?;
        settings::put(&mut tx, &settings, &secrets, now).await?;
        let entry = AuditEntry {
            tenant,
            actor: actor.to_owned(),
            action: "alerts.set".to_owned(),
            object: tenant.to_string(),
            contact: None,
            detail: Some(json!(settings)),
        };
        let keyring = tx.keyring();
        audit::append(&mut tx, &keyring, entry, now).await?;
        tx.commit().await?;
        Ok(AlertSetup {
            settings,
            digest_to: secrets.digest_to,
        })
    }
}

async fn stored(tx: &mut TenantTx) -> Result<(AlertSettings, AlertSecrets), EngineError> {
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let key = keyring.tenant_key(tx, tenant).await?;
    Ok(settings::open(tx, &key, tenant).await?.unwrap_or_default())
}

/// What is not wanted is not kept, and what is not given stays.
fn keep<T>(given: &mut Option<T>, known: Option<T>, wanted: bool) {
    *given = given.take().or(known).filter(|_| wanted);
}

/// Whether thresholds are within their bounds and notifiers can be made; nobody is called.
///
/// # Errors
/// Names the first field that is wrong, as in `pagerduty.routing_key`.
pub fn check_notifiers(
    egress: &Egress,
    settings: &AlertSettings,
    secrets: &AlertSecrets,
) -> Result<(), ConfigError> {
    if let Err(error) = settings.thresholds.check() {
        return Err(ConfigError::new(
            &format!("thresholds.{}", error.field),
            error.to_string(),
        ));
    }
    if let Err(StoreError::Invalid { field, problem }) = settings::check(settings, secrets) {
        return Err(ConfigError::new(field, problem));
    }
    if settings.pagerduty.is_some() {
        notify::build(egress, Notifier::Pagerduty, settings, secrets.clone())?;
    }
    if settings.slack {
        notify::build(egress, Notifier::Slack, settings, secrets.clone())?;
    }
    if let Some(to) = &secrets.digest_to
        && Address::parse(Channel::Email, to.expose(), None).is_err()
    {
        return Err(ConfigError::new("digest.to", "it is no e-mail address"));
    }
    Ok(())
}
