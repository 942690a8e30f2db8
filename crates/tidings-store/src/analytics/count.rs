//! Counting a day of a tenant from the ledger, as a whole: the same whenever and however often it is done.

use crate::columns::first_id_of;
use crate::{Result, StoreError};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _, tz};
use sqlx::PgConnection;
use tidings_core::TenantId;
use tidings_core::analytics::BEGINNINGS_MS;
use uuid::Uuid;

/// Counts the newest marked day of a tenant that nobody else counts at the moment, and takes its mark away; none: there is none.
/// Call it in a transaction of its own.
///
/// # Errors
/// When the database refuses.
pub async fn count_next(conn: &mut PgConnection, tenant: TenantId) -> Result<Option<Date>> {
    // Who wants to mark the day meanwhile waits for this to end, and marks it then.
    let day = sqlx::query_scalar!(
        r#"DELETE FROM delivery_day_marks WHERE tenant_id = $1 AND day = (
               SELECT day FROM delivery_day_marks WHERE tenant_id = $1 ORDER BY day DESC LIMIT 1 FOR UPDATE SKIP LOCKED)
           RETURNING day::text AS "day!""#,
        tenant.0,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(day) = day else { return Ok(None) };
    let day: Date = day
        .parse()
        .map_err(|error: jiff::Error| StoreError::invalid("delivery_day_marks.day", error.to_string()))?;
    let (from, to) = (first_id(day), first_id(day.saturating_add(1.day())));
    sqlx::query!(
        "DELETE FROM delivery_days WHERE tenant_id = $1 AND day = $2::text::date",
        tenant.0,
        day.to_string(),
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM delivery_day_times WHERE tenant_id = $1 AND day = $2::text::date",
        tenant.0,
        day.to_string(),
    )
    .execute(&mut *conn)
    .await?;
    insert(conn, tenant, day, from, to).await?;
    Ok(Some(day))
}

/// The least id of a day: ids are in order of time.
fn first_id(day: Date) -> Uuid {
    let begins = tz::Offset::UTC.to_timestamp(day.to_datetime(jiff::civil::Time::midnight()));
    first_id_of(begins.unwrap_or(Timestamp::MAX))
}

async fn insert(conn: &mut PgConnection, tenant: TenantId, day: Date, from: Uuid, to: Uuid) -> Result<()> {
    sqlx::query!(
        r#"
        WITH d AS MATERIALIZED (
            SELECT d.id, d.message_id, d.channel, d.state, d.error_category,
                coalesce(d.connection_id, '00000000-0000-0000-0000-000000000000'::uuid) AS connection_id
            FROM deliveries d WHERE d.tenant_id = $1 AND d.id >= $2 AND d.id < $3
        ), e AS (
            SELECT e.delivery_id, bool_or(e.kind = 'opened') AS opened, bool_or(e.kind = 'machine_opened') AS machine_opened,
                bool_or(e.kind = 'clicked') AS clicked, bool_or(e.kind = 'complained') AS complained, bool_or(e.kind = 'replied') AS replied,
                bool_or(e.kind = 'bounced' AND e.bounce_class = 'hard') AS hard,
                bool_or(e.kind = 'bounced' AND e.bounce_class = 'block') AS block,
                bool_or(e.kind = 'bounced' AND e.bounce_class = 'soft') AS soft,
                min(e.occurred_at) FILTER (WHERE e.kind = 'delivered') AS delivered_at
            FROM d JOIN delivery_events e ON e.tenant_id = $1 AND e.message_id = d.message_id AND e.delivery_id = d.id
            GROUP BY e.delivery_id
        ), a AS (
            SELECT a.delivery_id, max(a.finished_at) AS accepted_at
            FROM d JOIN attempts a ON a.tenant_id = $1 AND a.delivery_id = d.id AND a.outcome = 'accepted'
            GROUP BY a.delivery_id
        ), one AS MATERIALIZED (
            SELECT d.connection_id, coalesce(c.provider, 'none') AS provider, d.channel, m.message_type, d.state, d.error_category,
                a.delivery_id IS NOT NULL OR d.state IN ('accepted', 'delivered', 'bounced') AS accepted,
                coalesce(e.opened, false) AS opened, coalesce(e.machine_opened, false) AS machine_opened,
                coalesce(e.clicked, false) AS clicked, coalesce(e.complained, false) AS complained,
                coalesce(e.replied, false) AS replied, coalesce(e.hard, false) AS hard, coalesce(e.block, false) AS block,
                coalesce(e.soft, false) AS soft,
                -- `greatest` passes over what is not known.
                CASE WHEN e.delivered_at IS NOT NULL AND a.accepted_at IS NOT NULL
                    THEN greatest(0, extract(epoch FROM e.delivered_at - a.accepted_at) * 1000)::bigint END AS took_ms
            FROM d JOIN messages m ON m.tenant_id = $1 AND m.id = d.message_id
            LEFT JOIN a ON a.delivery_id = d.id
            LEFT JOIN e ON e.delivery_id = d.id
            LEFT JOIN connections c ON c.tenant_id = $1 AND c.id = d.connection_id
        ), times AS (
            INSERT INTO delivery_day_times (tenant_id, day, connection_id, channel, message_type, bucket, deliveries)
            SELECT $1, $4::text::date, connection_id, channel, message_type, width_bucket(took_ms, $5::bigint[]), count(*)
            FROM one WHERE state = 'delivered' AND took_ms IS NOT NULL
            GROUP BY connection_id, channel, message_type, width_bucket(took_ms, $5::bigint[])
        )
        INSERT INTO delivery_days (tenant_id, day, connection_id, provider, channel, message_type, deliveries, accepted, delivered,
            bounced, bounced_hard, bounced_block, bounced_soft, complained, failed, failed_transient, failed_permanent,
            failed_rate_limit, failed_auth_failure, failed_invalid_input, unknown, waiting, dropped, stopped,
            opened, machine_opened, clicked, replied)
        SELECT $1, $4::text::date, connection_id, min(provider), channel, message_type, count(*),
            count(*) FILTER (WHERE accepted), count(*) FILTER (WHERE state = 'delivered'), count(*) FILTER (WHERE state = 'bounced'),
            count(*) FILTER (WHERE state = 'bounced' AND hard),
            count(*) FILTER (WHERE state = 'bounced' AND block AND NOT hard),
            count(*) FILTER (WHERE state = 'bounced' AND soft AND NOT block AND NOT hard),
            count(*) FILTER (WHERE complained), count(*) FILTER (WHERE state = 'failed'),
            count(*) FILTER (WHERE state = 'failed' AND error_category = 'transient'),
            count(*) FILTER (WHERE state = 'failed' AND error_category = 'permanent'),
            count(*) FILTER (WHERE state = 'failed' AND error_category = 'rate_limit'),
            count(*) FILTER (WHERE state = 'failed' AND error_category = 'auth_failure'),
            count(*) FILTER (WHERE state = 'failed' AND error_category = 'invalid_input'),
            count(*) FILTER (WHERE state IN ('unknown', 'held')),
            count(*) FILTER (WHERE state IN ('queued', 'dispatching', 'retry_wait')),
            count(*) FILTER (WHERE state = 'dropped'), count(*) FILTER (WHERE state = 'stopped'),
            count(*) FILTER (WHERE opened), count(*) FILTER (WHERE machine_opened AND NOT opened),
            count(*) FILTER (WHERE clicked), count(*) FILTER (WHERE replied)
        FROM one GROUP BY connection_id, channel, message_type
        "#,
        tenant.0,
        from,
        to,
        day.to_string(),
        BEGINNINGS_MS.as_slice(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
