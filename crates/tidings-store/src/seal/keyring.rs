//! Loads, makes and caches keys.
//!
//! A key is cached only when the row it came from was committed by another transaction: one made in a transaction that is
//! rolled back later must not live on, or what it seals could never be opened. Caches are bounded and forget: tenant keys after
//! five minutes, contact keys after one, which bounds how long another node can read an erased contact.

use super::cipher::random_key;
use super::{ContactKey, MasterKey, Place, SealError, TenantKey};
use crate::{Result, StoreError};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use moka::future::Cache;
use sqlx::PgConnection;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tidings_core::{ContactId, TenantId};
use uuid::Uuid;

const TENANT_KEYS_CACHED: u64 = 10_000;
const CONTACT_KEYS_CACHED: u64 = 16_384;
const TENANT_KEY_TTL: Duration = Duration::from_mins(5);
const CONTACT_KEY_TTL: Duration = Duration::from_mins(1);

/// A tenant's only key number today; a second one would come with rotation of tenant keys.
const TENANT_KEY_NUMBER: i32 = 1;

/// Master keys, and caches of the keys below them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keyring(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The active one first.
    masters: Vec<MasterKey>,
    tenants: Cache<TenantId, TenantKey>,
    contacts: Cache<(TenantId, ContactId), ContactKey>,
}

/// Keys of a batch of contacts.
#[derive(Debug, Default)]
pub struct ContactKeys(HashMap<(TenantId, ContactId), Option<ContactKey>>);

impl ContactKeys {
    /// The key of a contact.
    ///
    /// # Errors
    /// [`SealError::Erased`] when it was destroyed, [`SealError::NoKey`] when there was none to load.
    pub fn get(&self, tenant: TenantId, contact: ContactId) -> Result<&ContactKey, SealError> {
        match self.0.get(&(tenant, contact)) {
            Some(Some(key)) => Ok(key),
            Some(None) => Err(SealError::Erased(contact)),
            None => Err(SealError::NoKey(contact)),
        }
    }
}

impl Keyring {
    /// The active master key first; the others open what they sealed until it is rotated.
    ///
    /// # Errors
    /// When there is none, or two have the same id.
    pub fn new(masters: Vec<MasterKey>) -> Result<Self, SealError> {
        let ids: BTreeSet<&str> = masters.iter().map(MasterKey::id).collect();
        if ids.len() != masters.len() || masters.is_empty() {
            let id = masters.first().map_or("", MasterKey::id).to_owned();
            return Err(SealError::MasterKey {
                id,
                problem: "is missing or configured twice; configure each once",
            });
        }
        let tenants = Cache::builder()
            .max_capacity(TENANT_KEYS_CACHED)
            .time_to_live(TENANT_KEY_TTL)
            .build();
        let contacts = Cache::builder()
            .max_capacity(CONTACT_KEYS_CACHED)
            .time_to_live(CONTACT_KEY_TTL)
            .build();
        Ok(Self(Arc::new(Inner {
            masters,
            tenants,
            contacts,
        })))
    }

    /// A keyring with one random master key, for tests and measurements.
    pub fn random() -> Result<Self, SealError> {
        Self::new(vec![MasterKey::generate("random")?.0])
    }

    pub(crate) fn active(&self) -> &MasterKey {
        // `new` refuses an empty list.
        &self.0.masters[0]
    }

    pub(crate) fn master(&self, id: &str) -> Option<&MasterKey> {
        self.0.masters.iter().find(|master| master.id() == id)
    }

    /// Makes the key of a new tenant, in the transaction that inserts the tenant.
    pub(crate) async fn create_tenant_key(
        &self,
        conn: &mut PgConnection,
        tenant: TenantId,
        now: Timestamp,
    ) -> Result<()> {
        let master = self.active();
        let wrapped = master
            .cipher()
            .seal(&Place::wrapped_tenant_key(tenant), random_key()?.as_slice())?;
        sqlx::query!(
            "INSERT INTO tenant_keys (tenant_id, number, master_key_id, wrapped, created_at, wrapped_at)
             VALUES ($1, $2, $3, $4, $5, $5)",
            tenant.0,
            TENANT_KEY_NUMBER,
            master.id(),
            wrapped,
            now.to_sqlx() as _,
        )
        .execute(conn)
        .await?;
        Ok(())
    }

    /// The key of one tenant.
    pub async fn tenant_key(&self, conn: &mut PgConnection, tenant: TenantId) -> Result<TenantKey> {
        if let Some(key) = self.0.tenants.get(&tenant).await {
            return Ok(key);
        }
        let mut keys = self.tenant_keys(conn, &[tenant]).await?;
        keys.remove(&tenant)
            .ok_or_else(|| StoreError::not_found("tenant", tenant))
    }

    /// The keys of many tenants, in at most one query.
    ///
    /// # Errors
    /// When a tenant is unknown, its master key is not configured, or its key does not open.
    pub async fn tenant_keys(
        &self,
        conn: &mut PgConnection,
        tenants: &[TenantId],
    ) -> Result<HashMap<TenantId, TenantKey>> {
        let mut found = HashMap::with_capacity(tenants.len().min(64));
        let mut missing = BTreeSet::new();
        for tenant in tenants.iter().copied().collect::<BTreeSet<_>>() {
            match self.0.tenants.get(&tenant).await {
                Some(key) => drop(found.insert(tenant, key)),
                None => drop(missing.insert(tenant.0)),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let wanted: Vec<Uuid> = missing.iter().copied().collect();
        let rows = sqlx::query!(
            r#"SELECT tenant_id, number, master_key_id, wrapped,
                      age(xmin) > age(pg_snapshot_xmin(pg_current_snapshot())::xid) AS "settled!"
               FROM tenant_keys WHERE tenant_id = ANY ($1) AND number = $2"#,
            &wanted,
            TENANT_KEY_NUMBER,
        )
        .fetch_all(conn)
        .await?;
        for row in rows {
            let tenant = TenantId(row.tenant_id);
            let master = self
                .master(&row.master_key_id)
                .ok_or_else(|| StoreError::MissingMasterKey {
                    id: row.master_key_id.clone(),
                })?;
            let bytes = master
                .cipher()
                .unwrap_key(&Place::wrapped_tenant_key(tenant), &row.wrapped)?;
            let key = TenantKey::new(tenant, &bytes, row.number.unsigned_abs())?;
            if row.settled {
                self.0.tenants.insert(tenant, key.clone()).await;
            }
            missing.remove(&row.tenant_id);
            found.insert(tenant, key);
        }
        match missing.first() {
            Some(unknown) => Err(StoreError::not_found("tenant", unknown)),
            None => Ok(found),
        }
    }

    /// The keys of a batch of contacts; made for those that have none yet. At most one query when all exist.
    ///
    /// The contacts must exist (a foreign key says so).
    pub async fn contact_keys(
        &self,
        conn: &mut PgConnection,
        contacts: &[(TenantId, ContactId)],
        now: Timestamp,
    ) -> Result<ContactKeys> {
        let mut keys = self.existing_contact_keys(conn, contacts).await?;
        let missing: BTreeSet<_> = contacts
            .iter()
            .copied()
            .filter(|pair| !keys.0.contains_key(pair))
            .collect();
        if missing.is_empty() {
            return Ok(keys);
        }
        let missing: Vec<_> = missing.into_iter().collect();
        self.make_contact_keys(conn, &missing, now).await?;
        // Another transaction may have been faster: its key counts.
        let made = self.existing_contact_keys(conn, &missing).await?;
        keys.0.extend(made.0);
        Ok(keys)
    }

    /// The keys of those of a batch of contacts that have one. Reads only.
    pub async fn existing_contact_keys(
        &self,
        conn: &mut PgConnection,
        contacts: &[(TenantId, ContactId)],
    ) -> Result<ContactKeys> {
        let mut keys = ContactKeys(HashMap::with_capacity(contacts.len()));
        let (mut tenants, mut ids) = (Vec::new(), Vec::new());
        for pair in contacts {
            if keys.0.contains_key(pair) {
                continue;
            }
            if let Some(key) = self.0.contacts.get(pair).await {
                keys.0.insert(*pair, Some(key));
            } else {
                tenants.push(pair.0.0);
                ids.push(pair.1.0);
            }
        }
        if ids.is_empty() {
            return Ok(keys);
        }
        let rows = sqlx::query!(
            r#"SELECT k.tenant_id, k.contact_id, k.wrapped,
                      age(k.xmin) > age(pg_snapshot_xmin(pg_current_snapshot())::xid) AS "settled!"
               FROM unnest($1::uuid[], $2::uuid[]) AS wanted (tenant_id, contact_id)
               JOIN contact_keys k ON k.tenant_id = wanted.tenant_id AND k.contact_id = wanted.contact_id"#,
            &tenants,
            &ids,
        )
        .fetch_all(&mut *conn)
        .await?;
        let owners: Vec<TenantId> = rows.iter().map(|row| TenantId(row.tenant_id)).collect();
        let owners = self.tenant_keys(conn, &owners).await?;
        for row in rows {
            let (tenant, contact) = (TenantId(row.tenant_id), ContactId(row.contact_id));
            let key = match row.wrapped {
                None => None,
                Some(wrapped) => Some(unwrap_contact_key(&owners[&tenant], contact, &wrapped)?),
            };
            if let (Some(key), true) = (&key, row.settled) {
                self.0.contacts.insert((tenant, contact), key.clone()).await;
            }
            keys.0.insert((tenant, contact), key);
        }
        Ok(keys)
    }

    /// Forgets a contact's key in this process, after erasure.
    pub async fn forget_contact(&self, tenant: TenantId, contact: ContactId) {
        self.0.contacts.invalidate(&(tenant, contact)).await;
    }

    /// In order of id, so that two batches do not wait for each other.
    async fn make_contact_keys(
        &self,
        conn: &mut PgConnection,
        missing: &[(TenantId, ContactId)],
        now: Timestamp,
    ) -> Result<()> {
        let tenants: Vec<TenantId> = missing.iter().map(|pair| pair.0).collect();
        let owners = self.tenant_keys(conn, &tenants).await?;
        let mut wrapped = Vec::with_capacity(missing.len());
        for (tenant, contact) in missing {
            let place = Place::wrapped_contact_key(*tenant, *contact);
            wrapped.push(owners[tenant].wrap().seal(&place, random_key()?.as_slice())?);
        }
        let tenants: Vec<Uuid> = tenants.into_iter().map(|tenant| tenant.0).collect();
        let contacts: Vec<Uuid> = missing.iter().map(|pair| pair.1.0).collect();
        sqlx::query!(
            "INSERT INTO contact_keys (tenant_id, contact_id, wrapped, created_at)
             SELECT tenant_id, contact_id, wrapped, $4
             FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS fresh (tenant_id, contact_id, wrapped)
             ON CONFLICT (tenant_id, contact_id) DO NOTHING",
            &tenants,
            &contacts,
            &wrapped,
            now.to_sqlx() as _,
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}

fn unwrap_contact_key(
    owner: &TenantKey,
    contact: ContactId,
    wrapped: &[u8],
) -> Result<ContactKey, SealError> {
    let place = Place::wrapped_contact_key(owner.tenant(), contact);
    ContactKey::new(&owner.wrap().unwrap_key(&place, wrapped)?)
}
