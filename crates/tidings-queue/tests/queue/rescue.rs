//! Leases: renewed, released, taken over, and the fence against those who lost them.

use crate::world::{LEASE_MS, World, claimer, ids, job, node};
use std::collections::BTreeMap;
use tidings_core::job::JobKind;
use tidings_core::{ErrorCategory, JobId};
use tidings_queue::{
    Outcome, Parked, ParkedWork, deregister, heartbeat, park, park_expired, parked_work, release, stats,
    take_group,
};

#[tokio::test]
async fn a_dead_nodes_jobs_are_taken_over_once_and_it_is_fenced() {
    let mut w = World::new().await;
    let added = w.add(&vec![job(1, 60); 4]).await;
    let claimed = w.claim(&mut claimer(1), 10).await;
    let lease = claimed.lease.unwrap();
    w.finish_as(node(1), lease, &claimed.jobs[..1], &Outcome::Done)
        .await;
    w.pass(LEASE_MS - 1);
    assert_eq!(w.rescue(2).await.len(), 0);
    w.pass(1);
    assert_eq!(
        park_expired(&mut w.conn, JobKind::ALL, w.now, 10).await.unwrap(),
        [Parked {
            from: node(1),
            jobs: 3,
            parts: 1
        }]
    );
    let waiting = stats(&mut w.conn, None, w.now).await.unwrap();
    assert_eq!((waiting[0].queued, waiting[0].processing), (3, 0));
    let taken = w.rescue(2).await;
    assert_eq!(taken.len(), 1);
    assert_eq!(
        taken[0].jobs.iter().map(|job| job.id).collect::<Vec<_>>(),
        added[1..]
    );
    assert!(
        taken[0]
            .jobs
            .iter()
            .all(|job| (job.crash_count, job.crashes_alone()) == (1, 0))
    );
    assert_eq!(w.rescue(3).await.len(), 0);

    // The old holder wakes up: nothing it says counts, and it learns that it holds nothing.
    let stale = w
        .finish_as(node(1), lease, &claimed.jobs[1..], &Outcome::Done)
        .await;
    assert_eq!((stale.fenced, stale.settled), (added[1..].to_vec(), vec![]));
    assert_eq!(w.status(added[1]).await, "pending");
    assert_eq!(
        heartbeat(&mut w.conn, node(1), w.now, LEASE_MS)
            .await
            .unwrap()
            .held,
        []
    );

    let report = w
        .finish_as(node(2), taken[0].lease, &taken[0].jobs, &Outcome::Release)
        .await;
    assert_eq!(report.fenced, []);
    let again = w.claim(&mut claimer(3), 10).await;
    assert_eq!((ids(&again), again.jobs[0].crash_count), (added[1..].to_vec(), 1));
}

#[tokio::test]
async fn a_node_that_took_over_its_own_lease_fences_its_former_self() {
    let mut w = World::new().await;
    w.add(&[job(1, 60)]).await;
    let claimed = w.claim(&mut claimer(1), 1).await;
    w.pass(LEASE_MS);
    let taken = w.rescue(1).await;
    assert_eq!(w.finish(&claimed, &Outcome::Done).await.fenced, ids(&claimed));
    let report = w
        .finish_as(node(1), taken[0].lease, &taken[0].jobs, &Outcome::Done)
        .await;
    assert_eq!(report.fenced, []);
}

#[tokio::test]
async fn a_heartbeat_keeps_leases_and_shows_what_is_at_work() {
    let mut w = World::new().await;
    let added = w.add(&[job(1, 60)]).await;
    let claimed = w.claim(&mut claimer(1), 1).await;
    assert_eq!(w.status(added[0]).await, "pending");
    w.pass(LEASE_MS / 3);
    assert_eq!(
        heartbeat(&mut w.conn, node(1), w.now, LEASE_MS)
            .await
            .unwrap()
            .held,
        [claimed.lease.unwrap()]
    );
    assert_eq!(w.status(added[0]).await, "processing");
    w.pass(LEASE_MS - 1);
    assert_eq!(w.rescue(2).await.len(), 0);
    assert_eq!(w.finish(&claimed, &Outcome::Done).await.fenced, []);
    assert_eq!(w.status(added[0]).await, "complete");
}

#[tokio::test]
async fn a_kind_the_rescuer_does_not_know_is_left_to_those_who_do() {
    let mut w = World::new().await;
    w.add(&[job(1, 60)]).await;
    w.claim(&mut claimer(1), 1).await;
    w.pass(LEASE_MS);
    let old_version = [JobKind::SendEmail];
    let parked = park_expired(&mut w.conn, &old_version, w.now, 10).await.unwrap();
    assert_eq!(parked, []);
    assert_eq!(
        park_expired(&mut w.conn, JobKind::ALL, w.now, 10)
            .await
            .unwrap()
            .len(),
        1
    );
    let nothing = take_group(&mut w.conn, node(2), &old_version, w.now, LEASE_MS).await;
    assert!(nothing.unwrap().is_none());
    let work = parked_work(&mut w.conn, &old_version).await.unwrap();
    assert_eq!(work, ParkedWork::default());
    let work = parked_work(&mut w.conn, JobKind::ALL).await.unwrap();
    assert_eq!((work.groups, work.alone), (false, true));
    assert_eq!(w.rescue(2).await.len(), 1);
}

#[tokio::test]
async fn a_drained_node_gives_its_jobs_back_to_their_places() {
    let mut w = World::new().await;
    let added = w.add(&[job(1, 60), job(1, 60), job(1, 100)]).await;
    let mut one = claimer(1);
    let first = w.claim(&mut one, 1).await;
    let second = w.claim(&mut one, 2).await;
    heartbeat(&mut w.conn, node(1), w.now, LEASE_MS).await.unwrap();
    assert_eq!(
        release(&mut w.conn, node(2), first.lease.unwrap()).await.unwrap(),
        0
    );
    assert_eq!(
        release(&mut w.conn, node(1), first.lease.unwrap()).await.unwrap(),
        1
    );
    assert_eq!(w.finish(&first, &Outcome::Done).await.fenced, ids(&first));
    assert_eq!(deregister(&mut w.conn, node(1)).await.unwrap(), 2);
    assert_eq!(w.finish(&second, &Outcome::Done).await.fenced, ids(&second));
    let again = w.claim(&mut claimer(2), 10).await;
    assert_eq!(ids(&again), [added[2], added[0], added[1]]);
}

/// Who is left after so many crashes in which one job killed its worker whenever it was taken and the rest got done.
#[tokio::test]
async fn a_job_that_kills_its_worker_is_found_and_the_others_get_done() {
    let mut w = World::new().await;
    let added = w.add(&vec![job(1, 60); 256]).await;
    let poison = added[100];
    w.claim(&mut claimer(1), 256).await;
    let mut lives = 1;
    let mut crashes_of_others: BTreeMap<JobId, i16> = BTreeMap::new();
    'lives: loop {
        lives += 1;
        assert!(lives < 10, "the poison was not found");
        w.pass(LEASE_MS);
        park_expired(&mut w.conn, JobKind::ALL, w.now, 10).await.unwrap();
        loop {
            let taken = match w.group(2).await {
                Some(taken) => Some(taken),
                None => w.single(2).await,
            };
            let Some(taken) = taken else { break 'lives };
            for job in taken.jobs.iter().filter(|job| job.id != poison) {
                crashes_of_others.insert(job.id, job.crash_count);
            }
            let Some(killer) = taken.jobs.iter().find(|job| job.id == poison) else {
                w.finish_as(node(2), taken.lease, &taken.jobs, &Outcome::Done)
                    .await;
                continue;
            };
            if killer.crashes_alone() < 3 {
                // The worker dies here, with this lease and no other.
                break;
            }
            assert_eq!(taken.jobs.len(), 1);
            let given_up = crate::world::dead("poison");
            w.finish_as(node(2), taken.lease, &taken.jobs, &given_up).await;
        }
    }
    // All together, a sixteenth, single: three deaths in company, three alone.
    assert_eq!(lives, 7);
    assert!(crashes_of_others.values().all(|crashes| *crashes == 1));
    assert_eq!(w.status(poison).await, "failed");
    let done = "SELECT count(*) FROM communication_jobs WHERE status = 'complete'";
    assert_eq!(w.number(done).await, 255);
    assert_eq!(w.number("SELECT count(*) FROM job_leases").await, 0);
}

#[tokio::test]
async fn jobs_that_are_only_near_crashes_are_never_blamed() {
    let mut w = World::new().await;
    w.add(&vec![job(1, 60); 40]).await;
    w.claim(&mut claimer(1), 40).await;
    for life in 0..20 {
        w.pass(LEASE_MS);
        park_expired(&mut w.conn, JobKind::ALL, w.now, 100).await.unwrap();
        // Each life takes groups only and dies with them.
        while let Some(taken) = w.group(2).await {
            assert!(taken.jobs.iter().all(|job| job.crashes_alone() == 0), "{life}");
        }
    }
    let mut singles = 0;
    while let Some(taken) = w.single(2).await {
        assert_eq!((taken.jobs.len(), taken.jobs[0].crashes_alone()), (1, 0));
        w.finish_as(node(2), taken.lease, &taken.jobs, &Outcome::Done)
            .await;
        singles += 1;
    }
    assert_eq!(singles, 40);
}

/// A job that is taken alone may find no slot of its rate limit: it goes back to the line, and is claimed beside other work.
#[tokio::test]
async fn a_job_that_ended_a_worker_alone_is_found_also_when_it_goes_back_to_the_line() {
    let mut w = World::new().await;
    w.add(&[job(1, 60)]).await;
    w.claim(&mut claimer(1), 1).await;
    // Who was merely in a crash is not blamed for those that follow.
    for alone in [0, 0] {
        assert_eq!(dies_in_line(&mut w).await, alone);
    }
    w.pass(LEASE_MS);
    park_expired(&mut w.conn, JobKind::ALL, w.now, 10).await.unwrap();
    // The worker dies with nothing else at work, once; from then on each end counts.
    assert_eq!(w.single(2).await.unwrap().jobs[0].crashes_alone(), 0);
    for alone in [1, 2] {
        assert_eq!(dies_in_line(&mut w).await, alone);
    }
    w.pass(LEASE_MS);
    park_expired(&mut w.conn, JobKind::ALL, w.now, 10).await.unwrap();
    assert_eq!(w.single(2).await.unwrap().jobs[0].crashes_alone(), 3);
}

/// Parks what its dead worker left; it is taken alone, goes back to the line and is claimed from there: by a worker that dies. How
/// often it had ended one alone.
async fn dies_in_line(w: &mut World) -> i16 {
    w.pass(LEASE_MS);
    park_expired(&mut w.conn, JobKind::ALL, w.now, 10).await.unwrap();
    let taken = w.single(2).await.unwrap();
    let back = Outcome::Return {
        at: w.now,
        category: ErrorCategory::RateLimit,
        error: "no slot".to_owned(),
    };
    w.finish_as(node(2), taken.lease, &taken.jobs, &back).await;
    let claimed = w.claim(&mut claimer(3), 10).await;
    assert_eq!(claimed.jobs.len(), 1);
    claimed.jobs[0].crashes_alone()
}

#[tokio::test]
async fn what_was_parked_and_not_taken_suffers_no_further_crash() {
    let mut w = World::new().await;
    w.add(&[job(1, 60), job(1, 60)]).await;
    let mut one = claimer(1);
    w.claim(&mut one, 1).await;
    w.claim(&mut one, 1).await;
    for _ in 0..3 {
        w.pass(LEASE_MS);
        park_expired(&mut w.conn, JobKind::ALL, w.now, 10).await.unwrap();
        w.single(2).await.unwrap();
    }
    let crashes = "SELECT sum(crash_count)::bigint FROM communication_jobs";
    // Both once in company, and two deaths of lone workers.
    assert_eq!(w.number(crashes).await, 4);
}

#[tokio::test]
async fn a_withdrawn_job_is_not_taken_from_its_park() {
    let mut w = World::new().await;
    let added = w.add(&vec![job(1, 60); 3]).await;
    w.claim(&mut claimer(1), 1).await;
    w.claim(&mut claimer(1), 2).await;
    w.pass(LEASE_MS);
    park_expired(&mut w.conn, JobKind::ALL, w.now, 10).await.unwrap();
    for gone in [added[0], added[2]] {
        sqlx::query("UPDATE communication_jobs SET status = 'cancelled' WHERE id = $1")
            .bind(gone.0)
            .execute(&mut w.conn)
            .await
            .unwrap();
    }
    assert!(w.single(2).await.is_none());
    let taken = w.group(2).await.unwrap();
    assert_eq!(
        taken.jobs.iter().map(|job| job.id).collect::<Vec<_>>(),
        [added[1]]
    );
    w.finish_as(node(2), taken.lease, &taken.jobs, &Outcome::Done)
        .await;
    assert_eq!(w.number("SELECT count(*) FROM job_leases").await, 0);
}

#[tokio::test]
async fn a_node_parks_its_own_lease_while_it_lives() {
    let mut w = World::new().await;
    let added = w.add(&vec![job(1, 60); 2]).await;
    let claimed = w.claim(&mut claimer(1), 2).await;
    let lease = claimed.lease.unwrap();
    assert_eq!(park(&mut w.conn, node(2), lease, w.now).await.unwrap(), None);
    let parked = park(&mut w.conn, node(1), lease, w.now).await.unwrap().unwrap();
    assert_eq!((parked.jobs, parked.parts), (2, 1));
    assert_eq!(park(&mut w.conn, node(1), lease, w.now).await.unwrap(), None);
    // Its heartbeat does not hold it any more, and its late answer is fenced.
    assert_eq!(
        heartbeat(&mut w.conn, node(1), w.now, LEASE_MS)
            .await
            .unwrap()
            .held,
        []
    );
    assert_eq!(w.finish(&claimed, &Outcome::Done).await.fenced, added);
    assert_eq!(w.group(1).await.unwrap().jobs.len(), 2);
}
