//! Addresses of a contact: adding, removing, choosing the primary one, and what providers say of them.

use super::upsert::{AddressRows, Upserted};
use super::{ADDRESSES_PER_CONTACT, AddressInput, AddressKind, lock};
use crate::columns::{Page, check_length, rows_for, word};
use crate::{BlindIndex, Result, StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use tidings_core::{AddressId, Channel, ContactId, Dice, TenantId, soft_bounce};
use uuid::Uuid;

/// An address that cannot be used as it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AddressToMend {
    /// The address.
    pub id: AddressId,
    /// Whose.
    pub contact: ContactId,
    /// Its family.
    pub kind: AddressKind,
    /// Why: malformed, or a provider's word.
    pub why: String,
}

/// Adds an address; the first of its kind becomes the primary one. Adding a known one again changes nothing, except that it
/// becomes primary when asked.
pub async fn add_address(
    tx: &mut TenantTx,
    contact: ContactId,
    input: AddressInput,
    default_region: Option<&str>,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<()> {
    lock(tx, contact).await?;
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let count = sqlx::query_scalar!(
        "SELECT count(*) AS \"count!\" FROM addresses WHERE tenant_id = $1 AND contact_id = $2",
        tenant.0,
        contact.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    if usize::try_from(count).is_ok_and(|count| count >= ADDRESSES_PER_CONTACT) {
        return Err(StoreError::invalid(
            "addresses",
            format!("at most {ADDRESSES_PER_CONTACT} for one contact"),
        ));
    }
    let address = input.read(&keyring.tenant_key(tx, tenant).await?, default_region)?;
    let keys = keyring.contact_keys(tx, &[(tenant, contact)], now).await?;
    let mut rows = AddressRows::default();
    let known = Upserted {
        id: contact,
        created: false,
    };
    rows.push(
        tenant,
        known,
        keys.get(tenant, contact)?,
        vec![address],
        dice,
        now,
    )?;
    rows.write(tx, now).await
}

/// Removes an address; another of its kind takes its place when it was the primary one.
pub async fn remove_address(
    tx: &mut TenantTx,
    contact: ContactId,
    address: AddressId,
    now: Timestamp,
) -> Result<()> {
    lock(tx, contact).await?;
    let removed = sqlx::query!(
        "DELETE FROM addresses WHERE tenant_id = $1 AND contact_id = $2 AND id = $3",
        tx.tenant().0,
        contact.0,
        address.0,
    )
    .execute(&mut **tx)
    .await?;
    if removed.rows_affected() == 0 {
        return Err(StoreError::not_found("address", address));
    }
    let tenant = tx.tenant().0;
    fill_primaries(tx, (&[tenant], &[contact.0]), now).await
}

/// Makes an address the one to use first of its kind.
pub async fn make_primary(
    tx: &mut TenantTx,
    contact: ContactId,
    address: AddressId,
    now: Timestamp,
) -> Result<()> {
    lock(tx, contact).await?;
    let index = sqlx::query_scalar!(
        "SELECT blind_index FROM addresses WHERE tenant_id = $1 AND contact_id = $2 AND id = $3",
        tx.tenant().0,
        contact.0,
        address.0,
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or_else(|| StoreError::not_found("address", address))?;
    let tenant = tx.tenant().0;
    promote(tx, (&[tenant], &[contact.0]), &[index], now).await
}

/// Addresses that are malformed or known bad, for follow-up.
pub async fn to_mend(
    tx: &mut TenantTx,
    after: Option<AddressId>,
    limit: u32,
) -> Result<Page<AddressToMend, AddressId>> {
    let rows = sqlx::query!(
        "SELECT id, contact_id, kind, known_bad FROM addresses
         WHERE tenant_id = $1 AND (NOT valid OR known_bad IS NOT NULL) AND ($2::uuid IS NULL OR id > $2)
         ORDER BY id LIMIT $3",
        tx.tenant().0,
        after.map(|id| id.0),
        rows_for(limit),
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(AddressToMend {
            id: AddressId(row.id),
            contact: ContactId(row.contact_id),
            kind: word("addresses.kind", &row.kind)?,
            why: row.known_bad.unwrap_or_else(|| "malformed".to_owned()),
        });
    }
    Ok(Page::from_rows(items, limit, |item| item.id))
}

/// Marks an address as bad wherever the tenant has it; `why` is a short code of the provider, never the address.
/// Returns how many entries were marked.
pub async fn mark_known_bad(
    conn: &mut PgConnection,
    tenant: TenantId,
    address: BlindIndex,
    why: &str,
    now: Timestamp,
) -> Result<u64> {
    check_length("known_bad", why, 64)?;
    let marked = sqlx::query!(
        "UPDATE addresses SET known_bad = $3, known_bad_at = $4, updated_at = $4
         WHERE tenant_id = $1 AND blind_index = $2 AND known_bad IS NULL",
        tenant.0,
        address.as_bytes().as_slice(),
        why,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(marked.rows_affected())
}

/// What is known of an address's soft bounces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoftBounces {
    /// When they were, as far as they are kept (`tidings_core::soft_bounce::kept`).
    pub at: Vec<Timestamp>,
    /// When a message last arrived at a contact that has the address.
    pub delivered_at: Option<Timestamp>,
}

/// Notes a soft bounce wherever the tenant has the address, whose contacts are locked already, and says what is known of it now. What follows is a rule
/// (`tidings_core::soft_bounce`).
pub async fn note_soft_bounce(
    tx: &mut TenantTx,
    channel: Channel,
    address: BlindIndex,
    bounced_at: Timestamp,
    now: Timestamp,
) -> Result<SoftBounces> {
    let tenant = tx.tenant();
    let rows = sqlx::query!(
        r#"SELECT a.soft_bounced_at AS "soft_bounced_at: Vec<jiff_sqlx::Timestamp>",
               (SELECT max(m.delivered_at) FROM (
                    SELECT y.delivered_at FROM messages y
                    JOIN deliveries d ON d.tenant_id = y.tenant_id AND d.message_id = y.id AND d.channel = $3
                    WHERE y.tenant_id = a.tenant_id AND y.contact_id = a.contact_id AND d.state = 'delivered'
                    ORDER BY y.id DESC LIMIT 200) m) AS delivered_at
           FROM addresses a WHERE a.tenant_id = $1 AND a.blind_index = $2
           ORDER BY a.id LIMIT 100 FOR UPDATE OF a"#,
        tenant.0,
        address.as_bytes().as_slice(),
        channel.as_str(),
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut known = SoftBounces::default();
    for row in rows {
        known
            .at
            .extend(row.soft_bounced_at.into_iter().map(jiff_sqlx::Timestamp::to_jiff));
        known.delivered_at = known
            .delivered_at
            .max(row.delivered_at.map(jiff_sqlx::Timestamp::to_jiff));
    }
    known.at.push(bounced_at);
    known.at = soft_bounce::kept(std::mem::take(&mut known.at));
    let times: Vec<_> = known.at.iter().map(|at| at.to_sqlx()).collect();
    sqlx::query!(
        "UPDATE addresses SET soft_bounced_at = $3, last_soft_bounce_at = $4, soft_bounces = cardinality($3::timestamptz[]),
                updated_at = $5
         WHERE tenant_id = $1 AND blind_index = $2",
        tenant.0,
        address.as_bytes().as_slice(),
        &times as _,
        known.at.last().map(|at| at.to_sqlx()) as _,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(known)
}

/// Makes the given addresses primary, the others of their kind not.
pub(super) async fn promote(
    conn: &mut PgConnection,
    (tenants, contacts): (&[Uuid], &[Uuid]),
    indexes: &[Vec<u8>],
    now: Timestamp,
) -> Result<()> {
    if contacts.is_empty() {
        return Ok(());
    }
    // Two statements: a contact never has two primary addresses of a kind, not even for a moment.
    sqlx::query!(
        "UPDATE addresses a SET is_primary = false, updated_at = $4
         FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS wanted (tenant_id, contact_id, blind_index)
         JOIN addresses leader ON leader.tenant_id = wanted.tenant_id AND leader.contact_id = wanted.contact_id
                              AND leader.blind_index = wanted.blind_index
         WHERE a.tenant_id = leader.tenant_id AND a.contact_id = leader.contact_id AND a.kind = leader.kind
           AND a.is_primary AND a.id <> leader.id",
        tenants,
        contacts,
        indexes,
        now.to_sqlx() as _,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE addresses a SET is_primary = true, updated_at = $4
         FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS wanted (tenant_id, contact_id, blind_index)
         WHERE a.tenant_id = wanted.tenant_id AND a.contact_id = wanted.contact_id
           AND a.blind_index = wanted.blind_index AND NOT a.is_primary",
        tenants,
        contacts,
        indexes,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Where a contact has addresses of a kind but no primary one, the oldest usable becomes it.
pub(super) async fn fill_primaries(
    conn: &mut PgConnection,
    (tenants, contacts): (&[Uuid], &[Uuid]),
    now: Timestamp,
) -> Result<()> {
    sqlx::query!(
        "UPDATE addresses a SET is_primary = true, updated_at = $3
         FROM (SELECT DISTINCT ON (c.tenant_id, c.contact_id, c.kind) c.tenant_id, c.id
               FROM unnest($1::uuid[], $2::uuid[]) AS known (tenant_id, contact_id)
               JOIN addresses c ON c.tenant_id = known.tenant_id AND c.contact_id = known.contact_id
               WHERE NOT EXISTS (SELECT FROM addresses p WHERE p.tenant_id = c.tenant_id AND p.contact_id = c.contact_id
                                                           AND p.kind = c.kind AND p.is_primary)
               ORDER BY c.tenant_id, c.contact_id, c.kind, c.valid DESC, c.known_bad IS NOT NULL, c.created_at, c.id) AS leader
         WHERE a.tenant_id = leader.tenant_id AND a.id = leader.id",
        tenants,
        contacts,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}
