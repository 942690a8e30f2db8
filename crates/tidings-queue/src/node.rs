//! Nodes: running processes that claim.

use crate::error::{QueueError, at};
use crate::guard::{self, Fence};
use crate::job::LeaseId;
use crate::lease::release;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use tidings_core::NodeId;

/// A running process as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// The process.
    pub node: NodeId,
    /// What its operator calls it.
    pub name: String,
    /// Of the program.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Its last heartbeat.
    pub seen_at: Timestamp,
    /// It finishes what it has and claims no more.
    pub draining: bool,
}

/// Announces a process and checks the guard (stamping a new database). A fence stops claiming, nothing else.
///
/// # Errors
/// When the database refuses.
pub async fn register(
    conn: &mut PgConnection,
    node: NodeId,
    name: &str,
    version: &str,
    now: Timestamp,
) -> Result<Option<Fence>, QueueError> {
    sqlx::query!(
        r#"
        INSERT INTO queue_nodes (node_id, name, version, started_at, seen_at) VALUES ($1, $2, $3, $4, $4)
        ON CONFLICT (node_id) DO UPDATE SET seen_at = excluded.seen_at, idle = false, draining = false
        "#,
        node.0,
        name,
        version,
        now.to_sqlx() as _,
    )
    .execute(&mut *conn)
    .await
    .map_err(at("register the node"))?;
    guard::check(conn, &format!("node {name}"), now).await
}

/// Says that the node sleeps (or no longer does): only then do enqueuers notify. Say it before looking a last time.
///
/// # Errors
/// When the database refuses.
pub async fn set_idle(conn: &mut PgConnection, node: NodeId, idle: bool) -> Result<(), QueueError> {
    sqlx::query!(
        "UPDATE queue_nodes SET idle = $2 WHERE node_id = $1 AND idle <> $2",
        node.0,
        idle
    )
    .execute(conn)
    .await
    .map_err(at("say whether the node sleeps"))?;
    Ok(())
}

/// Says that the node finishes what it has and goes.
///
/// # Errors
/// When the database refuses.
pub async fn set_draining(conn: &mut PgConnection, node: NodeId) -> Result<(), QueueError> {
    sqlx::query!(
        "UPDATE queue_nodes SET draining = true, idle = false WHERE node_id = $1",
        node.0
    )
    .execute(conn)
    .await
    .map_err(at("say that the node drains"))?;
    Ok(())
}

/// The last step of a drain: releases what the node still holds and removes it. Returns how many jobs went back.
/// Only for work that was not begun; what may have been sent is better left to expire and be resolved.
///
/// # Errors
/// When the database refuses.
pub async fn deregister(conn: &mut PgConnection, node: NodeId) -> Result<u32, QueueError> {
    let leases = sqlx::query_scalar!(
        "SELECT lease_id FROM job_leases WHERE node_id = $1 ORDER BY lease_id",
        node.0
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(at("list the leases of the node"))?;
    let mut released = 0;
    for lease in leases {
        released += release(conn, node, LeaseId(lease)).await?;
    }
    sqlx::query!("DELETE FROM queue_nodes WHERE node_id = $1", node.0)
        .execute(conn)
        .await
        .map_err(at("remove the node"))?;
    Ok(released)
}

/// Nodes seen since an instant, at most 1,000.
///
/// # Errors
/// When the database refuses.
pub async fn alive_nodes(conn: &mut PgConnection, seen_since: Timestamp) -> Result<Vec<NodeRow>, QueueError> {
    let rows = sqlx::query!(
        r#"
        SELECT node_id, name, version, started_at, seen_at, draining
        FROM queue_nodes WHERE seen_at >= $1 ORDER BY started_at, node_id LIMIT 1000
        "#,
        seen_since.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await
    .map_err(at("list nodes"))?;
    let rows = rows.into_iter().map(|row| NodeRow {
        node: NodeId(row.node_id),
        name: row.name,
        version: row.version,
        started_at: row.started_at.to_jiff(),
        seen_at: row.seen_at.to_jiff(),
        draining: row.draining,
    });
    Ok(rows.collect())
}
