//! Schedules: what runs at times, once, whatever restarts, overlaps or node counts do.
//!
//! The rows say when a schedule comes due next; how that moment is found (zones, local times, cadence) is a rule of the caller's.

use crate::error::{QueueError, at};
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::PgConnection;
use tidings_core::{NodeId, TenantId};

/// How many missed moments of one schedule are written down one by one in a call; older ones are passed over.
const MISSED_MAX: usize = 100;

/// How many missed moments of one schedule are counted through; with more, it goes on from now.
const STEPS_MAX: u32 = 100_000;

/// What happens to a moment that passed while nothing ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissedRun {
    /// The last missed moment runs, however late; earlier ones are superseded by it.
    RunLate,
    /// The last missed moment runs unless it is older than this; else it is skipped.
    SkipOlderThan {
        /// In milliseconds.
        max_lateness_ms: i64,
    },
}

/// Something that runs at times.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Whose; the nil tenant for the installation's own.
    pub tenant: TenantId,
    /// Unique within the tenant.
    pub name: String,
    /// How the caller finds the next moment.
    pub cadence: Value,
    /// What happens to missed moments.
    pub missed_run: MissedRun,
    /// The next moment; none: never.
    pub next_at: Option<Timestamp>,
}

/// A moment that this call decided to run. The caller enqueues its work in the same transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    /// The schedule, with its next moment already moved on.
    pub schedule: Schedule,
    /// The moment; goes into source references.
    pub due_at: Timestamp,
    /// How much later than that it is, in milliseconds.
    pub late_ms: i64,
}

/// Adds a schedule or changes it. An unchanged cadence keeps the moment that is due next, so a restart misses nothing.
///
/// # Errors
/// When the database refuses.
pub async fn put(conn: &mut PgConnection, schedule: &Schedule, now: Timestamp) -> Result<(), QueueError> {
    let (word, lateness) = match schedule.missed_run {
        MissedRun::RunLate => ("run_late", None),
        MissedRun::SkipOlderThan { max_lateness_ms } => ("skip_older_than", Some(max_lateness_ms)),
    };
    sqlx::query!(
        r#"
        INSERT INTO schedules AS s (tenant_id, name, cadence, missed_run, max_lateness_ms, next_at, changed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (tenant_id, name) DO UPDATE SET
            cadence = excluded.cadence, missed_run = excluded.missed_run, max_lateness_ms = excluded.max_lateness_ms,
            next_at = CASE WHEN s.cadence = excluded.cadence AND s.next_at IS NOT NULL THEN s.next_at ELSE excluded.next_at END,
            enabled = true, changed_at = excluded.changed_at
        "#,
        schedule.tenant.0,
        schedule.name,
        schedule.cadence,
        word,
        lateness,
        schedule.next_at.map(ToSqlx::to_sqlx) as _,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await
    .map_err(at("write a schedule"))?;
    Ok(())
}

/// Stops a schedule; what it had decided to run stays. False when there is none.
///
/// # Errors
/// When the database refuses.
pub async fn disable(
    conn: &mut PgConnection,
    tenant: TenantId,
    name: &str,
    now: Timestamp,
) -> Result<bool, QueueError> {
    let done = sqlx::query!(
        "UPDATE schedules SET enabled = false, changed_at = $3 WHERE tenant_id = $1 AND name = $2 AND enabled",
        tenant.0,
        name,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await
    .map_err(at("stop a schedule"))?;
    Ok(done.rows_affected() > 0)
}

/// A tenant's schedules whose names begin so, in order of their names; those that were stopped have no next moment.
///
/// # Errors
/// When the database refuses.
pub async fn list(
    conn: &mut PgConnection,
    tenant: TenantId,
    beginning: &str,
) -> Result<Vec<Schedule>, QueueError> {
    let rows = sqlx::query!(
        r#"
        SELECT tenant_id, name, cadence, max_lateness_ms, CASE WHEN enabled THEN next_at END AS "next_at: jiff_sqlx::Timestamp"
        FROM schedules WHERE tenant_id = $1 AND starts_with(name, $2) ORDER BY name
        "#,
        tenant.0,
        beginning,
    )
    .fetch_all(conn)
    .await
    .map_err(at("list schedules"))?;
    let read = rows.into_iter().map(|row| Schedule {
        tenant: TenantId(row.tenant_id),
        name: row.name,
        cadence: row.cadence,
        missed_run: missed_run(row.max_lateness_ms),
        next_at: row.next_at.map(jiff_sqlx::Timestamp::to_jiff),
    });
    Ok(read.collect())
}

fn missed_run(max_lateness_ms: Option<i64>) -> MissedRun {
    max_lateness_ms.map_or(MissedRun::RunLate, |max_lateness_ms| MissedRun::SkipOlderThan {
        max_lateness_ms,
    })
}

/// Decides what runs now: for up to `limit` schedules that came due and whose names begin so, writes down each missed moment
/// and what becomes of it, moves the schedule on, and returns the moments to run. `next` gives the first moment after another
/// one. Who works on one kind of schedules is held up by no other kind.
///
/// Two nodes may call it at once: a schedule is locked by one of them, and the occurrence's key keeps a moment from being
/// decided twice even so. Nothing while the queue is fenced. Call it in a transaction, together with enqueueing the work:
/// what is rolled back was not run.
///
/// # Errors
/// When the database refuses, or the connection is not in a transaction.
pub async fn run_due(
    conn: &mut PgConnection,
    node: NodeId,
    beginning: &str,
    now: Timestamp,
    limit: u32,
    mut next: impl FnMut(&Schedule, Timestamp) -> Option<Timestamp>,
) -> Result<Vec<Occurrence>, QueueError> {
    if !sqlx::Connection::is_in_transaction(&*conn) {
        return Err(QueueError::Bound(
            "schedules are run within a transaction; begin one first".to_owned(),
        ));
    }
    let mut run = Vec::new();
    for schedule in lock_due(conn, beginning, now, limit).await? {
        let decided = decide(&schedule, now, &mut next);
        let new = write_decision(conn, node, &schedule, &decided, now).await?;
        if let Some(due_at) = decided.run.filter(|_| new) {
            let late_ms = now.as_millisecond() - due_at.as_millisecond();
            let schedule = Schedule {
                next_at: decided.next_at,
                ..schedule
            };
            run.push(Occurrence {
                schedule,
                due_at,
                late_ms,
            });
        }
    }
    Ok(run)
}

async fn lock_due(
    conn: &mut PgConnection,
    beginning: &str,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Schedule>, QueueError> {
    let rows = sqlx::query!(
        r#"
        SELECT tenant_id, name, cadence, max_lateness_ms, next_at
        FROM schedules WHERE enabled AND next_at <= $1 AND starts_with(name, $3) AND queue_open()
        ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED
        "#,
        now.to_sqlx() as _,
        i64::from(limit),
        beginning,
    )
    .fetch_all(conn)
    .await
    .map_err(at("find schedules that came due"))?;
    let schedules = rows.into_iter().map(|row| Schedule {
        tenant: TenantId(row.tenant_id),
        name: row.name,
        cadence: row.cadence,
        missed_run: missed_run(row.max_lateness_ms),
        next_at: row.next_at.map(jiff_sqlx::Timestamp::to_jiff),
    });
    Ok(schedules.collect())
}

/// What becomes of the moments that passed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decided {
    run: Option<Timestamp>,
    skipped: Option<Timestamp>,
    superseded: Vec<Timestamp>,
    next_at: Option<Timestamp>,
}

/// Pure: the last moment that passed runs or is skipped by the policy, the earlier ones are superseded.
fn decide(
    schedule: &Schedule,
    now: Timestamp,
    next: &mut impl FnMut(&Schedule, Timestamp) -> Option<Timestamp>,
) -> Decided {
    let Some(mut last) = schedule.next_at else {
        return Decided::default();
    };
    let mut decided = Decided::default();
    for step in 0..=STEPS_MAX {
        // A cadence that does not advance ends the schedule; one that was left behind for ages goes on from now.
        let from = if step == STEPS_MAX { now } else { last };
        let following = next(schedule, from).filter(|at| *at > from);
        match following {
            Some(at) if at <= now => {
                decided.superseded.push(last);
                if decided.superseded.len() > MISSED_MAX {
                    decided.superseded.remove(0);
                }
                last = at;
            }
            _ => {
                decided.next_at = following;
                break;
            }
        }
    }
    let late = now.duration_since(last);
    match schedule.missed_run {
        MissedRun::SkipOlderThan { max_lateness_ms }
            if late > SignedDuration::from_millis(max_lateness_ms) =>
        {
            decided.skipped = Some(last);
        }
        _ => decided.run = Some(last),
    }
    decided
}

/// Writes the occurrences and moves the schedule on. False when the moment to run had been decided before.
async fn write_decision(
    conn: &mut PgConnection,
    node: NodeId,
    schedule: &Schedule,
    decided: &Decided,
    now: Timestamp,
) -> Result<bool, QueueError> {
    let mut moments: Vec<jiff_sqlx::Timestamp> = Vec::new();
    let mut verdicts: Vec<&str> = Vec::new();
    let superseded = decided.superseded.iter().map(|at| (at, "superseded"));
    let skipped = decided.skipped.iter().map(|at| (at, "skipped"));
    for (moment, verdict) in superseded
        .chain(skipped)
        .chain(decided.run.iter().map(|at| (at, "run")))
    {
        moments.push(moment.to_sqlx());
        verdicts.push(verdict);
    }
    let row = sqlx::query!(
        r#"
        WITH moved AS (
            UPDATE schedules SET next_at = $6, enabled = $6::timestamptz IS NOT NULL, changed_at = $7
            WHERE tenant_id = $1 AND name = $2
        ), written AS (
            INSERT INTO schedule_occurrences (tenant_id, name, due_at, verdict, node_id, decided_at)
            SELECT $1, $2, o.due_at, o.verdict, $5, $7
            FROM unnest($3::timestamptz[], $4::text[]) AS o (due_at, verdict)
            ON CONFLICT (tenant_id, name, due_at) DO NOTHING
            RETURNING verdict
        )
        SELECT EXISTS (SELECT FROM written WHERE verdict = 'run') AS "run!"
        "#,
        schedule.tenant.0,
        schedule.name,
        &moments,
        &verdicts as &[&str],
        node.0,
        decided.next_at.map(ToSqlx::to_sqlx) as _,
        now.to_sqlx() as _,
    )
    .fetch_one(conn)
    .await
    .map_err(at("write down what runs"))?;
    Ok(row.run)
}

/// Forgets decided moments before an instant, at most 10,000. Returns how many.
///
/// # Errors
/// When the database refuses.
pub async fn forget(conn: &mut PgConnection, before: Timestamp) -> Result<u64, QueueError> {
    let done = sqlx::query!(
        r#"
        DELETE FROM schedule_occurrences
        WHERE ctid = ANY (ARRAY(SELECT ctid FROM schedule_occurrences WHERE due_at < $1 LIMIT 10000))
        "#,
        before.to_sqlx() as _,
    )
    .execute(conn)
    .await
    .map_err(at("forget old occurrences"))?;
    Ok(done.rows_affected())
}

/// Forgets decided moments of one schedule before an instant, at most 10,000: for schedules that come due often. Returns
/// how many.
///
/// # Errors
/// When the database refuses.
pub async fn forget_of(
    conn: &mut PgConnection,
    tenant: TenantId,
    name: &str,
    before: Timestamp,
) -> Result<u64, QueueError> {
    let done = sqlx::query!(
        r#"
        DELETE FROM schedule_occurrences WHERE tenant_id = $1 AND name = $2 AND due_at IN (
            SELECT due_at FROM schedule_occurrences WHERE tenant_id = $1 AND name = $2 AND due_at < $3 LIMIT 10000)
        "#,
        tenant.0,
        name,
        before.to_sqlx() as _,
    )
    .execute(conn)
    .await
    .map_err(at("forget old occurrences of a schedule"))?;
    Ok(done.rows_affected())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn at_minute(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    fn hourly(missed_run: MissedRun) -> Schedule {
        Schedule {
            tenant: TenantId(uuid::Uuid::nil()),
            name: "hourly".to_owned(),
            cadence: Value::Null,
            missed_run,
            next_at: Some(at_minute(0)),
        }
    }

    fn decide_at(schedule: &Schedule, minute: i64) -> Decided {
        decide(schedule, at_minute(minute), &mut |_, last| {
            Some(last + SignedDuration::from_mins(60))
        })
    }

    #[test]
    fn on_time_the_moment_runs() {
        let decided = decide_at(&hourly(MissedRun::RunLate), 0);
        assert_eq!(
            (decided.run, decided.next_at),
            (Some(at_minute(0)), Some(at_minute(60)))
        );
    }

    #[test]
    fn after_downtime_only_the_last_moment_runs() {
        let decided = decide_at(&hourly(MissedRun::RunLate), 190);
        assert_eq!(decided.superseded, [0, 60, 120].map(at_minute));
        assert_eq!(
            (decided.run, decided.next_at),
            (Some(at_minute(180)), Some(at_minute(240)))
        );
    }

    #[test]
    fn too_late_is_skipped() {
        let policy = MissedRun::SkipOlderThan {
            max_lateness_ms: 600_000,
        };
        assert_eq!(decide_at(&hourly(policy), 70).run, Some(at_minute(60)));
        let decided = decide_at(&hourly(policy), 71);
        assert_eq!((decided.run, decided.skipped), (None, Some(at_minute(60))));
    }

    #[test]
    fn a_rule_that_does_not_advance_ends_the_schedule() {
        let decided = decide(&hourly(MissedRun::RunLate), at_minute(5), &mut |_, last| {
            Some(last)
        });
        assert_eq!((decided.run, decided.next_at), (Some(at_minute(0)), None));
    }
}
