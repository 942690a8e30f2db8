//! Webhooks that are applied in one transaction end as they would have one by one.

use crate::hooks::{SendGrid, Twilio, events, reference, suppressions};
use crate::world::{World, direct, welcome};
use serde_json::{Value, json};
use tidings_core::{Channel, DeliveryState, Dice, MessageId, MessageStatus};

/// Messages that the webhooks of a test are about.
const MESSAGES: usize = 4;
/// Webhooks of a test.
const WEBHOOKS: usize = 12;

/// What SendGrid may say, with what it says beside it.
fn kinds() -> [(&'static str, Value); 9] {
    [
        ("processed", json!({})),
        ("deferred", json!({"response": "451 later"})),
        ("delivered", json!({})),
        ("open", json!({})),
        ("click", json!({"url": "https://acme.example"})),
        ("bounce", json!({"type": "bounce", "status": "5.1.1"})),
        ("bounce", json!({"type": "bounce", "status": "4.2.2"})),
        ("bounce", json!({"type": "blocked", "status": "5.7.1"})),
        ("spamreport", json!({})),
    ]
}

struct Mails {
    world: World,
    grid: SendGrid,
    messages: Vec<MessageId>,
}

impl Mails {
    /// Messages that SendGrid took, each to somebody else.
    async fn sent() -> Self {
        let mut world = World::bare().await;
        let grid = SendGrid::connect(&mut world).await;
        let mut messages = Vec::new();
        for number in 0..MESSAGES {
            let contact = world.contact(Some(&format!("c{number}@example.com")), None).await;
            messages.push(world.accept(welcome(contact)).await.unwrap().message_id);
        }
        world.run().await;
        Self {
            world,
            grid,
            messages,
        }
    }

    /// Sends webhooks of up to three reports each, made up from a seed; lets the worker run after each, or after all.
    async fn report(&self, seed: u64, one_by_one: bool) {
        let mut dice = Dice::from_seed(seed);
        let (kinds, mut said) = (kinds(), 0);
        for _ in 0..WEBHOOKS {
            let mut webhook = Vec::new();
            for _ in 0..=dice.below(2) {
                let number = usize::try_from(dice.below(MESSAGES as u64)).unwrap();
                let kind = &kinds[usize::try_from(dice.below(kinds.len() as u64)).unwrap()];
                // Some are said again.
                said += dice.below(8).min(1);
                webhook.push(self.event(number, kind, said).await);
            }
            self.grid.send(&self.world, Value::Array(webhook)).await.unwrap();
            if one_by_one {
                self.world.run().await;
            }
        }
        self.world.run().await;
    }

    async fn event(&self, number: usize, (name, more): &(&str, Value), said: u64) -> Value {
        let message = self.messages[number];
        let id = format!("SELECT provider_message_id FROM deliveries WHERE message_id = '{message}'");
        let id = self.world.database.texts(&id).await.remove(0);
        let mut event = json!({
            "event": name, "sg_event_id": format!("e{said}"), "email": format!("c{number}@example.com"),
            "timestamp": 1_781_622_000 + said, "sg_message_id": format!("{id}.recvd-1"),
            "tidings_reference": reference(&self.world, message).await,
        });
        let Value::Object(more) = more else {
            panic!("{more}")
        };
        event.as_object_mut().unwrap().extend(more.clone());
        event
    }

    /// What became of each message, without the ids that chance gave.
    async fn told(&self) -> Vec<String> {
        let mut told = Vec::new();
        for message in &self.messages {
            for query in [
                "SELECT concat_ws(' ', status, status_provenance, sent_at, delivered_at, opened_at, clicked_at, failed_at) FROM messages WHERE id = ",
                "SELECT concat_ws(' ', state, attempt_no) FROM deliveries WHERE message_id = ",
                "SELECT concat_ws(' ', kind, bounce_class, dedupe_key, occurred_at) FROM delivery_events WHERE message_id = ",
                "SELECT concat_ws(' ', kind, data) FROM event_log WHERE message_id = ",
            ] {
                // The clock stands still, so nothing says which of them came first.
                let query = format!("{query} '{message}' ORDER BY 1");
                told.extend(self.world.database.texts(&query).await);
            }
        }
        let addresses = "SELECT concat_ws(' ', valid, known_bad) FROM addresses ORDER BY 1";
        let suppressed = "SELECT concat_ws(' ', reason, channel) FROM suppressions ORDER BY 1";
        let jobs = "SELECT status FROM communication_jobs WHERE job_type = 'webhook.process' ORDER BY 1";
        for query in [addresses, suppressed, jobs] {
            told.extend(self.world.database.texts(query).await);
        }
        told
    }

    /// Transactions that marked webhooks as applied.
    async fn transactions(&self) -> usize {
        let query = "SELECT DISTINCT xmin::text FROM webhook_inbox WHERE processed_at IS NOT NULL";
        self.world.database.texts(query).await.len()
    }
}

#[tokio::test]
async fn the_end_is_the_same_as_one_by_one() {
    for seed in 1..=6 {
        let (one_by_one, together) = (Mails::sent().await, Mails::sent().await);
        one_by_one.report(seed, true).await;
        together.report(seed, false).await;
        assert_eq!(together.told().await, one_by_one.told().await, "seed {seed}");
        assert_eq!(one_by_one.transactions().await, WEBHOOKS);
        assert_eq!(together.transactions().await, 1, "they share one");
    }
}

#[tokio::test]
async fn one_that_cannot_be_read_holds_up_no_other() {
    let mails = Mails::sent().await;
    for number in 0..MESSAGES {
        let event = mails.event(number, &kinds()[2], 10 + number as u64).await;
        mails.grid.send(&mails.world, json!([event])).await.unwrap();
    }
    let spoilt = "UPDATE webhook_inbox SET sealed = '\\x00' WHERE id = (SELECT id FROM webhook_inbox ORDER BY id LIMIT 1)";
    assert_eq!(mails.world.database.execute(spoilt).await, 1);
    mails.world.run().await;
    let mut sent = 0;
    for message in &mails.messages {
        match mails.world.status(*message).await {
            MessageStatus::Delivered => {}
            MessageStatus::Sent => sent += 1,
            other => panic!("{message}: {other}"),
        }
    }
    assert_eq!(sent, 1, "all but one are applied");
    let mut jobs = mails.world.jobs("webhook.process").await;
    jobs.sort();
    assert_eq!(jobs, ["complete", "complete", "complete", "pending"]);
}

#[tokio::test]
async fn what_is_large_is_divided_and_nothing_of_it_is_lost() {
    let mails = Mails::sent().await;
    let open = ("open", json!({}));
    let (mut said, mut dice) = (0, Dice::from_seed(1));
    // Twelve that a second transaction has to help with, and one that takes too much to be read beside others.
    for (reports, noise) in [vec![(100, 0); 12], vec![(600, 8)]].concat() {
        let mut webhook = vec![mails.event(0, &open, said).await; reports];
        for event in &mut webhook {
            said += 1;
            let noise: String = (0..noise)
                .map(|_| dice.uuid(mails.world.now()).to_string())
                .collect();
            event["sg_event_id"] = json!(format!("e{said}{noise}"));
        }
        mails
            .grid
            .send(&mails.world, Value::Array(webhook))
            .await
            .unwrap();
    }
    mails.world.run().await;
    assert_eq!(said, 1_800);
    assert_eq!(
        mails
            .world
            .database
            .texts("SELECT count(*) FROM delivery_events")
            .await,
        ["1800"]
    );
    assert_eq!(mails.transactions().await, 3);
    let jobs = mails.world.jobs("webhook.process").await;
    assert_eq!(jobs, ["complete"; 13]);
}

/// A text that Twilio took, with mail behind it in the chain.
struct Text {
    world: World,
    twilio: Twilio,
    message: MessageId,
}

impl Text {
    async fn sent() -> Self {
        let mut world = World::bare().await;
        world.connect(Channel::Email, json!({}), 0).await;
        Self::sent_in(world).await
    }

    async fn sent_in(mut world: World) -> Self {
        let twilio = Twilio::connect(&mut world).await;
        let ann = world.contact(Some("ann@example.com"), Some("+12025550123")).await;
        let mut request = direct(ann, "Your car is ready.");
        request.channel = Some(Channel::Sms);
        let message = world.accept(request).await.unwrap().message_id;
        world.run().await;
        Self {
            world,
            twilio,
            message,
        }
    }

    /// Twilio says these, and the worker runs once.
    async fn says(&self, told: &[(&str, &str)]) {
        let sid = "SELECT provider_message_id FROM deliveries WHERE channel = 'sms'";
        let sid = self.world.database.texts(sid).await.remove(0);
        let query = format!("?reference={}", reference(&self.world, self.message).await);
        for (status, code) in told {
            let fields = [
                ("MessageSid", sid.as_str()),
                ("MessageStatus", status),
                ("ErrorCode", code),
                ("To", "+12025550123"),
            ];
            self.twilio.send(&self.world, &query, &fields).await.unwrap();
        }
        self.world.run().await;
    }

    async fn states(&self) -> Vec<(Channel, DeliveryState)> {
        let told = self.world.explain(self.message).await;
        let deliveries = told.deliveries.iter();
        deliveries
            .map(|delivery| (delivery.channel, delivery.state))
            .collect()
    }
}

#[tokio::test]
async fn a_failure_and_an_arrival_at_once_send_nothing_more() {
    use DeliveryState::{Delivered, Stopped};
    // Whichever comes first, the text arrived: what the failure began is called off before it leaves.
    let (failed, arrived) = (("undelivered", "30005"), ("delivered", "0"));
    let cases = [
        (
            [failed, arrived],
            vec![(Channel::Sms, Delivered), (Channel::Email, Stopped)],
        ),
        ([arrived, failed], vec![(Channel::Sms, Delivered)]),
    ];
    for (told, states) in cases {
        let text = Text::sent().await;
        text.says(&told).await;
        assert_eq!(text.states().await, states, "{told:?}");
        assert_eq!(text.world.status(text.message).await, MessageStatus::Delivered);
        assert_eq!(text.world.ledger().await.messages, 0, "no mail left");
    }
}

#[tokio::test]
async fn both_channels_of_a_message_may_arrive_at_once() {
    let mut world = World::bare().await;
    let grid = SendGrid::connect(&mut world).await;
    let text = Text::sent_in(world).await;
    // The text fails, so a mail takes over.
    text.says(&[("undelivered", "30005")]).await;
    let id = "SELECT provider_message_id FROM deliveries WHERE channel = 'email'";
    let id = text.world.database.texts(id).await.remove(0);
    let arrived = json!([{
        "event": "delivered", "sg_event_id": "e1", "email": "ann@example.com", "timestamp": 1_781_622_000,
        "sg_message_id": format!("{id}.recvd-1"),
    }]);
    // What the mail's arrival did to the message is known when the text's arrival is looked at.
    grid.send(&text.world, arrived).await.unwrap();
    text.says(&[("delivered", "0")]).await;
    assert_eq!(
        text.states().await,
        [
            (Channel::Sms, DeliveryState::Delivered),
            (Channel::Email, DeliveryState::Delivered)
        ]
    );
    assert_eq!(text.world.status(text.message).await, MessageStatus::Delivered);
    assert_eq!(events(&text.world, "MessageDelivered").await, 1);
}

#[tokio::test]
async fn two_words_for_one_failure_are_one_more_try() {
    let text = Text::sent().await;
    text.says(&[("undelivered", "30008"), ("failed", "30008"), ("failed", "30008")])
        .await;
    assert_eq!(text.states().await, [(Channel::Sms, DeliveryState::RetryWait)]);
    assert_eq!(events(&text.world, "DeliveryRetried").await, 1);
}

#[tokio::test]
async fn what_people_write_is_taken_in_beside_reports() {
    let text = Text::sent().await;
    text.twilio
        .text(&text.world, 1, "+12025550123", "stop")
        .await
        .unwrap();
    text.says(&[("sent", "0"), ("delivered", "0")]).await;
    assert_eq!(text.world.status(text.message).await, MessageStatus::Delivered);
    assert_eq!(suppressions(&text.world).await, ["sms stop"]);
    let inbound = text
        .world
        .database
        .texts("SELECT keyword FROM inbound_messages")
        .await;
    assert_eq!(inbound.len(), 1);
    assert_eq!(
        text.world.jobs("webhook.process").await,
        ["complete", "complete", "complete"]
    );
}
