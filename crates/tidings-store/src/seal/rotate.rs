//! Proving that the configured master keys are the right ones, and replacing one by another.

use super::{Keyring, Place, SealError};
use crate::{Result, StoreError};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::{Acquire as _, PgConnection};
use tidings_core::TenantId;

/// Tenant keys re-wrapped in one transaction.
const BATCH: i64 = 500;

/// Serialises the first check value of a database; any constant nobody else uses.
const CHECK_LOCK: i64 = 0x7469_6469_6e67_0001;

const CHECK_TEXT: &[u8] = b"tidings master key check";

/// What a rotation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rotation {
    /// Tenant keys re-wrapped with the active master key.
    pub rewrapped: u64,
    /// Old master keys no data depends on any more: they can leave the configuration.
    pub retired: u64,
}

/// Refuses when a master key the data depends on is missing or another one under the same id. Enters the check value of the
/// active key when all is well. Nothing is changed otherwise.
pub(crate) async fn check_master_keys(
    conn: &mut PgConnection,
    keyring: &Keyring,
    now: Timestamp,
) -> Result<()> {
    let mut tx = conn.begin().await?;
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", CHECK_LOCK)
        .execute(&mut *tx)
        .await?;
    let rows = sqlx::query!(
        "SELECT master_key_id, check_sealed, retired_at IS NULL AS \"in_use!\" FROM master_key_check"
    )
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        match keyring.master(&row.master_key_id) {
            Some(master) => match master.cipher().open(&Place::master_check(), &row.check_sealed) {
                Ok(text) if text == CHECK_TEXT => {}
                Ok(_) | Err(SealError::Tampered { .. } | SealError::Form { .. }) => {
                    return Err(StoreError::WrongMasterKey {
                        id: row.master_key_id.clone(),
                    });
                }
                Err(error) => return Err(error.into()),
            },
            None if row.in_use => {
                return Err(StoreError::MissingMasterKey {
                    id: row.master_key_id.clone(),
                });
            }
            None => {}
        }
    }
    let active = keyring.active();
    if !rows
        .iter()
        .any(|row| row.in_use && row.master_key_id == active.id())
    {
        let sealed = active.cipher().seal(&Place::master_check(), CHECK_TEXT)?;
        sqlx::query!(
            "INSERT INTO master_key_check (master_key_id, check_sealed, created_at) VALUES ($1, $2, $3)
             ON CONFLICT (master_key_id) DO UPDATE SET retired_at = NULL",
            active.id(),
            sealed,
            now.to_sqlx() as _,
        )
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(())
}

impl Keyring {
    /// Re-wraps every tenant key with the active master key. Safe while nodes run that know both keys, and safe to start
    /// again after a crash: each batch is one transaction, and what is done stays done. Wants the workers' pool.
    pub async fn rotate_master_key(&self, conn: &mut PgConnection, now: Timestamp) -> Result<Rotation> {
        let mut rotation = Rotation::default();
        loop {
            let done = self.rewrap_batch(conn, now).await?;
            rotation.rewrapped += done;
            if done == 0 {
                break;
            }
        }
        let retired = sqlx::query!(
            "UPDATE master_key_check SET retired_at = $2
             WHERE master_key_id <> $1 AND retired_at IS NULL
               AND NOT EXISTS (SELECT FROM tenant_keys k WHERE k.master_key_id = master_key_check.master_key_id)",
            self.active().id(),
            now.to_sqlx() as _,
        )
        .execute(conn)
        .await?;
        rotation.retired = retired.rows_affected();
        Ok(rotation)
    }

    /// One batch; 0 when nothing is left.
    async fn rewrap_batch(&self, conn: &mut PgConnection, now: Timestamp) -> Result<u64> {
        let active = self.active();
        let mut tx = conn.begin().await?;
        let rows = sqlx::query!(
            "SELECT tenant_id, number, master_key_id, wrapped FROM tenant_keys
             WHERE master_key_id <> $1 ORDER BY tenant_id, number LIMIT $2 FOR UPDATE",
            active.id(),
            BATCH,
        )
        .fetch_all(&mut *tx)
        .await?;
        let (mut tenants, mut numbers, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
        for row in &rows {
            let place = Place::wrapped_tenant_key(TenantId(row.tenant_id));
            let old = self
                .master(&row.master_key_id)
                .ok_or_else(|| StoreError::MissingMasterKey {
                    id: row.master_key_id.clone(),
                })?;
            let bytes = old.cipher().unwrap_key(&place, &row.wrapped)?;
            tenants.push(row.tenant_id);
            numbers.push(row.number);
            fresh.push(active.cipher().seal(&place, bytes.as_slice())?);
        }
        sqlx::query!(
            "UPDATE tenant_keys k SET wrapped = fresh.wrapped, master_key_id = $4, wrapped_at = $5
             FROM unnest($1::uuid[], $2::int[], $3::bytea[]) AS fresh (tenant_id, number, wrapped)
             WHERE k.tenant_id = fresh.tenant_id AND k.number = fresh.number",
            &tenants,
            &numbers,
            &fresh,
            active.id(),
            now.to_sqlx() as _,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(rows.len() as u64)
    }
}
