//! Enqueue and claim: duplicates, order, fairness, splitting, caps, plans.

use crate::world::{LEASE_MS, World, claimer, ids, job, node, referenced, tenant};
use jiff::SignedDuration;
use sqlx::{Connection as _, PgConnection};
use std::collections::BTreeMap;
use tidings_core::TenantId;
use tidings_core::job::JobKind;
use tidings_queue::{ClaimLimits, Claimer, NewJob, Outcome, cancel, enqueue};

#[tokio::test]
async fn a_job_goes_in_and_comes_out_with_what_it_holds() {
    let mut w = World::new().await;
    let new = NewJob {
        max_retries: 7,
        ..referenced(1, "order 5")
    };
    let added = w.add(&[new]).await;
    let claimed = w.claim(&mut claimer(1), 10).await;
    let got = &claimed.jobs[0];
    assert_eq!(
        (got.id, got.tenant, got.kind, got.priority),
        (added[0], tenant(1), JobKind::Noop, 60)
    );
    assert_eq!((got.retry_count, got.max_retries, got.crash_count), (0, 7, 0));
    assert_eq!(
        (got.payload.get(), got.source_reference.as_deref()),
        (r#"{"a": 1}"#, Some("order 5"))
    );
    assert!(w.claim(&mut claimer(2), 10).await.jobs.is_empty());
}

#[tokio::test]
async fn a_second_job_of_a_reference_is_answered_with_the_first() {
    let mut w = World::new().await;
    let first = w.add(&[referenced(1, "a"), referenced(1, "b")]).await;
    let jobs = [
        referenced(1, "c"),
        referenced(1, "a"),
        referenced(2, "a"),
        referenced(1, "c"),
        job(1, 60),
    ];
    let again = enqueue(&mut w.conn, &jobs, w.now).await.unwrap();
    assert_eq!(
        again.iter().map(|e| e.duplicate).collect::<Vec<_>>(),
        [false, true, false, true, false]
    );
    assert_eq!(again[1].id, first[0]);
    assert_eq!(again[3].id, again[0].id);
    let claimed = w.claim(&mut claimer(1), 100).await;
    assert_eq!(claimed.jobs.len(), 5);
}

#[tokio::test]
async fn priority_goes_first_then_time() {
    let mut w = World::new().await;
    let low = w.add(&[job(1, 40)]).await;
    w.pass(1_000);
    let normal = w.add(&[job(1, 60), job(1, 60)]).await;
    w.pass(1_000);
    let urgent = w.add(&[job(1, 100)]).await;
    let claimed = w.claim(&mut claimer(1), 10).await;
    assert_eq!(ids(&claimed), [urgent[0], normal[0], normal[1], low[0]]);
}

#[tokio::test]
async fn waiting_makes_up_for_priority() {
    let mut w = World::new().await;
    let low = w.add(&[job(1, 40)]).await;
    w.pass(59 * 300_000);
    let urgent = w.add(&[job(1, 100)]).await;
    assert_eq!(ids(&w.claim(&mut claimer(1), 1).await), urgent);
    w.pass(2 * 300_000);
    w.add(&[job(1, 100)]).await;
    assert_eq!(ids(&w.claim(&mut claimer(1), 1).await), low);
}

#[tokio::test]
async fn a_tenant_with_ten_thousand_jobs_does_not_delay_two_others() {
    let mut w = World::new().await;
    w.add(&vec![job(1, 60); 10_000]).await;
    w.pass(1);
    w.add(&[job(2, 60), job(3, 40), job(3, 100)]).await;
    let mut one = claimer(1);
    let claimed = w.claim(&mut one, 300).await;
    let mut had: BTreeMap<TenantId, usize> = BTreeMap::new();
    for job in &claimed.jobs {
        *had.entry(job.tenant).or_default() += 1;
    }
    assert_eq!((had[&tenant(2)], had[&tenant(3)]), (1, 2));
    assert!(had[&tenant(1)] >= 100, "{had:?}");
}

#[tokio::test]
async fn runs_are_split_and_nothing_is_lost_or_given_twice() {
    let mut w = World::new().await;
    let mut added = w.add(&vec![job(1, 60); 2_500]).await;
    let mut one = claimer(1);
    let mut got = Vec::new();
    for want in [1, 2, 3, 500, 1_024, 2_000] {
        let claimed = w.claim(&mut one, want).await;
        assert!(claimed.jobs.len() <= want as usize);
        got.extend(ids(&claimed));
    }
    added.sort();
    got.sort();
    assert_eq!(got, added);
    assert_eq!(one.in_flight(), 2_500);
}

#[tokio::test]
async fn a_tenant_takes_no_more_than_its_cap_until_work_is_settled() {
    let mut w = World::new().await;
    w.add(&vec![job(1, 60); 50]).await;
    let mut capped = Claimer::new(
        node(1),
        JobKind::ALL,
        ClaimLimits {
            tenant_in_flight: 20,
            ..ClaimLimits::default()
        },
    );
    let first = w.claim(&mut capped, 30).await;
    assert_eq!(first.jobs.len(), 20);
    assert!(w.claim(&mut capped, 30).await.jobs.is_empty());
    let report = w.finish(&first, &Outcome::Done).await;
    capped.settle(&report);
    assert_eq!(w.claim(&mut capped, 30).await.jobs.len(), 20);
}

#[tokio::test]
async fn kinds_that_a_node_does_not_know_are_left() {
    let mut w = World::new().await;
    w.add(&[
        job(1, 60),
        NewJob {
            kind: JobKind::SendEmail,
            ..job(1, 60)
        },
    ])
    .await;
    let mut mail = Claimer::new(node(1), &[JobKind::SendEmail], ClaimLimits::default());
    let claimed = w.claim(&mut mail, 10).await;
    assert_eq!(
        claimed.jobs.iter().map(|job| job.kind).collect::<Vec<_>>(),
        [JobKind::SendEmail]
    );
    assert_eq!(w.claim(&mut claimer(2), 10).await.jobs.len(), 1);
}

#[tokio::test]
async fn later_jobs_wait_for_their_time() {
    let mut w = World::new().await;
    let at = w.now + SignedDuration::from_secs(60);
    let later = w
        .add(&[NewJob {
            process_after: Some(at),
            ..job(1, 60)
        }])
        .await;
    assert_eq!(tidings_queue::next_due(&mut w.conn).await.unwrap(), Some(at));
    assert_eq!(tidings_queue::promote(&mut w.conn, w.now, 100).await.unwrap(), 0);
    w.pass(60_000);
    assert_eq!(tidings_queue::promote(&mut w.conn, w.now, 100).await.unwrap(), 1);
    assert_eq!(tidings_queue::next_due(&mut w.conn).await.unwrap(), None);
    assert_eq!(ids(&w.claim(&mut claimer(1), 10).await), later);
}

#[tokio::test]
async fn cancelling_a_job_inside_a_run_leaves_its_neighbours() {
    let mut w = World::new().await;
    let added = w.add(&vec![job(1, 60); 5]).await;
    let answer = cancel(&mut w.conn, tenant(1), &[added[2]], w.now).await.unwrap();
    assert_eq!(answer.cancelled, [added[2]]);
    assert_eq!(w.status(added[2]).await, "cancelled");
    let claimed = w.claim(&mut claimer(1), 10).await;
    assert_eq!(ids(&claimed), [added[0], added[1], added[3], added[4]]);
    assert_eq!(w.finish(&claimed, &Outcome::Done).await.fenced, []);
    assert_eq!(w.number("SELECT count(*) FROM job_leases").await, 0);
}

#[tokio::test]
async fn cancel_finds_scheduled_running_ended_and_foreign_jobs() {
    let mut w = World::new().await;
    let at = Some(w.now + SignedDuration::from_secs(60));
    let scheduled = w
        .add(&vec![
            NewJob {
                process_after: at,
                ..job(1, 60)
            };
            3
        ])
        .await;
    let running = w.add(&[job(1, 60)]).await;
    w.claim(&mut claimer(1), 10).await;
    let other = w.add(&[job(2, 60)]).await;
    let all = [scheduled[1], running[0], other[0]];
    let answer = cancel(&mut w.conn, tenant(1), &all, w.now).await.unwrap();
    assert_eq!(
        (answer.cancelled, answer.running, answer.ended),
        (vec![scheduled[1]], running, other)
    );
    w.pass(60_000);
    tidings_queue::promote(&mut w.conn, w.now, 10).await.unwrap();
    let claimed = w.claim(&mut claimer(1), 10).await;
    assert_eq!(ids(&claimed).len(), 3);
    assert!(!ids(&claimed).contains(&scheduled[1]));
}

#[tokio::test]
async fn a_job_cancelled_by_plain_sql_falls_out_and_the_lease_shrinks() {
    let mut w = World::new().await;
    let added = w.add(&vec![job(1, 60); 3]).await;
    for id in [added[0], added[2]] {
        sqlx::query("UPDATE communication_jobs SET status = 'cancelled' WHERE id = $1")
            .bind(id.0)
            .execute(&mut w.conn)
            .await
            .unwrap();
    }
    let claimed = w.claim(&mut claimer(1), 10).await;
    assert_eq!(ids(&claimed), [added[1]]);
    w.finish(&claimed, &Outcome::Done).await;
    assert_eq!(w.number("SELECT count(*) FROM job_leases").await, 0);
}

#[tokio::test]
async fn an_enqueue_wakes_a_sleeping_node_and_only_then() {
    let mut w = World::new().await;
    let mut listener = sqlx::postgres::PgListener::connect(&w.database.url)
        .await
        .unwrap();
    listener.listen(tidings_queue::CHANNEL).await.unwrap();
    w.add(&[job(1, 60)]).await;
    tidings_queue::set_idle(&mut w.conn, node(1), true).await.unwrap();
    sqlx::query("SELECT pg_notify('tidings_jobs', 'marker')")
        .execute(&mut w.conn)
        .await
        .unwrap();
    w.add(&[job(1, 60)]).await;
    assert_eq!(listener.recv().await.unwrap().payload(), "marker");
    assert_eq!(listener.recv().await.unwrap().payload(), "");
}

#[tokio::test]
async fn a_claim_reads_only_what_it_takes_out_of_a_hundred_thousand() {
    let mut w = World::new().await;
    w.add(&vec![job(1, 60); 100_000]).await;
    let mut owner = PgConnection::connect(&w.database.url).await.unwrap();
    sqlx::query("ANALYZE").execute(&mut owner).await.unwrap();
    // Counted within one transaction: other sessions' and earlier figures stay out.
    let mut tx = w.conn.begin().await.unwrap();
    let claimed = claimer(1).claim(&mut tx, 500, w.now, LEASE_MS).await.unwrap();
    assert_eq!(claimed.jobs.len(), 500);
    for table in ["communication_jobs", "job_ready"] {
        let (sequential, fetched): (i64, i64) = sqlx::query_as(
            "SELECT seq_tup_read::bigint, coalesce(idx_tup_fetch, 0)::bigint FROM pg_stat_xact_user_tables WHERE relname = $1",
        )
        .bind(table)
        .fetch_one(&mut *tx)
        .await
        .unwrap();
        assert_eq!(sequential, 0, "{table} was scanned");
        assert!(fetched <= 1_500, "{table}: {fetched} rows were read");
    }
}
