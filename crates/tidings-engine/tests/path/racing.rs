//! Many at once: opt-outs against dispatches, stale workers, two nodes.

use crate::world::{World, welcome};
use futures::future::join_all;
use serde_json::json;
use tidings_core::{Channel, MessageStatus};
use tidings_engine::AcceptRequest;

/// Trials in all, and how many run against each other at a time.
const TRIALS: usize = 1_000;
const AT_ONCE: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_dispatch_begins_after_an_acknowledged_opt_out() {
    let mut world = World::new().await;
    let (mut before, mut late) = (0, 0);
    for round in 0..TRIALS / AT_ONCE {
        let mut contacts = Vec::new();
        for n in 0..AT_ONCE {
            let number = format!("+1202{:07}", 555_2000 + round * AT_ONCE + n);
            contacts.push(world.contact(None, Some(&number)).await);
        }
        let requests = contacts
            .iter()
            .map(|contact| AcceptRequest {
                channel: Some(Channel::Sms),
                ..welcome(*contact)
            })
            .collect();
        let accepted: Vec<_> = world
            .engine
            .accept(world.tenant, requests)
            .await
            .into_iter()
            .map(|one| one.unwrap().message_id)
            .collect();
        let opt_outs = join_all(
            contacts
                .iter()
                .zip(&accepted)
                .enumerate()
                .map(|(n, (contact, message))| {
                    let world = &world;
                    async move {
                        // Spread over the run, without a clock.
                        for _ in 0..n * 20 {
                            tokio::task::yield_now().await;
                        }
                        world.stop(*contact, Channel::Sms).await;
                        // Acknowledged. Whatever has not begun by now must never begin.
                        world.attempts(*message).await
                    }
                }),
        );
        let (ran, begun) = futures::join!(world.engine.run_due(), opt_outs);
        ran.unwrap();
        world.run().await;
        for (message, begun) in accepted.iter().zip(begun) {
            let in_the_end = world.attempts(*message).await;
            before += usize::from(begun > 0);
            late += usize::from(in_the_end > begun);
        }
    }
    println!("{before} dispatches began before the opt-out was acknowledged, {late} after");
    assert_eq!(
        late, 0,
        "{late} dispatches began after an acknowledged opt-out ({before} began before it)"
    );
}

#[tokio::test]
async fn a_stale_worker_changes_nothing_any_more() {
    let mut world = World::bare().await;
    world
        .connect(Channel::Email, json!({"fault": "slow", "slow_ms": 3_000}), 0)
        .await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let accepted = world.accept(welcome(ann)).await.unwrap();
    let stale = world.another_engine(2).await;
    let takeover = async {
        world.taken(1).await;
        // The stale worker is stuck; its lease runs out and another worker finds out what happened.
        world.advance(31);
        world.run().await;
        world.advance(15);
        world.run().await;
        world.explain(accepted.message_id).await
    };
    let (stuck, told) = futures::join!(stale.run_due(), takeover);
    stuck.unwrap();
    assert_eq!(told.status, MessageStatus::Sent);
    let after = world.explain(accepted.message_id).await;
    assert_eq!(after.deliveries[0].attempts.len(), 1);
    assert_eq!(after.sent_at, told.sent_at);
    assert_eq!(world.jobs("send_email").await, ["complete"]);
    assert_eq!(world.ledger().await.messages, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_send_two_thousand_messages_once_each() {
    let mut world = World::new().await;
    let mut contacts = Vec::new();
    for n in 0..200 {
        contacts.push(world.contact(Some(&format!("c{n}@example.com")), None).await);
    }
    let other = world.another_engine(2).await;
    for part in 0..10 {
        let requests = contacts.iter().map(|contact| welcome(*contact)).collect();
        let engine = if part % 2 == 0 { &world.engine } else { &other };
        assert!(
            engine
                .accept(world.tenant, requests)
                .await
                .iter()
                .all(Result::is_ok)
        );
    }
    let (one, two) = futures::join!(world.engine.run_due(), other.run_due());
    let (one, two) = (one.unwrap(), two.unwrap());
    world.run().await;
    let count = world.ledger().await;
    assert_eq!((count.messages, count.duplicates), (2_000, 0), "{one:?} {two:?}");
    assert_eq!(
        world
            .database
            .texts("SELECT id FROM messages WHERE status <> 'sent'")
            .await
            .len(),
        0
    );
    assert_eq!(
        world
            .database
            .texts("SELECT lease_id FROM job_leases")
            .await
            .len(),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_runs_until_it_is_told_to_stop() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let work = world.engine.run(stop.clone());
    let talk = async {
        let accepted = world.accept(welcome(ann)).await.unwrap();
        world.taken(1).await;
        stop.cancel();
        accepted
    };
    let (worked, accepted) = futures::join!(work, talk);
    assert!(worked.unwrap().jobs >= 1);
    assert_eq!(
        world.status(accepted.message_id).await,
        MessageStatus::Sent,
        "what was begun is finished"
    );
    assert_eq!(
        world
            .database
            .texts("SELECT node_id FROM queue_nodes")
            .await
            .len(),
        0
    );
}
