//! `serve` at providers whose reports never come: what became of the messages is asked for, and a process that is killed over
//! its questions is followed by one that finishes.

use crate::world::{Serving, World, shop_over, until, until_so};
use serde_json::{Value, json};
use tidings_stand_in::{Account, DEFAULT_ACCOUNT, Event, Fault, Options, Query, Rule, StandIn, Step, Vendor};
use tidings_testkit::MachineClock;

/// Texts: two more than are asked about in one commit.
const TEXTS: usize = 12;
const IN_A_COMMIT: usize = 10;
const MAILS: usize = 3;
const ACCOUNT: &str = "ACbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
/// Callbacks of texts go where nobody listens.
const ENVIRONMENT: [(&str, &str); 2] = [
    ("TIDINGS_ALLOW_LOOPBACK", "true"),
    ("TIDINGS_PUBLIC_URL", "http://127.0.0.1:9"),
];
/// How long a question is held: longer than the test.
const HELD_MS: u64 = 600_000;

/// Providers that deliver everything. For mails no webhook is set up.
async fn silent() -> StandIn {
    let stand_in = StandIn::start(Options::new(std::sync::Arc::new(MachineClock)))
        .await
        .unwrap();
    for (vendor, name) in [(Vendor::Twilio, ACCOUNT), (Vendor::Resend, DEFAULT_ACCOUNT)] {
        let account = Account {
            script: vec![Step::of(Event::Delivered)],
            retries_ms: Some(Vec::new()),
            ..Account::default()
        };
        stand_in.account(vendor, name, account).unwrap();
    }
    stand_in
}

fn connections(stand_in: &StandIn) -> String {
    let url = stand_in.url();
    format!(
        r#"
[[tenants.connections]]
name = "text"
provider = "twilio"
channel = "sms"
rate_limit = {{ limit = 1000, per_ms = 1000 }}
settings = {{ account_sid = "{ACCOUNT}", from = "+15005550006", base_url = "{url}" }}
credentials = {{ auth_token = "token" }}

[[tenants.connections]]
name = "mail"
provider = "resend"
channel = "email"
rate_limit = {{ limit = 1000, per_ms = 1000 }}
settings = {{ from_email = "shop@brand.example", base_url = "{url}" }}
credentials = {{ api_key = "re_key" }}
"#
    )
}

async fn submit(serving: &Serving, key: &str) {
    let numbers = (0..TEXTS).map(|number| json!({ "phone": format!("+141555501{:02}", 40 + number) }));
    let addresses = (0..MAILS).map(|number| json!({ "email": format!("guest{number}@example.com") }));
    let messages: Vec<Value> = numbers
        .chain(addresses)
        .map(|contact| {
            json!({ "to": { "contact": contact }, "message_type": "welcome", "urgency": "critical",
                    "context": { "client_name": "Kim", "event_type": "wedding" } })
        })
        .collect();
    let answer = serving
        .post("/v1/messages/batch", key, &json!({ "messages": messages }))
        .await;
    assert_eq!(answer.expect(207)["accepted"], TEXTS + MAILS, "{}", answer.body);
}

/// Lets so many minutes go by for what asks: everything that it goes by is so much older then.
async fn pass(world: &World, minutes: u32) {
    for (table, column) in [
        ("attempts", "intended_at"),
        ("report_marks", "asked_to"),
        ("feedback_turns", "not_before"),
    ] {
        let older = format!("UPDATE {table} SET {column} = {column} - interval '{minutes} minutes'");
        world.database().execute(&older).await;
    }
}

/// The recipient of the text that is asked about last.
async fn asked_last(world: &World, stand_in: &StandIn) -> String {
    let ids = world
        .texts(
            "SELECT d.provider_message_id FROM attempts a JOIN deliveries d ON d.id = a.delivery_id
             WHERE d.channel = 'sms' ORDER BY a.intended_at, a.delivery_id",
        )
        .await;
    let all = stand_in.ledger().entries(&Query::default());
    let last = all.iter().find(|entry| Some(&entry.provider_id) == ids.last());
    last.unwrap().recipient.expose().clone()
}

/// The rules by which questions are counted, and the last one is held once.
fn holding(recipient: String) -> Vec<Rule> {
    let latency = |ms| {
        Rule::always(Fault::Latency {
            min_ms: ms,
            max_ms: ms,
        })
        .asked()
    };
    let held = Rule {
        recipient: Some(recipient),
        ..latency(HELD_MS).times(1)
    };
    vec![latency(0), held]
}

// The providers answer while the test waits for a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_reported_is_asked_for_once_whoever_is_killed_over_it() {
    let stand_in = silent().await;
    let world = World::new().await;
    world.apply(&shop_over(&connections(&stand_in)));
    let key = world.key(&[]);
    let mut serving = world.serve(&ENVIRONMENT);
    submit(&serving, &key).await;
    let all = (TEXTS + MAILS) as i64;
    let with = |status: &str| format!("SELECT count(*) FROM messages WHERE status = '{status}'");
    until(&world, &with("sent"), all).await;
    until_so("every callback is lost", || {
        stand_in.summary()["webhooks"]["failed"] == TEXTS
    })
    .await;
    serving.terminate();

    // A process asks, and is killed while Twilio holds back its answer about the last text: it had all but two.
    pass(&world, 20).await;
    let questions = |nth: usize| stand_in.rules()[nth].struck;
    let last = asked_last(&world, &stand_in).await;
    stand_in.faults(holding(last)).unwrap();
    let mut serving = world.serve(&ENVIRONMENT);
    until_so("the last question is held", || questions(1) == 1).await;
    let known = (IN_A_COMMIT + MAILS) as i64;
    until(&world, &with("delivered"), known).await;
    serving.kill();

    // Its turn is another's when it is over. What had an answer that was written down is not asked about again.
    pass(&world, 10).await;
    let _serving = world.serve(&ENVIRONMENT);
    until(&world, &with("delivered"), all).await;
    assert_eq!(questions(0) as usize, TEXTS + MAILS + (TEXTS - IN_A_COMMIT));

    let events = "SELECT count(*) FROM delivery_events WHERE kind = 'delivered' AND provenance = 'poll'";
    assert_eq!(world.count(events).await, all);
    let deliveries = "SELECT count(DISTINCT delivery_id) FROM delivery_events";
    assert_eq!(world.count(deliveries).await, all);
    // One that was held back by the rate limit was never made.
    let calls = "SELECT count(*) FROM attempts WHERE outcome <> 'rejected'";
    assert_eq!(world.count(calls).await, all);
    assert_eq!(world.count("SELECT count(*) FROM webhook_inbox").await, 0);
    let taken = stand_in.ledger().summary();
    assert_eq!(
        (taken.accepted as i64, taken.replayed, taken.duplicates),
        (all, 0, 0)
    );
}
