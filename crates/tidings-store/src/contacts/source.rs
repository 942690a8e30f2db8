//! What a tenant's own database says about opt-outs and consent. It can close a door and open one that was never
//! touched here; it never overrules what a person said to us.

use super::UPSERT_LIMIT;
use crate::columns::channel_words;
use crate::{Result, StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use tidings_core::{Category, Channel, ContactId, Dice};

/// How consents from a source are marked.
const SOURCE: &str = "source";

/// A source's word on a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceWord {
    /// The contact.
    pub contact: ContactId,
    /// Channels it opted out of there. They are added to those known here, never taken away.
    pub opted_out: Vec<Channel>,
    /// Whether it agreed to marketing, where the source knows.
    pub marketing_consent: Option<bool>,
}

/// Takes over the words of a source, at most [`UPSERT_LIMIT`]. A yes is recorded where nothing was ever said about
/// marketing on all channels, or where the source itself took its own yes back; a no takes back a yes of the source.
///
/// # Errors
/// When there are too many, or the database refuses.
pub async fn take_over(
    tx: &mut TenantTx,
    words: &[SourceWord],
    dice: &mut Dice,
    now: Timestamp,
) -> Result<()> {
    if words.len() > UPSERT_LIMIT {
        return Err(StoreError::invalid(
            "contacts",
            format!("at most {UPSERT_LIMIT} at once"),
        ));
    }
    let closing: Vec<&SourceWord> = words.iter().filter(|word| !word.opted_out.is_empty()).collect();
    if !closing.is_empty() {
        let ids: Vec<_> = closing.iter().map(|word| word.contact.0).collect();
        let channels: Vec<String> = closing
            .iter()
            .map(|word| channel_words(&word.opted_out).join(","))
            .collect();
        sqlx::query!(
            "UPDATE contacts c
             SET opted_out = ARRAY (SELECT DISTINCT channel FROM unnest(c.opted_out || string_to_array(given.channels, ',')) AS channel ORDER BY 1),
                 updated_at = $4
             FROM unnest($2::uuid[], $3::text[]) AS given (id, channels)
             WHERE c.tenant_id = $1 AND c.id = given.id AND NOT c.opted_out @> string_to_array(given.channels, ',')",
            tx.tenant().0,
            &ids,
            &channels,
            now.to_sqlx() as _,
        )
        .execute(&mut **tx)
        .await?;
    }
    let spoken: Vec<(ContactId, bool)> = words
        .iter()
        .filter_map(|word| word.marketing_consent.map(|granted| (word.contact, granted)))
        .collect();
    if spoken.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = spoken.iter().map(|_| dice.uuid(now)).collect();
    let contacts: Vec<_> = spoken.iter().map(|(contact, _)| contact.0).collect();
    let granted: Vec<bool> = spoken.iter().map(|(_, granted)| *granted).collect();
    sqlx::query!(
        "INSERT INTO consents (tenant_id, id, contact_id, purpose, channel, granted, source, at)
         SELECT $1, given.id, given.contact_id, $5, NULL, given.granted, $6, $7
         FROM unnest($2::uuid[], $3::uuid[], $4::bool[]) AS given (id, contact_id, granted)
         LEFT JOIN LATERAL (
             SELECT c.granted, c.source FROM consents c
             WHERE c.tenant_id = $1 AND c.contact_id = given.contact_id AND c.purpose = $5 AND c.channel IS NULL
             ORDER BY c.at DESC, c.id DESC LIMIT 1
         ) last ON true
         WHERE CASE WHEN given.granted THEN last.granted IS NULL OR (last.source = $6 AND NOT last.granted)
                    ELSE last.source = $6 AND last.granted END",
        tx.tenant().0,
        &ids,
        &contacts,
        &granted,
        Category::Marketing.as_str(),
        SOURCE,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
