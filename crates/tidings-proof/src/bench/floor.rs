//! The floor: the cheapest durable queue in plain SQL that still loses nothing. Narrow ready rows deleted at claim, one lease
//! row a batch with the array of its jobs, outcomes appended. No tenants, no priorities beyond a rank, no retries, no status.

use super::queue::{BATCH, Bench, Failure, Figure, PAYLOAD, figure, server_cpu_us};
use sqlx::{PgConnection, PgPool};
use std::time::Instant;
use tidings_core::JobId;
use tidings_queue::{Enqueued, NewJob, QueueError};
use tokio::task::JoinSet;

const ENQUEUE: &str = "WITH block AS MATERIALIZED (SELECT nextval('floor_id') AS base),
     jobs AS (INSERT INTO floor_jobs
        SELECT base + n, payload::jsonb FROM block, unnest($1::text[]) WITH ORDINALITY AS j (payload, n) RETURNING id)
     INSERT INTO floor_ready SELECT 1, id FROM jobs RETURNING id";

pub async fn create(owner: &mut PgConnection) -> Result<(), sqlx::Error> {
    let script = "CREATE SEQUENCE floor_id INCREMENT BY 1000;
        CREATE TABLE floor_jobs (id bigint PRIMARY KEY, payload jsonb NOT NULL);
        CREATE TABLE floor_ready (rank bigint, id bigint, PRIMARY KEY (rank, id))
            WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
        CREATE TABLE floor_leases (lease bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ids bigint[] NOT NULL);
        CREATE TABLE floor_outcomes (id bigint NOT NULL, outcome smallint NOT NULL);
        GRANT ALL ON floor_jobs, floor_ready, floor_leases, floor_outcomes, floor_id TO tidings_worker;";
    sqlx::raw_sql(script).execute(owner).await?;
    Ok(())
}

pub async fn enqueue(bench: &Bench, jobs: usize, connections: usize) -> Result<Figure, Failure> {
    let mut tasks = JoinSet::new();
    let mut conns = Vec::new();
    for _ in 0..connections {
        conns.push(bench.connect().await?);
    }
    let each = jobs / connections;
    let begun = Instant::now();
    for mut conn in conns {
        tasks.spawn(async move {
            let payloads = vec![PAYLOAD; 1_000];
            let mut sent = 0;
            while sent < each {
                let n = (each - sent).min(payloads.len());
                sqlx::query(ENQUEUE)
                    .bind(&payloads[..n])
                    .execute(&mut conn)
                    .await?;
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

/// A batch of coalesced single enqueues.
pub async fn flush(pool: PgPool, batch: Vec<NewJob>) -> Result<Vec<Enqueued>, QueueError> {
    let payloads: Vec<&str> = batch.iter().map(|job| job.payload.get()).collect();
    let ids: Vec<i64> = sqlx::query_scalar(ENQUEUE)
        .bind(&payloads)
        .fetch_all(&pool)
        .await
        .map_err(|source| QueueError::Database {
            doing: "enqueue into the floor",
            source,
        })?;
    Ok(ids
        .into_iter()
        .map(|id| Enqueued {
            id: JobId(id),
            duplicate: false,
        })
        .collect())
}

pub async fn process(bench: &Bench, jobs: usize, connections: usize) -> Result<Figure, Failure> {
    let mut tasks = JoinSet::new();
    let mut conns = Vec::new();
    for _ in 0..connections {
        conns.push(bench.connect().await?);
    }
    let begun = Instant::now();
    for conn in conns {
        tasks.spawn(work(conn));
    }
    let (mut done, mut cpu) = (0, 0.0);
    while let Some(task) = tasks.join_next().await {
        let (jobs, us) = task??;
        done += jobs;
        cpu += us;
    }
    if done != jobs {
        return Err(format!("floor: {done} of {jobs} jobs were processed").into());
    }
    Ok(figure(jobs, begun, cpu))
}

async fn work(mut conn: PgConnection) -> Result<(usize, f64), Failure> {
    let mut done = 0;
    loop {
        let (lease, ids, payloads): (Option<i64>, Option<Vec<i64>>, Option<Vec<String>>) = sqlx::query_as(
            "WITH taken AS (
                DELETE FROM floor_ready WHERE ctid = ANY (ARRAY(
                    SELECT ctid FROM floor_ready ORDER BY rank, id LIMIT $1 FOR UPDATE SKIP LOCKED))
                RETURNING id
             ), lease AS (
                INSERT INTO floor_leases (ids) SELECT array_agg(id) FROM taken HAVING count(*) > 0 RETURNING lease
             )
             SELECT (SELECT lease FROM lease), array_agg(j.id), array_agg(j.payload::text)
             FROM taken t JOIN floor_jobs j ON j.id = t.id",
        )
        .bind(i64::from(BATCH))
        .fetch_one(&mut conn)
        .await?;
        let (Some(lease), Some(ids), Some(payloads)) = (lease, ids, payloads) else {
            return Ok((done, server_cpu_us(&mut conn).await?));
        };
        assert_eq!(ids.len(), payloads.len(), "every job comes with its payload");
        let completed = sqlx::query(
            "WITH held AS (DELETE FROM floor_leases WHERE lease = $1 RETURNING ids)
             INSERT INTO floor_outcomes SELECT unnest(ids), 1 FROM held",
        )
        .bind(lease)
        .execute(&mut conn)
        .await?;
        done += completed.rows_affected() as usize;
    }
}
