//! Lines: jobs that wait for something outside the queue keep their places and cost nobody anything.

use crate::world::{LEASE_MS, World, claimer, ids, job, tenant};
use serde_json::value::RawValue;
use sqlx::{Connection as _, PgConnection};
use tidings_core::job::JobKind;
use tidings_queue::{Line, NewJob};

fn mail(tenant_number: u128, priority: i16) -> NewJob {
    let payload = RawValue::from_string("{}".to_owned()).unwrap();
    NewJob::new(tenant(tenant_number), JobKind::SendEmail, priority, payload)
}

fn line(tenant_number: u128, jobs: u32) -> Line {
    Line {
        tenant: tenant(tenant_number),
        kind: JobKind::SendEmail,
        jobs,
    }
}

#[tokio::test]
async fn what_waits_in_a_line_is_claimed_in_the_number_there_is_room_for() {
    let mut w = World::new().await;
    let bulk = w.add(&vec![mail(1, 40); 300]).await;
    let other = w.add(&[job(1, 40), mail(2, 40)]).await;
    let mut claimer = claimer(1);
    claimer.hold_back([(tenant(1), JobKind::SendEmail)]);
    let mut open = ids(&w.claim(&mut claimer, 100).await);
    open.sort_unstable();
    assert_eq!(open, other, "another kind and another tenant go on");
    assert!(w.claim(&mut claimer, 100).await.jobs.is_empty());

    let urgent = w.add(&[mail(1, 100)]).await;
    let claimed = claimer
        .claim_lines(&mut w.conn, &[line(1, 3), line(2, 5)], w.now, LEASE_MS)
        .await
        .unwrap();
    assert_eq!(ids(&claimed), [urgent[0], bulk[0], bulk[1]], "in order of rank");
    assert_eq!(claimer.in_flight(), 5);

    claimer.hold_back([]);
    w.pass(300);
    let rest = w.claim(&mut claimer, 1_000).await;
    assert_eq!(ids(&rest), bulk[2..]);
    let none = claimer
        .claim_lines(&mut w.conn, &[line(1, 0)], w.now, LEASE_MS)
        .await;
    assert!(none.unwrap().lease.is_none());
}

#[tokio::test]
async fn a_line_of_a_hundred_thousand_costs_a_look() {
    let mut w = World::new().await;
    // A run each, which is the worst there is.
    w.add(&vec![mail(1, 90); 100_000]).await;
    let mut owner = PgConnection::connect(&w.database.url).await.unwrap();
    sqlx::query(
        "WITH gone AS (DELETE FROM job_ready RETURNING *)
         INSERT INTO job_ready (tenant_id, rank, first_id, n, job_type, priority)
         SELECT tenant_id, rank, first_id + i, 1, job_type, priority FROM gone, generate_series(0, n - 1) i",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    sqlx::query("ANALYZE").execute(&mut owner).await.unwrap();
    let behind = w.add(&[job(1, 40)]).await;
    let mut claimer = claimer(1);
    claimer.hold_back([(tenant(1), JobKind::SendEmail)]);
    let mut tx = w.conn.begin().await.unwrap();
    let open = claimer.claim(&mut tx, 256, w.now, LEASE_MS).await.unwrap();
    assert_eq!(ids(&open), behind);
    let few = claimer
        .claim_lines(&mut tx, &[line(1, 5)], w.now, LEASE_MS)
        .await
        .unwrap();
    assert_eq!(few.jobs.len(), 5);
    let (sequential, fetched): (i64, i64) = sqlx::query_as(
        "SELECT seq_tup_read::bigint, coalesce(idx_tup_fetch, 0)::bigint FROM pg_stat_xact_user_tables WHERE relname = 'job_ready'",
    )
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    assert_eq!(sequential, 0, "the line was scanned");
    assert!(fetched <= 50, "{fetched} rows were read");
}
