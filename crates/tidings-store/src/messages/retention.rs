//! What is kept no longer: each step deletes at most `limit` rows, so that no statement holds locks for long.

use crate::Result;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;

/// Until when what is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Messages accepted before this instant go, with all that hangs on them.
    pub messages_before: Timestamp,
    /// Applied webhooks received before it go.
    pub webhooks_before: Timestamp,
    /// Captured mail of the sandbox goes.
    pub sandbox_before: Timestamp,
    /// Idempotency keys that end before it go.
    pub keys_before: Timestamp,
}

/// One step over every table; returns how many rows went. Fewer than `limit` means that nothing is left to do now.
pub async fn step(conn: &mut PgConnection, retention: &Retention, limit: i64) -> Result<u64> {
    let keys = sqlx::query!(
        "DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM idempotency_keys WHERE expires_at < $1 LIMIT $2))",
        retention.keys_before.to_sqlx() as _,
        limit,
    )
    .execute(&mut *conn)
    .await?;
    let webhooks = sqlx::query!(
        "DELETE FROM webhook_inbox WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM webhook_inbox WHERE processed_at IS NOT NULL AND received_at < $1 LIMIT $2))",
        retention.webhooks_before.to_sqlx() as _,
        limit,
    )
    .execute(&mut *conn)
    .await?;
    let sandbox = sqlx::query!(
        "DELETE FROM sandbox_messages WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM sandbox_messages WHERE captured_at < $1 LIMIT $2))",
        retention.sandbox_before.to_sqlx() as _,
        limit,
    )
    .execute(&mut *conn)
    .await?;
    let messages = sqlx::query!(
        "DELETE FROM messages WHERE (tenant_id, id) IN (
             SELECT tenant_id, id FROM messages
             WHERE accepted_at < $1 AND status NOT IN ('pending', 'queued') LIMIT $2)",
        retention.messages_before.to_sqlx() as _,
        limit,
    )
    .execute(&mut *conn)
    .await?;
    Ok(keys.rows_affected() + webhooks.rows_affected() + sandbox.rows_affected() + messages.rows_affected())
}
