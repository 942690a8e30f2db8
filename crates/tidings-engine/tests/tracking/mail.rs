//! Mail that comes back: believed as far as its address proves, applied once, by the same job as webhooks.

use crate::hooks::{self, SendGrid, events, picture, suppressions};
use crate::world::{World, welcome};
use secrecy::SecretString;
use serde_json::json;
use tidings_core::{Channel, ConnectionId, ContactId, MessageId, MessageStatus, ProviderKind};
use tidings_engine::MailTaken;
use tidings_engine::providers::smtp::verp::{self, Purpose};
use tidings_engine::store::StoreError;
use tidings_engine::store::connections::{self, ConnectionSettings};

const DOMAIN: &str = "bounce.acme.example";
const OWN: &str = "news@bounce.acme.example";
const KEY: &str = "the bounce key of acme";

struct Back {
    world: World,
    connection: ConnectionId,
    ann: ContactId,
    message: MessageId,
    reference: String,
}

async fn smtp(world: &mut World, name: &str, from: &str, key: &str) -> ConnectionId {
    let config = json!({
        "host": "127.0.0.1", "tls": "none", "from_email": from,
        "bounce_domain": DOMAIN, "reply_domain": DOMAIN,
    });
    let credentials = json!({"bounce_key": key});
    hooks::connect(
        world,
        name,
        ProviderKind::Smtp,
        Channel::Email,
        config,
        credentials,
    )
    .await
}

/// A message that went to Ann over an SMTP connection.
async fn back() -> Back {
    let mut world = World::new().await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let message = world.accept(welcome(ann)).await.unwrap().message_id;
    world.run().await;
    let connection = smtp(&mut world, "relay", OWN, KEY).await;
    // What the sandbox took counts as taken by the relay: the way back is what is tested.
    world
        .database
        .execute(&format!("UPDATE attempts SET connection_id = '{connection}'"))
        .await;
    let reference = hooks::reference(&world, message).await;
    Back {
        world,
        connection,
        ann,
        message,
        reference,
    }
}

impl Back {
    fn bounces(&self) -> String {
        verp::address(Purpose::Bounce, &self.reference, KEY.as_bytes(), DOMAIN).unwrap()
    }

    fn answers(&self) -> String {
        verp::address(Purpose::Reply, &self.reference, KEY.as_bytes(), DOMAIN).unwrap()
    }

    /// Hands a mail in and lets the job read it.
    async fn take(&self, from: &str, to: &str, raw: &str) -> MailTaken {
        let recipient = self.world.engine.mail_recipient(to).await.unwrap().unwrap();
        let raw = raw.replace('\n', "\r\n");
        let taken = self
            .world
            .engine
            .receive_mail(&recipient, from, raw.as_bytes())
            .await
            .unwrap();
        self.world.run().await;
        taken
    }

    async fn status(&self) -> MessageStatus {
        self.world.explain(self.message).await.status
    }

    async fn inbound(&self) -> Vec<String> {
        let query = "SELECT concat(coalesce(contact_id::text, 'nobody'), ' ', coalesce(in_reply_to::text, 'nothing'), ' ',
            automatic) FROM inbound_messages ORDER BY id";
        self.world.database.texts(query).await
    }

    async fn reported(&self) -> Vec<String> {
        let query = "SELECT concat(kind, coalesce(' ' || bounce_class, '')) FROM delivery_events
            WHERE connection_id <> '00000000-0000-0000-0000-000000000000' ORDER BY received_at, id";
        self.world.database.texts(query).await
    }
}

fn dsn(recipient: &str, action: &str, status: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.example.com\nTo: <x@y>\nSubject: Delivery Status\nMIME-Version: 1.0\n\
         Auto-Submitted: auto-replied\nContent-Type: multipart/report; report-type=delivery-status; boundary=b1\n\n\
         --b1\nContent-Type: text/plain\n\nIt could not be delivered.\n\n\
         --b1\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.com\n\n\
         Final-Recipient: rfc822; {recipient}\nAction: {action}\nStatus: {status}\nDiagnostic-Code: smtp; 550 {status} no\n\n\
         --b1--\n"
    )
}

fn feedback(kind: &str, recipient: &str) -> String {
    format!(
        "From: fbl@mail.example\nTo: <x@y>\nSubject: complaint\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=b1\n\n\
         --b1\nContent-Type: text/plain\n\nA complaint.\n\n\
         --b1\nContent-Type: message/feedback-report\n\nFeedback-Type: {kind}\nVersion: 1\nUser-Agent: x/1\n\
         Original-Rcpt-To: <{recipient}>\n\n--b1--\n"
    )
}

fn letter(from: &str, more: &str) -> String {
    format!("From: Ann <{from}>\nTo: <x@y>\nMessage-ID: <1@example.com>\n{more}\n\nI will come at five.\n")
}

#[tokio::test]
async fn a_hard_bounce_suppresses_and_is_applied_once() {
    let back = back().await;
    let mail = dsn("ann@example.com", "failed", "5.1.1");
    assert_eq!(back.take("", &back.bounces(), &mail).await, MailTaken::Stored);
    assert_eq!(back.status().await, MessageStatus::Bounced);
    assert_eq!(suppressions(&back.world).await, ["email hard_bounce"]);
    assert_eq!(back.reported().await, ["bounced hard"]);
    let before = picture(&back.world).await;
    assert_eq!(back.take("", &back.bounces(), &mail).await, MailTaken::Known);
    // The same report by another way round differs in a line, and says nothing new.
    let again = format!("Received: by another server\n{mail}");
    assert_eq!(back.take("", &back.bounces(), &again).await, MailTaken::Stored);
    assert_eq!(picture(&back.world).await, before);
}

#[tokio::test]
async fn soft_bounces_delays_and_blocks_suppress_nobody() {
    for (action, status, reported, expect) in [
        ("failed", "5.2.2", "bounced soft", MessageStatus::Bounced),
        ("failed", "5.7.1", "bounced block", MessageStatus::Bounced),
        ("delayed", "4.4.1", "deferred", MessageStatus::Sent),
    ] {
        let back = back().await;
        back.take("", &back.bounces(), &dsn("ann@example.com", action, status))
            .await;
        assert_eq!(back.status().await, expect, "{action} {status}");
        assert_eq!(back.reported().await, [reported]);
        assert!(suppressions(&back.world).await.is_empty(), "{action} {status}");
    }
}

#[tokio::test]
async fn a_report_about_somebody_else_changes_nothing() {
    let mut back = back().await;
    back.world.contact(Some("bob@example.com"), None).await;
    let before = picture(&back.world).await;
    for mail in [
        dsn("bob@example.com", "failed", "5.1.1"),
        dsn("nobody@example.com", "failed", "5.1.1"),
        feedback("abuse", "bob@example.com"),
    ] {
        back.take("", &back.bounces(), &mail).await;
        assert_eq!(picture(&back.world).await, before);
    }
}

#[tokio::test]
async fn what_proves_nothing_is_no_recipient() {
    let back = back().await;
    let forged = verp::address(
        Purpose::Bounce,
        &back.reference,
        b"a key that was guessed",
        DOMAIN,
    )
    .unwrap();
    let exchanged = back.answers().replacen("r+", "b+", 1);
    let elsewhere = back.bounces().replace(DOMAIN, "mail.example");
    for address in [
        forged.as_str(),
        &exchanged,
        &elsewhere,
        "ann@example.com",
        "postmaster@bounce.acme.example",
        "b+x@bounce.acme.example",
        "nonsense",
        "@",
        "",
        &"a".repeat(400),
    ] {
        let found = back.world.engine.mail_recipient(address).await.unwrap();
        assert!(found.is_none(), "{address}");
    }
}

#[tokio::test]
async fn another_tenants_token_reaches_nothing_of_ours() {
    let mut back = back().await;
    let acme = back.world.tenant;
    back.world.tenant = back.world.make_tenant("other").await;
    smtp(
        &mut back.world,
        "relay",
        "other@bounce.acme.example",
        "the bounce key of another",
    )
    .await;
    back.world.tenant = acme;
    // They know the reference and prove it with their own key: it is none of their deliveries.
    let theirs = verp::address(
        Purpose::Bounce,
        &back.reference,
        b"the bounce key of another",
        DOMAIN,
    )
    .unwrap();
    assert!(back.world.engine.mail_recipient(&theirs).await.unwrap().is_none());
    // And the shared domain does not hide ours, however often they name it.
    let many = format!(
        "INSERT INTO connections (tenant_id, id, name, channel, provider, config, enabled, created_at, updated_at)
         SELECT id, gen_random_uuid(), 'n' || n, 'email', 'smtp', '{{\"bounce_domain\": \"{DOMAIN}\"}}', true, now(), now()
         FROM tenants, generate_series(1, 600) n WHERE slug = 'other'"
    );
    assert_eq!(back.world.database.execute(&many).await, 600);
    back.take("", &back.bounces(), &dsn("ann@example.com", "failed", "5.1.1"))
        .await;
    assert_eq!(back.status().await, MessageStatus::Bounced);
}

#[tokio::test]
async fn another_connections_token_reaches_nothing() {
    let mut back = back().await;
    smtp(
        &mut back.world,
        "second relay",
        OWN,
        "the key of the second relay",
    )
    .await;
    let other = verp::address(
        Purpose::Bounce,
        &back.reference,
        b"the key of the second relay",
        DOMAIN,
    )
    .unwrap();
    let found = back.world.engine.mail_recipient(&other).await.unwrap();
    assert!(found.is_none(), "{}", back.connection);
}

/// Mail for a connection that cannot be used as it is configured waits at its sender; it is neither refused nor lost.
#[tokio::test]
async fn mail_for_a_connection_that_is_broken_is_for_later() {
    let back = back().await;
    let config = back
        .world
        .database
        .texts("SELECT config::text FROM connections WHERE provider = 'smtp'")
        .await
        .remove(0);
    for broken in ["config - 'host'", "config || '{\"tls\": \"sometimes\"}'"] {
        let breaking = format!("UPDATE connections SET config = {broken} WHERE provider = 'smtp'");
        back.world.database.execute(&breaking).await;
        for address in [&back.bounces(), &back.answers(), "news@bounce.acme.example"] {
            let answer = back.world.engine.mail_recipient(address).await;
            assert!(answer.is_err(), "{broken} {address}");
        }
        let mending = format!("UPDATE connections SET config = '{config}' WHERE provider = 'smtp'");
        back.world.database.execute(&mending).await;
    }
    back.take("", &back.bounces(), &dsn("ann@example.com", "failed", "5.1.1"))
        .await;
    assert_eq!(back.status().await, MessageStatus::Bounced);
}

async fn own_address(world: &mut World, name: &str, from: &str) -> Result<ConnectionId, StoreError> {
    let settings = ConnectionSettings {
        name: name.to_owned(),
        channel: Channel::Email,
        provider: ProviderKind::Smtp,
        config: json!({"host": "127.0.0.1", "tls": "none", "from_email": from, "reply_domain": DOMAIN}),
        credentials: Some(SecretString::from(r#"{"bounce_key": "one more bounce key"}"#)),
        priority: 0,
        weight: 1,
        enabled: true,
        call_limit_ms: None,
        rate_limit: None,
    };
    let store = world.engine.store().tenant(world.tenant);
    let mut tx = store.tx().await.unwrap();
    let now = world.now();
    let made = connections::create(&mut tx, &settings, &mut world.dice, now).await?;
    tx.commit().await.unwrap();
    Ok(made.id)
}

/// The sender's own address has no token: it is the first tenant's that named it, until that one gives it up.
#[tokio::test]
async fn a_senders_own_address_has_one_holder() {
    let mut back = back().await;
    let acme = back.world.tenant;
    let other = back.world.make_tenant("other").await;
    back.world.tenant = other;
    let taken = own_address(&mut back.world, "thief", "News@Bounce.acme.example").await;
    let said = taken.unwrap_err().to_string();
    assert!(said.contains("another tenant"), "{said}");
    let own = own_address(&mut back.world, "own", "shop@bounce.acme.example")
        .await
        .unwrap();
    // The same tenant may send from the address over a second connection.
    back.world.tenant = acme;
    own_address(&mut back.world, "second", "news@bounce.acme.example")
        .await
        .unwrap();
    let raw = letter("ann@example.com", "Subject: hello");
    back.take("ann@example.com", "news@bounce.acme.example", &raw)
        .await;
    let tenants = "SELECT tenant_id::text FROM inbound_messages";
    assert_eq!(back.world.database.texts(tenants).await, [acme.to_string()]);
    // Given up, it is free for others.
    let mut tx = back.world.engine.store().tenant(other).tx().await.unwrap();
    connections::remove(&mut tx, own).await.unwrap();
    tx.commit().await.unwrap();
    own_address(&mut back.world, "third", "shop@bounce.acme.example")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_complaint_suppresses_and_not_spam_does_not() {
    let back = back().await;
    let before = picture(&back.world).await;
    back.take("", &back.bounces(), &feedback("not-spam", "ann@example.com"))
        .await;
    assert_eq!(picture(&back.world).await, before);
    back.take("", &back.bounces(), &feedback("abuse", "ann@example.com"))
        .await;
    assert_eq!(suppressions(&back.world).await, ["email complaint"]);
    assert_eq!(back.reported().await, ["complained"]);
}

#[tokio::test]
async fn out_of_office_is_recorded_and_stops_nothing() {
    let back = back().await;
    let status = back.status().await;
    let mail = letter(
        "ann@example.com",
        "Auto-Submitted: auto-replied\nSubject: Out of office",
    );
    back.take("", &back.bounces(), &mail).await;
    assert_eq!(back.inbound().await, [format!("{} {} t", back.ann, back.message)]);
    assert!(suppressions(&back.world).await.is_empty());
    assert!(back.reported().await.is_empty());
    assert_eq!(back.status().await, status);
}

#[tokio::test]
async fn a_reply_is_joined_by_its_token() {
    let back = back().await;
    back.take(
        "ann@example.com",
        &back.answers(),
        &letter("ann@example.com", "Subject: Re: hello"),
    )
    .await;
    assert_eq!(back.inbound().await, [format!("{} {} f", back.ann, back.message)]);
    assert_eq!(back.status().await, MessageStatus::Delivered);
    assert_eq!(events(&back.world, "MessageReceived").await, 1);
}

#[tokio::test]
async fn a_reply_in_anothers_name_is_kept_and_concludes_nothing() {
    let mut back = back().await;
    back.world.contact(Some("mallory@example.com"), None).await;
    let status = back.status().await;
    back.take(
        "m@example.com",
        &back.answers(),
        &letter("mallory@example.com", "Subject: Re: hello"),
    )
    .await;
    assert_eq!(back.inbound().await, [format!("nobody {} f", back.message)]);
    assert_eq!(back.status().await, status);
    assert_eq!(events(&back.world, "MessageReceived").await, 0);
}

#[tokio::test]
async fn a_reply_to_our_own_address_is_joined_by_what_it_names() {
    let back = back().await;
    let ours = format!("In-Reply-To: <{}@tidings.example>", back.message.0.simple());
    back.take(
        "ann@example.com",
        "news@bounce.acme.example",
        &letter("ann@example.com", &ours),
    )
    .await;
    let foreign = "In-Reply-To: <0197a2b0000070008000000000000001@tidings.example>";
    let mail = letter("ann@example.com", foreign).replace("<1@", "<2@");
    back.take("ann@example.com", "news@bounce.acme.example", &mail)
        .await;
    // Both came in the same instant.
    let mut inbound = back.inbound().await;
    inbound.sort();
    let mut joined = [
        format!("{} {} f", back.ann, back.message),
        format!("{} nothing f", back.ann),
    ];
    joined.sort();
    assert_eq!(inbound, joined);
    // Reports are for return paths: elsewhere they prove nothing, in whatever form, and whatever message they name.
    let before = picture(&back.world).await;
    let old_form = format!(
        "From: MAILER-DAEMON@x.example\nSubject: failure notice\n\n<ann@example.com>: 550 5.1.1 user unknown\n\n\
         Message-ID: <{}@tidings.example>\n",
        back.message.0.simple()
    );
    for address in ["news@bounce.acme.example".to_owned(), back.answers()] {
        for mail in [&dsn("ann@example.com", "failed", "5.1.1"), &old_form] {
            back.take("", &address, mail).await;
            assert_eq!(picture(&back.world).await, before);
        }
    }
}

async fn unsubscribed(world: &World) -> Vec<String> {
    let query =
        "SELECT a.contact_id::text FROM suppressions s JOIN addresses a USING (tenant_id, blind_index)
        WHERE s.reason = 'unsubscribe' AND s.channel = 'email' AND s.lifted_at IS NULL ORDER BY 1";
    world.database.texts(query).await
}

/// Who asks by mail to be left alone is, before the mail is acknowledged; and nobody in whose name it was not asked.
#[tokio::test]
async fn unsubscribing_by_mail_closes_the_senders_address_alone() {
    let mut back = back().await;
    let mallory = back.world.contact(Some("mallory@example.com"), None).await;
    let mail = |from: &str, id: u8| {
        letter(from, "Subject: unsubscribe")
            .replace("<1@", &format!("<{id}@"))
            .replace('\n', "\r\n")
    };
    let take = async |to: &str, from: &str, id| {
        let recipient = back.world.engine.mail_recipient(to).await.unwrap().unwrap();
        let engine = &back.world.engine;
        engine
            .receive_mail(&recipient, from, mail(from, id).as_bytes())
            .await
            .unwrap()
    };
    // With the address that Ann got, in another's name: kept with the message, and nothing changes for Ann.
    take(&back.answers(), "mallory@example.com", 1).await;
    assert_eq!(unsubscribed(&back.world).await, [mallory.to_string()]);
    // No job has run yet; also without a token, and in the name of somebody nobody knows yet.
    take(&back.answers(), "ann@example.com", 2).await;
    let mut both = [mallory.to_string(), back.ann.to_string()];
    both.sort();
    assert_eq!(unsubscribed(&back.world).await, both);
    take("news@bounce.acme.example", "zoe@example.com", 3).await;
    assert_eq!(suppressions(&back.world).await.len(), 3);
    back.world.run().await;
    let mut inbound = back.inbound().await;
    inbound.sort();
    let mut kept = [
        format!("nobody {} f", back.message),
        format!("{} {} f", back.ann, back.message),
        "nobody nothing f".to_owned(),
    ];
    kept.sort();
    assert_eq!(inbound, kept);
    // The clock stands still, so their ids say nothing about their order.
    let mut reported = back.reported().await;
    reported.sort();
    assert_eq!(reported, ["replied", "unsubscribed"]);
    let zoe = back.world.contact(Some("zoe@example.com"), None).await;
    assert!(unsubscribed(&back.world).await.contains(&zoe.to_string()));
    assert_eq!(events(&back.world, "ContactUnsubscribed").await, 2);
}

/// A later attempt that is under way or arrived is not undone by what is reported of an earlier one.
#[tokio::test]
async fn a_bounce_of_an_earlier_attempt_undoes_no_later_one() {
    let back = back().await;
    for later in [
        "UPDATE attempts SET attempt_no = 2",
        "UPDATE deliveries SET attempt_no = 2, reference = id || '-2', state = 'delivered'",
        "INSERT INTO attempts (tenant_id, id, delivery_id, attempt_no, connection_id, outcome, intended_at, node)
         SELECT tenant_id, gen_random_uuid(), delivery_id, 1, connection_id, 'unknown', intended_at, node FROM attempts",
        "UPDATE messages SET status = 'delivered'",
    ] {
        back.world.database.execute(later).await;
    }
    back.take("", &back.bounces(), &dsn("ann@example.com", "failed", "5.1.1"))
        .await;
    assert_eq!(back.status().await, MessageStatus::Delivered);
    assert!(suppressions(&back.world).await.is_empty());
    assert_eq!(back.reported().await, ["bounced hard"]);
}

/// What comes by a provider's webhook is believed as little: who wrote and what is answered is not what `From` says.
#[tokio::test]
async fn a_forged_sender_over_a_provider_joins_nothing() {
    let mut world = World::bare().await;
    let mail = SendGrid::connect(&mut world).await;
    let ann = world.contact(Some("ann@example.com"), None).await;
    let message = world.accept(welcome(ann)).await.unwrap().message_id;
    world.run().await;
    let status = world.status(message).await;
    let forged = letter("ann@example.com", "Subject: Re: hello");
    mail.receive(&world, "m@example.com", &forged).await.unwrap();
    world.run().await;
    let joined = "SELECT coalesce(in_reply_to::text, 'nothing') FROM inbound_messages ORDER BY id";
    assert_eq!(world.database.texts(joined).await, ["nothing"]);
    assert_eq!(world.status(message).await, status);
    let proved = "SELECT data->>'proved' FROM event_log WHERE kind = 'MessageReceived'";
    assert_eq!(world.database.texts(proved).await, ["false"]);
    // What names our Message-ID was written by somebody who got it.
    let id = format!("In-Reply-To: <{}@tidings.example>", message.0.simple());
    let answer = letter("ann@example.com", &id).replace("<1@", "<2@");
    mail.receive(&world, "ann@example.com", &answer).await.unwrap();
    world.run().await;
    assert_eq!(world.status(message).await, MessageStatus::Delivered);
    // A wish to be left alone is obeyed at once.
    let stop = letter("ann@example.com", "Subject: unsubscribe").replace("<1@", "<3@");
    mail.receive(&world, "ann@example.com", &stop).await.unwrap();
    assert_eq!(unsubscribed(&world).await, [ann.to_string()]);
}

/// A NUL or a value without end in a header costs neither the mail nor what comes after it.
#[tokio::test]
async fn values_no_table_takes_are_cut() {
    let back = back().await;
    let long = "x".repeat(5_000);
    let raw = format!(
        "From: Ann <ann@example.com>\nMessage-ID: <a\0b{long}@example.com>\nIn-Reply-To: <c\0d{long}@x>\n\
         Subject: s\0{long}\nContent-Type: text/plain; name=\"\0{long}\"\n\nI will\0 come.\n"
    );
    back.take("ann@example.com", &back.answers(), &raw).await;
    assert_eq!(back.inbound().await, [format!("{} {} f", back.ann, back.message)]);
    assert_eq!(back.world.jobs("webhook.process").await, ["complete"]);
}

/// Mail made to be hard to read is read to an end, whatever it says, and changes nothing.
#[tokio::test]
async fn hostile_mail_changes_nothing() {
    let back = back().await;
    let before = picture(&back.world).await;
    let levels: Vec<String> = (0..20_000)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n"))
        .collect();
    let nested = levels.concat();
    let forwarded = "Content-Type: message/rfc822\n\n".repeat(20_000);
    let parts = format!(
        "Content-Type: multipart/mixed; boundary=b\n\n{}",
        "--b\nContent-Type: text/plain\n\nx\n".repeat(100_000)
    );
    let header = format!("Subject: {}\n\nx\n", "a ".repeat(1_000_000));
    let garbage: String = (0..200_000u32)
        .map(|n| char::from_u32(n.wrapping_mul(7919) % 0x2fff).unwrap_or('\n'))
        .collect();
    for (name, mail) in [
        ("nested", &nested),
        ("forwarded", &forwarded),
        ("parts", &parts),
        ("header", &header),
        ("garbage", &garbage),
    ] {
        let mail =
            format!("From: MAILER-DAEMON@x.example\nAuto-Submitted: auto-replied\nX-Case: {name}\n{mail}");
        back.take("", &back.bounces(), &mail).await;
        assert!(suppressions(&back.world).await.is_empty(), "{name}");
    }
    // Each is kept as what it is, a machine's answer, and nothing else has changed.
    let kept = back.inbound().await;
    assert_eq!(kept, vec![format!("nobody {} t", back.message); 5]);
    let changed: Vec<_> = picture(&back.world)
        .await
        .into_iter()
        .filter(|row| !before.contains(row))
        .collect();
    assert_eq!(changed.len(), kept.len(), "{changed:?}");
}
