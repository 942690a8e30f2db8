//! Campaigns over a dealership's own database: every due row once, and every one accounted for.

use crate::dealer::{Dealer, TODAY, counts, name};
use crate::world::{World, engine};
use jiff::SignedDuration;
use serde_json::json;
use std::time::Duration;
use tidings_core::MessageStatus;
use tidings_engine::source::demo::{Dealership, DemoAddress};
use tidings_engine::store::campaigns::{RowOutcome, RunState};
use tidings_engine::{ApprovalEdit, Limits, Switch, Works};
use tidings_testkit::TemporaryFile;

const DAY: SignedDuration = SignedDuration::from_hours(24);

#[tokio::test]
async fn every_due_row_becomes_one_message_or_is_listed_with_its_reason() {
    let world = World::new().await;
    let mut dealer = Dealer::default();
    for id in 1..=6 {
        dealer.customer(id);
        dealer.machine(100 + id, id, 7);
    }
    dealer.machine(200, 1, 6);
    dealer.machine(201, 1, 8);
    dealer.machine(202, 99, 7);
    dealer.0.emails[1].address = tidings_core::redact::Private::new("nonsense".to_owned());
    dealer.0.emails.remove(2);
    dealer.0.customers[3].opt_out_email = true;
    let file = dealer.write().await;
    world.source(&file).await;

    let first = world.campaign("seven_day_checkin").await;
    assert_eq!(
        counts(&first),
        [
            (RowOutcome::Proposed, 3),
            (RowOutcome::Suppressed, 1),
            (RowOutcome::Malformed, 1),
            (RowOutcome::Unreachable, 2)
        ]
    );
    let rows = world.rows(&first).await;
    let of = |key: &str| rows.iter().find(|row| row.key == key).unwrap();
    assert_eq!(of("102").code.as_deref(), Some("address.malformed"));
    assert_eq!(of("103").code.as_deref(), Some("address.missing"));
    assert_eq!(of("202").code.as_deref(), Some("customer.missing"));
    assert_eq!(of("104").outcome, RowOutcome::Suppressed);
    let sent = world.explain(of("101").message_id.unwrap()).await;
    assert_eq!(sent.status, MessageStatus::Sent);

    // The same moment again: nothing is sent twice.
    let second = world.campaign("seven_day_checkin").await;
    assert_eq!(second.outcomes[&RowOutcome::Proposed], 0);
    assert_eq!(second.outcomes[&RowOutcome::Duplicate], 4);
    assert_eq!(world.ledger().await.messages, 3);
}

#[tokio::test]
async fn a_whole_dealership_adds_up_and_no_occurrence_is_proposed_twice() {
    let world = World::new().await;
    let file = TemporaryFile::new("db");
    Dealership::generate(11, 400, TODAY)
        .load_sqlite(file.path())
        .await
        .unwrap();
    world.source(&file).await;
    for campaign in tidings_core::campaign::built_in() {
        let coverage = world.campaign(campaign.name.as_str()).await;
        assert_eq!(coverage.run.state, RunState::Complete, "{coverage:?}");
        assert!(coverage.balanced, "{coverage:?}");
        assert!(coverage.run.scanned >= coverage.run.due);
    }
    let twice = world
        .database
        .texts("SELECT source_reference FROM messages GROUP BY source_reference HAVING count(*) > 1")
        .await;
    assert!(twice.is_empty(), "{twice:?}");
    assert!(world.ledger().await.messages > 20);
}

#[tokio::test]
async fn one_late_run_makes_up_for_every_day_that_was_missed() {
    let world = World::new().await;
    let mut dealer = Dealer::default();
    for id in 1..=5 {
        dealer.customer(id);
        // Seven days old today, yesterday, ... and one that comes due tomorrow.
        dealer.machine(100 + id, id, 9 - i32::try_from(id).unwrap() + 1);
    }
    let file = dealer.write().await;
    world.source(&file).await;
    world.clock.set("2026-06-13T20:00:00Z".parse().unwrap());
    world.engine.sync_schedules(None).await.unwrap();
    // A first run on the 14th, then nothing for two days.
    world.clock.set("2026-06-14T14:00:00Z".parse().unwrap());
    world.engine.decide_moments().await.unwrap();
    world.engine.run_campaigns_due(None).await.unwrap();
    world.clock.set("2026-06-16T15:00:00Z".parse().unwrap());
    let another = world.another_engine(77).await;
    let (one, other) = tokio::join!(world.engine.decide_moments(), another.decide_moments());
    one.unwrap();
    other.unwrap();
    world.engine.run_campaigns_due(None).await.unwrap();
    let runs = world.runs(world.tenant, "seven_day_checkin").await;
    assert_eq!(
        runs.len(),
        2,
        "one run for the moments of two days, on two nodes: {runs:?}"
    );
    assert_eq!(runs[1].outcomes[&RowOutcome::Proposed], 1, "{:?}", runs[1]);
    assert_eq!(runs[0].outcomes[&RowOutcome::Proposed], 2, "{:?}", runs[0]);
    assert_eq!(runs[0].run.as_of, "2026-06-16T14:00:00Z".parse().unwrap());
}

#[tokio::test]
async fn what_a_late_run_finds_too_late_is_suppressed_and_nothing_is_called_wrong_with_the_row() {
    let world = World::new().await;
    let mut dealer = Dealer::default();
    dealer.customer(1);
    dealer.invoice(1, 1, 40);
    let file = dealer.write().await;
    world.source(&file).await;
    world
        .change("invoice_reminder", json!({"expires_after_hours": 1}))
        .await;
    world.clock.set("2026-06-16T12:00:00Z".parse().unwrap());
    world.engine.sync_schedules(None).await.unwrap();
    world.clock.set("2026-06-16T20:00:00Z".parse().unwrap());
    world.engine.decide_moments().await.unwrap();
    world.engine.run_campaigns_due(None).await.unwrap();
    let run = world.runs(world.tenant, "invoice_reminder").await.remove(0);
    assert_eq!(counts(&run), [(RowOutcome::Suppressed, 1)]);
    assert_eq!(run.reasons[0].code.as_deref(), Some("expired"));
}

#[tokio::test]
async fn caps_decide_about_five_machines_that_are_due_on_one_day() {
    let world = World::new().await;
    let mut dealer = Dealer::default();
    dealer.customer(1);
    for id in 1..=5 {
        dealer.machine(id, 1, 7);
    }
    let file = dealer.write().await;
    world.source(&file).await;
    let coverage = world.campaign("seven_day_checkin").await;
    assert_eq!(
        counts(&coverage),
        [(RowOutcome::Proposed, 3), (RowOutcome::Held, 2)]
    );
    assert_eq!(world.ledger().await.messages, 3);
    // A cap defers, it never strands.
    world.clock.advance(DAY);
    world.run().await;
    assert_eq!(world.ledger().await.messages, 5);
}

#[tokio::test]
async fn marketing_needs_the_consent_the_source_knows_of_and_a_persons_no_outranks_it() {
    let world = World::new().await;
    let mut dealer = Dealer::default();
    for id in 1..=3 {
        dealer.customer(id);
        dealer.machine(id, id, 365 - 7);
    }
    dealer.0.customers[1].marketing_consent = Some(false);
    let file = dealer.write().await;
    world.source(&file).await;
    let coverage = world.campaign("anniversary_offer").await;
    assert_eq!(
        counts(&coverage),
        [(RowOutcome::Proposed, 2), (RowOutcome::Suppressed, 1)]
    );
    let refused = &coverage
        .reasons
        .iter()
        .find(|one| one.outcome == RowOutcome::Suppressed)
        .unwrap();
    assert_eq!(refused.code.as_deref(), Some("consent.missing"));
}

#[tokio::test]
async fn a_source_that_fails_is_an_entry_of_the_report_and_delays_nobody_else() {
    let mut world = World::new().await;
    let other = world.make_tenant("other").await;
    let mut dealer = Dealer::default();
    dealer.customer(1);
    dealer.machine(1, 1, 7);
    let file = dealer.write().await;
    world.source(&file).await;
    world.source_of(other, "/nowhere/at/all.db").await;
    world.clock.set("2026-06-16T13:00:00Z".parse().unwrap());
    world.engine.sync_schedules(None).await.unwrap();
    world.clock.set("2026-06-16T14:30:00Z".parse().unwrap());
    world.engine.decide_moments().await.unwrap();
    world.engine.run_campaigns_due(None).await.unwrap();
    let healthy = world.runs(world.tenant, "seven_day_checkin").await;
    assert_eq!(healthy[0].outcomes[&RowOutcome::Proposed], 1);
    let broken = world.runs(other, "seven_day_checkin").await;
    let error = broken[0].run.last_error.clone().unwrap();
    assert!(error.contains("/nowhere/at/all.db"), "{error}");
    assert_ne!(broken[0].run.state, RunState::Complete);
    // It is tried again for a while, then given up, always with the reason.
    for _ in 0..8 {
        world.clock.advance(SignedDuration::from_hours(1));
        world.engine.run_campaigns_due(None).await.unwrap();
    }
    let broken = world.runs(other, "seven_day_checkin").await;
    assert_eq!(broken[0].run.state, RunState::Failed);
    assert!(broken[0].run.last_error.is_some());
}

#[tokio::test]
async fn a_campaign_that_asks_waits_for_a_yes_that_may_change_the_words() {
    let world = World::new().await;
    let mut dealer = Dealer::default();
    for id in 1..=2 {
        dealer.customer(id);
        dealer.machine(id, id, 7);
    }
    let file = dealer.write().await;
    world.source(&file).await;
    world.change("seven_day_checkin", json!({"approval": true})).await;
    let coverage = world.campaign("seven_day_checkin").await;
    assert_eq!(counts(&coverage), [(RowOutcome::Held, 2)]);
    assert_eq!(world.ledger().await.messages, 0);
    let waiting = world
        .engine
        .approvals(world.tenant, None, 10)
        .await
        .unwrap()
        .items;
    assert_eq!(waiting.len(), 2);
    let edit = json!({"equipment": "beautiful new mower"})
        .as_object()
        .unwrap()
        .clone();
    let edit = ApprovalEdit::Context(tidings_core::redact::Private::new(edit));
    let message = waiting[0].message_id;
    world
        .engine
        .approve_edited(world.tenant, message, edit)
        .await
        .unwrap();
    world.run().await;
    assert_eq!(world.ledger().await.messages, 1);
    let store = world.engine.store();
    let mail = tidings_engine::sandbox_mail(store, world.tenant, None, 10)
        .await
        .unwrap();
    let said = serde_json::to_string(mail[0].content.expose()).unwrap();
    assert!(said.contains("beautiful new mower"), "{said}");
    // Nobody says yes to the other: it is cancelled, not forgotten.
    world.clock.advance(SignedDuration::from_hours(80));
    world.run().await;
    assert_eq!(
        world.status(waiting[1].message_id).await,
        MessageStatus::Cancelled
    );
}

#[tokio::test]
async fn who_got_nothing_is_told_which_condition_failed_and_when_that_changes() {
    let world = World::new().await;
    let mut dealer = Dealer::default();
    for id in 1..=3 {
        dealer.customer(id);
    }
    dealer.machine(1, 1, 9);
    dealer.machine(2, 2, 5);
    dealer.invoice(1, 1, 10);
    let file = dealer.write().await;
    world.source(&file).await;
    let ask = async |contact: &str, campaign: &str| {
        world
            .engine
            .explain_campaign(world.tenant, contact, &name(campaign))
            .await
            .unwrap()
    };
    let passed = ask("1", "seven_day_checkin").await;
    assert!(
        passed.answer.contains("9 days ago") && passed.answer.contains('7'),
        "{}",
        passed.answer
    );
    let early = ask("2", "seven_day_checkin").await;
    assert_eq!(early.rows[0].changes_at.as_deref(), Some("2026-06-18"));
    let none = ask("3", "seven_day_checkin").await;
    assert!(none.answer.contains("no row in equipment"), "{}", none.answer);
    let stranger = ask("77", "seven_day_checkin").await;
    assert!(
        stranger.answer.contains("no such customer"),
        "{}",
        stranger.answer
    );
    let invoice = ask("1", "invoice_reminder").await;
    assert_eq!(invoice.rows[0].changes_at.as_deref(), Some("2026-07-06"));
    world.change("invoice_reminder", json!({"enabled": false})).await;
    let off = ask("1", "invoice_reminder").await;
    assert_eq!(off.switch, Switch::OffByDefinition);
    assert!(off.answer.contains("switched off"), "{}", off.answer);
}

#[tokio::test]
async fn a_check_says_campaign_by_campaign_what_works() {
    let world = World::new().await;
    let mut dealer = Dealer::default();
    dealer.customer(1);
    dealer.machine(1, 1, 7);
    dealer.0.phones.push(DemoAddress {
        id: 1,
        customer: 1,
        address: tidings_core::redact::Private::new("+13125550142".to_owned()),
        primary: true,
    });
    let file = dealer.write().await;
    world.source(&file).await;
    let found = world.engine.check_source(world.tenant, 3).await.unwrap().unwrap();
    let of = |campaign: &str| {
        found
            .campaigns
            .iter()
            .find(|one| one.campaign.as_str() == campaign)
            .unwrap()
    };
    assert_eq!(
        of("seven_day_checkin").works,
        Works::Works,
        "{:?}",
        of("seven_day_checkin")
    );
    assert_eq!(of("seven_day_checkin").due, 1);
    assert_eq!(of("seven_day_checkin").sample[0].key, "1");
    assert_eq!(found.campaigns.len(), tidings_core::campaign::built_in().len());
    let missing = world.engine.check_source(world.tenant, 0).await.unwrap().unwrap();
    assert!(missing.campaigns.iter().all(|one| one.sample.is_empty()));
}

#[tokio::test]
async fn a_page_that_takes_longer_than_the_lease_keeps_its_run() {
    let world = World::new().await;
    let mut dealer = Dealer::default();
    dealer.customer(1);
    dealer.machine(101, 1, 7);
    let file = dealer.write().await;
    world.source(&file).await;
    let limits = Limits {
        lease: Duration::from_secs(1),
        ..Limits::default()
    };
    let slow = engine(&world.database, &world.keyring, &world.clock, 2, limits).await;
    let run = slow
        .run_campaign_now(world.tenant, &name("seven_day_checkin"))
        .await
        .unwrap();

    // The page stands still at its contacts until it is told to go on.
    let held = world.database.execute(
        "DO $$ BEGIN LOCK TABLE contacts; WHILE NOT EXISTS (SELECT FROM pg_class WHERE relname = 'go_on') LOOP PERFORM pg_sleep(0.01); END LOOP; END $$",
    );
    let taken = "SELECT 1 FROM pg_locks WHERE relation = 'contacts'::regclass AND granted AND mode = 'AccessExclusiveLock'";
    let waits = "SELECT 1 FROM pg_locks WHERE relation = 'contacts'::regclass AND NOT granted";
    let turn = async {
        until(&world, taken).await;
        slow.run_campaigns_due(None).await.unwrap()
    };
    let beside = async {
        until(&world, waits).await;
        // By the clock the lease of the claim is over now; the next sign of life renews it.
        world.clock.advance(SignedDuration::from_secs(2));
        let now = world.now();
        until(
            &world,
            &format!("SELECT 1 FROM campaign_runs WHERE lease_until > '{now}'"),
        )
        .await;
        let others = world.engine.run_campaigns_due(None).await.unwrap();
        world.database.execute("CREATE TABLE go_on ()").await;
        others
    };
    let (_, turns, others) = futures::join!(held, turn, beside);
    assert_eq!((turns, others), (1, 0), "nobody else takes it");
    let coverage = world.coverage(run).await;
    assert_eq!(coverage.run.state, RunState::Complete);
    assert_eq!(counts(&coverage), [(RowOutcome::Proposed, 1)]);
    assert_eq!(
        world.database.texts("SELECT claim FROM campaign_runs").await,
        ["1"]
    );
}

/// Waits until a query finds something.
async fn until(world: &World, query: &str) {
    let asked = async {
        while world.database.texts(query).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), asked)
        .await
        .unwrap_or_else(|_| panic!("nothing ever came of {query}"));
}
