//! Addresses that must not be written to, by blind index: they outlive the contact and stop a re-import.

use crate::columns::{Page, check_length, rows_for, word};
use crate::{BlindIndex, Result, StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::Serialize;
use sqlx::PgConnection;
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::{Channel, ContactId, Dice, SuppressionId, TenantId};
use uuid::Uuid;

/// A suppression to be entered.
#[derive(Clone, Debug)]
pub struct NewSuppression {
    /// Of which tenant.
    pub tenant: TenantId,
    /// On which channel.
    pub channel: Channel,
    /// Which address.
    pub blind_index: BlindIndex,
    /// Why.
    pub reason: SuppressionReason,
    /// Who says so: a connection, a page, a person; at most 200 characters.
    pub source: String,
    /// A short code (`5.1.1`, `30005`). Anything that could hold an address is dropped, not stored.
    pub detail: Option<String>,
}

/// A suppression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suppression {
    /// Its id.
    pub id: SuppressionId,
    /// On which channel.
    pub channel: Channel,
    /// Which address.
    #[serde(skip)]
    pub blind_index: BlindIndex,
    /// Why.
    pub reason: SuppressionReason,
    /// Who said so.
    pub source: String,
    /// A short code.
    pub detail: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// When it ends by itself; none where it stays until it is lifted.
    pub expires_at: Option<Timestamp>,
    /// Until when; none while in force.
    pub lifted_at: Option<Timestamp>,
    /// Who lifted it.
    pub lifted_by: Option<String>,
    /// Contacts that have the address, at most ten.
    pub contacts: Vec<ContactId>,
}

/// A suppression in force on one of the addresses asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Of which tenant.
    pub tenant: TenantId,
    /// Which address.
    pub blind_index: BlindIndex,
    /// On which channel.
    pub channel: Channel,
    /// Why.
    pub reason: SuppressionReason,
    /// Since when.
    pub since: Timestamp,
}

/// Which suppressions to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct SuppressionFilter {
    /// Of this channel.
    pub channel: Option<Channel>,
    /// For this reason.
    pub reason: Option<SuppressionReason>,
    /// On this address.
    pub address: Option<BlindIndex>,
    /// Lifted ones too.
    pub with_lifted: bool,
}

/// Enters suppressions and returns how many are new; one that is in force already stays as it is. First locks every contact that
/// has one of the addresses, so that no dispatch to it begins after this was committed.
pub async fn add(
    conn: &mut PgConnection,
    items: &[NewSuppression],
    dice: &mut Dice,
    now: Timestamp,
) -> Result<u64> {
    for item in items {
        check_length("source", &item.source, 200)?;
    }
    let tenants: Vec<Uuid> = items.iter().map(|item| item.tenant.0).collect();
    let indexes: Vec<Vec<u8>> = items.iter().map(|item| item.blind_index.0.to_vec()).collect();
    lock_holders(conn, &tenants, &indexes).await?;
    let ids: Vec<Uuid> = items.iter().map(|_| dice.uuid(now)).collect();
    let channels: Vec<String> = items
        .iter()
        .map(|item| item.channel.as_str().to_owned())
        .collect();
    let reasons: Vec<String> = items.iter().map(|item| item.reason.as_str().to_owned()).collect();
    let sources: Vec<String> = items.iter().map(|item| item.source.clone()).collect();
    let details: Vec<Option<String>> = items
        .iter()
        .map(|item| item.detail.as_deref().and_then(code))
        .collect();
    let done = sqlx::query!(
        "INSERT INTO suppressions (tenant_id, id, channel, blind_index, reason, source, detail, created_at)
         SELECT tenant_id, id, channel, blind_index, reason, source, detail, $8
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[])
              AS fresh (tenant_id, id, channel, blind_index, reason, source, detail)
         ORDER BY tenant_id, blind_index, channel, reason
         ON CONFLICT (tenant_id, blind_index, channel, reason) WHERE lifted_at IS NULL DO NOTHING",
        &tenants,
        &ids,
        &channels,
        &indexes,
        &reasons,
        &sources,
        &details as _,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Enters a suppression that ends by itself. One in force for the same reason is prolonged, never shortened; one whose time is
/// over counts as lifted then.
pub async fn add_until(
    tx: &mut TenantTx,
    item: NewSuppression,
    until: Timestamp,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<()> {
    let (channel, index, reason) = (item.channel, item.blind_index, item.reason);
    lock_holders(&mut *tx, &[item.tenant.0], &[index.0.to_vec()]).await?;
    sqlx::query!(
        "UPDATE suppressions SET lifted_at = expires_at, lifted_by = $6
         WHERE tenant_id = $1 AND blind_index = $2 AND channel = $3 AND reason = $4 AND lifted_at IS NULL AND expires_at <= $5",
        item.tenant.0,
        index.as_bytes().as_slice(),
        channel.as_str(),
        reason.as_str(),
        now.to_sqlx() as _,
        TIME_OVER,
    )
    .execute(&mut **tx)
    .await?;
    let tenant = item.tenant;
    let fresh = add(&mut *tx, &[item], dice, now).await? == 1;
    sqlx::query!(
        "UPDATE suppressions SET expires_at = CASE WHEN $6 THEN $5 ELSE greatest(expires_at, $5) END
         WHERE tenant_id = $1 AND blind_index = $2 AND channel = $3 AND reason = $4 AND lifted_at IS NULL
           AND ($6 OR expires_at IS NOT NULL)",
        tenant.0,
        index.as_bytes().as_slice(),
        channel.as_str(),
        reason.as_str(),
        until.to_sqlx() as _,
        fresh,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Who lifted a suppression whose time was over.
const TIME_OVER: &str = "its time was over";

/// Lifts suppressions whose time is over, of every tenant, at most `limit`; returns how many. The rules do not wait for it.
pub async fn lift_expired(conn: &mut PgConnection, limit: i64, now: Timestamp) -> Result<u64> {
    let lifted = sqlx::query!(
        "UPDATE suppressions SET lifted_at = expires_at, lifted_by = $3
         WHERE (tenant_id, id) IN (
             SELECT tenant_id, id FROM suppressions
             WHERE lifted_at IS NULL AND expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        now.to_sqlx() as _,
        limit,
        TIME_OVER,
    )
    .execute(conn)
    .await?;
    Ok(lifted.rows_affected())
}

/// Lifts one suppression.
///
/// # Errors
/// When it is unknown or lifted already.
pub async fn lift(tx: &mut TenantTx, id: SuppressionId, by: &str, now: Timestamp) -> Result<()> {
    check_length("lifted_by", by, 200)?;
    let lifted = sqlx::query!(
        "UPDATE suppressions SET lifted_at = $3, lifted_by = $4 WHERE tenant_id = $1 AND id = $2 AND lifted_at IS NULL",
        tx.tenant().0,
        id.0,
        now.to_sqlx() as _,
        by,
    )
    .execute(&mut **tx)
    .await?;
    if lifted.rows_affected() == 0 {
        return Err(StoreError::not_found("suppression in force", id));
    }
    Ok(())
}

/// Lifts what is in force on an address and channel for one of these reasons (START, a renewed subscription); returns how many.
pub async fn lift_matching(
    tx: &mut TenantTx,
    channel: Channel,
    address: BlindIndex,
    reasons: &[SuppressionReason],
    by: &str,
    now: Timestamp,
) -> Result<u64> {
    check_length("lifted_by", by, 200)?;
    let reasons: Vec<String> = reasons.iter().map(|reason| reason.as_str().to_owned()).collect();
    let lifted = sqlx::query!(
        "UPDATE suppressions SET lifted_at = $5, lifted_by = $6
         WHERE tenant_id = $1 AND channel = $2 AND blind_index = $3 AND reason = ANY ($4) AND lifted_at IS NULL",
        tx.tenant().0,
        channel.as_str(),
        address.as_bytes().as_slice(),
        &reasons,
        now.to_sqlx() as _,
        by,
    )
    .execute(&mut **tx)
    .await?;
    Ok(lifted.rows_affected())
}

/// What is in force on any of these addresses, on every channel. One query.
pub async fn in_force(conn: &mut PgConnection, addresses: &[(TenantId, BlindIndex)]) -> Result<Vec<InForce>> {
    let tenants: Vec<Uuid> = addresses.iter().map(|pair| pair.0.0).collect();
    let indexes: Vec<Vec<u8>> = addresses.iter().map(|pair| pair.1.0.to_vec()).collect();
    let rows = sqlx::query!(
        "SELECT DISTINCT s.tenant_id, s.blind_index, s.channel, s.reason, s.created_at
         FROM unnest($1::uuid[], $2::bytea[]) AS wanted (tenant_id, blind_index)
         JOIN suppressions s ON s.tenant_id = wanted.tenant_id AND s.blind_index = wanted.blind_index
         WHERE s.lifted_at IS NULL",
        &tenants,
        &indexes,
    )
    .fetch_all(conn)
    .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        found.push(InForce {
            tenant: TenantId(row.tenant_id),
            blind_index: BlindIndex::from_column(&row.blind_index)?,
            channel: word("suppressions.channel", &row.channel)?,
            reason: word("suppressions.reason", &row.reason)?,
            since: row.created_at.to_jiff(),
        });
    }
    Ok(found)
}

/// The tenant's suppressions, newest first.
pub async fn list(
    tx: &mut TenantTx,
    filter: SuppressionFilter,
    before: Option<SuppressionId>,
    limit: u32,
) -> Result<Page<Suppression, SuppressionId>> {
    let rows = sqlx::query!(
        r#"SELECT s.id, s.channel, s.blind_index, s.reason, s.source, s.detail, s.created_at, s.expires_at, s.lifted_at, s.lifted_by,
                  ARRAY(SELECT a.contact_id FROM addresses a WHERE a.tenant_id = s.tenant_id AND a.blind_index = s.blind_index
                        ORDER BY a.contact_id LIMIT 10) AS "contacts!"
           FROM suppressions s
           WHERE s.tenant_id = $1 AND ($2::text IS NULL OR s.channel = $2) AND ($3::text IS NULL OR s.reason = $3)
             AND ($4::bytea IS NULL OR s.blind_index = $4) AND ($5 OR s.lifted_at IS NULL)
             AND ($6::uuid IS NULL OR s.id < $6)
           ORDER BY s.id DESC LIMIT $7"#,
        tx.tenant().0,
        filter.channel.map(Channel::as_str),
        filter.reason.map(SuppressionReason::as_str),
        filter.address.map(|index| index.0.to_vec()),
        filter.with_lifted,
        before.map(|id| id.0),
        rows_for(limit),
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(Suppression {
            id: SuppressionId(row.id),
            channel: word("suppressions.channel", &row.channel)?,
            blind_index: BlindIndex::from_column(&row.blind_index)?,
            reason: word("suppressions.reason", &row.reason)?,
            source: row.source,
            detail: row.detail,
            created_at: row.created_at.to_jiff(),
            expires_at: row.expires_at.map(jiff_sqlx::Timestamp::to_jiff),
            lifted_at: row.lifted_at.map(jiff_sqlx::Timestamp::to_jiff),
            lifted_by: row.lifted_by,
            contacts: row.contacts.into_iter().map(ContactId).collect(),
        });
    }
    Ok(Page::from_rows(items, limit, |item| item.id))
}

/// Locks every contact that has one of the addresses, before anything else of theirs is locked: contacts come first everywhere.
pub async fn lock_ahead(conn: &mut PgConnection, addresses: &[(TenantId, BlindIndex)]) -> Result<()> {
    if addresses.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = addresses.iter().map(|pair| pair.0.0).collect();
    let indexes: Vec<Vec<u8>> = addresses.iter().map(|pair| pair.1.0.to_vec()).collect();
    lock_holders(conn, &tenants, &indexes).await
}

/// In order of id, so that two batches do not wait for each other.
async fn lock_holders(
    conn: &mut PgConnection,
    tenants: &[Uuid],
    indexes: &[Vec<u8>],
) -> Result<(), StoreError> {
    sqlx::query!(
        "SELECT c.id FROM contacts c
         WHERE (c.tenant_id, c.id) IN (SELECT a.tenant_id, a.contact_id
                                       FROM unnest($1::uuid[], $2::bytea[]) AS wanted (tenant_id, blind_index)
                                       JOIN addresses a ON a.tenant_id = wanted.tenant_id AND a.blind_index = wanted.blind_index)
         ORDER BY c.tenant_id, c.id FOR UPDATE",
        tenants,
        indexes,
    )
    .fetch_all(conn)
    .await?;
    Ok(())
}

/// A provider's code, or nothing when the text could hold an e-mail address or a phone number.
fn code(detail: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " ._:/-".contains(c);
    let digits = detail.chars().filter(char::is_ascii_digit).count();
    let keep = !detail.is_empty() && detail.len() <= 64 && detail.chars().all(plain) && digits < 7;
    keep.then(|| detail.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_detail_holds_no_address() {
        for code in ["5.1.1", "30005", "unknown user", "552-5.2.2"] {
            assert_eq!(super::code(code).as_deref(), Some(code));
        }
        for text in [
            "550 <ann@example.com> unknown",
            "+14155550123",
            "no 415 555 0123",
            "",
        ] {
            assert_eq!(super::code(text), None, "{text}");
        }
    }
}
