//! Connections: a tenant's accounts at providers. Credentials are sealed with the tenant's key and never part of a
//! [`Connection`]; only [`load_with_credentials`] opens them, for sending.

use crate::columns::{Page, check_length, rows_for, word};
use crate::mail_addresses;
use crate::messages::routes::BreakerColumns;
use crate::{Keyring, Place, Result, StoreError, TenantTx};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use std::collections::HashMap;
use tidings_core::breaker::{self, BreakerState, TripCause};
use tidings_core::time_limit::LONGEST_CALL_MS;
use tidings_core::{Channel, ConnectionId, Dice, ProviderKind, TenantId};
use uuid::Uuid;

/// The most connections that are loaded at once.
const LOAD_LIMIT: i64 = 10_000;

/// The shortest limit of a call, in milliseconds.
pub const SHORTEST_CALL_MS: u32 = 100;

/// The largest credentials, in bytes.
const CREDENTIALS_LIMIT: usize = 65_536;

/// At most `limit` messages in any `per_ms` milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How many.
    pub limit: u32,
    /// In how long.
    pub per_ms: u64,
}

/// The breaker of a connection, shared between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breaker {
    /// Where it stands.
    #[serde(flatten)]
    pub position: breaker::Breaker,
    /// What the provider said when it opened, cut short; none while closed.
    pub detail: Option<String>,
    /// When it last changed.
    pub changed_at: Option<Timestamp>,
    /// Rises with every change.
    pub version: i64,
}

impl Breaker {
    /// Its position, as a word.
    pub const fn state(&self) -> BreakerState {
        self.position.state()
    }

    /// Why it is not closed.
    pub const fn cause(&self) -> Option<TripCause> {
        self.position.cause()
    }
}

/// A connection, without its credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// Whose.
    #[serde(skip)]
    pub tenant: TenantId,
    /// Its id.
    pub id: ConnectionId,
    /// Its name, unique within the tenant.
    pub name: String,
    /// The channel.
    pub channel: Channel,
    /// The provider.
    pub provider: ProviderKind,
    /// Sender identity, base URL, options.
    pub config: serde_json::Value,
    /// Credentials are on file.
    pub has_credentials: bool,
    /// Lower is tried first.
    pub priority: i32,
    /// Share among those of equal priority.
    pub weight: u32,
    /// May be used.
    pub enabled: bool,
    /// None: the provider's default.
    pub rate_limit: Option<RateLimit>,
    /// How long one call may take, in milliseconds; none: as long as the process allows.
    pub call_limit_ms: Option<u32>,
    /// Its breaker.
    pub breaker: Breaker,
    /// Since when.
    pub created_at: Timestamp,
    /// Last change of its settings.
    pub updated_at: Timestamp,
}

/// A connection to be, or all settings of an existing one.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// Its name.
    pub name: String,
    /// The channel.
    pub channel: Channel,
    /// The provider.
    pub provider: ProviderKind,
    /// Sender identity, base URL, options: an object, nothing secret.
    pub config: serde_json::Value,
    /// The provider's secrets as JSON text. `None` keeps those on file.
    pub credentials: Option<SecretString>,
    /// Lower is tried first.
    pub priority: i32,
    /// 0 to 1000.
    pub weight: u32,
    /// May be used.
    pub enabled: bool,
    /// None: the provider's default.
    pub rate_limit: Option<RateLimit>,
    /// How long one call may take, in milliseconds; none: as long as the process allows.
    pub call_limit_ms: Option<u32>,
}

struct Row {
    tenant_id: Uuid,
    id: Uuid,
    name: String,
    channel: String,
    provider: String,
    config: serde_json::Value,
    credentials_sealed: Option<Vec<u8>>,
    priority: i32,
    weight: i32,
    enabled: bool,
    rate_limit: Option<serde_json::Value>,
    breaker: String,
    breaker_cause: Option<String>,
    breaker_failures: i32,
    breaker_changed_at: Option<jiff_sqlx::Timestamp>,
    breaker_retry_at: Option<jiff_sqlx::Timestamp>,
    breaker_probe_until: Option<jiff_sqlx::Timestamp>,
    breaker_trip: Option<String>,
    breaker_ramp_from: Option<jiff_sqlx::Timestamp>,
    breaker_version: i64,
    call_limit_ms: Option<i32>,
    created_at: jiff_sqlx::Timestamp,
    updated_at: jiff_sqlx::Timestamp,
}

impl TryFrom<Row> for Connection {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self> {
        let rate_limit = row
            .rate_limit
            .map(|json| crate::columns::from_json("connections.rate_limit", json));
        let at = |time: Option<jiff_sqlx::Timestamp>| time.map(jiff_sqlx::Timestamp::to_jiff);
        let columns = BreakerColumns {
            state: row.breaker,
            trip: row.breaker_trip,
            trips: row.breaker_failures,
            retry_at: at(row.breaker_retry_at),
            probe_until: at(row.breaker_probe_until),
            ramp_from: at(row.breaker_ramp_from),
        };
        Ok(Self {
            tenant: TenantId(row.tenant_id),
            id: ConnectionId(row.id),
            name: row.name,
            channel: word("connections.channel", &row.channel)?,
            provider: word("connections.provider", &row.provider)?,
            config: row.config,
            has_credentials: row.credentials_sealed.is_some(),
            priority: row.priority,
            weight: row.weight.unsigned_abs(),
            enabled: row.enabled,
            rate_limit: rate_limit.transpose()?,
            call_limit_ms: row.call_limit_ms.map(i32::unsigned_abs),
            breaker: Breaker {
                position: columns.read()?,
                detail: row.breaker_cause,
                changed_at: row.breaker_changed_at.map(jiff_sqlx::Timestamp::to_jiff),
                version: row.breaker_version,
            },
            created_at: row.created_at.to_jiff(),
            updated_at: row.updated_at.to_jiff(),
        })
    }
}

/// A number has one connection that is on: two would not keep the pace that its carrier holds it to.
async fn number_is_free(
    tx: &mut TenantTx,
    settings: &ConnectionSettings,
    own: Option<ConnectionId>,
) -> Result<()> {
    let number = settings.provider.number(&settings.config);
    let Some((setting, number)) = number.filter(|_| settings.enabled) else {
        return Ok(());
    };
    let tenant = tx.tenant();
    let others = rows(tx, &[tenant.0], None, None).await?;
    let same = |row: &&Row| {
        row.enabled
            && row.provider == settings.provider.as_str()
            && own.is_none_or(|own| own.0 != row.id)
            && settings.provider.number(&row.config) == Some((setting, number))
    };
    let other = others.iter().find(same).map(|row| row.name.as_str());
    match other {
        None => Ok(()),
        Some(name) => Err(StoreError::Conflict {
            what: format!(
                "the connection \"{name}\" sends from the same number ({setting}), and a number has one pace; \
                 disable one of them first"
            ),
        }),
    }
}

/// Creates a connection.
///
/// # Errors
/// [`StoreError::Conflict`] when the name is taken, another connection that is on has the number, or another tenant holds the
/// sender's address for mail, [`StoreError::Invalid`] when a setting breaks its limits.
pub async fn create(
    tx: &mut TenantTx,
    settings: &ConnectionSettings,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<Connection> {
    check(settings)?;
    number_is_free(tx, settings, None).await?;
    mail_addresses::hold(tx, settings, now).await?;
    let id = ConnectionId(dice.uuid(now));
    let sealed = seal(tx, id, settings).await?;
    let inserted = sqlx::query!(
        "INSERT INTO connections (tenant_id, id, name, channel, provider, config, credentials_sealed, priority, weight, enabled,
                                  rate_limit, created_at, updated_at, call_limit_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, $13) ON CONFLICT (tenant_id, name) DO NOTHING",
        tx.tenant().0,
        id.0,
        settings.name,
        settings.channel.as_str(),
        settings.provider.as_str(),
        settings.config,
        sealed,
        settings.priority,
        i32::try_from(settings.weight).unwrap_or(i32::MAX),
        settings.enabled,
        rate_limit_json(settings)?,
        now.to_sqlx() as _,
        call_limit(settings),
    )
    .execute(&mut **tx)
    .await?;
    if inserted.rows_affected() == 0 {
        return Err(name_taken(&settings.name));
    }
    get(tx, id).await
}

/// Replaces the settings of a connection; its breaker stays as it is.
pub async fn update(
    tx: &mut TenantTx,
    id: ConnectionId,
    settings: &ConnectionSettings,
    now: Timestamp,
) -> Result<Connection> {
    check(settings)?;
    number_is_free(tx, settings, Some(id)).await?;
    mail_addresses::hold(tx, settings, now).await?;
    let sealed = seal(tx, id, settings).await?;
    let updated = sqlx::query!(
        "UPDATE connections SET name = $3, channel = $4, provider = $5, config = $6,
                credentials_sealed = coalesce($7, credentials_sealed), priority = $8, weight = $9, enabled = $10,
                rate_limit = $11, updated_at = $12, call_limit_ms = $13
         WHERE tenant_id = $1 AND id = $2",
        tx.tenant().0,
        id.0,
        settings.name,
        settings.channel.as_str(),
        settings.provider.as_str(),
        settings.config,
        sealed,
        settings.priority,
        i32::try_from(settings.weight).unwrap_or(i32::MAX),
        settings.enabled,
        rate_limit_json(settings)?,
        now.to_sqlx() as _,
        call_limit(settings),
    )
    .execute(&mut **tx)
    .await
    .map_err(StoreError::from);
    match updated {
        Ok(done) if done.rows_affected() == 0 => Err(StoreError::not_found("connection", id)),
        Ok(_) => {
            mail_addresses::release(tx).await?;
            get(tx, id).await
        }
        Err(error) if error.violates("connections_tenant_id_name_key") => Err(name_taken(&settings.name)),
        Err(error) => Err(error),
    }
}

/// One connection.
pub async fn get(tx: &mut TenantTx, id: ConnectionId) -> Result<Connection> {
    let tenant = tx.tenant();
    let rows = rows(tx, &[tenant.0], Some(id.0), None).await?;
    rows.into_iter()
        .next()
        .ok_or_else(|| StoreError::not_found("connection", id))?
        .try_into()
}

/// One connection by its name.
pub async fn get_by_name(tx: &mut TenantTx, name: &str) -> Result<Connection> {
    let tenant = tx.tenant();
    let rows = rows(tx, &[tenant.0], None, Some(name)).await?;
    rows.into_iter()
        .next()
        .ok_or_else(|| StoreError::not_found("connection", name))?
        .try_into()
}

/// The names of the tenant's connections.
pub async fn names(tx: &mut TenantTx) -> Result<HashMap<ConnectionId, String>> {
    let rows = sqlx::query!(
        "SELECT id, name FROM connections WHERE tenant_id = $1 ORDER BY id LIMIT $2",
        tx.tenant().0,
        LOAD_LIMIT,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (ConnectionId(row.id), row.name))
        .collect())
}

/// The tenant's connections in order of their id.
pub async fn list(
    tx: &mut TenantTx,
    after: Option<ConnectionId>,
    limit: u32,
) -> Result<Page<Connection, ConnectionId>> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT tenant_id, id, name, channel, provider, config, credentials_sealed, priority, weight, enabled, rate_limit,
                breaker, breaker_cause, breaker_failures, breaker_changed_at, breaker_retry_at, breaker_probe_until,
                breaker_trip, breaker_ramp_from, breaker_version, call_limit_ms, created_at, updated_at
         FROM connections WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3",
        tx.tenant().0,
        after.map(|id| id.0),
        rows_for(limit),
    )
    .fetch_all(&mut **tx)
    .await?;
    let connections = rows
        .into_iter()
        .map(Connection::try_from)
        .collect::<Result<Vec<_>>>()?;
    Ok(Page::from_rows(connections, limit, |connection| connection.id))
}

/// Every connection of these tenants, credentials opened, in order of priority and name: for sending. Wants the workers' pool
/// when there is more than one tenant.
pub async fn load_with_credentials(
    conn: &mut PgConnection,
    keyring: &Keyring,
    tenants: &[TenantId],
) -> Result<Vec<(Connection, Option<SecretString>)>> {
    let ids: Vec<Uuid> = tenants.iter().map(|tenant| tenant.0).collect();
    let rows = rows(conn, &ids, None, None).await?;
    let owners: Vec<TenantId> = rows.iter().map(|row| TenantId(row.tenant_id)).collect();
    let keys = keyring.tenant_keys(conn, &owners).await?;
    let mut loaded = Vec::with_capacity(rows.len());
    for row in rows {
        let place = credentials_place(TenantId(row.tenant_id), ConnectionId(row.id));
        let credentials = match &row.credentials_sealed {
            Some(sealed) => {
                let text = String::from_utf8(keys[&TenantId(row.tenant_id)].open(&place, sealed)?)
                    .map_err(|_| StoreError::invalid("credentials", "the stored credentials are not text"))?;
                Some(SecretString::from(text))
            }
            None => None,
        };
        loaded.push((Connection::try_from(row)?, credentials));
    }
    Ok(loaded)
}

/// Which tenant a connection belongs to, for webhooks that arrive with the connection's id alone. Wants the workers' pool.
pub async fn tenant_of(conn: &mut PgConnection, id: ConnectionId) -> Result<TenantId> {
    let tenants = sqlx::query_scalar!("SELECT tenant_id FROM connections WHERE id = $1 LIMIT 2", id.0)
        .fetch_all(conn)
        .await?;
    match tenants.as_slice() {
        [tenant] => Ok(TenantId(*tenant)),
        _ => Err(StoreError::not_found("connection", id)),
    }
}

/// Removes a connection.
///
/// # Errors
/// [`StoreError::Conflict`] when messages were sent through it: disable it instead.
pub async fn remove(tx: &mut TenantTx, id: ConnectionId) -> Result<()> {
    let removed = sqlx::query!(
        "DELETE FROM connections WHERE tenant_id = $1 AND id = $2",
        tx.tenant().0,
        id.0
    )
    .execute(&mut **tx)
    .await;
    match removed {
        Ok(done) if done.rows_affected() == 0 => Err(StoreError::not_found("connection", id)),
        Ok(_) => mail_addresses::release(tx).await,
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
            let what = format!("messages were sent through the connection \"{id}\"; disable it instead");
            Err(StoreError::Conflict { what })
        }
        Err(error) => Err(error.into()),
    }
}

async fn rows(
    conn: &mut PgConnection,
    tenants: &[Uuid],
    id: Option<Uuid>,
    name: Option<&str>,
) -> Result<Vec<Row>> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT tenant_id, id, name, channel, provider, config, credentials_sealed, priority, weight, enabled, rate_limit,
                breaker, breaker_cause, breaker_failures, breaker_changed_at, breaker_retry_at, breaker_probe_until,
                breaker_trip, breaker_ramp_from, breaker_version, call_limit_ms, created_at, updated_at
         FROM connections
         WHERE tenant_id = ANY ($1) AND ($2::uuid IS NULL OR id = $2) AND ($3::text IS NULL OR name = $3)
         ORDER BY tenant_id, priority, name LIMIT $4",
        tenants,
        id,
        name,
        LOAD_LIMIT,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

async fn seal(tx: &mut TenantTx, id: ConnectionId, settings: &ConnectionSettings) -> Result<Option<Vec<u8>>> {
    let Some(credentials) = &settings.credentials else {
        return Ok(None);
    };
    let (tenant, keyring) = (tx.tenant(), tx.keyring());
    let key = keyring.tenant_key(tx, tenant).await?;
    let sealed = key.seal(
        &credentials_place(tenant, id),
        credentials.expose_secret().as_bytes(),
    )?;
    Ok(Some(sealed))
}

const fn credentials_place(tenant: TenantId, id: ConnectionId) -> Place {
    Place::new("connections", "credentials_sealed", tenant, id.0)
}

fn rate_limit_json(settings: &ConnectionSettings) -> Result<Option<serde_json::Value>> {
    settings
        .rate_limit
        .map(|limit| crate::columns::to_json("rate_limit", &limit))
        .transpose()
}

fn call_limit(settings: &ConnectionSettings) -> Option<i32> {
    settings
        .call_limit_ms
        .map(|ms| i32::try_from(ms).unwrap_or(i32::MAX))
}

fn name_taken(name: &str) -> StoreError {
    StoreError::Conflict {
        what: format!("a connection named \"{name}\" exists"),
    }
}

fn check(settings: &ConnectionSettings) -> Result<()> {
    check_length("name", &settings.name, 100)?;
    if !settings.provider.carries(settings.channel) {
        let problem = format!("{} does not carry {}", settings.provider, settings.channel);
        return Err(StoreError::invalid("provider", problem));
    }
    if !settings.config.is_object() {
        return Err(StoreError::invalid("config", "must be an object"));
    }
    if settings.weight > 1000 {
        return Err(StoreError::invalid("weight", "use 0 to 1000"));
    }
    if let Some(rate) = settings.rate_limit
        && let Err(problem) = tidings_core::limit::RateLimit::new(u64::from(rate.limit), rate.per_ms)
    {
        let problem = format!("{problem}; disable the connection to stop it");
        return Err(StoreError::invalid("rate_limit", problem));
    }
    if settings
        .call_limit_ms
        .is_some_and(|ms| !(SHORTEST_CALL_MS..=LONGEST_CALL_MS).contains(&ms))
    {
        return Err(StoreError::invalid(
            "call_limit_ms",
            format!("use {SHORTEST_CALL_MS} to {LONGEST_CALL_MS}"),
        ));
    }
    if settings
        .credentials
        .as_ref()
        .is_some_and(|secret| secret.expose_secret().len() > CREDENTIALS_LIMIT)
    {
        return Err(StoreError::invalid(
            "credentials",
            format!("at most {CREDENTIALS_LIMIT} bytes"),
        ));
    }
    Ok(())
}
