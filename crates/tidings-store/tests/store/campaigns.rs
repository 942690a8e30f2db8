//! Sources, campaign runs and the coverage of due rows.

use crate::world::{World, world};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tidings_core::campaign::CampaignName;
use tidings_core::{CampaignRunId, ErrorCategory, MessageType, NodeId};
use tidings_store::campaigns::{
    self, ClaimedRun, Fate, NewRow, NewRun, PageDone, RowOutcome, RunState, StoredCampaign,
};
use tidings_store::sources::{self, SourceInput};

const LEASE: SignedDuration = SignedDuration::from_mins(1);

fn name(text: &str) -> CampaignName {
    CampaignName::parse(text).unwrap()
}

fn day(world: &World, days: i64) -> Timestamp {
    world.now + SignedDuration::from_hours(24 * days)
}

/// The queue's guard is stamped when a node registers; claims wait for it.
async fn node(world: &mut World) -> NodeId {
    let node = NodeId(world.dice.uuid(world.now));
    let mut conn = world.store.worker_conn().await.unwrap();
    tidings_queue::register(&mut conn, node, "test", "0", world.now)
        .await
        .unwrap();
    node
}

async fn create(world: &mut World, campaign: &str, days: i64) -> CampaignRunId {
    let as_of = day(world, days);
    let id = CampaignRunId(world.dice.uuid(world.now));
    let run = NewRun {
        tenant: world.tenant,
        id,
        campaign: name(campaign),
        as_of,
        by_hand: false,
    };
    let mut conn = world.store.worker_conn().await.unwrap();
    assert_eq!(
        campaigns::create(&mut conn, std::slice::from_ref(&run), world.now)
            .await
            .unwrap(),
        1
    );
    // The moment exists: whoever comes second adds nothing.
    let again = NewRun {
        id: CampaignRunId(world.dice.uuid(world.now)),
        ..run
    };
    assert_eq!(
        campaigns::create(&mut conn, &[again], world.now).await.unwrap(),
        0
    );
    id
}

async fn claim(world: &World, node: NodeId, now: Timestamp) -> Option<ClaimedRun> {
    let mut conn = world.store.worker_conn().await.unwrap();
    campaigns::claim(&mut conn, node, None, now, LEASE).await.unwrap()
}

fn row(key: &str, outcome: RowOutcome, code: Option<&str>) -> NewRow {
    NewRow {
        key: key.to_owned(),
        occurrence: "2026".to_owned(),
        outcome,
        code: code.map(str::to_owned),
        detail: None,
        contact: None,
        message: None,
    }
}

async fn page(world: &World, run: &ClaimedRun, last_key: &str, rows: Vec<NewRow>, now: Timestamp) -> bool {
    let page = PageDone {
        scanned: 10,
        last_key: Some(last_key.to_owned()),
        due: u32::try_from(rows.len()).unwrap(),
        rows,
        lease_until: now + LEASE,
    };
    let mut tx = world.store.worker_tx().await.unwrap();
    let done = campaigns::page_done(&mut tx, run, &page, now).await.unwrap();
    if done {
        tx.commit().await.unwrap();
    }
    done
}

async fn finish(world: &World, run: &ClaimedRun, fate: Fate, now: Timestamp) -> bool {
    let mut conn = world.store.worker_conn().await.unwrap();
    campaigns::finish(&mut conn, run, &fate, now).await.unwrap()
}

#[tokio::test]
async fn runs_of_a_campaign_follow_each_other_and_cover_what_the_last_complete_one_did_not() {
    let mut world = world().await;
    let node = node(&mut world).await;
    let moments = [day(&world, -2), day(&world, -1), day(&world, 0)];
    let mut ids = Vec::new();
    for days in [-2, -1, 0] {
        ids.push(create(&mut world, "seven_day_checkin", days).await);
    }
    let first = claim(&world, node, world.now).await.unwrap();
    assert_eq!((first.id, first.previous), (ids[0], None));
    assert!(
        claim(&world, node, world.now).await.is_none(),
        "the second waits for the first"
    );
    assert!(finish(&world, &first, Fate::Complete, world.now).await);

    let second = claim(&world, node, world.now).await.unwrap();
    assert_eq!((second.id, second.previous), (ids[1], Some(moments[0])));
    let failed = Fate::Failed {
        category: ErrorCategory::Permanent,
        error: "the source is gone".to_owned(),
    };
    assert!(finish(&world, &second, failed, world.now).await);

    // The one that failed covered nothing.
    let third = claim(&world, node, world.now).await.unwrap();
    assert_eq!((third.id, third.previous), (ids[2], Some(moments[0])));
}

#[tokio::test]
async fn a_lost_lease_writes_nothing_and_another_node_goes_on_where_the_page_ended() {
    let mut world = world().await;
    let node = node(&mut world).await;
    create(&mut world, "winback_missed_you", 0).await;
    let held = claim(&world, node, world.now).await.unwrap();
    assert!(
        page(
            &world,
            &held,
            "k1",
            vec![row("k1", RowOutcome::Proposed, None)],
            world.now
        )
        .await
    );
    let later = world.now + LEASE + SignedDuration::from_secs(1);
    let taken = claim(&world, node, later).await.unwrap();
    assert_eq!(taken.after_key.as_deref(), Some("k1"));
    assert_eq!(taken.started_at, held.started_at);
    assert!(
        !page(
            &world,
            &held,
            "k2",
            vec![row("k2", RowOutcome::Proposed, None)],
            later
        )
        .await
    );
    assert!(!finish(&world, &held, Fate::Complete, later).await);
    assert!(
        page(
            &world,
            &taken,
            "k2",
            vec![row("k2", RowOutcome::Held, Some("timing.quiet"))],
            later
        )
        .await
    );
    assert!(finish(&world, &taken, Fate::Complete, later).await);
    let mut tx = world.tx().await;
    let story = campaigns::find_run(&mut tx, taken.id).await.unwrap();
    assert_eq!(
        (story.state, story.scanned, story.due),
        (RunState::Complete, 20, 2)
    );
    let coverage = campaigns::coverage(&mut tx, vec![story]).await.unwrap();
    assert!(coverage[0].balanced);
    assert_eq!(coverage[0].outcomes[&RowOutcome::Held], 1);
    assert_eq!(coverage[0].outcomes[&RowOutcome::Suppressed], 0);
    let held_rows = campaigns::list_rows(&mut tx, taken.id, &[RowOutcome::Held], None, 10)
        .await
        .unwrap();
    assert_eq!(held_rows.items.len(), 1);
    assert_eq!(held_rows.items[0].code.as_deref(), Some("timing.quiet"));
}

#[tokio::test]
async fn sums_that_do_not_match_are_said() {
    let mut world = world().await;
    let node = node(&mut world).await;
    create(&mut world, "warranty_expiration", 0).await;
    let run = claim(&world, node, world.now).await.unwrap();
    let page = PageDone {
        scanned: 3,
        last_key: Some("k".to_owned()),
        rows: vec![row("k", RowOutcome::Proposed, None)],
        due: 2,
        lease_until: world.now + LEASE,
    };
    let mut conn = world.store.worker_conn().await.unwrap();
    assert!(
        campaigns::page_done(&mut conn, &run, &page, world.now)
            .await
            .unwrap()
    );
    let mut tx = world.tx().await;
    let story = campaigns::find_run(&mut tx, run.id).await.unwrap();
    assert!(!campaigns::coverage(&mut tx, vec![story]).await.unwrap()[0].balanced);
}

#[tokio::test]
async fn a_tenant_with_a_run_under_way_lets_others_go_first() {
    let mut world = world().await;
    let node = node(&mut world).await;
    let other = world.other;
    create(&mut world, "a", 0).await;
    create(&mut world, "b", 0).await;
    let first = claim(&world, node, world.now).await.unwrap();
    let tenant = std::mem::replace(&mut world.tenant, other);
    create(&mut world, "a", 0).await;
    assert_eq!(claim(&world, node, world.now).await.unwrap().tenant, other);
    let third = claim(&world, node, world.now).await.unwrap();
    assert_eq!((third.tenant, third.campaign == first.campaign), (tenant, false));
    // A try that failed waits; the other nodes do not see it before.
    let at = world.now + SignedDuration::from_mins(5);
    let mut conn = world.store.worker_conn().await.unwrap();
    let failed = Some((ErrorCategory::Transient, "the source does not answer"));
    assert!(campaigns::retry(&mut conn, &third, at, failed).await.unwrap());
    assert!(claim(&world, node, world.now).await.is_none());
    let again = claim(&world, node, at).await;
    assert!(again.is_some());
}

#[tokio::test]
async fn a_tenant_has_few_runs_under_way_and_the_next_begins_when_one_ends() {
    let mut world = world().await;
    let node = node(&mut world).await;
    let most = usize::try_from(campaigns::RUNS_OF_TENANT).unwrap();
    for number in 0..=most {
        create(&mut world, &format!("campaign_{number}"), -1).await;
    }
    let mut under_way = Vec::new();
    for _ in 0..most {
        under_way.push(claim(&world, node, world.now).await.unwrap());
    }
    assert!(claim(&world, node, world.now).await.is_none());
    assert!(finish(&world, &under_way[0], Fate::Complete, world.now).await);
    assert!(claim(&world, node, world.now).await.is_some());
}

#[tokio::test]
async fn the_address_of_a_source_is_sealed_and_changes_of_campaigns_are_replaced_as_a_whole() {
    let world = world().await;
    let input = SourceInput {
        access: SecretString::from("postgres://reader:geheim@db.example.com/dms"),
        settings: json!({"kind": "postgresql"}),
        mapping: json!({"tables": {}}),
        enabled: true,
    };
    let mut tx = world.tx().await;
    sources::put(&mut tx, &input, world.now).await.unwrap();
    let word = |text: &str, own| StoredCampaign {
        name: name(text),
        own,
        definition: json!({"enabled": false}),
    };
    let ask = [MessageType::parse("winback_missed_you").unwrap()];
    campaigns::put(&mut tx, &[word("a", true), word("b", false)], &ask, world.now)
        .await
        .unwrap();
    campaigns::put(&mut tx, &[word("b", true)], &ask, world.now)
        .await
        .unwrap();
    assert_eq!(campaigns::list(&mut tx).await.unwrap(), [word("b", true)]);
    tx.commit().await.unwrap();

    let plain: Vec<u8> = sqlx::query_scalar("SELECT access_sealed FROM sources")
        .fetch_one(&world.owner())
        .await
        .unwrap();
    assert!(!plain.windows(6).any(|part| part == b"geheim"));
    let mut tx = world.tx().await;
    let (source, access) = sources::open(&mut tx).await.unwrap().unwrap();
    assert_eq!(access.expose_secret(), input.access.expose_secret());
    assert_eq!(source.settings, input.settings);
    drop(tx);
    let mut conn = world.store.worker_conn().await.unwrap();
    assert_eq!(
        campaigns::changed_since(&mut conn, None).await.unwrap(),
        [world.tenant]
    );
    let tenant = tidings_store::tenants::get(&mut conn, world.tenant)
        .await
        .unwrap();
    assert_eq!(
        tenant.approval_campaign_types.into_iter().collect::<Vec<_>>(),
        ask
    );
    let mut tx = world.store.tenant(world.other).tx().await.unwrap();
    assert!(sources::get(&mut tx).await.unwrap().is_none());
}

#[tokio::test]
async fn old_runs_are_forgotten_but_not_the_last_one_that_was_complete() {
    let mut world = world().await;
    let node = node(&mut world).await;
    for days in [-3, -2, -1] {
        create(&mut world, "seven_day_checkin", days).await;
        let run = claim(&world, node, world.now).await.unwrap();
        assert!(
            page(
                &world,
                &run,
                "k",
                vec![row("k", RowOutcome::Proposed, None)],
                world.now
            )
            .await
        );
        assert!(finish(&world, &run, Fate::Complete, world.now).await);
    }
    let mut conn = world.store.worker_conn().await.unwrap();
    assert_eq!(campaigns::forget(&mut conn, world.now, 1).await.unwrap(), 1);
    assert_eq!(campaigns::forget(&mut conn, world.now, 10).await.unwrap(), 1);
    assert_eq!(campaigns::forget(&mut conn, world.now, 10).await.unwrap(), 0);
    let mut tx = world.tx().await;
    let left = campaigns::list_runs(&mut tx, None, None, 10).await.unwrap().items;
    assert_eq!((left.len(), left[0].as_of), (1, day(&world, -1)));
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM campaign_rows")
        .fetch_one(&world.owner())
        .await
        .unwrap();
    assert_eq!(rows, 1);
}
