//! Which days are to be counted again. Nothing on the messages' path writes for this: what changed is found by indexes in order of
//! time, a little of the time before included, and days on which something still waits are counted each time.

use crate::Result;
use crate::columns::first_id_of;
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use tidings_core::TenantId;
use uuid::Uuid;

/// A transaction may have begun so long before it was seen.
const OVERLAP: SignedDuration = SignedDuration::from_mins(10);

/// How far back deliveries of a tenant that was never looked at are looked for: communication logs are kept for two years.
const FIRST_DAYS: i32 = 731;

/// No stretch of time that is looked through at once is longer.
const STRETCH: SignedDuration = SignedDuration::from_hours(24);

/// What a look brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marked {
    /// Days that were not marked before.
    pub days: u64,
    /// Up to when everything is marked.
    pub to: Timestamp,
}

/// Tenants after one, in order of their ids.
///
/// # Errors
/// When the database refuses.
pub async fn tenants(conn: &mut PgConnection, after: Option<TenantId>, limit: i64) -> Result<Vec<TenantId>> {
    let rows = sqlx::query_scalar!(
        "SELECT id FROM tenants WHERE id > $1 AND status <> 'closed' ORDER BY id LIMIT $2",
        after.map_or(Uuid::nil(), |tenant| tenant.0),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(TenantId).collect())
}

/// Up to when changes of a tenant are marked; none: it was never looked at.
///
/// # Errors
/// When the database refuses.
pub async fn marked_to(conn: &mut PgConnection, tenant: TenantId) -> Result<Option<Timestamp>> {
    let row = sqlx::query!(
        r#"SELECT marked_to AS "marked_to: jiff_sqlx::Timestamp" FROM delivery_day_progress WHERE tenant_id = $1"#,
        tenant.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| row.marked_to.to_jiff()))
}

/// Marks the days of a tenant whose deliveries changed since the last look, a day's changes at most: call it again until it
/// comes to now. Call it in a transaction; the tenant's progress is locked by it.
///
/// # Errors
/// When the database refuses.
pub async fn mark(conn: &mut PgConnection, tenant: TenantId, now: Timestamp) -> Result<Marked> {
    let row = sqlx::query!(
        r#"INSERT INTO delivery_day_progress AS p (tenant_id, marked_to) VALUES ($1, $2)
           ON CONFLICT (tenant_id) DO UPDATE SET marked_to = p.marked_to
           RETURNING marked_to AS "marked_to!: jiff_sqlx::Timestamp", (xmax = 0) AS "new!""#,
        tenant.0,
        now.to_sqlx() as _,
    )
    .fetch_one(&mut *conn)
    .await?;
    if row.new {
        let days = mark_all(conn, tenant, now).await?;
        return Ok(Marked { days, to: now });
    }
    let known = row.marked_to.to_jiff();
    let from = known.saturating_sub(OVERLAP).unwrap_or(known);
    let to = known.saturating_add(STRETCH).unwrap_or(now).min(now).max(known);
    let days = mark_between(conn, tenant, from, to, now).await?;
    sqlx::query!(
        "UPDATE delivery_day_progress SET marked_to = $2 WHERE tenant_id = $1",
        tenant.0,
        to.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(Marked { days, to })
}

/// Every day that has deliveries: one look at the index a day.
async fn mark_all(conn: &mut PgConnection, tenant: TenantId, now: Timestamp) -> Result<u64> {
    let done = sqlx::query!(
        r#"
        INSERT INTO delivery_day_marks (tenant_id, day, marked_at)
        SELECT $1, found.day, $2
        FROM generate_series(0, $3::integer) AS back (days)
        CROSS JOIN LATERAL (
            SELECT tidings_day_of(d.id) AS day FROM deliveries d
            WHERE d.tenant_id = $1
                AND d.id >= (lpad(to_hex((extract(epoch FROM date_trunc('day', $2 AT TIME ZONE 'UTC') - make_interval(days => back.days))
                    * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
                AND d.id < (lpad(to_hex((extract(epoch FROM date_trunc('day', $2 AT TIME ZONE 'UTC') - make_interval(days => back.days - 1))
                    * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
            LIMIT 1
        ) found
        ON CONFLICT (tenant_id, day) DO NOTHING
        "#,
        tenant.0,
        now.to_sqlx() as _,
        FIRST_DAYS,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

async fn mark_between(
    conn: &mut PgConnection,
    tenant: TenantId,
    from: Timestamp,
    to: Timestamp,
    now: Timestamp,
) -> Result<u64> {
    // The end belongs to it: what happened at this very moment is not left for a next time that may be long in coming.
    let end = to.saturating_add(SignedDuration::from_millis(1)).unwrap_or(to);
    let done = sqlx::query!(
        r#"
        INSERT INTO delivery_day_marks (tenant_id, day, marked_at)
        SELECT $1, changed.day, $6
        FROM (
            SELECT tidings_day_of(d.id) AS day FROM deliveries d WHERE d.tenant_id = $1 AND d.id >= $2 AND d.id < $3
            UNION
            SELECT tidings_day_of(a.delivery_id) FROM attempts a
            WHERE a.tenant_id = $1 AND a.intended_at >= $4 AND a.intended_at < $5
            UNION
            SELECT tidings_day_of(e.delivery_id) FROM delivery_events e
            WHERE e.tenant_id = $1 AND e.id >= $2 AND e.id < $3 AND e.delivery_id IS NOT NULL
            UNION
            SELECT o.day FROM delivery_days o WHERE o.tenant_id = $1 AND (o.waiting > 0 OR o.unknown > 0)
        ) changed
        ON CONFLICT (tenant_id, day) DO NOTHING
        "#,
        tenant.0,
        first_id_of(from),
        first_id_of(end),
        from.to_sqlx() as _,
        end.to_sqlx() as _,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
