//! What Meta says of approved templates.

use crate::columns::{check_length, word};
use crate::{Result, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::Serialize;
use tidings_core::template_standing::{self, TemplateStanding};

/// The most reviews read for a page of templates.
const STANDINGS_LIMIT: i64 = 1_000;

/// A review to be noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReview {
    /// The business account at Meta.
    pub account: String,
    /// The template's name there.
    pub name: String,
    /// Its language there.
    pub language: String,
    /// Where it stands: `approved`, `pending`, `rejected`, `paused`, `disabled` or `other`.
    pub standing: &'static str,
    /// Meta's own word.
    pub word: String,
    /// Meta's reason.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// What Meta last said of an approved template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Review {
    /// The business account at Meta.
    pub account: String,
    /// The template's name there.
    pub name: String,
    /// Its language there.
    pub language: String,
    /// Where it stands.
    pub standing: String,
    /// Meta's own word.
    pub word: String,
    /// Meta's reason.
    pub reason: Option<String>,
    /// When.
    pub reported_at: Timestamp,
}

/// Notes a review; false when a newer one is known, or it changes nothing. Reviews come late, twice and in any order.
pub async fn note(tx: &mut TenantTx, review: &NewReview, now: Timestamp) -> Result<bool> {
    check_length("account", &review.account, 64)?;
    let done = sqlx::query!(
        "INSERT INTO whatsapp_templates AS w
             (tenant_id, account, name, language, standing, word, reason, reported_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (tenant_id, name, language, account)
         DO UPDATE SET standing = EXCLUDED.standing, word = EXCLUDED.word, reason = EXCLUDED.reason,
             reported_at = EXCLUDED.reported_at, updated_at = EXCLUDED.updated_at
         WHERE w.reported_at <= EXCLUDED.reported_at
             AND (w.standing, w.word, w.reported_at) IS DISTINCT FROM
                 (EXCLUDED.standing, EXCLUDED.word, EXCLUDED.reported_at)",
        tx.tenant().0,
        review.account,
        review.name,
        review.language,
        review.standing,
        review.word,
        review.reason,
        review.at.to_sqlx() as _,
        now.to_sqlx() as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether a template version goes by an approved template that may be used, by what Meta last said of it; none where it is bound
/// to none.
pub(crate) fn usable(standings: Option<&[String]>) -> Result<bool> {
    let Some(standings) = standings else {
        return Ok(false);
    };
    let known: Vec<TemplateStanding> = standings
        .iter()
        .map(|standing| word("whatsapp_templates.standing", standing))
        .collect::<Result<_>>()?;
    Ok(template_standing::is_usable(&known))
}

/// What is known of the approved templates of these names, the newest word first.
pub async fn standings(tx: &mut TenantTx, names: &[String]) -> Result<Vec<Review>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        "SELECT account, name, language, standing, word, reason, reported_at FROM whatsapp_templates
         WHERE tenant_id = $1 AND name = ANY ($2) ORDER BY reported_at DESC, account LIMIT $3",
        tx.tenant().0,
        names,
        STANDINGS_LIMIT,
    )
    .fetch_all(&mut **tx)
    .await?;
    let reviews = rows.into_iter().map(|row| Review {
        account: row.account,
        name: row.name,
        language: row.language,
        standing: row.standing,
        word: row.word,
        reason: row.reason,
        reported_at: row.reported_at.to_jiff(),
    });
    Ok(reviews.collect())
}
