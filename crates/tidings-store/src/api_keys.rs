//! API keys: `tdg_<prefix>_<secret>`. The prefix finds the row and may be shown; of the secret only a SHA-256 is kept (it has 256
//! random bits, so a slow hash would add nothing).

use crate::columns::check_length;
use crate::{Result, SealError, StoreError, TenantTx};
use aws_lc_rs::{constant_time, digest};
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use secrecy::SecretString;
use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use tidings_core::{ApiKeyId, Dice, TenantId};
use uuid::Uuid;

/// `last_used_at` is written at most this often, so that a busy key does not write with every request.
const LAST_USED_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// The most keys of one owner that are listed.
const LIST_LIMIT: i64 = 1000;

const PREFIX_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// What it is for.
    pub name: String,
    /// What it may do, as the API names it; at most 64.
    pub scopes: Vec<String>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose; none for a key of the installation's operator.
    pub tenant: Option<TenantId>,
    /// What it is for.
    pub name: String,
    /// Its public part.
    pub prefix: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was withdrawn.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to within five minutes.
    pub last_used_at: Option<Timestamp>,
}

struct Row {
    id: Uuid,
    tenant_id: Option<Uuid>,
    name: String,
    prefix: String,
    hash: Vec<u8>,
    scopes: Vec<String>,
    created_at: jiff_sqlx::Timestamp,
    expires_at: Option<jiff_sqlx::Timestamp>,
    revoked_at: Option<jiff_sqlx::Timestamp>,
    last_used_at: Option<jiff_sqlx::Timestamp>,
}

impl From<Row> for ApiKey {
    fn from(row: Row) -> Self {
        Self {
            id: ApiKeyId(row.id),
            tenant: row.tenant_id.map(TenantId),
            name: row.name,
            prefix: row.prefix,
            scopes: row.scopes,
            created_at: row.created_at.to_jiff(),
            expires_at: row.expires_at.map(jiff_sqlx::Timestamp::to_jiff),
            revoked_at: row.revoked_at.map(jiff_sqlx::Timestamp::to_jiff),
            last_used_at: row.last_used_at.map(jiff_sqlx::Timestamp::to_jiff),
        }
    }
}

/// Makes a key of a tenant. The text is returned this once.
pub async fn create(
    tx: &mut TenantTx,
    key: NewApiKey,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(ApiKey, SecretString)> {
    let tenant = tx.tenant();
    insert(tx, Some(tenant), key, dice, now).await
}

/// Makes a key of the operator, for every tenant. Wants the workers' pool.
pub async fn create_for_operator(
    conn: &mut PgConnection,
    key: NewApiKey,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(ApiKey, SecretString)> {
    insert(conn, None, key, dice, now).await
}

/// The key of a presented text, if it is right, not withdrawn and not over. Every wrong one gets the same `None`.
pub async fn verify(api: &PgPool, presented: &str, now: Timestamp) -> Result<Option<ApiKey>> {
    let Some((prefix, secret)) = parse(presented) else {
        return Ok(None);
    };
    // Row-level security shows exactly the row with this prefix. It is hexadecimal (see `parse`), so nothing can be smuggled in.
    let begin = format!("BEGIN; SELECT set_config('app.api_key_prefix', '{prefix}', true)");
    let mut tx = api.begin_with(AssertSqlSafe(begin)).await?;
    let row = sqlx::query_as!(
        Row,
        "SELECT id, tenant_id, name, prefix, hash, scopes, created_at, expires_at, revoked_at, last_used_at
         FROM api_keys WHERE prefix = $1",
        prefix,
    )
    .fetch_optional(&mut *tx)
    .await?;
    let given = hash(secret);
    let Some(row) = row else { return Ok(None) };
    if constant_time::verify_slices_are_equal(&given, &row.hash).is_err() {
        return Ok(None);
    }
    let key = ApiKey::from(row);
    if key.revoked_at.is_some() || key.expires_at.is_some_and(|end| end <= now) {
        return Ok(None);
    }
    if key
        .last_used_at
        .is_none_or(|used| now.duration_since(used) >= LAST_USED_EVERY)
    {
        sqlx::query!(
            "UPDATE api_keys SET last_used_at = $2 WHERE prefix = $1",
            prefix,
            now.to_sqlx() as _
        )
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(Some(key))
}

/// The tenant's keys, newest first.
pub async fn list(tx: &mut TenantTx) -> Result<Vec<ApiKey>> {
    let tenant = tx.tenant();
    keys_of(tx, Some(tenant)).await
}

/// The operator's keys, newest first. Wants the workers' pool.
pub async fn list_of_operator(conn: &mut PgConnection) -> Result<Vec<ApiKey>> {
    keys_of(conn, None).await
}

/// Withdraws a key of the tenant, at once and for good.
pub async fn revoke(tx: &mut TenantTx, id: ApiKeyId, now: Timestamp) -> Result<()> {
    let tenant = tx.tenant();
    withdraw(tx, Some(tenant), id, now).await
}

/// Withdraws a key of the operator. Wants the workers' pool.
pub async fn revoke_of_operator(conn: &mut PgConnection, id: ApiKeyId, now: Timestamp) -> Result<()> {
    withdraw(conn, None, id, now).await
}

async fn insert(
    conn: &mut PgConnection,
    tenant: Option<TenantId>,
    key: NewApiKey,
    dice: &mut Dice,
    now: Timestamp,
) -> Result<(ApiKey, SecretString)> {
    check_length("name", &key.name, 100)?;
    if key.scopes.len() > 64 {
        return Err(StoreError::invalid("scopes", "at most 64"));
    }
    let (prefix, secret) = (random_hex::<PREFIX_BYTES>()?, random_hex::<SECRET_BYTES>()?);
    let hash = hash(&secret);
    let row = sqlx::query_as!(
        Row,
        "INSERT INTO api_keys (id, tenant_id, name, prefix, hash, scopes, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         RETURNING id, tenant_id, name, prefix, hash, scopes, created_at, expires_at, revoked_at, last_used_at",
        dice.uuid(now),
        tenant.map(|tenant| tenant.0),
        key.name,
        prefix,
        hash.as_slice(),
        &key.scopes,
        now.to_sqlx() as _,
        key.expires_at.map(ToSqlx::to_sqlx) as _,
    )
    .fetch_one(conn)
    .await?;
    let text = format!("tdg_{prefix}_{secret}");
    Ok((row.into(), SecretString::from(text)))
}

async fn keys_of(conn: &mut PgConnection, tenant: Option<TenantId>) -> Result<Vec<ApiKey>> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, tenant_id, name, prefix, hash, scopes, created_at, expires_at, revoked_at, last_used_at
         FROM api_keys WHERE tenant_id IS NOT DISTINCT FROM $1 ORDER BY id DESC LIMIT $2",
        tenant.map(|tenant| tenant.0),
        LIST_LIMIT,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(ApiKey::from).collect())
}

async fn withdraw(
    conn: &mut PgConnection,
    tenant: Option<TenantId>,
    id: ApiKeyId,
    now: Timestamp,
) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, $3) WHERE tenant_id IS NOT DISTINCT FROM $1 AND id = $2",
        tenant.map(|tenant| tenant.0),
        id.0,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    if done.rows_affected() == 0 {
        Err(StoreError::not_found("API key", id))
    } else {
        Ok(())
    }
}

fn parse(presented: &str) -> Option<(&str, &str)> {
    let (prefix, secret) = presented.strip_prefix("tdg_")?.split_once('_')?;
    let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let right = prefix.len() == 2 * PREFIX_BYTES && secret.len() == 2 * SECRET_BYTES;
    (right && hexadecimal(prefix) && hexadecimal(secret)).then_some((prefix, secret))
}

fn hash(secret: &str) -> [u8; 32] {
    let mut bytes = [0u8; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
    bytes
}

fn random_hex<const N: usize>() -> Result<String, SealError> {
    let mut bytes = [0u8; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| SealError::Library)?;
    Ok(hex::encode(bytes))
}
