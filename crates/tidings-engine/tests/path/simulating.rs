//! A simulation says what a live run does: the same beginning, the same clock, the same messages.

use crate::dealer::TODAY;
use crate::world::{World, engine};
use jiff::SignedDuration;
use std::collections::BTreeMap;
use tidings_core::Category;
use tidings_core::decide::policy::Cap;
use tidings_engine::source::demo::Dealership;
use tidings_engine::{Limits, Simulated, SimulatedOutcome, differences};
use tidings_testkit::TemporaryFile;

/// What was decided about each message and what became of it, without ids.
fn essence(simulated: &Simulated) -> Vec<String> {
    simulated
        .messages
        .iter()
        .map(|message| format!("{message:?}"))
        .collect()
}

async fn dealership(world: &World) -> TemporaryFile {
    let file = TemporaryFile::new("db");
    Dealership::generate(5, 150, TODAY)
        .load_sqlite(file.path())
        .await
        .unwrap();
    world.source(&file).await;
    file
}

#[tokio::test]
async fn what_is_simulated_is_what_happens() {
    let world = World::new().await;
    let _file = dealership(&world).await;
    let (from, to) = (world.now(), world.now() + SignedDuration::from_hours(24 * 6));

    let spare = tidings_testkit::database().await;
    let scratch = engine(&spare, &world.keyring, &world.clock, 4, Limits::default()).await;
    scratch
        .prepare_simulation(world.engine.store(), world.tenant, from, None)
        .await
        .unwrap();
    let before = world.database.texts("SELECT id::text FROM messages").await;
    let simulated = scratch.simulate(&world.clock, world.tenant, to).await.unwrap();
    assert_eq!(
        world.database.texts("SELECT id::text FROM messages").await,
        before,
        "nothing is written"
    );

    world.clock.set(from);
    let lived = world
        .engine
        .simulate(&world.clock, world.tenant, to)
        .await
        .unwrap();
    assert!(
        simulated.messages.len() > 20,
        "{} messages",
        simulated.messages.len()
    );
    for (said, happened) in essence(&simulated).iter().zip(essence(&lived)) {
        assert_eq!(*said, happened);
    }
    assert_eq!(simulated.messages.len(), lived.messages.len());
    assert_eq!(simulated.runs, lived.runs);
    let mut outcomes: BTreeMap<SimulatedOutcome, usize> = BTreeMap::new();
    for message in &simulated.messages {
        *outcomes.entry(message.outcome).or_default() += 1;
    }
    assert!(outcomes[&SimulatedOutcome::Sent] > 10, "{outcomes:?}");
}

#[tokio::test]
async fn a_limit_makes_messages_wait_and_the_simulation_goes_on() {
    let world = World::new().await;
    let _file = dealership(&world).await;
    let rate = r#"UPDATE connections SET rate_limit = '{"limit": 20, "per_ms": 3600000}'"#;
    world.database.execute(rate).await;
    let (from, to) = (world.now(), world.now() + SignedDuration::from_hours(24 * 2));
    let spare = tidings_testkit::database().await;
    let scratch = engine(&spare, &world.keyring, &world.clock, 4, Limits::default()).await;
    scratch
        .prepare_simulation(world.engine.store(), world.tenant, from, None)
        .await
        .unwrap();
    let simulated = scratch.simulate(&world.clock, world.tenant, to).await.unwrap();
    let mut hours: BTreeMap<String, usize> = BTreeMap::new();
    for message in &simulated.messages {
        if message.outcome == SimulatedOutcome::Sent {
            let key = format!("{:?} {}", message.channel, message.at.as_second() / 3_600);
            *hours.entry(key).or_default() += 1;
        }
    }
    let most = hours.values().max().copied().unwrap_or(0);
    assert!((15..=20).contains(&most), "a backlog at the limit: {hours:?}");
    assert!(simulated.instants < 20_000, "{} instants", simulated.instants);
}

#[tokio::test]
async fn a_changed_policy_is_compared_message_by_message() {
    let world = World::new().await;
    let _file = dealership(&world).await;
    let (from, to) = (world.now(), world.now() + SignedDuration::from_hours(24 * 3));
    let mut lived = Vec::new();
    for changed in [false, true] {
        world.clock.set(from);
        let spare = tidings_testkit::database().await;
        let scratch = engine(&spare, &world.keyring, &world.clock, 4, Limits::default()).await;
        let mut policy = tidings_core::decide::Policy::default();
        policy
            .caps
            .insert(Category::Service, vec![Cap { limit: 0, hours: 24 }]);
        scratch
            .prepare_simulation(
                world.engine.store(),
                world.tenant,
                from,
                changed.then_some(policy),
            )
            .await
            .unwrap();
        lived.push(scratch.simulate(&world.clock, world.tenant, to).await.unwrap());
    }
    let moved = differences(&lived[0], &lived[1]);
    let sent_before = |one: &tidings_engine::Moved| {
        one.before
            .as_ref()
            .is_some_and(|message| message.outcome == SimulatedOutcome::Sent)
    };
    assert!(
        moved.iter().filter(|one| sent_before(one)).count() > 3,
        "{}",
        moved.len()
    );
    assert!(differences(&lived[0], &lived[0]).is_empty());
}
