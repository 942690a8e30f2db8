//! A dealership with a database of its own, from its rows to the mails in its customers' mailboxes, on each kind of
//! database and through a real SMTP server.

use crate::mailbox::Mailbox;
use crate::world::{World, until};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use mail_parser::MessageParser;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tidings_engine::source::demo::Dealership;

/// A service message and a marketing one.
const CAMPAIGNS: [&str; 2] = ["seven_day_checkin", "anniversary_offer"];
/// Customers of the dealership.
const CUSTOMERS: usize = 120;

/// A dealership whose days are those of UTC, so that the hour of the test decides nothing.
fn dealership() -> Dealership {
    #[expect(
        clippy::disallowed_methods,
        reason = "the process under test runs by the machine's clock"
    )]
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let mut made = Dealership::generate(11, CUSTOMERS, today);
    for customer in &mut made.customers {
        customer.zone = "UTC";
    }
    made
}

fn tenant(kind: &str, port: u16) -> String {
    format!(
        r#"
[[tenants]]
slug = "dealer"
name = "North Dealer"

[tenants.policy]
zone = "UTC"
default_region = "US"
quiet_hours = []
contact_quiet_hours = []
channel_quiet_hours = {{}}
caps = {{}}

[tenants.settings]
postal_address = "North Dealer, 1 Main St, Fargo ND"

[tenants.source]
kind = "{kind}"
url = {{ env = "DEALER_URL" }}
page_rows = 50

[[tenants.connections]]
name = "mail"
provider = "smtp"
channel = "email"
settings = {{ host = "127.0.0.1", port = {port}, tls = "none", from_email = "hello@dealer.example", from_name = "North Dealer" }}

# Rows of the last days count as well, and nothing waits for an hour of the day.
[[tenants.campaigns]]
name = "seven_day_checkin"
urgency = "critical"
channel = "email"
due = {{ rule = "after", latest_of = ["date_sold"], days = 7, lookback_days = 3 }}

[[tenants.campaigns]]
name = "anniversary_offer"
urgency = "critical"
channel = "email"
due = {{ rule = "anniversary", date = "date_sold", days_before = 7, lookback_days = 3 }}
"#
    )
}

#[tokio::test]
async fn a_dealership_on_sqlite_writes_to_its_customers() {
    let world = World::new().await;
    let file = world.folder.join("dealer.db");
    let made = dealership();
    made.load_sqlite(&file).await.unwrap();
    let program = Mailbox::program(world.folder.join("mails"));
    let mailbox = program.unwrap_or_else(Mailbox::stand_in);
    live_through(&world, "sqlite", file.to_str().unwrap(), &made, &mailbox).await;
}

#[tokio::test]
async fn a_dealership_on_postgresql_writes_to_its_customers() {
    let source = tidings_testkit::database().await;
    let made = dealership();
    made.load_postgresql(&source.url).await.unwrap();
    let world = World::new().await;
    live_through(&world, "postgresql", &source.url, &made, &Mailbox::stand_in()).await;
}

#[tokio::test]
async fn a_dealership_on_mysql_writes_to_its_customers() {
    // Where no server is installed, the call has said so.
    let Some(source) = tidings_testkit::mysql_database().await else {
        return;
    };
    let made = dealership();
    made.load_mysql(&source.url).await.unwrap();
    let world = World::new().await;
    live_through(&world, "mysql", &source.url, &made, &Mailbox::stand_in()).await;
}

#[tokio::test]
async fn a_run_by_hand_waits_for_an_earlier_one_that_another_process_has() {
    let world = World::new().await;
    let file = world.folder.join("dealer.db");
    dealership().load_sqlite(&file).await.unwrap();
    let environment = [("DEALER_URL", file.to_str().unwrap())];
    let tenant = world.write("apply.toml", &tenant("sqlite", 1));
    let run = |args: &[&str]| world.run_with(&environment, args, "").ok();
    run(&["apply", tenant.to_str().unwrap()]);
    let by_hand = ["campaign", "run", CAMPAIGNS[0], "--json"];
    let first = run(&by_hand).json();
    // As if a process had it that has died since; its lease ends while the next run waits.
    let taken = "UPDATE campaign_runs SET state = 'running', node_id = gen_random_uuid(), finished_at = NULL,
         lease_until = clock_timestamp() + interval '4 seconds'";
    assert_eq!(world.database().execute(taken).await, 1);
    let second = run(&by_hand).json();
    assert_ne!(second[0]["id"], first[0]["id"]);
    assert_eq!(second[0]["state"], "complete");
    assert_eq!(
        second[0]["outcomes"]["duplicate"],
        first[0]["outcomes"]["proposed"]
    );
    let ended = "SELECT count(*) FROM campaign_runs WHERE state = 'complete'";
    assert_eq!(world.count(ended).await, 2);
}

/// From the apply file to the mails, and once more, after which nothing more has come.
async fn live_through(world: &World, kind: &str, url: &str, made: &Dealership, mailbox: &Mailbox) {
    let environment = [
        ("DEALER_URL", url),
        ("TIDINGS_ALLOW_LOOPBACK", "true"),
        // Links of mails must be of https.
        ("TIDINGS_PUBLIC_URL", "https://tidings.dealer.example"),
    ];
    let file = world.write("apply.toml", &tenant(kind, mailbox.port()));
    let run = |args: &[&str]| world.run_with(&environment, args, "").ok();
    run(&["apply", file.to_str().unwrap()]);
    let checked = run(&["source", "check", "--json"]).json();
    for campaign in checked["campaigns"].as_array().unwrap() {
        assert_eq!(campaign["works"], "works", "{campaign}");
    }

    let proposed = cycle(&run, "proposed");
    assert!(proposed.values().all(|count| *count >= 1), "{proposed:?}");
    let total = proposed.values().sum::<u64>();
    let total_rows = i64::try_from(total).unwrap();
    let jobs = "SELECT count(*) FROM communication_jobs WHERE status = 'pending'";
    assert_eq!(world.count(jobs).await, total_rows, "each has a job");

    let serving = world.serve(&environment);
    until(
        world,
        "SELECT count(*) FROM messages WHERE status = 'sent'",
        total_rows,
    )
    .await;
    let complete = "SELECT count(*) FROM communication_jobs WHERE status = 'complete'";
    until(world, complete, total_rows).await;
    let mails = mailbox.mails();
    assert_eq!(mails.len() as u64, total);
    check_mails(&mails, made);

    let report = run(&["campaign", "report", "--json"]).json();
    for told in report.as_array().unwrap() {
        adds_up(told);
    }
    let again = cycle(&run, "duplicate");
    assert_eq!(again, proposed, "the second cycle finds the same rows");
    drop(serving);
    assert_eq!(
        world.count("SELECT count(*) FROM communication_jobs").await,
        total_rows
    );
    assert_eq!(
        mailbox.mails().len() as u64,
        total,
        "the second cycle sends nothing"
    );
}

/// Runs the campaigns; how many rows of each had an outcome.
fn cycle(run: &impl Fn(&[&str]) -> crate::world::Done, outcome: &str) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for campaign in CAMPAIGNS {
        let told = run(&["campaign", "run", campaign, "--json"]).json();
        let told = &told[0];
        assert_eq!(
            (&told["campaign"], &told["state"]),
            (&campaign.into(), &"complete".into())
        );
        adds_up(told);
        counts.insert(campaign, told["outcomes"][outcome].as_u64().unwrap());
    }
    counts
}

/// The outcomes of a run are its due rows, and it looked at the source.
fn adds_up(told: &Value) {
    let outcomes = told["outcomes"].as_object().unwrap().values();
    let sum: u64 = outcomes.map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(told["due"].as_u64().unwrap(), sum, "{told}");
    let reasons = told["reasons"].as_array().unwrap().iter();
    let by_reason: u64 = reasons.map(|one| one["rows"].as_u64().unwrap()).sum();
    assert_eq!(by_reason, sum, "{told}");
    assert_eq!(told["balanced"], true, "{told}");
    assert!(told["scanned"].as_u64().unwrap() >= sum, "{told}");
}

/// Each mail is written to one customer by name, with both parts, and can be unsubscribed from: neither is a message that
/// must arrive.
fn check_mails(mails: &[Vec<u8>], made: &Dealership) {
    let customers: BTreeMap<&str, &str> = made
        .emails
        .iter()
        .map(|email| {
            let place = usize::try_from(email.customer - 1).unwrap();
            let name = made.customers[place].first_name.expose().as_str();
            (email.address.expose().as_str(), name)
        })
        .collect();
    let mut seen = BTreeSet::new();
    for raw in mails {
        let mail = MessageParser::default().parse(raw).unwrap();
        let shown = String::from_utf8_lossy(raw);
        let to = mail.to().unwrap().first().unwrap().address().unwrap();
        let name = customers[to];
        assert_eq!(
            mail.from().unwrap().first().unwrap().address(),
            Some("hello@dealer.example")
        );
        let subject = mail.subject().unwrap();
        assert!(!subject.is_empty() && !subject.contains("{{"), "{shown}");
        for part in ["text/plain", "text/html"] {
            assert!(shown.contains(part), "no {part}: {shown}");
        }
        let text = mail.body_text(0).unwrap();
        let html = mail.body_html(0).unwrap();
        assert!(text.contains(name) && html.contains(name), "{name}: {shown}");
        assert!(html.contains("<html") && !text.contains("<p"), "{shown}");
        let header = |name: &'static str| mail.header_raw(name).map(str::trim);
        let link = header("List-Unsubscribe").unwrap();
        assert!(
            link.starts_with("<https://tidings.dealer.example/") && link.ends_with('>'),
            "{link}"
        );
        assert_eq!(
            header("List-Unsubscribe-Post"),
            Some("List-Unsubscribe=One-Click")
        );
        assert!(
            seen.insert((to.to_owned(), subject.to_owned())),
            "twice: {to} {subject}"
        );
    }
}
