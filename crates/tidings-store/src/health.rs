//! What nodes saw of connections: written by each now and then, added up where it is shown.

use crate::Result;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use std::collections::HashMap;
use tidings_core::traffic::{HEALTH_WINDOW, Tally};
use tidings_core::{ConnectionId, NodeId, TenantId};

/// What a node saw of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whose.
    pub tenant: TenantId,
    /// The connection.
    pub connection: ConnectionId,
    /// Its calls within [`HEALTH_WINDOW`].
    pub tally: Tally,
}

/// Writes what a node saw in one statement, and forgets what is too old to count. Connections that are gone are left out.
pub async fn write(conn: &mut PgConnection, node: NodeId, seen: &[Seen], now: Timestamp) -> Result<()> {
    let tenants: Vec<_> = seen.iter().map(|one| one.tenant.0).collect();
    let ids: Vec<_> = seen.iter().map(|one| one.connection.0).collect();
    let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let calls: Vec<_> = seen.iter().map(|one| count(one.tally.calls)).collect();
    let failed: Vec<_> = seen.iter().map(|one| count(one.tally.failed)).collect();
    let latency: Vec<_> = seen
        .iter()
        .map(|one| i64::try_from(one.tally.latency_ms).unwrap_or(i64::MAX))
        .collect();
    sqlx::query!(
        r#"
        INSERT INTO connection_health (tenant_id, connection_id, node, calls, failed, latency_ms, at)
        SELECT i.tenant_id, i.id, $1, i.calls, i.failed, i.latency_ms, $7
        FROM unnest($2::uuid[], $3::uuid[], $4::integer[], $5::integer[], $6::bigint[])
            AS i(tenant_id, id, calls, failed, latency_ms)
        JOIN connections c ON c.tenant_id = i.tenant_id AND c.id = i.id
        ON CONFLICT (tenant_id, connection_id, node) DO UPDATE
            SET calls = excluded.calls, failed = excluded.failed, latency_ms = excluded.latency_ms, at = excluded.at
        "#,
        node.0,
        &tenants,
        &ids,
        &calls,
        &failed,
        &latency,
        now.to_sqlx() as _,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM connection_health WHERE at < $1",
        oldest(now).to_sqlx() as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The calls of every node within the window, added up by connection.
pub async fn merged(
    conn: &mut PgConnection,
    tenants: &[TenantId],
    now: Timestamp,
) -> Result<HashMap<ConnectionId, Tally>> {
    let tenants: Vec<_> = tenants.iter().map(|tenant| tenant.0).collect();
    let rows = sqlx::query!(
        r#"
        SELECT connection_id, sum(calls)::bigint AS "calls!", sum(failed)::bigint AS "failed!",
            sum(latency_ms)::bigint AS "latency_ms!"
        FROM connection_health WHERE tenant_id = ANY($1) AND at >= $2 GROUP BY connection_id
        "#,
        &tenants,
        oldest(now).to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    let number = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(rows
        .into_iter()
        .map(|row| {
            let tally = Tally {
                calls: number(row.calls),
                failed: number(row.failed),
                latency_ms: u64::try_from(row.latency_ms).unwrap_or(0),
            };
            (ConnectionId(row.connection_id), tally)
        })
        .collect())
}

/// A connection's standing, for figures.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Which one.
    pub connection: ConnectionId,
    /// Its provider.
    pub provider: String,
    /// Its breaker's position, as a word.
    pub state: String,
    /// Its calls within [`HEALTH_WINDOW`], of every node.
    pub tally: Tally,
}

/// The standing of every enabled connection of the installation, up to a number of them. Wants the workers' pool.
pub async fn standings(conn: &mut PgConnection, now: Timestamp, limit: i64) -> Result<Vec<Standing>> {
    let rows = sqlx::query!(
        r#"
        SELECT c.id, c.provider, c.breaker, coalesce(h.calls, 0) AS "calls!", coalesce(h.failed, 0) AS "failed!",
            coalesce(h.latency_ms, 0) AS "latency_ms!"
        FROM connections c
        LEFT JOIN (SELECT tenant_id, connection_id, sum(calls)::bigint AS calls, sum(failed)::bigint AS failed,
                          sum(latency_ms)::bigint AS latency_ms
                   FROM connection_health WHERE at >= $1 GROUP BY tenant_id, connection_id) h
            ON h.tenant_id = c.tenant_id AND h.connection_id = c.id
        WHERE c.enabled ORDER BY c.tenant_id, c.id LIMIT $2
        "#,
        oldest(now).to_sqlx() as _,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let number = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(rows
        .into_iter()
        .map(|row| Standing {
            connection: ConnectionId(row.id),
            provider: row.provider,
            state: row.breaker,
            tally: Tally {
                calls: number(row.calls),
                failed: number(row.failed),
                latency_ms: u64::try_from(row.latency_ms).unwrap_or(0),
            },
        })
        .collect())
}

fn oldest(now: Timestamp) -> Timestamp {
    now.saturating_sub(HEALTH_WINDOW).unwrap_or(now)
}
