//! A database with a queue, and short ways to use it.

use jiff::{SignedDuration, Timestamp};
use serde_json::value::RawValue;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use std::str::FromStr as _;
use tidings_core::job::JobKind;
use tidings_core::{ErrorCategory, JobId, NodeId, TenantId};
use tidings_queue::{
    CONNECTION_OPTIONS, ClaimLimits, Claimed, ClaimedJob, Claimer, Finish, FinishReport, LeaseId, NewJob,
    Outcome, TakenOver, park_expired, take_alone, take_group,
};
use tidings_testkit::TestDatabase;
use uuid::Uuid;

pub const LEASE_MS: i64 = 30_000;

pub struct World {
    pub database: TestDatabase,
    pub conn: PgConnection,
    pub now: Timestamp,
}

pub fn tenant(n: u128) -> TenantId {
    TenantId(Uuid::from_u128(n))
}

pub fn node(n: u128) -> NodeId {
    NodeId(Uuid::from_u128(1_000_000 + n))
}

pub fn job(tenant_number: u128, priority: i16) -> NewJob {
    let payload = RawValue::from_string(r#"{"a":1}"#.to_owned()).unwrap();
    NewJob::new(tenant(tenant_number), JobKind::Noop, priority, payload)
}

pub fn referenced(tenant_number: u128, reference: &str) -> NewJob {
    NewJob {
        source_reference: Some(reference.to_owned()),
        ..job(tenant_number, 60)
    }
}

pub fn claimer(n: u128) -> Claimer {
    Claimer::new(node(n), JobKind::ALL, ClaimLimits::default())
}

pub fn ids(claimed: &Claimed) -> Vec<JobId> {
    claimed.jobs.iter().map(|job| job.id).collect()
}

pub fn retry(at: Timestamp, counts: bool) -> Outcome {
    Outcome::Retry {
        at,
        category: ErrorCategory::Transient,
        error: "450 try later".to_owned(),
        counts,
    }
}

pub fn dead(cause: &str) -> Outcome {
    Outcome::Dead {
        cause: cause.to_owned(),
        category: ErrorCategory::Permanent,
        error: "550 no such user".to_owned(),
    }
}

/// As the workers' role: what the policies and grants forbid fails here.
async fn connect(url: &str) -> PgConnection {
    let options = PgConnectOptions::from_str(url)
        .unwrap()
        .options(CONNECTION_OPTIONS);
    PgConnection::connect_with(&options.options([("role", "tidings_worker")]))
        .await
        .unwrap()
}

impl World {
    pub async fn new() -> Self {
        let database = tidings_testkit::database().await;
        let mut conn = connect(&database.url).await;
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        // As the workers' role: what the policies and grants forbid fails here.
        sqlx::query("SET ROLE tidings_worker")
            .execute(&mut conn)
            .await
            .unwrap();
        tidings_queue::register(&mut conn, node(1), "one", "test", now)
            .await
            .unwrap();
        Self { database, conn, now }
    }

    pub async fn connect(&self) -> PgConnection {
        let mut conn = PgConnection::connect(&self.database.url).await.unwrap();
        sqlx::query("SET ROLE tidings_worker")
            .execute(&mut conn)
            .await
            .unwrap();
        conn
    }

    pub fn pass(&mut self, ms: i64) {
        self.now += SignedDuration::from_millis(ms);
    }

    pub async fn add(&mut self, jobs: &[NewJob]) -> Vec<JobId> {
        let added = tidings_queue::enqueue(&mut self.conn, jobs, self.now)
            .await
            .unwrap();
        added.into_iter().map(|job| job.id).collect()
    }

    pub async fn claim(&mut self, claimer: &mut Claimer, want: u32) -> Claimed {
        claimer
            .claim(&mut self.conn, want, self.now, LEASE_MS)
            .await
            .unwrap()
    }

    pub async fn finish_as(
        &mut self,
        node: NodeId,
        lease: LeaseId,
        jobs: &[ClaimedJob],
        outcome: &Outcome,
    ) -> FinishReport {
        let finishes: Vec<Finish> = jobs
            .iter()
            .map(|job| Finish {
                job: job.id,
                lease,
                outcome: outcome.clone(),
            })
            .collect();
        tidings_queue::finish(&mut self.conn, node, &finishes, self.now)
            .await
            .unwrap()
    }

    pub async fn finish(&mut self, claimed: &Claimed, outcome: &Outcome) -> FinishReport {
        self.finish_as(node(1), claimed.lease.unwrap(), &claimed.jobs, outcome)
            .await
    }

    /// Parks every expired lease and takes all of it, groups first.
    pub async fn rescue(&mut self, n: u128) -> Vec<TakenOver> {
        park_expired(&mut self.conn, JobKind::ALL, self.now, 1_000)
            .await
            .unwrap();
        let mut all = Vec::new();
        while let Some(taken) = self.group(n).await {
            all.push(taken);
        }
        while let Some(taken) = self.single(n).await {
            all.push(taken);
        }
        all
    }

    pub async fn group(&mut self, n: u128) -> Option<TakenOver> {
        take_group(&mut self.conn, node(n), JobKind::ALL, self.now, LEASE_MS)
            .await
            .unwrap()
    }

    pub async fn single(&mut self, n: u128) -> Option<TakenOver> {
        take_alone(&mut self.conn, node(n), JobKind::ALL, self.now, LEASE_MS)
            .await
            .unwrap()
    }

    pub async fn status(&mut self, job: JobId) -> String {
        sqlx::query_scalar("SELECT status FROM communication_jobs WHERE id = $1")
            .bind(job.0)
            .fetch_one(&mut self.conn)
            .await
            .unwrap()
    }

    pub async fn number(&mut self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.conn).await.unwrap()
    }
}
