//! Several connections at once: nothing is given twice, nothing is lost, whatever they do.

#![expect(clippy::disallowed_methods, reason = "tests: every task is joined")]

use crate::world::{LEASE_MS, World, claimer, job, node, referenced, retry, tenant};
use std::collections::HashMap;
use std::sync::Arc;
use tidings_core::{Dice, JobId};
use tidings_queue::{Finish, Outcome, cancel, enqueue, finish, promote};
use tokio::sync::Mutex;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_claimers_never_get_the_same_job() {
    let mut w = World::new().await;
    for t in 1..=5 {
        let jobs: Vec<_> = (0..1_200)
            .map(|i| job(t, if i % 7 == 0 { 100 } else { 60 }))
            .collect();
        w.add(&jobs).await;
    }
    let seen: Arc<Mutex<HashMap<JobId, u32>>> = Arc::default();
    let mut claimers = Vec::new();
    for n in 1..=4 {
        let (mut conn, seen, now) = (w.connect().await, Arc::clone(&seen), w.now);
        claimers.push(tokio::spawn(async move {
            let mut own = claimer(n);
            let mut dice = Dice::from_seed(n as u64);
            // Others may hold the last runs for a moment: only an empty line twenty times in a row is the end.
            let mut empty = 0;
            while empty < 20 {
                let want = 1 + dice.below(200) as u32;
                let claimed = own.claim(&mut conn, want, now, LEASE_MS).await.unwrap();
                empty = if claimed.jobs.is_empty() { empty + 1 } else { 0 };
                let finishes: Vec<Finish> = claimed
                    .jobs
                    .iter()
                    .map(|job| Finish {
                        job: job.id,
                        lease: claimed.lease.unwrap(),
                        outcome: Outcome::Done,
                    })
                    .collect();
                let mut seen = seen.lock().await;
                for finish in &finishes {
                    *seen.entry(finish.job).or_default() += 1;
                }
                drop(seen);
                let report = finish(&mut conn, node(n), &finishes, now).await.unwrap();
                own.settle(&report);
                assert!(report.fenced.is_empty());
            }
        }));
    }
    for claimer in claimers {
        claimer.await.unwrap();
    }
    let seen = seen.lock().await;
    assert_eq!((seen.len(), seen.values().max()), (6_000, Some(&1)));
    assert_eq!(
        w.number("SELECT count(*) FROM communication_jobs WHERE status <> 'complete'")
            .await,
        0
    );
}

/// Nodes that claim, finish in every way, die (forget their lease) and rescue, while others enqueue and cancel; at the end
/// every job has ended, and ended once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_loses_nothing_and_runs_nothing_twice_at_once() {
    for seed in 0..3 {
        chaos(seed).await;
    }
}

async fn chaos(seed: u64) {
    let w = World::new().await;
    let held: Arc<Mutex<HashMap<JobId, u128>>> = Arc::default();
    let mut nodes = Vec::new();
    for n in 1..=3u128 {
        let (mut conn, held) = (w.connect().await, Arc::clone(&held));
        let mut now = w.now;
        nodes.push(tokio::spawn(async move {
            let mut own = claimer(n);
            let mut dice = Dice::from_seed(seed * 10 + n as u64);
            for step in 0..60 {
                now += jiff::SignedDuration::from_millis(500);
                if step < 30 {
                    let jobs: Vec<_> = (0..20)
                        .map(|i| {
                            let t = 1 + (i % 3);
                            if dice.below(3) == 0 {
                                referenced(t, &format!("{}", dice.below(50)))
                            } else {
                                job(t, 60)
                            }
                        })
                        .collect();
                    let added = enqueue(&mut conn, &jobs, now).await.unwrap();
                    let victim = added[dice.below(20) as usize].id;
                    let gone = cancel(&mut conn, tenant(1), &[victim], now).await.unwrap();
                    for job in gone.cancelled {
                        assert!(
                            !held.lock().await.contains_key(&job),
                            "seed {seed}: cancelled {job} while it was held"
                        );
                    }
                }
                promote(&mut conn, now, 100).await.unwrap();
                let claimed = own.claim(&mut conn, 30, now, LEASE_MS).await.unwrap();
                for job in &claimed.jobs {
                    let other = held.lock().await.insert(job.id, n);
                    assert_eq!(other, None, "seed {seed}: job {} was held by two", job.id);
                }
                if dice.below(6) == 0 {
                    // The node forgets the batch, as if it had died; its jobs stay held until they are rescued.
                    continue;
                }
                let finishes: Vec<Finish> = claimed
                    .jobs
                    .iter()
                    .map(|job| {
                        let outcome = match dice.below(5) {
                            0 => retry(
                                now + jiff::SignedDuration::from_millis(dice.below(900) as i64),
                                true,
                            ),
                            1 => Outcome::Release,
                            _ => Outcome::Done,
                        };
                        Finish {
                            job: job.id,
                            lease: claimed.lease.unwrap(),
                            outcome,
                        }
                    })
                    .collect();
                let mut held = held.lock().await;
                for finish in &finishes {
                    held.remove(&finish.job);
                }
                let report = finish(&mut conn, node(n), &finishes, now).await.unwrap();
                drop(held);
                own.settle(&report);
                assert!(report.fenced.is_empty());
            }
        }));
    }
    for node in nodes {
        node.await.unwrap();
    }
    settle_all(w, held, seed).await;
}

/// Rescues what dead nodes left, works off the rest, and counts.
async fn settle_all(mut w: World, held: Arc<Mutex<HashMap<JobId, u128>>>, seed: u64) {
    w.pass(10 * LEASE_MS);
    let mut held = held.lock().await;
    for taken in w.rescue(9).await {
        for job in &taken.jobs {
            assert!(
                held.remove(&job.id).is_some(),
                "seed {seed}: rescued {} which nobody held",
                job.id
            );
        }
        let report = w
            .finish_as(node(9), taken.lease, &taken.jobs, &Outcome::Release)
            .await;
        assert!(report.fenced.is_empty());
    }
    assert!(held.is_empty(), "seed {seed}: held and not rescued: {held:?}");
    promote(&mut w.conn, w.now, 10_000).await.unwrap();
    let mut own = claimer(1);
    loop {
        let claimed = w.claim(&mut own, 500).await;
        if claimed.jobs.is_empty() {
            break;
        }
        w.finish(&claimed, &Outcome::Done).await;
    }
    let open = "SELECT count(*) FROM communication_jobs WHERE status NOT IN ('complete', 'cancelled')";
    assert_eq!(w.number(open).await, 0, "seed {seed}: lost jobs");
    let left = "SELECT (SELECT count(*) FROM job_ready) + (SELECT count(*) FROM job_scheduled) + (SELECT count(*) FROM job_leases)";
    assert_eq!(w.number(left).await, 0, "seed {seed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_enqueues_of_the_same_references_make_each_job_once() {
    let mut w = World::new().await;
    let mut callers = Vec::new();
    for n in 0..4u64 {
        let (mut conn, now) = (w.connect().await, w.now);
        callers.push(tokio::spawn(async move {
            let mut dice = Dice::from_seed(n);
            for _ in 0..10 {
                let jobs: Vec<_> = (0..40)
                    .map(|_| referenced(1, &format!("{}", dice.below(100))))
                    .collect();
                enqueue(&mut conn, &jobs, now).await.unwrap();
            }
        }));
    }
    for caller in callers {
        caller.await.unwrap();
    }
    let jobs = w.number("SELECT count(*) FROM communication_jobs").await;
    let claimed = w.claim(&mut claimer(1), 1_000).await;
    assert_eq!(claimed.jobs.len() as i64, jobs);
    assert!(jobs <= 100);
}
