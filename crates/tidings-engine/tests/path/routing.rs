//! Failover to be watched: which connection carries a message, why, and how traffic returns.

use crate::world::{World, direct, welcome};
use jiff::SignedDuration;
use serde_json::json;
use tidings_core::route::RouteCode;
use tidings_core::{Channel, ConnectionId, ContactId, MessageId, MessageStatus, Urgency};
use tidings_engine::{AcceptRequest, AttemptTold, Drill, EngineError};

/// Sends a message that no rule holds back, and what it was tried by.
async fn send(world: &World, contact: ContactId) -> (MessageId, Vec<AttemptTold>) {
    let accepted = world.accept(urgent(contact)).await.unwrap();
    world.run().await;
    (accepted.message_id, tries(world, accepted.message_id).await)
}

fn urgent(contact: ContactId) -> AcceptRequest {
    AcceptRequest {
        urgency: Some(Urgency::Critical),
        category: Some(tidings_core::Category::Transactional),
        channel: Some(Channel::Email),
        ..direct(contact, "The gate has changed.")
    }
}

async fn tries(world: &World, message: MessageId) -> Vec<AttemptTold> {
    world.explain(message).await.deliveries[0].attempts.clone()
}

async fn events(world: &World, kind: &str) -> Vec<String> {
    world
        .database
        .texts(&format!(
            "SELECT coalesce(data->>'cause', data->>'action') AS word FROM event_log WHERE kind = '{kind}' ORDER BY word"
        ))
        .await
}

async fn breakers(world: &World) -> Vec<String> {
    world
        .database
        .texts("SELECT breaker FROM connections ORDER BY priority")
        .await
}

async fn versions(world: &World) -> Vec<String> {
    world
        .database
        .texts("SELECT breaker_version::text || ' ' || xmin::text FROM connections ORDER BY id")
        .await
}

/// Two e-mail connections, the first before the second.
async fn pair(first: serde_json::Value) -> (World, ConnectionId, ConnectionId, ContactId) {
    let mut world = World::bare().await;
    let main = world.connect(Channel::Email, first, 0).await;
    let spare = world.connect(Channel::Email, json!({}), 1).await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    (world, main, spare, ann)
}

#[tokio::test]
async fn an_outage_is_left_and_come_back_from_and_every_hop_is_told() {
    let (world, main, spare, ann) = pair(json!({"fault": "server_error"})).await;
    // Until the breaker opens each message is refused once and taken over.
    for number in 1..=5 {
        let (_, tries) = send(&world, ann).await;
        assert_eq!(tries.len(), 2);
        assert_eq!((tries[0].connection_id, tries[1].connection_id), (main, spare));
        assert_eq!(tries[0].connection.as_deref(), Some("sandbox email 0"));
        assert_eq!(tries[1].route.why, Some(RouteCode::Failover));
        let over = &tries[1].route.passed_over[0];
        // The fifth finds the breaker open that it opened.
        let code = if number < 5 {
            RouteCode::Avoided
        } else {
            RouteCode::BreakerOpen
        };
        assert_eq!((over.connection_id, over.code), (main, code));
        assert_eq!(over.connection.as_deref(), Some("sandbox email 0"));
    }
    assert_eq!(breakers(&world).await, ["open", "closed"]);
    assert_eq!(events(&world, "BreakerOpened").await, ["failures_in_a_row"]);
    // What nodes saw is written down every few seconds.
    world.advance(6);
    world.run().await;
    let standing = world.engine.standing(world.tenant, main).await.unwrap();
    assert_eq!((standing.share, standing.health), (0, Some(0)));
    assert!(
        standing
            .connection
            .breaker
            .detail
            .is_some_and(|text| text.contains("503"))
    );
    let probe_at = standing.next_probe_at.unwrap();
    // From then on the other carries them at once.
    let (_, tries) = send(&world, ann).await;
    assert_eq!((tries.len(), tries[0].connection_id), (1, spare));
    assert_eq!(tries[0].route.why, Some(RouteCode::TakeOver));
    let over = &tries[0].route.passed_over[0];
    assert_eq!((over.code, over.until), (RouteCode::BreakerOpen, Some(probe_at)));
    // The first recovers: one probe, then its share in steps, then all of it.
    world.configure(main, Channel::Email, json!({}), true).await;
    world
        .clock
        .advance(probe_at.duration_since(world.now()) + SignedDuration::from_secs(1));
    let (_, tries) = send(&world, ann).await;
    assert_eq!(
        (tries[0].connection_id, tries[0].route.why),
        (main, Some(RouteCode::Probe))
    );
    assert_eq!(events(&world, "BreakerClosed").await, ["probe_answered"]);
    let mut by_spare = 0;
    for _ in 0..10 {
        let (_, tries) = send(&world, ann).await;
        if tries[0].connection_id == spare {
            by_spare += 1;
            assert_eq!(tries[0].route.passed_over[0].code, RouteCode::Ramping);
        }
    }
    assert!(
        by_spare >= 5,
        "a tenth of the share, yet {by_spare} of 10 by the other"
    );
    world.advance(31);
    for _ in 0..5 {
        let (_, tries) = send(&world, ann).await;
        assert_eq!((tries[0].connection_id, tries[0].route.why), (main, None));
    }
    assert_eq!(world.ledger().await.duplicates, 0);
}

#[tokio::test]
async fn a_connection_that_works_is_never_written_to() {
    let (world, _, _, ann) = pair(json!({})).await;
    let before = versions(&world).await;
    for _ in 0..12 {
        send(&world, ann).await;
    }
    assert_eq!(versions(&world).await, before);
    let plain = world
        .database
        .texts("SELECT id::text FROM attempts WHERE route IS NOT NULL")
        .await;
    assert!(plain.is_empty(), "the best route leaves no note");
}

#[tokio::test]
async fn an_unknown_outcome_never_goes_by_another_connection() {
    let (world, main, _, ann) = pair(json!({"fault": "timeout_after_accept"})).await;
    let mut sent = Vec::new();
    // The fifth opens the breaker: no answer came.
    for _ in 0..5 {
        let (message, tries) = send(&world, ann).await;
        assert_eq!((tries.len(), tries[0].connection_id), (1, main));
        sent.push(message);
    }
    assert_eq!(breakers(&world).await, ["open", "closed"]);
    // Their provider is asked although its breaker is open, and has them all.
    world.advance(16);
    world.run().await;
    for message in &sent {
        assert_eq!(world.status(*message).await, MessageStatus::Sent);
        let tries = tries(&world, *message).await;
        assert_eq!((tries.len(), tries[0].connection_id), (1, main));
    }
    let ledger = world.ledger().await;
    assert_eq!((ledger.messages, ledger.duplicates), (5, 0));
}

#[tokio::test]
async fn what_may_have_arrived_is_repeated_where_it_was_made_or_nowhere() {
    let (mut world, main, spare, ann) = pair(json!({"fault": "timeout_after_accept"})).await;
    world
        .policy(|policy| {
            policy.on_unknown.insert(
                tidings_core::Category::Transactional,
                tidings_core::decide::policy::OnUnknown::Resend,
            );
        })
        .await;
    let (message, _) = send(&world, ann).await;
    // Nobody can be asked: the sandbox forgets where it is pointed at a stand-in that does not answer.
    let nowhere = json!({"base_url": "http://127.0.0.1:9"});
    world.configure(main, Channel::Email, nowhere, true).await;
    for _ in 0..3 {
        world.advance(60);
        world.run().await;
    }
    let tried = tries(&world, message).await;
    assert!(tried.len() > 1, "it was repeated");
    assert!(tried.iter().all(|one| one.connection_id == main), "{tried:?}");
    assert_ne!(main, spare);
    assert_eq!(world.ledger().await.messages, 1);
}

#[tokio::test]
async fn contacts_stay_with_their_sender_among_equals() {
    let mut world = World::bare().await;
    let first = world.connect(Channel::Email, json!({}), 0).await;
    // Names are unique.
    world
        .database
        .execute("UPDATE connections SET name = 'first'")
        .await;
    let second = world.connect(Channel::Email, json!({}), 0).await;
    let mut by = std::collections::BTreeMap::new();
    for number in 0..12 {
        let contact = world
            .contact(Some(&format!("guest{number}@example.com")), None)
            .await;
        let (_, tries) = send(&world, contact).await;
        by.insert(contact, tries[0].connection_id);
    }
    assert!(by.values().any(|id| *id == first) && by.values().any(|id| *id == second));
    for (contact, connection) in &by {
        for _ in 0..3 {
            let (_, tries) = send(&world, *contact).await;
            assert_eq!(tries[0].connection_id, *connection);
            assert_eq!(tries[0].route.why, Some(RouteCode::Sticky));
        }
    }
    // While their sender is broken the other writes to them.
    let drill = Drill::Break(SignedDuration::from_secs(60));
    world
        .engine
        .drill(world.tenant, second, drill, "test")
        .await
        .unwrap();
    for contact in by.keys() {
        let (_, tries) = send(&world, *contact).await;
        assert_eq!(tries[0].connection_id, first);
    }
}

#[tokio::test]
async fn an_answer_comes_from_where_the_contact_wrote_to() {
    let (world, main, spare, ann) = pair(json!({})).await;
    let (_, tries) = send(&world, ann).await;
    assert_eq!(tries[0].connection_id, main);
    world
        .database
        .execute(&format!(
            "INSERT INTO inbound_messages (tenant_id, id, contact_id, connection_id, channel, dedupe_key, from_index, sealed,
                 occurred_at, received_at)
             VALUES ('{}', '{}', '{ann}', '{spare}', 'email', 'x', '', '', '{now}', '{now}')",
            world.tenant,
            uuid::Uuid::from_u128(7),
            now = world.now(),
        ))
        .await;
    let (_, tries) = send(&world, ann).await;
    assert_eq!(tries[0].connection_id, spare);
    assert_eq!(tries[0].route.why, Some(RouteCode::Conversation));
    assert_eq!(tries[0].route.passed_over[0].code, RouteCode::Conversation);
    // A day later it is no conversation any more.
    world.advance(25 * 3600);
    let (_, tries) = send(&world, ann).await;
    assert_eq!(tries[0].connection_id, main);
}

#[tokio::test]
async fn a_drill_breaks_ends_by_itself_and_is_written_down() {
    let (world, main, spare, ann) = pair(json!({})).await;
    let (engine, tenant) = (&world.engine, world.tenant);
    let minute = Drill::Break(SignedDuration::from_secs(60));
    let standing = engine.drill(tenant, main, minute, "key abc").await.unwrap();
    assert_eq!(standing.share, 0);
    assert_eq!(
        standing.next_probe_at,
        Some(world.now() + SignedDuration::from_secs(60))
    );
    let (_, tries) = send(&world, ann).await;
    assert_eq!(tries[0].connection_id, spare);
    assert_eq!(tries[0].route.passed_over[0].code, RouteCode::Drill);
    world.advance(61);
    let (_, tries) = send(&world, ann).await;
    assert_eq!(
        (tries[0].connection_id, tries[0].route.why),
        (main, Some(RouteCode::Probe))
    );
    // And ended by hand.
    engine.drill(tenant, main, minute, "key abc").await.unwrap();
    let restored = engine
        .drill(tenant, main, Drill::Restore, "key abc")
        .await
        .unwrap();
    assert_eq!((restored.share, restored.next_probe_at), (10, None));
    assert_eq!(
        events(&world, "ConnectionDrilled").await,
        ["break", "break", "restore"]
    );
    let audit = world
        .database
        .texts("SELECT action || ' ' || actor || ' ' || object FROM audit_log WHERE action LIKE 'connection.%' ORDER BY seq")
        .await;
    assert_eq!(
        audit[2],
        format!("connection.restored key abc {main}"),
        "{audit:?}"
    );
    assert_eq!(audit.len(), 3);
}

#[tokio::test]
async fn a_wrong_drill_is_refused_and_changes_nothing() {
    let (world, main, _, ann) = pair(json!({"fault": "auth_failure"})).await;
    let (engine, tenant) = (&world.engine, world.tenant);
    let told = |error: EngineError| error.to_string();
    let nothing = engine.drill(tenant, main, Drill::Restore, "x").await;
    assert!(told(nothing.unwrap_err()).contains("not under a drill"));
    for seconds in [0, -5, 3601] {
        let long = Drill::Break(SignedDuration::from_secs(seconds));
        let error = told(engine.drill(tenant, main, long, "x").await.unwrap_err());
        assert!(error.contains("for_seconds"), "{error}");
    }
    let nobody = ConnectionId(uuid::Uuid::from_u128(5));
    assert!(engine.drill(tenant, nobody, Drill::Restore, "x").await.is_err());
    send(&world, ann).await;
    assert_eq!(events(&world, "BreakerOpened").await, ["auth_refused"]);
    let minute = Drill::Break(SignedDuration::from_secs(60));
    let hidden = engine.drill(tenant, main, minute, "x").await;
    assert!(told(hidden.unwrap_err()).contains("auth_refused"));
    assert!(events(&world, "ConnectionDrilled").await.is_empty());
}

#[tokio::test]
async fn what_waits_for_a_connection_says_for_which_and_until_when() {
    let mut world = World::bare().await;
    let only = world.connect(Channel::Email, json!({}), 0).await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let minute = Drill::Break(SignedDuration::from_secs(60));
    world.engine.drill(world.tenant, only, minute, "x").await.unwrap();
    let accepted = world.accept(welcome(ann)).await.unwrap();
    world.run().await;
    let told = world.explain(accepted.message_id).await;
    let delivery = &told.deliveries[0];
    assert!(delivery.attempts.is_empty());
    let why = delivery.waits_because.as_deref().unwrap();
    for part in ["route.none_ready", "sandbox email 0", "route.drill"] {
        assert!(why.contains(part), "{why}");
    }
    assert_eq!(
        delivery.waits_until,
        Some(world.now() + SignedDuration::from_secs(60))
    );
    world.advance(61);
    world.run().await;
    assert_eq!(world.status(accepted.message_id).await, MessageStatus::Sent);
}

#[tokio::test]
async fn two_nodes_share_one_probe_and_one_health() {
    let (world, main, spare, ann) = pair(json!({"fault": "server_error"})).await;
    let other = world.another_engine(2).await;
    for _ in 0..5 {
        send(&world, ann).await;
    }
    // The other node sees the open breaker with its first batch.
    let accepted = world.accept(urgent(ann)).await.unwrap();
    other.run_due().await.unwrap();
    assert_eq!(tries(&world, accepted.message_id).await[0].connection_id, spare);
    let at = world
        .engine
        .standing(world.tenant, main)
        .await
        .unwrap()
        .next_probe_at;
    world
        .clock
        .advance(at.unwrap().duration_since(world.now()) + SignedDuration::from_secs(1));
    world.configure(main, Channel::Email, json!({}), true).await;
    let both = [urgent(ann), urgent(ann)];
    for request in both {
        world.accept(request).await.unwrap();
    }
    let (one, two) = tokio::join!(world.engine.run_due(), other.run_due());
    one.unwrap();
    two.unwrap();
    let probes = world
        .database
        .texts("SELECT id::text FROM attempts WHERE route->>'why' = 'route.probe'")
        .await;
    assert_eq!(probes.len(), 1);
    // Both wrote down what they saw.
    world.advance(6);
    world.run().await;
    other.run_due().await.unwrap();
    let standing = world.engine.standing(world.tenant, spare).await.unwrap();
    assert!(
        standing.lately.calls >= 6 && standing.health == Some(100),
        "{standing:?}"
    );
}
