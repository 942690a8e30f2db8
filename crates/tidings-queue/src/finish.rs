//! Finishing: what became of claimed jobs, written only by the node that still holds their leases.

use crate::enqueue::insert_runs;
use crate::error::{QueueError, at, atomically};
use crate::job::{Finish, FinishReport, LeaseId, Outcome, Settled};
use crate::run::{Class, Columns, Run, compress, micros, without};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use std::collections::{BTreeMap, HashMap};
use tidings_core::job::{JobStatus, rank};
use tidings_core::{JobId, NodeId, TenantId};
use uuid::Uuid;

/// Error texts are cut after this many characters.
pub(crate) const ERROR_MAX: usize = 2_000;

/// Ends the turns of claimed jobs. A job whose lease the node no longer holds, or that was finished before, is reported as
/// fenced and nothing is written for it. Two statements for a batch that is done; call it in the transaction that writes
/// the effects, and roll that back or leave out what belongs to fenced jobs.
///
/// Leases are locked in the order of their ids, before the jobs, as every other function here does.
///
/// # Errors
/// When the database refuses; roll back then.
pub async fn finish(
    conn: &mut PgConnection,
    node: NodeId,
    finishes: &[Finish],
    now: Timestamp,
) -> Result<FinishReport, QueueError> {
    if finishes.is_empty() {
        return Ok(FinishReport::default());
    }
    atomically!(conn, |tx| finish_within(tx, node, finishes, micros(now)))
}

async fn finish_within(
    conn: &mut PgConnection,
    node: NodeId,
    finishes: &[Finish],
    now: Timestamp,
) -> Result<FinishReport, QueueError> {
    let held = lock_leases(conn, node, finishes).await?;
    let sorted = Sorted::of(finishes, &held, now);
    write_done(conn, &sorted, now).await?;
    if !sorted.ends.ids.is_empty() {
        write_ends(conn, &sorted.ends).await?;
    }
    insert_runs(conn, &compress_ready(sorted.ready), &sorted.scheduled).await?;
    Ok(FinishReport {
        fenced: sorted.fenced,
        settled: sorted.settled,
    })
}

fn compress_ready(mut ready: Vec<(Class, i64)>) -> Vec<Run> {
    ready.sort_unstable_by_key(|(_, id)| *id);
    compress(ready)
}

/// The runs of the leases that the node holds, each sorted by id.
async fn lock_leases(
    conn: &mut PgConnection,
    node: NodeId,
    finishes: &[Finish],
) -> Result<HashMap<LeaseId, Vec<Run>>, QueueError> {
    let mut leases: Vec<i64> = finishes.iter().map(|finish| finish.lease.0).collect();
    leases.sort_unstable();
    leases.dedup();
    let rows = sqlx::query!(
        r#"
        SELECT lease_id, tenants, job_types, priorities, ranks, first_ids, counts
        FROM job_leases WHERE lease_id = ANY($1) AND node_id = $2
        ORDER BY lease_id FOR UPDATE
        "#,
        &leases,
        node.0,
    )
    .fetch_all(conn)
    .await
    .map_err(at("lock the leases of finished jobs"))?;
    rows.into_iter()
        .map(|row| {
            let columns = Columns {
                tenants: row.tenants,
                kinds: row.job_types,
                priorities: row.priorities,
                ranks: row.ranks,
                firsts: row.first_ids,
                counts: row.counts,
            };
            Ok((LeaseId(row.lease_id), columns.by_id()?))
        })
        .collect()
}

/// Jobs that did not simply get done, as parallel arrays of what changes in their rows.
#[derive(Default)]
struct Ends {
    ids: Vec<i64>,
    statuses: Vec<&'static str>,
    tries: Vec<i32>,
    errors: Vec<Option<String>>,
    categories: Vec<Option<&'static str>>,
    process_after: Vec<Option<jiff_sqlx::Timestamp>>,
    finished_at: Vec<Option<jiff_sqlx::Timestamp>>,
    dead: Vec<(Class, i64, String, &'static str)>,
    died_at: Option<jiff_sqlx::Timestamp>,
}

/// What one call writes, sorted by where it goes.
#[derive(Default)]
struct Sorted {
    done: Vec<Run>,
    ends: Ends,
    ready: Vec<(Class, i64)>,
    scheduled: Vec<(Run, Timestamp)>,
    tallies: BTreeMap<(TenantId, &'static str, i16, &'static str), i64>,
    emptied: Vec<i64>,
    shrunk: Vec<(LeaseId, Vec<Run>)>,
    fenced: Vec<JobId>,
    settled: Vec<Settled>,
}

impl Sorted {
    fn of(finishes: &[Finish], held: &HashMap<LeaseId, Vec<Run>>, now: Timestamp) -> Self {
        let mut sorted = Self::default();
        let mut done: Vec<(Class, i64)> = Vec::with_capacity(finishes.len());
        let mut gone: BTreeMap<LeaseId, Vec<i64>> = BTreeMap::new();
        let mut settled: BTreeMap<(LeaseId, TenantId), u32> = BTreeMap::new();
        let mut in_order: Vec<&Finish> = finishes.iter().collect();
        // Stable: of two reports on one job the first counts.
        in_order.sort_by_key(|finish| finish.job);
        let mut last = None;
        for finish in in_order {
            let id = finish.job.0;
            let class = held.get(&finish.lease).and_then(|runs| class_of(runs, id));
            let Some(class) = class.filter(|_| last != Some((finish.lease, id))) else {
                sorted.fenced.push(finish.job);
                continue;
            };
            last = Some((finish.lease, id));
            gone.entry(finish.lease).or_default().push(id);
            *settled.entry((finish.lease, class.tenant)).or_default() += 1;
            match &finish.outcome {
                Outcome::Done => done.push((class, id)),
                other => sorted.push_end(class, id, other, now),
            }
            if let Some(word) = tally_word(&finish.outcome) {
                *sorted
                    .tallies
                    .entry((class.tenant, class.kind.as_str(), class.priority, word))
                    .or_default() += 1;
            }
        }
        sorted.done = compress(done);
        for (lease, ids) in gone {
            let left = without(&held[&lease], &ids);
            if left.is_empty() {
                sorted.emptied.push(lease.0);
            } else {
                sorted.shrunk.push((lease, left));
            }
        }
        sorted.settled = settled
            .into_iter()
            .map(|((lease, tenant), jobs)| Settled { lease, tenant, jobs })
            .collect();
        sorted
    }

    fn push_end(&mut self, class: Class, id: i64, outcome: &Outcome, now: Timestamp) {
        let finished = Some(now.to_sqlx());
        match outcome {
            Outcome::Done => {}
            Outcome::Release => {
                self.ends.push(id, JobStatus::Pending, 0, None, None, None);
                self.ready.push((class, id));
            }
            Outcome::Return { at, category, error } => {
                let due = micros((*at).max(now));
                let what = Some((error.as_str(), category.as_str()));
                if due <= now {
                    self.ends.push(id, JobStatus::Pending, 0, what, None, None);
                    self.ready.push((class, id));
                } else {
                    self.ends.push(id, JobStatus::Pending, 0, what, Some(due), None);
                    self.push_scheduled(class, id, due);
                }
            }
            Outcome::Retry {
                at,
                category,
                error,
                counts,
            } => {
                let due = micros((*at).max(now));
                let class = Class {
                    rank: rank(class.priority, due),
                    ..class
                };
                let what = Some((error.as_str(), category.as_str()));
                self.ends
                    .push(id, JobStatus::Pending, i32::from(*counts), what, Some(due), None);
                if due <= now {
                    self.ready.push((class, id));
                } else {
                    self.push_scheduled(class, id, due);
                }
            }
            Outcome::Dead {
                cause,
                category,
                error,
            } => {
                let what = Some((error.as_str(), category.as_str()));
                self.ends.push(id, JobStatus::Failed, 0, what, None, finished);
                self.ends.dead.push((class, id, cause.clone(), category.as_str()));
                self.ends.died_at = finished;
            }
            Outcome::Cancelled => self.ends.push(id, JobStatus::Cancelled, 0, None, None, finished),
            Outcome::FallbackEmail { category, error } => {
                let what = Some((error.as_str(), category.as_str()));
                self.ends
                    .push(id, JobStatus::FailedFallbackEmail, 0, what, None, finished);
            }
        }
    }

    fn push_scheduled(&mut self, class: Class, id: i64, due: Timestamp) {
        match self.scheduled.last_mut() {
            Some((run, at))
                if *at == due && run.class == class && run.ids().end == id && run.n < crate::run::RUN_MAX =>
            {
                run.n += 1;
            }
            _ => self.scheduled.push((
                Run {
                    class,
                    first: id,
                    n: 1,
                },
                due,
            )),
        }
    }
}

impl Ends {
    fn push(
        &mut self,
        id: i64,
        status: JobStatus,
        tries: i32,
        what: Option<(&str, &'static str)>,
        process_after: Option<Timestamp>,
        finished_at: Option<jiff_sqlx::Timestamp>,
    ) {
        self.ids.push(id);
        self.statuses.push(status.as_str());
        self.tries.push(tries);
        self.errors
            .push(what.map(|(error, _)| error.chars().filter(|c| *c != '\0').take(ERROR_MAX).collect()));
        self.categories.push(what.map(|(_, category)| category));
        self.process_after.push(process_after.map(ToSqlx::to_sqlx));
        self.finished_at.push(finished_at);
    }
}

/// The class of a job that the lease still holds.
fn class_of(runs: &[Run], id: i64) -> Option<Class> {
    let after = runs.partition_point(|run| run.first <= id);
    let run = runs.get(after.checked_sub(1)?)?;
    run.ids().contains(&id).then_some(run.class)
}

/// How an end is counted; a job that went back to its place has not ended.
const fn tally_word(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Done => Some("complete"),
        Outcome::Retry { .. } => Some("retried"),
        Outcome::Dead { .. } => Some("failed"),
        Outcome::Cancelled => Some("cancelled"),
        Outcome::FallbackEmail { .. } => Some("failed_fallback_email"),
        Outcome::Release | Outcome::Return { .. } => None,
    }
}

/// Completes the done jobs by ranges of ids, drops or shrinks the leases, and counts.
async fn write_done(conn: &mut PgConnection, sorted: &Sorted, now: Timestamp) -> Result<(), QueueError> {
    if sorted.settled.is_empty() {
        return Ok(());
    }
    let firsts: Vec<i64> = sorted.done.iter().map(|run| run.first).collect();
    let ends: Vec<i64> = sorted.done.iter().map(|run| run.first + run.n).collect();
    let mut left = Columns::default();
    let mut left_leases: Vec<i64> = Vec::new();
    for (lease, runs) in &sorted.shrunk {
        for run in runs {
            left_leases.push(lease.0);
            left.push(run);
        }
    }
    let tenants: Vec<Uuid> = sorted.tallies.keys().map(|key| key.0.0).collect();
    let kinds: Vec<&str> = sorted.tallies.keys().map(|key| key.1).collect();
    let priorities: Vec<i16> = sorted.tallies.keys().map(|key| key.2).collect();
    let outcomes: Vec<&str> = sorted.tallies.keys().map(|key| key.3).collect();
    let counts: Vec<i64> = sorted.tallies.values().copied().collect();
    sqlx::query!(
        r#"
        WITH done AS (
            UPDATE communication_jobs c SET status = 'complete', finished_at = $3
            FROM unnest($1::bigint[], $2::bigint[]) AS r (first, past)
            WHERE c.id >= r.first AND c.id < r.past AND c.status IN ('pending', 'processing')
        ), emptied AS (
            DELETE FROM job_leases WHERE lease_id = ANY($4::bigint[])
        ), shrunk AS (
            UPDATE job_leases l SET tenants = r.tenants, job_types = r.job_types, priorities = r.priorities,
                                    ranks = r.ranks, first_ids = r.first_ids, counts = r.counts
            FROM (
                SELECT u.lease_id, array_agg(u.tenant_id ORDER BY u.first_id) AS tenants,
                       array_agg(u.job_type ORDER BY u.first_id) AS job_types,
                       array_agg(u.priority ORDER BY u.first_id) AS priorities,
                       array_agg(u.rank ORDER BY u.first_id) AS ranks,
                       array_agg(u.first_id ORDER BY u.first_id) AS first_ids,
                       array_agg(u.n ORDER BY u.first_id) AS counts
                FROM unnest($5::bigint[], $6::uuid[], $7::text[], $8::smallint[], $9::bigint[], $10::bigint[], $11::int[])
                    AS u (lease_id, tenant_id, job_type, priority, rank, first_id, n)
                GROUP BY u.lease_id
            ) r
            WHERE l.lease_id = r.lease_id
        )
        INSERT INTO job_tallies (tenant_id, hour, job_type, priority, outcome, n)
        SELECT t.tenant_id, $12, t.job_type, t.priority, t.outcome, t.n
        FROM unnest($13::uuid[], $14::text[], $15::smallint[], $16::text[], $17::bigint[])
            AS t (tenant_id, job_type, priority, outcome, n)
        "#,
        &firsts,
        &ends,
        now.to_sqlx() as _,
        &sorted.emptied,
        &left_leases,
        &left.tenants,
        &left.kinds,
        &left.priorities,
        &left.ranks,
        &left.firsts,
        &left.counts,
        hour_of(now).to_sqlx() as _,
        &tenants,
        &kinds as &[&str],
        &priorities,
        &outcomes as &[&str],
        &counts,
    )
    .execute(conn)
    .await
    .map_err(at("complete jobs"))?;
    Ok(())
}

/// The full hour at or before an instant.
pub(crate) fn hour_of(at: Timestamp) -> Timestamp {
    let hour = at.as_second().div_euclid(3600) * 3600;
    Timestamp::from_second(hour).unwrap_or(at)
}

async fn write_ends(conn: &mut PgConnection, ends: &Ends) -> Result<(), QueueError> {
    let dead_tenants: Vec<Uuid> = ends.dead.iter().map(|dead| dead.0.tenant.0).collect();
    let dead_kinds: Vec<&str> = ends.dead.iter().map(|dead| dead.0.kind.as_str()).collect();
    let dead_priorities: Vec<i16> = ends.dead.iter().map(|dead| dead.0.priority).collect();
    let dead_ids: Vec<i64> = ends.dead.iter().map(|dead| dead.1).collect();
    let causes: Vec<&str> = ends.dead.iter().map(|dead| dead.2.as_str()).collect();
    let categories: Vec<&str> = ends.dead.iter().map(|dead| dead.3).collect();
    sqlx::query!(
        r#"
        WITH ended AS (
            UPDATE communication_jobs c SET
                status = e.status,
                retry_count = c.retry_count + e.tries,
                last_error = coalesce(e.error, c.last_error),
                error_category = coalesce(e.category, c.error_category),
                process_after = coalesce(e.process_after, c.process_after),
                finished_at = e.finished_at
            FROM unnest($1::bigint[], $2::text[], $3::int[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[])
                AS e (id, status, tries, error, category, process_after, finished_at)
            WHERE c.id = e.id AND c.status IN ('pending', 'processing')
        )
        INSERT INTO dead_letters (tenant_id, job_id, job_type, priority, cause, category, died_at)
        SELECT d.tenant_id, d.job_id, d.job_type, d.priority, d.cause, d.category, $14
        FROM unnest($8::uuid[], $9::bigint[], $10::text[], $11::smallint[], $12::text[], $13::text[])
            AS d (tenant_id, job_id, job_type, priority, cause, category)
        ON CONFLICT (tenant_id, job_id) DO UPDATE
            SET cause = excluded.cause, category = excluded.category, died_at = excluded.died_at
        "#,
        &ends.ids,
        &ends.statuses as &[&str],
        &ends.tries,
        &ends.errors as &[Option<String>],
        &ends.categories as &[Option<&str>],
        &ends.process_after as &[Option<jiff_sqlx::Timestamp>],
        &ends.finished_at as &[Option<jiff_sqlx::Timestamp>],
        &dead_tenants,
        &dead_ids,
        &dead_kinds as &[&str],
        &dead_priorities,
        &causes as &[&str],
        &categories as &[&str],
        ends.died_at as _,
    )
    .execute(conn)
    .await
    .map_err(at("write how jobs ended"))?;
    Ok(())
}
