//! Claiming: due jobs of several tenants, fairly, under one lease, in one statement.

use crate::error::{QueueError, at};
use crate::fair::{Got, Ring, Share};
use crate::guard::{self, Fence};
use crate::job::{ClaimedJob, FinishReport, LeaseId};
use crate::run::{Class, Columns, Run, compress};
use crate::tenants::ReadyTenants;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use std::collections::{BTreeMap, HashMap, HashSet};
use tidings_core::job::JobKind;
use tidings_core::{JobId, NodeId, TenantId};
use uuid::Uuid;

/// Bounds of a [`Claimer`].
#[derive(Clone, Copy, Debug)]
pub struct ClaimLimits {
    /// Jobs of one tenant that this claimer holds at once.
    pub tenant_in_flight: u32,
    /// The smallest share of a claim, so that thousands of tenants do not cost thousands of split runs.
    pub quantum: u32,
    /// Tenants looked at in one refresh; with more, refreshes take turns.
    pub tenants: u32,
    /// How long the list of tenants with due work may be old, in milliseconds.
    pub refresh_ms: i64,
}

impl Default for ClaimLimits {
    fn default() -> Self {
        Self {
            tenant_in_flight: 10_000,
            quantum: 32,
            tenants: 1_024,
            refresh_ms: 250,
        }
    }
}

/// Jobs of one tenant and kind that wait for something outside the queue, such as room in a rate limit: they stay in the
/// line, in their order, and are claimed in the number there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whose.
    pub tenant: TenantId,
    /// Of which kind.
    pub kind: JobKind,
    /// How many may go now.
    pub jobs: u32,
}

/// A claimed batch.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// The lease; absent when nothing was due (or the queue is fenced).
    pub lease: Option<LeaseId>,
    /// The jobs, each tenant's in order of priority and time.
    pub jobs: Vec<ClaimedJob>,
    /// More is due than was taken, although less than was wanted: claim again before sleeping.
    pub more: bool,
    /// Why nothing may be claimed: this database is a copy or was restored. An operator lifts it with [`guard::lift`].
    pub fence: Option<Fence>,
}

/// Claims for one node: remembers whose turn it is and how much each tenant has in flight. One claimer makes one claim at a
/// time; a node may have several, each with its own bounds.
#[derive(Debug)]
pub struct Claimer {
    node: NodeId,
    kinds: Vec<&'static str>,
    limits: ClaimLimits,
    ring: Ring,
    tenants: ReadyTenants,
    held: HashMap<LeaseId, BTreeMap<TenantId, u32>>,
    in_flight: HashMap<TenantId, u32>,
    /// Kinds that are left to [`Claimer::claim_lines`].
    held_back: HashMap<TenantId, HashSet<JobKind>>,
}

impl Claimer {
    /// A claimer of the node for the kinds it can work on; jobs of other kinds are left for nodes that know them.
    pub fn new(node: NodeId, kinds: &[JobKind], limits: ClaimLimits) -> Self {
        Self {
            node,
            kinds: kinds.iter().map(|kind| kind.as_str()).collect(),
            limits,
            ring: Ring::default(),
            tenants: ReadyTenants::default(),
            held: HashMap::new(),
            in_flight: HashMap::new(),
            held_back: HashMap::new(),
        }
    }

    /// Leaves the jobs of these tenants and kinds, and no others, to [`Claimer::claim_lines`].
    pub fn hold_back(&mut self, lines: impl IntoIterator<Item = (TenantId, JobKind)>) {
        self.held_back.clear();
        for (tenant, kind) in lines {
            self.held_back.entry(tenant).or_default().insert(kind);
        }
    }

    /// Jobs claimed and not yet settled.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.values().sum()
    }

    /// Claims up to `want` due jobs for `lease_ms` milliseconds. Durable once the caller's transaction commits (with a
    /// plain connection: at once); work begins after that.
    ///
    /// # Errors
    /// When the database refuses; nothing is claimed then.
    pub async fn claim(
        &mut self,
        conn: &mut PgConnection,
        want: u32,
        now: Timestamp,
        lease_ms: i64,
    ) -> Result<Claimed, QueueError> {
        if self.ring.is_empty() || self.tenants.is_stale(now, self.limits.refresh_ms) {
            let due = self.tenants.next_page(conn, self.limits.tenants, now).await?;
            self.ring.add(&due);
        }
        let (cap, in_flight) = (self.limits.tenant_in_flight, &self.in_flight);
        let room = |tenant| cap.saturating_sub(in_flight.get(&tenant).copied().unwrap_or(0));
        let shares = self.ring.divide(want, self.limits.quantum, room);
        if shares.is_empty() {
            return Ok(Claimed::default());
        }
        let parts = self.parts(&shares);
        let expires = now + jiff::SignedDuration::from_millis(lease_ms);
        let taken = take(conn, self.node, &self.kinds, &parts, want, now, expires).await?;
        if !taken.open {
            let fence = guard::check(conn, &format!("node {}", self.node), now).await?;
            return Ok(Claimed {
                fence,
                ..Claimed::default()
            });
        }
        self.ring.learn(&shares, &taken.got(), want);
        let mut claimed = taken.into_claimed(conn).await?;
        claimed.more = !self.ring.is_empty();
        self.count(&claimed);
        Ok(claimed)
    }

    /// Claims from lines, from each as many jobs as may go; the first in rank go first. Like [`Claimer::claim`] otherwise.
    ///
    /// # Errors
    /// When the database refuses; nothing is claimed then.
    pub async fn claim_lines(
        &mut self,
        conn: &mut PgConnection,
        lines: &[Line],
        now: Timestamp,
        lease_ms: i64,
    ) -> Result<Claimed, QueueError> {
        let room = |tenant| {
            let held = self.in_flight.get(&tenant).copied().unwrap_or(0);
            self.limits.tenant_in_flight.saturating_sub(held)
        };
        let mut parts = Parts::default();
        let mut want = 0_u32;
        for (turn, line) in lines.iter().enumerate() {
            let jobs = line.jobs.min(room(line.tenant));
            if jobs > 0 {
                let share = Share {
                    tenant: line.tenant,
                    jobs,
                    runs: jobs,
                };
                parts.push(turn, share, line.kind.as_str());
                want = want.saturating_add(jobs);
            }
        }
        if want == 0 {
            return Ok(Claimed::default());
        }
        let expires = now + jiff::SignedDuration::from_millis(lease_ms);
        let taken = take(conn, self.node, &self.kinds, &parts, want, now, expires).await?;
        // A fence is told by the next ordinary claim.
        let claimed = taken.into_claimed(conn).await?;
        self.count(&claimed);
        Ok(claimed)
    }

    /// The shares, those of tenants with lines kind by kind.
    fn parts(&self, shares: &[Share]) -> Parts {
        let mut parts = Parts::default();
        for (turn, share) in shares.iter().enumerate() {
            match self.held_back.get(&share.tenant) {
                None => parts.push(turn, *share, ""),
                Some(back) => {
                    let is_back = |kind: &str| back.iter().any(|one| one.as_str() == kind);
                    for kind in self.kinds.iter().filter(|kind| !is_back(kind)) {
                        parts.push(turn, *share, kind);
                    }
                }
            }
        }
        parts
    }

    fn count(&mut self, claimed: &Claimed) {
        let Some(lease) = claimed.lease else { return };
        let held = self.held.entry(lease).or_default();
        for job in &claimed.jobs {
            *held.entry(job.tenant).or_default() += 1;
            *self.in_flight.entry(job.tenant).or_default() += 1;
        }
    }

    /// Makes room for what [`crate::finish`] settled. Leases of other claimers are ignored.
    pub fn settle(&mut self, report: &FinishReport) {
        for settled in &report.settled {
            let Some(held) = self.held.get_mut(&settled.lease) else {
                continue;
            };
            let Some(jobs) = held.get_mut(&settled.tenant) else {
                continue;
            };
            let gone = settled.jobs.min(*jobs);
            *jobs -= gone;
            if *jobs == 0 {
                held.remove(&settled.tenant);
            }
            if held.is_empty() {
                self.held.remove(&settled.lease);
            }
            lower(&mut self.in_flight, settled.tenant, gone);
        }
    }

    /// Forgets a lease that was released or lost.
    pub fn forget(&mut self, lease: LeaseId) {
        for (tenant, jobs) in self.held.remove(&lease).unwrap_or_default() {
            lower(&mut self.in_flight, tenant, jobs);
        }
    }
}

fn lower(in_flight: &mut HashMap<TenantId, u32>, tenant: TenantId, by: u32) {
    if let Some(jobs) = in_flight.get_mut(&tenant) {
        *jobs = jobs.saturating_sub(by);
        if *jobs == 0 {
            in_flight.remove(&tenant);
        }
    }
}

/// What a claim asks for, as parallel arrays.
#[derive(Default)]
struct Parts {
    tenants: Vec<Uuid>,
    jobs: Vec<i32>,
    runs: Vec<i32>,
    /// Parts of one turn share its number of jobs.
    turns: Vec<i32>,
    /// One kind alone, or none: every kind that the node knows.
    kinds: Vec<&'static str>,
}

impl Parts {
    fn push(&mut self, turn: usize, share: Share, kind: &'static str) {
        self.tenants.push(share.tenant.0);
        self.jobs.push(share.jobs as i32);
        self.runs.push(share.runs as i32);
        self.turns.push(turn as i32);
        self.kinds.push(kind);
    }
}

/// The answer of the claiming statement.
struct Taken {
    open: bool,
    lease: Option<LeaseId>,
    /// What was taken out of the ready table, in the order of turns and ranks.
    runs: Vec<Run>,
    jobs: WideColumns,
}

/// The wide rows of a batch as parallel arrays: one row of the result, which costs less than one a job.
#[derive(Default)]
pub(crate) struct WideColumns {
    pub ids: Vec<i64>,
    pub payloads: Vec<String>,
    pub retries: Vec<i32>,
    pub max_retries: Vec<i32>,
    pub crashes: Vec<i16>,
    pub references: Vec<Option<String>>,
}

impl Taken {
    fn got(&self) -> HashMap<TenantId, Got> {
        let mut got: HashMap<TenantId, Got> = HashMap::new();
        for run in &self.runs {
            let tenant = got.entry(run.class.tenant).or_default();
            tenant.jobs += run.n as u32;
            tenant.runs += 1;
        }
        got
    }

    async fn into_claimed(self, conn: &mut PgConnection) -> Result<Claimed, QueueError> {
        let Some(lease) = self.lease else {
            return Ok(Claimed::default());
        };
        let expected: i64 = self.runs.iter().map(|run| run.n).sum();
        let holes = self.jobs.ids.len() as i64 != expected;
        let (jobs, left) = self.jobs.into_jobs(&self.runs)?;
        if holes {
            shrink(conn, lease, &left).await?;
        }
        let lease = (!jobs.is_empty()).then_some(lease);
        Ok(Claimed {
            lease,
            jobs,
            ..Claimed::default()
        })
    }
}

impl WideColumns {
    /// Jobs in the order of the runs, and the runs they really make.
    pub fn into_jobs(self, runs: &[Run]) -> Result<(Vec<ClaimedJob>, Vec<Run>), QueueError> {
        let mut places: Vec<(usize, &Run)> = runs.iter().enumerate().collect();
        places.sort_unstable_by_key(|(_, run)| run.first);
        let mut jobs: Vec<(usize, ClaimedJob)> = Vec::with_capacity(self.ids.len());
        let mut classes: Vec<(Class, i64)> = Vec::with_capacity(self.ids.len());
        let mut rows: Vec<_> = self
            .ids
            .into_iter()
            .zip(self.payloads)
            .zip(self.retries.into_iter().zip(self.max_retries))
            .zip(self.crashes.into_iter().zip(self.references))
            .map(|(((id, payload), (retries, max)), (crashes, reference))| {
                (id, payload, retries, max, crashes, reference)
            })
            .collect();
        rows.sort_unstable_by_key(|row| row.0);
        let mut at_run = 0;
        for (id, payload, retry_count, max_retries, crash_count, source_reference) in rows {
            while at_run + 1 < places.len() && places[at_run].1.ids().end <= id {
                at_run += 1;
            }
            let (place, run) = places[at_run];
            let payload =
                RawValue::from_string(payload).map_err(|source| QueueError::Payload { job: id, source })?;
            classes.push((run.class, id));
            let Class {
                tenant,
                kind,
                priority,
                ..
            } = run.class;
            jobs.push((
                place,
                ClaimedJob {
                    id: JobId(id),
                    tenant,
                    kind,
                    payload,
                    priority,
                    retry_count,
                    max_retries,
                    crash_count,
                    source_reference,
                },
            ));
        }
        jobs.sort_by_key(|(place, _)| *place);
        Ok((jobs.into_iter().map(|(_, job)| job).collect(), compress(classes)))
    }
}

/// Locks ready runs of the tenants, skipping those that other nodes are at, deletes or splits them, and leases them.
///
/// The fence is a one-time condition of the statement: a copied database claims nothing, not even once. Of the two ways to
/// a tenant's rows each part takes one: along the ranks over all kinds, or along those of one kind. The concatenation keeps
/// the planner from gathering and sorting all kinds by the second index, and the sum from walking over the other kinds by
/// the first.
async fn take(
    conn: &mut PgConnection,
    node: NodeId,
    kinds: &[&str],
    parts: &Parts,
    want: u32,
    now: Timestamp,
    expires: Timestamp,
) -> Result<Taken, QueueError> {
    let row = sqlx::query!(
        r#"
        WITH gate AS MATERIALIZED (
            SELECT queue_open() AS open
        ), picked AS MATERIALIZED (
            SELECT r.*, w.jobs, w.turn
            FROM unnest($1::uuid[], $2::int[], $3::int[], $9::int[], $10::text[]) AS w (tenant_id, jobs, runs, turn, kind)
            CROSS JOIN LATERAL (
                SELECT * FROM (
                    SELECT q.ctid AS place, q.*
                    FROM job_ready q
                    WHERE w.kind = '' AND q.tenant_id = w.tenant_id AND q.job_type || '' = ANY($4::text[])
                    ORDER BY q.rank, q.first_id
                    LIMIT w.runs
                    FOR UPDATE SKIP LOCKED
                ) a
                UNION ALL
                SELECT * FROM (
                    SELECT q.ctid AS place, q.*
                    FROM job_ready q
                    WHERE w.kind <> '' AND q.tenant_id = w.tenant_id AND q.job_type = w.kind
                    ORDER BY q.rank + 0, q.first_id
                    LIMIT w.runs
                    FOR UPDATE SKIP LOCKED
                ) b
            ) r
            WHERE (SELECT open FROM gate)
        ), taken AS MATERIALIZED (
            -- Each tenant up to its share, all together up to what is wanted, in the order of turns.
            SELECT g.*, least(g.share, $8::bigint - g.before)::int AS take
            FROM (
                SELECT s.*, sum(s.share) OVER (ORDER BY s.turn, s.rank, s.first_id) - s.share AS before
                FROM (
                    SELECT p.*, least(p.n, p.jobs - p.own_before) AS share
                    FROM (
                        SELECT q.*, sum(q.n) OVER (PARTITION BY q.turn ORDER BY q.rank, q.first_id) - q.n AS own_before
                        FROM picked q
                    ) p
                    WHERE p.own_before < p.jobs
                ) s
            ) g
            WHERE g.before < $8
        ), gone AS (
            DELETE FROM job_ready WHERE ctid = ANY (ARRAY(SELECT place FROM taken))
        ), rest AS (
            INSERT INTO job_ready (tenant_id, rank, first_id, n, job_type, priority)
            SELECT t.tenant_id, t.rank, t.first_id + t.take, t.n - t.take, t.job_type, t.priority
            FROM taken t WHERE t.take < t.n
        ), runs AS MATERIALIZED (
            SELECT array_agg(tenant_id ORDER BY turn, rank, first_id) AS tenants,
                   array_agg(job_type ORDER BY turn, rank, first_id) AS job_types,
                   array_agg(priority ORDER BY turn, rank, first_id) AS priorities,
                   array_agg(rank ORDER BY turn, rank, first_id) AS ranks,
                   array_agg(first_id ORDER BY turn, rank, first_id) AS first_ids,
                   array_agg(take ORDER BY turn, rank, first_id) AS counts
            FROM taken
        ), lease AS (
            INSERT INTO job_leases
                (node_id, claimed_at, expires_at, tenants, job_types, priorities, ranks, first_ids, counts)
            SELECT $5, $6, $7, tenants, job_types, priorities, ranks, first_ids, counts
            FROM runs WHERE tenants IS NOT NULL
            RETURNING lease_id
        ), work AS (
            SELECT array_agg(c.id) AS ids, array_agg(c.payload::text) AS payloads, array_agg(c.retry_count) AS retries,
                   array_agg(c.max_retries) AS max_retries, array_agg(c.crash_count) AS crashes,
                   array_agg(c.source_reference) AS source_references
            FROM taken t
            CROSS JOIN LATERAL (
                SELECT * FROM communication_jobs j
                WHERE j.id >= t.first_id AND j.id < t.first_id + t.take AND j.status = 'pending'
            ) c
        )
        SELECT gate.open AS "open!", (SELECT lease_id FROM lease) AS lease_id,
               coalesce(runs.tenants, '{}') AS "tenants!", coalesce(runs.job_types, '{}') AS "job_types!",
               coalesce(runs.priorities, '{}') AS "priorities!", coalesce(runs.ranks, '{}') AS "ranks!",
               coalesce(runs.first_ids, '{}') AS "first_ids!", coalesce(runs.counts, '{}') AS "counts!",
               coalesce(work.ids, '{}') AS "ids!", coalesce(work.payloads, '{}') AS "payloads!",
               coalesce(work.retries, '{}') AS "retries!", coalesce(work.max_retries, '{}') AS "max_retries!",
               coalesce(work.crashes, '{}') AS "crashes!",
               coalesce(work.source_references, '{}') AS "references!: Vec<Option<String>>"
        FROM gate, runs, work
        "#,
        &parts.tenants,
        &parts.jobs,
        &parts.runs,
        kinds as &[&str],
        node.0,
        now.to_sqlx() as _,
        expires.to_sqlx() as _,
        i64::from(want),
        &parts.turns,
        &parts.kinds as &[&str],
    )
    .fetch_one(conn)
    .await
    .map_err(at("claim jobs"))?;
    let columns = Columns {
        tenants: row.tenants,
        kinds: row.job_types,
        priorities: row.priorities,
        ranks: row.ranks,
        firsts: row.first_ids,
        counts: row.counts,
    };
    let jobs = WideColumns {
        ids: row.ids,
        payloads: row.payloads,
        retries: row.retries,
        max_retries: row.max_retries,
        crashes: row.crashes,
        references: row.references,
    };
    Ok(Taken {
        open: row.open,
        lease: row.lease_id.map(LeaseId),
        runs: columns.in_order()?,
        jobs,
    })
}

/// Takes jobs out of a fresh lease that were cancelled or deleted by another program while they waited.
pub(crate) async fn shrink(conn: &mut PgConnection, lease: LeaseId, left: &[Run]) -> Result<(), QueueError> {
    let c = Columns::of(left);
    sqlx::query!(
        r#"
        WITH kept AS (
            UPDATE job_leases SET tenants = $2, job_types = $3, priorities = $4, ranks = $5, first_ids = $6, counts = $7
            WHERE lease_id = $1 AND cardinality($6::bigint[]) > 0
        )
        DELETE FROM job_leases WHERE lease_id = $1 AND cardinality($6::bigint[]) = 0
        "#,
        lease.0,
        &c.tenants,
        &c.kinds,
        &c.priorities,
        &c.ranks,
        &c.firsts,
        &c.counts,
    )
    .execute(conn)
    .await
    .map_err(at("take withdrawn jobs out of a lease"))?;
    Ok(())
}
