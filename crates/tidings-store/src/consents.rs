//! The consent ledger: what a contact agreed to or withdrew, when, where and in which words. Entries are never changed.

use crate::columns::{Page, check_length, rows_for, word};
use crate::{Result, StoreError, TenantTx, contacts};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::Serialize;
use sqlx::PgConnection;
use std::collections::HashMap;
use tidings_core::decide::facts::ConsentFacts;
use tidings_core::{Category, Channel, ConsentId, ContactId, Dice, TenantId};
use uuid::Uuid;

/// A consent, or its withdrawal, to be recorded.
#[derive(Clone, Debug)]
pub struct NewConsent {
    /// Whose.
    pub contact: ContactId,
    /// For which kind of message.
    pub purpose: Category,
    /// For which channel; none means every channel.
    pub channel: Option<Channel>,
    /// Given, or withdrawn.
    pub granted: bool,
    /// Where it was given (`signup form`, `preference page`), at most 200 characters.
    pub source: String,
    /// The words agreed to, at most 4000 characters.
    pub wording: Option<String>,
}

/// An entry of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Consent {
    /// Its id.
    pub id: ConsentId,
    /// Whose.
    pub contact: ContactId,
    /// For which kind of message.
    pub purpose: Category,
    /// For which channel; none means every channel.
    pub channel: Option<Channel>,
    /// Given, or withdrawn.
    pub granted: bool,
    /// Where.
    pub source: String,
    /// The words agreed to.
    pub wording: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Withdraws the consent to marketing on a channel for contacts of any tenant, by a provider's word. In the workers' role.
pub async fn withdraw_marketing(
    conn: &mut PgConnection,
    items: &[(TenantId, ContactId, Channel)],
    source: &str,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<()> {
    check_length("source", source, 200)?;
    let tenants: Vec<Uuid> = items.iter().map(|item| item.0.0).collect();
    let contacts: Vec<Uuid> = items.iter().map(|item| item.1.0).collect();
    let channels: Vec<&str> = items.iter().map(|item| item.2.as_str()).collect();
    let ids: Vec<Uuid> = items.iter().map(|_| dice.uuid(now)).collect();
    sqlx::query!(
        "INSERT INTO consents (tenant_id, id, contact_id, purpose, channel, granted, source, wording, at)
         SELECT i.tenant_id, i.id, i.contact_id, 'marketing', i.channel, false, $5, NULL, $6
         FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[]) AS i(tenant_id, id, contact_id, channel)",
        &tenants,
        &ids,
        &contacts,
        &channels as _,
        source,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records a consent or a withdrawal. Locks the contact, so that no dispatch begins after a withdrawal was acknowledged.
pub async fn record(
    tx: &mut TenantTx,
    consent: NewConsent,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<ConsentId> {
    check_length("source", &consent.source, 200)?;
    if let Some(wording) = &consent.wording {
        check_length("wording", wording, 4000)?;
    }
    contacts::lock(tx, consent.contact).await?;
    let id = ConsentId(dice.uuid(now));
    sqlx::query!(
        "INSERT INTO consents (tenant_id, id, contact_id, purpose, channel, granted, source, wording, at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        tx.tenant().0,
        id.0,
        consent.contact.0,
        consent.purpose.as_str(),
        consent.channel.map(Channel::as_str),
        consent.granted,
        consent.source,
        consent.wording,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(id)
}

/// The ledger of a contact, newest first.
pub async fn history(
    tx: &mut TenantTx,
    contact: ContactId,
    before: Option<ConsentId>,
    limit: u32,
) -> Result<Page<Consent, ConsentId>> {
    let rows = sqlx::query!(
        "SELECT id, contact_id, purpose, channel, granted, source, wording, at FROM consents
         WHERE tenant_id = $1 AND contact_id = $2 AND ($3::uuid IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
        tx.tenant().0,
        contact.0,
        before.map(|id| id.0),
        rows_for(limit),
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(Consent {
            id: ConsentId(row.id),
            contact: ContactId(row.contact_id),
            purpose: word("consents.purpose", &row.purpose)?,
            channel: row
                .channel
                .map(|channel| word("consents.channel", &channel))
                .transpose()?,
            granted: row.granted,
            source: row.source,
            wording: row.wording,
            at: row.at.to_jiff(),
        });
    }
    Ok(Page::from_rows(items, limit, |item| item.id))
}

/// What is in force for each of a batch of contacts: the newest entry per channel and purpose. One query.
pub async fn in_force(
    conn: &mut PgConnection,
    contacts: &[(TenantId, ContactId)],
) -> Result<HashMap<(TenantId, ContactId), Vec<ConsentFacts>>, StoreError> {
    let tenants: Vec<Uuid> = contacts.iter().map(|pair| pair.0.0).collect();
    let ids: Vec<Uuid> = contacts.iter().map(|pair| pair.1.0).collect();
    let rows = sqlx::query!(
        "SELECT DISTINCT ON (c.tenant_id, c.contact_id, c.purpose, c.channel)
                c.tenant_id, c.contact_id, c.purpose, c.channel, c.granted, c.at
         FROM unnest($1::uuid[], $2::uuid[]) AS wanted (tenant_id, contact_id)
         JOIN consents c ON c.tenant_id = wanted.tenant_id AND c.contact_id = wanted.contact_id
         ORDER BY c.tenant_id, c.contact_id, c.purpose, c.channel, c.at DESC, c.id DESC",
        &tenants,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<_, Vec<ConsentFacts>> = HashMap::new();
    for row in rows {
        let facts = ConsentFacts {
            channel: row
                .channel
                .map(|channel| word("consents.channel", &channel))
                .transpose()?,
            purpose: word("consents.purpose", &row.purpose)?,
            granted: row.granted,
            at: row.at.to_jiff(),
        };
        found
            .entry((TenantId(row.tenant_id), ContactId(row.contact_id)))
            .or_default()
            .push(facts);
    }
    Ok(found)
}
