//! What a tenant set about alerts: thresholds, and who is told. Secrets are sealed with the tenant's key.

use crate::columns::{from_json, to_json};
use crate::{Place, Result, StoreError, TenantKey, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use std::collections::HashMap;
use tidings_core::TenantId;
use tidings_core::alert::{Configured, Thresholds};
use tidings_core::redact::Private;
use uuid::Uuid;

/// The longest secret, in bytes.
const SECRET_LIMIT: usize = 2_048;

/// Nothing secret of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertSettings {
    /// From where on a figure is bad.
    pub thresholds: Thresholds,
    /// PagerDuty is told.
    pub pagerduty: Option<PagerdutyChoice>,
    /// A Slack channel is told.
    pub slack: bool,
    /// A digest goes out.
    pub digest: Option<DigestChoice>,
}

/// How PagerDuty is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PagerdutyChoice {
    /// Instead of PagerDuty's own address.
    pub base_url: Option<String>,
}

/// When the digest goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestChoice {
    /// The hour of the day, UTC.
    pub hour_utc: u8,
}

/// What is sealed.
#[derive(Clone, Debug, Default)]
pub struct AlertSecrets {
    /// PagerDuty's integration key.
    pub pagerduty_routing_key: Option<SecretString>,
    /// Slack's incoming webhook: who knows it may write.
    pub slack_webhook_url: Option<SecretString>,
    /// Where the digest goes: an operator's address.
    pub digest_to: Option<Private<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pagerduty_routing_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slack_webhook_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest_to: Option<String>,
}

impl AlertSettings {
    /// Which notifiers there are.
    pub fn configured(&self) -> Configured {
        Configured {
            pagerduty: self.pagerduty.is_some(),
            slack: self.slack,
            digest: self.digest.is_some(),
        }
    }
}

/// Sets what the tenant wants of alerts.
///
/// # Errors
/// [`StoreError::Invalid`] when a threshold or the hour is out of bounds, or a secret is too long or missing.
pub async fn put(
    tx: &mut TenantTx,
    settings: &AlertSettings,
    secrets: &AlertSecrets,
    now: Timestamp,
) -> Result<()> {
    check(settings, secrets)?;
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let key = keyring.tenant_key(tx, tenant).await?;
    let text =
        |secret: &Option<SecretString>| secret.as_ref().map(|secret| secret.expose_secret().to_owned());
    let plain = Sealed {
        pagerduty_routing_key: text(&secrets.pagerduty_routing_key),
        slack_webhook_url: text(&secrets.slack_webhook_url),
        digest_to: secrets.digest_to.as_ref().map(|to| to.expose().clone()),
    };
    let plain = serde_json::to_vec(&plain)
        .map_err(|error| StoreError::json("alert_settings.secrets_sealed", &error))?;
    sqlx::query!(
        "INSERT INTO alert_settings (tenant_id, settings, secrets_sealed, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $4)
         ON CONFLICT (tenant_id) DO UPDATE SET settings = excluded.settings, secrets_sealed = excluded.secrets_sealed,
             updated_at = excluded.updated_at",
        tenant.0,
        to_json("alert_settings.settings", settings)?,
        key.seal(&place(tenant), &plain)?,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether they can be kept: thresholds and the hour within their bounds, and a secret for each notifier.
///
/// # Errors
/// [`StoreError::Invalid`] names the first field that is wrong, its parts joined by dots.
pub fn check(settings: &AlertSettings, secrets: &AlertSecrets) -> Result<()> {
    settings
        .thresholds
        .check()
        .map_err(|error| StoreError::invalid("thresholds", error.to_string()))?;
    if let Some(digest) = settings.digest
        && digest.hour_utc > 23
    {
        return Err(StoreError::invalid("digest.hour_utc", "use 0 to 23"));
    }
    for (field, wanted, secret) in [
        (
            "pagerduty.routing_key",
            settings.pagerduty.is_some(),
            secrets
                .pagerduty_routing_key
                .as_ref()
                .map(|key| key.expose_secret().len()),
        ),
        (
            "slack.webhook_url",
            settings.slack,
            secrets
                .slack_webhook_url
                .as_ref()
                .map(|url| url.expose_secret().len()),
        ),
        (
            "digest.to",
            settings.digest.is_some(),
            secrets.digest_to.as_ref().map(|to| to.expose().len()),
        ),
    ] {
        match secret {
            None | Some(0) if wanted => return Err(StoreError::invalid(field, "it is missing")),
            Some(length) if length > SECRET_LIMIT => {
                return Err(StoreError::invalid(
                    field,
                    format!("at most {SECRET_LIMIT} bytes"),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What the tenant set; the default where it set nothing.
///
/// # Errors
/// When the database refuses.
pub async fn get(tx: &mut TenantTx) -> Result<AlertSettings> {
    let tenant = tx.tenant();
    Ok(load(tx, &[tenant]).await?.remove(&tenant).unwrap_or_default())
}

/// What tenants set; those that set nothing are left out.
///
/// # Errors
/// When the database refuses.
pub async fn load(conn: &mut PgConnection, tenants: &[TenantId]) -> Result<HashMap<TenantId, AlertSettings>> {
    let tenants: Vec<Uuid> = tenants.iter().map(|tenant| tenant.0).collect();
    let rows = sqlx::query!(
        "SELECT tenant_id, settings FROM alert_settings WHERE tenant_id = ANY ($1)",
        &tenants,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok((
                TenantId(row.tenant_id),
                from_json("alert_settings.settings", row.settings)?,
            ))
        })
        .collect()
}

/// Active tenants that want a digest, with its hour. Wants the workers' pool.
///
/// # Errors
/// When the database refuses.
pub async fn with_digest(conn: &mut PgConnection) -> Result<Vec<(TenantId, u8)>> {
    let rows = sqlx::query!(
        r#"SELECT s.tenant_id, (s.settings #>> '{digest,hour_utc}')::int AS "hour!"
           FROM alert_settings s JOIN tenants t ON t.id = s.tenant_id
           WHERE t.status = 'active' AND s.settings #>> '{digest,hour_utc}' IS NOT NULL ORDER BY s.tenant_id"#
    )
    .fetch_all(conn)
    .await?;
    let hours = rows
        .into_iter()
        .map(|row| (TenantId(row.tenant_id), u8::try_from(row.hour).unwrap_or(0)));
    Ok(hours.collect())
}

/// The tenant's settings with their secrets, opened; none where it set nothing.
///
/// # Errors
/// When they cannot be opened: the master key is another one.
pub async fn open(
    conn: &mut PgConnection,
    key: &TenantKey,
    tenant: TenantId,
) -> Result<Option<(AlertSettings, AlertSecrets)>> {
    let row = sqlx::query!(
        "SELECT settings, secrets_sealed FROM alert_settings WHERE tenant_id = $1",
        tenant.0,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let settings = from_json("alert_settings.settings", row.settings)?;
    let Some(sealed) = row.secrets_sealed else {
        return Ok(Some((settings, AlertSecrets::default())));
    };
    let plain: Sealed = serde_json::from_slice(&key.open(&place(tenant), &sealed)?)
        .map_err(|error| StoreError::json("alert_settings.secrets_sealed", &error))?;
    let secrets = AlertSecrets {
        pagerduty_routing_key: plain.pagerduty_routing_key.map(SecretString::from),
        slack_webhook_url: plain.slack_webhook_url.map(SecretString::from),
        digest_to: plain.digest_to.map(Private::new),
    };
    Ok(Some((settings, secrets)))
}

fn place(tenant: TenantId) -> Place {
    Place::new("alert_settings", "secrets_sealed", tenant, tenant.0)
}
