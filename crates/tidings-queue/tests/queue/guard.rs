//! A database that was copied or restored starts fenced.

use crate::world::{LEASE_MS, World, claimer, job, node};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tidings_core::job::JobKind;
use tidings_queue::guard::{self, OnTimeline};
use tidings_queue::{park_expired, register};

#[tokio::test]
async fn a_copy_claims_nothing_until_an_operator_lifts_the_fence() {
    let mut w = World::new().await;
    w.add(&[job(1, 60), job(1, 60)]).await;
    w.claim(&mut claimer(1), 1).await;
    let copy = format!("{}_copy", w.database.name());
    let server = PgConnection::connect(&w.database.url.replace(w.database.name(), "postgres")).await;
    let mut server = server.unwrap();
    // A database is only copied while nobody is connected.
    w.conn.close().await.unwrap();
    let create = format!(r#"CREATE DATABASE "{copy}" TEMPLATE "{}""#, w.database.name());
    sqlx::query(AssertSqlSafe(create))
        .execute(&mut server)
        .await
        .unwrap();

    let mut conn = PgConnection::connect(&w.database.url.replace(w.database.name(), &copy))
        .await
        .unwrap();
    sqlx::query("SET ROLE tidings_worker")
        .execute(&mut conn)
        .await
        .unwrap();
    // Even a program that never registers claims nothing.
    let claimed = claimer(2).claim(&mut conn, 10, w.now, LEASE_MS).await.unwrap();
    assert!(claimed.jobs.is_empty());
    let fence = claimed.fence.unwrap();
    assert!(fence.reason.contains("copy"), "{fence:?}");
    let later = w.now + jiff::SignedDuration::from_hours(1);
    assert!(
        park_expired(&mut conn, JobKind::ALL, later, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        register(&mut conn, node(2), "two", "test", w.now).await.unwrap(),
        Some(fence)
    );

    guard::lift(&mut conn, "operator", w.now).await.unwrap();
    assert_eq!(
        register(&mut conn, node(2), "two", "test", w.now).await.unwrap(),
        None
    );
    let claimed = claimer(2).claim(&mut conn, 10, w.now, LEASE_MS).await.unwrap();
    assert_eq!((claimed.jobs.len(), claimed.fence), (1, None));
    conn.close().await.unwrap();
    sqlx::query(AssertSqlSafe(format!(r#"DROP DATABASE "{copy}""#)))
        .execute(&mut server)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_fence_by_hand_stops_claims_and_not_enqueues() {
    let mut w = World::new().await;
    guard::fence(&mut w.conn, "moving house", "operator", w.now)
        .await
        .unwrap();
    w.add(&[job(1, 60)]).await;
    let claimed = w.claim(&mut claimer(1), 10).await;
    assert_eq!(claimed.fence.unwrap().reason, "moving house");
    guard::lift(&mut w.conn, "operator", w.now).await.unwrap();
    assert_eq!(w.claim(&mut claimer(1), 10).await.jobs.len(), 1);
}

#[tokio::test]
async fn a_new_timeline_fences_unless_standbys_are_trusted() {
    let mut w = World::new().await;
    w.add(&[job(1, 60)]).await;
    sqlx::query("UPDATE queue_guard SET timeline = '000000FF'")
        .execute(&mut w.conn)
        .await
        .unwrap();
    assert!(
        w.claim(&mut claimer(1), 10)
            .await
            .fence
            .unwrap()
            .reason
            .contains("timeline")
    );
    guard::set_on_timeline(&mut w.conn, OnTimeline::Follow, "operator", w.now)
        .await
        .unwrap();
    guard::lift(&mut w.conn, "operator", w.now).await.unwrap();
    sqlx::query("UPDATE queue_guard SET timeline = '000000FF'")
        .execute(&mut w.conn)
        .await
        .unwrap();
    assert_eq!(w.claim(&mut claimer(1), 10).await.jobs.len(), 1);
}
