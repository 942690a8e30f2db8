//! Suppressions.

use crate::world::{World, code, world};
use tidings_core::decide::facts::SuppressionReason;
use tidings_core::{Channel, ContactId};
use tidings_store::suppressions::{self, NewSuppression, SuppressionFilter};
use tidings_store::{BlindIndex, StoreError, contacts};

async fn index_of(world: &World, contact: ContactId) -> BlindIndex {
    let mut tx = world.tx().await;
    contacts::get(&mut tx, contact).await.unwrap().addresses[0].blind_index
}

fn new(world: &World, blind_index: BlindIndex, reason: SuppressionReason) -> NewSuppression {
    NewSuppression {
        tenant: world.tenant,
        channel: Channel::Email,
        blind_index,
        reason,
        source: "test".to_owned(),
        detail: Some("5.1.1 <a@example.com>".to_owned()),
    }
}

#[tokio::test]
async fn a_suppression_is_entered_once_listed_and_lifted() {
    let mut world = world().await;
    let contact = world.contact("c-1", "a@example.com").await;
    let index = index_of(&world, contact).await;
    let bounce = new(&world, index, SuppressionReason::HardBounce);
    let complaint = new(&world, index, SuppressionReason::Complaint);
    let mut tx = world.tx().await;
    let items = [bounce.clone(), complaint, bounce];
    assert_eq!(
        suppressions::add(&mut tx, &items, &mut world.dice, world.now)
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        suppressions::add(&mut tx, &items[..1], &mut world.dice, world.now)
            .await
            .unwrap(),
        0
    );

    let in_force = suppressions::in_force(&mut tx, &[(world.tenant, index)])
        .await
        .unwrap();
    assert_eq!(in_force.len(), 2);
    assert!(
        suppressions::in_force(&mut tx, &[(world.other, index)])
            .await
            .unwrap()
            .is_empty()
    );

    let filter = SuppressionFilter {
        reason: Some(SuppressionReason::HardBounce),
        ..SuppressionFilter::default()
    };
    let listed = suppressions::list(&mut tx, filter, None, 10).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    assert_eq!(
        (&listed.items[0].contacts, &listed.items[0].detail),
        (&vec![contact], &None),
        "an address was kept as detail"
    );

    let id = listed.items[0].id;
    suppressions::lift(&mut tx, id, "operator", world.now)
        .await
        .unwrap();
    let again = suppressions::lift(&mut tx, id, "operator", world.now).await;
    assert!(matches!(again, Err(StoreError::NotFound { .. })));
    let reasons = [SuppressionReason::Complaint, SuppressionReason::Stop];
    let lifted = suppressions::lift_matching(&mut tx, Channel::Email, index, &reasons, "START", world.now)
        .await
        .unwrap();
    assert_eq!(lifted, 1);
    assert!(
        suppressions::in_force(&mut tx, &[(world.tenant, index)])
            .await
            .unwrap()
            .is_empty()
    );
    let all = SuppressionFilter {
        with_lifted: true,
        ..SuppressionFilter::default()
    };
    assert_eq!(
        suppressions::list(&mut tx, all, None, 10)
            .await
            .unwrap()
            .items
            .len(),
        2
    );
    assert_eq!(
        suppressions::add(&mut tx, &items[..1], &mut world.dice, world.now)
            .await
            .unwrap(),
        1,
        "entered anew"
    );
}

#[tokio::test]
async fn a_suppression_locks_every_contact_with_the_address() {
    let mut world = world().await;
    let first = world.contact("c-1", "shared@example.com").await;
    let second = world.contact("c-2", "shared@example.com").await;
    let item = new(
        &world,
        index_of(&world, first).await,
        SuppressionReason::Unsubscribe,
    );
    let mut tx = world.store.worker().begin().await.unwrap();
    suppressions::add(&mut tx, &[item], &mut world.dice, world.now)
        .await
        .unwrap();
    for contact in [first, second] {
        let gate = "SELECT id FROM contacts WHERE tenant_id = $1 AND id = $2 FOR SHARE NOWAIT";
        let mut gate_tx = world.store.worker().begin().await.unwrap();
        let blocked = sqlx::query(gate)
            .bind(world.tenant.0)
            .bind(contact.0)
            .execute(&mut *gate_tx)
            .await;
        assert_eq!(code(&blocked.unwrap_err()), "55P03");
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_suppression_with_an_end_is_prolonged_never_shortened_and_ends() {
    let mut world = world().await;
    let contact = world.contact("c-1", "a@example.com").await;
    let index = index_of(&world, contact).await;
    let soft = new(&world, index, SuppressionReason::SoftBounce);
    let day = |days: i64| world.now + jiff::SignedDuration::from_hours(24 * days);
    let mut tx = world.tx().await;
    let filter = SuppressionFilter {
        with_lifted: true,
        ..SuppressionFilter::default()
    };
    for (until, expect) in [(day(3), day(3)), (day(2), day(3)), (day(5), day(5))] {
        suppressions::add_until(&mut tx, soft.clone(), until, &mut world.dice, world.now)
            .await
            .unwrap();
        let listed = suppressions::list(&mut tx, filter, None, 10).await.unwrap();
        assert_eq!(listed.items.len(), 1);
        assert_eq!(listed.items[0].expires_at, Some(expect));
    }
    // Its time is over before anybody swept: the next one is another.
    suppressions::add_until(&mut tx, soft, day(40), &mut world.dice, day(10))
        .await
        .unwrap();
    let listed = suppressions::list(&mut tx, filter, None, 10).await.unwrap();
    let lifted: Vec<_> = listed.items.iter().map(|item| item.lifted_at).collect();
    assert_eq!(lifted, [None, Some(day(5))]);
    assert_eq!(suppressions::lift_expired(&mut tx, 10, day(39)).await.unwrap(), 0);
    assert_eq!(suppressions::lift_expired(&mut tx, 10, day(40)).await.unwrap(), 1);
    assert!(
        suppressions::in_force(&mut tx, &[(world.tenant, index)])
            .await
            .unwrap()
            .is_empty()
    );
}
