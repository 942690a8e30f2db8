//! Which of Meta's users are which contacts. A user may hide the phone number; then the business-scoped id is all there is.

use crate::{BlindIndex, Result, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use tidings_core::ContactId;

/// The most user ids of one contact that are looked at.
const MOST_OF_A_CONTACT: i64 = 100;

/// The keyed hash a user id is found by: the same that an inbound message from it is kept under.
pub async fn index(tx: &mut TenantTx, user_id: &str) -> Result<BlindIndex> {
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let key = keyring.tenant_key(tx, tenant).await?;
    Ok(key.blind_index_of_malformed("sender", user_id))
}

/// The contact a user was last seen to be.
pub async fn contact(tx: &mut TenantTx, user: BlindIndex) -> Result<Option<ContactId>> {
    let found = sqlx::query_scalar!(
        "SELECT contact_id FROM whatsapp_users WHERE tenant_id = $1 AND user_index = $2",
        tx.tenant().0,
        user.as_bytes().as_slice(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.map(ContactId))
}

/// Notes which contact a user is; true when that was not known before. An erased contact is nobody any more.
pub async fn link(tx: &mut TenantTx, user: BlindIndex, contact: ContactId, now: Timestamp) -> Result<bool> {
    let done = sqlx::query!(
        "INSERT INTO whatsapp_users AS u (tenant_id, user_index, contact_id, seen_at)
         SELECT c.tenant_id, $2, c.id, $4 FROM contacts c
         WHERE c.tenant_id = $1 AND c.id = $3 AND c.erased_at IS NULL
         ON CONFLICT (tenant_id, user_index) DO UPDATE SET contact_id = EXCLUDED.contact_id, seen_at = EXCLUDED.seen_at
         WHERE u.contact_id <> EXCLUDED.contact_id",
        tx.tenant().0,
        user.as_bytes().as_slice(),
        contact.0,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The user ids, hashed, that a contact was seen under.
pub async fn of_contact(tx: &mut TenantTx, contact: ContactId) -> Result<Vec<BlindIndex>> {
    let rows = sqlx::query_scalar!(
        "SELECT user_index FROM whatsapp_users WHERE tenant_id = $1 AND contact_id = $2 ORDER BY user_index LIMIT $3",
        tx.tenant().0,
        contact.0,
        MOST_OF_A_CONTACT,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(|index| BlindIndex::from_column(index)).collect()
}

/// Waits until nobody else is deciding about one of these users, and keeps others waiting until the transaction ends. What a
/// user refuses and who the user is come in different webhooks at the same time: without it each would miss the other.
pub async fn lock(tx: &mut TenantTx, users: &[BlindIndex]) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let key = |index: &BlindIndex| {
        let (head, _) = index.0.split_first_chunk::<8>()?;
        Some(i64::from_be_bytes(*head))
    };
    let keys: Vec<i64> = users.iter().filter_map(key).collect();
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(key) FROM (SELECT DISTINCT key FROM unnest($1::bigint[]) AS key ORDER BY key) AS keys",
        &keys,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(())
}
