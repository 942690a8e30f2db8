//! Outcomes, dead letters, figures and maintenance.

use crate::world::{World, claimer, dead, ids, job, node, referenced, retry, tenant};
use jiff::SignedDuration;
use serde_json::value::RawValue;
use tidings_core::{ErrorCategory, JobId};
use tidings_queue::dead::{self as letters, Filter};
use tidings_queue::{Finish, Outcome, Settled, enqueue, finish, roll_up_tallies, stats, sweep};

#[tokio::test]
async fn done_jobs_are_complete_and_leave_nothing_behind() {
    let mut w = World::new().await;
    let added = w.add(&vec![job(1, 60); 3]).await;
    let claimed = w.claim(&mut claimer(1), 10).await;
    let report = w.finish(&claimed, &Outcome::Done).await;
    assert_eq!(
        report.settled,
        [Settled {
            lease: claimed.lease.unwrap(),
            tenant: tenant(1),
            jobs: 3
        }]
    );
    for id in added {
        assert_eq!(w.status(id).await, "complete");
    }
    let left = w
        .number("SELECT (SELECT count(*) FROM job_leases) + (SELECT count(*) FROM job_ready)")
        .await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn what_returns_keeps_its_place_and_costs_no_try() {
    let mut w = World::new().await;
    let first = w.add(&[job(1, 60)]).await;
    let claimed = w.claim(&mut claimer(1), 10).await;
    let back = |at| Outcome::Return {
        at,
        category: ErrorCategory::Transient,
        error: "it is asked about".to_owned(),
    };
    w.finish(&claimed, &back(w.now + SignedDuration::from_secs(60)))
        .await;
    w.now += SignedDuration::from_secs(1);
    let later = w.add(&[job(1, 60)]).await;
    assert_eq!(
        ids(&w.claim(&mut claimer(1), 1).await),
        later,
        "it is not due yet"
    );
    let second = w.add(&[job(1, 60)]).await;
    w.now += SignedDuration::from_secs(60);
    tidings_queue::promote(&mut w.conn, w.now, 10).await.unwrap();
    let claimed = w.claim(&mut claimer(1), 1).await;
    assert_eq!(ids(&claimed), first, "before what was due after it");
    assert_eq!(claimed.jobs[0].retry_count, 0);
    w.finish(&claimed, &back(w.now)).await;
    assert_eq!(ids(&w.claim(&mut claimer(1), 10).await), [first, second].concat());
    let told = w
        .number("SELECT count(*) FROM communication_jobs WHERE last_error = 'it is asked about'")
        .await;
    assert_eq!(told, 1);
}

#[tokio::test]
async fn a_batch_may_end_in_pieces_and_in_many_ways() {
    let mut w = World::new().await;
    w.add(&vec![job(1, 60); 6]).await;
    let claimed = w.claim(&mut claimer(1), 10).await;
    let at = w.now + SignedDuration::from_secs(60);
    let outcomes = [
        Outcome::Done,
        retry(at, true),
        dead("exhausted"),
        Outcome::Cancelled,
        Outcome::FallbackEmail {
            category: ErrorCategory::Permanent,
            error: "landline".to_owned(),
        },
        Outcome::Release,
    ];
    for (job, outcome) in claimed.jobs.iter().zip(&outcomes) {
        w.finish_as(
            node(1),
            claimed.lease.unwrap(),
            std::slice::from_ref(job),
            outcome,
        )
        .await;
    }
    let mut found = Vec::new();
    for job in &claimed.jobs {
        found.push(w.status(job.id).await);
    }
    assert_eq!(
        found,
        [
            "complete",
            "pending",
            "failed",
            "cancelled",
            "failed_fallback_email",
            "pending"
        ]
    );
    assert_eq!(w.number("SELECT count(*) FROM job_leases").await, 0);
    assert_eq!(ids(&w.claim(&mut claimer(1), 10).await), [claimed.jobs[5].id]);
}

#[tokio::test]
async fn a_job_ends_once_whatever_is_reported_twice() {
    let mut w = World::new().await;
    w.add(&vec![job(1, 60); 2]).await;
    let claimed = w.claim(&mut claimer(1), 10).await;
    let lease = claimed.lease.unwrap();
    let first = Finish {
        job: claimed.jobs[0].id,
        lease,
        outcome: retry(w.now, true),
    };
    let twice = [
        first.clone(),
        Finish {
            outcome: Outcome::Done,
            ..first.clone()
        },
    ];
    let report = finish(&mut w.conn, node(1), &twice, w.now).await.unwrap();
    assert_eq!(report.fenced, [claimed.jobs[0].id]);
    let report = finish(
        &mut w.conn,
        node(1),
        &[Finish {
            outcome: Outcome::Done,
            ..first
        }],
        w.now,
    )
    .await
    .unwrap();
    assert_eq!(report.fenced, [claimed.jobs[0].id]);
    assert_eq!(w.status(claimed.jobs[0].id).await, "pending");
}

#[tokio::test]
async fn a_retry_waits_counts_and_comes_back() {
    let mut w = World::new().await;
    let added = w.add(&[job(1, 60)]).await;
    let claimed = w.claim(&mut claimer(1), 1).await;
    let at = w.now + SignedDuration::from_secs(60);
    w.finish(&claimed, &retry(at, true)).await;
    assert!(w.claim(&mut claimer(1), 1).await.jobs.is_empty());
    w.pass(60_000);
    tidings_queue::promote(&mut w.conn, w.now, 10).await.unwrap();
    let again = w.claim(&mut claimer(1), 1).await;
    assert_eq!((ids(&again), again.jobs[0].retry_count), (added, 1));
    w.finish(&again, &retry(w.now, false)).await;
    assert_eq!(w.claim(&mut claimer(1), 1).await.jobs[0].retry_count, 1);
}

async fn bury(w: &mut World, cause: &str, tenant_number: u128) -> JobId {
    let added = w.add(&[job(tenant_number, 60)]).await;
    let claimed = w.claim(&mut claimer(1), 1).await;
    w.finish(&claimed, &dead(cause)).await;
    added[0]
}

#[tokio::test]
async fn dead_letters_are_listed_grouped_edited_and_replayed() {
    let mut w = World::new().await;
    let first = bury(&mut w, "exhausted", 1).await;
    w.pass(1_000);
    let second = bury(&mut w, "poison", 1).await;
    let foreign = bury(&mut w, "exhausted", 2).await;
    let mine = Filter {
        tenant: Some(tenant(1)),
        ..Filter::default()
    };
    let page = letters::list(&mut w.conn, &mine, None, 1).await.unwrap();
    assert_eq!((page[0].job, page[0].cause.as_str()), (second, "poison"));
    let rest = letters::list(&mut w.conn, &mine, Some(page[0].cursor()), 10)
        .await
        .unwrap();
    assert_eq!(rest.iter().map(|letter| letter.job).collect::<Vec<_>>(), [first]);
    assert_eq!(letters::groups(&mut w.conn, None).await.unwrap().len(), 3);

    let payload = RawValue::from_string(r#"{"a": 2}"#.to_owned()).unwrap();
    assert!(
        letters::edit(&mut w.conn, tenant(1), first, &payload)
            .await
            .unwrap()
    );
    assert!(
        !letters::edit(&mut w.conn, tenant(1), foreign, &payload)
            .await
            .unwrap()
    );
    let replayed = letters::replay(&mut w.conn, Some(tenant(1)), &[first, foreign, JobId(7)], w.now)
        .await
        .unwrap();
    assert_eq!(replayed, [first]);
    assert!(
        letters::replay(&mut w.conn, Some(tenant(1)), &[first], w.now)
            .await
            .unwrap()
            .is_empty()
    );
    let claimed = w.claim(&mut claimer(1), 10).await;
    assert_eq!(
        (ids(&claimed), claimed.jobs[0].payload.get()),
        (vec![first], r#"{"a": 2}"#)
    );

    assert_eq!(
        letters::purge(&mut w.conn, Some(tenant(1)), &[second, foreign])
            .await
            .unwrap(),
        1
    );
    assert!(
        letters::show(&mut w.conn, tenant(1), second)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        letters::show(&mut w.conn, tenant(2), foreign)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn figures_say_where_jobs_are() {
    let mut w = World::new().await;
    w.add(&vec![job(1, 60); 10]).await;
    w.pass(5_000);
    let mut one = claimer(1);
    let done = w.claim(&mut one, 4).await;
    w.finish(&done, &Outcome::Done).await;
    let buried = w.claim(&mut one, 1).await;
    w.finish(&buried, &dead("exhausted")).await;
    w.claim(&mut one, 2).await;
    let figures = stats(&mut w.conn, Some(tenant(1)), w.now).await.unwrap();
    assert_eq!(figures.len(), 1);
    let row = &figures[0];
    assert_eq!(
        (row.queued, row.processing, row.completed, row.failed, row.dead),
        (3, 2, 4, 1, 1)
    );
    assert_eq!(row.oldest_age_ms, Some(5_000));
    assert!(
        stats(&mut w.conn, Some(tenant(9)), w.now)
            .await
            .unwrap()
            .is_empty()
    );
    let hour = w.now - SignedDuration::from_hours(24);
    assert_eq!(roll_up_tallies(&mut w.conn, 100, hour).await.unwrap(), 2);
    assert_eq!(roll_up_tallies(&mut w.conn, 100, hour).await.unwrap(), 0);
    assert_eq!(stats(&mut w.conn, None, w.now).await.unwrap(), figures);
}

#[tokio::test]
async fn the_whole_queue_adds_up_to_what_its_tenants_have() {
    let mut w = World::new().await;
    for (tenant, priority, count) in [(1, 60, 10), (2, 20, 7), (3, 100, 3)] {
        w.add(&vec![job(tenant, priority); count]).await;
        w.pass(1_000);
    }
    let mut one = claimer(1);
    let buried = w.claim(&mut one, 2).await;
    w.finish(&buried, &dead("exhausted")).await;
    let later = w.claim(&mut one, 3).await;
    let at = w.now + SignedDuration::from_hours(1);
    w.finish(&later, &retry(at, true)).await;
    let taken = i64::try_from(w.claim(&mut one, 4).await.jobs.len()).unwrap();
    let rows = stats(&mut w.conn, None, w.now).await.unwrap();
    let sum = |of: fn(&tidings_queue::StatRow) -> i64| rows.iter().map(of).sum::<i64>();
    let totals = tidings_queue::totals(&mut w.conn, w.now).await.unwrap();
    assert_eq!(totals.len(), 1);
    let all = &totals[0];
    assert_eq!(
        (all.queued, all.scheduled, all.processing, all.dead),
        (
            sum(|row| row.queued),
            sum(|row| row.scheduled),
            sum(|row| row.processing),
            sum(|row| row.dead)
        )
    );
    assert!(taken > 0 && all.queued > 0);
    assert_eq!((all.scheduled, all.processing, all.dead), (3, taken, 2));
    assert_eq!(
        all.oldest_age_ms,
        rows.iter().filter_map(|row| row.oldest_age_ms).max()
    );
    assert!(all.oldest_age_ms.is_some());
}

#[tokio::test]
async fn ended_jobs_leave_by_retention_and_others_stay() {
    let mut w = World::new().await;
    w.add(&vec![job(1, 60); 3]).await;
    let claimed = w.claim(&mut claimer(1), 2).await;
    w.finish(&claimed, &Outcome::Done).await;
    bury(&mut w, "exhausted", 2).await;
    w.pass(1_000);
    let swept = sweep(&mut w.conn, None, 2, w.now).await.unwrap();
    assert_eq!((swept.deleted, swept.stranded), (2, 0));
    let swept = sweep(&mut w.conn, swept.next, 100, w.now).await.unwrap();
    assert_eq!((swept.deleted, swept.stranded, swept.next), (0, 0, None));
    assert_eq!(w.number("SELECT count(*) FROM communication_jobs").await, 2);
}

#[tokio::test]
async fn stranded_jobs_are_found_and_jobs_in_order_are_not() {
    let mut w = World::new().await;
    let at = Some(w.now + SignedDuration::from_secs(60));
    let mut jobs = vec![job(1, 60); 4];
    jobs.extend(vec![
        tidings_queue::NewJob {
            process_after: at,
            ..job(1, 60)
        };
        4
    ]);
    w.add(&jobs).await;
    w.claim(&mut claimer(1), 2).await;
    tidings_queue::heartbeat(&mut w.conn, node(1), w.now, 30_000)
        .await
        .unwrap();
    let lost = w.add(&[referenced(2, "x")]).await;
    sqlx::query("DELETE FROM job_ready WHERE first_id = $1")
        .bind(lost[0].0)
        .execute(&mut w.conn)
        .await
        .unwrap();
    // A row edited by another program stands in line under its old rank: it is not stranded.
    sqlx::query("UPDATE communication_jobs SET priority = 99 WHERE tenant_id = $1 AND status = 'pending'")
        .bind(tenant(1).0)
        .execute(&mut w.conn)
        .await
        .unwrap();
    let swept = sweep(&mut w.conn, None, 100, w.now).await.unwrap();
    assert_eq!(swept.stranded, 1);
    assert_eq!(
        tidings_queue::adopt_arrivals(&mut w.conn, w.now, 100)
            .await
            .unwrap()
            .ready,
        1
    );
    assert_eq!(sweep(&mut w.conn, None, 100, w.now).await.unwrap().stranded, 0);
    let again = enqueue(&mut w.conn, &[referenced(2, "x")], w.now).await.unwrap();
    assert!(again[0].duplicate);
}
