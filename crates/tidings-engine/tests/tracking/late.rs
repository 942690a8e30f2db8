//! A text that the provider took and that failed later: the next channel takes over, once, and never from one that arrived.

use crate::hooks::{Sandbox, Twilio, events, reference, suppressions};
use crate::world::{World, direct};
use serde_json::json;
use tidings_core::{Channel, ConnectionId, ContactId, DeliveryState, MessageId, MessageStatus};

struct Sent {
    world: World,
    twilio: Twilio,
    email: ConnectionId,
    ann: ContactId,
    message: MessageId,
    sid: String,
    query: String,
}

/// A text that Twilio took, with mail behind it in the chain.
async fn sent() -> Sent {
    let mut world = World::bare().await;
    let twilio = Twilio::connect(&mut world).await;
    let email = world.connect(Channel::Email, json!({}), 0).await;
    let ann = world.contact(Some("ann@example.com"), Some("+12025550123")).await;
    let mut request = direct(ann, "Your car is ready.");
    request.channel = Some(Channel::Sms);
    let message = world.accept(request).await.unwrap().message_id;
    world.run().await;
    let sid = world
        .database
        .texts("SELECT provider_message_id FROM deliveries")
        .await
        .remove(0);
    let query = format!("?reference={}", reference(&world, message).await);
    assert_eq!(world.status(message).await, MessageStatus::Sent);
    assert_eq!(world.jobs("send_sms").await, ["complete"]);
    Sent {
        world,
        twilio,
        email,
        ann,
        message,
        sid,
        query,
    }
}

impl Sent {
    /// Twilio reports; applied when the worker runs.
    async fn say(&self, status: &str) {
        let fields = [
            ("MessageSid", self.sid.as_str()),
            ("MessageStatus", status),
            ("ErrorCode", if status == "delivered" { "0" } else { "30005" }),
            ("To", "+12025550123"),
        ];
        self.twilio.send(&self.world, &self.query, &fields).await.unwrap();
    }

    /// Twilio reports a failure with a code, about the attempt of that number.
    async fn fails(&self, status: &str, code: &str, attempt: usize) {
        let sids =
            "SELECT p.provider_message_id FROM provider_messages p JOIN deliveries d ON d.id = p.delivery_id
            WHERE d.channel = 'sms' ORDER BY 1";
        let sids = self.world.database.texts(sids).await;
        let query = format!("?reference={}", self.reference(attempt).await);
        let fields = [
            ("MessageSid", sids[attempt - 1].as_str()),
            ("MessageStatus", status),
            ("ErrorCode", code),
            ("To", "+12025550123"),
        ];
        self.twilio.send(&self.world, &query, &fields).await.unwrap();
        self.world.run().await;
    }

    async fn reference(&self, attempt: usize) -> String {
        let ids = "SELECT id::text FROM deliveries WHERE channel = 'sms'";
        format!("{}-{attempt}", self.world.database.texts(ids).await[0])
    }

    /// Whether mail can go out.
    async fn mail(&self, enabled: bool) {
        self.world
            .configure(self.email, Channel::Email, json!({}), enabled)
            .await;
    }

    async fn states(&self) -> Vec<(Channel, DeliveryState)> {
        let told = self.world.explain(self.message).await;
        told.deliveries
            .iter()
            .map(|delivery| (delivery.channel, delivery.state))
            .collect()
    }

    async fn status(&self) -> MessageStatus {
        self.world.status(self.message).await
    }

    async fn mails(&self) -> i64 {
        self.world.ledger().await.messages
    }
}

#[tokio::test]
async fn a_text_that_fails_after_it_was_taken_falls_back_once() {
    let sent = sent().await;
    // Both words for the same failure, each twice, and an older word after them.
    for status in ["undelivered", "failed", "undelivered", "failed", "sent"] {
        sent.say(status).await;
        sent.world.run().await;
    }
    assert_eq!(
        sent.states().await,
        [
            (Channel::Sms, DeliveryState::Failed),
            (Channel::Email, DeliveryState::Accepted)
        ]
    );
    assert_eq!(sent.status().await, MessageStatus::Sent);
    assert_eq!(sent.world.jobs("send_sms").await, ["failed_fallback_email"]);
    assert_eq!(sent.world.jobs("send_email").await, ["complete"]);
    assert_eq!(sent.mails().await, 1);
    assert_eq!(events(&sent.world, "FallbackStarted").await, 1);
    let tallies = "SELECT concat(outcome, ' ', sum(n)) FROM job_tallies WHERE job_type = 'send_sms' GROUP BY outcome ORDER BY 1";
    assert_eq!(
        sent.world.database.texts(tallies).await,
        ["complete 0", "failed_fallback_email 1"]
    );
    let error =
        "SELECT error_category || ': ' || last_error FROM communication_jobs WHERE job_type = 'send_sms'";
    assert!(sent.world.database.texts(error).await[0].contains("(30005)"));
}

#[tokio::test]
async fn a_text_that_fails_for_now_is_tried_again_as_often_as_tries_allow_and_then_falls_back() {
    let sent = sent().await;
    for attempt in 1..=4 {
        assert_eq!(sent.world.attempts(sent.message).await, attempt);
        // Both words for one failure, the second of them twice: one more try, not three.
        for status in ["undelivered", "failed", "failed"] {
            sent.fails(status, "30008", attempt).await;
        }
        if attempt < 4 {
            assert_eq!(sent.states().await, [(Channel::Sms, DeliveryState::RetryWait)]);
            assert_eq!(sent.status().await, MessageStatus::Sent);
            sent.world.advance(20 * 60);
            sent.world.run().await;
            assert_eq!(sent.states().await, [(Channel::Sms, DeliveryState::Accepted)]);
        }
    }
    assert_eq!(
        sent.states().await,
        [
            (Channel::Sms, DeliveryState::Failed),
            (Channel::Email, DeliveryState::Accepted)
        ]
    );
    assert_eq!(
        (sent.mails().await, sent.status().await),
        (1, MessageStatus::Sent)
    );
    assert_eq!(events(&sent.world, "DeliveryRetried").await, 3);
    assert_eq!(events(&sent.world, "FallbackStarted").await, 1);
}

#[tokio::test]
async fn a_text_that_arrives_while_it_waits_is_not_sent_again() {
    let sent = sent().await;
    sent.fails("undelivered", "30008", 1).await;
    assert_eq!(sent.states().await, [(Channel::Sms, DeliveryState::RetryWait)]);
    sent.say("delivered").await;
    sent.world.run().await;
    sent.world.advance(20 * 60);
    sent.world.run().await;
    assert_eq!(sent.world.attempts(sent.message).await, 1);
    assert_eq!(sent.states().await, [(Channel::Sms, DeliveryState::Delivered)]);
    assert_eq!(sent.status().await, MessageStatus::Delivered);
}

#[tokio::test]
async fn what_is_known_to_have_arrived_does_not_fall_back() {
    let sent = sent().await;
    sent.say("delivered").await;
    sent.world.run().await;
    sent.say("undelivered").await;
    sent.world.run().await;
    assert_eq!(sent.states().await, [(Channel::Sms, DeliveryState::Delivered)]);
    assert_eq!(sent.status().await, MessageStatus::Delivered);
    assert_eq!(
        (sent.mails().await, events(&sent.world, "FallbackStarted").await),
        (0, 0)
    );
}

#[tokio::test]
async fn a_fallback_is_called_off_when_the_text_arrives_after_all() {
    let sent = sent().await;
    sent.mail(false).await;
    sent.say("undelivered").await;
    sent.world.run().await;
    assert_eq!(sent.states().await[1], (Channel::Email, DeliveryState::Queued));
    sent.say("delivered").await;
    sent.world.run().await;
    assert_eq!(
        sent.states().await,
        [
            (Channel::Sms, DeliveryState::Delivered),
            (Channel::Email, DeliveryState::Stopped)
        ]
    );
    sent.mail(true).await;
    sent.world.advance(3600);
    sent.world.run().await;
    assert_eq!(sent.mails().await, 0);
    assert_eq!(sent.status().await, MessageStatus::Delivered);
    assert_eq!(sent.world.jobs("send_email").await, ["cancelled"]);
    assert_eq!(events(&sent.world, "FallbackCalledOff").await, 1);
    // It failed once more, they say; it had arrived.
    sent.say("failed").await;
    sent.world.run().await;
    assert_eq!(sent.status().await, MessageStatus::Delivered);
    assert_eq!((sent.mails().await, sent.states().await.len()), (0, 2));
}

#[tokio::test]
async fn a_fallback_that_went_out_is_not_undone_and_the_message_is_delivered() {
    let sent = sent().await;
    sent.say("undelivered").await;
    sent.world.run().await;
    sent.say("delivered").await;
    sent.world.run().await;
    assert_eq!(
        sent.states().await,
        [
            (Channel::Sms, DeliveryState::Delivered),
            (Channel::Email, DeliveryState::Accepted)
        ]
    );
    assert_eq!(sent.status().await, MessageStatus::Delivered);
    assert_eq!(events(&sent.world, "FallbackCalledOff").await, 0);
}

#[tokio::test]
async fn the_gate_decides_about_the_fallback_and_the_message_fails_when_it_says_no() {
    let sent = sent().await;
    sent.world.stop(sent.ann, Channel::Email).await;
    sent.say("undelivered").await;
    sent.world.run().await;
    assert_eq!(
        sent.states().await,
        [
            (Channel::Sms, DeliveryState::Failed),
            (Channel::Email, DeliveryState::Stopped)
        ]
    );
    assert_eq!(sent.status().await, MessageStatus::Failed);
    assert_eq!(sent.mails().await, 0);
    // Still, it arrived in the end.
    sent.say("delivered").await;
    sent.world.run().await;
    assert_eq!(sent.status().await, MessageStatus::Delivered);
}

#[tokio::test]
async fn a_fallback_that_fails_as_well_ends_the_message_as_failed() {
    let sent = sent().await;
    let refusing = "UPDATE connections SET config = '{\"fault\": \"rejected\"}' WHERE channel = 'email'";
    assert_eq!(sent.world.database.execute(refusing).await, 1);
    sent.say("failed").await;
    sent.world.run().await;
    assert_eq!(sent.states().await[1], (Channel::Email, DeliveryState::Failed));
    assert_eq!(sent.status().await, MessageStatus::Failed);
}

#[tokio::test]
async fn without_a_next_channel_the_message_fails() {
    let sent = sent().await;
    sent.world
        .database
        .execute("UPDATE deliveries SET chain = ARRAY['sms']")
        .await;
    sent.say("undelivered").await;
    sent.world.run().await;
    assert_eq!(sent.status().await, MessageStatus::Failed);
    assert_eq!((sent.mails().await, sent.states().await.len()), (0, 1));
    assert_eq!(sent.world.jobs("send_sms").await, ["complete"]);
}

#[tokio::test]
async fn an_unknown_outcome_that_turns_out_to_have_failed_falls_back_and_is_not_sent_again() {
    let sent = sent().await;
    // The answer to the call was lost: the delivery waits to be asked about, its job with it.
    for lost in [
        "UPDATE deliveries SET state = 'unknown', provider_message_id = NULL",
        "UPDATE attempts SET outcome = 'unknown'",
        "UPDATE messages SET status = 'queued', status_provenance = 'inferred', sent_at = NULL",
        "UPDATE communication_jobs SET status = 'pending', finished_at = NULL WHERE job_type = 'send_sms'",
        "INSERT INTO job_arrivals SELECT id FROM communication_jobs WHERE job_type = 'send_sms'",
    ] {
        assert_eq!(sent.world.database.execute(lost).await, 1, "{lost}");
    }
    sent.say("undelivered").await;
    sent.world.database.execute("DELETE FROM job_arrivals").await;
    sent.world.run().await;
    sent.world
        .database
        .execute("INSERT INTO job_arrivals SELECT id FROM communication_jobs WHERE status = 'pending'")
        .await;
    sent.world.run().await;
    assert_eq!(
        sent.states().await,
        [
            (Channel::Sms, DeliveryState::Failed),
            (Channel::Email, DeliveryState::Accepted)
        ]
    );
    assert_eq!(sent.world.attempts(sent.message).await, 2, "one text, one mail");
    assert_eq!(sent.world.jobs("send_sms").await, ["failed_fallback_email"]);
    assert_eq!(sent.status().await, MessageStatus::Sent);
}

#[tokio::test]
async fn a_failure_of_an_attempt_that_was_repeated_is_old_news() {
    let sent = sent().await;
    sent.world
        .database
        .execute(
            "UPDATE deliveries SET attempt_no = 2, provider_message_id = 'SMother', reference = id || '-2'",
        )
        .await;
    sent.say("undelivered").await;
    sent.world.run().await;
    assert_eq!(sent.states().await, [(Channel::Sms, DeliveryState::Accepted)]);
    assert_eq!(sent.status().await, MessageStatus::Sent);
}

#[tokio::test]
async fn a_number_that_opted_out_at_the_provider_is_stopped_and_mail_takes_over() {
    let sent = sent().await;
    let fields = [
        ("MessageSid", sent.sid.as_str()),
        ("MessageStatus", "undelivered"),
        ("ErrorCode", "21610"),
        ("To", "+12025550123"),
    ];
    sent.twilio.send(&sent.world, &sent.query, &fields).await.unwrap();
    sent.world.run().await;
    assert_eq!(suppressions(&sent.world).await, ["sms stop"]);
    assert_eq!(sent.mails().await, 1);
}

#[tokio::test]
async fn whatsapp_gives_way_to_text_and_text_to_mail() {
    let mut world = World::bare().await;
    let whatsapp = Sandbox::connect(&mut world, Channel::Whatsapp).await;
    let sms = Sandbox::connect(&mut world, Channel::Sms).await;
    world.connect(Channel::Email, json!({}), 0).await;
    let ann = world.contact(Some("ann@example.com"), Some("+12025550123")).await;
    // She wrote within the last day, so free text may go to her.
    whatsapp
        .text(&world, "in-1", Channel::Whatsapp, "+12025550123", "Is it ready?")
        .await
        .unwrap();
    world.run().await;
    let mut request = direct(ann, "Your car is ready.");
    request.channel = Some(Channel::Whatsapp);
    let message = world.accept(request).await.unwrap().message_id;
    world.run().await;
    for (name, connection) in [("w", &whatsapp), ("s", &sms)] {
        let event = json!({
            "dedupe_key": name, "kind": "failed", "occurred_at": null, "provider_message_id": null,
            "reference": reference(&world, message).await, "recipient": null, "bounce_class": null,
            "error": ["permanent", "131026"], "suppress": null, "detail": null,
        });
        connection
            .send(&world, name, json!({"events": [event]}))
            .await
            .unwrap();
        world.run().await;
    }
    let told = world.explain(message).await;
    let states: Vec<_> = told
        .deliveries
        .iter()
        .map(|delivery| (delivery.channel, delivery.state))
        .collect();
    assert_eq!(
        states,
        [
            (Channel::Whatsapp, DeliveryState::Failed),
            (Channel::Sms, DeliveryState::Failed),
            (Channel::Email, DeliveryState::Accepted)
        ]
    );
    assert_eq!(told.status, MessageStatus::Sent);
    assert_eq!(world.jobs("send_sms").await, ["failed_fallback_email"]);
}
