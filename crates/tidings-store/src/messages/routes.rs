//! The connections a batch may go out by, with their breakers.

use super::words::word;
use crate::Result;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::PgConnection;
use std::time::Duration;
use tidings_core::breaker::{Breaker, BreakerState, Ramp, TripCause};
use tidings_core::limit::RateLimit;
use tidings_core::{Channel, ConnectionId, ProviderKind, TenantId};
use uuid::Uuid;

/// An enabled connection.
#[derive(Clone, Debug)]
pub struct RouteRow {
    /// Whose.
    pub tenant: TenantId,
    /// Its id.
    pub id: ConnectionId,
    /// Its name.
    pub name: String,
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
    /// Its own limit; the provider's default where there is none.
    pub rate_limit: Option<RateLimit>,
    /// How long one call may take; as long as the process allows where there is none.
    pub call_limit: Option<Duration>,
    /// Its breaker.
    pub breaker: Breaker,
    /// The version of its breaker.
    pub breaker_version: i64,
}

/// A breaker's columns, as every query of them has them.
pub(crate) struct BreakerColumns {
    pub state: String,
    pub trip: Option<String>,
    pub trips: i32,
    pub retry_at: Option<Timestamp>,
    pub probe_until: Option<Timestamp>,
    pub ramp_from: Option<Timestamp>,
}

impl BreakerColumns {
    /// The breaker they stand for. An opening of an earlier version has no cause on record.
    pub(crate) fn read(&self) -> Result<Breaker> {
        let trips = u32::try_from(self.trips).unwrap_or(0);
        let cause = match self.trip.as_deref() {
            Some(trip) => word(trip)?,
            None => TripCause::FailuresInARow,
        };
        Ok(match word(&self.state)? {
            BreakerState::Closed => Breaker::Closed {
                ramp: self.ramp_from.map(|since| Ramp { since, trips }),
            },
            BreakerState::Open => Breaker::Open {
                retry_at: self.retry_at.unwrap_or(Timestamp::MIN),
                trips,
                cause,
            },
            BreakerState::HalfOpen => Breaker::HalfOpen {
                probe_until: self.probe_until.unwrap_or(Timestamp::MIN),
                trips,
                cause,
            },
        })
    }
}

/// The enabled connections of tenants.
pub async fn load(conn: &mut PgConnection, tenants: &[TenantId]) -> Result<Vec<RouteRow>> {
    let tenants: Vec<_> = tenants.iter().map(|tenant| tenant.0).collect();
    let rows = sqlx::query!(
        r#"
        SELECT tenant_id, id, name, channel, provider, config, credentials_sealed, priority, weight, rate_limit,
            call_limit_ms, breaker, breaker_trip, breaker_failures, breaker_retry_at, breaker_probe_until,
            breaker_ramp_from, breaker_version
        FROM connections WHERE tenant_id = ANY($1) AND enabled ORDER BY tenant_id, id
        "#,
        &tenants,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let at = |time: Option<jiff_sqlx::Timestamp>| time.map(jiff_sqlx::Timestamp::to_jiff);
            let breaker = BreakerColumns {
                state: row.breaker,
                trip: row.breaker_trip,
                trips: row.breaker_failures,
                retry_at: at(row.breaker_retry_at),
                probe_until: at(row.breaker_probe_until),
                ramp_from: at(row.breaker_ramp_from),
            };
            Ok(RouteRow {
                tenant: TenantId(row.tenant_id),
                id: ConnectionId(row.id),
                name: row.name,
                channel: word(&row.channel)?,
                provider: word(&row.provider)?,
                config: row.config,
                credentials_sealed: row.credentials_sealed,
                priority: row.priority,
                weight: u32::try_from(row.weight).unwrap_or(0),
                rate_limit: row
                    .rate_limit
                    .as_ref()
                    .and_then(|value| rate_limit(row.id, value)),
                call_limit: row
                    .call_limit_ms
                    .and_then(|ms| u64::try_from(ms).ok())
                    .map(Duration::from_millis),
                breaker: breaker.read()?,
                breaker_version: row.breaker_version,
            })
        })
        .collect()
}

/// Reads a limit. Every write checks it; a row of before that is out of bounds goes by the provider's default, and says so,
/// because an error here would stop every tenant of the batch.
fn rate_limit(connection: Uuid, value: &Value) -> Option<RateLimit> {
    let number = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or_default();
    RateLimit::new(number("limit"), number("per_ms"))
        .inspect_err(|problem| tracing::warn!(%connection, %problem, "the rate limit of a connection is not kept; set it anew"))
        .ok()
}

/// Takes the single probe of a breaker, as [`set_breaker`] would; false as well where another node is just taking it, without
/// waiting for what becomes of that.
pub async fn take_probe(
    conn: &mut PgConnection,
    tenant: TenantId,
    connection: ConnectionId,
    version: i64,
    is: Breaker,
    now: Timestamp,
) -> Result<bool> {
    let free = sqlx::query_scalar!(
        "SELECT id FROM connections WHERE tenant_id = $1 AND id = $2 AND breaker_version = $3 FOR NO KEY UPDATE SKIP LOCKED",
        tenant.0,
        connection.0,
        version,
    )
    .fetch_optional(&mut *conn)
    .await?;
    if free.is_none() {
        return Ok(false);
    }
    set_breaker(conn, tenant, connection, version, is, None, now).await
}

/// Writes a breaker where it still stands at the version it was read at; false where another node was faster. `detail`
/// says in the provider's words why it opened; it is kept until the breaker closes.
pub async fn set_breaker(
    conn: &mut PgConnection,
    tenant: TenantId,
    connection: ConnectionId,
    version: i64,
    is: Breaker,
    detail: Option<&str>,
    now: Timestamp,
) -> Result<bool> {
    let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let (trips, retry_at, probe_until, ramp_from) = match is {
        Breaker::Closed { ramp } => (
            ramp.map_or(0, |ramp| count(ramp.trips)),
            None,
            None,
            ramp.map(|ramp| ramp.since),
        ),
        Breaker::Open { retry_at, trips, .. } => (count(trips), Some(retry_at), None, None),
        Breaker::HalfOpen {
            probe_until, trips, ..
        } => (count(trips), None, Some(probe_until), None),
    };
    let done = sqlx::query!(
        r#"
        UPDATE connections SET breaker = $4, breaker_version = breaker_version + 1, breaker_trip = $5,
            breaker_failures = $6, breaker_retry_at = $7, breaker_probe_until = $8, breaker_ramp_from = $9,
            breaker_cause = CASE WHEN $4 = 'closed' THEN NULL ELSE coalesce($10, breaker_cause) END,
            breaker_changed_at = $11
        WHERE tenant_id = $1 AND id = $2 AND breaker_version = $3
        "#,
        tenant.0,
        connection.0,
        version,
        is.state().as_str(),
        is.cause().map(TripCause::as_str),
        trips,
        retry_at.map(ToSqlx::to_sqlx) as _,
        probe_until.map(ToSqlx::to_sqlx) as _,
        ramp_from.map(ToSqlx::to_sqlx) as _,
        detail.map(|text| text.chars().take(200).collect::<String>()),
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
