//! Erasing a contact: its key is destroyed, so what was sealed with it is unreadable everywhere, replicas and backups included;
//! then what can be removed is removed. What must stay, stays without a person in it: the row as a tombstone, the consent
//! ledger as evidence, and suppressions of the addresses by blind index, so that a re-import writes to nobody.

use crate::audit::{self, AuditEntry, AuditHead};
use crate::contacts::{self, AddressKind};
use crate::suppressions::{self, NewSuppression};
use crate::{BlindIndex, Result, StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::Serialize;
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::{ContactId, Dice, TenantId};

/// What was done, for the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErasureCertificate {
    /// Of which tenant.
    pub tenant: TenantId,
    /// Which contact.
    pub contact: ContactId,
    /// When.
    pub erased_at: Timestamp,
    /// What was done, store by store.
    pub stores: Vec<ErasedStore>,
    /// The entry of the audit log that records it.
    pub audit: AuditHead,
}

/// What was done in one store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErasedStore {
    /// Which.
    pub store: &'static str,
    /// What happened there.
    pub action: &'static str,
    /// To how many rows.
    pub rows: u64,
}

/// Erases a contact. The transaction must be committed by the caller, who then calls [`forget`].
///
/// # Errors
/// When the contact is unknown, or erased already.
pub async fn erase(
    tx: &mut TenantTx,
    contact: ContactId,
    actor: &str,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<ErasureCertificate> {
    // The dispatch gate takes the same lock: nothing is sent to the contact from here on.
    contacts::lock(tx, contact).await?;
    let keys = destroy_key(tx, contact, now).await?;
    let held = own_addresses(tx, contact).await?;
    let suppressed = suppress(tx, &held, dice, now).await?;
    let contents = count_contents(tx, contact).await?;
    let received = remove_received(tx, contact, &held).await?;
    let captured = remove_captured(tx, &held).await?;
    let users = remove_users(tx, contact).await?;
    let addresses = remove_addresses(tx, contact).await?;
    let rows = blank(tx, contact, now).await?;
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let entry = AuditEntry {
        tenant,
        actor: actor.to_owned(),
        action: "contact.erase".to_owned(),
        object: format!("contact {contact}"),
        contact: None,
        detail: None,
    };
    let audit = audit::append(tx, &keyring, entry, now).await?;
    let store = |store, action, rows| ErasedStore { store, action, rows };
    let stores = vec![
        store(
            "contact_keys",
            "destroyed: whatever was sealed for the contact cannot be read, in any copy or backup",
            keys,
        ),
        store(
            "contacts",
            "emptied; the row stays as a mark that the contact was erased",
            rows,
        ),
        store("addresses", "deleted", addresses),
        store(
            "suppressions",
            "entered by keyed hash, so that a re-import writes to nobody",
            suppressed,
        ),
        store(
            "message_contents",
            "unreadable without the key; deleted by retention",
            contents,
        ),
        store("inbound_messages", "deleted", received),
        store("sandbox_messages", "deleted", captured),
        store("whatsapp_users", "deleted", users),
        store("consents", "kept as evidence, without address or name", 0),
    ];
    Ok(ErasureCertificate {
        tenant,
        contact,
        erased_at: now,
        stores,
        audit,
    })
}

/// Drops the key from this process's cache, after the commit. Other nodes forget it within a minute.
pub async fn forget(keyring: &crate::Keyring, certificate: &ErasureCertificate) {
    keyring
        .forget_contact(certificate.tenant, certificate.contact)
        .await;
}

/// A contact without a key gets a destroyed one, so that none can be made later.
async fn destroy_key(tx: &mut TenantTx, contact: ContactId, now: Timestamp) -> Result<u64> {
    let done = sqlx::query!(
        "INSERT INTO contact_keys (tenant_id, contact_id, wrapped, created_at, destroyed_at) VALUES ($1, $2, NULL, $3, $3)
         ON CONFLICT (tenant_id, contact_id) DO UPDATE SET wrapped = NULL, destroyed_at = EXCLUDED.destroyed_at",
        tx.tenant().0,
        contact.0,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}

/// An address of the contact that no other contact has: another person's mail must not stop.
struct OwnAddress {
    kind: AddressKind,
    blind_index: BlindIndex,
}

async fn own_addresses(tx: &mut TenantTx, contact: ContactId) -> Result<Vec<OwnAddress>> {
    let rows = sqlx::query!(
        "SELECT a.kind, a.blind_index FROM addresses a
         WHERE a.tenant_id = $1 AND a.contact_id = $2
           AND NOT EXISTS (SELECT FROM addresses o WHERE o.tenant_id = $1 AND o.blind_index = a.blind_index
                                                     AND o.contact_id <> $2)",
        tx.tenant().0,
        contact.0,
    )
    .fetch_all(&mut **tx)
    .await?;
    let read = |kind: String, index: Vec<u8>| -> Result<OwnAddress> {
        Ok(OwnAddress {
            kind: crate::columns::word("addresses.kind", &kind)?,
            blind_index: BlindIndex::from_column(&index)?,
        })
    };
    rows.into_iter()
        .map(|row| read(row.kind, row.blind_index))
        .collect()
}

async fn suppress(tx: &mut TenantTx, held: &[OwnAddress], dice: &mut Dice, now: Timestamp) -> Result<u64> {
    let tenant = tx.tenant();
    let mut items = Vec::new();
    for address in held {
        items.extend(address.kind.channels().map(|channel| NewSuppression {
            tenant,
            channel,
            blind_index: address.blind_index,
            reason: SuppressionReason::Erased,
            source: "erasure".to_owned(),
            detail: None,
        }));
    }
    suppressions::add(tx, &items, dice, now).await
}

async fn count_contents(tx: &mut TenantTx, contact: ContactId) -> Result<u64> {
    let count = sqlx::query_scalar!(
        "SELECT count(*) AS \"count!\" FROM message_contents c
         JOIN messages m ON m.tenant_id = c.tenant_id AND m.id = c.message_id
         WHERE m.tenant_id = $1 AND m.contact_id = $2",
        tx.tenant().0,
        contact.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(count.unsigned_abs())
}

/// What the contact wrote; also what came from its addresses before it was known whose they are (sealed with the tenant's key).
async fn remove_received(tx: &mut TenantTx, contact: ContactId, held: &[OwnAddress]) -> Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM inbound_messages
         WHERE tenant_id = $1 AND (contact_id = $2 OR contact_id IS NULL AND (from_index = ANY ($3) OR from_index IN (
             SELECT user_index FROM whatsapp_users WHERE tenant_id = $1 AND contact_id = $2)))",
        tx.tenant().0,
        contact.0,
        &indexes(held),
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}

/// What the sandbox captured on its way to the contact.
async fn remove_captured(tx: &mut TenantTx, held: &[OwnAddress]) -> Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM sandbox_messages WHERE tenant_id = $1 AND recipient_index = ANY ($2)",
        tx.tenant().0,
        &indexes(held),
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}

fn indexes(held: &[OwnAddress]) -> Vec<Vec<u8>> {
    held.iter()
        .map(|address| address.blind_index.0.to_vec())
        .collect()
}

/// Which of WhatsApp's users the contact was.
async fn remove_users(tx: &mut TenantTx, contact: ContactId) -> Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM whatsapp_users WHERE tenant_id = $1 AND contact_id = $2",
        tx.tenant().0,
        contact.0
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}

async fn remove_addresses(tx: &mut TenantTx, contact: ContactId) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "DELETE FROM addresses WHERE tenant_id = $1 AND contact_id = $2",
        tx.tenant().0,
        contact.0
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}

async fn blank(tx: &mut TenantTx, contact: ContactId, now: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "UPDATE contacts SET external_id = NULL, name_sealed = NULL, attributes_sealed = NULL, zone = NULL, locale = NULL,
                country = NULL, preferred_channels = '{}', quiet_hours = '[]', paused_until = NULL,
                last_whatsapp_inbound_at = NULL, erased_at = $3, updated_at = $3
         WHERE tenant_id = $1 AND id = $2",
        tx.tenant().0,
        contact.0,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected())
}
