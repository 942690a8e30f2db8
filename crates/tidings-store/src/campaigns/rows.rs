//! What became of each due row.

use super::RowOutcome;
use crate::columns::{Page, rows_for, word};
use crate::{Result, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::Serialize;
use sqlx::PgConnection;
use tidings_core::campaign::CampaignName;
use tidings_core::{CampaignRunId, ContactId, MessageId, TenantId};

/// A due row, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRow {
    /// Its key in the source.
    pub key: String,
    /// Which occurrence; empty where it could not be told.
    pub occurrence: String,
    /// What became of it.
    pub outcome: RowOutcome,
    /// A stable code of why.
    pub code: Option<String>,
    /// A sentence without personal data.
    pub detail: Option<String>,
    /// The contact.
    pub contact: Option<ContactId>,
    /// The message, new or earlier.
    pub message: Option<MessageId>,
}

/// A row as a report lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowTold {
    /// Its key in the source.
    pub key: String,
    /// Which occurrence.
    pub occurrence: String,
    /// What became of it.
    pub outcome: RowOutcome,
    /// A stable code of why.
    pub code: Option<String>,
    /// A sentence.
    pub detail: Option<String>,
    /// The contact.
    pub contact_id: Option<ContactId>,
    /// The message.
    pub message_id: Option<MessageId>,
    /// When.
    pub at: Timestamp,
}

/// Writes the rows of a page; a row that was written before the page was interrupted keeps what was written.
pub(super) async fn insert(
    conn: &mut PgConnection,
    tenant: TenantId,
    run: CampaignRunId,
    rows: &[NewRow],
    now: Timestamp,
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
    let occurrences: Vec<&str> = rows.iter().map(|row| row.occurrence.as_str()).collect();
    let outcomes: Vec<&str> = rows.iter().map(|row| row.outcome.as_str()).collect();
    let codes: Vec<Option<&str>> = rows.iter().map(|row| row.code.as_deref()).collect();
    let details: Vec<Option<String>> = rows
        .iter()
        .map(|row| row.detail.as_ref().map(|text| text.chars().take(1000).collect()))
        .collect();
    let contacts: Vec<_> = rows.iter().map(|row| row.contact.map(|id| id.0)).collect();
    let messages: Vec<_> = rows.iter().map(|row| row.message.map(|id| id.0)).collect();
    sqlx::query!(
        "INSERT INTO campaign_rows (tenant_id, run_id, row_key, occurrence, outcome, code, detail, contact_id, message_id, at)
         SELECT $1, $2, row_key, occurrence, outcome, code, detail, contact_id, message_id, $10
         FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::uuid[])
              AS given (row_key, occurrence, outcome, code, detail, contact_id, message_id)",
        tenant.0,
        run.0,
        &keys as _,
        &occurrences as _,
        &outcomes as _,
        &codes as _,
        &details as _,
        &contacts as _,
        &messages as _,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The due rows of a run in order of their keys, all or of some outcomes.
///
/// # Errors
/// When the database refuses.
pub async fn list_rows(
    tx: &mut TenantTx,
    run: CampaignRunId,
    outcomes: &[RowOutcome],
    after: Option<&(String, String)>,
    limit: u32,
) -> Result<Page<RowTold, (String, String)>> {
    let words: Vec<&str> = outcomes.iter().map(|outcome| outcome.as_str()).collect();
    let rows = sqlx::query!(
        r#"SELECT row_key, occurrence, outcome, code, detail, contact_id, message_id, at AS "at: jiff_sqlx::Timestamp"
           FROM campaign_rows
           WHERE tenant_id = $1 AND run_id = $2 AND (cardinality($3::text[]) = 0 OR outcome = ANY ($3))
               AND ($4::text IS NULL OR (row_key, occurrence) > ($4, $5))
           ORDER BY row_key, occurrence LIMIT $6"#,
        tx.tenant().0,
        run.0,
        &words as _,
        after.map(|(key, _)| key.as_str()),
        after.map_or("", |(_, occurrence)| occurrence.as_str()),
        rows_for(limit),
    )
    .fetch_all(&mut **tx)
    .await?;
    let told = rows
        .into_iter()
        .map(|row| {
            Ok(RowTold {
                key: row.row_key,
                occurrence: row.occurrence,
                outcome: word("campaign_rows.outcome", &row.outcome)?,
                code: row.code,
                detail: row.detail,
                contact_id: row.contact_id.map(ContactId),
                message_id: row.message_id.map(MessageId),
                at: row.at.to_jiff(),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Page::from_rows(told, limit, |row| {
        (row.key.clone(), row.occurrence.clone())
    }))
}

/// What became of a row in one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PastRow {
    /// The moment of the run.
    pub as_of: Timestamp,
    /// Which occurrence.
    pub occurrence: String,
    /// What became of it.
    pub outcome: RowOutcome,
    /// A stable code of why.
    pub code: Option<String>,
    /// The message.
    pub message_id: Option<MessageId>,
}

/// What became of a row in the runs of a campaign, the latest first, at most 20.
///
/// # Errors
/// When the database refuses.
pub async fn history_of_row(tx: &mut TenantTx, campaign: &CampaignName, key: &str) -> Result<Vec<PastRow>> {
    let rows = sqlx::query!(
        r#"SELECT r.as_of AS "as_of: jiff_sqlx::Timestamp", w.occurrence, w.outcome, w.code, w.message_id
           FROM campaign_rows w JOIN campaign_runs r ON r.tenant_id = w.tenant_id AND r.id = w.run_id
           WHERE w.tenant_id = $1 AND w.row_key = $2 AND r.campaign = $3 ORDER BY r.as_of DESC, w.occurrence LIMIT 20"#,
        tx.tenant().0,
        key,
        campaign.as_str(),
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(PastRow {
                as_of: row.as_of.to_jiff(),
                occurrence: row.occurrence,
                outcome: word("campaign_rows.outcome", &row.outcome)?,
                code: row.code,
                message_id: row.message_id.map(MessageId),
            })
        })
        .collect()
}
