//! Enqueueing: one statement for up to 1024 jobs, durable with the caller's commit.

use crate::error::{QueueError, at, atomically};
use crate::job::{Enqueued, NewJob};
use crate::run::{Class, Columns, Run, compress, micros};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use tidings_core::JobId;
use tidings_core::job::rank;
use uuid::Uuid;

/// Jobs of one statement, and ids of one block of the sequence.
pub const BLOCK: usize = 1024;

/// Adds jobs; the answers stand in the order of the jobs. A job whose source reference is taken (in the table or earlier in
/// `jobs`) is answered with the job that has it. More than [`BLOCK`] jobs take several statements: put the call into a
/// transaction when all or none shall be added.
///
/// Wakes one sleeping node with the commit, if any said it is idle and a job is due now.
///
/// # Errors
/// When the database refuses, for instance a payload with a NUL character; then none of the block was added.
pub async fn enqueue(
    conn: &mut PgConnection,
    jobs: &[NewJob],
    now: Timestamp,
) -> Result<Vec<Enqueued>, QueueError> {
    let mut answers = Vec::with_capacity(jobs.len());
    for block in jobs.chunks(BLOCK) {
        answers.extend(enqueue_block(conn, block, now).await?);
    }
    Ok(answers)
}

/// Jobs of a block in the order of their ids.
struct Block<'a> {
    /// Position in the caller's slice, by position in the block.
    order: Vec<usize>,
    jobs: Vec<&'a NewJob>,
    dues: Vec<Timestamp>,
}

impl<'a> Block<'a> {
    /// Sorted so that jobs of a class are consecutive, and the same everywhere, so that two callers that enqueue the same
    /// references wait for each other instead of deadlocking.
    fn sorted(jobs: &'a [NewJob], now: Timestamp) -> Self {
        let mut order: Vec<usize> = (0..jobs.len()).collect();
        let due = |job: &NewJob| micros(job.process_after.map_or(now, |at| at.max(now)));
        order.sort_by(|a, b| {
            let key = |job: &'a NewJob| {
                (
                    job.tenant,
                    job.kind,
                    -job.priority,
                    due(job),
                    job.source_reference.as_deref(),
                )
            };
            key(&jobs[*a]).cmp(&key(&jobs[*b]))
        });
        let sorted: Vec<&NewJob> = order.iter().map(|i| &jobs[*i]).collect();
        let dues = sorted.iter().map(|job| due(job)).collect();
        Self {
            order,
            jobs: sorted,
            dues,
        }
    }

    fn class(&self, position: usize) -> Class {
        let job = self.jobs[position];
        Class {
            tenant: job.tenant,
            kind: job.kind,
            priority: job.priority,
            rank: rank(job.priority, self.dues[position]),
        }
    }

    /// Runs of the given positions, ids counted from `base`: those due now, and the others with their moments.
    fn runs(&self, positions: &[usize], base: i64, now: Timestamp) -> (Vec<Run>, Vec<(Run, Timestamp)>) {
        let (due, later): (Vec<usize>, Vec<usize>) =
            positions.iter().copied().partition(|p| self.dues[*p] <= now);
        let ready = compress(due.into_iter().map(|p| (self.class(p), base + p as i64)));
        let mut scheduled: Vec<(Run, Timestamp)> = Vec::new();
        for p in later {
            let (id, class, at) = (base + p as i64, self.class(p), self.dues[p]);
            match scheduled.last_mut() {
                Some((run, due)) if *due == at && run.class == class && run.ids().end == id => run.n += 1,
                _ => scheduled.push((
                    Run {
                        class,
                        first: id,
                        n: 1,
                    },
                    at,
                )),
            }
        }
        (ready, scheduled)
    }

    fn answers(&self, ids: impl Fn(usize) -> Enqueued) -> Vec<Enqueued> {
        let mut answers = vec![
            Enqueued {
                id: JobId(0),
                duplicate: false
            };
            self.order.len()
        ];
        for (position, index) in self.order.iter().enumerate() {
            answers[*index] = ids(position);
        }
        answers
    }
}

async fn enqueue_block(
    conn: &mut PgConnection,
    jobs: &[NewJob],
    now: Timestamp,
) -> Result<Vec<Enqueued>, QueueError> {
    let now = micros(now);
    let block = Block::sorted(jobs, now);
    let all: Vec<usize> = (0..jobs.len()).collect();
    let (ready, scheduled) = block.runs(&all, 0, now);
    if jobs.iter().all(|job| job.source_reference.is_none()) {
        let base = insert_plain(conn, &block, &ready, &scheduled, now).await?;
        return Ok(block.answers(|p| Enqueued {
            id: JobId(base + p as i64),
            duplicate: false,
        }));
    }
    atomically!(conn, |tx| enqueue_once(tx, &block, &ready, &scheduled, now))
}

async fn enqueue_once(
    conn: &mut PgConnection,
    block: &Block<'_>,
    ready: &[Run],
    scheduled: &[(Run, Timestamp)],
    now: Timestamp,
) -> Result<Vec<Enqueued>, QueueError> {
    let (base, inserted) = insert_once(conn, block, ready, scheduled, now).await?;
    let Some(inserted) = inserted else {
        return Ok(block.answers(|p| Enqueued {
            id: JobId(base + p as i64),
            duplicate: false,
        }));
    };
    let new: Vec<usize> = inserted.iter().map(|id| (id - base) as usize).collect();
    let (ready, scheduled) = block.runs(&new, base, now);
    insert_runs(conn, &ready, &scheduled).await?;
    let earlier = earlier_jobs(conn, block, &new).await?;
    Ok(block.answers(|p| {
        let fresh = Enqueued {
            id: JobId(base + p as i64),
            duplicate: false,
        };
        earlier.get(&p).map_or(fresh, |id| Enqueued {
            id: *id,
            duplicate: true,
        })
    }))
}

/// The wide rows as parallel arrays.
struct Wide<'a> {
    tenants: Vec<Uuid>,
    kinds: Vec<&'static str>,
    payloads: Vec<&'a str>,
    retries: Vec<i32>,
    priorities: Vec<i16>,
    dues: Vec<jiff_sqlx::Timestamp>,
}

impl<'a> Wide<'a> {
    fn of(block: &Block<'a>) -> Self {
        Self {
            tenants: block.jobs.iter().map(|job| job.tenant.0).collect(),
            kinds: block.jobs.iter().map(|job| job.kind.as_str()).collect(),
            payloads: block.jobs.iter().map(|job| job.payload.get()).collect(),
            retries: block.jobs.iter().map(|job| job.max_retries).collect(),
            priorities: block.jobs.iter().map(|job| job.priority).collect(),
            dues: block.dues.iter().map(|due| due.to_sqlx()).collect(),
        }
    }
}

/// Runs that wait, as parallel arrays.
fn scheduled_columns(scheduled: &[(Run, Timestamp)]) -> (Columns, Vec<jiff_sqlx::Timestamp>) {
    let mut columns = Columns::default();
    for (run, _) in scheduled {
        columns.push(run);
    }
    (columns, scheduled.iter().map(|(_, at)| at.to_sqlx()).collect())
}

/// Jobs without references: nothing can conflict. Returns the first id.
async fn insert_plain(
    conn: &mut PgConnection,
    block: &Block<'_>,
    ready: &[Run],
    scheduled: &[(Run, Timestamp)],
    now: Timestamp,
) -> Result<i64, QueueError> {
    let wide = Wide::of(block);
    let ready = Columns::of(ready);
    let (later, dues) = scheduled_columns(scheduled);
    let row = sqlx::query!(
        r#"
        WITH block AS MATERIALIZED (
            SELECT nextval('communication_jobs_id_seq') AS base, set_config('tidings.enqueue', 'on', true) AS quiet
        ), jobs AS (
            INSERT INTO communication_jobs
                (id, tenant_id, job_type, payload, max_retries, priority, process_after, created_at)
            OVERRIDING SYSTEM VALUE
            SELECT b.base + j.position - 1, j.tenant_id, j.job_type, j.payload::jsonb, j.max_retries, j.priority, j.due_at, $7
            FROM block b, unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::smallint[], $6::timestamptz[])
                WITH ORDINALITY AS j (tenant_id, job_type, payload, max_retries, priority, due_at, position)
        ), ready AS (
            INSERT INTO job_ready (tenant_id, rank, first_id, n, job_type, priority)
            SELECT r.tenant_id, r.rank, b.base + r.first, r.n, r.job_type, r.priority
            FROM block b, unnest($8::uuid[], $9::bigint[], $10::bigint[], $11::int[], $12::text[], $13::smallint[])
                AS r (tenant_id, rank, first, n, job_type, priority)
        ), scheduled AS (
            INSERT INTO job_scheduled (tenant_id, due_at, rank, first_id, n, job_type, priority)
            SELECT r.tenant_id, r.due_at, r.rank, b.base + r.first, r.n, r.job_type, r.priority
            FROM block b, unnest($14::uuid[], $15::timestamptz[], $16::bigint[], $17::bigint[], $18::int[], $19::text[], $20::smallint[])
                AS r (tenant_id, due_at, rank, first, n, job_type, priority)
        )
        SELECT base AS "base!",
               CASE WHEN cardinality($8) > 0
                    THEN (SELECT pg_notify('tidings_jobs', '')::text FROM queue_nodes WHERE idle LIMIT 1) END AS woken
        FROM block
        "#,
        &wide.tenants,
        &wide.kinds as &[&str],
        &wide.payloads as &[&str],
        &wide.retries,
        &wide.priorities,
        &wide.dues,
        now.to_sqlx() as _,
        &ready.tenants,
        &ready.ranks,
        &ready.firsts,
        &ready.counts,
        &ready.kinds,
        &ready.priorities,
        &later.tenants,
        &dues,
        &later.ranks,
        &later.firsts,
        &later.counts,
        &later.kinds,
        &later.priorities,
    )
    .fetch_one(conn)
    .await
    .map_err(at("enqueue jobs"))?;
    Ok(row.base)
}

/// Jobs with references. Returns the first id and, when some were there already, the ids that were not: then no runs were
/// written, because they would have holes.
async fn insert_once(
    conn: &mut PgConnection,
    block: &Block<'_>,
    ready: &[Run],
    scheduled: &[(Run, Timestamp)],
    now: Timestamp,
) -> Result<(i64, Option<Vec<i64>>), QueueError> {
    let wide = Wide::of(block);
    let references: Vec<Option<&str>> = block
        .jobs
        .iter()
        .map(|job| job.source_reference.as_deref())
        .collect();
    let ready = Columns::of(ready);
    let (later, dues) = scheduled_columns(scheduled);
    let row = sqlx::query!(
        r#"
        WITH block AS MATERIALIZED (
            SELECT nextval('communication_jobs_id_seq') AS base, set_config('tidings.enqueue', 'on', true) AS quiet
        ), jobs AS (
            INSERT INTO communication_jobs
                (id, tenant_id, job_type, payload, max_retries, priority, process_after, source_reference, created_at)
            OVERRIDING SYSTEM VALUE
            SELECT b.base + j.position - 1, j.tenant_id, j.job_type, j.payload::jsonb, j.max_retries, j.priority, j.due_at,
                   j.source_reference, $7
            FROM block b, unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::smallint[], $6::timestamptz[], $21::text[])
                WITH ORDINALITY AS j (tenant_id, job_type, payload, max_retries, priority, due_at, source_reference, position)
            ON CONFLICT (tenant_id, job_type, source_reference) WHERE source_reference IS NOT NULL DO NOTHING
            RETURNING id
        ), added AS MATERIALIZED (
            SELECT count(*) = cardinality($1) AS all_new, array_agg(id ORDER BY id) AS ids FROM jobs
        ), ready AS (
            INSERT INTO job_ready (tenant_id, rank, first_id, n, job_type, priority)
            SELECT r.tenant_id, r.rank, b.base + r.first, r.n, r.job_type, r.priority
            FROM block b, unnest($8::uuid[], $9::bigint[], $10::bigint[], $11::int[], $12::text[], $13::smallint[])
                AS r (tenant_id, rank, first, n, job_type, priority)
            WHERE (SELECT all_new FROM added)
        ), scheduled AS (
            INSERT INTO job_scheduled (tenant_id, due_at, rank, first_id, n, job_type, priority)
            SELECT r.tenant_id, r.due_at, r.rank, b.base + r.first, r.n, r.job_type, r.priority
            FROM block b, unnest($14::uuid[], $15::timestamptz[], $16::bigint[], $17::bigint[], $18::int[], $19::text[], $20::smallint[])
                AS r (tenant_id, due_at, rank, first, n, job_type, priority)
            WHERE (SELECT all_new FROM added)
        )
        SELECT base AS "base!",
               CASE WHEN NOT all_new THEN coalesce(ids, '{}') END AS ids,
               CASE WHEN cardinality($8) > 0 AND ids IS NOT NULL
                    THEN (SELECT pg_notify('tidings_jobs', '')::text FROM queue_nodes WHERE idle LIMIT 1) END AS woken
        FROM block, added
        "#,
        &wide.tenants,
        &wide.kinds as &[&str],
        &wide.payloads as &[&str],
        &wide.retries,
        &wide.priorities,
        &wide.dues,
        now.to_sqlx() as _,
        &ready.tenants,
        &ready.ranks,
        &ready.firsts,
        &ready.counts,
        &ready.kinds,
        &ready.priorities,
        &later.tenants,
        &dues,
        &later.ranks,
        &later.firsts,
        &later.counts,
        &later.kinds,
        &later.priorities,
        &references as &[Option<&str>],
    )
    .fetch_one(conn)
    .await
    .map_err(at("enqueue jobs with references"))?;
    Ok((row.base, row.ids))
}

/// Writes runs into the ready and scheduled tables, and wakes a sleeping node when some are ready.
pub(crate) async fn insert_runs(
    conn: &mut PgConnection,
    ready: &[Run],
    scheduled: &[(Run, Timestamp)],
) -> Result<(), QueueError> {
    if ready.is_empty() && scheduled.is_empty() {
        return Ok(());
    }
    let ready = Columns::of(ready);
    let (later, dues) = scheduled_columns(scheduled);
    sqlx::query!(
        r#"
        WITH ready AS (
            INSERT INTO job_ready (tenant_id, rank, first_id, n, job_type, priority)
            SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::int[], $5::text[], $6::smallint[])
        ), woken AS MATERIALIZED (
            SELECT pg_notify('tidings_jobs', '') FROM queue_nodes WHERE idle AND cardinality($1) > 0 LIMIT 1
        )
        INSERT INTO job_scheduled (tenant_id, due_at, rank, first_id, n, job_type, priority)
        SELECT r.* FROM (SELECT count(*) FROM woken) w, unnest($7::uuid[], $8::timestamptz[], $9::bigint[], $10::bigint[], $11::int[], $12::text[], $13::smallint[]) r
        "#,
        &ready.tenants,
        &ready.ranks,
        &ready.firsts,
        &ready.counts,
        &ready.kinds,
        &ready.priorities,
        &later.tenants,
        &dues,
        &later.ranks,
        &later.firsts,
        &later.counts,
        &later.kinds,
        &later.priorities,
    )
    .execute(conn)
    .await
    .map_err(at("put runs in line"))?;
    Ok(())
}

/// The jobs that the positions not in `new` are duplicates of.
async fn earlier_jobs(
    conn: &mut PgConnection,
    block: &Block<'_>,
    new: &[usize],
) -> Result<std::collections::HashMap<usize, JobId>, QueueError> {
    let mut is_new = vec![false; block.jobs.len()];
    for position in new {
        is_new[*position] = true;
    }
    let old: Vec<usize> = (0..block.jobs.len()).filter(|p| !is_new[*p]).collect();
    let tenants: Vec<Uuid> = old.iter().map(|p| block.jobs[*p].tenant.0).collect();
    let kinds: Vec<&str> = old.iter().map(|p| block.jobs[*p].kind.as_str()).collect();
    let references: Vec<Option<&str>> = old
        .iter()
        .map(|p| block.jobs[*p].source_reference.as_deref())
        .collect();
    let rows = sqlx::query!(
        r#"
        SELECT w.position AS "position!", c.id AS "id?"
        FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY AS w (tenant_id, job_type, source_reference, position)
        LEFT JOIN communication_jobs c
            ON c.tenant_id = w.tenant_id AND c.job_type = w.job_type AND c.source_reference = w.source_reference
        "#,
        &tenants,
        &kinds as &[&str],
        &references as &[Option<&str>],
    )
    .fetch_all(conn)
    .await
    .map_err(at("find the earlier jobs of duplicates"))?;
    let mut earlier = std::collections::HashMap::with_capacity(rows.len());
    for row in rows {
        let position = old[(row.position - 1) as usize];
        let id = row.id.ok_or_else(|| {
            QueueError::Vanished(block.jobs[position].source_reference.clone().unwrap_or_default())
        })?;
        earlier.insert(position, JobId(id));
    }
    Ok(earlier)
}
