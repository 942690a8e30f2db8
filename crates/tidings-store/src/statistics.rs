//! The planner's statistics, kept up while tables grow from nothing.

use crate::Result;
use sqlx::PgConnection;

/// Has statistics made again for tables that have at least doubled since they were made; returns which. While another
/// session does so there is nothing to do.
pub async fn refresh(conn: &mut PgConnection) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar("SELECT refresh_statistics()")
        .fetch_one(conn)
        .await?)
}
