//! The connections a batch may go out by, with their breakers.

use super::words::word;
use crate::Result;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::PgConnection;
use tidings_core::breaker::Breaker;
use tidings_core::{Channel, ConnectionId, ProviderKind, TenantId};

/// An enabled connection.
#[derive(Clone, Debug)]
pub struct RouteRow {
    /// Whose.
    pub tenant: TenantId,
    /// Its id.
    pub id: ConnectionId,
    /// Its channel.
    pub channel: Channel,
    /// Its provider.
    pub provider: ProviderKind,
    /// What may be shown of its configuration.
    pub config: Value,
    /// Its credentials, sealed under the tenant's key.
    pub credentials_sealed: Option<Vec<u8>>,
    /// Lower goes first.
    pub priority: i32,
    /// Share among those of the same priority.
    pub weight: u32,
    /// `{limit, per_ms}`; the provider's default where there is none.
    pub rate_limit: Option<Value>,
    /// Its breaker.
    pub breaker: Breaker,
}

/// The enabled connections of tenants.
pub async fn load(conn: &mut PgConnection, tenants: &[TenantId]) -> Result<Vec<RouteRow>> {
    let tenants: Vec<_> = tenants.iter().map(|tenant| tenant.0).collect();
    let rows = sqlx::query!(
        r#"
        SELECT tenant_id, id, channel, provider, config, credentials_sealed, priority, weight, rate_limit, breaker,
            breaker_failures, breaker_retry_at, breaker_probe_until
        FROM connections WHERE tenant_id = ANY($1) AND enabled ORDER BY tenant_id, id
        "#,
        &tenants,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let trips = u32::try_from(row.breaker_failures).unwrap_or(0);
            let at = |time: Option<jiff_sqlx::Timestamp>| {
                time.map_or(Timestamp::MIN, jiff_sqlx::Timestamp::to_jiff)
            };
            let breaker = match row.breaker.as_str() {
                "open" => Breaker::Open {
                    retry_at: at(row.breaker_retry_at),
                    trips,
                },
                "half_open" => Breaker::HalfOpen {
                    probe_until: at(row.breaker_probe_until),
                    trips,
                },
                _ => Breaker::Closed { failures: trips },
            };
            Ok(RouteRow {
                tenant: TenantId(row.tenant_id),
                id: ConnectionId(row.id),
                channel: word(&row.channel)?,
                provider: word(&row.provider)?,
                config: row.config,
                credentials_sealed: row.credentials_sealed,
                priority: row.priority,
                weight: u32::try_from(row.weight).unwrap_or(0),
                rate_limit: row.rate_limit,
                breaker,
            })
        })
        .collect()
}

/// Writes a breaker where it still stands as it was read; false where another node was faster.
pub async fn set_breaker(
    conn: &mut PgConnection,
    tenant: TenantId,
    connection: ConnectionId,
    was: Breaker,
    is: Breaker,
    cause: Option<&str>,
    now: Timestamp,
) -> Result<bool> {
    let (before, before_count, before_retry, before_probe) = columns(was);
    let (after, after_count, after_retry, after_probe) = columns(is);
    let done = sqlx::query!(
        r#"
        UPDATE connections SET breaker = $3, breaker_failures = $4, breaker_retry_at = $5, breaker_probe_until = $6,
            breaker_cause = coalesce($7, breaker_cause),
            breaker_changed_at = CASE WHEN breaker = $3 THEN breaker_changed_at ELSE $8 END
        WHERE tenant_id = $1 AND id = $2 AND breaker = $9 AND breaker_failures = $10
            AND ($9 <> 'open' OR breaker_retry_at IS NOT DISTINCT FROM $11)
            AND ($9 <> 'half_open' OR breaker_probe_until IS NOT DISTINCT FROM $12)
        "#,
        tenant.0,
        connection.0,
        after,
        after_count,
        after_retry.map(ToSqlx::to_sqlx) as _,
        after_probe.map(ToSqlx::to_sqlx) as _,
        cause,
        now.to_sqlx() as _,
        before,
        before_count,
        before_retry.map(ToSqlx::to_sqlx) as _,
        before_probe.map(ToSqlx::to_sqlx) as _,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

type Columns = (&'static str, i32, Option<Timestamp>, Option<Timestamp>);

fn columns(breaker: Breaker) -> Columns {
    let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    match breaker {
        Breaker::Closed { failures } => ("closed", count(failures), None, None),
        Breaker::Open { retry_at, trips } => ("open", count(trips), Some(retry_at), None),
        Breaker::HalfOpen { probe_until, trips } => ("half_open", count(trips), None, Some(probe_until)),
    }
}
