//! Arrivals: rows that other programs inserted into `communication_jobs` by plain SQL.

use crate::enqueue::insert_runs;
use crate::error::{QueueError, at, atomically};
use crate::run::{Class, Run, compress, micros};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use tidings_core::job::{JobKind, rank};
use tidings_core::{TenantId, Urgency};

/// What [`adopt_arrivals`] did with the rows it looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Put into the line.
    pub ready: u32,
    /// Put aside until they are due.
    pub scheduled: u32,
    /// Of a type this version does not know: left as they are, see [`unknown_kinds`].
    pub set_aside: u32,
    /// Cancelled or deleted before they were looked at.
    pub dropped: u32,
}

impl Adopted {
    /// All rows that were looked at; as many as the limit means there may be more.
    pub const fn total(&self) -> u32 {
        self.ready + self.scheduled + self.set_aside + self.dropped
    }
}

/// Takes up to `limit` rows of other programs into the line. A row without priority gets that of its type;
/// `payload.urgent = true` counts as critical. Any number of nodes may do it at once.
///
/// # Errors
/// When the database refuses; nothing is taken up then.
pub async fn adopt_arrivals(
    conn: &mut PgConnection,
    now: Timestamp,
    limit: u32,
) -> Result<Adopted, QueueError> {
    atomically!(conn, |tx| adopt_within(tx, micros(now), limit))
}

/// What the adopted rows become.
#[derive(Default)]
struct Plan {
    adopted: Adopted,
    all: Vec<i64>,
    unknown: Vec<i64>,
    ids: Vec<i64>,
    priorities: Vec<i16>,
    dues: Vec<jiff_sqlx::Timestamp>,
    ready: Vec<(Class, i64)>,
    scheduled: Vec<(Run, Timestamp)>,
}

async fn adopt_within(conn: &mut PgConnection, now: Timestamp, limit: u32) -> Result<Adopted, QueueError> {
    let rows = sqlx::query!(
        r#"
        SELECT a.job_id AS "job_id!", c.tenant_id AS "tenant_id?", c.job_type AS "job_type?", c.status AS "status?", c.priority,
               c.process_after AS "process_after?", c.created_at AS "created_at?",
               (c.payload -> 'urgent') = 'true'::jsonb AS urgent
        FROM (
            SELECT job_id FROM job_arrivals WHERE NOT set_aside ORDER BY job_id LIMIT $1 FOR UPDATE SKIP LOCKED
        ) a
        LEFT JOIN communication_jobs c ON c.id = a.job_id
        "#,
        i64::from(limit),
    )
    .fetch_all(&mut *conn)
    .await
    .map_err(at("look at jobs of other programs"))?;
    let mut plan = Plan::default();
    for row in rows {
        plan.all.push(row.job_id);
        let (Some(tenant), Some(kind), Some(after), Some(created)) =
            (row.tenant_id, row.job_type, row.process_after, row.created_at)
        else {
            plan.adopted.dropped += 1;
            continue;
        };
        if row.status.as_deref() != Some("pending") {
            plan.adopted.dropped += 1;
            continue;
        }
        let Ok(kind) = kind.parse::<JobKind>() else {
            plan.unknown.push(row.job_id);
            plan.adopted.set_aside += 1;
            continue;
        };
        // No job was due before it existed: an old process_after is no way to the front of the line.
        let due = micros(after.to_jiff().max(created.to_jiff().min(now)));
        let priority = priority_of(kind, row.priority, row.urgent == Some(true));
        plan.push(TenantId(tenant), kind, priority, row.job_id, due, now);
    }
    write_plan(conn, plan).await
}

fn priority_of(kind: JobKind, given: Option<i16>, urgent: bool) -> i16 {
    let own = given.unwrap_or_else(|| kind.priority(Urgency::Normal));
    if urgent {
        own.max(kind.priority(Urgency::Critical))
    } else {
        own
    }
}

impl Plan {
    fn push(
        &mut self,
        tenant: TenantId,
        kind: JobKind,
        priority: i16,
        id: i64,
        due: Timestamp,
        now: Timestamp,
    ) {
        let class = Class {
            tenant,
            kind,
            priority,
            rank: rank(priority, due),
        };
        self.ids.push(id);
        self.priorities.push(priority);
        self.dues.push(due.to_sqlx());
        if due <= now {
            self.ready.push((class, id));
            self.adopted.ready += 1;
        } else {
            self.scheduled.push((
                Run {
                    class,
                    first: id,
                    n: 1,
                },
                due,
            ));
            self.adopted.scheduled += 1;
        }
    }
}

async fn write_plan(conn: &mut PgConnection, plan: Plan) -> Result<Adopted, QueueError> {
    if plan.all.is_empty() {
        return Ok(plan.adopted);
    }
    sqlx::query!(
        r#"
        WITH gone AS (
            DELETE FROM job_arrivals WHERE job_id = ANY($1::bigint[]) AND job_id <> ALL($2::bigint[])
        ), aside AS (
            UPDATE job_arrivals SET set_aside = true WHERE job_id = ANY($2)
        )
        UPDATE communication_jobs c SET priority = a.priority, process_after = a.due_at
        FROM unnest($3::bigint[], $4::smallint[], $5::timestamptz[]) AS a (id, priority, due_at)
        WHERE c.id = a.id AND (c.priority IS DISTINCT FROM a.priority OR c.process_after <> a.due_at)
        "#,
        &plan.all,
        &plan.unknown,
        &plan.ids,
        &plan.priorities,
        &plan.dues,
    )
    .execute(&mut *conn)
    .await
    .map_err(at("take up jobs of other programs"))?;
    insert_runs(conn, &compress(plan.ready), &plan.scheduled).await?;
    Ok(plan.adopted)
}

/// Jobs of a type that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKind {
    /// Whose.
    pub tenant: TenantId,
    /// The type as it was written.
    pub kind: String,
    /// How many wait.
    pub jobs: i64,
    /// Since when the first waits.
    pub oldest: Timestamp,
}

/// Lists what was set aside, at most 1,000 groups.
///
/// # Errors
/// When the database refuses.
pub async fn unknown_kinds(conn: &mut PgConnection) -> Result<Vec<UnknownKind>, QueueError> {
    let rows = sqlx::query!(
        r#"
        SELECT c.tenant_id, c.job_type, count(*) AS "jobs!", min(c.created_at) AS "oldest!"
        FROM job_arrivals a JOIN communication_jobs c ON c.id = a.job_id
        WHERE a.set_aside GROUP BY c.tenant_id, c.job_type ORDER BY c.tenant_id, c.job_type LIMIT 1000
        "#
    )
    .fetch_all(conn)
    .await
    .map_err(at("list jobs of unknown types"))?;
    let kinds = rows.into_iter().map(|row| UnknownKind {
        tenant: TenantId(row.tenant_id),
        kind: row.job_type,
        jobs: row.jobs,
        oldest: row.oldest.to_jiff(),
    });
    Ok(kinds.collect())
}

/// Has jobs that were set aside looked at again when their type is known now; call it at start. Returns how many.
///
/// # Errors
/// When the database refuses.
pub async fn reconsider_unknown(conn: &mut PgConnection, kinds: &[JobKind]) -> Result<u64, QueueError> {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let done = sqlx::query!(
        r#"
        UPDATE job_arrivals a SET set_aside = false FROM communication_jobs c
        WHERE a.set_aside AND c.id = a.job_id AND c.job_type = ANY($1::text[])
        "#,
        &kinds as &[&str],
    )
    .execute(conn)
    .await
    .map_err(at("look again at jobs of unknown types"))?;
    Ok(done.rows_affected())
}
