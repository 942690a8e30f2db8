//! Schedules run once, whatever restarts, overlaps or node counts do.

use crate::world::{World, node, tenant};
use jiff::{SignedDuration, Timestamp};
use sqlx::Connection as _;
use tidings_queue::guard;
use tidings_queue::schedule::{MissedRun, Schedule, forget, put, run_due};

fn hourly(next_at: Timestamp) -> Schedule {
    Schedule {
        tenant: tenant(1),
        name: "report".to_owned(),
        cadence: serde_json::json!({"every_ms": 3_600_000}),
        missed_run: MissedRun::RunLate,
        next_at: Some(next_at),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a rule")]
fn next(_: &Schedule, last: Timestamp) -> Option<Timestamp> {
    Some(last + SignedDuration::from_hours(1))
}

#[tokio::test]
async fn a_schedule_runs_once_moves_on_and_survives_being_put_again() {
    let mut w = World::new().await;
    put(&mut w.conn, &hourly(w.now), w.now).await.unwrap();
    let mut tx = w.conn.begin().await.unwrap();
    let run = run_due(&mut tx, node(1), "", w.now, 10, next).await.unwrap();
    assert_eq!((run.len(), run[0].due_at, run[0].late_ms), (1, w.now, 0));
    assert!(
        run_due(&mut tx, node(1), "", w.now, 10, next)
            .await
            .unwrap()
            .is_empty()
    );
    tx.commit().await.unwrap();
    // A restart announces the same schedule with a moment of its own: the stored one stands.
    put(&mut w.conn, &hourly(w.now), w.now).await.unwrap();
    let mut tx = w.conn.begin().await.unwrap();
    assert!(
        run_due(&mut tx, node(1), "", w.now, 10, next)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn what_is_rolled_back_was_not_run() {
    let mut w = World::new().await;
    put(&mut w.conn, &hourly(w.now), w.now).await.unwrap();
    let mut tx = w.conn.begin().await.unwrap();
    assert_eq!(
        run_due(&mut tx, node(1), "", w.now, 10, next)
            .await
            .unwrap()
            .len(),
        1
    );
    tx.rollback().await.unwrap();
    let mut tx = w.conn.begin().await.unwrap();
    assert_eq!(
        run_due(&mut tx, node(2), "", w.now, 10, next)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn two_nodes_at_the_same_moment_run_it_once() {
    let mut w = World::new().await;
    put(&mut w.conn, &hourly(w.now), w.now).await.unwrap();
    let mut other = w.connect().await;
    let mut first = w.conn.begin().await.unwrap();
    let mut second = other.begin().await.unwrap();
    let one = run_due(&mut first, node(1), "", w.now, 10, next).await.unwrap();
    let two = run_due(&mut second, node(2), "", w.now, 10, next).await.unwrap();
    assert_eq!((one.len(), two.len()), (1, 0));
    first.commit().await.unwrap();
    second.commit().await.unwrap();
    // Even a node that was handed the old moment again cannot run it.
    sqlx::query("UPDATE schedules SET next_at = next_at - interval '1 hour'")
        .execute(&mut other)
        .await
        .unwrap();
    let mut again = other.begin().await.unwrap();
    assert!(
        run_due(&mut again, node(2), "", w.now, 10, next)
            .await
            .unwrap()
            .is_empty()
    );
    again.commit().await.unwrap();
    assert_eq!(w.number("SELECT count(*) FROM schedule_occurrences").await, 1);
}

#[tokio::test]
async fn missed_moments_are_written_down() {
    let mut w = World::new().await;
    put(&mut w.conn, &hourly(w.now), w.now).await.unwrap();
    w.pass(3 * 3_600_000 + 60_000);
    let mut tx = w.conn.begin().await.unwrap();
    let run = run_due(&mut tx, node(1), "", w.now, 10, next).await.unwrap();
    assert_eq!(run[0].late_ms, 60_000);
    tx.commit().await.unwrap();
    assert_eq!(
        w.number("SELECT count(*) FROM schedule_occurrences WHERE verdict = 'superseded'")
            .await,
        3
    );
    assert_eq!(forget(&mut w.conn, w.now).await.unwrap(), 4);
}

#[tokio::test]
async fn a_fenced_database_runs_no_schedule() {
    let mut w = World::new().await;
    put(&mut w.conn, &hourly(w.now), w.now).await.unwrap();
    guard::fence(&mut w.conn, "restored", "operator", w.now)
        .await
        .unwrap();
    let mut tx = w.conn.begin().await.unwrap();
    assert!(
        run_due(&mut tx, node(1), "", w.now, 10, next)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn each_kind_of_schedules_is_decided_by_itself() {
    let mut w = World::new().await;
    for name in ["alerts:round", "campaign:welcome"] {
        let one = Schedule {
            name: name.to_owned(),
            ..hourly(w.now)
        };
        put(&mut w.conn, &one, w.now).await.unwrap();
    }
    let mut tx = w.conn.begin().await.unwrap();
    for (beginning, found) in [
        ("campaign:", vec!["campaign:welcome"]),
        ("campaign:", vec![]),
        ("nothing:", vec![]),
        ("alerts:", vec!["alerts:round"]),
    ] {
        let run = run_due(&mut tx, node(1), beginning, w.now, 10, next)
            .await
            .unwrap();
        let names: Vec<&str> = run.iter().map(|one| one.schedule.name.as_str()).collect();
        assert_eq!(names, found, "{beginning}");
    }
}
