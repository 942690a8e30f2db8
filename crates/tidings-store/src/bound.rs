//! A bound of its own for a transaction whose statements may not take as long as others of its pool, or must be let take longer.

use crate::Result;
use sqlx::PgConnection;

/// From here on the database ends every statement of the transaction that takes longer than this, in milliseconds; the
/// transaction is rolled back then.
///
/// # Errors
/// When the database refuses.
pub async fn statements(conn: &mut PgConnection, limit_ms: u32) -> Result<()> {
    sqlx::query_scalar!(
        "SELECT set_config('statement_timeout', $1, true)",
        limit_ms.to_string()
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}
