//! The guard: a database that was copied or restored starts fenced. It would send again what the original sent or sends, so
//! nothing is claimed, taken over or scheduled from it until an operator lifts the fence.
//!
//! The first node to use a database stamps it with the server's system identifier, the database's oid and the timeline. A copy
//! (`createdb -T`, dump and restore, physical backup restored to a point in time, promoted standby) differs in one of them.
//! What a server does not tell is not compared. Only a byte-for-byte copy of a stopped cluster started under another
//! roof cannot be told from the original: fence it by hand with [`fence`] before starting it.

use crate::error::{QueueError, at};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;

/// Why nothing is claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// What differs, or what the operator wrote.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// What a new timeline means: a promoted standby looks like a restored backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTimeline {
    /// An operator looks first. The default.
    Fence,
    /// Go on: for synchronous standbys, which lose nothing when promoted.
    Follow,
}

impl OnTimeline {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Fence => "fence",
            Self::Follow => "follow",
        }
    }
}

/// Stamps a database that has no stamp, fences one that differs from its stamp, and says whether it is fenced.
/// `who` is written down when something changes.
///
/// # Errors
/// When the database refuses.
pub async fn check(conn: &mut PgConnection, who: &str, now: Timestamp) -> Result<Option<Fence>, QueueError> {
    let row = sqlx::query!(
        r#"
        WITH live AS MATERIALIZED (
            SELECT * FROM queue_identity()
        ), stamped AS (
            INSERT INTO queue_guard (system, database, timeline, changed_by, changed_at)
            SELECT system, database, timeline, $1, $2 FROM live
            ON CONFLICT (only_row) DO NOTHING
        ), differs AS MATERIALIZED (
            SELECT concat_ws('; ',
                CASE WHEN g.system <> l.system AND 'unknown' NOT IN (g.system, l.system)
                     THEN format('it was on system %s and is on %s', g.system, l.system) END,
                CASE WHEN g.database <> l.database
                     THEN format('it was database %s and is %s', g.database, l.database) END,
                CASE WHEN g.timeline <> l.timeline AND g.on_timeline = 'fence' AND 'unknown' NOT IN (g.timeline, l.timeline)
                     THEN format('it was on timeline %s and is on %s', g.timeline, l.timeline) END) AS what
            FROM queue_guard g, live l WHERE NOT g.fenced
        ), fenced AS (
            UPDATE queue_guard SET fenced = true, changed_by = $1, changed_at = $2,
                   reason = 'this database is a copy or was restored: ' || d.what
            FROM differs d WHERE d.what <> ''
            RETURNING reason, changed_at
        )
        SELECT coalesce(f.reason, g.reason, '') AS "reason!", coalesce(f.changed_at, g.changed_at) AS "since!"
        FROM queue_guard g LEFT JOIN fenced f ON true
        WHERE g.fenced OR f.reason IS NOT NULL
        "#,
        who,
        now.to_sqlx() as _,
    )
    .fetch_optional(conn)
    .await
    .map_err(at("check which database this is"))?;
    Ok(row.map(|row| Fence {
        reason: row.reason,
        since: row.since.to_jiff(),
    }))
}

/// Fences the queue by hand.
///
/// # Errors
/// When the database refuses.
pub async fn fence(
    conn: &mut PgConnection,
    reason: &str,
    who: &str,
    now: Timestamp,
) -> Result<(), QueueError> {
    check(conn, who, now).await?;
    sqlx::query!(
        "UPDATE queue_guard SET fenced = true, reason = $1, changed_by = $2, changed_at = $3",
        reason,
        who,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await
    .map_err(at("fence the queue"))?;
    Ok(())
}

/// Lifts the fence: this database is the one that sends from now on. Whatever the original sends or sent after the copy was
/// made is unknown to it; the operator has made sure that the original is off and has chosen what to do with the backlog.
///
/// # Errors
/// When the database refuses.
pub async fn lift(conn: &mut PgConnection, who: &str, now: Timestamp) -> Result<(), QueueError> {
    check(conn, who, now).await?;
    sqlx::query!(
        r#"
        UPDATE queue_guard SET fenced = false, reason = NULL, changed_by = $1, changed_at = $2,
               (system, database, timeline) = (SELECT system, database, timeline FROM queue_identity())
        "#,
        who,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await
    .map_err(at("lift the fence"))?;
    Ok(())
}

/// Says what a new timeline means.
///
/// # Errors
/// When the database refuses.
pub async fn set_on_timeline(
    conn: &mut PgConnection,
    policy: OnTimeline,
    who: &str,
    now: Timestamp,
) -> Result<(), QueueError> {
    check(conn, who, now).await?;
    sqlx::query!(
        "UPDATE queue_guard SET on_timeline = $1, changed_by = $2, changed_at = $3",
        policy.as_str(),
        who,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await
    .map_err(at("set what a new timeline means"))?;
    Ok(())
}
