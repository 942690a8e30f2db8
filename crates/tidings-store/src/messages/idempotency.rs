//! Answers bound to an Idempotency-Key and the hash of the body it came with.

use crate::Result;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::PgConnection;
use std::collections::HashSet;
use tidings_core::TenantId;

/// A key with the hash of its body.
#[derive(Clone, Debug)]
pub struct KeyClaim {
    /// Whose.
    pub tenant: TenantId,
    /// The key.
    pub key: String,
    /// SHA-256 of the body.
    pub request_hash: Vec<u8>,
}

/// An answer that was given before.
#[derive(Clone, Debug)]
pub struct EarlierAnswer {
    /// SHA-256 of the body it was given to.
    pub request_hash: Vec<u8>,
    /// The answer.
    pub response: Value,
}

/// Looks keys up, in the order asked.
pub async fn look_up(
    conn: &mut PgConnection,
    keys: &[(TenantId, String)],
    now: Timestamp,
) -> Result<Vec<Option<EarlierAnswer>>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let tenants: Vec<_> = keys.iter().map(|(tenant, _)| tenant.0).collect();
    let texts: Vec<_> = keys.iter().map(|(_, key)| key.as_str()).collect();
    let rows = sqlx::query!(
        r#"
        SELECT i.ord AS "ord!", k.request_hash, k.response
        FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS i(tenant_id, key, ord)
        JOIN idempotency_keys k ON k.tenant_id = i.tenant_id AND k.key = i.key AND k.expires_at > $3
        "#,
        &tenants,
        &texts as _,
        now.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    let mut answers: Vec<Option<EarlierAnswer>> = keys.iter().map(|_| None).collect();
    for row in rows {
        let place = usize::try_from(row.ord).unwrap_or(0).saturating_sub(1);
        if let Some(answer) = answers.get_mut(place) {
            *answer = Some(EarlierAnswer {
                request_hash: row.request_hash,
                response: row.response,
            });
        }
    }
    Ok(answers)
}

/// Claims keys for this transaction; waits for another that holds one. The answer holds those that are ours: for the
/// others somebody's answer stands already, and nothing of theirs may be written here.
pub async fn claim(
    conn: &mut PgConnection,
    claims: &[KeyClaim],
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<HashSet<(TenantId, String)>> {
    if claims.is_empty() {
        return Ok(HashSet::new());
    }
    let tenants: Vec<_> = claims.iter().map(|claim| claim.tenant.0).collect();
    let keys: Vec<_> = claims.iter().map(|claim| claim.key.as_str()).collect();
    let hashes: Vec<_> = claims.iter().map(|claim| claim.request_hash.as_slice()).collect();
    let rows = sqlx::query!(
        r#"
        INSERT INTO idempotency_keys (tenant_id, key, request_hash, response, created_at, expires_at)
        SELECT tenant_id, key, request_hash, '[]', $4, $5
        FROM unnest($1::uuid[], $2::text[], $3::bytea[]) AS i(tenant_id, key, request_hash)
        ORDER BY tenant_id, key
        ON CONFLICT (tenant_id, key) DO UPDATE
            SET request_hash = excluded.request_hash, response = '[]', created_at = excluded.created_at,
                expires_at = excluded.expires_at
            WHERE idempotency_keys.expires_at <= $4
        RETURNING tenant_id, key
        "#,
        &tenants,
        &keys as _,
        &hashes as _,
        now.to_sqlx() as _,
        expires_at.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (TenantId(row.tenant_id), row.key))
        .collect())
}

/// Writes the answers of claimed keys.
pub async fn answer(conn: &mut PgConnection, answers: &[(TenantId, String, Value)]) -> Result<()> {
    if answers.is_empty() {
        return Ok(());
    }
    let tenants: Vec<_> = answers.iter().map(|(tenant, ..)| tenant.0).collect();
    let keys: Vec<_> = answers.iter().map(|(_, key, _)| key.as_str()).collect();
    let responses: Vec<_> = answers.iter().map(|(.., response)| response).collect();
    sqlx::query!(
        r#"
        UPDATE idempotency_keys k SET response = i.response
        FROM unnest($1::uuid[], $2::text[], $3::jsonb[]) AS i(tenant_id, key, response)
        WHERE k.tenant_id = i.tenant_id AND k.key = i.key
        "#,
        &tenants,
        &keys as _,
        &responses as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes at most `limit` expired keys; returns how many.
pub async fn purge(conn: &mut PgConnection, now: Timestamp, limit: i64) -> Result<u64> {
    let purged = sqlx::query!(
        r#"
        DELETE FROM idempotency_keys WHERE (tenant_id, key) IN (
            SELECT tenant_id, key FROM idempotency_keys WHERE expires_at <= $1 LIMIT $2)
        "#,
        now.to_sqlx() as _,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(purged.rows_affected())
}
