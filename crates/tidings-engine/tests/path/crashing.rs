//! Workers that die: who was near is sent, who killed them is given up.

use crate::world::{World, welcome};
use tidings_core::job::JobKind;
use tidings_core::{DeliveryState, Dice, JobId, MessageStatus, NodeId};
use tidings_engine::queue::{self, TakenOver};
use tokio_util::sync::CancellationToken;

const LEASE_MS: i64 = 30_000;

/// The next worker takes what is parked until it has the job, and dies with it; what it took before goes back.
async fn die_with(world: &World, seed: u64, killer: JobId) -> TakenOver {
    world.advance(31);
    let now = world.now();
    let node = NodeId(Dice::from_seed(seed).uuid(now));
    let mut conn = world.engine.store().worker_conn().await.unwrap();
    queue::park_expired(&mut conn, JobKind::ALL, now, 100)
        .await
        .unwrap();
    loop {
        let group = queue::take_group(&mut conn, node, JobKind::ALL, now, LEASE_MS)
            .await
            .unwrap();
        let taken = match group {
            Some(group) => group,
            None => queue::take_alone(&mut conn, node, JobKind::ALL, now, LEASE_MS)
                .await
                .unwrap()
                .unwrap(),
        };
        if taken.jobs.iter().any(|job| job.id == killer) {
            return taken;
        }
        queue::release(&mut conn, node, taken.lease).await.unwrap();
    }
}

async fn first_job(world: &World) -> JobId {
    let ids = world
        .database
        .texts("SELECT id FROM communication_jobs ORDER BY id")
        .await;
    JobId(ids[0].parse().unwrap())
}

#[tokio::test]
async fn a_message_that_kills_its_workers_is_given_up_and_the_others_are_sent() {
    let mut world = World::new().await;
    let mut accepted = Vec::new();
    for n in 0..20 {
        let contact = world.contact(Some(&format!("ann{n}@example.com")), None).await;
        accepted.push(world.accept(welcome(contact)).await.unwrap().message_id);
    }
    let killer = first_job(&world).await;
    world.claim_and_die(7).await;
    let mut alone = 0;
    while alone < 3 {
        let taken = die_with(&world, 100 + alone, killer).await;
        alone += u64::from(taken.jobs.len() == 1);
    }
    world.advance(31);
    world.run().await;
    let mut ends = Vec::new();
    for message in &accepted {
        ends.push(world.status(*message).await);
    }
    assert_eq!(ends[0], MessageStatus::Failed);
    assert!(
        ends[1..].iter().all(|end| *end == MessageStatus::Sent),
        "{ends:?}"
    );
    let told = world.explain(accepted[0]).await;
    assert_eq!(
        (told.deliveries[0].state, told.ended_because.as_deref()),
        (DeliveryState::Failed, Some("poison"))
    );
    assert_eq!(told.deliveries[0].attempts.len(), 0);
    let letters = "SELECT cause || ' ' || job_id FROM dead_letters";
    assert_eq!(
        world.database.texts(letters).await,
        [format!("poison {}", killer.0)]
    );
}

#[tokio::test]
async fn a_message_near_many_crashes_is_sent() {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let bob = world.contact(Some("bob@example.com"), None).await;
    let near = world.accept(welcome(ann)).await.unwrap();
    world.accept(welcome(bob)).await.unwrap();
    // Every worker dies with the whole batch in its hands, and its jobs are put back each time.
    for seed in 0..10 {
        world.claim_and_die(50 + seed).await;
        let job = first_job(&world).await;
        let taken = die_with(&world, 100 + seed, job).await;
        let mut conn = world.engine.store().worker_conn().await.unwrap();
        let node = NodeId(Dice::from_seed(100 + seed).uuid(world.now()));
        queue::release(&mut conn, node, taken.lease).await.unwrap();
        world.advance(31);
    }
    world.run().await;
    assert_eq!(world.status(near.message_id).await, MessageStatus::Sent);
    assert_eq!(world.ledger().await.messages, 2);
}

#[tokio::test]
async fn a_row_of_another_program_that_kills_its_workers_is_given_up() {
    let world = World::new().await;
    let (tenant, due) = (world.tenant, "'2026-06-16T15:00:00Z'");
    let row = format!(
        "INSERT INTO communication_jobs (tenant_id, job_type, payload, process_after, created_at) \
         VALUES ('{tenant}', 'send_email', '{{\"to\": \"ann@example.com\", \"subject\": \"A\", \"body\": \"B\"}}', {due}, {due})"
    );
    assert_eq!(world.database.execute(&row).await, 1);
    let mut conn = world.engine.store().worker_conn().await.unwrap();
    queue::adopt_arrivals(&mut conn, world.now(), 10).await.unwrap();
    drop(conn);
    let killer = first_job(&world).await;
    world.claim_and_die(7).await;
    for seed in 0..3 {
        let taken = die_with(&world, 100 + seed, killer).await;
        assert_eq!(taken.jobs[0].crash_count, 1 + i16::try_from(seed).unwrap());
    }
    world.advance(31);
    world.run().await;
    assert_eq!(world.jobs("send_email").await, ["failed"]);
    assert_eq!(
        world.database.texts("SELECT cause FROM dead_letters").await,
        ["poison"]
    );
    assert_eq!(world.ledger().await.messages, 0);
}

#[tokio::test]
async fn a_running_worker_takes_up_groups_and_single_jobs() {
    let mut world = World::new().await;
    for n in 0..5 {
        let contact = world.contact(Some(&format!("ann{n}@example.com")), None).await;
        world.accept(welcome(contact)).await.unwrap();
    }
    world.claim_and_die(7).await;
    // Once more, so that they are divided into single jobs; others come to be a group.
    let killer = first_job(&world).await;
    die_with(&world, 100, killer).await;
    for n in 5..8 {
        let contact = world.contact(Some(&format!("ann{n}@example.com")), None).await;
        world.accept(welcome(contact)).await.unwrap();
    }
    world.claim_and_die(8).await;
    world.advance(31);
    let stop = CancellationToken::new();
    let running = world.engine.run(stop.clone());
    let watching = async {
        world.taken(8).await;
        stop.cancel();
    };
    let (report, ()) = tokio::join!(running, watching);
    assert_eq!(report.unwrap().rescued, 8);
    let ends = "SELECT DISTINCT status FROM communication_jobs";
    assert_eq!(world.database.texts(ends).await, ["complete"]);
}

#[tokio::test]
async fn an_outcome_that_cannot_be_recorded_spoils_no_other_and_is_asked_about() {
    let mut world = World::new().await;
    let mut accepted = Vec::new();
    for n in 0..10 {
        let contact = world.contact(Some(&format!("ann{n}@example.com")), None).await;
        accepted.push(world.accept(welcome(contact)).await.unwrap().message_id);
    }
    let spoilt = accepted[3];
    for statement in [
        format!(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF new.delivery_id = (SELECT id FROM deliveries WHERE message_id = '{spoilt}') THEN RAISE EXCEPTION 'spoilt'; END IF;
                 RETURN new; END $$"
        ),
        "CREATE TRIGGER spoil BEFORE UPDATE ON attempts FOR EACH ROW EXECUTE FUNCTION spoil()".to_owned(),
    ] {
        world.database.execute(&statement).await;
    }
    // Its job has no end, which is told.
    world.engine.run_due().await.unwrap_err();
    world.taken(10).await;
    for message in &accepted {
        let status = world.status(*message).await;
        let sent = status == MessageStatus::Sent;
        assert_eq!(sent, *message != spoilt, "{status}");
    }
    world.database.execute("DROP TRIGGER spoil ON attempts").await;
    // That it was tried again for each counts no call twice.
    world.advance(20);
    world.run().await;
    let calls = "SELECT sum(calls) FROM connection_health";
    assert_eq!(world.database.texts(calls).await, ["10"]);
    // Whoever takes over what was left asks the provider.
    for _ in 0..10 {
        world.advance(31);
        world.run().await;
    }
    assert_eq!(world.status(spoilt).await, MessageStatus::Sent);
    world.taken(10).await;
}
