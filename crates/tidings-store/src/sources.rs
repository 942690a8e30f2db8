//! Sources: where a tenant's own operational database is, and what its tables are called. How it is reached holds the
//! credentials; it is sealed with the tenant's key and only [`open`] opens it.

use crate::{Place, Result, StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::Value;
use tidings_core::TenantId;

/// The longest words on how it is reached, a certificate included, in bytes.
const ACCESS_LIMIT: usize = 393_216;
/// The largest mapping, in bytes of JSON.
const MAPPING_LIMIT: usize = 262_144;

/// A tenant's source, without how it is reached.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoredSource {
    /// Kind, limits, zone.
    pub settings: Value,
    /// What its tables and columns are called.
    pub mapping: Value,
    /// Campaigns look at it.
    pub enabled: bool,
    /// Last change.
    pub updated_at: Timestamp,
}

/// A source to be.
#[derive(Clone, Debug)]
pub struct SourceInput {
    /// How it is reached, with credentials.
    pub access: SecretString,
    /// Kind, limits, zone: nothing secret.
    pub settings: Value,
    /// What its tables and columns are called.
    pub mapping: Value,
    /// Campaigns look at it.
    pub enabled: bool,
}

/// Sets the tenant's source.
///
/// # Errors
/// [`StoreError::Invalid`] when something is too large.
pub async fn put(tx: &mut TenantTx, input: &SourceInput, now: Timestamp) -> Result<()> {
    if input.access.expose_secret().len() > ACCESS_LIMIT {
        return Err(StoreError::invalid(
            "access",
            format!("at most {ACCESS_LIMIT} bytes"),
        ));
    }
    if input.mapping.to_string().len() > MAPPING_LIMIT {
        return Err(StoreError::invalid(
            "mapping",
            format!("at most {MAPPING_LIMIT} bytes of JSON"),
        ));
    }
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let key = keyring.tenant_key(tx, tenant).await?;
    let sealed = key.seal(&place(tenant), input.access.expose_secret().as_bytes())?;
    sqlx::query!(
        "INSERT INTO sources (tenant_id, access_sealed, settings, mapping, enabled, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $6)
         ON CONFLICT (tenant_id) DO UPDATE SET access_sealed = excluded.access_sealed, settings = excluded.settings,
             mapping = excluded.mapping, enabled = excluded.enabled, updated_at = excluded.updated_at",
        tenant.0,
        sealed,
        input.settings,
        input.mapping,
        input.enabled,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The tenant's source, if it has one.
///
/// # Errors
/// When the database refuses.
pub async fn get(tx: &mut TenantTx) -> Result<Option<StoredSource>> {
    Ok(read(tx).await?.map(|(source, _)| source))
}

/// The tenant's source with how it is reached, opened.
///
/// # Errors
/// When it cannot be opened: the master key is another one.
pub async fn open(tx: &mut TenantTx) -> Result<Option<(StoredSource, SecretString)>> {
    let Some((source, sealed)) = read(tx).await? else {
        return Ok(None);
    };
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let key = keyring.tenant_key(tx, tenant).await?;
    let access = String::from_utf8(key.open(&place(tenant), &sealed)?)
        .map_err(|_| StoreError::invalid("access", "what is stored of the source is not text"))?;
    Ok(Some((source, SecretString::from(access))))
}

async fn read(tx: &mut TenantTx) -> Result<Option<(StoredSource, Vec<u8>)>> {
    let row = sqlx::query!(
        r#"SELECT access_sealed, settings, mapping, enabled, updated_at AS "updated_at: jiff_sqlx::Timestamp"
           FROM sources WHERE tenant_id = $1"#,
        tx.tenant().0
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| {
        let source = StoredSource {
            settings: row.settings,
            mapping: row.mapping,
            enabled: row.enabled,
            updated_at: row.updated_at.to_jiff(),
        };
        (source, row.access_sealed)
    }))
}

fn place(tenant: TenantId) -> Place {
    Place::new("sources", "access_sealed", tenant, tenant.0)
}
