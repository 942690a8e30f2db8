//! Calls of unknown outcome, repeated under a key that the provider remembers for a day.

use crate::world::{World, welcome};
use secrecy::SecretString;
use serde_json::json;
use tidings_core::alert::AlertRule;
use tidings_core::{
    AttemptOutcome, Category, Channel, Clock, ConnectionId, DeliveryState, MessageId, MessageStatus,
    ProviderKind,
};
use tidings_engine::providers::stand_in::http::{Behaviour, HttpStandIn, Reply};
use tidings_engine::store::connections::{self, ConnectionSettings, RateLimit};
use tidings_engine::{AcceptRequest, PersonDecides};

const HOUR: i64 = 3_600;

fn taking() -> HttpStandIn {
    HttpStandIn::start(Behaviour::Answer(Reply::json(200, r#"{"id":"re-1"}"#)))
}

fn settings(stand_in: &HttpStandIn, rate_limit: Option<RateLimit>) -> ConnectionSettings {
    ConnectionSettings {
        name: "resend".to_owned(),
        channel: Channel::Email,
        provider: ProviderKind::Resend,
        config: json!({ "from_email": "shop@brand.test", "base_url": stand_in.url() }),
        credentials: Some(SecretString::from(r#"{"api_key":"re_key"}"#.to_owned())),
        priority: 1,
        weight: 1,
        enabled: true,
        rate_limit,
        call_limit_ms: None,
    }
}

/// Points the connection somewhere else, as a network that heals does.
async fn point(world: &World, resend: ConnectionId, stand_in: &HttpStandIn) {
    let mut tx = world
        .engine
        .store()
        .worker_tenant(world.tenant)
        .tx()
        .await
        .unwrap();
    connections::update(&mut tx, resend, &settings(stand_in, None), world.clock.now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// The idempotency keys that arrived.
fn keys(stand_in: &HttpStandIn) -> Vec<String> {
    let requests = stand_in.received().into_iter();
    let headers = requests.flat_map(|request| request.headers);
    headers
        .filter(|(name, _)| name == "idempotency-key")
        .map(|(_, value)| value)
        .collect()
}

/// A message whose call was read and never answered, and its key.
struct Lost {
    world: World,
    resend: ConnectionId,
    message: MessageId,
    key: String,
}

async fn lost(category: Category, rate_limit: Option<RateLimit>) -> Lost {
    lost_in(World::bare().await, None, category, rate_limit).await
}

/// The same in a world that is there, for a contact who may have a telephone as well.
async fn lost_in(
    mut world: World,
    phone: Option<&str>,
    category: Category,
    rate_limit: Option<RateLimit>,
) -> Lost {
    let silent = HttpStandIn::start(Behaviour::Close);
    let mut tx = world
        .engine
        .store()
        .worker_tenant(world.tenant)
        .tx()
        .await
        .unwrap();
    let resend = connections::create(
        &mut tx,
        &settings(&silent, rate_limit),
        &mut world.dice,
        world.clock.now(),
    )
    .await
    .unwrap()
    .id;
    tx.commit().await.unwrap();
    let ann = world.contact(Some("ann@example.com"), phone).await;
    let request = AcceptRequest {
        category: Some(category),
        ..welcome(ann)
    };
    let message = world.accept(request).await.unwrap().message_id;
    world.run().await;
    let key = keys(&silent).pop().unwrap();
    let lost = Lost {
        world,
        resend,
        message,
        key,
    };
    assert_eq!(lost.states().await.0, DeliveryState::Unknown);
    lost
}

impl Lost {
    async fn states(&self) -> (DeliveryState, Vec<AttemptOutcome>) {
        let told = self.world.explain(self.message).await;
        let delivery = &told.deliveries[0];
        let outcomes = delivery.attempts.iter().map(|attempt| attempt.outcome);
        (delivery.state, outcomes.collect())
    }
}

#[tokio::test]
async fn the_same_connection_gets_the_same_key_again() {
    let mut lost = lost(Category::Service, None).await;
    // A better connection has come meanwhile; it knows nothing of the key.
    lost.world.connect(Channel::Email, json!({}), 0).await;
    let healed = taking();
    point(&lost.world, lost.resend, &healed).await;
    lost.world.advance(15);
    lost.world.run().await;
    assert_eq!(keys(&healed), [lost.key.clone()]);
    assert_eq!(lost.states().await.0, DeliveryState::Accepted);
    assert_eq!(lost.world.status(lost.message).await, MessageStatus::Sent);
    assert_eq!(lost.world.ledger().await.messages, 0, "nothing went another way");
}

#[tokio::test]
async fn a_refused_repetition_says_nothing_of_the_call_before() {
    let mut lost = lost(Category::Service, None).await;
    lost.world.connect(Channel::Email, json!({}), 0).await;
    let busy = HttpStandIn::start(Behaviour::Answer(Reply::json(
        503,
        r#"{"name":"service_unavailable","message":"no"}"#,
    )));
    point(&lost.world, lost.resend, &busy).await;
    lost.world.advance(15);
    lost.world.run().await;
    let unknown = AttemptOutcome::Unknown;
    assert_eq!(
        lost.states().await,
        (DeliveryState::Unknown, vec![unknown, unknown])
    );
    let healed = taking();
    point(&lost.world, lost.resend, &healed).await;
    for _ in 0..20 {
        lost.world.advance(60);
        lost.world.run().await;
    }
    assert_eq!(keys(&healed), [lost.key.clone()], "not another key, and once");
    assert_eq!(lost.states().await.0, DeliveryState::Accepted);
    assert_eq!(lost.world.ledger().await.messages, 0);
}

#[tokio::test]
async fn a_repetition_that_is_refused_for_its_credentials_is_an_alert() {
    let lost = lost(Category::Service, None).await;
    let refusing = HttpStandIn::start(Behaviour::Answer(Reply::json(
        401,
        r#"{"name":"invalid_api_key","message":"no"}"#,
    )));
    point(&lost.world, lost.resend, &refusing).await;
    lost.world.advance(15);
    lost.world.run().await;
    let refused = |alerts: &[tidings_engine::alerts::AlertTold]| {
        let of_rule = |rule| alerts.iter().filter(move |one| one.alert.rule == rule);
        of_rule(AlertRule::AuthFailure)
            .map(|one| one.alert.subject.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(refused(&lost.world.all_alerts().await), [lost.resend.to_string()]);
    assert_eq!(lost.states().await.0, DeliveryState::Unknown);
    // It can be found again from what is stored.
    lost.world.database.execute("DELETE FROM alerts").await;
    lost.world.engine.watch_now().await.unwrap();
    assert_eq!(refused(&lost.world.all_alerts().await), [lost.resend.to_string()]);
}

#[tokio::test]
async fn repetitions_end_and_a_person_decides() {
    let lost = lost(Category::Service, None).await;
    let deaf = HttpStandIn::start(Behaviour::Close);
    point(&lost.world, lost.resend, &deaf).await;
    for _ in 0..60 {
        lost.world.advance(60);
        lost.world.run().await;
    }
    assert_eq!(lost.states().await.0, DeliveryState::Held);
    assert!(keys(&deaf).iter().all(|key| *key == lost.key));
    assert_eq!(keys(&deaf).len(), 3);
    // A person's word is no repetition by evidence: any connection may carry it.
    let healed = taking();
    point(&lost.world, lost.resend, &healed).await;
    lost.world
        .engine
        .decide_unknown(lost.world.tenant, lost.message, PersonDecides::Resend)
        .await
        .unwrap();
    lost.world.advance(HOUR);
    lost.world.run().await;
    assert_eq!(lost.states().await.0, DeliveryState::Accepted);
}

#[tokio::test]
async fn a_key_that_may_be_forgotten_is_not_used() {
    // Nobody worked on it for a day: the policy decides, which holds service messages.
    let lost = lost(Category::Service, None).await;
    let healed = taking();
    point(&lost.world, lost.resend, &healed).await;
    lost.world.advance(24 * HOUR);
    lost.world.run().await;
    assert_eq!(lost.states().await.0, DeliveryState::Held);
    assert_eq!(keys(&healed).len(), 0);
}

#[tokio::test]
async fn a_repetition_that_had_to_wait_too_long_is_unknown_again() {
    let one_a_day = RateLimit {
        limit: 1,
        per_ms: 24 * 3_600 * 1_000,
    };
    let lost = lost(Category::Service, Some(one_a_day)).await;
    lost.world.advance(15);
    lost.world.run().await;
    assert_eq!(
        lost.states().await.0,
        DeliveryState::Queued,
        "it waits for the connection's limit"
    );
    lost.world.advance(49 * HOUR);
    lost.world.run().await;
    assert_eq!(
        lost.states().await.0,
        DeliveryState::Unknown,
        "its turn came after the key was forgotten"
    );
    // What is to be asked about stands in the line of its kind, too.
    lost.world.advance(25 * HOUR);
    lost.world.run().await;
    assert_eq!(
        lost.states().await,
        (DeliveryState::Held, vec![AttemptOutcome::Unknown])
    );
}

#[tokio::test]
async fn what_may_have_arrived_is_repeated_though_the_time_of_its_channel_is_over() {
    let mut world = World::bare().await;
    world.connect(Channel::Sms, json!({}), 0).await;
    world
        .policy(|policy| {
            policy.time_limits.channel_seconds = [(Channel::Email, 60)].into();
        })
        .await;
    let lost = lost_in(world, Some("+12025550142"), Category::Transactional, None).await;
    let (world, taking) = (&lost.world, taking());
    point(world, lost.resend, &taking).await;
    // Another channel follows, and the time of this one was over a minute ago.
    world.advance(120);
    world.run().await;
    let told = world.explain(lost.message).await;
    assert_eq!(told.deliveries.len(), 1, "{told:?}");
    assert_eq!(keys(&taking), [lost.key.as_str()]);
    assert_eq!(lost.states().await.0, DeliveryState::Accepted);
}
