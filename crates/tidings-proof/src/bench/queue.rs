//! The queue's own figures.

use super::floor;
use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool};
use std::future::Future;
use std::str::FromStr as _;
use std::time::{Duration, Instant};
use tidings_core::job::JobKind;
use tidings_core::{Clock, NodeId, TenantId};
use tidings_queue::coalesce::{CoalesceLimits, Coalescer};
use tidings_queue::{
    CONNECTION_OPTIONS, ClaimLimits, Claimer, Enqueued, Finish, NewJob, Outcome, QueueError,
};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Jobs of a claim, as in the floor.
pub const BATCH: u32 = 500;

/// 125 bytes, as in the figures that the targets come from.
pub const PAYLOAD: &str = r#"{"message":"0198c0de-0000-7000-8000-000000000001","delivery":"0198c0de-0000-7000-8000-000000000002","attempt":1,"v":1,"x":12}"#;

#[derive(Clone)]
pub struct Bench {
    options: PgConnectOptions,
}

pub fn now() -> Timestamp {
    super::MachineClock.now()
}

fn job(tenant: u128, reference: Option<String>) -> Result<NewJob, serde_json::Error> {
    let payload = RawValue::from_string(PAYLOAD.to_owned())?;
    let job = NewJob::new(TenantId(Uuid::from_u128(tenant)), JobKind::Noop, 60, payload);
    Ok(NewJob {
        source_reference: reference,
        ..job
    })
}

/// A rate with what it cost.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    pub per_s: f64,
    /// Microseconds of the server's processors a job; steadier than rates on a busy machine. Zero when it cannot be read
    /// (another machine, another system).
    pub server_cpu_us: f64,
}

impl Figure {
    fn json(self) -> Value {
        json!({ "per_s": self.per_s, "server_cpu_us": (self.server_cpu_us * 10.0).round() / 10.0 })
    }
}

/// Processor time of the session's server process so far, in microseconds; Linux counts in hundredths of a second.
pub async fn server_cpu_us(conn: &mut PgConnection) -> Result<f64, sqlx::Error> {
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(conn)
        .await?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse::<f64>().ok())
        .sum::<f64>();
    Ok(ticks * 10_000.0)
}

pub fn figure(jobs: usize, since: Instant, cpu_us: f64) -> Figure {
    Figure {
        per_s: rate(jobs, since),
        server_cpu_us: cpu_us / jobs as f64,
    }
}

pub fn rate(jobs: usize, since: Instant) -> f64 {
    (jobs as f64 / since.elapsed().as_secs_f64()).round()
}

impl Bench {
    pub fn new(url: &str) -> Self {
        let options = PgConnectOptions::from_str(url).unwrap_or_default();
        let options = options
            .options(CONNECTION_OPTIONS)
            .options([("role", "tidings_worker")]);
        Self { options }
    }

    pub async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect_with(&self.options).await
    }

    async fn owner(&self) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect_with(&self.options.clone().options([("role", "none")])).await
    }

    /// One round: the floor and the queue, one after the other in the same database.
    pub async fn round(&self, jobs: usize) -> Result<Value, Failure> {
        let mut owner = self.owner().await?;
        floor::create(&mut owner).await?;
        self.checkpoint(&mut owner).await?;
        let floor_enqueue = floor::enqueue(self, jobs, 2).await?;
        self.checkpoint(&mut owner).await?;
        let floor_process = floor::process(self, jobs, 2).await?;
        tidings_queue::register(&mut owner, node(0), "bench", "0", now()).await?;
        self.checkpoint(&mut owner).await?;
        let enqueue = self.enqueue(jobs, 2, false).await?;
        self.checkpoint(&mut owner).await?;
        let process_2 = self.process(jobs, 2).await?;
        self.checkpoint(&mut owner).await?;
        let with_references = self.enqueue(jobs, 2, true).await?;
        self.checkpoint(&mut owner).await?;
        let process_4 = self.process(jobs, 4).await?;
        self.checkpoint(&mut owner).await?;
        let floor_single = self.coalesced(jobs / 2, 256, 2, floor::flush).await?;
        let single = self.coalesced(jobs / 2, 256, 2, flush).await?;
        self.checkpoint(&mut owner).await?;
        let process_singles = self.process(jobs / 2, 2).await?;
        Ok(json!({
            "floor_enqueue": floor_enqueue.json(),
            "floor_process": floor_process.json(),
            "bulk_enqueue": enqueue.json(),
            "bulk_enqueue_with_references": with_references.json(),
            "process_2_connections": process_2.json(),
            "process_4_connections": process_4.json(),
            "process_of_coalesced": process_singles.json(),
            "floor_single_enqueue_256_callers_per_s": floor_single,
            "single_enqueue_256_callers_per_s": single,
            "process_of_floor": process_2.per_s / floor_process.per_s,
            "process_of_floor_by_cpu": floor_process.server_cpu_us / process_2.server_cpu_us,
            "enqueue_of_floor": enqueue.per_s / floor_enqueue.per_s,
        }))
    }

    async fn checkpoint(&self, owner: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query("CHECKPOINT").execute(owner).await?;
        Ok(())
    }

    /// Bulk enqueue, a statement and a commit for every 1,024 jobs.
    pub async fn enqueue(
        &self,
        jobs: usize,
        connections: usize,
        references: bool,
    ) -> Result<Figure, Failure> {
        let mut tasks = JoinSet::new();
        let mut conns = Vec::new();
        for _ in 0..connections {
            conns.push(self.connect().await?);
        }
        let each = jobs / connections;
        let begun = Instant::now();
        for (c, mut conn) in conns.into_iter().enumerate() {
            tasks.spawn(async move {
                let mut sent = 0;
                while sent < each {
                    let n = (each - sent).min(tidings_queue::BLOCK);
                    let reference = |i| references.then(|| format!("order {c} {i}"));
                    let batch: Result<Vec<NewJob>, _> = (sent..sent + n)
                        .map(|i| job(1 + (i / 1024 % 4) as u128, reference(i)))
                        .collect();
                    tidings_queue::enqueue(&mut conn, &batch?, now()).await?;
                    sent += n;
                }
                Ok::<_, Failure>(server_cpu_us(&mut conn).await?)
            });
        }
        let mut cpu = 0.0;
        while let Some(done) = tasks.join_next().await {
            cpu += done??;
        }
        Ok(figure(each * connections, begun, cpu))
    }

    /// Claim to completion of everything that waits, payloads transferred; each connection with its own claimer.
    pub async fn process(&self, jobs: usize, connections: usize) -> Result<Figure, Failure> {
        let mut tasks = JoinSet::new();
        let mut conns = Vec::new();
        for _ in 0..connections {
            conns.push(self.connect().await?);
        }
        let begun = Instant::now();
        for (n, conn) in conns.into_iter().enumerate() {
            tasks.spawn(work(conn, node(n as u128 + 1)));
        }
        let (mut done, mut cpu) = (0, 0.0);
        while let Some(task) = tasks.join_next().await {
            let (jobs, us) = task??;
            done += jobs;
            cpu += us;
        }
        if done != jobs {
            return Err(format!("{done} of {jobs} jobs were processed").into());
        }
        Ok(figure(jobs, begun, cpu))
    }

    /// Single enqueues by concurrent callers, each waiting for its durable answer before it sends the next.
    pub async fn coalesced<F, Fut>(
        &self,
        jobs: usize,
        callers: usize,
        lanes: usize,
        flush: F,
    ) -> Result<f64, Failure>
    where
        F: Fn(PgPool, Vec<NewJob>) -> Fut + Send + Sync + Copy + 'static,
        Fut: Future<Output = Result<Vec<Enqueued>, QueueError>> + Send + 'static,
    {
        let pool = PgPoolOptions::new()
            .max_connections(lanes as u32)
            .test_before_acquire(false)
            .connect_with(self.options.clone())
            .await?;
        let limits = CoalesceLimits {
            batch_weight: 1_024,
            runners: lanes,
            company: 1,
            patience: Duration::ZERO,
            waiting_weight: 8_192,
            linger: Duration::from_millis(1),
        };
        let coalescer = Coalescer::new(limits, TaskTracker::new(), move |batch: Vec<NewJob>| {
            let (pool, count) = (pool.clone(), batch.len());
            Box::pin(async move {
                match flush(pool, batch).await {
                    Ok(enqueued) => enqueued.into_iter().map(Ok).collect(),
                    Err(error) => (0..count).map(|_| Err(error.to_string())).collect(),
                }
            })
        });
        let mut calls = JoinSet::new();
        let begun = Instant::now();
        for caller in 0..callers {
            let coalescer = coalescer.clone();
            let each = jobs / callers + usize::from(caller < jobs % callers);
            calls.spawn(async move {
                for _ in 0..each {
                    coalescer.submit(1, job(1, None)?).await??;
                }
                Ok::<_, Failure>(())
            });
        }
        while let Some(call) = calls.join_next().await {
            call??;
        }
        Ok(rate(jobs, begun))
    }

    /// Milliseconds a claim of 500 takes (median of 15), by what waits.
    pub async fn claim_costs(&self) -> Result<Value, Failure> {
        let mut conn = self.connect().await?;
        tidings_queue::register(&mut conn, node(0), "bench", "0", now()).await?;
        let mut costs = serde_json::Map::new();
        for (name, tenants, jobs, runs_of) in [
            ("10_000 jobs of 1 tenant", 1, 10_000, 1_024),
            ("1_000_000 jobs of 1 tenant", 1, 990_000, 1_024),
            (
                "1_000_000 jobs of 1_000 tenants, runs of 100",
                1_000,
                1_000_000,
                100,
            ),
            ("200_000 jobs of 1 tenant, runs of 1", 1, 200_000, 1),
        ] {
            if tenants > 1 || runs_of == 1 {
                let mut owner = self.owner().await?;
                sqlx::query("TRUNCATE communication_jobs, job_ready, job_leases")
                    .execute(&mut owner)
                    .await?;
            }
            fill(&mut conn, tenants, jobs, runs_of).await?;
            let mut claimer = Claimer::new(node(0), JobKind::ALL, ClaimLimits::default());
            let mut taken: Vec<f64> = Vec::new();
            for _ in 0..15 {
                let begun = Instant::now();
                let claimed = claimer.claim(&mut conn, BATCH, now(), 30_000).await?;
                taken.push(
                    begun.elapsed().as_secs_f64() * 1e3 * f64::from(BATCH) / claimed.jobs.len().max(1) as f64,
                );
            }
            taken.sort_by(f64::total_cmp);
            costs.insert(name.to_owned(), json!((taken[7] * 100.0).round() / 100.0));
        }
        Ok(Value::Object(costs))
    }
}

async fn flush(pool: PgPool, batch: Vec<NewJob>) -> Result<Vec<Enqueued>, QueueError> {
    let mut conn = pool.acquire().await.map_err(|source| QueueError::Database {
        doing: "take a connection",
        source,
    })?;
    tidings_queue::enqueue(&mut conn, &batch, now()).await
}

fn node(n: u128) -> NodeId {
    NodeId(Uuid::from_u128(1_000 + n))
}

async fn work(mut conn: PgConnection, node: NodeId) -> Result<(usize, f64), Failure> {
    let mut claimer = Claimer::new(node, JobKind::ALL, ClaimLimits::default());
    let (mut done, mut empty) = (0, 0);
    // The other connection may hold the last runs for a moment.
    while empty < 3 {
        let claimed = claimer.claim(&mut conn, BATCH, now(), 30_000).await?;
        let Some(lease) = claimed.lease else {
            empty += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        empty = 0;
        let finishes: Vec<Finish> = claimed
            .jobs
            .iter()
            .map(|job| Finish {
                job: job.id,
                lease,
                outcome: Outcome::Done,
            })
            .collect();
        let report = tidings_queue::finish(&mut conn, node, &finishes, now()).await?;
        done += finishes.len() - report.fenced.len();
        claimer.settle(&report);
    }
    Ok((done, server_cpu_us(&mut conn).await?))
}

/// Fills the line: `runs_of` consecutive jobs a tenant at a time.
async fn fill(conn: &mut PgConnection, tenants: usize, jobs: usize, runs_of: usize) -> Result<(), Failure> {
    let mut sent = 0;
    let base = now();
    while sent < jobs {
        let n = (jobs - sent).min(tidings_queue::BLOCK);
        let batch: Result<Vec<NewJob>, serde_json::Error> = (sent..sent + n)
            .map(|i| {
                let run = i / runs_of;
                let mut new = job(1 + (run % tenants) as u128, None)?;
                // Runs of one tenant end where their ranks differ.
                new.priority = 60 + (run / tenants % 2) as i16;
                Ok(new)
            })
            .collect();
        let later = base + jiff::SignedDuration::from_micros(sent as i64);
        tidings_queue::enqueue(conn, &batch?, later.min(now())).await?;
        sent += n;
    }
    sqlx::query("ANALYZE").execute(conn).await?;
    Ok(())
}
