//! Keys on a real database.

use crate::world::{World, address, connect, world};
use sqlx::AssertSqlSafe;
use tidings_core::redact::Private;
use tidings_core::{ContactId, TenantId};
use tidings_store::connections::{self, ConnectionSettings};
use tidings_store::contacts::{self, AddressKind, ContactInput};
use tidings_store::{Keyring, MasterKey, Place, SealError};
use uuid::Uuid;

fn master(id: &str, digit: char) -> MasterKey {
    MasterKey::parse(id, &digit.to_string().repeat(64)).unwrap()
}

const fn place(tenant: TenantId, row: ContactId) -> Place {
    Place::new("contacts", "name_sealed", tenant, row.0)
}

async fn insert_contact(world: &mut World, conn: &mut sqlx::PgConnection) -> ContactId {
    let id = ContactId(world.dice.uuid(world.now));
    sqlx::query("INSERT INTO contacts (tenant_id, id, created_at, updated_at) VALUES ($1, $2, now(), now())")
        .bind(world.tenant.0)
        .bind(id.0)
        .execute(conn)
        .await
        .unwrap();
    id
}

#[tokio::test]
async fn keys_are_made_once_and_shared_by_nodes() {
    let mut world = world().await;
    let mut conn = world.store.worker().acquire().await.unwrap();
    let one = insert_contact(&mut world, &mut conn).await;
    let two = insert_contact(&mut world, &mut conn).await;
    let pairs = [(world.tenant, one), (world.tenant, two), (world.tenant, one)];
    let keyring = world.store.keyring().clone();
    let none = keyring.existing_contact_keys(&mut conn, &pairs).await.unwrap();
    assert_eq!(none.get(world.tenant, one).unwrap_err(), SealError::NoKey(one));
    let keys = keyring.contact_keys(&mut conn, &pairs, world.now).await.unwrap();
    let place = place(world.tenant, one);
    let blob = keys.get(world.tenant, one).unwrap().seal(&place, b"Ann").unwrap();
    assert!(keys.get(world.tenant, two).unwrap().open(&place, &blob).is_err());
    let again = keyring.contact_keys(&mut conn, &pairs, world.now).await.unwrap();
    let text = again
        .get(world.tenant, one)
        .unwrap()
        .open_text(&place, &blob)
        .unwrap();
    assert_eq!(text.expose(), "Ann");
    assert_eq!(world.count("SELECT count(*) FROM contact_keys").await, 2);
}

#[tokio::test]
async fn a_key_of_a_rolled_back_transaction_is_not_remembered() {
    let mut world = world().await;
    let keyring = world.store.keyring().clone();
    let mut conn = world.store.worker().acquire().await.unwrap();
    let contact = insert_contact(&mut world, &mut conn).await;
    let pair = [(world.tenant, contact)];
    let mut tx = world.store.worker().begin().await.unwrap();
    let lost = keyring.contact_keys(&mut tx, &pair, world.now).await.unwrap();
    keyring.existing_contact_keys(&mut tx, &pair).await.unwrap();
    let mut savepoint = sqlx::Acquire::begin(&mut *tx).await.unwrap();
    keyring
        .existing_contact_keys(&mut savepoint, &pair)
        .await
        .unwrap();
    savepoint.commit().await.unwrap();
    let blob = lost
        .get(world.tenant, contact)
        .unwrap()
        .seal(&place(world.tenant, contact), b"Ann")
        .unwrap();
    tx.rollback().await.unwrap();
    let fresh = keyring.contact_keys(&mut conn, &pair, world.now).await.unwrap();
    assert!(
        fresh
            .get(world.tenant, contact)
            .unwrap()
            .open(&place(world.tenant, contact), &blob)
            .is_err()
    );
}

#[tokio::test]
async fn a_master_key_is_rotated_and_the_old_one_can_go() {
    let database = tidings_testkit::database().await;
    let now = jiff::Timestamp::UNIX_EPOCH;
    let old = connect(
        &database.url,
        Keyring::new(vec![master("old", 'a')]).unwrap(),
        now,
    )
    .await
    .unwrap();
    let mut dice = tidings_core::Dice::from_seed(1);
    let mut tenants = Vec::new();
    for n in 0..7 {
        tenants.push(crate::world::new_tenant(&old, &format!("t{n}"), &mut dice, now).await);
    }
    let mut tx = old.tenant(tenants[3]).tx().await.unwrap();
    let input = ContactInput {
        name: Some(Private::new("Ann".to_owned())),
        addresses: vec![address(AddressKind::Email, "ann@example.com")],
        ..ContactInput::default()
    };
    let contact = contacts::upsert(&mut tx, input, None, &mut dice, now)
        .await
        .unwrap()
        .id;
    tx.commit().await.unwrap();

    let both = Keyring::new(vec![master("new", 'b'), master("old", 'a')]).unwrap();
    let store = connect(&database.url, both, now).await.unwrap();
    let mut conn = store.worker().acquire().await.unwrap();
    let done = store.keyring().rotate_master_key(&mut conn, now).await.unwrap();
    assert_eq!((done.rewrapped, done.retired), (7, 1));
    let again = store.keyring().rotate_master_key(&mut conn, now).await.unwrap();
    assert_eq!((again.rewrapped, again.retired), (0, 0));

    let only_new = connect(
        &database.url,
        Keyring::new(vec![master("new", 'b')]).unwrap(),
        now,
    )
    .await
    .unwrap();
    let mut tx = only_new.tenant(tenants[3]).tx().await.unwrap();
    assert_eq!(
        contacts::get(&mut tx, contact)
            .await
            .unwrap()
            .name
            .unwrap()
            .expose(),
        "Ann"
    );
}

#[tokio::test]
async fn a_rotation_that_stopped_half_way_goes_on() {
    let database = tidings_testkit::database().await;
    let now = jiff::Timestamp::UNIX_EPOCH;
    let store = connect(
        &database.url,
        Keyring::new(vec![master("old", 'a')]).unwrap(),
        now,
    )
    .await
    .unwrap();
    let mut dice = tidings_core::Dice::from_seed(1);
    crate::world::new_tenant(&store, "first", &mut dice, now).await;
    let both = Keyring::new(vec![master("new", 'b'), master("old", 'a')]).unwrap();
    let store = connect(&database.url, both, now).await.unwrap();
    // Made after the switch: wrapped by the new key already, as if a first run had done it.
    crate::world::new_tenant(&store, "second", &mut dice, now).await;
    let mut conn = store.worker().acquire().await.unwrap();
    assert_eq!(
        store
            .keyring()
            .rotate_master_key(&mut conn, now)
            .await
            .unwrap()
            .rewrapped,
        1
    );
}

#[tokio::test]
async fn a_wrapped_key_moved_to_another_tenant_does_not_open() {
    let world = world().await;
    let swap = "UPDATE tenant_keys SET wrapped = (SELECT wrapped FROM tenant_keys WHERE tenant_id = $2) WHERE tenant_id = $1";
    sqlx::query(swap)
        .bind(world.tenant.0)
        .bind(world.other.0)
        .execute(&world.owner())
        .await
        .unwrap();
    let mut conn = world.store.worker().acquire().await.unwrap();
    // A second node, without anything cached, and the same master key is what would read it; this one has nothing cached either.
    let error = world
        .store
        .keyring()
        .tenant_key(&mut conn, world.tenant)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("tenant_keys.wrapped"), "{error}");
}

#[tokio::test]
async fn plain_text_is_nowhere_in_the_database() {
    let mut world = world().await;
    let canary = format!(
        "canary{}",
        Uuid::from_u128(world.dice.below(u64::MAX).into()).simple()
    );
    let contact = world.contact("c-1", &format!("{canary}@example.com")).await;
    let mut tx = world.tx().await;
    let attributes = serde_json::json!({"secret": canary}).as_object().unwrap().clone();
    let input = ContactInput {
        external_id: Some("c-1".to_owned()),
        name: Some(Private::new(canary.clone())),
        attributes: Some(Private::new(attributes)),
        addresses: vec![address(AddressKind::Phone, &canary)],
        ..ContactInput::default()
    };
    contacts::upsert(&mut tx, input, None, &mut world.dice, world.now)
        .await
        .unwrap();
    let settings = ConnectionSettings {
        name: "main".to_owned(),
        channel: tidings_core::Channel::Email,
        provider: tidings_core::ProviderKind::Smtp,
        config: serde_json::json!({}),
        credentials: Some(secrecy::SecretString::from(canary.clone())),
        priority: 0,
        weight: 1,
        enabled: true,
        call_limit_ms: None,
        rate_limit: None,
    };
    connections::create(&mut tx, &settings, &mut world.dice, world.now)
        .await
        .unwrap();
    let keyring = tx.keyring();
    let deed = tidings_store::audit::AuditEntry {
        tenant: world.tenant,
        actor: "test".to_owned(),
        action: "contact.update".to_owned(),
        object: format!("contact {contact}"),
        contact: Some(contact),
        detail: Some(serde_json::json!({"name": canary})),
    };
    tidings_store::audit::append(&mut tx, &keyring, deed, world.now)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        contacts::get(&mut world.tx().await, contact)
            .await
            .unwrap()
            .name
            .unwrap()
            .expose(),
        &canary
    );
    assert_eq!(files_with(&world, &canary).await, Vec::<String>::new());

    // The search itself works: what is kept readable is found.
    crate::world::new_tenant(&world.store, "acme-with-a-long-name", &mut world.dice, world.now).await;
    assert!(
        files_with(&world, "acme-with")
            .await
            .contains(&"tenants".to_owned())
    );
}

/// The tables and indexes whose files hold the text, in plain or as hexadecimal or base64.
async fn files_with(world: &World, text: &str) -> Vec<String> {
    use base64::Engine as _;
    let owner = world.owner();
    sqlx::query("CHECKPOINT").execute(&owner).await.unwrap();
    let mut found = Vec::new();
    // Whole groups of three bytes only: the rest depends on what follows.
    let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&text[..text.len() / 3 * 3]);
    let forms = [text.to_owned(), hex::encode(text), encoded];
    let relations: Vec<String> = sqlx::query_scalar(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'i', 't')
         AND (relnamespace = 'public'::regnamespace OR relnamespace = 'pg_toast'::regnamespace AND relname LIKE 'pg_toast_%')
         AND oid >= 16384 AND pg_relation_size(oid) > 0",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    for relation in relations {
        let sql = "SELECT pg_read_binary_file(pg_relation_filepath($1::regclass))";
        let bytes: Vec<u8> = sqlx::query_scalar(sql)
            .bind(&relation)
            .fetch_one(&owner)
            .await
            .unwrap();
        let holds = |form: &String| bytes.windows(form.len()).any(|window| window == form.as_bytes());
        if forms.iter().any(holds) {
            found.push(relation);
        }
    }
    found
}

#[tokio::test]
async fn ten_thousand_seals_are_quick() {
    let mut world = world().await;
    let mut conn = world.store.worker().acquire().await.unwrap();
    let ids: Vec<Uuid> = (0..2000).map(|_| world.dice.uuid(world.now)).collect();
    let insert = "INSERT INTO contacts (tenant_id, id, created_at, updated_at) SELECT $1, id, now(), now() FROM unnest($2::uuid[]) AS f (id)";
    sqlx::query(AssertSqlSafe(insert))
        .bind(world.tenant.0)
        .bind(&ids)
        .execute(&mut *conn)
        .await
        .unwrap();
    let pairs: Vec<_> = ids.iter().map(|id| (world.tenant, ContactId(*id))).collect();
    let started = std::time::Instant::now();
    let keys = world
        .store
        .keyring()
        .contact_keys(&mut conn, &pairs, world.now)
        .await
        .unwrap();
    for (tenant, contact) in &pairs {
        let key = keys.get(*tenant, *contact).unwrap();
        for _ in 0..5 {
            key.seal(&place(*tenant, *contact), &[7; 500]).unwrap();
        }
    }
    // Generous: an unoptimised build on a busy machine. It fails when a batch turns into a query per contact.
    assert!(
        started.elapsed() < std::time::Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}
