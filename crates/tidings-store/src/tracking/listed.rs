//! The lists that providers keep of addresses they do not write to: what stands on them, and how far each is read.

use crate::columns::{check_length, word};
use crate::suppressions::{self, NewSuppression};
use crate::{BlindIndex, Result};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::{ConnectionId, Dice, TenantId};
use uuid::Uuid;

/// An entry of a provider's list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What is to be entered here.
    pub item: NewSuppression,
    /// Since when the provider has it.
    pub since: Timestamp,
}

/// Enters what a provider lists, and returns what is new of it. What is in force stays as it is. What was lifted here stays
/// lifted, unless the provider listed the address again since: otherwise it is the same old entry. Locks the holders of the
/// addresses first, so that no dispatch to them begins after this was committed.
pub async fn mirror(
    conn: &mut PgConnection,
    entries: &[Listed],
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Vec<(BlindIndex, SuppressionReason)>> {
    for entry in entries {
        check_length("source", &entry.item.source, 200)?;
    }
    let items = || entries.iter().map(|entry| &entry.item);
    let addresses: Vec<_> = items().map(|item| (item.tenant, item.blind_index)).collect();
    suppressions::lock_ahead(conn, &addresses).await?;
    let tenants: Vec<Uuid> = items().map(|item| item.tenant.0).collect();
    let ids: Vec<Uuid> = items().map(|_| dice.uuid(now)).collect();
    let channels: Vec<String> = items().map(|item| item.channel.as_str().to_owned()).collect();
    let indexes: Vec<Vec<u8>> = items().map(|item| item.blind_index.0.to_vec()).collect();
    let reasons: Vec<String> = items().map(|item| item.reason.as_str().to_owned()).collect();
    let sources: Vec<String> = items().map(|item| item.source.clone()).collect();
    let details: Vec<Option<String>> = items()
        .map(|item| item.detail.as_deref().and_then(suppressions::code))
        .collect();
    let times: Vec<_> = entries.iter().map(|entry| entry.since.to_sqlx()).collect();
    let rows = sqlx::query!(
        "INSERT INTO suppressions (tenant_id, id, channel, blind_index, reason, source, detail, created_at)
         SELECT l.tenant_id, l.id, l.channel, l.blind_index, l.reason, l.source, l.detail, $9
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::timestamptz[])
              AS l (tenant_id, id, channel, blind_index, reason, source, detail, since)
         WHERE NOT EXISTS (
             SELECT FROM suppressions s
             WHERE s.tenant_id = l.tenant_id AND s.blind_index = l.blind_index AND s.channel = l.channel
               AND s.reason = l.reason AND s.lifted_at IS NOT NULL AND s.lifted_at >= l.since)
         ORDER BY l.tenant_id, l.blind_index, l.channel, l.reason
         ON CONFLICT (tenant_id, blind_index, channel, reason) WHERE lifted_at IS NULL DO NOTHING
         RETURNING blind_index, reason",
        &tenants,
        &ids,
        &channels,
        &indexes,
        &reasons,
        &sources,
        &details as _,
        &times as _,
        now.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let index = BlindIndex::from_column(&row.blind_index)?;
            Ok((index, word("suppressions.reason", &row.reason)?))
        })
        .collect()
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
