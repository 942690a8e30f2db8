//! Leases: renewed, released, taken over, and the fence against those who lost them.

use crate::world::{LEASE_MS, World, claimer, ids, job, node};
use tidings_core::job::JobKind;
use tidings_queue::{Outcome, deregister, heartbeat, release, take_over};

#[tokio::test]
async fn a_dead_nodes_jobs_are_taken_over_once_and_it_is_fenced() {
    let mut w = World::new().await;
    let added = w.add(&vec![job(1, 60); 4]).await;
    let claimed = w.claim(&mut claimer(1), 10).await;
    let lease = claimed.lease.unwrap();
    w.finish_as(node(1), lease, &claimed.jobs[..1], &Outcome::Done)
        .await;
    w.pass(LEASE_MS - 1);
    assert!(
        take_over(&mut w.conn, node(2), JobKind::ALL, w.now, LEASE_MS, 10)
            .await
            .unwrap()
            .is_empty()
    );
    w.pass(1);
    let taken = take_over(&mut w.conn, node(2), JobKind::ALL, w.now, LEASE_MS, 10)
        .await
        .unwrap();
    assert_eq!((taken.len(), taken[0].from), (1, node(1)));
    assert_eq!(
        taken[0].jobs.iter().map(|job| job.id).collect::<Vec<_>>(),
        added[1..]
    );
    assert!(taken[0].jobs.iter().all(|job| job.crash_count == 1));
    assert!(
        take_over(&mut w.conn, node(3), JobKind::ALL, w.now, LEASE_MS, 10)
            .await
            .unwrap()
            .is_empty()
    );

    // The old holder wakes up: nothing it says counts, and it learns that it holds nothing.
    let stale = w
        .finish_as(node(1), lease, &claimed.jobs[1..], &Outcome::Done)
        .await;
    assert_eq!((stale.fenced, stale.settled), (added[1..].to_vec(), vec![]));
    assert_eq!(w.status(added[1]).await, "processing");
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
    let taken = take_over(&mut w.conn, node(1), JobKind::ALL, w.now, LEASE_MS, 10)
        .await
        .unwrap();
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
    assert!(
        take_over(&mut w.conn, node(2), JobKind::ALL, w.now, LEASE_MS, 10)
            .await
            .unwrap()
            .is_empty()
    );
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
    assert!(
        take_over(&mut w.conn, node(2), &old_version, w.now, LEASE_MS, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        take_over(&mut w.conn, node(2), JobKind::ALL, w.now, LEASE_MS, 10)
            .await
            .unwrap()
            .len(),
        1
    );
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
