//! How much a batch asks of the database: the same whatever its size.

use crate::world::{World, welcome};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidings_core::ContactId;
use tidings_core::redact::Private;
use tidings_engine::{AcceptRequest, InlineContact, Recipient};
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
        if event.metadata().target() == "sqlx::query" {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
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
