//! Models: which language model a tenant drafts with. Its key is sealed with the tenant's key and only [`open`] opens it.

use crate::{Place, Result, StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::Value;
use tidings_core::TenantId;

/// The longest key, in bytes.
const KEY_LIMIT: usize = 4_096;
/// The largest settings, in bytes of JSON.
const SETTINGS_LIMIT: usize = 65_536;

/// A tenant's model, without its key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoredModel {
    /// Kind, address, name, limits.
    pub settings: Value,
    /// Campaigns draft with it.
    pub enabled: bool,
    /// Last change.
    pub updated_at: Timestamp,
}

/// A model to be.
#[derive(Clone, Debug)]
pub struct ModelInput {
    /// Its key; none where the endpoint asks for none.
    pub key: Option<SecretString>,
    /// Kind, address, name, limits: nothing secret.
    pub settings: Value,
    /// Campaigns draft with it.
    pub enabled: bool,
}

/// Sets the tenant's model.
///
/// # Errors
/// [`StoreError::Invalid`] when something is too large.
pub async fn put(tx: &mut TenantTx, input: &ModelInput, now: Timestamp) -> Result<()> {
    if input
        .key
        .as_ref()
        .is_some_and(|key| key.expose_secret().len() > KEY_LIMIT)
    {
        return Err(StoreError::invalid("key", format!("at most {KEY_LIMIT} bytes")));
    }
    if input.settings.to_string().len() > SETTINGS_LIMIT {
        return Err(StoreError::invalid(
            "settings",
            format!("at most {SETTINGS_LIMIT} bytes of JSON"),
        ));
    }
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let sealed = match &input.key {
        Some(secret) => {
            let key = keyring.tenant_key(tx, tenant).await?;
            Some(key.seal(&place(tenant), secret.expose_secret().as_bytes())?)
        }
        None => None,
    };
    sqlx::query!(
        "INSERT INTO models (tenant_id, key_sealed, settings, enabled, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $5)
         ON CONFLICT (tenant_id) DO UPDATE SET key_sealed = excluded.key_sealed, settings = excluded.settings,
             enabled = excluded.enabled, updated_at = excluded.updated_at",
        tenant.0,
        sealed,
        input.settings,
        input.enabled,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The tenant's model, if it has one.
///
/// # Errors
/// When the database refuses.
pub async fn get(tx: &mut TenantTx) -> Result<Option<StoredModel>> {
    Ok(read(tx).await?.map(|(model, _)| model))
}

/// The tenant's model with its key, opened.
///
/// # Errors
/// When it cannot be opened: the master key is another one.
pub async fn open(tx: &mut TenantTx) -> Result<Option<(StoredModel, Option<SecretString>)>> {
    let Some((model, sealed)) = read(tx).await? else {
        return Ok(None);
    };
    let Some(sealed) = sealed else {
        return Ok(Some((model, None)));
    };
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let key = keyring.tenant_key(tx, tenant).await?;
    let secret = String::from_utf8(key.open(&place(tenant), &sealed)?)
        .map_err(|_| StoreError::invalid("key", "what is stored of the model's key is not text"))?;
    Ok(Some((model, Some(SecretString::from(secret)))))
}

async fn read(tx: &mut TenantTx) -> Result<Option<(StoredModel, Option<Vec<u8>>)>> {
    let row = sqlx::query!(
        r#"SELECT key_sealed, settings, enabled, updated_at AS "updated_at: jiff_sqlx::Timestamp"
           FROM models WHERE tenant_id = $1"#,
        tx.tenant().0
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| {
        let model = StoredModel {
            settings: row.settings,
            enabled: row.enabled,
            updated_at: row.updated_at.to_jiff(),
        };
        (model, row.key_sealed)
    }))
}

fn place(tenant: TenantId) -> Place {
    Place::new("models", "key_sealed", tenant, tenant.0)
}
