//! How much a batch asks of the database: the same whatever its size.

use crate::world::{World, welcome};
use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidings_core::ContactId;
use tidings_core::redact::Private;
use tidings_engine::{AcceptRequest, InlineContact, Recipient};
use tidings_testkit::TestDatabase;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Counts the statements that the driver logs.
struct Statements(Arc<AtomicUsize>);

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        // The planner's statistics are made in the background, for no batch in particular.
        let mut told = Told(String::new());
        event.record(&mut told);
        if event.metadata().target() == "sqlx::query" && !told.0.contains("refresh_statistics") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Everything an event says.
struct Told(String);

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

fn inline(number: usize) -> AcceptRequest {
    let contact = InlineContact {
        // Every second one is known by its address alone.
        external_id: number.is_multiple_of(2).then(|| format!("customer-{number}")),
        email: Some(Private::new(format!("ann{number}@example.com"))),
        phone: Some(Private::new(format!("+1202555{:04}", 1000 + number))),
        ..InlineContact::default()
    };
    let mut request = welcome(ContactId(uuid::Uuid::nil()));
    request.to = Recipient::Contact(contact);
    request
}

async fn statements(world: &World, requests: Vec<AcceptRequest>) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let guard = tracing::subscriber::set_default(Statements(Arc::clone(&count)));
    let answers = world.engine.accept(world.tenant, requests).await;
    drop(guard);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    count.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_batch_costs_as_many_statements_as_two_requests() {
    let world = World::new().await;
    // Templates, tenant and keys are known from here on.
    statements(&world, vec![inline(0)]).await;
    for of in ["new", "known"] {
        let few = statements(&world, (10..12).map(inline).collect()).await;
        let many = statements(&world, (100..300).map(inline).collect()).await;
        assert!(
            many <= few,
            "{of} contacts: {few} statements for 2, {many} for 200"
        );
        assert!(few <= 20, "{of} contacts: {few} statements");
    }
}

/// Rows and index entries that were read in each table: what statements cost, whatever the machine.
async fn reads(database: &TestDatabase) -> BTreeMap<String, i64> {
    let read = "SELECT t.relname || ' ' || (coalesce(t.seq_tup_read, 0) + coalesce(sum(i.idx_tup_read), 0))
        FROM pg_stat_user_tables t LEFT JOIN pg_stat_user_indexes i ON i.relid = t.relid
        GROUP BY t.relid, t.relname, t.seq_tup_read";
    let told = database.texts(read).await;
    let pair = |line: &String| {
        let (table, rows) = line.split_once(' ').unwrap();
        (table.to_owned(), rows.parse().unwrap())
    };
    told.iter().map(pair).collect()
}

/// Waits until a table has statistics.
async fn analysed(database: &TestDatabase, table: &str) {
    let known = format!("SELECT 1 FROM pg_class WHERE oid = '{table}'::regclass AND reltuples > 0");
    for _ in 0..100_000 {
        if !database.texts(&known).await.is_empty() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{table} was not analysed");
}

async fn accept_for_each(world: &World, contacts: &[ContactId], times: usize) {
    for _ in 0..times {
        let requests = contacts.iter().map(|contact| welcome(*contact)).collect();
        let answers = world.engine.accept(world.tenant, requests).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
}

/// Nobody analyses these tables but the engine itself: what an import into a new database meets before autovacuum does.
#[tokio::test]
async fn new_tables_are_read_by_their_keys() {
    let mut world = World::new().await;
    let statement = "DO $$ DECLARE t regclass; BEGIN
            FOR t IN SELECT relid FROM pg_stat_user_tables LOOP
                EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = false)', t);
            END LOOP;
        END $$";
    world.database.execute(statement).await;
    let mut contacts = Vec::new();
    for n in 0..200 {
        contacts.push(world.contact(Some(&format!("c{n}@example.com")), None).await);
    }
    accept_for_each(&world, &contacts, 1).await;
    analysed(&world.database, "messages").await;
    world.run().await;
    analysed(&world.database, "attempts").await;
    accept_for_each(&world, &contacts, 9).await;
    world.run().await;
    assert_eq!(world.ledger().await.messages, 2_000);
    let World { database, engine, .. } = world;
    // A session's reads are added up when it ends.
    engine.close().await;
    engine.store().close().await;
    let messages = 2_000;
    for (table, rows) in reads(&database).await {
        // The history of a contact is ten messages long, and the first messages met tables without statistics.
        assert!(
            rows <= 100 * messages,
            "{table}: {rows} rows read for {messages} messages"
        );
    }
}
