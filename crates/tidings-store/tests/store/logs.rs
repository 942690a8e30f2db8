//! The event log and the audit chain.

use crate::world::{World, run, world};
use tidings_core::{Dice, MessageId};
use tidings_store::audit::{self, AuditEntry, AuditHead, OPERATOR};
use tidings_store::events::{self, EventFilter, NewEvent};
use tidings_store::{Result, StoreError};

fn entry(world: &World, n: u32) -> AuditEntry {
    AuditEntry {
        tenant: world.tenant,
        actor: "key ab12".to_owned(),
        action: "contact.update".to_owned(),
        object: format!("contact {n}"),
        contact: None,
        detail: Some(serde_json::json!({"n": n})),
    }
}

async fn chain(world: &World, entries: u32) -> AuditHead {
    let mut last = None;
    for n in 0..entries {
        let mut tx = world.tx().await;
        let keyring = tx.keyring();
        last = Some(
            audit::append(&mut tx, &keyring, entry(world, n), world.now)
                .await
                .unwrap(),
        );
        tx.commit().await.unwrap();
    }
    last.unwrap()
}

async fn verify(world: &World, head: Option<&AuditHead>) -> Result<i64> {
    let mut tx = world.tx().await;
    audit::verify(&mut tx, world.tenant, head).await
}

#[tokio::test]
async fn events_are_appended_in_a_batch_and_listed() {
    let mut world = world().await;
    let contact = world.contact("c-1", "a@example.com").await;
    let message = MessageId(world.dice.uuid(world.now));
    let event = |kind: &str, message| NewEvent {
        tenant: world.tenant,
        kind: kind.to_owned(),
        contact: Some(contact),
        message,
        subject: None,
        data: serde_json::json!({"attempt": 1}),
    };
    let batch = [
        event("MessageAccepted", Some(message)),
        event("MessageSent", Some(message)),
        event("ConsentGiven", None),
    ];
    let mut conn = world.store.worker().acquire().await.unwrap();
    events::append(&mut conn, &batch, &mut world.dice, world.now)
        .await
        .unwrap();
    events::append(&mut conn, &[], &mut world.dice, world.now)
        .await
        .unwrap();
    let mut tx = world.tx().await;
    let all = events::list(&mut tx, EventFilter::default(), None, 2)
        .await
        .unwrap();
    assert_eq!(all.items.len(), 2);
    assert_eq!(
        events::list(&mut tx, EventFilter::default(), all.next, 2)
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    let of_message = EventFilter {
        message: Some(message),
        kind: Some("MessageSent".to_owned()),
        contact: Some(contact),
    };
    assert_eq!(
        events::list(&mut tx, of_message, None, 9).await.unwrap().items[0].data["attempt"],
        1
    );
    let mut tx = world.store.tenant(world.other).tx().await.unwrap();
    assert!(
        events::list(&mut tx, EventFilter::default(), None, 9)
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn a_whole_chain_verifies_and_its_details_open() {
    let mut world = world().await;
    let contact = world.contact("c-1", "a@example.com").await;
    chain(&world, 3).await;
    let mut tx = world.tx().await;
    let keyring = tx.keyring();
    let personal = AuditEntry {
        contact: Some(contact),
        ..entry(&world, 9)
    };
    let head = audit::append(&mut tx, &keyring, personal, world.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(verify(&world, Some(&head)).await.unwrap(), 4);
    let mut tx = world.tx().await;
    let listed = audit::list(&mut tx, &keyring, world.tenant, None, 2)
        .await
        .unwrap();
    assert_eq!(
        listed
            .items
            .iter()
            .map(|r| r.detail.as_ref().unwrap()["n"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [9, 2]
    );
    assert_eq!(
        audit::list(&mut tx, &keyring, world.tenant, listed.next, 9)
            .await
            .unwrap()
            .items
            .len(),
        2
    );
    assert_eq!(audit::head(&mut tx, world.tenant).await.unwrap(), head);
}

#[tokio::test]
async fn the_operator_has_a_chain_of_its_own() {
    let world = world().await;
    let mut conn = world.store.worker().acquire().await.unwrap();
    let deed = AuditEntry {
        tenant: OPERATOR,
        detail: None,
        ..entry(&world, 1)
    };
    audit::append(&mut conn, world.store.keyring(), deed.clone(), world.now)
        .await
        .unwrap();
    assert_eq!(audit::verify(&mut conn, OPERATOR, None).await.unwrap(), 1);
    let with_detail = AuditEntry {
        detail: Some(serde_json::json!(1)),
        ..deed
    };
    let error = audit::append(&mut conn, world.store.keyring(), with_detail, world.now)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
}

#[tokio::test]
async fn an_entry_that_is_rolled_back_leaves_no_gap() {
    let world = world().await;
    chain(&world, 1).await;
    let mut tx = world.tx().await;
    let keyring = tx.keyring();
    audit::append(&mut tx, &keyring, entry(&world, 7), world.now)
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    chain(&world, 1).await;
    assert_eq!(verify(&world, None).await.unwrap(), 2);
}

#[tokio::test]
async fn every_tampering_is_found() {
    let world = world().await;
    let head = chain(&world, 6).await;
    let owner = world.owner();
    let mut dice = Dice::from_seed(7);
    let columns = ["actor", "action", "object"];
    run(&owner, "CREATE TABLE kept AS SELECT * FROM audit_log".to_owned())
        .await
        .unwrap();
    run(
        &owner,
        "CREATE TABLE kept_heads AS SELECT * FROM audit_heads".to_owned(),
    )
    .await
    .unwrap();
    for round in 0..60 {
        let seq = dice.below(6) + 1;
        let other = (seq % 6) + 1;
        let damage = match round % 8 {
            0 => format!("UPDATE audit_log SET {} = 'x' WHERE seq = {seq}", columns[dice.below(3) as usize]),
            1 => format!("UPDATE audit_log SET at = at + interval '1 microsecond' WHERE seq = {seq}"),
            2 => {
                let bit = dice.below(8 * 40);
                format!("UPDATE audit_log SET detail_sealed = set_bit(detail_sealed, {bit}, 1 - get_bit(detail_sealed, {bit})) WHERE seq = {seq}")
            }
            3 => {
                let bit = dice.below(256);
                format!("UPDATE audit_log SET hash = set_bit(hash, {bit}, 1 - get_bit(hash, {bit})) WHERE seq = {seq}")
            }
            4 => format!("DELETE FROM audit_log WHERE seq = {seq}"),
            5 => format!(
                "UPDATE audit_log a SET object = b.object, detail_sealed = b.detail_sealed FROM audit_log b
                 WHERE (a.seq, b.seq) IN (({seq}, {other}), ({other}, {seq}))"
            ),
            6 => format!("DELETE FROM audit_log WHERE seq >= {seq}"),
            // The tail cut, and the recorded end made to fit: only the exported head shows it.
            _ => format!(
                "WITH cut AS (DELETE FROM audit_log WHERE seq >= {seq})
                 UPDATE audit_heads SET seq = {seq} - 1, hash = coalesce((SELECT hash FROM audit_log WHERE seq = {seq} - 1),
                                                                         decode(repeat('00', 32), 'hex'))"
            ),
        };
        run(&owner, damage.clone()).await.unwrap();
        let found = verify(&world, Some(&head)).await;
        assert!(
            matches!(found, Err(StoreError::AuditBroken { .. })),
            "not found: {damage}"
        );
        for restore in [
            "DELETE FROM audit_log",
            "INSERT INTO audit_log SELECT * FROM kept",
            "DELETE FROM audit_heads",
            "INSERT INTO audit_heads SELECT * FROM kept_heads",
        ] {
            run(&owner, restore.to_owned()).await.unwrap();
        }
        assert_eq!(verify(&world, Some(&head)).await.unwrap(), 6);
    }
}
