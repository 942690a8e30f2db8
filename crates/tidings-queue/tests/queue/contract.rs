//! `communication_jobs` as other programs use it: plain SQL.

use crate::world::{World, claimer, job, tenant};
use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection};
use tidings_core::job::JobKind;
use tidings_queue::{Outcome, adopt_arrivals, reconsider_unknown, unknown_kinds};

impl World {
    /// Another program: the owner, who knows nothing of the engine's settings.
    async fn foreign(&mut self, sql: &'static str) -> u64 {
        let mut owner = PgConnection::connect(&self.database.url).await.unwrap();
        let done = sqlx::query(sql)
            .execute(&mut owner)
            .await
            .unwrap()
            .rows_affected();
        // Defaults of foreign rows come from the server's clock.
        let now: jiff_sqlx::Timestamp = sqlx::query_scalar("SELECT now()")
            .fetch_one(&mut owner)
            .await
            .unwrap();
        self.now = now.to_jiff().max(self.now);
        done
    }
}

#[tokio::test]
async fn three_columns_are_enough() {
    let mut w = World::new().await;
    w.foreign("INSERT INTO communication_jobs (tenant_id, job_type, payload) VALUES ('00000000-0000-0000-0000-000000000001', 'send_email', '{\"to\": 1}')").await;
    let adopted = adopt_arrivals(&mut w.conn, w.now, 100).await.unwrap();
    assert_eq!((adopted.ready, adopted.total()), (1, 1));
    let claimed = w.claim(&mut claimer(1), 10).await;
    let job = &claimed.jobs[0];
    assert_eq!(
        (job.tenant, job.kind, job.priority, job.max_retries),
        (tenant(1), JobKind::SendEmail, 60, 3)
    );
    assert_eq!(w.finish(&claimed, &Outcome::Done).await.fenced, []);
    assert_eq!(w.status(claimed.jobs[0].id).await, "complete");
}

#[tokio::test]
async fn many_rows_conflicts_and_urgency() {
    let mut w = World::new().await;
    w.foreign("INSERT INTO communication_jobs (tenant_id, job_type, payload, source_reference) SELECT '00000000-0000-0000-0000-000000000001', 'send_sms', '{}', n::text FROM generate_series(1, 50) n").await;
    let added = w.foreign("INSERT INTO communication_jobs (tenant_id, job_type, payload, source_reference) VALUES ('00000000-0000-0000-0000-000000000001', 'send_sms', '{}', '7'), ('00000000-0000-0000-0000-000000000001', 'send_sms', '{\"urgent\": true}', 'new') ON CONFLICT DO NOTHING").await;
    assert_eq!(added, 1);
    assert_eq!(adopt_arrivals(&mut w.conn, w.now, 30).await.unwrap().ready, 30);
    assert_eq!(adopt_arrivals(&mut w.conn, w.now, 30).await.unwrap().ready, 21);
    let claimed = w.claim(&mut claimer(1), 51).await;
    assert_eq!(claimed.jobs.len(), 51);
    assert_eq!(
        (
            claimed.jobs[0].source_reference.as_deref(),
            claimed.jobs[0].priority
        ),
        (Some("new"), 100)
    );
}

#[tokio::test]
async fn unknown_types_are_left_and_listed_until_they_are_known() {
    let mut w = World::new().await;
    w.foreign("INSERT INTO communication_jobs (tenant_id, job_type, payload) VALUES ('00000000-0000-0000-0000-000000000001', 'fax.send', '{}'), ('00000000-0000-0000-0000-000000000001', 'noop', '{}')").await;
    let adopted = adopt_arrivals(&mut w.conn, w.now, 100).await.unwrap();
    assert_eq!((adopted.ready, adopted.set_aside), (1, 1));
    let unknown = unknown_kinds(&mut w.conn).await.unwrap();
    assert_eq!((unknown[0].kind.as_str(), unknown[0].jobs), ("fax.send", 1));
    assert_eq!(adopt_arrivals(&mut w.conn, w.now, 100).await.unwrap().total(), 0);
    assert_eq!(reconsider_unknown(&mut w.conn, JobKind::ALL).await.unwrap(), 0);
    sqlx::query("UPDATE communication_jobs SET job_type = 'send_sms' WHERE job_type = 'fax.send'")
        .execute(&mut w.conn)
        .await
        .unwrap();
    assert_eq!(reconsider_unknown(&mut w.conn, JobKind::ALL).await.unwrap(), 1);
    assert_eq!(adopt_arrivals(&mut w.conn, w.now, 100).await.unwrap().ready, 1);
}

#[tokio::test]
async fn later_rows_wait_and_cancelled_rows_are_dropped() {
    let mut w = World::new().await;
    w.foreign("INSERT INTO communication_jobs (tenant_id, job_type, payload, process_after, priority) VALUES ('00000000-0000-0000-0000-000000000001', 'noop', '{}', '2100-01-01', 10), ('00000000-0000-0000-0000-000000000001', 'noop', '{}', '1970-01-01', 10)").await;
    w.foreign("INSERT INTO communication_jobs (tenant_id, job_type, payload, source_reference) VALUES ('00000000-0000-0000-0000-000000000001', 'noop', '{}', 'gone')").await;
    w.foreign("UPDATE communication_jobs SET status = 'cancelled' WHERE source_reference = 'gone'")
        .await;
    let adopted = adopt_arrivals(&mut w.conn, w.now, 100).await.unwrap();
    assert_eq!((adopted.ready, adopted.scheduled, adopted.dropped), (1, 1, 1));
    // A row from 1970 has not been waiting since then.
    assert_eq!(
        w.number("SELECT count(*) FROM communication_jobs WHERE process_after < created_at")
            .await,
        0
    );
}

#[tokio::test]
async fn a_foreign_row_wakes_the_workers_and_the_engines_own_is_no_arrival() {
    let mut w = World::new().await;
    let mut listener = sqlx::postgres::PgListener::connect(&w.database.url)
        .await
        .unwrap();
    listener.listen(tidings_queue::CHANNEL).await.unwrap();
    w.add(&[job(1, 60)]).await;
    assert_eq!(w.number("SELECT count(*) FROM job_arrivals").await, 0);
    w.foreign("INSERT INTO communication_jobs (tenant_id, job_type, payload) VALUES ('00000000-0000-0000-0000-000000000001', 'noop', '{}')").await;
    assert_eq!(listener.recv().await.unwrap().channel(), tidings_queue::CHANNEL);
    assert_eq!(w.number("SELECT count(*) FROM job_arrivals").await, 1);
}

#[tokio::test]
async fn a_role_that_may_only_insert_jobs_can_announce_them() {
    let mut w = World::new().await;
    let mut tenant_conn = PgConnection::connect(&w.database.url).await.unwrap();
    sqlx::query("SET ROLE tidings_app")
        .execute(&mut tenant_conn)
        .await
        .unwrap();
    sqlx::query("SELECT set_config('app.tenant', '00000000-0000-0000-0000-000000000001', false)")
        .execute(&mut tenant_conn)
        .await
        .unwrap();
    let insert = "INSERT INTO communication_jobs (tenant_id, job_type, payload) VALUES ($1, 'noop', '{}')";
    sqlx::query(insert)
        .bind(tenant(1).0)
        .execute(&mut tenant_conn)
        .await
        .unwrap();
    sqlx::query(insert)
        .bind(tenant(2).0)
        .execute(&mut tenant_conn)
        .await
        .unwrap_err();
    sqlx::query("SELECT 1 FROM job_arrivals")
        .execute(&mut tenant_conn)
        .await
        .unwrap_err();
    let jobs = [job(1, 60), job(1, 100)];
    tidings_queue::enqueue(&mut tenant_conn, &jobs, w.now)
        .await
        .unwrap();
    tidings_queue::enqueue(&mut tenant_conn, &[job(2, 60)], w.now)
        .await
        .unwrap_err();
    w.now = Timestamp::from_second(4_000_000_000).unwrap();
    assert_eq!(adopt_arrivals(&mut w.conn, w.now, 10).await.unwrap().ready, 1);
    assert_eq!(w.claim(&mut claimer(1), 10).await.jobs.len(), 3);
}
