//! The lists that providers keep of addresses they do not write to: what stands on them, and how far each is read.

use crate::columns::word;
use crate::suppressions::{self, NewSuppression};
use crate::{BlindIndex, Result, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use std::collections::{BTreeMap, HashMap};
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::reconcile::is_news;
use tidings_core::{Channel, ConnectionId, Dice, TenantId};

/// An entry of a provider's list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What is to be entered here.
    pub item: NewSuppression,
    /// Since when the provider has it.
    pub since: Timestamp,
}

/// Enters what a provider lists, all of one tenant, and tells how much of it is new. What is in force stays as it is. What was
/// lifted here stays lifted, unless the provider listed the address again since ([`is_news`]). Locks the holders of the addresses
/// first, so that no dispatch to them begins after this was committed.
pub async fn mirror(tx: &mut TenantTx, entries: Vec<Listed>, dice: &mut Dice, now: Timestamp) -> Result<u64> {
    let addresses: Vec<_> = entries
        .iter()
        .map(|entry| (entry.item.tenant, entry.item.blind_index))
        .collect();
    suppressions::lock_ahead(tx, &addresses).await?;
    let lifted = lifted(tx, &entries).await?;
    let news = entries.into_iter().filter(|entry| {
        let item = &entry.item;
        let key = (item.channel, item.blind_index, item.reason);
        is_news(entry.since, lifted.get(&key).copied())
    });
    let news: Vec<NewSuppression> = news.map(|entry| entry.item).collect();
    if news.is_empty() {
        return Ok(0);
    }
    suppressions::add(tx, &news, dice, now).await
}

/// When suppressions of these addresses were lifted last.
async fn lifted(
    tx: &mut TenantTx,
    entries: &[Listed],
) -> Result<HashMap<(Channel, BlindIndex, SuppressionReason), Timestamp>> {
    let indexes: Vec<Vec<u8>> = entries
        .iter()
        .map(|entry| entry.item.blind_index.0.to_vec())
        .collect();
    let rows = sqlx::query!(
        r#"SELECT channel, blind_index, reason, max(lifted_at) AS "lifted_at!: jiff_sqlx::Timestamp" FROM suppressions
           WHERE tenant_id = $1 AND blind_index = ANY ($2) AND lifted_at IS NOT NULL
           GROUP BY channel, blind_index, reason"#,
        tx.tenant().0,
        &indexes,
    )
    .fetch_all(&mut **tx)
    .await?;
    let lifted = rows.into_iter().map(|row| {
        let channel = word("suppressions.channel", &row.channel)?;
        let index = BlindIndex::from_column(&row.blind_index)?;
        let reason = word("suppressions.reason", &row.reason)?;
        Ok(((channel, index, reason), row.lifted_at.to_jiff()))
    });
    lifted.collect()
}

/// How far a list is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListMark {
    /// Every entry of before is read; none: nothing was.
    pub read_to: Option<Timestamp>,
    /// While it is read page by page: up to when.
    pub reading_to: Option<Timestamp>,
    /// And how the next page is asked for; none for the first.
    pub page: Option<String>,
}

/// The marks of a connection, by list.
pub async fn marks(
    conn: &mut PgConnection,
    tenant: TenantId,
    connection: ConnectionId,
) -> Result<BTreeMap<String, ListMark>> {
    let rows = sqlx::query!(
        "SELECT list, read_to, reading_to, page FROM suppression_marks WHERE tenant_id = $1 AND connection_id = $2",
        tenant.0,
        connection.0,
    )
    .fetch_all(conn)
    .await?;
    let marks = rows.into_iter().map(|row| {
        let mark = ListMark {
            read_to: row.read_to.map(jiff_sqlx::Timestamp::to_jiff),
            reading_to: row.reading_to.map(jiff_sqlx::Timestamp::to_jiff),
            page: row.page,
        };
        (row.list, mark)
    });
    Ok(marks.collect())
}

/// Writes the mark of a list.
pub async fn set_mark(
    conn: &mut PgConnection,
    tenant: TenantId,
    connection: ConnectionId,
    list: &str,
    mark: &ListMark,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO suppression_marks (tenant_id, connection_id, list, read_to, reading_to, page)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (tenant_id, connection_id, list) DO UPDATE
             SET read_to = excluded.read_to, reading_to = excluded.reading_to, page = excluded.page",
        tenant.0,
        connection.0,
        list,
        mark.read_to.map(ToSqlx::to_sqlx) as _,
        mark.reading_to.map(ToSqlx::to_sqlx) as _,
        mark.page,
    )
    .execute(conn)
    .await?;
    Ok(())
}
