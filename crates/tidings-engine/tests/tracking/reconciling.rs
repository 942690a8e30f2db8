//! What became of a message whose last report never came: asked for a few times, applied once.

use crate::hooks::{Twilio, connect, deliver, events, picture, suppressions};
use crate::world::{World, direct, welcome};
use serde_json::{Value, json};
use tidings_core::event::DeliveryEventKind;
use tidings_core::{
    Channel, ConnectionId, ContactId, DeliveryState, MessageId, MessageStatus, Provenance, ProviderKind,
};
use tidings_engine::Reconciled;
use tidings_engine::providers::WebhookRequest;
use tidings_engine::providers::signature::standard;
use tidings_engine::providers::stand_in::http::{Behaviour, HttpStandIn, Reply};

const SID: &str = "SM00000000000000000000000000000abc";
const NUMBER: &str = "+12025550123";
const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;

struct Sent {
    world: World,
    twilio: Twilio,
    stand_in: HttpStandIn,
    ann: ContactId,
    message: MessageId,
}

fn taken(sid: &str) -> Behaviour {
    Behaviour::Answer(Reply::json(
        201,
        &json!({"sid": sid, "status": "queued"}).to_string(),
    ))
}

fn says(sid: &str, status: &str, code: &Value) -> Behaviour {
    let body = json!({"sid": sid, "status": status, "error_code": code, "to": NUMBER,
        "date_updated": "Tue, 16 Jun 2026 15:00:09 +0000"});
    Behaviour::Answer(Reply::json(200, &body.to_string()))
}

fn refuses(status: u16, code: u32) -> Reply {
    Reply::json(
        status,
        &json!({"code": code, "message": "no", "status": status}).to_string(),
    )
}

/// A text that Twilio took and of which no callback ever came; what Twilio says when it is asked, the last answer for good.
async fn sent(answers: impl IntoIterator<Item = Behaviour>) -> Sent {
    let mut world = World::bare().await;
    let stand_in = HttpStandIn::script([taken(SID)].into_iter().chain(answers).collect());
    let twilio = Twilio::connect_at(&mut world, &stand_in.url()).await;
    let ann = world.contact(None, Some(NUMBER)).await;
    let mut request = direct(ann, "Your car is ready.");
    request.channel = Some(Channel::Sms);
    let message = world.accept(request).await.unwrap().message_id;
    world.run().await;
    assert_eq!(world.status(message).await, MessageStatus::Sent);
    Sent {
        world,
        twilio,
        stand_in,
        ann,
        message,
    }
}

impl Sent {
    async fn ask(&self) -> Reconciled {
        self.world.engine.reconcile_due().await.unwrap()
    }

    /// Asks so much later.
    async fn ask_after(&self, seconds: i64) -> usize {
        self.world.advance(seconds);
        self.ask().await.asked
    }

    /// Questions that arrived at Twilio.
    fn questions(&self) -> usize {
        let received = self.stand_in.received();
        received
            .iter()
            .filter(|request| request.line.starts_with("GET "))
            .count()
    }

    /// The callback arrives after all.
    async fn callback(&self, status: &str) {
        let fields = [("MessageSid", SID), ("MessageStatus", status), ("To", NUMBER)];
        self.twilio.send(&self.world, "", &fields).await.unwrap();
        self.world.run().await;
    }

    async fn status(&self) -> MessageStatus {
        self.world.status(self.message).await
    }

    async fn marks(&self) -> Vec<String> {
        self.world
            .database
            .texts("SELECT step FROM report_marks ORDER BY asked_to")
            .await
    }
}

#[tokio::test]
async fn a_lost_callback_is_found_once_and_only_once() {
    let sent = sent([says(SID, "delivered", &json!(null))]).await;
    assert_eq!(sent.ask_after(14 * MINUTE).await, 0);
    sent.world.advance(5 * MINUTE);
    let found = Reconciled {
        asked: 1,
        found: 1,
        mirrored: 0,
    };
    assert_eq!(sent.ask().await, found);
    let told = sent.world.explain(sent.message).await;
    assert_eq!(
        (told.status, told.provenance),
        (MessageStatus::Delivered, Provenance::Poll)
    );
    assert_eq!(told.deliveries[0].state, DeliveryState::Delivered);
    let reports: Vec<_> = told
        .events
        .iter()
        .map(|event| (event.kind, event.provenance))
        .collect();
    assert_eq!(reports, [(DeliveryEventKind::Delivered, Provenance::Poll)]);
    assert_eq!(
        told.events[0].occurred_at,
        "2026-06-16T15:00:09Z".parse().unwrap()
    );
    assert_eq!(events(&sent.world, "MessageDelivered").await, 1);
    for later in [5 * MINUTE, HOUR, 6 * HOUR, 24 * HOUR, 72 * HOUR] {
        assert_eq!(sent.ask_after(later).await, 0, "{later} s later");
    }
    assert_eq!(sent.questions(), 1);
}

#[tokio::test]
async fn a_callback_after_the_answer_changes_nothing() {
    let sent = sent([says(SID, "delivered", &json!(null))]).await;
    assert_eq!(sent.ask_after(16 * MINUTE).await, 1);
    let before = picture(&sent.world).await;
    sent.callback("delivered").await;
    assert_eq!(sent.world.jobs("webhook.process").await, ["complete"]);
    assert_eq!(picture(&sent.world).await, before);
}

#[tokio::test]
async fn a_bad_number_that_is_found_is_suppressed() {
    let sent = sent([says(SID, "undelivered", &json!(30005))]).await;
    assert_eq!(sent.ask_after(16 * MINUTE).await, 1);
    assert_eq!(sent.status().await, MessageStatus::Failed);
    assert_eq!(suppressions(&sent.world).await, ["sms hard_bounce"]);
    let sources = sent.world.database.texts("SELECT source FROM suppressions").await;
    assert_eq!(sources, ["provider poll"]);
    let mut request = direct(sent.ann, "again");
    request.channel = Some(Channel::Sms);
    let next = sent.world.accept(request).await.unwrap();
    assert_eq!(next.status, MessageStatus::Suppressed);
}

#[tokio::test]
async fn nobody_is_asked_about_what_was_reported() {
    let sent = sent([says(SID, "failed", &json!(30008))]).await;
    sent.callback("delivered").await;
    for later in [16 * MINUTE, HOUR, 24 * HOUR] {
        assert_eq!(sent.ask_after(later).await, 0);
    }
    assert_eq!(
        (sent.questions(), sent.status().await),
        (0, MessageStatus::Delivered)
    );
}

#[tokio::test]
async fn what_is_on_its_way_is_asked_about_at_every_step_and_then_no_more() {
    let sent = sent([says(SID, "sent", &json!(null))]).await;
    let mut asked = Vec::new();
    // After 16 minutes, 25 minutes, 61 minutes, 2 hours, 6, 7, 25, 26, 73, 74 hours, and ten days.
    for later in [16, 9, 36, 59, 241, 60, 1_080, 60, 2_820, 60, 9_960] {
        asked.push(sent.ask_after(later * MINUTE).await);
    }
    assert_eq!(asked, [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0]);
    assert_eq!(sent.status().await, MessageStatus::Sent);
    assert_eq!(sent.marks().await, ["72h", "24h", "6h", "1h", "15m"]);
}

#[tokio::test]
async fn after_a_stop_of_a_day_each_call_is_asked_about_once() {
    let sent = sent([says(SID, "sent", &json!(null))]).await;
    assert_eq!(sent.ask_after(30 * HOUR).await, 1);
    assert_eq!(sent.ask_after(10 * MINUTE).await, 0);
}

#[tokio::test]
async fn a_turn_has_a_hundred_questions_and_the_rest_is_asked_a_minute_later() {
    let sent = sent([says(SID, "sent", &json!(null))]).await;
    // As many more of the very same call.
    let copies = "DO $$ DECLARE of jsonb; d uuid; BEGIN
            FOR n IN 1..149 LOOP
                of := jsonb_build_object('id', gen_random_uuid());
                d := gen_random_uuid();
                INSERT INTO messages SELECT (jsonb_populate_record(m, of)).* FROM messages m LIMIT 1;
                INSERT INTO deliveries SELECT (jsonb_populate_record(o, jsonb_build_object('id', d, 'message_id', of -> 'id'))).*
                    FROM deliveries o LIMIT 1;
                INSERT INTO attempts
                    SELECT (jsonb_populate_record(a, jsonb_build_object('id', gen_random_uuid(), 'delivery_id', d))).*
                    FROM attempts a LIMIT 1;
            END LOOP;
        END $$";
    sent.world.database.execute(copies).await;
    let mut asked = Vec::new();
    for later in [16 * MINUTE, 30, 31, 5 * MINUTE] {
        asked.push(sent.ask_after(later).await);
    }
    assert_eq!(asked, [100, 0, 50, 0]);
    assert_eq!(sent.questions(), 150);
}

#[tokio::test]
async fn two_nodes_ask_once() {
    let sent = sent([says(SID, "delivered", &json!(null))]).await;
    let another = sent.world.another_engine(2).await;
    sent.world.advance(16 * MINUTE);
    let (one, other) = tokio::join!(sent.world.engine.reconcile_due(), another.reconcile_due());
    assert_eq!(one.unwrap().asked + other.unwrap().asked, 1);
    assert_eq!(
        (sent.questions(), sent.status().await),
        (1, MessageStatus::Delivered)
    );
}

#[tokio::test]
async fn a_crash_between_the_answer_and_the_mark_asks_again_and_counts_once() {
    let sent = sent([says(SID, "delivered", &json!(null))]).await;
    let database = &sent.world.database;
    database
        .execute(
            "CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'crash'; END $$",
        )
        .await;
    database
        .execute("CREATE TRIGGER crash BEFORE INSERT ON report_marks EXECUTE FUNCTION crash()")
        .await;
    assert_eq!(sent.ask_after(16 * MINUTE).await, 0);
    assert_eq!((sent.questions(), sent.status().await), (1, MessageStatus::Sent));
    assert!(sent.marks().await.is_empty());
    database.execute("DROP TRIGGER crash ON report_marks").await;
    // The turn of the node that died is not over yet.
    assert_eq!(sent.ask().await.asked, 0);
    assert_eq!(sent.ask_after(6 * MINUTE).await, 1);
    assert_eq!(
        (sent.questions(), sent.status().await),
        (2, MessageStatus::Delivered)
    );
    assert_eq!(events(&sent.world, "MessageDelivered").await, 1);
}

#[tokio::test]
async fn an_answer_that_comes_after_the_turn_was_lost_is_not_written() {
    let sent = sent([says(SID, "delivered", &json!(null))]).await;
    // Whoever writes finds that another has the turn by now.
    let statement = "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.claim := gen_random_uuid(); RETURN NEW; END $$";
    sent.world.database.execute(statement).await;
    let statement =
        "CREATE TRIGGER lose BEFORE INSERT ON feedback_turns FOR EACH ROW EXECUTE FUNCTION lose()";
    sent.world.database.execute(statement).await;
    assert_eq!(sent.ask_after(16 * MINUTE).await, 0);
    assert_eq!((sent.questions(), sent.status().await), (1, MessageStatus::Sent));
    assert!(sent.marks().await.is_empty());
}

#[tokio::test]
async fn a_refused_credential_is_tried_once_an_hour_and_moves_no_mark() {
    let answers = [
        Behaviour::Answer(refuses(401, 20003)),
        says(SID, "delivered", &json!(null)),
    ];
    let sent = sent(answers).await;
    assert_eq!(sent.ask_after(16 * MINUTE).await, 1);
    assert_eq!(sent.status().await, MessageStatus::Sent);
    assert_eq!(sent.ask_after(50 * MINUTE).await, 0);
    assert_eq!(sent.ask_after(11 * MINUTE).await, 1);
    assert_eq!(sent.status().await, MessageStatus::Delivered);
}

#[tokio::test]
async fn a_provider_that_asks_for_time_gets_it() {
    let answers = [
        Behaviour::Answer(refuses(429, 20429).with("Retry-After", "1200")),
        says(SID, "delivered", &json!(null)),
    ];
    let sent = sent(answers).await;
    assert_eq!(sent.ask_after(16 * MINUTE).await, 1);
    assert_eq!(sent.ask_after(19 * MINUTE).await, 0);
    assert_eq!(sent.ask_after(2 * MINUTE).await, 1);
    assert_eq!(sent.status().await, MessageStatus::Delivered);
}

#[tokio::test]
async fn pages_of_a_proxy_change_nothing_and_are_asked_for_again() {
    let html = Reply {
        status: 200,
        headers: vec![("Content-Type", "text/html".to_owned())],
        body: "<html></html>".to_owned(),
    };
    let answers = [
        Behaviour::Answer(html),
        Behaviour::Answer(Reply::json(200, r#"{"sid": 7, "status": []}"#)),
        says(SID, "delivered", &json!(null)),
    ];
    let sent = sent(answers).await;
    let before = picture(&sent.world).await;
    assert_eq!(sent.ask_after(16 * MINUTE).await, 1);
    assert_eq!(sent.ask_after(6 * MINUTE).await, 1);
    assert_eq!(picture(&sent.world).await, before);
    assert_eq!(sent.ask_after(6 * MINUTE).await, 1);
    assert_eq!(sent.status().await, MessageStatus::Delivered);
}

#[tokio::test]
async fn what_twilio_does_not_know_is_not_asked_about_again_in_this_step() {
    let sent = sent([Behaviour::Answer(refuses(404, 20404))]).await;
    let before = picture(&sent.world).await;
    assert_eq!(sent.ask_after(16 * MINUTE).await, 1);
    assert_eq!(sent.ask_after(10 * MINUTE).await, 0);
    assert_eq!(picture(&sent.world).await, before);
}

#[tokio::test]
async fn a_message_without_an_answer_holds_up_no_other() {
    let mut world = World::bare().await;
    let sids = [1, 2].map(|n| format!("SM{n:032x}"));
    let stand_in = HttpStandIn::script(vec![
        taken(&sids[0]),
        taken(&sids[1]),
        Behaviour::Answer(refuses(500, 20500)),
        says(&sids[1], "delivered", &json!(null)),
    ]);
    Twilio::connect_at(&mut world, &stand_in.url()).await;
    let ann = world.contact(None, Some(NUMBER)).await;
    for _ in &sids {
        let mut request = direct(ann, "Your car is ready.");
        request.channel = Some(Channel::Sms);
        world.accept(request).await.unwrap();
        world.run().await;
        world.advance(MINUTE);
    }
    world.advance(16 * MINUTE);
    let done = world.engine.reconcile_due().await.unwrap();
    assert_eq!((done.asked, done.found), (2, 1));
    world.advance(10 * MINUTE);
    // Both were asked about: the one without an answer is left to the next step.
    assert_eq!(world.engine.reconcile_due().await.unwrap().asked, 0);
}

const MAIL: &str = "4ef9a417-02e9-4d39-ad75-9611e0fcc33c";
const RESEND_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

struct Mailed {
    world: World,
    resend: ConnectionId,
    message: MessageId,
}

/// A mail that Resend took, and the last event it tells.
async fn mailed(last_event: &str) -> Mailed {
    let mut world = World::bare().await;
    let told = json!({"id": MAIL, "to": ["ann@example.com"], "last_event": last_event});
    let stand_in = HttpStandIn::script(vec![
        Behaviour::Answer(Reply::json(200, &json!({"id": MAIL}).to_string())),
        Behaviour::Answer(Reply::json(200, &told.to_string())),
    ]);
    let config = json!({"from_email": "news@acme.example", "base_url": stand_in.url()});
    let credentials = json!({"api_key": "re_test", "webhook_secret": RESEND_SECRET});
    let kind = ProviderKind::Resend;
    let resend = connect(&mut world, "mail", kind, Channel::Email, config, credentials).await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let message = world.accept(welcome(ann)).await.unwrap().message_id;
    world.run().await;
    world.advance(16 * MINUTE);
    let done = world.engine.reconcile_due().await.unwrap();
    assert_eq!((done.asked, done.found), (1, 1));
    Mailed {
        world,
        resend,
        message,
    }
}

impl Mailed {
    async fn webhook(&self, kind: &str, more: Value) {
        let mut data = json!({"email_id": MAIL, "to": ["ann@example.com"]});
        let Value::Object(more) = more else {
            panic!("{more}")
        };
        data.as_object_mut().unwrap().extend(more);
        let at = self.world.now();
        let body = json!({"type": kind, "created_at": at.to_string(), "data": data}).to_string();
        let signature = standard::sign("msg_1", at, body.as_bytes(), RESEND_SECRET).unwrap();
        let request = WebhookRequest {
            method: "POST".to_owned(),
            url: format!("https://tidings.example/webhooks/resend/{}", self.resend),
            headers: vec![
                ("svix-id".to_owned(), "msg_1".to_owned()),
                ("svix-timestamp".to_owned(), at.as_second().to_string()),
                ("svix-signature".to_owned(), signature),
            ],
            body: body.into_bytes().into(),
        };
        deliver(&self.world, "resend", self.resend, &request)
            .await
            .unwrap();
        self.world.run().await;
    }
}

#[tokio::test]
async fn a_webhook_of_resend_after_the_answer_says_the_same_again() {
    let mailed = mailed("delivered").await;
    let before = mailed.world.explain(mailed.message).await;
    assert_eq!(
        (before.status, before.provenance),
        (MessageStatus::Delivered, Provenance::Poll)
    );
    let delivered = "SELECT delivered_at::text FROM messages";
    let at = mailed.world.database.texts(delivered).await;
    mailed.webhook("email.delivered", json!({})).await;
    let after = mailed.world.explain(mailed.message).await;
    // The webhook proves it better; nothing else moved.
    assert_eq!(
        (after.status, after.provenance),
        (MessageStatus::Delivered, Provenance::Webhook)
    );
    assert_eq!(after.deliveries[0].state, DeliveryState::Delivered);
    assert_eq!(mailed.world.database.texts(delivered).await, at);
    assert!(suppressions(&mailed.world).await.is_empty());
}

#[tokio::test]
async fn a_bounce_that_resend_does_not_explain_suppresses_nobody_until_its_webhook_does() {
    let mailed = mailed("bounced").await;
    assert_eq!(mailed.world.status(mailed.message).await, MessageStatus::Bounced);
    assert!(suppressions(&mailed.world).await.is_empty());
    let bounce = json!({"bounce": {"type": "Permanent", "subType": "General", "message": "no such user"}});
    mailed.webhook("email.bounced", bounce).await;
    assert_eq!(suppressions(&mailed.world).await, ["email hard_bounce"]);
}

#[tokio::test]
async fn a_complaint_that_is_found_suppresses() {
    let mailed = mailed("complained").await;
    assert_eq!(suppressions(&mailed.world).await, ["email complaint"]);
}
