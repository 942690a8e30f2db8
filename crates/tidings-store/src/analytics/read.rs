//! Days added up.

use super::Counts;
use crate::{Result, TenantTx};
use jiff::civil::Date;
use std::collections::{BTreeMap, HashMap};
use tidings_core::analytics::{DeliveriesBy, percentile_ms};

/// The most lines of one answer.
const LINES: i64 = 1_000;

/// The most buckets of time of all of them.
const BUCKETS: i64 = LINES * 250;

/// Some days, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub from: Date,
    /// The last.
    pub to: Date,
}

/// What became of the deliveries of one provider, connection, channel, message type or day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which; the nil UUID and `none` where no connection was tried.
    pub key: String,
    /// What people call it: a connection's name.
    pub name: Option<String>,
    /// How many.
    pub counts: Counts,
    /// How long half of those that arrived took from being accepted, in milliseconds.
    pub median_ms: Option<u64>,
    /// And 95 of a hundred.
    pub p95_ms: Option<u64>,
}

/// Adds the days up, by key; at most 1,000 lines, those with the most deliveries.
///
/// # Errors
/// When the database refuses.
pub async fn deliveries(tx: &mut TenantTx, range: Range, by: DeliveriesBy) -> Result<Vec<Line>> {
    let mut times = times(tx, range, by).await?;
    let tenant = tx.tenant();
    let rows = sqlx::query!(
        r#"
        SELECT line.key AS "key!", c.name AS "name?", line.deliveries AS "deliveries!", line.accepted AS "accepted!",
            line.delivered AS "delivered!", line.bounced AS "bounced!", line.bounced_hard AS "bounced_hard!",
            line.bounced_soft AS "bounced_soft!", line.bounced_block AS "bounced_block!", line.complained AS "complained!",
            line.failed AS "failed!", line.failed_transient AS "failed_transient!", line.failed_permanent AS "failed_permanent!",
            line.failed_rate_limit AS "failed_rate_limit!", line.failed_auth_failure AS "failed_auth_failure!",
            line.failed_invalid_input AS "failed_invalid_input!", line.unknown AS "unknown!", line.waiting AS "waiting!",
            line.dropped AS "dropped!", line.stopped AS "stopped!", line.opened AS "opened!",
            line.machine_opened AS "machine_opened!", line.clicked AS "clicked!", line.replied AS "replied!"
        FROM (
            SELECT CASE $4 WHEN 'provider' THEN d.provider WHEN 'connection' THEN d.connection_id::text WHEN 'channel' THEN d.channel
                    WHEN 'type' THEN d.message_type ELSE d.day::text END AS key,
                sum(d.deliveries)::bigint AS deliveries, sum(d.accepted)::bigint AS accepted, sum(d.delivered)::bigint AS delivered,
                sum(d.bounced)::bigint AS bounced, sum(d.bounced_hard)::bigint AS bounced_hard,
                sum(d.bounced_soft)::bigint AS bounced_soft, sum(d.bounced_block)::bigint AS bounced_block,
                sum(d.complained)::bigint AS complained, sum(d.failed)::bigint AS failed,
                sum(d.failed_transient)::bigint AS failed_transient, sum(d.failed_permanent)::bigint AS failed_permanent,
                sum(d.failed_rate_limit)::bigint AS failed_rate_limit, sum(d.failed_auth_failure)::bigint AS failed_auth_failure,
                sum(d.failed_invalid_input)::bigint AS failed_invalid_input, sum(d.unknown)::bigint AS unknown,
                sum(d.waiting)::bigint AS waiting, sum(d.dropped)::bigint AS dropped, sum(d.stopped)::bigint AS stopped,
                sum(d.opened)::bigint AS opened, sum(d.machine_opened)::bigint AS machine_opened,
                sum(d.clicked)::bigint AS clicked, sum(d.replied)::bigint AS replied
            FROM delivery_days d
            WHERE d.tenant_id = $1 AND d.day >= $2::text::date AND d.day <= $3::text::date
            GROUP BY 1 ORDER BY sum(d.deliveries) DESC, 1 LIMIT $5
        ) line
        LEFT JOIN connections c ON $4 = 'connection' AND c.tenant_id = $1 AND c.id::text = line.key
        ORDER BY line.key
        "#,
        tenant.0,
        range.from.to_string(),
        range.to.to_string(),
        by.as_str(),
        LINES,
    )
    .fetch_all(&mut **tx)
    .await?;
    let lines = rows.into_iter().map(|row| {
        let counts = Counts {
            deliveries: row.deliveries,
            accepted: row.accepted,
            delivered: row.delivered,
            bounced: row.bounced,
            bounced_hard: row.bounced_hard,
            bounced_soft: row.bounced_soft,
            bounced_block: row.bounced_block,
            complained: row.complained,
            failed: row.failed,
            failed_transient: row.failed_transient,
            failed_permanent: row.failed_permanent,
            failed_rate_limit: row.failed_rate_limit,
            failed_auth_failure: row.failed_auth_failure,
            failed_invalid_input: row.failed_invalid_input,
            unknown: row.unknown,
            waiting: row.waiting,
            dropped: row.dropped,
            stopped: row.stopped,
            opened: row.opened,
            machine_opened: row.machine_opened,
            clicked: row.clicked,
            replied: row.replied,
        };
        let took = times.remove(&row.key).unwrap_or_default();
        Line {
            key: row.key,
            name: row.name,
            counts,
            median_ms: percentile_ms(&took, 50),
            p95_ms: percentile_ms(&took, 95),
        }
    });
    Ok(lines.collect())
}

/// How many took how long, by key.
async fn times(
    tx: &mut TenantTx,
    range: Range,
    by: DeliveriesBy,
) -> Result<HashMap<String, BTreeMap<i16, u64>>> {
    let tenant = tx.tenant();
    let rows = sqlx::query!(
        r#"
        SELECT CASE $4 WHEN 'provider' THEN p.provider WHEN 'connection' THEN t.connection_id::text WHEN 'channel' THEN t.channel
                WHEN 'type' THEN t.message_type ELSE t.day::text END AS "key!",
            t.bucket AS "bucket!", sum(t.deliveries)::bigint AS "deliveries!"
        FROM delivery_day_times t
        JOIN delivery_days p ON p.tenant_id = t.tenant_id AND p.day = t.day AND p.connection_id = t.connection_id
            AND p.channel = t.channel AND p.message_type = t.message_type
        WHERE t.tenant_id = $1 AND t.day >= $2::text::date AND t.day <= $3::text::date
        GROUP BY 1, 2 ORDER BY 1, 2 LIMIT $5
        "#,
        tenant.0,
        range.from.to_string(),
        range.to.to_string(),
        by.as_str(),
        BUCKETS,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut times: HashMap<String, BTreeMap<i16, u64>> = HashMap::new();
    for row in rows {
        let count = row.deliveries.max(0).unsigned_abs();
        times.entry(row.key).or_default().insert(row.bucket, count);
    }
    Ok(times)
}

/// How many of these days changed and are not counted anew yet.
///
/// # Errors
/// When the database refuses.
pub async fn due_within(tx: &mut TenantTx, range: Range) -> Result<i64> {
    let tenant = tx.tenant();
    let due = sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM delivery_day_marks
           WHERE tenant_id = $1 AND day >= $2::text::date AND day <= $3::text::date"#,
        tenant.0,
        range.from.to_string(),
        range.to.to_string(),
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(due)
}
