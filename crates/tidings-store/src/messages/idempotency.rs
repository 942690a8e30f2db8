//! Answers bound to an Idempotency-Key and the hash of the body it came with.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::PgConnection;
use tidings_core::TenantId;

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
) -> Result<Vec<Option<EarlierAnswer>>, sqlx::Error> {
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

/// Stores an answer. False when another caller stored one first: then nothing of this transaction may be committed.
pub async fn store(
    conn: &mut PgConnection,
    tenant: TenantId,
    key: &str,
    request_hash: &[u8],
    response: &Value,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<bool, sqlx::Error> {
    let stored = sqlx::query!(
        r#"
        INSERT INTO idempotency_keys (tenant_id, key, request_hash, response, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (tenant_id, key) DO UPDATE
            SET request_hash = excluded.request_hash, response = excluded.response, created_at = excluded.created_at,
                expires_at = excluded.expires_at
            WHERE idempotency_keys.expires_at <= $5
        "#,
        tenant.0,
        key,
        request_hash,
        response,
        now.to_sqlx() as _,
        expires_at.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(stored.rows_affected() == 1)
}

/// Removes at most `limit` expired keys; returns how many.
pub async fn purge(conn: &mut PgConnection, now: Timestamp, limit: i64) -> Result<u64, sqlx::Error> {
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
