//! Buckets of rate limits: the arithmetic of `tidings_core::limit` in one statement, so that nodes take turns at the row
//! and no lock outlives it.

use crate::Result;
use sqlx::PgConnection;
use std::collections::HashMap;
use tidings_core::limit::{Bucket, Lease, Pace, Slots, Wish};
use tidings_core::{ConnectionId, TenantId};
use uuid::Uuid;

/// Takes slots from the buckets of connections, each named once; a connection that no longer exists has none, and nobody has
/// while a Redis keeps the buckets. Run it outside a transaction: what it takes is taken at its commit.
pub async fn take(
    conn: &mut PgConnection,
    wishes: &[Wish],
    now_us: i64,
) -> Result<HashMap<ConnectionId, Lease>> {
    let mut leases = lease(conn, wishes, now_us).await?;
    let fresh: Vec<Wish> = wishes
        .iter()
        .filter(|wish| !leases.contains_key(&wish.connection))
        .copied()
        .collect();
    if !fresh.is_empty() {
        make(conn, &fresh).await?;
        leases.extend(lease(conn, &fresh, now_us).await?);
    }
    Ok(leases)
}

async fn lease(
    conn: &mut PgConnection,
    wishes: &[Wish],
    now_us: i64,
) -> Result<HashMap<ConnectionId, Lease>> {
    let (tenants, connections) = keys(wishes);
    let column = |of: fn(&Wish) -> i64| wishes.iter().map(of).collect::<Vec<i64>>();
    let rows = sqlx::query!(
        r#"
        WITH held AS MATERIALIZED (
            SELECT b.tenant_id, b.connection_id, b.next_us, b.paused_us, w.late_us, $8 + w.ahead_us AS horizon, w.want,
                   w.interval_us * 1000 / 62 AS widest, s.since_us,
                   w.interval_us * 1000
                       / least(1000, greatest(62, b.factor + greatest($8 - b.shrunk_us, 0) / w.grow_us)) AS spacing
            FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
                AS w (tenant_id, connection_id, interval_us, late_us, ahead_us, grow_us, want)
            JOIN rate_buckets b ON b.tenant_id = w.tenant_id AND b.connection_id = w.connection_id
            JOIN rate_store s ON s.only_row AND s.redis_run IS NULL
            ORDER BY b.tenant_id, b.connection_id
            FOR UPDATE OF b
        ), begun AS (
            SELECT h.*, greatest(
                       CASE WHEN h.next_us > h.horizon + h.widest + 60000000 THEN $8 ELSE h.next_us END,
                       $8 - h.late_us, h.paused_us, h.since_us + 2000000 + h.spacing) AS first_us
            FROM held h
        ), taken AS (
            SELECT g.*, CASE WHEN g.first_us > g.horizon THEN 0
                             ELSE least(g.want, (g.horizon - g.first_us) / g.spacing + 1) END AS n
            FROM begun g
        )
        UPDATE rate_buckets b SET next_us = t.first_us + t.n * t.spacing
        FROM taken t WHERE b.tenant_id = t.tenant_id AND b.connection_id = t.connection_id
        RETURNING b.connection_id, t.first_us AS "first_us!", t.spacing AS "spacing!", t.n AS "n!",
                  b.next_us - (t.horizon - $8) AS "more_us!"
        "#,
        &tenants,
        &connections,
        &column(|wish| wish.pace.interval_us),
        &column(|wish| wish.pace.late_us),
        &column(|wish| wish.pace.ahead_us),
        &column(|wish| wish.pace.grow_us),
        &column(|wish| i64::from(wish.want)),
        now_us,
    )
    .fetch_all(conn)
    .await?;
    let leases = rows.into_iter().map(|row| {
        let slots = Slots {
            first_us: row.first_us,
            interval_us: row.spacing,
            count: u32::try_from(row.n).unwrap_or(0),
        };
        let lease = Lease {
            slots,
            more_us: row.more_us,
        };
        (ConnectionId(row.connection_id), lease)
    });
    Ok(leases.collect())
}

/// Full buckets for connections that have none yet.
pub(super) async fn make(conn: &mut PgConnection, wishes: &[Wish]) -> Result<()> {
    let (tenants, connections) = keys(wishes);
    let full = Bucket::default();
    sqlx::query!(
        r#"
        INSERT INTO rate_buckets (tenant_id, connection_id, next_us, factor, shrunk_us, paused_us)
        SELECT c.tenant_id, c.id, $3, $4, $5, $6
        FROM unnest($1::uuid[], $2::uuid[]) AS w (tenant_id, connection_id)
        JOIN connections c ON c.tenant_id = w.tenant_id AND c.id = w.connection_id
        ORDER BY c.tenant_id, c.id
        ON CONFLICT DO NOTHING
        "#,
        &tenants,
        &connections,
        full.next_us,
        full.factor as i16,
        full.shrunk_us,
        full.paused_us,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) fn keys(wishes: &[Wish]) -> (Vec<Uuid>, Vec<Uuid>) {
    wishes
        .iter()
        .map(|wish| (wish.tenant.0, wish.connection.0))
        .unzip()
}

/// A provider said "too many": half of the limit from now on, and quiet until an instant, for every node.
pub async fn refused(
    conn: &mut PgConnection,
    tenant: TenantId,
    connection: ConnectionId,
    pace: Pace,
    now_us: i64,
    quiet_until_us: i64,
) -> Result<()> {
    let mut first = Bucket::default();
    first.refused(pace, now_us, quiet_until_us);
    sqlx::query!(
        r#"
        INSERT INTO rate_buckets AS b (tenant_id, connection_id, next_us, factor, shrunk_us, paused_us)
        SELECT tenant_id, id, $3, $4, $5, $6 FROM connections WHERE tenant_id = $1 AND id = $2
        ON CONFLICT (tenant_id, connection_id) DO UPDATE SET
            factor = CASE WHEN $5 - b.shrunk_us >= 1000000
                THEN greatest(62, least(1000, b.factor + greatest($5 - b.shrunk_us, 0) / $7) / 2) ELSE b.factor END,
            shrunk_us = CASE WHEN $5 - b.shrunk_us >= 1000000 THEN $5 ELSE b.shrunk_us END,
            paused_us = greatest(b.paused_us, excluded.paused_us)
        "#,
        tenant.0,
        connection.0,
        first.next_us,
        first.factor as i16,
        now_us,
        quiet_until_us,
        pace.grow_us,
    )
    .execute(conn)
    .await?;
    Ok(())
}
