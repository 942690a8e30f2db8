//! Addresses on a provider's own list: suppressed here too, never twice, and never against what was lifted here.

use crate::hooks::{SendGrid, connect, picture, suppressions};
use crate::world::{World, direct};
use serde_json::{Value, json};
use tidings_core::{Channel, ContactId, MessageStatus, ProviderKind, SuppressionId};
use tidings_engine::providers::stand_in::http::{Behaviour, HttpStandIn, Reply};
use tidings_engine::store::suppressions as store;

const HOUR: i64 = 3_600;
/// The world's first instant.
const BEGINNING: i64 = 1_781_622_000;

fn page(rows: &Value) -> Behaviour {
    Behaviour::Answer(Reply::json(200, &rows.to_string()))
}

fn bounce(email: &str, created: i64) -> Value {
    json!({"created": created, "email": email, "reason": "550 no such user", "status": "5.1.1"})
}

struct Mirrored {
    world: World,
    stand_in: HttpStandIn,
    ann: ContactId,
}

/// A SendGrid connection whose lists (bounces, invalid addresses, complaints, unsubscribes) are these pages, one after the
/// other; nothing behind them.
async fn listing(pages: impl IntoIterator<Item = Behaviour>) -> Mirrored {
    let mut world = World::bare().await;
    let pages = pages.into_iter().chain([page(&json!([]))]).collect();
    let stand_in = HttpStandIn::script(pages);
    SendGrid::connect_at(&mut world, "mail", &stand_in.url()).await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    Mirrored { world, stand_in, ann }
}

impl Mirrored {
    async fn read(&self) -> usize {
        self.world.engine.reconcile_due().await.unwrap().mirrored
    }

    async fn accepted(&self, contact: ContactId) -> MessageStatus {
        // No two texts are the same: a repetition is held back for being one.
        let text = format!("news {}", self.stand_in.received().len());
        self.world.accept(direct(contact, &text)).await.unwrap().status
    }

    async fn lift(&self) {
        let ids = self
            .world
            .database
            .texts("SELECT id::text FROM suppressions WHERE lifted_at IS NULL")
            .await;
        let mut tx = self
            .world
            .engine
            .store()
            .worker_tenant(self.world.tenant)
            .tx()
            .await
            .unwrap();
        for id in ids {
            let id: SuppressionId = id.parse().unwrap();
            store::lift(&mut tx, id, "a person", self.world.now())
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn rows(&self) -> usize {
        self.world
            .database
            .texts("SELECT id::text FROM suppressions")
            .await
            .len()
    }
}

#[tokio::test]
async fn a_listed_address_is_not_written_to_any_more() {
    let mirrored = listing([page(&json!([bounce("Ann@Example.com", BEGINNING - 60)]))]).await;
    assert_ne!(mirrored.accepted(mirrored.ann).await, MessageStatus::Suppressed);
    assert_eq!(mirrored.read().await, 1);
    assert_eq!(suppressions(&mirrored.world).await, ["email hard_bounce"]);
    assert_eq!(mirrored.accepted(mirrored.ann).await, MessageStatus::Suppressed);
    let told = mirrored
        .world
        .database
        .texts("SELECT concat(source, ': ', detail) FROM suppressions")
        .await;
    assert_eq!(told, ["the list bounces of sendgrid: 5.1.1"]);
    // All four lists were asked for, from the beginning up to now.
    let received = mirrored.stand_in.received();
    let lines: Vec<&str> = received.iter().map(|request| request.line.as_str()).collect();
    assert_eq!(lines.len(), 4);
    for (line, list) in lines
        .iter()
        .zip(["bounces", "invalid_emails", "spam_reports", "unsubscribes"])
    {
        let start = format!("GET /v3/suppression/{list}?start_time=0&end_time={BEGINNING}&");
        assert!(line.starts_with(&start), "{line}");
    }
}

#[tokio::test]
async fn every_list_has_its_reason() {
    let row = |email: &str| json!({"created": BEGINNING - 60, "email": email});
    let mirrored = listing([
        page(&json!([])),
        page(&json!([row("a@example.com")])),
        page(&json!([row("b@example.com")])),
        page(&json!([row("c@example.com"), row("ann@example.com")])),
    ])
    .await;
    assert_eq!(mirrored.read().await, 4);
    assert_eq!(
        suppressions(&mirrored.world).await,
        [
            "email complaint",
            "email hard_bounce",
            "email unsubscribe",
            "email unsubscribe"
        ]
    );
}

#[tokio::test]
async fn lists_are_read_once_an_hour_from_the_last_look_on_and_nothing_twice() {
    let rows = page(&json!([
        bounce("ann@example.com", BEGINNING - 60),
        bounce("ann@example.com", BEGINNING - 50)
    ]));
    let empty = || page(&json!([]));
    let mirrored = listing([rows.clone(), empty(), empty(), empty(), rows.clone(), rows]).await;
    assert_eq!(mirrored.read().await, 1);
    mirrored.world.advance(HOUR - 60);
    assert_eq!(mirrored.read().await, 0);
    assert_eq!(mirrored.stand_in.received().len(), 4);
    mirrored.world.advance(60);
    assert_eq!((mirrored.read().await, mirrored.rows().await), (0, 1));
    let received = mirrored.stand_in.received();
    assert_eq!(received.len(), 8);
    let since = BEGINNING - 15 * 60;
    assert!(
        received[4]
            .line
            .contains(&format!("start_time={since}&end_time={}", BEGINNING + HOUR))
    );
}

#[tokio::test]
async fn what_was_lifted_here_stays_lifted_until_it_is_listed_again() {
    let old = page(&json!([bounce("ann@example.com", BEGINNING - 60)]));
    let newer = page(&json!([bounce("ann@example.com", BEGINNING + 3 * HOUR)]));
    let empty = || page(&json!([]));
    let mirrored = listing([
        old.clone(),
        empty(),
        empty(),
        empty(),
        old,
        empty(),
        empty(),
        empty(),
        newer,
    ])
    .await;
    assert_eq!(mirrored.read().await, 1);
    mirrored.world.advance(60);
    mirrored.lift().await;
    mirrored.world.advance(HOUR);
    assert_eq!(mirrored.read().await, 0);
    assert!(suppressions(&mirrored.world).await.is_empty());
    assert_ne!(mirrored.accepted(mirrored.ann).await, MessageStatus::Suppressed);
    // It bounced again after that.
    mirrored.world.advance(3 * HOUR);
    assert_eq!(mirrored.read().await, 1);
    assert_eq!(suppressions(&mirrored.world).await, ["email hard_bounce"]);
}

#[tokio::test]
async fn nothing_is_lifted_when_a_list_forgets_an_address() {
    let mirrored = listing([page(&json!([bounce("ann@example.com", BEGINNING - 60)]))]).await;
    assert_eq!(mirrored.read().await, 1);
    mirrored.world.advance(2 * HOUR);
    assert_eq!(mirrored.read().await, 0);
    assert_eq!(suppressions(&mirrored.world).await, ["email hard_bounce"]);
}

#[tokio::test]
async fn another_tenants_address_is_not_touched() {
    let mut mirrored = listing([page(&json!([bounce("ann@example.com", BEGINNING - 60)]))]).await;
    let other = mirrored.world.make_tenant("other").await;
    let ours = std::mem::replace(&mut mirrored.world.tenant, other);
    mirrored.world.connect(Channel::Email, json!({}), 0).await;
    let same = mirrored.world.contact(Some("ann@example.com"), None).await;
    assert_eq!(mirrored.read().await, 1);
    assert_ne!(mirrored.accepted(same).await, MessageStatus::Suppressed);
    let tenants = mirrored
        .world
        .database
        .texts("SELECT tenant_id::text FROM suppressions")
        .await;
    assert_eq!(tenants, [ours.to_string()]);
    mirrored.world.tenant = ours;
    assert_eq!(mirrored.accepted(mirrored.ann).await, MessageStatus::Suppressed);
}

#[tokio::test]
async fn what_is_no_list_changes_nothing_and_is_read_again() {
    let html = Reply {
        status: 200,
        headers: vec![("Content-Type", "text/html".to_owned())],
        body: "<html></html>".to_owned(),
    };
    let wrong = page(&json!({"result": [bounce("ann@example.com", BEGINNING - 60)]}));
    let empty = || page(&json!([]));
    let rows = json!([7, {"email": "x"}, {"created": BEGINNING, "email": "no address"}, bounce("ann@example.com", BEGINNING - 60)]);
    let mirrored = listing([Behaviour::Answer(html), wrong, empty(), empty(), page(&rows)]).await;
    let before = picture(&mirrored.world).await;
    assert_eq!(mirrored.read().await, 0);
    assert_eq!(picture(&mirrored.world).await, before);
    mirrored.world.advance(6 * 60);
    assert_eq!(mirrored.read().await, 1);
    // What can be read of it counts.
    assert_eq!(mirrored.rows().await, 1);
}

#[tokio::test]
async fn two_nodes_read_once() {
    let mirrored = listing([page(&json!([bounce("ann@example.com", BEGINNING - 60)]))]).await;
    let another = mirrored.world.another_engine(2).await;
    let (one, other) = tokio::join!(mirrored.world.engine.reconcile_due(), another.reconcile_due());
    assert_eq!(one.unwrap().mirrored + other.unwrap().mirrored, 1);
    assert_eq!(mirrored.stand_in.received().len(), 4);
}

#[tokio::test]
async fn pages_go_on_where_they_ended_and_begin_anew_when_their_name_is_refused() {
    let mut world = World::bare().await;
    let ses = |email: &str, next: Value| {
        page(&json!({"SuppressedDestinationSummaries":
            [{"EmailAddress": email, "Reason": "BOUNCE", "LastUpdateTime": BEGINNING - 60}], "NextToken": next}))
    };
    let no = json!({"message": "Invalid NextToken"});
    let refused = Reply::json(400, &no.to_string()).with("x-amzn-ErrorType", "BadRequestException");
    let stand_in = HttpStandIn::script(vec![
        ses("a@example.com", json!("two")),
        Behaviour::Answer(refused),
        ses("a@example.com", json!("two")),
        ses("b@example.com", json!(null)),
    ]);
    let config =
        json!({"from_email": "news@acme.example", "region": "eu-west-1", "base_url": stand_in.url()});
    let credentials = json!({"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "secret"});
    connect(
        &mut world,
        "mail",
        ProviderKind::Ses,
        Channel::Email,
        config,
        credentials,
    )
    .await;
    assert_eq!(world.engine.reconcile_due().await.unwrap().mirrored, 1);
    world.advance(6 * 60);
    assert_eq!(world.engine.reconcile_due().await.unwrap().mirrored, 1);
    let received = stand_in.received();
    let tokens: Vec<bool> = received
        .iter()
        .map(|request| request.line.contains("NextToken=two"))
        .collect();
    assert_eq!(tokens, [false, true, false, true]);
    assert_eq!(
        suppressions(&world).await,
        ["email hard_bounce", "email hard_bounce"]
    );
}
